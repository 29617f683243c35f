"""Layers that are unpacked while they come: what shows when, and what is taken back."""

from __future__ import annotations

import gzip
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from imgd_server.content import ContentStore, Followed, Ingest, LocalContentStore
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.registry import Cancellation
from imgd_server.rootfs import Layer, SnapshotStore, Unpacker, stored_layer
from imgd_server.rootfs._unpack import _EARLY
from tests.unit.rootfs.archives import ROOT, archive, diff_id, file, tree

PATIENCE = 60.0
DATA = archive(*(file(b"%d" % number, os.urandom(100_000)) for number in range(60)))
PACKED = gzip.compress(DATA, 1)
DIGEST = Digest.of(PACKED)
OTHER = gzip.compress(archive(*(file(b"evil-%d" % n, os.urandom(100_000)) for n in range(60))), 1)


class Watched:
    """A blob that is followed, and what is asked of it."""

    any_begun = threading.Semaphore(0)
    """Counts `begun`, of all."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self.begun = threading.Event()
        """A worker reads."""
        self.last_asked = threading.Event()
        """All bytes that came are read, and the worker waits for the end."""
        self.waits_for_all = threading.Event()
        """Somebody waits until the blob is verified."""

    def fileno(self) -> int:
        if not self.begun.is_set():
            self.begun.set()
            self.any_begun.release()
        return self._followed.fileno()

    def wait(self, offset: int, cancellation: Any) -> int:
        if offset == sys.maxsize:
            self.waits_for_all.set()
        elif offset >= len(PACKED):
            self.last_asked.set()
        return self._followed.wait(offset, cancellation)

    def close(self) -> None:
        self._followed.close()


class Coming:
    """A layer of an image, whose blob a test brings."""

    def __init__(self, content: ContentStore, layer: bytes = DATA, packed: bytes = PACKED) -> None:
        self.packed, self.digest = packed, Digest.of(packed)
        self.sources: list[Watched] = []
        self.content = content
        self._opened = threading.Event()

        def follow() -> Watched:
            self.sources.append(Watched(content.follow(self.digest)))
            self._opened.set()
            return self.sources[-1]

        self.layer = Layer(diff_id(layer), follow, len(packed), self.digest)

    def opened(self) -> Watched:
        """The first source, once there is one."""
        assert self._opened.wait(PATIENCE)
        return self.sources[0]

    def ingest(self) -> Ingest:
        return self.content.ingest(self.digest, self.digest, len(self.packed))

    def bring(self) -> None:
        with self.ingest() as ingest:
            ingest.write(self.packed[ingest.offset :])
            ingest.commit()


class Running:
    """An image that is unpacked in a thread."""

    all: ClassVar[list[Running]] = []

    def __init__(self, unpacker: Unpacker, layers: list[Layer]) -> None:
        self.moved, self.cancellation = threading.Event(), Cancellation()
        self._outcome: list[Any] = []

        def tell(place: int, unpacked: int, done: bool) -> None:
            if unpacked:
                self.moved.set()

        def work() -> None:
            try:
                self._outcome.append(unpacker.unpack(layers, tell, self.cancellation))
            except Error as error:
                self._outcome.append(error)

        self._thread = threading.Thread(target=work)
        self._thread.start()
        self.all.append(self)

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        (outcome,) = self._outcome
        if isinstance(outcome, Error):
            raise outcome
        return outcome


@pytest.fixture(name="content")
def make_content(tmp_path: Path) -> ContentStore:
    return LocalContentStore(tmp_path / "content")


@pytest.fixture(name="store", params=["overlay", "copy"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotStore:
    if request.param == "overlay" and not ROOT:
        pytest.skip("NOT TESTED: layers apart need root")
    return SnapshotStore(tmp_path / "snapshots", request.param)


@pytest.fixture(name="unpacker")
def make_unpacker(store: SnapshotStore) -> Iterator[Unpacker]:
    with Unpacker(store, workers=1) as unpacker:
        yield unpacker
        for running in Running.all:
            running.cancellation.cancel()
        Running.all.clear()


def folders(store: SnapshotStore) -> int:
    return len([*store.layers.iterdir()])


def begin(content: ContentStore, unpacker: Unpacker, data: bytes) -> tuple[Coming, Running]:
    """A layer of whose blob these bytes came, and a worker has read some of them."""
    coming = Coming(content)
    with coming.ingest() as ingest:
        ingest.write(data)
    # Followed from the moment somebody writes.
    running = Running(unpacker, [coming.layer])
    with coming.ingest():
        assert coming.opened().begun.wait(PATIENCE)
    return coming, running


def test_nothing_shows_before_the_blob_is_verified(
    content: ContentStore, store: SnapshotStore, unpacker: Unpacker
) -> None:
    coming, running = begin(content, unpacker, PACKED[:-1])
    with coming.ingest() as ingest:
        ingest.write(PACKED[-1:])
        assert coming.sources[0].last_asked.wait(PATIENCE)
        assert store.snapshots() == []
        ingest.commit()
    (snapshot,) = running.result()
    assert len(tree(snapshot.path)) == 61
    assert len(coming.sources) == 1
    assert store.snapshots() == [snapshot.chain_id]


def restart(coming: Coming) -> None:
    with coming.ingest() as ingest:
        ingest.restart()
        ingest.write(PACKED)
        ingest.commit()


def drop(coming: Coming) -> None:
    assert coming.content.drop_partial(coming.digest)
    coming.bring()


def mismatch(coming: Coming) -> None:
    with coming.ingest() as ingest:
        ingest.write(b"?" * (len(PACKED) - ingest.offset))
        with pytest.raises(Error):
            ingest.commit()
    coming.bring()


def pushed(coming: Coming) -> None:
    with coming.content.ingest("upload:1") as ingest:
        ingest.write(PACKED)
        ingest.commit(coming.digest)


WAYS = [restart, drop, mismatch, pushed]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
@pytest.mark.parametrize("wrong", [OTHER[: len(PACKED) - 1000], b"x" * 3_000_000, PACKED[:-1000]])
def test_bytes_that_prove_to_be_worth_nothing_leave_nothing(
    content: ContentStore,
    store: SnapshotStore,
    unpacker: Unpacker,
    way: Callable[[Coming], None],
    wrong: bytes,
) -> None:
    """Another archive's, what is no archive, or the right ones, in a file that is thrown away."""
    coming, running = begin(content, unpacker, wrong)
    if wrong.startswith(b"xxx"):
        with coming.ingest() as ingest:  # or its worker may wait for more before it says so
            ingest.write(b"x" * 2_000_000)
        assert coming.sources[0].waits_for_all.wait(PATIENCE)  # it is refused, and not yet told
    way(coming)
    (snapshot,) = running.result()
    assert len(tree(snapshot.path)) == 61
    assert not [*snapshot.path.glob("evil*")]
    assert len(coming.sources) == 2
    assert folders(store) == 1


