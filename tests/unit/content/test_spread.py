"""Ranges, and the note that outlives a process."""

from __future__ import annotations

import errno
import itertools
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.content import Ingest, LocalContentStore, _spread, _writer
from imgd_server.content._spread import Ranges
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest

DATA = random.Random(3).randbytes(8000)
DIGEST = Digest.of(DATA)
EDGE = st.integers(0, 60)


@given(st.lists(st.tuples(EDGE, EDGE), max_size=12), EDGE, EDGE)
def test_ranges_are_sets(added: list[tuple[int, int]], start: int, end: int) -> None:
    ranges = Ranges(added)
    numbers = {one for low, high in added for one in range(low, high)}
    found = [*ranges]
    assert {one for low, high in found for one in range(low, high)} == numbers
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(found))
    assert ranges.total == len(numbers)
    assert ranges.end == max(numbers, default=-1) + 1
    gaps = ranges.missing(start, end)
    assert [one for low, high in gaps for one in range(low, high)] == sorted(
        set(range(start, end)) - numbers
    )
    reach = start
    while reach in numbers:
        reach += 1
    assert ranges.reach(start) == reach


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def begin(root: Path) -> Ingest:
    return LocalContentStore(root).ingest(DIGEST, DIGEST, len(DATA))


def leave(root: Path) -> Path:
    """Leaves a file with a gap, and returns its note."""
    with begin(root) as ingest:
        ingest.open_ranks()
        ingest.write_at(0, DATA[:1000])
        ingest.write_at(5000, DATA[5000:6000])
    return root / "ranges" / DIGEST


def test_after_another_boot_only_what_was_synced_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_writer, "_SYNC", 1500)
    monkeypatch.setattr(_spread, "_boot_id", "before")
    synced: list[int] = []
    fdatasync = os.fdatasync

    def sync(file: int) -> None:
        synced.append(file)
        fdatasync(file)

    monkeypatch.setattr(os, "fdatasync", sync)
    with begin(root) as ingest:
        ingest.open_ranks()
        before = len(synced)
        ingest.write_at(0, DATA[:1000])
        assert len(synced) == before
        ingest.write_at(3000, DATA[3000:4000])
        assert len(synced) == before + 2  # the bytes, and then the note
        assert synced[-2] != synced[-1]
        ingest.write_at(6000, DATA[6000:7000])
    with begin(root) as ingest:
        assert ingest.ranges == [(0, 1000), (3000, 4000), (6000, 7000)]
    monkeypatch.setattr(_spread, "_boot_id", "after")
    with begin(root) as ingest:
        assert ingest.ranges == [(0, 1000), (3000, 4000)]
        ingest.write(DATA[1000:])
        ingest.commit()
    assert LocalContentStore(root).verify(DIGEST)


@pytest.mark.parametrize("raw", [b"", b"00000000 {}\n", b"\xff\xfe", b"12"])
def test_a_damaged_note_says_that_nothing_is_there(root: Path, raw: bytes) -> None:
    leave(root).write_bytes(raw)
    with begin(root) as ingest:
        assert (ingest.offset, ingest.ranges) == (0, [])
        ingest.write(DATA)
        ingest.commit()
    assert LocalContentStore(root).verify(DIGEST)


def test_a_note_of_more_than_there_is_says_nothing(root: Path) -> None:
    leave(root)
    os.truncate(root / "ingest" / DIGEST, 5500)
    with begin(root) as ingest:
        assert ingest.ranges == []


def test_a_note_of_another_file_is_none(root: Path) -> None:
    note = leave(root)
    partial = root / "ingest" / DIGEST
    kept = partial.read_bytes()[:500]
    partial.rename(root / "before")
    partial.write_bytes(kept)
    with begin(root) as ingest:
        assert ingest.ranges == [(0, 500)]
        ingest.write(DATA[500:])
        ingest.commit()
    assert not note.exists()


def test_a_note_without_its_file_goes(root: Path) -> None:
    note = leave(root)
    (root / "ingest" / DIGEST).unlink()
    begin(root).close()
    assert not note.exists()


def test_more_gaps_than_a_note_holds_are_fetched_again(root: Path) -> None:
    with begin(root) as ingest:
        ingest.open_ranks()
        for start in range(0, len(DATA), 20):
            ingest.write_at(start, DATA[start : start + 10])
    with begin(root) as ingest:
        found = ingest.ranges
        assert found == [(start, start + 10) for start in range(0, 1200, 20)]


def test_a_full_disk_keeps_what_was_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite

    def full(file: int, data: bytes, offset: int) -> int:
        if offset >= 4000:
            raise OSError(28, "full")
        return pwrite(file, data[:700], offset)

    with begin(root) as ingest:
        ingest.open_ranks()
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", full)
            ingest.write_at(2000, DATA[2000:3000])
            with pytest.raises(Error) as caught:
                ingest.write_at(4000, DATA[4000:5000])
    assert caught.value.reason is Reason.DISK_FULL
    with begin(root) as ingest:
        assert ingest.ranges == [(2000, 3000)]


def opened_below(folder: Path) -> list[str]:
    """The files there that this process has open."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # another thread's, and closed by now
            found.append(str(one.readlink()))
    return [path for path in found if path.startswith(f"{folder}/")]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_without_room_for_a_note_there_is_no_gap_and_none_is_kept(
    root: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with begin(root) as ingest:
        ingest.write(DATA[:1000])
        with monkeypatch.context() as full:
            full.setattr(f"os.{call}", fail)
            for _ in range(3):
                with pytest.raises(Error) as caught:
                    ingest.open_ranks()
                assert caught.value.reason is Reason.DISK_FULL
        assert opened_below(root / "ranges") == []
        assert [*(root / "ranges").iterdir()] == []
        ingest.write(DATA[1000:3000])
    with begin(root) as ingest:
        assert ingest.offset == 3000


def test_a_disk_that_is_full_is_told_by_the_note_too(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begin(root) as ingest:
        ingest.open_ranks()

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(_spread.Note, "write", fail)
        with pytest.raises(Error) as caught:
            ingest.write_at(5000, DATA[5000:6000])
        assert caught.value.reason is Reason.DISK_FULL


def test_a_note_of_what_is_gone_is_a_stray(root: Path) -> None:
    """As a process leaves it that is killed while it drops both."""
    store = LocalContentStore(root)
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.open_ranks()
        ingest.write_at(5000, DATA[5000:6000])
        store.partial_path(DIGEST).unlink()
        assert [*store.strays()] == []
        assert not store.drop_stray(f"ranges/{DIGEST}")
    assert [*store.strays()] == [f"ranges/{DIGEST}"]
    assert store.drop_stray(f"ranges/{DIGEST}")
    assert [*store.strays()] == []
    assert [*(root / "ranges").iterdir()] == []
