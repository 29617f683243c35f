"""The index of a layer, and the tree that several make, against what unpacking makes."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.rootfs import (
    ApplyOptions,
    FileKind,
    LayerIndex,
    Limits,
    MergedTree,
    Whiteouts,
    apply_layer,
    build_index,
)
from tests.unit.rootfs.archives import (
    ROOT,
    archive,
    device,
    diff_id,
    directory,
    fifo,
    file,
    link,
    opaque,
    symlink,
    whiteout,
)


def index(folder: Path, layer: bytes, limits: Limits | None = None) -> LayerIndex:
    path = folder / f"{len(list(folder.iterdir()))}.index"
    build_index(io.BytesIO(layer), path, limits or Limits(), diff_id(layer))
    return LayerIndex(path)


def merged(folder: Path, *layers: bytes) -> dict[bytes, tuple[int, int, int]]:
    """Kind, mode and size of every path."""
    indexes = [index(folder, one) for one in layers]
    try:
        tree = MergedTree(indexes)
        return {
            met.key.replace(b"\0", b"/"): (
                met.found.file.kind,
                met.found.file.mode,
                met.found.file.size,
            )
            for met in tree.walk(tree.root(), recursive=True)
            if met.found
        }
    finally:
        for one in indexes:
            one.close()


def unpacked(folder: Path, *layers: bytes) -> dict[bytes, tuple[int, int, int]]:
    """The same, of the files that unpacking makes."""
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        options = ApplyOptions(whiteouts=Whiteouts.APPLY, privileged=ROOT)
        for layer in layers:
            apply_layer(io.BytesIO(layer), descriptor, options)
    finally:
        os.close(descriptor)
    found = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        kind = {0o10: 1, 0o4: 2, 0o12: 3, 0o2: 4, 0o6: 5, 0o1: 6}[status.st_mode >> 12]
        mode = 0o777 if kind == FileKind.SYMLINK else status.st_mode & 0o7777
        name = os.fsencode(path.relative_to(folder))
        found[name] = (kind, mode, status.st_size if kind == FileKind.REGULAR else 0)
    return found


def shown(found: dict[bytes, tuple[int, int, int]]) -> dict[bytes, tuple[int, int, int]]:
    """Links have no mode of their own on Linux."""
    return {
        path: (kind, 0o777 if kind == FileKind.SYMLINK else mode, size)
        for path, (kind, mode, size) in found.items()
    }


def some_layer(chance: random.Random) -> bytes:
    """A few entries over few names, so that they meet."""
    names = [b"a", b"b", b"a/b", b"a/c", b"b/a", b"a/b/c", b"a/b/d", b"c"]
    entries = []
    for name in chance.choices(names, k=chance.randint(1, 7)):
        entries.append(
            chance.choice(
                [
                    file(name, chance.randbytes(chance.randint(0, 600)), mode=0o640),
                    directory(name, mode=chance.choice([0o755, 0o700])),
                    directory(name),
                    fifo(name),
                    whiteout(name),
                    opaque(name),
                ]
            )
        )
    return archive(*entries)


@pytest.mark.parametrize("seed", range(150))
def test_layers_make_what_unpacking_makes(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    layers = [some_layer(chance) for _ in range(chance.randint(1, 4))]
    (tmp_path / "indexes").mkdir()
    expected = unpacked(tmp_path / "tree", *layers)
    assert shown(merged(tmp_path / "indexes", *layers)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_page_goes_on_behind_any_path(tmp_path: Path, seed: int) -> None:
    chance = random.Random(1000 + seed)
    indexes = [index(tmp_path, some_layer(chance)) for _ in range(3)]
    tree = MergedTree(indexes)
    everything = [*tree.walk(tree.root(), recursive=True)]
    for place, met in enumerate(everything):
        assert [*tree.walk(tree.root(), recursive=True, after=met.key)] == everything[place + 1 :]
    own = [one for one in everything if b"\0" not in one.key]
    assert [one.found for one in tree.walk(tree.root(), recursive=False)] == [
        one.found for one in own
    ]
    for one in indexes:
        one.close()


def test_links_in_a_path_are_followed_within_the_layer(tmp_path: Path) -> None:
    layer = archive(
        symlink(b"lib", b"/usr/lib"), file(b"lib/x", b"1"), link(b"y", b"lib/x"), whiteout(b"lib/z")
    )
    with index(tmp_path, layer) as built:
        assert built.find(b"lib\0x") is None
        found, shared = built.find(b"usr\0lib\0x"), built.find(b"y")
        gone = built.find(b"usr\0lib\0z")
    assert found is not None
    assert shared is not None
    assert gone is not None
    assert (shared.link, shared.shared, shared.place) == (b"/usr/lib/x", 1, found.place)
    assert gone.kind == FileKind.WHITEOUT


def test_what_an_entry_replaces_is_gone_whole(tmp_path: Path) -> None:
    layer = archive(directory(b"d"), file(b"d/x", b""), file(b"d", b"now"), file(b"d.x", b""))
    assert [*merged(tmp_path, layer)] == [b"d", b"d.x"]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (archive(file(b"../x", b"")), "LAYER_INVALID"),
        (archive(file(b"", b"")), "LAYER_INVALID"),
        (archive(link(b"a", b"b")), "LAYER_INVALID"),
        (archive(directory(b"d"), link(b"a", b"d")), "LAYER_INVALID"),
        (archive(symlink(b"a", b"a"), file(b"a/x", b"")), "LAYER_INVALID"),
        (archive(symlink(b"a", b"")), "LAYER_INVALID"),
        (archive(file(b"n" * 90 + b"/" + b".wh..", b"")), "LAYER_INVALID"),
        (archive(device(b"dev", 5000, 1)), "LAYER_INVALID"),
        (archive(*(file(b"%d" % n, b"") for n in range(20))), "LAYER_TOO_LARGE"),
        (archive(file(b"/".join([b"d"] * 60), b"")), "LAYER_TOO_LARGE"),
        (archive(file(b"big", bytes(1 << 20))), "LAYER_TOO_LARGE"),
    ],
)
def test_hostile_layers_have_no_index(tmp_path: Path, layer: bytes, reason: str) -> None:
    limits = Limits(max_entries=15, max_depth=50, max_bytes=1 << 20)
    with pytest.raises(Error) as refused:
        index(tmp_path, layer, limits)
    assert refused.value.reason.name == reason


def test_another_archive_than_the_config_says_is_refused(tmp_path: Path) -> None:
    layer = archive(file(b"a", b""))
    with pytest.raises(Error) as refused:
        build_index(io.BytesIO(layer), tmp_path / "index", Limits(), diff_id(layer + b"\0"))
    assert refused.value.reason is Reason.DIGEST_MISMATCH
