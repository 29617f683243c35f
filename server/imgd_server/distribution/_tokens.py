"""Bearer tokens (distribution, spec/auth/token and spec/auth/jwt; RFC 7515, 7517, 7518, 7519)."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from imgd_server.distribution._watched import WatchedFiles, invalid

__all__ = ["TokenError", "Verifier", "parse_keys"]

_KEY = "registry_token_keys"
# Clocks differ so much; seconds. docker-registry allows as much.
_LEEWAY = 60.0
_MAX_KEYS = 32
# Clients ask for a scope or two, and a mount for one more.
_MAX_ACCESS = 100
_LEAST_RSA_BITS = 2048
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
# RFC 7518, 3.4: each has its curve, and the length of half a signature.
_CURVES: Mapping[str, tuple[type[ec.EllipticCurve], int]] = {
    "ES256": (ec.SECP256R1, 32),
    "ES384": (ec.SECP384R1, 48),
    "ES512": (ec.SECP521R1, 66),
}
_JWK_CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}

_UNREADABLE = (
    *(ValueError, TypeError, KeyError, AttributeError, RecursionError),
    *(UnsupportedAlgorithm, x509.InvalidVersion),
)

_PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class TokenError(Exception):
    """A token that is not taken; its text says why, and holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """A key that signs tokens, until then (seconds since the epoch; of a certificate)."""

    key: _PublicKey
    name: str = ""
    algorithm: str = ""
    until: float = field(default=math.inf)

    def signed(self, algorithm: str, message: bytes, signature: bytes) -> bool:
        """Whether it signed that, with an algorithm of its own kind.

        The algorithms are asymmetric ones, named here: `none` and HMAC are not among them.
        """
        if self.algorithm and self.algorithm != algorithm:
            return False
        family, digest = algorithm[:2], _HASHES.get(algorithm[2:])
        try:
            match self.key:
                case rsa.RSAPublicKey() if digest and family == "RS":
                    self.key.verify(signature, message, padding.PKCS1v15(), digest)
                case rsa.RSAPublicKey() if digest and family == "PS":
                    length = padding.PSS.DIGEST_LENGTH
                    scheme = padding.PSS(padding.MGF1(digest), length)
                    self.key.verify(signature, message, scheme, digest)
                case ec.EllipticCurvePublicKey() if digest and algorithm in _CURVES:
                    curve, half = _CURVES[algorithm]
                    if not isinstance(self.key.curve, curve) or len(signature) != 2 * half:
                        return False
                    parts = (signature[:half], signature[half:])
                    numbers = (int.from_bytes(part, "big") for part in parts)
                    der = encode_dss_signature(*numbers)
                    self.key.verify(der, message, ec.ECDSA(digest))
                case ed25519.Ed25519PublicKey() if algorithm == "EdDSA":
                    self.key.verify(signature, message)
                case _:
                    return False
        except InvalidSignature:
            return False
        return True


# --- keys


def parse_keys(data: bytes) -> list[_Signer]:
    """The keys of a JWK set, or of PEM certificates and public keys. Raises FIELD_INVALID."""
    try:
        signers = _from_jwks(data) if data.lstrip().startswith(b"{") else _from_pem(data)
    except _UNREADABLE as error:
        why = (
            str(error)
            if isinstance(error, _UnfitError)
            else "the file has a key that can't be read"
        )
        raise invalid(_KEY, why) from None
    if not 0 < len(signers) <= _MAX_KEYS:
        raise invalid(_KEY, f"the file has {len(signers)} keys, and 1 to {_MAX_KEYS} are taken")
    return signers


class _UnfitError(ValueError):
    """A key that is none for tokens."""


def _from_pem(data: bytes) -> list[_Signer]:
    found = []
    for match in _PEM.finditer(data):
        until = math.inf
        if match[1] == b"CERTIFICATE":
            certificate = x509.load_pem_x509_certificate(match[0])
            until = certificate.not_valid_after_utc.timestamp()
            key: object = certificate.public_key()
        elif match[1] == b"PUBLIC KEY":
            key = load_pem_public_key(match[0])
        else:
            raise _UnfitError("certificates and public keys are taken, and no private ones")
        found.append(_Signer(_fit(key), until=until))
    return found


