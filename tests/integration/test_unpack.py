"""Unpacking beside GNU tar, umoci and the kernel's overlayfs; and the processes that do it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.registry import Cancellation
from imgd_server.rootfs import (
    Layer,
    LayerSource,
    SnapshotStore,
    Unpacker,
    Whiteouts,
    apply_layer,
    can_overlay,
    chain_ids,
    settle,
    stored_layer,
)
from imgd_server.rootfs._pool import Parent
from imgd_server.rootfs._wire import receive, send
from imgd_server.rootfs._worker import parts
from tests.overlay import need_overlay
from tests.real_images import RealImages, run
from tests.unit.rootfs.archives import (
    ROOT,
    archive,
    diff_id,
    directory,
    fifo,
    file,
    link,
    opaque,
    options,
    pax,
    symlink,
    tree,
    whiteout,
)

PATIENCE = 60.0


@contextmanager
def mounted(folder: Path, layers: Sequence[Path]) -> Iterator[Path]:
    """overlayfs over layers, the lowest first, with a fresh writable directory on top."""
    for part in ("upper", "work", "merged"):
        (folder / part).mkdir()
    # The upper directory's own root is what shows as the root.
    status = layers[-1].stat()
    os.chown(folder / "upper", status.st_uid, status.st_gid)
    (folder / "upper").chmod(status.st_mode)
    os.utime(folder / "upper", ns=(status.st_atime_ns, status.st_mtime_ns))
    lower = ":".join(map(str, reversed(layers)))
    how = f"lowerdir={lower},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    merged = folder / "merged"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", how, str(merged)], check=True)
    try:
        yield merged
    finally:
        subprocess.run(["umount", str(merged)], check=True)


# --- GNU tar


@pytest.fixture(scope="module", name="sample")
def make_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with one of everything that this user may make."""
    root = tmp_path_factory.mktemp("sample") / "tree"
    (root / "d" / "empty").mkdir(parents=True)
    (root / "d" / "setgid").mkdir()
    (root / "d" / "setgid").chmod(0o2755)
    (root / "d" / "sticky").mkdir()
    (root / "d" / "sticky").chmod(0o1777)
    for number in range(40):
        path = root / "d" / f"file-{number}"
        path.write_bytes(hashlib.sha256(b"%d" % number).digest() * (number * number))
        os.utime(path, ns=(10**18 + number, 10**18 + 123_456_789 * number))
    (root / "d" / "empty-file").touch(0o600)
    (root / "setuid").write_bytes(b"#!")
    (root / ("long-" + "n" * 90)).mkdir()
    (root / ("long-" + "n" * 90) / ("m" * 120)).write_text("a long name")
    (root / "link").symlink_to("d/file-3")
    (root / "long-link").symlink_to("t" * 150)
    (root / "z-hard").hardlink_to(root / "d" / "file-39")
    os.mkfifo(root / "pipe", 0o640)
    with (root / "sparse").open("wb") as opened:
        for offset in range(0, 10_000_000, 700_000):
            os.pwrite(opened.fileno(), b"island", offset)
        os.ftruncate(opened.fileno(), 12_345_678)
    os.setxattr(root / "d" / "file-1", "user.mark", b"\0\1\n=x")
    if ROOT:
        os.mknod(root / "null", 0o20666, os.makedev(1, 3))
        os.mknod(root / "block", 0o60660, os.makedev(259, 70000))
        os.chown(root / "d" / "file-5", 1000, 100)
        os.chown(root / "link", 5, 6, follow_symlinks=False)
        os.chown(root / "setuid", 12, 13)
        capability = bytes.fromhex("0100000200040000000000000000000000000000")
        os.setxattr(root / "d" / "file-2", "security.capability", capability)
    (root / "setuid").chmod(0o6755)
    os.utime(root / "d", ns=(1, 10**18 + 5))
    return root


