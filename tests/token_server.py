"""A token server that docker-registry believes (distribution, spec/auth/token; RFC 7519)."""

from __future__ import annotations

import base64
import json
import socketserver
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.peers import require

__all__ = ["TokenServer"]


class TokenServer:
    """Gives tokens as docker-registry wants them (RFC 7519, signed by openssl) to everybody.

    Whoever is not alice may pull `public/…` only.
    """

    def __init__(self, folder: Path) -> None:
        self.scopes: list[str] = []
        self._openssl = str(require("openssl"))
        self._key = folder / "token.key"
        self.bundle = folder / "token.pem"
        subprocess.run(
            [self._openssl, "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", "/CN=tokens",
             "-days", "2", "-keyout", str(self._key), "-out", str(self.bundle)],
            check=True,
            capture_output=True,
        )  # fmt: skip
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                form = parse_qs(urlsplit(self.path).query)
                pair = base64.b64encode(b"alice:open sesame").decode()
                alice = self.headers.get("Authorization") == f"Basic {pair}"
                body = json.dumps({"token": outer.token(form.get("scope", []), alice)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.realm = f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def token(self, scopes: list[str], alice: bool) -> str:
        self.scopes += scopes
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = (
                {"pull", "push"} if alice else {"pull"} if name.startswith("public/") else set()
            )
            granted = sorted(allowed & set(actions.split(",")))
            access.append({"type": kind, "name": name, "actions": granted})
        pem = self.bundle.read_text().split("-----")[2].replace("\n", "")
        now = int(time.time())
        claims = {"iss": "tests", "sub": "", "aud": "registry", "jti": str(len(self.scopes)),
                  "nbf": now - 60, "iat": now, "exp": now + 300, "access": access}  # fmt: skip
        head = {"typ": "JWT", "alg": "RS256", "x5c": [pem]}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        signature = subprocess.run(
            [self._openssl, "dgst", "-sha256", "-sign", str(self._key)],
            input=signed.encode(),
            check=True,
            capture_output=True,
        ).stdout
        return f"{signed}.{_base64(signature)}"

    def __enter__(self) -> TokenServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
