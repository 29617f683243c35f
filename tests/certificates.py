"""Throw-away certificate authorities, made by the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.peers import require

__all__ = ["Authority", "Certificate"]


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, as PEM files."""

    chain: Path
    key: Path


class Authority:
    """An authority that nobody trusts but who is told to: `SSL_CERT_FILE` is its `bundle`."""

    def __init__(self, folder: Path, name: str = "imgd tests") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._openssl = str(require("openssl"))
        self.bundle = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._run(
            *("req", "-x509", "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", str(self._key), "-out", str(self.bundle)),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )

    def issue(self, *hosts: str) -> Certificate:
        """A server's certificate for these names and addresses."""
        chain, key = self._folder / f"{hosts[0]}.pem", self._folder / f"{hosts[0]}.key"
        names = ",".join(f"{'IP' if _is_address(one) else 'DNS'}:{one}" for one in hosts)
        self._run(
            *("req", "-x509", "-days", "2", "-subj", f"/CN={hosts[0]}"),
            *("-CA", str(self.bundle), "-CAkey", str(self._key)),
            *("-keyout", str(key), "-out", str(chain)),
            *("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE"),
        )
        return Certificate(chain, key)

    def _run(self, *words: str) -> None:
        # An elliptic curve: an RSA key takes a noticeable part of a second.
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
        subprocess.run([self._openssl, *words, *curve], check=True, capture_output=True)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
