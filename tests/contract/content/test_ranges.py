"""Blobs that are written by ranges, in every content store."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.content import ContentStore, Ingest, LocalContentStore, StartedOverError
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.registry import Cancellation

BACKENDS: dict[str, Callable[[Path], ContentStore]] = {"local": LocalContentStore}
DATA = random.Random(7).randbytes(10_000)
DIGEST = Digest.of(DATA)


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ContentStore:
    return BACKENDS[request.param](tmp_path / "store")


def begin(store: ContentStore) -> Ingest:
    return store.ingest(DIGEST, DIGEST, len(DATA))


def put(ingest: Ingest, start: int, end: int) -> None:
    ingest.write_at(start, DATA[start:end])


def read(store: ContentStore) -> bytes:
    with store.open(DIGEST) as reader:
        return reader.pread(len(DATA) + 1, 0)


@given(
    st.lists(st.integers(0, len(DATA)), max_size=12),
    st.randoms(use_true_random=False),
    st.integers(0, len(DATA)),
)
def test_any_order_makes_the_blob(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    order: random.Random,
    first: int,
) -> None:
    for open_store in BACKENDS.values():
        store = open_store(tmp_path_factory.mktemp("store"))
        edges = sorted({0, len(DATA), *cuts})
        pieces = list(itertools.pairwise(edges))
        order.shuffle(pieces)
        with begin(store) as ingest:
            ingest.write(DATA[:first])
            ingest.open_ranks()
            there = {(0, first)} - {(0, 0)}
            for start, end in pieces:
                put(ingest, start, end)
                there.add((start, end))
                assert covered(ingest.ranges) == covered(there)
                assert ingest.offset == _reach(there)
            assert ingest.commit().size == len(DATA)
        assert read(store) == DATA
        assert store.partial(DIGEST) is None


def covered(ranges: object) -> set[int]:
    assert isinstance(ranges, (list, set))
    return {one for start, end in ranges for one in range(start, end)}


def _reach(there: set[tuple[int, int]]) -> int:
    reach = 0
    for start, end in sorted(there):
        if start <= reach:
            reach = max(reach, end)
    return reach


def test_what_is_behind_gaps_is_there_for_the_next_ingest(store: ContentStore) -> None:
    with begin(store) as ingest:
        ingest.open_ranks()
        put(ingest, 0, 1000)
        put(ingest, 5000, 6000)
        put(ingest, 9000, 10_000)
    found = store.partial(DIGEST)
    assert found is not None
    assert found.size == 3000
    assert store.read_partial(DIGEST, 5000, 900) == DATA[900:1000]
    assert store.read_partial(DIGEST, 10, 5000) == b""
    with begin(store) as ingest:
        assert ingest.offset == 1000
        assert ingest.ranges == [(0, 1000), (5000, 6000), (9000, 10_000)]
        ingest.open_ranks()
        put(ingest, 1000, 5000)
        assert ingest.offset == 6000
        put(ingest, 6000, 9000)
        ingest.commit()
    assert read(store) == DATA


def test_who_never_closed_loses_nothing(store: ContentStore, tmp_path: Path) -> None:
    """As after a kill: whoever opens the folder finds what was written, to the byte."""
    ingest = begin(store)
    ingest.open_ranks()
    put(ingest, 0, 10)
    put(ingest, 4000, 4001)
    put(ingest, 4001, 4444)
    after = BACKENDS["local"](tmp_path / "store")
    with begin(after) as again:
        assert again.ranges == [(0, 10), (4000, 4444)]
        again.open_ranks()
        put(again, 10, 4000)
        put(again, 4444, len(DATA))
        again.commit()
    ingest.close()
    assert read(after) == DATA


def test_the_first_bytes_stay(store: ContentStore) -> None:
    with begin(store) as ingest:
        ingest.open_ranks()
        put(ingest, 2000, 3000)
        # Zeros around, and none where there are bytes.
        assert ingest.write_at(1500, bytes(2000)) == 1000
        assert ingest.ranges == [(1500, 3500)]
        put(ingest, 0, 1500)
        put(ingest, 3500, len(DATA))
        with pytest.raises(Error) as caught:
            ingest.commit()
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert store.partial(DIGEST) is None
    with begin(store) as ingest:
        assert ingest.ranges == []


def test_what_a_mismatch_leaves_is_nothing(store: ContentStore) -> None:
    with begin(store) as ingest:
        ingest.open_ranks()
        ingest.write_at(5000, bytes(5000))
        put(ingest, 0, 5000)
        with pytest.raises(Error):
            ingest.commit()
    with begin(store) as ingest:
        assert (ingest.offset, ingest.ranges) == (0, [])
        ingest.write(DATA)
        ingest.commit()
    assert read(store) == DATA


@pytest.mark.parametrize("end", ["close_ranks", "write", "restart", "abort", "drop", "commit"])
def test_who_goes_on_in_order_forgets_what_is_behind_gaps(store: ContentStore, end: str) -> None:
    with begin(store) as ingest:
        ingest.open_ranks()
        put(ingest, 0, 1000)
        put(ingest, 5000, 6000)
    if end == "drop":
        assert store.drop_partial(DIGEST)
    with begin(store) as ingest:
        if end == "close_ranks":
            ingest.close_ranks()
            assert ingest.ranges == [(0, 1000)]
        elif end == "write":
            ingest.write(DATA[1000:2000])
            assert ingest.ranges == [(0, 2000)]
        elif end == "restart":
            ingest.restart()
        elif end == "abort":
            ingest.abort()
        elif end == "commit":
            with pytest.raises(Error) as caught:
                ingest.commit()
            assert caught.value.reason is Reason.SIZE_MISMATCH
    kept = {"close_ranks": 1000, "write": 2000}.get(end, 0)
    found = store.partial(DIGEST)
    assert (found.size if found else 0) == kept
    with begin(store) as ingest:
        assert ingest.offset == kept
        assert ingest.ranges == ([(0, kept)] if kept else [])
        ingest.write(DATA[kept:])
        ingest.commit()
    assert read(store) == DATA


def test_another_size_drops_all(store: ContentStore) -> None:
    with begin(store) as ingest:
        ingest.open_ranks()
        put(ingest, 9000, 9500)
    with store.ingest(DIGEST, DIGEST, 9400) as ingest:
        assert ingest.ranges == []
    with begin(store) as ingest:
        ingest.open_ranks()
        with pytest.raises(Error) as caught:
            ingest.write_at(9999, b"12")
        assert caught.value.reason is Reason.SIZE_MISMATCH
        assert ingest.ranges == []


def test_followers_get_no_gaps(store: ContentStore) -> None:
    with store.follow(DIGEST) as followed, begin(store) as ingest:
        ingest.open_ranks()
        put(ingest, 500, 1000)
        put(ingest, 0, 100)
        assert followed.wait(-1, Cancellation()) == 100
        put(ingest, 100, 500)
        assert followed.wait(100, Cancellation()) == 1000
        assert os.pread(followed.fileno(), 1000, 0) == DATA[:1000]
        ingest.restart()
        with pytest.raises(StartedOverError):
            followed.wait(1000, Cancellation())


def test_many_threads_make_one_blob(store: ContentStore) -> None:
    data = random.Random(1).randbytes(6 << 20)
    digest = Digest.of(data)
    pieces = [(at, at + 50_000) for at in range(0, len(data), 40_000)]  # each overlaps the next
    random.Random(2).shuffle(pieces)
    with store.ingest(digest, digest, len(data)) as ingest:
        ingest.open_ranks()

        def work(mine: list[tuple[int, int]]) -> None:
            for start, end in mine:
                ingest.write_at(start, data[start:end])

        threads = [threading.Thread(target=work, args=(pieces[one::6],)) for one in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ingest.ranges == [(0, len(data))]
        ingest.commit()
    assert store.verify(digest)


def test_notes_are_no_strays(store: ContentStore) -> None:
    with begin(store) as ingest:
        ingest.open_ranks()
        put(ingest, 500, 1000)
    assert [*store.strays()] == []
    assert [one.key for one in store.partials()] == [DIGEST]