FORMS = {
    "pax": ("--format=pax", "--xattrs", "--xattrs-include=*"),
    "pax sparse 0.0": ("--format=pax", "--sparse", "--sparse-version=0.0"),
    "pax sparse 0.1": ("--format=pax", "--sparse", "--sparse-version=0.1"),
    "pax sparse 1.0": ("--format=pax", "--sparse", "--sparse-version=1.0"),
    "gnu": ("--format=gnu",),
    "gnu sparse": ("--format=gnu", "--sparse"),
    "oldgnu": ("--format=oldgnu", "--sparse"),
    "ustar": ("--format=ustar", "--exclude=*long-link"),
    "v7": (
        "--format=v7",
        "--exclude=*long*",
        "--exclude=*pipe",
        "--exclude=*null",
        "--exclude=*block",
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", list(Whiteouts), ids=lambda how: how.value)
def test_trees_are_those_of_gnu_tar(
    tmp_path: Path, sample: Path, form: str, how: Whiteouts
) -> None:
    packed = tmp_path / "layer.tar"
    make = ["tar", "-C", str(sample), "--numeric-owner", *FORMS[form], "-cf", str(packed), "."]
    made = subprocess.run(make, capture_output=True, check=False, timeout=PATIENCE)
    assert packed.stat().st_size > 100_000, made.stderr
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    flags = ["-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xf", str(packed)]
    subprocess.run(["tar", "-C", str(theirs), *flags], check=True, timeout=PATIENCE)
    descriptor = os.open(ours, os.O_RDONLY)
    with packed.open("rb", 0) as stream:
        apply_layer(stream, descriptor, options(how))
    os.close(descriptor)
    found, expected = tree(ours), tree(theirs)
    assert found == expected
    assert len(found) > 45
    if "sparse" in form:
        # As many holes as GNU tar leaves.
        blocks = (ours / "sparse").stat().st_blocks
        assert blocks <= (theirs / "sparse").stat().st_blocks < 1000


# --- images


def image_layers(layout: Path, name: str, *, every: bool = False) -> list[tuple[Path, Digest]]:
    """The layers of an image in a layout: their files and diff IDs."""
    blobs = layout / "blobs" / "sha256"
    index = json.loads((layout / "index.json").read_bytes())
    key = "org.opencontainers.image.ref.name"
    entry = next(one for one in index["manifests"] if one["annotations"][key] == name)
    manifest = json.loads((blobs / entry["digest"][7:]).read_bytes())
    while "manifests" in manifest:
        manifest = json.loads((blobs / manifest["manifests"][0]["digest"][7:]).read_bytes())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
    return [
        (blobs / layer["digest"][7:], Digest(found))
        for layer, found in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    ]


def store_layers(folder: Path, layers: Sequence[tuple[Path, Digest]]) -> list[Layer]:
    """Layers brought into a content store."""
    content = LocalContentStore(folder)
    found = []
    for path, unpacked in layers:
        digest = Digest(f"sha256:{path.name}")
        if not content.find(digest):
            with content.ingest(digest, digest) as ingest:
                ingest.write(path.read_bytes())
                ingest.commit()
        found.append(stored_layer(content, digest, unpacked))
    return found


def told() -> tuple[list[tuple[int, int, bool]], Callable[[int, int, bool], None]]:
    """What progress was told, and what to tell it to."""
    events: list[tuple[int, int, bool]] = []
    return events, lambda *event: events.append(event)


def quiet(layer: int, unpacked: int, done: bool) -> None:
    """Nobody listens."""


IMAGES = ["app", "app-next", "multi", "zstd", "plain"]


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_as_umoci_unpacks_them(
    tmp_path: Path, real_images: RealImages, name: str
) -> None:
    # umoci reads no zstd: these are the same layers.
    source = "app" if name in ("zstd", "plain") else name
    layout = real_images.folder / source
    bundle = tmp_path / "bundle"
    image = f"{layout}:{source}"
    if source == "multi":
        # It takes no index either.
        shutil.copytree(layout, tmp_path / "layout")
        layout = tmp_path / "layout"
        index = json.loads((layout / "index.json").read_bytes())
        blob = layout / "blobs" / index["manifests"][0]["digest"].replace(":", "/")
        index["manifests"] = json.loads(blob.read_bytes())["manifests"][:1]
        index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "one"}
        (layout / "index.json").write_text(json.dumps(index))
        image = f"{layout}:one"
    rootless = [] if ROOT else ["--rootless"]
    began = time.time_ns()
    run("umoci", "unpack", *rootless, "--keep-dirlinks", "--image", image, bundle)
    expected = tree(bundle / "rootfs")
    layers = store_layers(tmp_path / "content", image_layers(real_images.folder / name, name))
    with Unpacker(SnapshotStore(tmp_path / "snapshots", "copy"), workers=2) as unpacker:
        (snapshot,) = unpacker.unpack(layers, quiet, Cancellation())
    found = tree(snapshot.path)
    # umoci gives the time of unpacking to directories that no layer describes, or in which it made
    # one of those.
    for path, facts in expected.items():
        if facts["mtime"] >= began and path in found:
            ours = found[path]["mtime"]
            # An image's times are whole seconds, and may be rounded up to one that is yet to come.
            assert ours < began or ours % 10**9 == 0
            facts["mtime"] = ours
    assert found == expected
    assert len(found) > 20
    need_overlay(tmp_path)
    with Unpacker(SnapshotStore(tmp_path / "snapshots", "overlay"), workers=2) as unpacker:
        snapshots = unpacker.unpack(layers, quiet, Cancellation())
        with mounted(tmp_path, [one.path for one in snapshots]) as merged:
            shown = tree(merged)
    for facts in shown.values():
        facts["xattrs"].pop("trusted.overlay.opaque", None)
    assert shown == expected


# --- overlayfs


NAMES = st.sampled_from([b"a", b"b", b"c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)


ENTRIES = st.one_of(
    st.tuples(st.just("file"), PATHS, st.integers(1, 9), st.integers(0, 2)),
    st.tuples(st.just("directory"), PATHS, st.integers(1, 9), st.sampled_from([0o755, 0o2711])),
    st.tuples(st.just("marked"), PATHS, st.integers(1, 9), st.just(0o700)),
    st.tuples(st.just("link"), PATHS, st.integers(1, 9), st.just(0)),
    st.tuples(st.just("whiteout"), PATHS, st.just(0), st.just(0)),
    st.tuples(st.just("opaque"), PATHS | st.just(b""), st.just(0), st.just(0)),
)


def build(entries: Sequence[tuple[str, bytes, int, int]]) -> bytes:
    parts: list[bytes] = []
    for kind, path, mtime, more in entries:
        match kind:
            case "file":
                parts.append(file(path, b"%d" % mtime, mtime=mtime, uid=more))
            case "directory":
                parts.append(directory(path, more, mtime=mtime, gid=7))
            case "marked":
                parts.append(pax({b"SCHILY.xattr.user.x": b"1"}))
                parts.append(directory(path, more, mtime=mtime))
            case "link":
                # Nothing is ever below it: what a link of another layer leads to is the one thing
                # in which the two ways differ, as they do in containerd (ADR-0005).
                parts.append(symlink(path + b"/link", b"nowhere", mtime=mtime))
            case "whiteout":
                parts.append(whiteout(path))
            case _:
                parts.append(opaque(path))
    return archive(*parts)


@settings(max_examples=100)
@given(st.lists(st.lists(ENTRIES, max_size=6), min_size=1, max_size=4))
def test_overlayfs_shows_what_applying_in_order_makes(
    made: list[list[tuple[str, bytes, int, int]]],
) -> None:
    """Layers unpacked apart and mounted, beside the same layers applied one onto the other."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        need_overlay(folder)
        (folder / "applied").mkdir()
        apart: list[Path] = []
        target = os.open(folder / "applied", os.O_RDONLY)
        for number, entries in enumerate(made):
            layer = build(entries)
            apply_layer(io.BytesIO(layer), target, options(Whiteouts.APPLY))
            path = folder / str(number)
            path.mkdir()
            own = os.open(path, os.O_RDONLY)
            applied = apply_layer(io.BytesIO(layer), own, options())
            settle(own, list(reversed(apart)), applied, options())
            os.close(own)
            apart.append(path)
        os.close(target)
        expected = tree(folder / "applied")
        with mounted(folder, apart) as merged:
            shown = tree(merged)
    for facts in shown.values():
        facts["xattrs"].pop("trusted.overlay.opaque", None)
    # A root that no layer describes has the time of its making in the one, and none in the other.
    for found in (expected, shown):
        found[""].pop("mtime")
    assert shown == expected


def test_files_below_a_hidden_file_stay_hidden(tmp_path: Path) -> None:
    need_overlay(tmp_path)
    layers = [
        archive(file(b"d/old"), file(b"e/old"), file(b"o/old"), file(b"gone")),
        archive(file(b"d"), whiteout(b"e"), whiteout(b"gone"), whiteout(b"o/never")),
        archive(file(b"d/new"), file(b"e/new"), opaque(b"o"), whiteout(b"gone")),
    ]
    with Unpacker(SnapshotStore(tmp_path, "overlay"), workers=2) as unpacker:
        snapshots = unpacker.unpack(in_memory(tmp_path, layers), quiet, Cancellation())
    with mounted(tmp_path, [one.path for one in snapshots]) as merged:
        assert set(tree(merged)) == {"", "d", "d/new", "e", "e/new", "o"}
        # Nothing is listed that can't be looked at.
        for folder in (merged, merged / "d", merged / "e", merged / "o"):
            assert all(path.lstat() for path in folder.iterdir())


def test_finding_out_about_overlayfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_overlay(tmp_path)
    # Where its options would part a path in two.
    assert can_overlay(tmp_path / "a:b,c\\d")
    assert list((tmp_path / "a:b,c\\d").iterdir()) == []
    # Not over an overlay: its upper directory can't be one.
    for part in ("lower", "upper", "work", "merged"):
        (tmp_path / part).mkdir()
    how = f"lowerdir={tmp_path / 'lower'},upperdir={tmp_path / 'upper'},workdir={tmp_path / 'work'}"
    merged = str(tmp_path / "merged")
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", how, merged], check=True)
    try:
        assert not can_overlay(tmp_path / "merged")
    finally:
        subprocess.run(["umount", merged], check=True)
    monkeypatch.setattr("imgd_server.rootfs._mount.is_privileged", lambda: False)
    assert not can_overlay(tmp_path / "probe")


def test_a_disk_too_full_for_a_folder(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, mode: int = 0o777) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    layers = [Layer(diff_id(BASE), lambda: Source(tmp_path, BASE))]
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(Error) as caught:
            unpacker.unpack(layers, quiet, Cancellation())
    assert caught.value.reason is Reason.DISK_FULL
    assert str(tmp_path) not in caught.value.message
    assert unpacker.unpack(layers, quiet, Cancellation())


@pytest.mark.skipif(not ROOT, reason="NOT TESTED: only root can mount a small file system")
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        store = SnapshotStore(disk, "copy")
        layers = in_memory(tmp_path, [archive(file(b"big", os.urandom(3 << 20)))])
        with Unpacker(store, workers=1) as unpacker, pytest.raises(Error) as caught:
            unpacker.unpack(layers, quiet, Cancellation())
        assert caught.value.reason is Reason.DISK_FULL
        # What it took is free again.
        assert os.statvfs(disk).f_bfree * 4096 > 900_000
        assert store.snapshots() == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- the workers


class Source:
    """Bytes in a file that grows as the test says."""

    def __init__(self, folder: Path, data: bytes, available: int | None = None) -> None:
        descriptor, name = tempfile.mkstemp(dir=folder)
        self.file, self.data = os.fdopen(descriptor, "r+b", 0), data
        Path(name).unlink()
        self._condition = threading.Condition()
        self._available = 0
        self.failure: Error | None = None
        self.asked = threading.Event()
        self.closed = False
        self.grow(len(data) if available is None else available)

    def grow(self, available: int) -> None:
        with self._condition:
            os.pwrite(self.file.fileno(), self.data[self._available : available], self._available)
            self._available = available
            self._condition.notify_all()

    def fail(self, failure: Error) -> None:
        with self._condition:
            self.failure = failure
            self._condition.notify_all()

    def fileno(self) -> int:
        return self.file.fileno()

    def wake(self) -> None:
        with self._condition:
            self._condition.notify_all()

    def wait(self, offset: int, cancellation: Any) -> Any:
        take_back = cancellation.on_cancel(self.wake)
        try:
            with self._condition:
                if offset >= self._available:
                    self.asked.set()
                while offset >= self._available < len(self.data) and self.failure is None:
                    cancellation.check()
                    self._condition.wait()
                if self.failure:
                    raise self.failure
                return self._available
        finally:
            take_back()

    def close(self) -> None:
        self.closed = True
        self.file.close()


def in_memory(folder: Path, layers: Sequence[bytes]) -> list[Layer]:
    folder.mkdir(exist_ok=True)
    return [
        Layer(diff_id(layer), lambda layer=layer: Source(folder, layer), len(layer))  # type: ignore[misc]
        for layer in layers
    ]


def waiting(source: Source, unpacked: bytes) -> Layer:
    return Layer(diff_id(unpacked), lambda: source, len(source.data))


@pytest.fixture(name="store", params=["overlay", "copy"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> SnapshotStore:
    if request.param == "overlay" and not ROOT:
        pytest.skip("NOT TESTED: layers apart need root")
    return SnapshotStore(tmp_path / "snapshots", request.param)


@pytest.fixture(name="unpacker")
def make_unpacker(store: SnapshotStore) -> Iterator[Unpacker]:
    with Unpacker(store, workers=2, early_from=0) as unpacker:
        yield unpacker


def in_thread(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Runs a function beside the test; its result or exception comes into the list."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(function())
        except Error as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome


def left_over(store: SnapshotStore, root: Path) -> int:
    """Layers on disk that are no snapshot's."""
    return len(list((root / "snapshots" / store.kind / "layers").iterdir())) - len(
        store.snapshots()
    )


BASE = archive(*(file(b"base/%d" % number, b"b" * 5000) for number in range(300)))
EXTRA = archive(file(b"extra"))
TOP = archive(whiteout(b"base/7"), file(b"top", b"t" * 300_000))


def test_progress_ends_and_sharing(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    events, tell = told()
    layers = in_memory(tmp_path, [gzip.compress(BASE, 1), gzip.compress(TOP, 1)])
    layers = [
        Layer(diff_id(data), layer.open, layer.size)
        for layer, data in zip(layers, (BASE, TOP), strict=True)
    ]
    snapshots = unpacker.unpack(layers, tell, Cancellation())
    chains = chain_ids([layer.diff_id for layer in layers])
    assert [one.chain_id for one in snapshots] == (
        chains if store.kind == "overlay" else chains[1:]
    )
    assert [event for event in events if event[2]] == [
        (0, len(BASE), True),
        (1, len(TOP), True),
    ]
    for place in (0, 1):
        counts = [count for which, count, _ in events if which == place]
        assert counts == sorted(counts)
    total = sum(one.stats.unpacked_bytes for one in snapshots)
    assert total == len(BASE) + len(TOP)

    def never() -> LayerSource:
        raise AssertionError("a layer that is there was opened")

    again = [Layer(layer.diff_id, never, layer.size) for layer in layers]
    events.clear()
    assert unpacker.unpack(again, tell, Cancellation()) == snapshots
    assert [event[2] for event in events] == [True, True]
    # Another image on the same base.
    other = archive(file(b"other"))
    (more,) = in_memory(tmp_path, [other])
    base = again[0] if store.kind == "overlay" else layers[0]
    unpacker.unpack([base, more], quiet, Cancellation())
    assert len(store.snapshots()) == (3 if store.kind == "overlay" else 2)
    assert left_over(store, tmp_path) == 0


def test_nothing_to_unpack(unpacker: Unpacker) -> None:
    assert unpacker.unpack([], quiet, Cancellation()) == []


def test_it_begins_while_the_download_runs(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    data = archive(*(file(b"%d" % number, os.urandom(100_000)) for number in range(100)))
    source = Source(tmp_path, data, available=0)
    moved = threading.Event()

    def tell(layer: int, unpacked: int, done: bool) -> None:
        if unpacked:
            moved.set()

    thread, outcome = in_thread(
        lambda: unpacker.unpack([waiting(source, data)], tell, Cancellation())
    )
    assert source.asked.wait(PATIENCE)
    source.grow(6_000_000)
    assert moved.wait(PATIENCE)
    assert store.snapshots() == []
    source.grow(6_000_001)
    source.grow(len(data))
    thread.join(PATIENCE)
    assert len(tree(outcome[0][0].path)) == 101
    assert source.closed


def test_a_download_that_fails(tmp_path: Path, store: SnapshotStore, unpacker: Unpacker) -> None:
    source = Source(tmp_path, BASE, available=100_000)
    thread, outcome = in_thread(
        lambda: unpacker.unpack([waiting(source, BASE)], quiet, Cancellation())
    )
    assert source.asked.wait(PATIENCE)
    source.fail(Error(Reason.REGISTRY_TIMEOUT, "it stalled"))
    thread.join(PATIENCE)
    assert outcome[0].reason is Reason.REGISTRY_TIMEOUT
    assert store.snapshots() == []
    assert left_over(store, tmp_path) == 0
    assert source.closed


def test_a_source_that_was_cut_is_asked_again(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    """A server that ignores a range makes the download begin anew, in the same file."""
    source = Source(tmp_path, BASE, available=0)
    thread, outcome = in_thread(
        lambda: unpacker.unpack([waiting(source, BASE)], quiet, Cancellation())
    )
    assert source.asked.wait(PATIENCE)
    with source._condition:
        # It says that bytes are there, and they are not yet.
        source._available = 50_000
        source._condition.notify_all()
    with source._condition:
        source._available = 0
    source.grow(len(BASE))
    thread.join(PATIENCE)
    assert len(tree(outcome[0][0].path)) == 302


def test_a_source_with_less_than_it_says(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    """A stored blob that lost its end: an error, and not for ever."""
    source = Source(tmp_path, BASE)
    os.ftruncate(source.fileno(), 200_000)
    with pytest.raises(Error) as caught:
        unpacker.unpack([waiting(source, BASE)], quiet, Cancellation())
    assert caught.value.reason is Reason.STORE_CORRUPT
    assert left_over(store, tmp_path) == 0


def test_cancelling(tmp_path: Path, store: SnapshotStore, unpacker: Unpacker) -> None:
    source = Source(tmp_path, TOP, available=700)
    cancellation = Cancellation()
    layers = [*in_memory(tmp_path, [BASE]), waiting(source, TOP)]
    thread, outcome = in_thread(lambda: unpacker.unpack(layers, quiet, cancellation))
    assert source.asked.wait(PATIENCE)
    cancellation.cancel()
    thread.join(PATIENCE)
    assert outcome[0].reason is Reason.CANCELLED
    assert chain_ids([layer.diff_id for layer in layers])[1] not in store.snapshots()
    assert left_over(store, tmp_path) == 0
    # The same workers go on.
    (*_, snapshot) = unpacker.unpack(in_memory(tmp_path, [BASE, TOP]), quiet, Cancellation())
    assert (snapshot.path / "top").is_file()


def test_cancelling_what_waits_for_its_turn(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "snapshots", "copy")
    with Unpacker(store, workers=1, early_from=0) as unpacker:
        source = Source(tmp_path, BASE, available=1000)
        first, one = in_thread(
            lambda: unpacker.unpack([waiting(source, BASE)], quiet, Cancellation())
        )
        assert source.asked.wait(PATIENCE)
        cancellation = Cancellation()
        second, two = in_thread(
            lambda: unpacker.unpack(in_memory(tmp_path, [TOP]), quiet, cancellation)
        )
        cancellation.cancel()
        second.join(PATIENCE)
        assert two[0].reason is Reason.CANCELLED
        assert first.is_alive()
        source.grow(len(BASE))
        first.join(PATIENCE)
    assert len(tree(one[0][0].path)) == 302
    assert left_over(store, tmp_path) == 0


def test_cancelled_before_it_began(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Error) as caught:
        unpacker.unpack(in_memory(tmp_path, [BASE, TOP]), quiet, cancellation)
    assert caught.value.reason is Reason.CANCELLED
    assert store.snapshots() == []
    assert left_over(store, tmp_path) == 0


def test_a_layer_that_fails_ends_the_others(tmp_path: Path) -> None:
    """Although another one waits for bytes that never come."""
    store = SnapshotStore(tmp_path / "snapshots", "overlay")
    stuck = Source(tmp_path, BASE, available=1000)
    bad = archive(file(b"../escape"))

    def open_bad() -> LayerSource:
        assert stuck.asked.wait(PATIENCE)
        return Source(tmp_path, bad)

    layers = [waiting(stuck, BASE), Layer(diff_id(bad), open_bad), *in_memory(tmp_path, [TOP])]
    with Unpacker(store, workers=2, early_from=0) as unpacker, pytest.raises(Error) as caught:
        unpacker.unpack(layers, quiet, Cancellation())
    assert caught.value.reason is Reason.LAYER_INVALID
    assert stuck.closed
    assert store.snapshots() == []
    assert left_over(store, tmp_path) == 0


def test_the_first_failure_is_what_is_told(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    bad = archive(file(b"../escape"))
    layers = in_memory(tmp_path, [BASE, bad])
    with pytest.raises(Error) as caught:
        unpacker.unpack(layers, quiet, Cancellation())
    assert caught.value.reason is Reason.LAYER_INVALID
    assert "leaves the root" in caught.value.message
    assert left_over(store, tmp_path) == 0
    wrong = [Layer(Digest.of(b"something else"), layers[0].open, 1)]
    with pytest.raises(Error) as caught:
        unpacker.unpack(wrong, quiet, Cancellation())
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert left_over(store, tmp_path) == 0


def test_two_callers_share_the_work(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    source = Source(tmp_path, BASE, available=1000)

    def never() -> LayerSource:
        raise AssertionError("the work was done twice")

    first, one = in_thread(lambda: unpacker.unpack([waiting(source, BASE)], quiet, Cancellation()))
    assert source.asked.wait(PATIENCE)
    second, two = in_thread(
        lambda: unpacker.unpack([Layer(diff_id(BASE), never)], quiet, Cancellation())
    )
    source.grow(len(BASE))
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert one[0] == two[0]


def test_the_second_caller_takes_over(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    source = Source(tmp_path, BASE, available=1000)
    opened = threading.Event()

    def open_second() -> LayerSource:
        opened.set()
        return Source(tmp_path, BASE)

    first, one = in_thread(lambda: unpacker.unpack([waiting(source, BASE)], quiet, Cancellation()))
    assert source.asked.wait(PATIENCE)
    second, two = in_thread(
        lambda: unpacker.unpack([Layer(diff_id(BASE), open_second)], quiet, Cancellation())
    )
    source.fail(Error(Reason.CANCELLED, "its caller left"))
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert one[0].reason is Reason.CANCELLED
    assert opened.is_set()
    assert len(tree(two[0][0].path)) == 302


def test_a_worker_that_dies(tmp_path: Path, store: SnapshotStore, unpacker: Unpacker) -> None:
    source = Source(tmp_path, BASE, available=1000)
    thread, outcome = in_thread(
        lambda: unpacker.unpack([waiting(source, BASE)], quiet, Cancellation())
    )
    assert source.asked.wait(PATIENCE)
    (worker,) = unpacker._workers
    os.kill(worker._pid, signal.SIGKILL)
    source.grow(len(BASE))
    thread.join(PATIENCE)
    assert outcome[0].reason is Reason.INTERNAL
    assert left_over(store, tmp_path) == 0
    (snapshot,) = unpacker.unpack(in_memory(tmp_path, [BASE]), quiet, Cancellation())
    assert len(tree(snapshot.path)) == 302


def test_a_worker_that_left_is_replaced(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    unpacker.unpack(in_memory(tmp_path, [BASE]), quiet, Cancellation())
    (worker,) = unpacker._workers
    before = worker._pid
    unpacker._parent.end(before)
    (snapshot,) = unpacker.unpack(in_memory(tmp_path, [TOP]), quiet, Cancellation())
    assert (snapshot.path / "top").is_file()
    assert worker._pid != before
    # And their parent, too.
    assert unpacker._parent._process is not None
    unpacker._parent._process.kill()
    unpacker._parent._process.wait()
    worker.stop()
    (snapshot,) = unpacker.unpack(in_memory(tmp_path, [EXTRA]), quiet, Cancellation())
    assert (snapshot.path / "extra").is_file()


def test_workers_end_with_the_unpacker(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "snapshots", "copy")
    with Unpacker(store, workers=1, early_from=0) as unpacker:
        unpacker.prepare()
        unpacker.unpack(in_memory(tmp_path, [BASE]), quiet, Cancellation())
        (worker,) = unpacker._workers
        process = Path(f"/proc/{worker._pid}")
        imports = (process / "maps").read_text()
        assert unpacker._parent._process is not None
        parent = unpacker._parent._process
        assert f"PPid:\t{parent.pid}\n" in (process / "status").read_text()
    assert not process.exists()
    assert parent.poll() is not None
    # Worker processes import no gRPC.
    assert "isal" in imports
    assert "grpc" not in imports


@pytest.mark.parametrize("answered", [True, False])
def test_a_parent_whose_daemon_is_killed_says_nothing(*, answered: bool) -> None:
    """Whether it has answered, which nobody has read, or finds nobody to answer."""
    ours, theirs = socket.socketpair()
    (worker, peer) = socket.socketpair()
    command = [sys.executable, "-m", "imgd_server.rootfs._worker", str(theirs.fileno())]
    with worker, theirs, ours:
        with peer:
            send(ours, {"fork": True}, [peer.fileno()])
        if not answered:
            ours.close()
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, pass_fds=[theirs.fileno()], text=True
        ) as process:
            theirs.close()
            if answered:
                assert select.select([ours], [], [], PATIENCE)[0]
                ours.close()
            _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (0, "")


def test_what_breaks_in_a_worker_is_no_error_of_the_layer(
    tmp_path: Path, store: SnapshotStore, unpacker: Unpacker
) -> None:
    """The daemon makes INTERNAL of it, and logs what it says; the worker works on."""

    class Bad(Source):
        begun = False

        def fileno(self) -> int:
            self.begun = True
            return super().fileno()

        def wait(self, offset: int, cancellation: Any) -> Any:
            return "many" if self.begun else super().wait(offset, cancellation)

    layer = Layer(diff_id(BASE), lambda: Bad(tmp_path, BASE))
    with pytest.raises(RuntimeError, match="ValueError"):
        unpacker.unpack([layer], quiet, Cancellation())
    assert left_over(store, tmp_path) == 0


def test_messages_are_bounded_at_both_ends() -> None:
    # JSON spends six bytes on each.
    paths = [b"\xff" * (number % 4096 + 1) for number in range(3000)]
    sent = [*parts(paths)]
    assert [path for part in sent for path in part] == paths
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for part in sent:
            message = {"paths": "whiteouts", "part": [path.decode("latin-1") for path in part]}
            sending = threading.Thread(target=lambda: send(ours, message))  # noqa: B023
            sending.start()
            assert receive(theirs) == (message, [])
            sending.join(PATIENCE)
        ours.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(OSError, match="too long"):
            receive(theirs)


@pytest.mark.parametrize("forking", [True, False])
def test_workers_that_can_not_be_started(monkeypatch: pytest.MonkeyPatch, *, forking: bool) -> None:
    made: list[socket.socket] = []

    def pair() -> tuple[socket.socket, socket.socket]:
        both = original()
        made.extend(both)
        return both

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    original = socket.socketpair
    monkeypatch.setattr(socket, "socketpair", pair)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    parent = Parent()
    with pytest.raises(OSError, match="no more"):
        parent.fork() if forking else parent.start()
    assert len(made) == (4 if forking else 2)
    assert [one.fileno() for one in made] == [-1] * len(made)


def test_kinds_of_files_without_overlayfs(tmp_path: Path) -> None:
    """A tree of its own for each image: what a layer removes is gone, and links reach below."""
    layers = [
        archive(file(b"d/a"), file(b"d/b"), fifo(b"p")),
        archive(whiteout(b"d/a"), link(b"c", b"d/b"), opaque(b"p")),
    ]
    store = SnapshotStore(tmp_path / "snapshots", "copy")
    with Unpacker(store, workers=1, early_from=0) as unpacker:
        (snapshot,) = unpacker.unpack(in_memory(tmp_path, layers), quiet, Cancellation())
    assert set(tree(snapshot.path)) == {"", "d", "d/b", "c", "p"}
    assert snapshot.parent is None
