"""Layers' own directories, fitted onto those below. What overlayfs makes of them is looked at in
tests/integration/test_unpack.py."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from imgd_server.rootfs import settle
from tests.unit.rootfs.archives import (
    MTIME,
    ROOT,
    WHITEOUT,
    apply,
    archive,
    directory,
    file,
    opaque,
    options,
    pax,
    symlink,
    tree,
    whiteout,
)

OPAQUE = {f"{options().overlay_prefix}overlay.opaque": b"y"}
OWNER: dict[str, Any] = {"uid": 7, "gid": 8} if ROOT else {}


def stack(folder: Path, *layers: bytes) -> list[Path]:
    """Unpacks and settles layers, the lowest first; returns their directories in that order."""
    made: list[Path] = []
    for number, layer in enumerate(layers):
        path = folder / str(number)
        applied = apply(path, layer)
        descriptor = os.open(path, os.O_RDONLY)
        for _ in range(2):  # the second time changes nothing more
            settle(descriptor, list(reversed(made)), applied, options())
        os.close(descriptor)
        made.append(path)
    return made


def test_names_as_long_as_they_may_be_below_a_folder_of_ours(tmp_path: Path) -> None:
    """A name may have 4,095 bytes, and the layer's folder has some of its own."""

    def named(name: bytes, one: bytes) -> tuple[bytes, bytes]:
        return pax({b"path": name}), one

    long = b"/".join([b"n" * 200] * 20)
    _, top = stack(
        tmp_path,
        archive(
            *named(long, directory(b"", 0o711, mtime=4)),
            *named(long + b"/a", file(b"")),
            *named(long + b"/b", file(b"")),
        ),
        archive(
            *named(long + b"/c", file(b"")),
            *named(long + b"/.wh.a", file(b"")),
            *named(long + b"/.wh.none", file(b"")),
        ),
    )
    folder = os.open(top, os.O_RDONLY)
    for part in long.split(b"/"):
        inner = os.open(part, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    assert stat.S_IMODE(os.fstat(folder).st_mode) == 0o711
    assert sorted(os.listdir(folder)) == ["a", "c"]  # noqa: PTH208 - a descriptor
    os.close(folder)


def test_directories_without_an_entry_are_as_below(tmp_path: Path) -> None:
    _, _, top = stack(
        tmp_path,
        archive(
            directory(b".", 0o711, mtime=4),
            pax({b"SCHILY.xattr.user.a": b"1"}),
            directory(b"a", 0o2750, mtime=5, **OWNER),
            directory(b"a/b", 0o700, mtime=6),
        ),
        archive(directory(b"a/b", 0o500, mtime=7)),
        archive(file(b"a/b/c/f")),
    )
    found = tree(top)
    assert (found[""]["mode"], found[""]["mtime"]) == (oct(stat.S_IFDIR | 0o711), 4 * 10**9)
    assert (found["a"]["mode"], found["a"]["mtime"]) == (oct(stat.S_IFDIR | 0o2750), 5 * 10**9)
    assert found["a"]["xattrs"] == {"user.a": b"1"}
    assert found["a"]["owner"] == ((7, 8) if ROOT else (os.geteuid(), os.getegid()))
    # Through two layers that say nothing of it, and from the topmost that does.
    assert (found["a/b"]["mode"], found["a/b"]["mtime"]) == (oct(stat.S_IFDIR | 0o500), 7 * 10**9)
    assert (found["a/b/c"]["mode"], found["a/b/c"]["mtime"]) == (oct(stat.S_IFDIR | 0o755), 0)


def test_directories_that_replace_something_are_new(tmp_path: Path) -> None:
    first = archive(directory(b"a", 0o700), directory(b"b", 0o700), directory(b"b/c", 0o700))
    _, _, top = stack(
        tmp_path,
        first,
        archive(file(b"a")),
        archive(file(b"a/f"), opaque(b"b"), file(b"b/c/f"), whiteout(b"d"), file(b"d/f")),
    )
    found = tree(top)
    new = oct(stat.S_IFDIR | 0o755)
    assert found["a"]["mode"] == found["b/c"]["mode"] == found["d"]["mode"] == new
    assert found["b"]["mode"] == oct(stat.S_IFDIR | 0o700)
    assert found["b"]["xattrs"] == found["d"]["xattrs"] == OPAQUE


def test_whiteouts_of_nothing_go(tmp_path: Path) -> None:
    bottom, middle, top = stack(
        tmp_path,
        archive(file(b"a"), whiteout(b"never"), file(b"d/x"), directory(b"e", mtime=9), file(b"y")),
        archive(whiteout(b"a"), whiteout(b"d"), file(b"new/f"), whiteout(b"new/g")),
        archive(
            whiteout(b"a"),
            whiteout(b"d/x"),
            whiteout(b"e/none"),
            whiteout(b"no/such/file"),
            whiteout(b"y/below/a/file"),
            directory(b"f", mtime=3),
            whiteout(b"f/none"),
        ),
    )
    assert set(tree(bottom)) == {"", "a", "d", "d/x", "e", "y"}
    assert set(tree(middle)) == {"", "a", "d", "new", "new/f"}
    assert tree(middle)["a"] == tree(middle)["d"] == WHITEOUT
    found = tree(top)
    assert set(found) == {"", "e", "f"}
    # Directories have the times that they should have, whatever was removed from them.
    assert found["e"]["mtime"] == 9 * 10**9
    assert found["f"]["mtime"] == 3 * 10**9


def test_whiteouts_in_opaque_directories_go(tmp_path: Path) -> None:
    below = archive(directory(b"o"), directory(b"o/p"), file(b"o/a"), file(b"o/p/b"), file(b"c"))
    _, top = stack(
        tmp_path,
        below,
        archive(
            whiteout(b"o/a"),
            whiteout(b"o/p/b"),
            opaque(b"o"),
            directory(b"o", mtime=5),
            whiteout(b"c"),
        ),
    )
    found = tree(top)
    assert set(found) == {"", "o", "c"}
    assert (found["o"]["xattrs"], found["o"]["mtime"]) == (OPAQUE, 5 * 10**9)


def test_an_opaque_root_is_spelt_out(tmp_path: Path) -> None:
    *_, top = stack(
        tmp_path,
        archive(file(b"a"), directory(b"d"), file(b"d/x"), file(b"gone"), file(b"f")),
        archive(whiteout(b"gone"), directory(b"e")),
        archive(directory(b".", mtime=6), opaque(b""), directory(b"d"), file(b"f"), file(b"new")),
    )
    found = tree(top)
    assert {name for name, facts in found.items() if facts == WHITEOUT} == {"a", "e"}
    assert found["d"]["xattrs"] == OPAQUE
    assert found["f"]["mtime"] == MTIME * 10**9
    assert found[""]["mtime"] == 6 * 10**9
    assert "gone" not in found


def test_what_was_noted_of_replaced_paths_does_no_harm(tmp_path: Path) -> None:
    """Whiteouts and directories noted, then replaced by a link: nothing beyond it is touched."""
    _, top = stack(
        tmp_path,
        archive(directory(b"other", 0o700), directory(b"d", 0o700), file(b"other/x")),
        archive(
            whiteout(b"d/x"),
            file(b"d/sub/f"),
            symlink(b"d", b"other"),
            directory(b"other"),
            whiteout(b"other/x"),
        ),
    )
    found = tree(top)
    assert set(found) == {"", "d", "other", "other/x"}
    assert found["other/x"] == WHITEOUT
    assert found["other"]["mode"] == oct(stat.S_IFDIR | 0o755)


@pytest.mark.parametrize("name", [b"w", b"d/w"])
def test_a_file_in_place_of_a_whiteout_stays(tmp_path: Path, name: bytes) -> None:
    (top,) = stack(tmp_path, archive(whiteout(name), file(name)))
    assert (top / os.fsdecode(name)).is_file()
