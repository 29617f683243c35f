"""Changes as layers: written, read by others, and applied again."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import socket
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs import (
    Compression,
    Overlay,
    PackedLayer,
    Whiteouts,
    copy_tree,
    mount_overlay,
    overlay_changes,
    pack_layer,
    tree_changes,
    unmount,
)
from tests.overlay import need_overlay
from tests.unit.rootfs.archives import ROOT, apply, options, tree

BEFORE = 1_700_000_000


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def quiet() -> None:
    """Nobody has left."""


def pack(
    now: Path,
    before: Path,
    *,
    overlay: bool = False,
    compression: Compression = Compression.GZIP,
    newest: int | None = None,
    check: Callable[[], None] = quiet,
) -> tuple[bytes, PackedLayer]:
    """The layer that makes of `before` what a container has."""
    written: list[bytes] = []
    with opened(now) as new, opened(before) as old:
        changes = overlay_changes(new, [before]) if overlay else tree_changes(new, old)
        packed = pack_layer(
            changes, written.append, compression, newest=newest, privileged=ROOT, check=check
        )
    return b"".join(written), packed


def copied(source: Path, target: Path) -> Path:
    target.mkdir()
    with opened(source) as old, opened(target) as new:
        copy_tree(old, new, privileged=ROOT, check=quiet)
    return target


def applied(layer: bytes, before: Path, target: Path) -> Path:
    """A layer on top of a tree."""
    apply(copied(before, target), layer, options(Whiteouts.APPLY))
    return target


def make(root: Path) -> Path:
    (root / "d" / "e").mkdir(parents=True)
    (root / "gone" / "deep").mkdir(parents=True)
    for name in ("d/one", "d/two", "d/e/f", "gone/deep/x", "plain", "becomes-folder"):
        (root / name).write_text(name)
    (root / "link").symlink_to("d/one")
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(BEFORE, BEFORE), follow_symlinks=False)
    return root


def change(root: Path) -> None:
    """One of everything that an archive can hold."""
    (root / "d" / "one").write_bytes(random.Random(1).randbytes(2 << 20))
    (root / "d" / "two").unlink()
    (root / "gone" / "deep" / "x").unlink()
    (root / "gone" / "deep").rmdir()
    (root / "gone").rmdir()
    (root / "plain").chmod(0o4711)
    (root / "becomes-folder").unlink()
    (root / "becomes-folder").mkdir(mode=0o750)
    (root / "becomes-folder" / "inside").write_bytes(b"")
    (root / "link").unlink()
    (root / "link").symlink_to("t" * 300)
    long = root / ("ä" * 90) / ("n" * 200)
    long.mkdir(parents=True)
    (long / os.fsdecode(b"no-utf8-\xff")).write_bytes(b"x" * 511)
    (root / "hard-a").write_bytes(b"same")
    (root / "d" / "hard-b").hardlink_to(root / "hard-a")
    (long / "hard-c").hardlink_to(root / "hard-a")
    os.mkfifo(root / "pipe", 0o640)
    os.setxattr(root / "plain", "user.note", b"a\n=\0b")
    os.setxattr(long, "user.note", b"folder")
    with (root / "sparse").open("wb") as file:
        file.truncate(30 << 20)
        os.pwrite(file.fileno(), b"island", 10 << 20)
    with (root / "hole").open("wb") as file:
        file.truncate(1 << 20)
    os.utime(root / "hole", ns=(-1_500_000_000, -1_500_000_000))
    os.utime(root / "pipe", ns=(5, 123_456_789_012_345_678))
    if ROOT:
        os.chown(root / "hard-a", 4_000_000_000, 77)
        os.chown(root / "link", 12, 34, follow_symlinks=False)
        os.mknod(root / "block", stat.S_IFBLK | 0o660, os.makedev(259, 70000))
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.setxattr(
            root / "d" / "e" / "f",
            "security.capability",
            b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        )
        (root / "d" / "e" / "f").write_text("other")
        os.setxattr(
            root / "d" / "e" / "f",
            "security.capability",
            b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        )


@pytest.fixture(params=[False, True], ids=["zeros", "holes"])
def holes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether holes of some MiB are more than may be written as zeros."""
    if request.param:
        monkeypatch.setattr("imgd_server.rootfs._pack._MAX_ZEROS", 0)
    return bool(request.param)


def test_a_layer_makes_the_tree_again(tmp_path: Path, holes: bool) -> None:
    before = make(tmp_path / "before")
    now = copied(before, tmp_path / "now")
    change(now)
    layer, packed = pack(now, before)
    assert tree(applied(layer, before, tmp_path / "again")) == tree(now)
    assert (packed.digest, packed.size) == (Digest.of(layer), len(layer))
    assert packed.diff_id == Digest.of(gzip.decompress(layer))
    assert ((tmp_path / "again" / "sparse").stat().st_blocks < 1000) == holes


