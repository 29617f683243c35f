"""Asks Go and docker again: writes the answers in `templates.json` and `docker.json` anew.

`python record.py templates` needs Go. `python record.py docker` needs docker's command line (20 to
28) but no Docker: an engine with a few images answers it. New cases are added to the files by hand,
without an answer.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def with_times(value: Any, now: int) -> Any:
    """`{"ago": seconds}` becomes the Unix time that long ago."""
    if isinstance(value, dict):
        if value.keys() == {"ago"}:
            return now - value["ago"]
        return {key: with_times(item, now) for key, item in value.items()}
    return [with_times(item, now) for item in value] if isinstance(value, list) else value


class _Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Docker's HTTP API, as far as the cases go."""

    daemon_threads = True
    answers: dict[str, Any]

    def get_request(self) -> tuple[Any, Any]:
        connection, _ = super().get_request()
        return connection, ("local", 0)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = re.sub(r"^/v[\d.]+|\?.*", "", self.path)
        assert isinstance(self.server, _Engine)
        found = self.server.answers.get(path)
        body = json.dumps({"message": "no such image"} if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Api-Version", "1.50")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def record_docker() -> None:
    path = HERE / "docker.json"
    book = json.loads(path.read_text())
    version = subprocess.run(["docker", "--version"], capture_output=True, text=True, check=True)
    book["recorded_with"] = version.stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        engine = _Engine(f"{folder}/engine.sock", _Handler)
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        for case in book["cases"]:
            answers = {**book["engine"], **case.get("engine", {})}
            case["now"] = int(time.time())
            engine.answers = {**with_times(answers, case["now"]), "/_ping": "OK"}
            done = subprocess.run(
                ["docker", "--host", f"unix://{folder}/engine.sock", *case["words"]],
                capture_output=True,
                text=True,
                check=False,
                env={"PATH": os.environ["PATH"], "HOME": folder, "TZ": case.get("zone", "UTC")},
            )
            case.update(stdout=done.stdout, stderr=done.stderr, status=done.returncode)
        engine.shutdown()
    _write(path, book)


def record_templates() -> None:
    path = HERE / "templates.json"
    book = json.loads(path.read_text())
    go = shutil.which("go") or "go"
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True)
    book["recorded_with"] = version.stdout.strip()
    asked = {"data": book["data"], "templates": [case["template"] for case in book["cases"]]}
    done = subprocess.run(
        [go, "run", str(HERE / "templates.go")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    book["cases"] = [
        {"template": text, **answer}
        for text, answer in zip(asked["templates"], json.loads(done.stdout), strict=True)
    ]
    _write(path, book)


def _write(path: Path, book: Any) -> None:
    cases = [json.dumps(case, ensure_ascii=False) for case in book.pop("cases")]
    head = json.dumps(book, ensure_ascii=False, indent=1).removesuffix("\n}")
    path.write_text(f'{head},\n "cases": [\n' + ",\n".join(cases) + "\n ]\n}\n")


if __name__ == "__main__":
    {"docker": record_docker, "templates": record_templates}[sys.argv[1]]()
