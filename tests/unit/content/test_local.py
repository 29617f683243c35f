"""What only the store in local files does: names and modes on disk, sync order, crash leftovers."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imgd_server.content import BlobInfo, LocalContentStore, _writer
from imgd_server.content import _files as files
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest

PATIENCE = 60.0
DATA = b"the bytes of a blob " * 1000
DIGEST = Digest.of(DATA)
# Too large to be freed at once.
LARGE = DATA * 60


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "content"


@pytest.fixture
def store(root: Path) -> LocalContentStore:
    return LocalContentStore(root)


def put(store: LocalContentStore, data: bytes = DATA, key: str = "key") -> Digest:
    digest = Digest.of(data)
    with store.ingest(key) as ingest:
        ingest.write(data)
        ingest.commit(digest)
    return digest


def discard_large(store: LocalContentStore) -> None:
    assert store.discard(put(store, LARGE)) == len(LARGE)


def leave(store: LocalContentStore, key: str, data: bytes) -> None:
    with store.ingest(key) as ingest:
        ingest.write(data)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def fail(code: int, where: Callable[..., bool], real: Any) -> Any:
    """A system call that fails where it is told to."""

    def call(*arguments: Any, **options: Any) -> Any:
        if where(*arguments):
            raise OSError(code, os.strerror(code))
        return real(*arguments, **options)

    return call


def name_of(file: int) -> str:
    return str(Path(f"/proc/self/fd/{file}").readlink())


# --- on disk


def test_it_is_the_blobs_of_an_image_layout(store: LocalContentStore, root: Path) -> None:
    put(store)
    sha512 = Digest.of(DATA, "sha512")
    with store.ingest("key") as ingest:
        ingest.write(DATA)
        ingest.commit(sha512)
    assert (root / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert (root / "blobs" / "sha256" / DIGEST.hex).read_bytes() == DATA
    assert (root / "blobs" / "sha512" / sha512.hex).read_bytes() == DATA


def test_nobody_else_reads_and_nobody_writes(root: Path) -> None:
    umask = os.umask(0)
    try:
        store = LocalContentStore(root)
        put(store)
        leave(store, "upload:1", b"half")
    finally:
        os.umask(umask)
    folders = [path for path in root.rglob("*") if path.is_dir()]
    assert len(folders) == 6
    assert {mode(folder) for folder in [root, *folders]} == {0o700}
    assert mode(root / "blobs/sha256" / DIGEST.hex) == 0o444
    assert mode(root / "ingest/upload:1") == 0o600


def test_data_are_synced_before_the_name_and_the_folder_after(
    store: LocalContentStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    fsync, rename, fchmod, write = os.fsync, os.rename, os.fchmod, os.write

    def record(kind: str, real: Any, *names: str) -> None:
        calls.append((kind, *(str(Path(name).relative_to(root)) for name in names)))

    def recorded_fsync(file: int) -> None:
        record("fsync", fsync, name_of(file))
        fsync(file)

    def recorded_rename(source: Any, target: Any, **options: Any) -> None:
        record("rename", rename, source, target)
        rename(source, target, **options)

    def recorded_fchmod(file: int, bits: int) -> None:
        record("fchmod", fchmod, name_of(file))
        fchmod(file, bits)

    def recorded_write(file: int, data: Any) -> int:
        record("write", write, name_of(file))
        return write(file, data)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    monkeypatch.setattr(os, "fchmod", recorded_fchmod)
    monkeypatch.setattr(os, "write", recorded_write)
    with store.ingest("key") as ingest:
        ingest.write(DATA)
        ingest.commit(DIGEST)
    blob = f"blobs/sha256/{DIGEST.hex}"
    assert calls == [
        ("write", "ingest/key"),
        ("fsync", "ingest/key"),
        ("rename", "ingest/key", blob),
        # Read-only only now: a crash before leaves a partial that can be gone on with.
        ("fchmod", blob),
        ("fsync", "blobs/sha256"),
    ]


def test_a_new_store_is_durable_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync

    def recorded(file: int) -> None:
        synced.append(name_of(file))
        fsync(file)

    monkeypatch.setattr(os, "fsync", recorded)
    LocalContentStore(root)
    assert {str(root / "blobs"), str(root), str(root.parent)} <= set(synced)


def test_write_back_begins_early(store: LocalContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    monkeypatch.setattr(_writer, "_WRITE_BACK", 1000)
    monkeypatch.setattr(
        _writer, "begin_write_back", lambda _file, offset, length: begun.append((offset, length))
    )
    with store.ingest("key") as ingest:
        for size in (600, 600, 100, 1000):
            ingest.write(bytes(size))
        ingest.restart()
        ingest.write(bytes(1500))
    assert begun == [(0, 1200), (1200, 1100), (0, 1500)]


@pytest.mark.parametrize("known", [True, False], ids=["with the call", "without it"])
def test_write_back_is_a_hint(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(_writer, "_WRITE_BACK", 1000)
    if not known:
        monkeypatch.setattr(files, "_sync_file_range", None)
    put(store)
    assert store.verify(DIGEST)


# --- what others put there


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_bytes(b"not ours")
    return path


def test_an_ingest_follows_no_link(store: LocalContentStore, root: Path, victim: Path) -> None:
    (root / "ingest" / "key").symlink_to(victim)
    for _ in range(2):  # the key is not left busy
        with pytest.raises(OSError, match="symbolic link"):
            store.ingest("key")
    assert victim.read_bytes() == b"not ours"
    assert store.partial("key") is None
    assert not store.drop_partial("key")
    assert list(store.partials()) == []


@pytest.mark.parametrize("what", ["link", "folder", "pipe"])
def test_only_a_file_is_a_blob(
    store: LocalContentStore, root: Path, victim: Path, what: str
) -> None:
    path = root / "blobs" / "sha256" / DIGEST.hex
    if what == "link":
        path.symlink_to(victim)
    elif what == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    assert store.find(DIGEST) is None
    assert list(store.blobs()) == []
    assert list(store.strays()) == [f"blobs/sha256/{DIGEST.hex}"]
    for look in (store.info, store.open, store.verify):
        with pytest.raises(Error) as caught:
            look(DIGEST)
        assert caught.value.reason is Reason.BLOB_NOT_FOUND
    assert store.delete(DIGEST) == 0
    assert os.path.lexists(path)


def test_a_commit_replaces_a_link_and_not_its_target(
    store: LocalContentStore, root: Path, victim: Path
) -> None:
    (root / "blobs" / "sha256" / DIGEST.hex).symlink_to(victim)
    put(store)
    assert victim.read_bytes() == b"not ours"
    assert store.read(DIGEST, len(DATA)) == DATA


def test_a_blob_that_turns_into_a_link_is_not_opened(
    store: LocalContentStore, root: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store)
    path = root / "blobs" / "sha256" / DIGEST.hex
    found = store.info(DIGEST)
    path.unlink()
    path.symlink_to(victim)
    monkeypatch.setattr(store, "find", lambda _digest: found)
    with pytest.raises(OSError, match="symbolic link"):
        store.open(DIGEST)


def test_a_blob_that_goes_before_it_is_opened(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store)
    found = store.info(DIGEST)
    store.delete(DIGEST)
    monkeypatch.setattr(store, "find", lambda _digest: found)
    with pytest.raises(Error) as caught:
        store.open(DIGEST)
    assert caught.value.reason is Reason.BLOB_NOT_FOUND


def test_strays_are_told_and_left_alone(store: LocalContentStore, root: Path) -> None:
    put(store)
    discard_large(store)
    leave(store, "upload:1", b"half")
    strays = {
        "blobs/md5",
        "blobs/README",
        "blobs/sha256/notes.txt",
        f"blobs/sha256/{DIGEST.hex.upper()}",
        f"blobs/sha256/{DIGEST.hex[:-1]}",
        f"blobs/sha512/{DIGEST.hex}",
        "ingest/no key",
        "ingest/lost+found",
    }
    for stray in strays:
        (root / stray).write_bytes(b"?")
    folders = {"ingest/folder", "trash/folder"}
    for folder in folders:
        (root / folder).mkdir()
    assert set(store.strays()) == strays | folders
    assert [info.digest for info in store.blobs()] == [DIGEST]
    assert [partial.key for partial in store.partials()] == ["upload:1"]
    # Opening it again minds them as little.
    assert [info.digest for info in LocalContentStore(root).blobs()] == [DIGEST]


def test_strays_are_dropped_one_by_one(store: LocalContentStore, root: Path, victim: Path) -> None:
    (root / "blobs" / "README").write_bytes(b"?")
    (root / "ingest" / "empty").mkdir()
    (root / "ingest" / "link").symlink_to(victim)
    (root / "ingest" / "folder").mkdir()
    (root / "ingest" / "folder" / "file").write_bytes(b"not ours")
    dropped = {name: store.drop_stray(name) for name in list(store.strays())}
    assert dropped == {
        "blobs/README": True,
        "ingest/empty": True,
        "ingest/link": True,
        "ingest/folder": False,
    }
    assert list(store.strays()) == ["ingest/folder"]
    assert victim.read_bytes() == b"not ours"


def test_a_blob_goes_where_the_trash_has_no_room(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _target: str) -> None:
        raise OSError(errno.ENOSPC, "full")

    digest = put(store, LARGE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        assert store.discard(digest) == len(LARGE)
    assert store.find(digest) is None
    assert store.sweep() == 0


def test_a_large_blob_is_freed_later_and_a_small_one_at_once(
    store: LocalContentStore, root: Path
) -> None:
    put(store)
    assert store.discard_all([DIGEST]) == len(DATA)
    assert [*(root / "trash").iterdir()] == []
    discard_large(store)
    assert [path.stat().st_size for path in (root / "trash").iterdir()] == [len(LARGE)]
    assert store.sweep() == 1
    assert [*(root / "trash").iterdir()] == []


def test_when_one_cannot_be_discarded_the_others_are_done_first(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [put(store, b"%d" % number) for number in range(20)]
    broken = f"/{digests[0].hex}"
    unlink = os.unlink

    def fail(path: str) -> None:
        if path.endswith(broken):
            raise OSError(errno.EIO, "broken")
        unlink(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail)
        with pytest.raises(OSError, match="broken"):
            store.discard_all(digests)
        left = {*store.digests()}
    # What shared a thread with it is left; nothing goes once it has returned.
    assert digests[0] in left
    assert {*store.digests()} == left
    assert len(left) < 10


# --- what a crash leaves


def test_opening_changes_nothing(store: LocalContentStore, root: Path) -> None:
    put(store)
    discard_large(store)
    leave(store, DIGEST, DATA[:100])  # the blob has come another way
    leave(store, "upload:1", b"")
    before = {path: path.lstat() for path in root.rglob("*")}
    reopened = LocalContentStore(root)
    assert {path: path.lstat() for path in root.rglob("*")} == before
    assert {one.key: one.size for one in reopened.partials()} == {DIGEST: 100, "upload:1": 0}
    assert reopened.sweep() == 1


@pytest.mark.parametrize("data", [DATA, LARGE], ids=["small", "large"])
def test_a_blob_that_goes_before_it_is_discarded(
    store: LocalContentStore, root: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(store, data)
    blob = root / "blobs" / "sha256" / digest.hex
    status = blob.lstat()
    store.delete(digest)
    monkeypatch.setattr("imgd_server.content._local.regular", lambda _path: status)
    assert store.discard(digest) == 0


def test_an_empty_partial_is_a_beginning(store: LocalContentStore, root: Path) -> None:
    (root / "ingest" / DIGEST).touch()
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 0
        ingest.write(DATA)
        ingest.commit()
    assert store.verify(DIGEST)


def test_a_page_of_zeros_is_thrown_away(store: LocalContentStore, root: Path) -> None:
    """What a power cut makes of bytes that were written and not synced."""
    (root / "ingest" / DIGEST).write_bytes(DATA[:4096] + bytes(4096))
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[8192:])
        with pytest.raises(Error) as caught:
            ingest.commit()
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert store.partial(DIGEST) is None


@pytest.mark.parametrize("left", [b"", b'{"imageLayou'])
def test_a_broken_layout_file_is_written_anew(root: Path, left: bytes) -> None:
    LocalContentStore(root)
    (root / "oci-layout").write_bytes(left)
    LocalContentStore(root)
    assert (root / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'


# --- the disk fails


def test_a_failed_sync_stores_nothing_and_keeps_nothing(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel reports a failed write-back once; a second fsync of the file would succeed."""
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail(errno.EIO, lambda _file: True, os.fsync))
            with pytest.raises(OSError, match="Input/output error"):
                ingest.commit()
    assert store.find(DIGEST) is None
    assert store.partial(DIGEST) is None
    put(store)


