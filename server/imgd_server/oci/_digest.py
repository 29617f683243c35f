"""Content digests."""

from __future__ import annotations

import hashlib
import re
from typing import Final, Protocol

from ._errors import FormatError, show

_HEX_LENGTH: Final = {"sha256": 64, "sha512": 128}
_SUPPORTED: Final = " and ".join(_HEX_LENGTH)
_ALGORITHM = re.compile(r"[A-Za-z0-9]+(?:[+._-][A-Za-z0-9]+)*")
_HEX = re.compile(r"[0-9a-f]*")


class Hasher(Protocol):
    """The part of a ``hashlib`` object that content needs."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the next bytes."""

    def digest(self) -> bytes:
        """Return the raw hash of what was taken in."""

    def hexdigest(self) -> str:
        """Return the lower-case hexadecimal hash of what was taken in."""


class Digest(str):
    """A digest ``algorithm:hex`` (OCI image 1.1, descriptor.md, "Digests").

    Either ``sha256:`` and 64 or ``sha512:`` and 128 lower-case hexadecimal digits; every instance
    is valid, however it was made.

    Raises:
        FormatError: ``DIGEST_UNSUPPORTED`` for another algorithm, else ``DIGEST_INVALID``.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        _check(text)
        return super().__new__(cls, text)

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``; the same as calling the class."""
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of `data`; ``DIGEST_UNSUPPORTED`` for an unknown algorithm."""
        if algorithm not in _HEX_LENGTH:
            raise _unsupported(algorithm)
        return cls(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hexadecimal digits."""
        return self.partition(":")[2]

    def hasher(self) -> Hasher:
        """Return a fresh ``hashlib`` object of this digest's algorithm."""
        return hashlib.new(self.algorithm)


def _unsupported(algorithm: str) -> FormatError:
    return FormatError(
        "DIGEST_UNSUPPORTED",
        f"digest algorithm {show(algorithm)} is not supported: use {_SUPPORTED}",
        algorithm,
    )


def _check(text: str) -> None:
    if not text:
        raise FormatError("DIGEST_INVALID", "a digest is algorithm:hex, and this one is empty")
    algorithm, colon, digits = text.partition(":")
    if not colon:
        raise FormatError(
            "DIGEST_INVALID", f"a digest is algorithm:hex, and {show(text)} has no ':'", text
        )
    length = _HEX_LENGTH.get(algorithm)
    if length is None:
        if algorithm.isascii() and algorithm.lower() in _HEX_LENGTH:
            raise FormatError(
                "DIGEST_INVALID",
                f"a digest's algorithm must be lower case: {show(algorithm)}",
                algorithm,
            )
        if _ALGORITHM.fullmatch(algorithm):
            raise _unsupported(algorithm)
        raise FormatError(
            "DIGEST_INVALID",
            f"a digest starts with its algorithm ({_SUPPORTED}), not {show(algorithm)}",
            algorithm,
        )
    if not _HEX.fullmatch(digits):
        rule = (
            "must be lower case"
            if digits.isascii() and _HEX.fullmatch(digits.lower())
            else "must be hexadecimal"
        )
        raise FormatError(
            "DIGEST_INVALID", f"the digits of a {algorithm} digest {rule}: {show(digits)}", digits
        )
    if len(digits) != length:
        raise FormatError(
            "DIGEST_INVALID",
            f"a {algorithm} digest has {length} hexadecimal digits, not {len(digits)}: "
            f"{show(digits)}",
            digits,
        )
