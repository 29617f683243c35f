"""A blob that is followed while it is written, in every content store."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.content import ContentStore, Followed, LocalContentStore, StartedOverError
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.registry import Cancellation

PATIENCE = 60.0
BACKENDS: dict[str, Callable[[Path], ContentStore]] = {"local": LocalContentStore}
DATA = bytes(range(256)) * 40
DIGEST = Digest.of(DATA)
WHOLE = sys.maxsize


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ContentStore:
    return BACKENDS[request.param](tmp_path / "store")


def look(followed: Followed, offset: int = -1) -> int:
    return followed.wait(offset, Cancellation())


def read(followed: Followed, length: int) -> bytes:
    return os.pread(followed.fileno(), length, 0)


class Waiting:
    """A thread that waits for more of a blob."""

    def __init__(self, followed: Followed, offset: int) -> None:
        self.cancellation = Cancellation()
        self._entered = threading.Event()
        waits = self.cancellation.on_cancel

        def on_cancel(callback: Callable[[], None]) -> Callable[[], None]:
            self._entered.set()
            return waits(callback)

        self.cancellation.on_cancel = on_cancel  # type: ignore[method-assign]
        self._executor = ThreadPoolExecutor(1)
        self._future: Future[int] = self._executor.submit(followed.wait, offset, self.cancellation)
        assert self._entered.wait(PATIENCE)

    def result(self) -> int:
        try:
            return self._future.result(PATIENCE)
        finally:
            self._executor.shutdown()

    @property
    def done(self) -> bool:
        return self._future.done()


def bring(store: ContentStore, data: bytes = DATA, key: str = DIGEST) -> None:
    with store.ingest(key, resume=False) as ingest:
        ingest.write(data)
        ingest.commit(Digest.of(data))


def test_what_is_stored_is_whole(store: ContentStore) -> None:
    bring(store)
    with store.follow(DIGEST) as followed:
        assert look(followed, WHOLE) == look(followed) == len(DATA)
        assert read(followed, 1 << 20) == DATA
    followed.close()


def test_it_grows_over_attempts_and_becomes_the_blob(store: ContentStore) -> None:
    with store.follow(DIGEST) as followed:
        with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
            first = Waiting(followed, 0)
            ingest.write(DATA[:100])
            assert first.result() == 100
            assert look(followed) == 100
            ingest.write(DATA[100:150])
            assert look(followed, 100) == 150
        assert look(followed) == 150
        more = Waiting(followed, 150)
        with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
            assert ingest.offset == 150
            ingest.write(DATA[150:200])
            assert more.result() == 200
            ingest.write(DATA[200:])
            assert look(followed, 200) == len(DATA)
            last = Waiting(followed, len(DATA))
            assert store.find(DIGEST) is None
            assert not last.done, "all bytes are there, and nobody has verified them"
            ingest.commit()
        assert last.result() == len(DATA)
        assert read(followed, 1 << 20) == DATA


def test_what_an_earlier_process_left_shows_when_it_is_taken_up(store: ContentStore) -> None:
    with store.ingest(DIGEST) as ingest:
        ingest.write(DATA[:300])
    with store.follow(DIGEST) as followed:
        waiting = Waiting(followed, 0)
        assert not waiting.done
        with store.ingest(DIGEST):
            assert waiting.result() == 300
        assert read(followed, 1000) == DATA[:300]


def drop(store: ContentStore) -> None:
    assert store.drop_partial(DIGEST)


def ingest_anew(store: ContentStore) -> None:
    store.ingest(DIGEST, resume=False).close()


def restart(store: ContentStore) -> None:
    with store.ingest(DIGEST) as ingest:
        ingest.restart()
        ingest.write(DATA)  # as many bytes as before, and more: only the store knows


def restart_and_commit(store: ContentStore) -> None:
    """Perhaps all of it before the reader looks again."""
    with store.ingest(DIGEST) as ingest:
        ingest.restart()
        ingest.write(DATA)
        ingest.commit(DIGEST)


def abort(store: ContentStore) -> None:
    store.ingest(DIGEST).abort()


def mismatch(store: ContentStore) -> None:
    with store.ingest(DIGEST, DIGEST) as ingest, pytest.raises(Error):
        ingest.commit()


def too_long(store: ContentStore) -> None:
    """What can't be of the blob is dropped."""
    store.ingest(DIGEST, DIGEST, 10).close()


def pushed(store: ContentStore) -> None:
    """Somebody else brought the blob: another file."""
    bring(store, key="upload:1")