@contextmanager
def mounted(folder: Path, lower: Path) -> Iterator[Path]:
    for part in ("upper", "work", "merged"):
        (folder / part).mkdir()
    status = lower.stat()
    (folder / "upper").chmod(stat.S_IMODE(status.st_mode))
    os.utime(folder / "upper", ns=(status.st_atime_ns, status.st_mtime_ns))
    merged = folder / "merged"
    with opened(merged) as target:
        layers = Overlay((lower,), folder / "upper", folder / "work")
        mount_overlay(target, layers, lower.parent)
    try:
        yield merged
    finally:
        unmount(merged)


def test_what_overlayfs_has_makes_the_tree_again(tmp_path: Path) -> None:
    need_overlay(tmp_path)
    before = make(tmp_path / "before")
    with mounted(tmp_path, before) as merged:
        change(merged)
        for name in ("f", ""):
            (merged / "d" / "e" / name).unlink() if name else (merged / "d" / "e").rmdir()
        (merged / "d" / "e").mkdir()
        (merged / "d" / "e" / "new").touch()
        layer, packed = pack(tmp_path / "upper", before, overlay=True)
        expected = tree(merged)
        with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
            names = archive.getnames()
    # The folder that was made anew is no opaque one, but tells what it lacks.
    assert {"d/.wh.two", ".wh.gone", "d/e/.wh.f", "d/e/new"} <= set(names)
    assert not [name for name in names if name.endswith(".wh..wh..opq")]
    assert packed.entries == len(names)
    again = tree(applied(layer, before, tmp_path / "again"))
    for facts in (*expected.values(), *again.values()):
        facts["xattrs"].pop("trusted.overlay.opaque", None)
    assert again == expected


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "remove", "mkdir", "symlink", "rename", "chmod", "link"]),
        st.integers(0, 11),
        st.integers(0, 11),
    ),
    max_size=12,
)
NAMES = [
    *("plain", "d", "d/one", "d/e", "d/e/f", "d/e/g", "gone"),
    *("gone/deep", "gone/deep/x", "new", "new/n", "link"),
]


