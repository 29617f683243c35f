"""What a container changed, and copies of trees."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.rootfs import (
    Change,
    ChangeKind,
    Limits,
    Overlay,
    copy_tree,
    mount_overlay,
    overlay_changes,
    read_inside,
    tree_changes,
)
from tests.unit.rootfs.archives import ROOT

needs_root = pytest.mark.skipif(not ROOT, reason="NOT TESTED: whiteouts are root's to make")
LETTERS = {"ADDED": "A", "CHANGED": "C", "DELETED": "D"}


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make(root: Path, *paths: str) -> Path:
    """Files with their own name in them; a slash at the end makes a folder."""
    root.mkdir(exist_ok=True)
    for path in paths:
        if path.endswith("/"):
            (root / path).mkdir(parents=True, exist_ok=True)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(path)
    return root


def held_open(root: Path) -> list[str]:
    """What this process has open in a folder."""
    links = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that listed them
            links.append(str(one.readlink()))
    return [link for link in links if link.startswith(f"{root}/")]


def whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, stat.S_IFCHR, 0)


def opaque(path: Path) -> None:
    os.setxattr(path, "trusted.overlay.opaque", b"y")


def in_overlay(upper: Path, *below: Path) -> list[str]:
    with opened(upper) as descriptor:
        found = overlay_changes(descriptor, below)
        return [f"{LETTERS[one.kind.name]} {os.fsdecode(one.path)}" for one in found]


@needs_root
def test_changes_over_layers(tmp_path: Path) -> None:
    low = make(tmp_path / "low", "a/one", "a/two", "b/x", "gone/deep/file", "plain")
    top = make(tmp_path / "top", "a/three")
    whiteout(top / "a" / "two")
    upper = make(tmp_path / "upper", "a/one", "a/two", "a-b", "new/deep/er", "plain/")
    whiteout(upper / "gone")
    whiteout(upper / "a" / "three")
    whiteout(upper / "a" / "never")
    assert in_overlay(upper, top, low) == [
        "C a",
        "C a/one",
        "D a/three",
        # The layer had removed it, so it is new.
        "A a/two",
        "A a-b",
        "D gone",
        "A new",
        "A new/deep",
        "A new/deep/er",
        "C plain",
    ]


@needs_root
def test_a_folder_that_was_removed_and_made_again(tmp_path: Path) -> None:
    low = make(tmp_path / "low", "d/kept", "d/lost", "d/sub/kept", "d/sub/lost", "d/other/x", "e/y")
    upper = make(tmp_path / "upper", "d/kept", "d/sub/kept", "d/new", "e/")
    opaque(upper / "d")
    assert in_overlay(upper, low) == [
        "C d",
        "C d/kept",
        "D d/lost",
        "A d/new",
        "D d/other",
        "C d/sub",
        "C d/sub/kept",
        "D d/sub/lost",
        "C e",
    ]


@needs_root
def test_no_link_of_a_container_is_followed(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "secret")
    low = make(tmp_path / "low", "d/x")
    upper = make(tmp_path / "upper")
    (upper / "d").symlink_to(outside)
    (low / "l").symlink_to(outside)
    make(upper, "l/")
    assert in_overlay(upper, low) == ["C d", "C l"]


@needs_root
def test_a_folder_that_only_may_have_whiteouts_in_attributes_hides_nothing(tmp_path: Path) -> None:
    low = make(tmp_path / "low", "d/kept")
    upper = make(tmp_path / "upper", "d/new")
    os.setxattr(upper / "d", "trusted.overlay.opaque", b"x")
    assert in_overlay(upper, low) == ["C d", "A d/new"]


def deep(root: Path, levels: int) -> Path:
    root.mkdir()
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    return root


@pytest.mark.parametrize("way", ["overlay", "copy"])
def test_how_deep_a_container_goes_is_bounded(tmp_path: Path, way: str) -> None:
    """Each folder that is gone through costs a descriptor or two."""
    empty = make(tmp_path / "empty")

    def changed(tree: Path) -> list[Change]:
        found: list[Change] = []
        with opened(tree) as now, opened(empty) as old:
            changes = overlay_changes(now, [empty]) if way == "overlay" else tree_changes(now, old)
            found.extend(changes)
        return found

    most = Limits().max_depth
    assert [one.path.count(b"/") for one in changed(deep(tmp_path / "most", most))] == [
        *range(most)
    ]
    with pytest.raises(Error) as caught:
        changed(deep(tmp_path / "more", most + 1))
    assert caught.value.reason is Reason.UNSUPPORTED
    assert held_open(tmp_path) == []


@needs_root
@pytest.mark.parametrize("hides", [False, True])
def test_paths_below_the_root_that_are_longer_than_the_kernel_takes(
    tmp_path: Path, *, hides: bool
) -> None:
    """In the container as in the layer: folders are gone to one by one, in both."""

    def grow(root: Path, name: str) -> Path:
        root.mkdir()
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        for _ in range(50):
            os.mkdir("d" * 200, dir_fd=folder)
            inner = os.open("d" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        for one in ("both", name):
            os.close(os.open(one, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=folder))
        if hides and name == "now":
            os.setxattr(f"/proc/self/fd/{folder}", "trusted.overlay.opaque", b"y")
        os.close(folder)
        return root

    low, upper = grow(tmp_path / "low", "before"), grow(tmp_path / "upper", "now")
    with opened(upper) as now:
        found = [one.told() for one in overlay_changes(now, [low])]
    folder = b"/".join([b"d" * 200] * 50)
    files = {one.path[len(folder) + 1 :]: one.kind for one in found if len(one.path) > len(folder)}
    gone = {b"before": ChangeKind.DELETED} if hides else {}
    assert files == {b"both": ChangeKind.CHANGED, b"now": ChangeKind.ADDED} | gone
    assert held_open(tmp_path) == []


@needs_root
def test_what_is_hidden_is_hidden_in_its_folder_alone(tmp_path: Path) -> None:
    """Also beside a folder whose name begins like it."""
    low = make(tmp_path / "low", "a/x/kept", "a/x/lost", "ab/x/kept", "a/z/kept", "b/y")
    upper = make(tmp_path / "upper", "a/x/kept", "ab/x/kept", "a/z/kept", "b/y")
    opaque(upper / "a" / "x")
    assert in_overlay(upper, low) == [
        "C a",
        "C a/x",
        "C a/x/kept",
        "D a/x/lost",
        "C a/z",
        "C a/z/kept",
        "C ab",
        "C ab/x",
        "C ab/x/kept",
        "C b",
        "C b/y",
    ]


def between(tree: Path, before: Path) -> list[str]:
    with opened(tree) as now, opened(before) as old:
        return [
            f"{LETTERS[one.kind.name]} {os.fsdecode(one.path)}" for one in tree_changes(now, old)
        ]


def copied(source: Path, target: Path, check: Callable[[], None] = lambda: None) -> Path:
    target.mkdir()
    with opened(source) as old, opened(target) as new:
        copy_tree(old, new, privileged=ROOT, check=check)
    return target


def test_changes_of_a_copy(tmp_path: Path) -> None:
    before = make(tmp_path / "before", "a/one", "a/two", "b/c/x", "gone/deep", "f", "k/l/m", "z/")
    (before / "link").symlink_to("a")
    tree = copied(before, tmp_path / "tree")
    assert between(tree, before) == []
    (tree / "a" / "one").write_text("other")
    (tree / "a" / "two").unlink()
    (tree / "gone" / "deep").unlink()
    (tree / "gone").rmdir()
    (tree / "f").chmod(0o600)
    (tree / "b" / "c" / "x").unlink()
    (tree / "b" / "c").rmdir()
    (tree / "b" / "c").write_text("a file now")
    make(tree, "new/deep/er", "k/l/n")
    (tree / "link").unlink()
    (tree / "link").symlink_to("elsewhere")
    assert between(tree, before) == [
        "C a/one",
        "D a/two",
        "C b/c",
        "C f",
        "D gone",
        "A k/l/n",
        "C link",
        "A new",
        "A new/deep",
        "A new/deep/er",
    ]


def test_a_copy_is_like_its_original(tmp_path: Path) -> None:
    source = make(tmp_path / "source", "d/e/f", "setgid/x")
    (source / "big").write_bytes(random.Random(1).randbytes(3 << 20))
    (source / "link").symlink_to("d/e/f")
    (source / "broken").symlink_to("/nowhere")
    (source / "hard").hardlink_to(source / "d" / "e" / "f")
    (source / "d" / "hard").hardlink_to(source / "hard")
    os.mkfifo(source / "pipe", 0o640)
    with (source / "sparse").open("wb") as file:
        file.truncate(50 << 20)
        file.seek(20 << 20)
        file.write(b"island")
    (source / "setuid").write_bytes(b"#!")
    (source / "setuid").chmod(0o4755)
    (source / "setgid").chmod(0o2755)
    os.setxattr(source / "big", "user.note", b"kept")
    if ROOT:
        os.chown(source / "d", 12, 34)
        os.chown(source / "link", 56, 78, follow_symlinks=False)
        os.mknod(source / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    for number, path in enumerate([*source.rglob("*"), source]):
        os.utime(path, ns=(10**18, 10**18 + number), follow_symlinks=False)
    target = copied(source, tmp_path / "target")

    def facts(root: Path) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in [root, *root.rglob("*")]:
            status = path.lstat()
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path.relative_to(root))] = (
                *(status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_rdev),
                *(status.st_mtime_ns, data, os.listxattr(path, follow_symlinks=False)),
                path.readlink() if path.is_symlink() else "",
            )
        return found

    assert facts(target) == facts(source)
    assert (target / "hard").stat().st_ino == (target / "d" / "hard").stat().st_ino
    assert (target / "sparse").stat().st_blocks * 512 < 1 << 20


def test_a_copy_can_be_stopped(tmp_path: Path) -> None:
    source = make(tmp_path / "source", *(f"{number}" for number in range(10)))
    seen = 0

    def check() -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        copied(source, tmp_path / "target", check)
    assert len([*(tmp_path / "target").iterdir()]) == 4


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (b"etc/passwd", b"real"),
        (b"absolute", b"real"),
        (b"relative", b"real"),
        (b"up", b"real"),
        (b"folder/passwd", b"real"),
        (b"outside", None),
        (b"loop", None),
        (b"pipe", None),
        (b"etc", None),
        (b"large", None),
        (b"nothing", None),
        (b"nothing/at/all", None),
        (b"etc/passwd/x", None),
    ],
)
def test_reading_inside(path: bytes, wanted: bytes | None, tmp_path: Path) -> None:
    root = make(tmp_path / "root", "etc/", "a/b/")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "etc" / "passwd").write_bytes(b"real")
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "relative").symlink_to("a/b/link")
    (root / "a" / "b" / "link").symlink_to("../../etc/passwd")
    (root / "up").symlink_to("../" * 20 + "etc/passwd")
    (root / "folder").symlink_to("/etc")
    (root / "outside").symlink_to("../secret")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe")
    (root / "large").write_bytes(bytes(101))
    with opened(root) as descriptor:
        assert read_inside(descriptor, path, 100) == wanted


def test_a_mount_that_can_not_begin_is_none(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", "file")
    target = make(tmp_path / "target")
    with opened(target) as descriptor, pytest.raises(FileNotFoundError):
        mount_overlay(descriptor, Overlay((layer,)), tmp_path / "nowhere")
    assert [*target.iterdir()] == []
