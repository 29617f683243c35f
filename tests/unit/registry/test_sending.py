"""How much of a blob goes out at once, as its source says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import pytest

from imgd_server.oci import Descriptor, Digest, media
from imgd_server.registry import BlobSource
from imgd_server.registry._connection import Connection
from imgd_server.registry._push import _Part

DATA = bytes(range(256)) * 1000
TARGET = Descriptor(media.OCI_LAYER, Digest.of(DATA), len(DATA))
MOST = 3000


class Line:
    """A connection that takes all that it is given."""

    deadline = 0.0

    def __init__(self, *, can_send_files: bool) -> None:
        self.can_send_files = can_send_files
        self.taken = b""

    def send_file(self, descriptor: int, offset: int, length: int) -> int:
        self.taken += DATA[offset : offset + length]
        return length

    def send_some(self, data: memoryview) -> int:
        self.taken += bytes(data)
        return len(data)


class Slow:
    """A source that lets out a little at a time."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self.sent_bytes: list[tuple[int, int]] = []
        self.asked: list[int] = []
        self._place = 0

    def fileno(self) -> int | None:
        return self._descriptor

    def open(self, offset: int) -> Any:
        self._place = offset
        return nullcontext(self)

    def readinto(self, buffer: memoryview) -> int:
        self.asked.append(len(buffer))
        piece = DATA[self._place : self._place + len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def portion(self, most: int) -> int:
        return min(most, MOST)

    def sent(self, offset: int, length: int) -> None:
        self.sent_bytes.append((offset, length))


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "blob").write_bytes(DATA)
    with (tmp_path / "blob").open("rb") as file:
        yield file.fileno()


@pytest.mark.parametrize("how", ["file", "TLS", "stream"])
def test_a_source_says_how_much_goes_out_at_once(descriptor: int, how: str) -> None:
    source = Slow(None if how == "stream" else descriptor)
    line = Line(can_send_files=how == "file")
    part = _Part(cast("BlobSource", source), TARGET, 1000, len(DATA) - 1500)
    assert part.send(cast("Connection", line), 60.0)
    assert line.taken == DATA[1000:-500]
    place = 1000
    for offset, length in source.sent_bytes:
        assert offset == place
        assert 0 < length <= MOST
        place += length
    assert place == len(DATA) - 500
    # Nor is more taken out of a source than goes on: it waits for its reader, too.
    assert max(source.asked, default=MOST) == MOST