def test_a_layer_that_is_bad_itself_is_told_when_that_is_certain(
    content: ContentStore, store: SnapshotStore, unpacker: Unpacker
) -> None:
    bad = archive(file(b"../escape", b"x" * (4 << 20)))
    coming = Coming(content, bad, bad)
    running = Running(unpacker, [coming.layer])
    with coming.ingest() as ingest:
        ingest.write(bad[: 1 << 20])
        assert coming.opened().begun.wait(PATIENCE)
        ingest.write(bad[1 << 20 : -1])
        assert coming.opened().waits_for_all.wait(PATIENCE)
        ingest.write(bad[-1:])
        ingest.commit()
    with pytest.raises(Error) as caught:
        running.result()
    assert (caught.value.reason, caught.value.digest) == (Reason.LAYER_INVALID, coming.digest)
    assert folders(store) == 0


def test_leaving_while_it_comes(
    content: ContentStore, store: SnapshotStore, unpacker: Unpacker
) -> None:
    coming, running = begin(content, unpacker, PACKED[:-1000])
    assert running.moved.wait(PATIENCE)
    second = Running(unpacker, [coming.layer])
    running.cancellation.cancel()
    with pytest.raises(Error) as caught:
        running.result()
    assert caught.value.reason is Reason.CANCELLED
    coming.bring()
    (snapshot,) = second.result()
    assert len(tree(snapshot.path)) == 61
    assert folders(store) == 1


