"""As much of protobuf as the peers' requests need: no stubs of theirs are generated."""

from __future__ import annotations

__all__ = ["descriptor", "field", "varint"]

_MANIFEST = b"application/vnd.oci.image.manifest.v1+json"


def varint(value: int) -> bytes:
    """A number that is not negative."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: bytes | int) -> bytes:
    """A field of a message: a number, or bytes (a string's, or another message's)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def descriptor(digest: str, size: int = 1234) -> bytes:
    """containerd.types.Descriptor of a manifest."""
    return field(1, _MANIFEST) + field(2, digest.encode()) + field(3, size)