@pytest.mark.parametrize("there_before", [False, True])
def test_a_name_that_is_not_durable_is_not_shown(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch, there_before: bool
) -> None:
    if there_before:
        put(store)
    real = os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(errno.EIO, lambda file: Path(name_of(file)).is_dir(), real))
        with pytest.raises(OSError, match="Input/output error"):
            put(store)
    assert (store.find(DIGEST) is not None) is there_before
    put(store)
    assert store.verify(DIGEST)


class Noticed:
    """A lock that tells when somebody waits for it."""

    def __init__(self, waits: threading.Event) -> None:
        self._lock, self._waits = threading.Lock(), waits

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._waits.set()
            assert self._lock.acquire(timeout=PATIENCE)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_a_name_that_is_not_durable_costs_nobody_else_his_blob(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One looks, another commits the same digest, and the first one's sync fails."""
    moved = threading.Event()  # the second has committed, or waits for the first
    first, find = threading.get_ident(), store.find
    pool = ThreadPoolExecutor(1)
    others: list[Future[BlobInfo]] = []
    second = store.ingest("second")
    second.write(DATA)

    def commit() -> BlobInfo:
        try:
            return second.commit(DIGEST)
        finally:
            moved.set()

    def looked(digest: Digest) -> BlobInfo | None:
        found = find(digest)
        if threading.get_ident() == first and not others:
            others.append(pool.submit(commit))
            assert moved.wait(PATIENCE)
        return found

    def is_first(file: int) -> bool:
        return threading.get_ident() == first and Path(name_of(file)).is_dir()

    monkeypatch.setattr(store, "_commits", [Noticed(moved)], raising=False)
    with pool, monkeypatch.context() as patch:
        patch.setattr(store, "find", looked)
        patch.setattr(os, "fsync", fail(errno.EIO, is_first, os.fsync))
        with pytest.raises(OSError, match="Input/output error"):
            put(store, key="first")
        assert others[0].result(PATIENCE).digest == DIGEST
    assert store.verify(DIGEST)


def test_what_can_not_be_read_is_damaged(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store)
    monkeypatch.setattr(os, "pread", fail(errno.EIO, lambda *_: True, os.pread))
    assert store.verify(DIGEST) is False


def test_short_writes_go_on(store: LocalContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:1000]))
    put(store)
    assert store.read(DIGEST, len(DATA)) == DATA