def _from_jwks(data: bytes) -> list[_Signer]:
    return [
        _Signer(_fit(_jwk(jwk)), str(jwk.get("kid", "")), str(jwk.get("alg", "")))
        for jwk in json.loads(data)["keys"]
        if jwk.get("use", "sig") == "sig"
    ]


def _jwk(jwk: Mapping[str, str]) -> _PublicKey:
    kind = jwk["kty"]
    if kind == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
    if kind == "EC" and jwk["crv"] in _JWK_CURVES:
        curve = _JWK_CURVES[jwk["crv"]]
        point = _number(jwk["x"]), _number(jwk["y"])
        return ec.EllipticCurvePublicNumbers(*point, curve).public_key()
    if kind == "OKP" and jwk["crv"] == "Ed25519":
        return ed25519.Ed25519PublicKey.from_public_bytes(_decode(jwk["x"]))
    raise _UnfitError("keys are of RSA, of the curves P-256, P-384 and P-521, or of Ed25519")


def _fit(key: object) -> _PublicKey:
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise _UnfitError(f"a key of RSA has at least {_LEAST_RSA_BITS} bits")
    if not isinstance(key, _PublicKey):
        raise _UnfitError("keys are of RSA, of the curves P-256, P-384 and P-521, or of Ed25519")
    return key


# --- tokens


class Verifier:
    """Knows which tokens are good: signed by one of the keys, from the issuer, for the service."""

    def __init__(
        self,
        keys: str,
        issuer: str,
        service: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = WatchedFiles({_KEY: keys}, parse_keys)
        self._issuer, self._service, self._clock = issuer, service, clock

    def access(self, token: str) -> dict[tuple[str, str], frozenset[str]]:
        """The actions that a token allows, by type and name of the resource. Raises TokenError."""
        parts = token.split(".")
        if len(parts) != 3:
            raise TokenError("it has not three parts")
        header, claims = (_json(part) for part in parts[:2])
        if "crit" in header:
            raise TokenError("it wants an extension to be understood")
        self._check_signature(header, f"{parts[0]}.{parts[1]}".encode(), _decoded(parts[2]))
        self._check_claims(claims)
        return _access(claims)

    def _check_signature(self, header: dict[str, Any], message: bytes, signature: bytes) -> None:
        algorithm, name = header.get("alg"), header.get("kid")
        signers = self._file.current()
        # Who names a key that is here means that one.
        named = [one for one in signers if one.name and one.name == name]
        now = self._clock()
        for signer in named or signers:
            if (
                isinstance(algorithm, str)
                and now < signer.until
                and signer.signed(algorithm, message, signature)
            ):
                return
        raise TokenError("none of the keys signed it")

    def _check_claims(self, claims: dict[str, Any]) -> None:
        now, audience = self._clock(), claims.get("aud")
        if claims.get("iss") != self._issuer:
            raise TokenError("it is from another issuer")
        if self._service not in (audience if isinstance(audience, list) else [audience]):
            raise TokenError("it is for another service")
        expires, begins = claims.get("exp"), claims.get("nbf", 0)
        if not _is_time(expires) or now >= expires + _LEEWAY:
            raise TokenError("it has expired")
        if not _is_time(begins) or now < begins - _LEEWAY:
            raise TokenError("it is not good yet")


def _access(claims: dict[str, Any]) -> dict[tuple[str, str], frozenset[str]]:
    listed = claims.get("access") or []
    if not isinstance(listed, list) or len(listed) > _MAX_ACCESS:
        raise TokenError(f"its access is no list of at most {_MAX_ACCESS} resources")
    found: dict[tuple[str, str], frozenset[str]] = {}
    for one in listed:
        try:
            key, actions = (one["type"], one["name"]), frozenset(one["actions"] or ())
            found[key] = found.get(key, frozenset()) | actions
        except (TypeError, KeyError):
            raise TokenError("its access names no resource") from None
    return found


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _json(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(part))
    except (ValueError, RecursionError):
        raise TokenError("a part is no JSON") from None
    if not isinstance(value, dict):
        raise TokenError("a part is no JSON object")
    return value


def _decoded(part: str) -> bytes:
    try:
        return _decode(part)
    except ValueError:
        raise TokenError("a part is not base64url") from None


def _decode(text: str) -> bytes:
    """Base64url without padding (RFC 7515, 2), and nothing else."""
    if "=" in text:
        raise ValueError("padding")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _number(text: str) -> int:
    return int.from_bytes(_decode(text), "big")