ENDS = [drop, ingest_anew, restart, restart_and_commit, abort, mismatch, too_long, pushed]


@pytest.mark.parametrize("end", ENDS, ids=[end.__name__ for end in ENDS])
@pytest.mark.parametrize("waits", [True, False])
def test_bytes_that_are_worth_nothing(
    store: ContentStore, end: Callable[[ContentStore], None], *, waits: bool
) -> None:
    with store.follow(DIGEST) as followed, store.follow(DIGEST) as late:
        with store.ingest(DIGEST) as ingest:
            ingest.write(b"x" * 200)
        assert look(followed, 0) == 200
        if waits:
            waiting = Waiting(followed, 200)
            end(store)
            with pytest.raises(StartedOverError):
                waiting.result()
        else:
            end(store)
        with pytest.raises(StartedOverError):
            look(followed)
        # Who has read nothing of them has the right ones.
        bring(store)
        assert look(late, WHOLE) == len(DATA)
        assert read(late, 1 << 20) == DATA


def test_nothing_is_lost_for_who_has_read_nothing(store: ContentStore) -> None:
    with store.follow(DIGEST) as followed:
        waiting = Waiting(followed, 1000)
        with store.ingest(DIGEST) as ingest:
            ingest.write(b"x" * 1000)
            ingest.restart()
            ingest.write(DATA[:1001])
            assert waiting.result() == 1001
        assert read(followed, 2000) == DATA[:1001]


def test_a_push_of_what_is_awaited(store: ContentStore) -> None:
    with store.follow(DIGEST) as followed:
        waiting = Waiting(followed, 0)
        bring(store, key="upload:1")
        assert waiting.result() == len(DATA)
        assert read(followed, 1 << 20) == DATA


def test_leaving(store: ContentStore) -> None:
    with store.follow(DIGEST) as followed:
        waiting = Waiting(followed, 0)
        waiting.cancellation.cancel()
        with pytest.raises(Error) as caught:
            waiting.result()
        assert caught.value.reason is Reason.CANCELLED
        # Others, and this one, may go on.
        bring(store)
        assert look(followed, WHOLE) == len(DATA)


def test_a_deleted_blob_stays_readable(store: ContentStore) -> None:
    bring(store)
    with store.follow(DIGEST) as followed, store.follow(DIGEST) as late:
        assert look(followed) == len(DATA)
        store.delete(DIGEST)
        assert look(followed, WHOLE) == len(DATA)
        assert read(followed, 1 << 20) == DATA
        waiting = Waiting(late, 0)
        assert not waiting.done
        bring(store)
        assert waiting.result() == len(DATA)


@given(st.lists(st.sampled_from(["write", "again", "restart", "abort", "commit"]), max_size=25))
def test_what_is_read_in_the_end_is_the_blob(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """A reader that begins anew whenever it is told to has the blob's bytes and no others."""
    store = LocalContentStore(tmp_path_factory.mktemp("store"))
    followed = store.follow(DIGEST)
    ingest = store.ingest(DIGEST, DIGEST, len(DATA))
    got = b""

    def catch_up() -> None:
        nonlocal followed, got
        if not (got or ingest.offset or store.find(DIGEST)):
            return  # it would wait
        try:
            reached = look(followed)
        except StartedOverError:
            followed.close()
            followed, got = store.follow(DIGEST), b""
        else:
            got += os.pread(followed.fileno(), reached - len(got), len(got))

    for number, step in enumerate([*steps, "restart", "write", "commit"]):
        if step == "write":
            # Wrong bytes every third time, until the next beginning.
            piece = DATA[ingest.offset : ingest.offset + 700] if number % 3 else b"?" * 600
            if number == len(steps) + 1:
                piece = DATA[ingest.offset :]
            if ingest.offset + len(piece) <= len(DATA):
                ingest.write(piece)
        elif step == "again":
            ingest.close()
            ingest = store.ingest(DIGEST, DIGEST, len(DATA))
        elif step == "restart":
            ingest.restart()
        elif step == "abort":
            ingest.abort()
            ingest = store.ingest(DIGEST, DIGEST, len(DATA))
        else:
            try:
                ingest.commit()
            except Error:
                pass
            else:
                break
            ingest = store.ingest(DIGEST, DIGEST, len(DATA))
        catch_up()
    ingest.close()
    catch_up()
    catch_up()
    assert look(followed, WHOLE) == len(DATA)
    assert got == DATA
    followed.close()