def test_layers_that_stand_still_keep_nobody_from_working(
    content: ContentStore, store: SnapshotStore, unpacker: Unpacker
) -> None:
    """With one worker at once, and more layers half here than may be begun early."""
    kinds = [archive(file(b"%d" % number, os.urandom(2 << 20))) for number in range(_EARLY + 2)]
    comings = [Coming(content, layer, layer) for layer in kinds]
    Watched.any_begun = threading.Semaphore(0)
    # An image for each, or those of a whole tree would wait for each other.
    images = [Running(unpacker, [coming.layer]) for coming in comings]
    ingests = [coming.ingest() for coming in comings]
    for ingest, coming in zip(ingests, comings, strict=True):
        ingest.write(coming.packed[: 1 << 20])
    for _ in range(_EARLY):
        assert Watched.any_begun.acquire(timeout=PATIENCE)
    here = archive(file(b"here", b"x" * (2 << 20)))
    with content.ingest("here") as ingest:
        ingest.write(here)
        ingest.commit(Digest.of(here))
    stored = stored_layer(content, Digest.of(here), diff_id(here))
    (snapshot,) = Running(unpacker, [stored]).result()
    assert (snapshot.path / "here").is_file()
    assert store.snapshots() == [snapshot.chain_id]
    for ingest, coming in zip(ingests, comings, strict=True):
        ingest.write(coming.packed[1 << 20 :])
        ingest.commit()
    for running in images:
        running.result()
    assert len(store.snapshots()) == len(comings) + 1
    assert len(unpacker._workers) <= _EARLY + 1


def test_small_layers_are_waited_for(
    content: ContentStore, store: SnapshotStore, unpacker: Unpacker
) -> None:
    small = archive(file(b"small", b"x" * 1000))
    coming = Coming(content, small, small)
    running = Running(unpacker, [coming.layer])
    with coming.ingest() as ingest:
        ingest.write(small[:-1])
        assert coming.opened().waits_for_all.wait(PATIENCE)
        assert not coming.sources[0].begun.is_set()
        ingest.write(small[-1:])
        ingest.commit()
    assert len(running.result()) == 1


def test_a_whole_tree_begins_again_with_its_lowest_layer(
    content: ContentStore, tmp_path: Path
) -> None:
    """Where layers are applied onto each other, all of them are when one begins anew."""
    store = SnapshotStore(tmp_path / "snapshots", "copy")
    base = archive(file(b"base", b"y" * 1000))
    below, above = Coming(content, base, base), Coming(content)
    below.bring()
    ended: list[int] = []
    with Unpacker(store, workers=1) as unpacker:

        def unpack() -> Any:
            def tell(place: int, unpacked: int, done: bool) -> None:
                if done:
                    ended.append(place)

            return unpacker.unpack([below.layer, above.layer], tell, Cancellation())

        outcome: list[Any] = []
        thread = threading.Thread(target=lambda: outcome.append(unpack()))
        thread.start()
        with above.ingest() as ingest:
            ingest.write(OTHER[:2_000_000])
            assert above.opened().begun.wait(PATIENCE)
            ingest.restart()
            ingest.write(PACKED)
            ingest.commit()
        thread.join(PATIENCE)
    ((snapshot,),) = outcome
    assert len(tree(snapshot.path)) == 62
    assert len(below.sources) == len(above.sources) == 2
    assert ended == [0, 1]
