"""Standard input, for threads that may be left waiting for it."""

from __future__ import annotations

import io

__all__ = ["StandardInput"]


class StandardInput(io.FileIO):
    """Its bytes. Python's own has a lock, without which the interpreter aborts at its end: and
    a thread of gRPC's may still be waiting for bytes then, that nobody wants any more."""

    def __init__(self) -> None:
        super().__init__(0, "rb", closefd=False)

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes, fewer at the end. A pipe gives a few at a time, and each read becomes a
        message."""
        if size is None or size < 0:
            return super().readall() or b""
        found = bytearray()
        while len(found) < size and (more := super().read(size - len(found))):
            found += more
        return bytes(found)
