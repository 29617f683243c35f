from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs import AppliedLayer, LayerStats, SnapshotStore, chain_ids
from imgd_server.rootfs import _store as module

DIFFS = [Digest.of(text) for text in (b"one", b"two", b"three")]
CHAINS = chain_ids(DIFFS)


class Never:
    """Nobody cancels."""

    def check(self) -> None:
        pass

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


def make(store: SnapshotStore, place: int, *, size: int = 1) -> None:
    draft = store.claim(CHAINS[place])
    assert draft is not None
    (draft.path / "file").write_bytes(b"x" * size)
    applied = AppliedLayer(DIFFS[place], LayerStats(unpacked_bytes=size))
    store.commit(draft, CHAINS[place - 1] if place else None, applied)


def layers(root: Path) -> int:
    return len(list((root / "overlay" / "layers").iterdir()))


def test_chain_ids() -> None:
    assert chain_ids([]) == []
    assert CHAINS[0] == DIFFS[0]
    # OCI image 1.1, config.md, "Layer ChainID".
    assert CHAINS[1] == Digest.of(f"{DIFFS[0]} {DIFFS[1]}".encode())
    assert CHAINS[2] == Digest.of(f"{CHAINS[1]} {DIFFS[2]}".encode())


def test_a_snapshot_shows_when_it_is_committed(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    draft = store.claim(CHAINS[0])
    assert draft is not None
    assert store.find(CHAINS[0]) is None
    assert store.snapshots() == SnapshotStore(tmp_path, "overlay").snapshots() == []
    stats = LayerStats(1, 2, 3, 4, 5, 6)
    made = store.commit(draft, None, AppliedLayer(DIFFS[0], stats))
    for again in (store, SnapshotStore(tmp_path, "overlay")):
        found = again.find(CHAINS[0])
        assert found == made
        assert found is not None
        assert (found.parent, found.diff_id, found.stats) == (None, DIFFS[0], stats)
        assert found.path.is_dir()
        assert again.snapshots() == [CHAINS[0]]
    assert SnapshotStore(tmp_path, "copy").find(CHAINS[0]) is None


def test_nobody_else_gets_in(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = SnapshotStore(tmp_path / "root", "overlay")
        make(store, 0)
    finally:
        os.umask(before)
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o700
    found = store.find(CHAINS[0])
    assert found is not None
    assert found.path.stat().st_mode & 0o777 == 0o755
    before = os.umask(0o077)
    try:
        make(store, 1)
    finally:
        os.umask(before)
    found = store.find(CHAINS[1])
    assert found is not None
    assert found.path.stat().st_mode & 0o777 == 0o755


def test_one_at_a_time_makes_a_snapshot(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    draft = store.claim(CHAINS[0])
    assert draft is not None
    assert store.claim(CHAINS[0]) is None
    seen: list[object] = []
    waiting = threading.Thread(
        target=lambda: seen.append(store.wait(CHAINS[0], Never())), daemon=True
    )
    waiting.start()
    store.discard(draft)
    waiting.join(60)
    assert seen == [None]
    assert layers(tmp_path) == 0
    draft = store.claim(CHAINS[0])
    assert draft is not None
    waiting = threading.Thread(
        target=lambda: seen.append(store.wait(CHAINS[0], Never())), daemon=True
    )
    waiting.start()
    made = store.commit(draft, None, AppliedLayer(DIFFS[0], LayerStats()))
    waiting.join(60)
    assert seen == [None, made]
    assert store.claim(CHAINS[0]) is None


def test_waiting_can_be_cancelled(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    assert store.claim(CHAINS[0])
    wake: list[Callable[[], None]] = []
    registered = threading.Event()

    class Cancelled(Never):
        stopped = False

        def check(self) -> None:
            if self.stopped:
                raise Error(Reason.CANCELLED, "cancelled")

        def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
            wake.append(callback)
            registered.set()
            return wake.clear

    cancellation = Cancelled()
    failed: list[Error] = []

    def wait() -> None:
        try:
            store.wait(CHAINS[0], cancellation)
        except Error as error:
            failed.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert registered.wait(60)
    cancellation.stopped = True
    wake[0]()
    thread.join(60)
    assert [error.reason for error in failed] == [Reason.CANCELLED]
    assert wake == []


def test_a_snapshot_stands_on_its_parent(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    draft = store.claim(CHAINS[1])
    assert draft is not None
    with pytest.raises(ValueError, match="parent"):
        store.commit(draft, CHAINS[0], AppliedLayer(DIFFS[1], LayerStats()))
    store.discard(draft)
    for place in range(3):
        make(store, place)
    assert not store.hide([CHAINS[0]])
    store = SnapshotStore(tmp_path, "overlay")
    assert not store.hide([CHAINS[1]])
    # Whatever the order, each goes before what it stands on.
    assert store.hide([CHAINS[1], CHAINS[2]]) == [CHAINS[2], CHAINS[1]]
    assert store.hide([CHAINS[1]]) == []
    assert store.snapshots() == [CHAINS[0]]
    assert layers(tmp_path) == 3
    assert [store.collect(1), store.collect(1), store.collect(1)] == [1, 1, 0]
    assert layers(tmp_path) == 1
    assert SnapshotStore(tmp_path, "overlay").snapshots() == [CHAINS[0]]


def test_what_was_left_is_never_shown_and_is_collected(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    make(store, 0)
    left = store.claim(CHAINS[1])  # the process dies here
    assert left is not None
    (left.path / "half").write_bytes(b"x")
    assert store.collect() == 0  # it is somebody's, while there is somebody
    store = SnapshotStore(tmp_path, "overlay")
    assert store.snapshots() == [CHAINS[0]]
    assert layers(tmp_path) == 2
    # A number is not given again while something is there.
    other = store.claim(CHAINS[1])
    assert other is not None
    assert other.number > left.number
    assert store.collect() == 1
    assert store.find(CHAINS[0]) is not None
    assert not left.path.exists()
    assert other.path.exists()


def test_a_damaged_record(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    make(store, 0)
    found = store.find(CHAINS[0])
    assert found is not None
    (found.path.parent / "snapshot.json").write_text("")
    with pytest.raises(Error) as caught:
        store.find(CHAINS[0])
    assert caught.value.reason is Reason.STORE_CORRUPT
    assert store.hide([CHAINS[0]])


@pytest.mark.parametrize("again", [False, True])
def test_a_snapshot_that_goes_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    make(store, 0)
    read = Path.read_bytes

    def late(path: Path) -> bytes:
        monkeypatch.setattr(Path, "read_bytes", read)
        assert store.hide([CHAINS[0]])
        assert store.collect() == 1
        if again:
            make(store, 0, size=7)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", late)
    found = store.find(CHAINS[0])
    assert (found.stats.unpacked_bytes if found else None) == (7 if again else None)


# --- durability


def reboot(monkeypatch: pytest.MonkeyPatch, folder: Path, boot: str) -> None:
    path = folder / f"boot-{boot}"
    path.write_text(f"{boot}\n")
    monkeypatch.setattr(module, "_BOOT", path)


def test_what_was_not_synced_does_not_survive_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    store = SnapshotStore(root, "overlay")
    make(store, 0)
    store.sync()
    make(store, 1)
    # The process alone: the files are in the kernel's memory, and nothing is lost.
    store = SnapshotStore(root, "overlay")
    assert set(store.snapshots()) == {CHAINS[0], CHAINS[1]}
    make(store, 2)
    reboot(monkeypatch, tmp_path, "second")
    store = SnapshotStore(root, "overlay")
    assert store.snapshots() == [CHAINS[0]]
    assert store.collect() == 2
    assert layers(root) == 1
    reboot(monkeypatch, tmp_path, "third")
    assert SnapshotStore(root, "overlay").snapshots() == [CHAINS[0]]


def test_what_may_be_lost_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    store = SnapshotStore(root, "overlay")
    mark = root / "overlay" / "unsynced"
    first = store.claim(CHAINS[0])
    assert first is not None
    assert mark.read_text() == "first 1"
    second = store.claim(CHAINS[1])
    assert second is not None
    store.commit(first, None, AppliedLayer(DIFFS[0], LayerStats()))
    store.sync()
    assert mark.read_text() == "first 3 2"
    store.commit(second, CHAINS[0], AppliedLayer(DIFFS[1], LayerStats()))
    reboot(monkeypatch, tmp_path, "second")
    assert SnapshotStore(root, "overlay").snapshots() == [CHAINS[0]]
    assert not mark.exists()


def test_what_was_synced_survives_beside_what_was_begun_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that comes slowly is begun long before others end."""
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    store = SnapshotStore(root, "overlay")
    assert store.claim(CHAINS[2])
    make(store, 0)
    store.sync()
    make(store, 1)
    reboot(monkeypatch, tmp_path, "second")
    assert SnapshotStore(root, "overlay").snapshots() == [CHAINS[0]]


def test_only_what_is_asked_for_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SnapshotStore(tmp_path, "overlay")
    make(store, 0)
    store.sync()
    make(store, 1)
    synced = []

    class Libc:
        @staticmethod
        def syncfs(descriptor: int) -> int:
            synced.append(descriptor)
            return 0

    monkeypatch.setattr(module, "_libc", Libc)
    store.sync([CHAINS[0]])
    assert not synced
    store.sync([CHAINS[0], CHAINS[1]])
    assert len(synced) == 1


def test_what_a_disk_may_have_lost_is_never_taken_for_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of a failure once."""
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    store = SnapshotStore(root, "overlay")
    make(store, 0)

    class Libc:
        codes = iter((errno.EIO, 0, 0, 0))

        @classmethod
        def syncfs(cls, descriptor: int) -> int:
            ctypes.set_errno(code := next(cls.codes))
            return -1 if code else 0

    monkeypatch.setattr(module, "_libc", Libc)
    with pytest.raises(OSError, match="Input/output"):
        store.sync([CHAINS[0]])
    make(store, 1)
    store.sync()
    with pytest.raises(Error) as caught:
        store.sync([CHAINS[0], CHAINS[1]])
    assert caught.value.reason is Reason.STORE_CORRUPT
    # Nor what stands on it.
    with pytest.raises(Error):
        store.sync([CHAINS[1]])
    draft = store.claim(CHAINS[2])
    assert draft is not None
    store.commit(draft, None, AppliedLayer(DIFFS[2], LayerStats()))
    store.sync([CHAINS[2]])
    reboot(monkeypatch, tmp_path, "second")
    assert SnapshotStore(root, "overlay").snapshots() == [CHAINS[2]]


def test_what_was_synced_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    store = SnapshotStore(root, "overlay")
    store.sync()
    make(store, 0)
    store = SnapshotStore(root, "overlay")  # another process syncs what the first left
    make(store, 1)
    store.sync()
    reboot(monkeypatch, tmp_path, "second")
    assert set(SnapshotStore(root, "overlay").snapshots()) == {CHAINS[0], CHAINS[1]}


def test_what_shows_while_it_syncs_is_not_taken_for_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    store = SnapshotStore(root, "overlay")
    make(store, 0)

    class Libc:
        @staticmethod
        def syncfs(descriptor: int) -> int:
            make(store, 1)
            return 0

    monkeypatch.setattr(module, "_libc", Libc)
    store.sync()
    reboot(monkeypatch, tmp_path, "second")
    assert SnapshotStore(root, "overlay").snapshots() == [CHAINS[0]]


@pytest.mark.parametrize(("code", "said"), [(errno.EIO, "Input/output"), (errno.ENOSPC, "no room")])
def test_a_disk_that_can_not_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    store = SnapshotStore(root, "overlay")
    make(store, 0)

    class Libc:
        @staticmethod
        def syncfs(descriptor: int) -> int:
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(module, "_libc", Libc)
    with pytest.raises((OSError, Error), match=said):
        store.sync()
    reboot(monkeypatch, tmp_path, "second")
    assert SnapshotStore(root, "overlay").snapshots() == []


def test_that_all_is_synced_is_durable_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut brings the mark back, of a boot that is none any more."""
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    mark = root / "overlay" / "unsynced"
    store = SnapshotStore(root, "overlay")
    make(store, 0)
    durable: list[bool] = []
    sync = module._sync

    def watch(folder: Path) -> None:
        sync(folder)
        if folder == mark.parent:
            durable.append(mark.exists())

    monkeypatch.setattr(module, "_sync", watch)
    store.sync()
    assert durable == [False]
    make(store, 1)
    assert durable == [False, True]
    reboot(monkeypatch, tmp_path, "second")
    assert SnapshotStore(root, "overlay").snapshots() == [CHAINS[0]]
    assert durable == [False, True, False]


@pytest.mark.parametrize("text", ["", "first", "first many", "first 1 x"])
def test_a_damaged_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Nothing that it may have spoken of is trusted."""
    reboot(monkeypatch, tmp_path, "first")
    root = tmp_path / "root"
    make(SnapshotStore(root, "overlay"), 0)
    (root / "overlay" / "unsynced").write_text(text)
    assert SnapshotStore(root, "overlay").snapshots() == []
