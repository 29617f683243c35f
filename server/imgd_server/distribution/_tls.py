"""The certificate that the registry shows, taken anew when its files change."""

from __future__ import annotations

import os
import ssl

from imgd_server.distribution._watched import WatchedFiles, invalid
from imgd_server.errors import Error

__all__ = ["open_tls"]

_CERTIFICATE, _KEY = "registry_tls_certificate", "registry_tls_key"


def open_tls(certificate: str, key: str) -> ssl.SSLContext | None:
    """What to listen with; None where neither file is named.

    Each handshake takes the files as they are then: a certificate that was renewed needs no
    restart. Raises FIELD_INVALID with the key's name.
    """
    if not certificate and not key:
        return None
    if not key:
        raise invalid(_KEY, f"needed beside {_CERTIFICATE}")
    if not certificate:
        raise invalid(_CERTIFICATE, f"needed beside {_KEY}")

    def load(chain: bytes, _: bytes) -> ssl.SSLContext:
        return _load(certificate, key, chain)

    files = WatchedFiles({_CERTIFICATE: certificate, _KEY: key}, load)
    context = _bare()

    def choose(handshake: ssl.SSLSocket | ssl.SSLObject, *_: object) -> None:
        handshake.context = files.current()

    # It is called for every handshake, whether the client names a host or not.
    context.sni_callback = choose
    return context


def _bare() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(certificate: str, key: str, chain: bytes) -> ssl.SSLContext:
    context = _bare()
    try:
        # A password, wrong for sure: without one, a protected key asks at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: os.urandom(8).hex())
    except (ssl.SSLError, OSError) as error:
        raise _refused(chain, error) from None
    return context


def _refused(chain: bytes, error: OSError) -> Error:
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        return invalid(_KEY, f"is not the key of the certificate in {_CERTIFICATE}")
    probe = _bare()
    try:
        probe.load_verify_locations(cadata=chain.decode("latin-1"))
    except (ssl.SSLError, ValueError):
        return invalid(_CERTIFICATE, "the file has no certificate in PEM")
    return invalid(_KEY, "the file has no private key in PEM without a password")
