from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.rootfs import Limits
from imgd_server.rootfs._tree import Directory, Tree, clean, remove

LIMITS = Limits()


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a", b"a"),
        (b"./a/b", b"a/b"),
        (b"a/b/", b"a/b"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"//a", b"a"),
        (b"a//b", b"a/b"),
        (b"a/./b", b"a/b"),
        (b"a/b/.", b"a/b"),
        (b"a/b/..", b"a"),
        (b"a/../b", b"b"),
        (b"./", b""),
        (b".", b""),
        (b"/", b""),
        (b"", b""),
        (b"./././a", b"a"),
        (b".hidden", b".hidden"),
        (b"a/.hidden", b"a/.hidden"),
        (b"..a/b..", b"..a/b.."),
        (b"a/...", b"a/..."),
    ],
)
def test_clean(name: bytes, path: bytes) -> None:
    assert clean(name, LIMITS) == path


@given(st.lists(st.sampled_from([b"a", b"bc", b".", b"..", b"", b".d", b"..e"])).map(b"/".join))
def test_clean_is_what_posixpath_says_or_leaves_the_root(name: bytes) -> None:
    normal = posixpath.normpath(b"./" + name.lstrip(b"/"))
    if normal.startswith(b"../") or normal == b"..":
        with pytest.raises(Error, match="leaves the root"):
            clean(name, LIMITS)
    else:
        assert clean(name, LIMITS) == (b"" if normal == b"." else normal)


@pytest.mark.parametrize(
    "name", [b"..", b"../a", b"a/../../b", b"/..", b"/../etc", b"a/b/../../.."]
)
def test_names_that_leave(name: bytes) -> None:
    with pytest.raises(Error) as caught:
        clean(name, LIMITS)
    assert caught.value.reason is Reason.LAYER_INVALID


def test_bounds_on_names() -> None:
    assert clean(b"a/" * 255 + b"a", LIMITS)
    for name in (b"a/" * 256 + b"a", b"a" * 4096):
        with pytest.raises(Error) as caught:
            clean(name, LIMITS)
        assert caught.value.reason is Reason.LAYER_TOO_LARGE
    with pytest.raises(Error, match="NUL"):
        clean(b"a\0b", LIMITS)


class Making(Tree):
    """A tree that makes what is missing."""

    def missing(self, parent: Directory, name: bytes) -> None:
        os.mkdir(name, dir_fd=parent.fd)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Path, Making]]:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    descriptor = os.open(root, os.O_RDONLY)
    yield root, Making(descriptor, LIMITS)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("usr/lib", b"usr/lib"),
        ("/usr/lib", b"usr/lib"),
        ("../usr/lib", b"usr/lib"),
        ("../../../../../usr/lib", b"usr/lib"),
        ("/../../usr//./lib/", b"usr/lib"),
        ("../outside", b"outside"),
        ("/", b""),
        ("..", b""),
        (".", b""),
    ],
)
def test_links_are_followed_within_the_root(
    opened: tuple[Path, Making], target: str, path: bytes
) -> None:
    root, tree = opened
    (root / "lib").symlink_to(target)
    assert tree.directory(b"lib").path == path
    assert tree.directory(b"lib/below").path == (path + b"/below").lstrip(b"/")
    assert (root / os.fsdecode(path) / "below").is_dir()
    assert list((root.parent / "outside").iterdir()) == []


def test_links_through_links(opened: tuple[Path, Making]) -> None:
    root, tree = opened
    (root / "a").symlink_to("b/c")
    (root / "b").symlink_to("/d")
    (root / "d").mkdir()
    (root / "d" / "c").symlink_to("../e/./f")
    assert tree.directory(b"a/x").path == b"e/f/x"


def test_endless_links(opened: tuple[Path, Making]) -> None:
    root, tree = opened
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(Error, match="40 links") as caught:
        tree.directory(b"a")
    assert caught.value.reason is Reason.LAYER_INVALID
    (root / "c").symlink_to("c/c/c")
    with pytest.raises(Error, match="40 links"):
        tree.directory(b"c")


def test_links_that_lead_deeper_and_deeper(opened: tuple[Path, Making]) -> None:
    root, tree = opened
    deep = b"/".join([b"d"] * 200)
    tree.directory(deep)
    (root / "l").symlink_to(os.fsdecode(deep))
    with pytest.raises(Error) as caught:
        tree.directory(b"l/" + deep)
    assert caught.value.reason is Reason.LAYER_TOO_LARGE


def test_looking_makes_nothing(opened: tuple[Path, Making]) -> None:
    root, tree = opened
    (root / "file").touch()
    (root / "link").symlink_to("nowhere")
    for path in (b"a/b", b"file", b"file/x", b"link"):
        assert tree.find(path) is None
    assert {path.name for path in root.iterdir()} == {"file", "link"}
    assert tree.directory(b"a/b").path == b"a/b"
    found = tree.find(b"a/b")
    assert found is not None
    assert found.path == b"a/b"


def test_more_directories_than_are_kept_open(opened: tuple[Path, Making]) -> None:
    root, tree = opened
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(700):
        tree.directory(b"%d/x" % number)
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 300
    assert len(list(root.iterdir())) == 700


def test_a_plain_tree_makes_nothing(opened: tuple[Path, Making]) -> None:
    root, _ = opened
    (root / "file").touch()
    descriptor = os.open(root, os.O_RDONLY)
    plain = Tree(descriptor, LIMITS)
    os.close(descriptor)
    with pytest.raises(FileNotFoundError):
        plain.directory(b"a")
    with pytest.raises(NotADirectoryError):
        plain.directory(b"file/a")


# --- removing


def test_remove(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    root = tmp_path / "root"
    (root / "d" / "e" / "f").mkdir(parents=True)
    (root / "d" / "e" / "link").symlink_to(outside)
    (root / "d" / ".gone1").mkdir()
    (root / "d" / ".gone1" / "inner").mkdir()
    (root / "d" / "closed" / "in").mkdir(parents=True)
    (root / "d" / "closed" / "in" / "file").touch()
    (root / "d" / "closed" / "in").chmod(0)
    (root / "d" / "closed").chmod(0)
    (root / "other").touch()
    descriptor = os.open(root, os.O_RDONLY)
    remove(descriptor, b"d")
    remove(descriptor, b"d")
    assert [path.name for path in root.iterdir()] == ["other"]
    remove(descriptor, b"other")
    os.close(descriptor)
    assert list(root.iterdir()) == []
    assert (outside / "kept").exists()


def test_remove_what_is_deeper_than_any_path(tmp_path: Path) -> None:
    descriptor = top = os.open(tmp_path, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 10, dir_fd=descriptor)
        inner = os.open("d" * 10, os.O_RDONLY, dir_fd=descriptor)
        if descriptor != top:
            os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    before = len(list(Path("/proc/self/fd").iterdir()))
    remove(top, b"d" * 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(top)
    assert list(tmp_path.iterdir()) == []
