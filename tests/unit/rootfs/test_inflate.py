from __future__ import annotations

import gzip
import hashlib
import io
import random
import threading
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.rootfs import Limits
from imgd_server.rootfs._inflate import CHUNK, Inflater

TEXT = b"".join(b"%d " % number for number in range(150_000))


class Trickle:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes, self._turn = io.BytesIO(data), sizes, 0

    def read(self, size: int) -> bytes:
        self._turn += 1
        return self._data.read(min(size, self._sizes[self._turn % len(self._sizes)]))


def inflate(data: bytes, *sizes: int, **limits: int) -> bytes:
    with Inflater(Trickle(data, list(sizes or (1 << 30,))), Limits(**limits)) as inflater:
        chunks = list(inflater)
    assert all(chunks)
    assert max(map(len, chunks), default=0) <= CHUNK
    whole = b"".join(chunks)
    assert inflater.unpacked_bytes == len(whole)
    assert inflater.digest.hex == hashlib.sha256(whole).hexdigest()
    return whole


def reason(data: bytes, **limits: int) -> tuple[Reason, str]:
    with pytest.raises(Error) as caught:
        inflate(data, **limits)
    return caught.value.reason, caught.value.message


def members(data: bytes, size: int) -> bytes:
    return b"".join(gzip.compress(data[at : at + size]) for at in range(0, len(data), size))


def frames(data: bytes, size: int) -> bytes:
    pack = zstandard.ZstdCompressor().compress
    return b"".join(pack(data[at : at + size]) for at in range(0, len(data), size))


SKIPPABLE = b"\x5e\x2a\x4d\x18\x03\0\0\0abc"


@pytest.mark.parametrize(
    "packed",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip.compress(TEXT, 0),
        members(TEXT, 1000),
        members(TEXT, 300_000),
        frames(TEXT, 1 << 30),
        frames(TEXT, 5000),
        SKIPPABLE + frames(TEXT, 5000) + SKIPPABLE,
    ],
    ids=["plain", "gzip", "stored", "small members", "members", "zstd", "frames", "skippable"],
)
@pytest.mark.parametrize("size", [1 << 30, 999])
def test_compressions(packed: bytes, size: int) -> None:
    assert inflate(packed, size) == TEXT


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 30)), max_size=6),
    st.sampled_from(["plain", "gzip", "zstd"]),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_any_cut(parts: list[tuple[bytes, int]], form: str, sizes: list[int]) -> None:
    pieces = [data * times for data, times in parts]
    if form == "plain":
        # What begins like a compressed stream is taken for one.
        assert inflate(b"." + b"".join(pieces), *sizes) == b"." + b"".join(pieces)
    elif form == "gzip":
        assert inflate(b"".join(map(gzip.compress, pieces)), *sizes) == b"".join(pieces)
    else:
        pack = zstandard.ZstdCompressor().compress
        assert inflate(b"".join(map(pack, pieces)), *sizes) == b"".join(pieces)


def test_nothing() -> None:
    assert inflate(b"") == inflate(gzip.compress(b"")) == b""


@pytest.mark.parametrize("rest", [b"\0", bytes(9000), b"rubbish", b"\x1f"])
def test_what_follows_the_last_member_is_ignored(rest: bytes) -> None:
    assert inflate(gzip.compress(b"data") + rest) == b"data"
    assert inflate(gzip.compress(b"data") + rest, 1) == b"data"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(TEXT)[:-9], "too early"),
        (gzip.compress(TEXT)[:5], "too early"),
        (gzip.compress(b"data") + b"\x1f\x8b\x08", "too early"),
        (gzip.compress(b"data")[:-8] + b"\1\2\3\4" + b"\4\0\0\0", "damaged"),
        (gzip.compress(TEXT)[:100] + bytes(100) + gzip.compress(TEXT)[200:], "damaged"),
        (frames(TEXT, 1 << 20)[:9] + b"\xff" * 90 + frames(TEXT, 1 << 20)[99:], "damaged"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "damaged"),
    ],
    ids=["trailer", "header", "next header", "checksum", "gzip", "frame", "first frame"],
)
def test_refuses(data: bytes, words: str) -> None:
    why, message = reason(data)
    assert why is Reason.LAYER_INVALID
    assert words in message


def test_bombs() -> None:
    zeros = gzip.compress(bytes(8 << 20))
    assert reason(zeros, max_bytes=1 << 20)[0] is Reason.LAYER_TOO_LARGE
    assert reason(zeros, max_ratio=100, ratio_floor=1 << 20)[0] is Reason.LAYER_TOO_LARGE
    assert len(inflate(zeros, max_ratio=100, ratio_floor=8 << 20)) == 8 << 20
    assert len(inflate(zeros, max_ratio=1100, ratio_floor=0)) == 8 << 20
    pack = zstandard.ZstdCompressor().compress
    assert reason(pack(bytes(8 << 20)), max_bytes=1 << 20)[0] is Reason.LAYER_TOO_LARGE


def test_a_window_that_would_fill_the_memory() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    why, message = reason(packer.compress(b"x" * 1000) + packer.flush())
    assert why is Reason.LAYER_TOO_LARGE
    assert "window" in message


def test_what_the_stream_raises_reaches_the_reader() -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise Error(Reason.REGISTRY_TIMEOUT, "slow")

    with pytest.raises(Error, match="slow"), Inflater(Broken(), Limits()) as inflater:
        list(inflater)


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    data = random.Random(0).randbytes(1 << 20) * 40
    with Inflater(io.BytesIO(data), Limits()) as inflater:
        assert next(iter(inflater))
    assert threading.active_count() == before
    assert inflater.unpacked_bytes < len(data)


def test_other_digests() -> None:
    with Inflater(io.BytesIO(TEXT), Limits(), "sha512") as inflater:
        list(inflater)
    assert inflater.digest.hex == hashlib.sha512(TEXT).hexdigest()


def test_zlib_streams_are_not_gzip() -> None:
    # 0x78 begins a zlib stream, and a tar archive whose first name begins with an x.
    packed = zlib.compress(TEXT)
    assert inflate(packed) == packed
    assert packed[:1] == b"x"