def test_the_file_counts_when_a_write_fails_halfway(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    room = 1500

    def write(file: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, data[:room])
        room -= written
        return written

    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest, monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        ingest.write(DATA[:1000])
        with pytest.raises(Error) as caught:
            ingest.write(DATA[1000:])
    assert caught.value.reason is Reason.DISK_FULL
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 1500
        ingest.write(DATA[1500:])
        ingest.commit()
    assert store.verify(DIGEST)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_file(
    store: LocalContentStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail(code, lambda path, *_: path.name == "key", os.open))
        for _ in range(2):  # the key is not left busy
            with pytest.raises(Error) as caught:
                store.ingest("key")
            assert caught.value.reason is Reason.DISK_FULL
            assert str(root) not in caught.value.message
    put(store)


def test_no_room_for_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", fail(errno.ENOSPC, lambda *_: True, os.mkdir))
        with pytest.raises(Error) as caught:
            LocalContentStore(tmp_path / "store")
    assert caught.value.reason is Reason.DISK_FULL
    put(LocalContentStore(tmp_path / "store"))


def test_no_room_when_an_ingest_begins_anew(
    store: LocalContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems write a new block also to shorten a file."""
    leave(store, "key", DATA)
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", fail(errno.ENOSPC, lambda *_: True, os.ftruncate))
        with pytest.raises(Error) as caught:
            store.ingest("key", resume=False)
        assert caught.value.reason is Reason.DISK_FULL
    put(store, key="another")