def step(root: Path, what: str, one: Path, other: Path) -> None:
    def remove(path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            for inner in path.iterdir():
                remove(inner)
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    if what == "write":
        one.write_text(f"{one.name} {other.name}")
    elif what == "remove":
        remove(one)
    elif what == "mkdir":
        one.mkdir(parents=True)
    elif what == "symlink":
        one.symlink_to(other.name)
    elif what == "rename":
        one.rename(other)
    elif what == "chmod" and not one.is_symlink():
        one.chmod(0o700)
    elif what == "link":
        other.hardlink_to(one)


@settings(max_examples=40, deadline=None)
@given(OPERATIONS)
def test_whatever_a_container_does_to_its_files(operations: list[tuple[str, int, int]]) -> None:
    """On overlayfs, beside the layer that is made of it applied to the image."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        need_overlay(folder)
        before = make(folder / "before")
        with mounted(folder, before) as merged:
            for what, one, other in operations:
                try:
                    step(merged, what, merged / NAMES[one], merged / NAMES[other])
                except OSError:
                    continue
            expected = tree(merged)
            layer, packed = pack(folder / "upper", before, overlay=True)
        again = tree(applied(layer, before, folder / "again"))
        if not packed.entries:
            # What was made and removed has left nothing but a time.
            expected[""]["mtime"] = again[""]["mtime"]
        for facts in (*expected.values(), *again.values()):
            facts["xattrs"].pop("trusted.overlay.opaque", None)
        assert again == expected


def test_other_readers_read_it(tmp_path: Path, holes: bool) -> None:
    before = make(tmp_path / "before")
    now = copied(before, tmp_path / "now")
    change(now)
    layer, _ = pack(now, before, compression=Compression.ZSTD)
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(layer)
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        found = {member.name: member for member in archive}
        # None has the name of an owner, which would be taken for this machine's.
        assert {(one.uname, one.gname) for one in found.values()} == {("", "")}
        sparse = found["sparse"]
        assert sparse.issparse() == holes
        file = archive.extractfile(sparse)
        assert file is not None
        assert file.read() == (now / "sparse").read_bytes()
        assert found["pipe"].mtime == pytest.approx(123_456_789.0123456)
        assert found["hole"].mtime == -1.5
        hard = [one for one in found.values() if one.islnk()]
        assert {one.linkname for one in hard} == {"d/hard-b"}
        assert found["link"].linkname == "t" * 300


def test_holes_are_zeros_until_a_layer_has_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is small, and all together would be what no reader takes."""
    monkeypatch.setattr("imgd_server.rootfs._pack._MAX_ZEROS", 2 << 20)
    before, now = make(tmp_path / "before"), tmp_path / "now"
    copied(before, now)
    for name, size in (("1", 1 << 20), ("2", 1 << 20), ("3", 1 << 20), ("4", 16 << 10)):
        with (now / name).open("wb") as file:
            file.truncate(size)
    layer, packed = pack(now, before, compression=Compression.NONE)
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        found = {one.name: one.issparse() for one in archive if one.name in "1234"}
    assert found == {"1": False, "2": False, "3": True, "4": False}
    assert packed.file_bytes == (2 << 20) + (16 << 10)
    assert tree(applied(layer, before, tmp_path / "again")) == tree(now)


@pytest.mark.parametrize("compression", [*Compression])
def test_the_same_changes_make_the_same_bytes(tmp_path: Path, compression: Compression) -> None:
    before = make(tmp_path / "before")
    newest = (BEFORE + 1000) * 10**9
    layers = []
    for number in range(2):
        now = copied(before, tmp_path / str(number))
        change(now)
        layer, _ = pack(now, before, compression=compression, newest=newest)
        layers.append(layer)
    assert layers[0] == layers[1]
    again = applied(layers[0], before, tmp_path / "again")
    times = {path.lstat().st_mtime_ns for path in again.rglob("*")}
    assert max(times) == newest
    # What is older keeps its time.
    assert (again / "hole").stat().st_mtime_ns == -1_500_000_000


def test_nothing_changed(tmp_path: Path) -> None:
    before = make(tmp_path / "before")
    layer, packed = pack(copied(before, tmp_path / "now"), before)
    assert (packed.entries, packed.file_bytes) == (0, 0)
    assert gzip.decompress(layer) == bytes(1024)


def test_what_no_layer_holds(tmp_path: Path) -> None:
    before = make(tmp_path / "before")
    now = copied(before, tmp_path / "now")
    (now / "d" / ".wh.one").touch()
    with pytest.raises(Error) as caught:
        pack(now, before)
    assert caught.value.reason is Reason.UNSUPPORTED
    assert "d/.wh.one" in caught.value.message
    # An archive of files has any.
    with opened(now) as new, opened(before) as old:
        written: list[bytes] = []
        pack_layer(
            tree_changes(new, old),
            written.append,
            Compression.NONE,
            newest=None,
            privileged=ROOT,
            check=quiet,
            marks=False,
        )
    with tarfile.open(fileobj=io.BytesIO(b"".join(written))) as archive:
        assert "d/.wh.one" in archive.getnames()
    (now / "d" / ".wh.one").unlink()
    os.setxattr(now / "plain", "user.a=b", b"c")
    (now / "plain").write_text("other")
    with pytest.raises(Error) as caught:
        pack(now, before)
    assert caught.value.reason is Reason.UNSUPPORTED
    os.removexattr(now / "plain", "user.a=b")
    # A socket is a place for a process, and no file.
    listener = socket.socket(socket.AF_UNIX)
    with opened(now) as folder, listener:
        listener.bind(f"/proc/self/fd/{folder}/socket")
    layer, packed = pack(now, before)
    assert packed.skipped_sockets == 1
    again = tree(applied(layer, before, tmp_path / "again"))
    assert "socket" not in again
    assert "plain" in again


def test_files_that_change_meanwhile(tmp_path: Path) -> None:
    """Of a container that runs: each file is whole, or as far as it is there, or not at all."""
    before = tmp_path / "before"
    (before / "g").mkdir(parents=True)
    now = copied(before, tmp_path / "now")
    for name in ("a", "b", "c", "d", "e", "g/x"):
        (now / name).write_bytes(name.encode() * 1000)
    (now / "f").symlink_to("a")
    with opened(now) as new, opened(before) as old:
        written: list[bytes] = []

        def changes() -> Iterator[object]:
            for one in tree_changes(new, old):
                if one.path == b"b":
                    (now / "b").unlink()
                if one.path == b"c":
                    (now / "c").unlink()
                    os.mkfifo(now / "c")
                if one.path == b"d":
                    (now / "d").unlink()
                    (now / "d").symlink_to("a")
                if one.path == b"f":
                    (now / "f").unlink()
                    (now / "f").write_bytes(b"f")
                if one.path == b"g/x":
                    shutil.rmtree(now / "g")
                yield one

        pack_layer(
            changes(),  # type: ignore[arg-type]
            written.append,
            Compression.GZIP,
            newest=None,
            privileged=ROOT,
            check=quiet,
        )
    names = set(tree(applied(b"".join(written), before, tmp_path / "again")))
    assert names == {"", "a", "e", "g"}


def test_a_file_that_shrinks_is_filled(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    now = copied(before, tmp_path / "now")
    (now / "log").write_bytes(random.Random(2).randbytes(3 << 20))
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:  # the change, and two pieces
            os.truncate(now / "log", 700_000)

    layer, _ = pack(now, before, check=check)
    again = applied(layer, before, tmp_path / "again") / "log"
    data = again.read_bytes()
    assert len(data) == 3 << 20
    assert data[-1000:] == bytes(1000)
    assert data[: 512 << 10] == random.Random(2).randbytes(3 << 20)[: 512 << 10]


def test_who_leaves_ends_it(tmp_path: Path) -> None:
    before = make(tmp_path / "before")
    now = copied(before, tmp_path / "now")
    change(now)

    def check() -> None:
        raise Error(Reason.CANCELLED, "cancelled")

    with pytest.raises(Error) as caught:
        pack(now, before, check=check)
    assert caught.value.reason is Reason.CANCELLED
