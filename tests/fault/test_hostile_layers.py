"""Layers that are meant to do harm, or that are only odd, each named after what it tries.

Whatever a layer says, nothing outside of its directory is made, changed or removed, in either way
of applying it; what is refused is refused with a clear reason, and never becomes a snapshot.
"""

from __future__ import annotations

import gzip
import os
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation
from imgd_server.rootfs import ApplyOptions, Layer, SnapshotStore, Unpacker, Whiteouts
from tests.integration.test_unpack import Source, quiet
from tests.unit.rootfs.archives import (
    GNU,
    ROOT,
    apply,
    archive,
    device,
    diff_id,
    directory,
    entry,
    fifo,
    file,
    gnu_name,
    link,
    opaque,
    options,
    pax,
    refusal,
    symlink,
    tree,
    whiteout,
)

INVALID, TOO_LARGE = Reason.LAYER_INVALID, Reason.LAYER_TOO_LARGE
UP = b"../" * 12

REFUSED: dict[str, tuple[bytes, Reason]] = {
    "a name above the root": (file(b"../escape"), INVALID),
    "a name above the root, later": (file(b"a/b/../../../escape"), INVALID),
    "an absolute name above the root": (file(b"/../../escape"), INVALID),
    "a long name above the root (PAX)": (pax({b"path": UP + b"escape"}) + file(b"x"), INVALID),
    "a long name above the root (GNU)": (gnu_name(UP + b"escape") + file(b"x"), INVALID),
    "a prefix above the root": (file(b"escape", prefix=b"../.."), INVALID),
    "a sparse name above the root": (
        pax(
            {
                b"GNU.sparse.map": b"0,1",
                b"GNU.sparse.size": b"1",
                b"GNU.sparse.name": b"../escape",
            }
        )
        + file(b"x", b"x"),
        INVALID,
    ),
    "a directory above the root": (directory(b"../escape"), INVALID),
    "the parent itself": (directory(b"..", 0o777), INVALID),
    "a hard link to outside": (link(b"l", b"../victim/file"), INVALID),
    "a hard link to an absolute name": (link(b"l", b"/etc/passwd"), INVALID),
    "a hard link through a link to outside": (
        symlink(b"s", UP + b"etc") + link(b"l", b"s/passwd"),
        INVALID,
    ),
    "a hard link to itself": (link(b"l", b"l"), INVALID),
    "a hard link to nothing": (link(b"l", b""), INVALID),
    "a hard link to the root": (link(b"l", b"."), INVALID),
    "a hard link to a directory": (directory(b"d") + link(b"l", b"d"), INVALID),
    "a hard link into its own place": (file(b"d/f") + link(b"d", b"d/f"), INVALID),
    "a hard link to a whiteout": (whiteout(b"w") + link(b"l", b"w"), INVALID),
    "the root as a file": (file(b"."), INVALID),
    "the root as a link": (symlink(b"./", UP), INVALID),
    "the root as a hard link": (file(b"f") + link(b"./", b"f"), INVALID),
    "a whiteout of the directory itself": (entry(b"d/.wh.."), INVALID),
    "a whiteout of the parent": (entry(b"d/.wh..."), INVALID),
    "a whiteout of nothing": (entry(b"d/.wh."), INVALID),
    "a whiteout above the root": (entry(b"../.wh.victim"), INVALID),
    "a whiteout with a slash in it": (entry(b".wh../victim"), INVALID),
    "an opaque mark above the root": (entry(b"../.wh..wh..opq"), INVALID),
    "a file below a whiteout": (file(b".wh.d/f"), INVALID),
    "a NUL in a name (PAX)": (pax({b"path": b"a\0/../../x"}) + file(b"x"), INVALID),
    "a NUL in a link (PAX)": (pax({b"linkpath": b"a\0b"}) + symlink(b"x", b"y"), INVALID),
    "links without end": (symlink(b"a", b"b") + symlink(b"b", b"a") + file(b"a/f"), INVALID),
    "an empty link": (symlink(b"a", b""), INVALID),
    "a name that no file system takes": (pax({b"path": b"n" * 256}) + file(b"x"), INVALID),
    "a path that no system takes": (pax({b"path": b"n/" * 2048 + b"n"}) + file(b"x"), TOO_LARGE),
    "folders without end": (pax({b"path": b"d/" * 300 + b"f"}) + file(b"x"), TOO_LARGE),
    "a link that no system takes": (pax({b"linkpath": b"n" * 5000}) + symlink(b"a", b""), INVALID),
    "folders without end, through links": (
        pax({b"path": b"d/" * 200 + b"f"})
        + file(b"x")
        + pax({b"linkpath": b"d/" * 200})
        + symlink(b"l", b"")
        + pax({b"path": b"l/" + b"e/" * 200 + b"f"})
        + file(b"x"),
        TOO_LARGE,
    ),
    "an extended header of a terabyte": (entry(b"x", b"x", size=1 << 40), TOO_LARGE),
    "a long name of a terabyte": (entry(b"x", b"L", size=1 << 40, magic=GNU), TOO_LARGE),
    "a sparse file of an exabyte": (
        pax({b"GNU.sparse.map": b"0,1", b"GNU.sparse.size": b"%d" % (1 << 60)}) + file(b"x", b"x"),
        TOO_LARGE,
    ),
    "a sparse file that overlaps itself": (
        pax({b"GNU.sparse.map": b"0,2,1,1", b"GNU.sparse.size": b"9"}) + file(b"x", b"abc"),
        INVALID,
    ),
    "a sparse file beyond its end": (
        pax({b"GNU.sparse.map": b"8,3", b"GNU.sparse.size": b"9"}) + file(b"x", b"abc"),
        INVALID,
    ),
    "a sparse file with offsets that wrap": (
        pax({b"GNU.sparse.map": b"9223372036854775807,3", b"GNU.sparse.size": b"9"})
        + file(b"x", b"abc"),
        INVALID,
    ),
    "a size below nothing": (file(b"x", size=-512), INVALID),
    "a size that wraps": (file(b"x", patch={124: b"\x80\0\0\0\x7f" + b"\xff" * 7}), INVALID),
    "a size beyond the archive": (file(b"x", size=1 << 40), INVALID),
    "an attribute that can't be": (
        pax({b"SCHILY.xattr.security.capability": b"nonsense"}) + file(b"x"),
        INVALID,
    ),
    "an attribute with an endless name": (
        pax({b"SCHILY.xattr.user." + b"n" * 300: b"v"}) + file(b"x"),
        TOO_LARGE,
    ),
    "an attribute that fills a disk": (
        pax({b"SCHILY.xattr.user.a": b"v" * 200_000}) + file(b"x"),
        TOO_LARGE,
    ),
    "another file's type": (entry(b"x", b"Z"), INVALID),
}
if ROOT:
    REFUSED |= {
        "an owner that means none": (file(b"x", uid=2**32 - 1), INVALID),
        "an owner below nothing": (file(b"x", uid=-1, magic=GNU), INVALID),
        "an owner above all": (pax({b"gid": b"9" * 18}) + directory(b"x"), INVALID),
        "a device that is another one": (device(b"x", 1 << 20, 3), INVALID),
        "a device below nothing": (device(b"x", -1, 3, magic=GNU), INVALID),
    }

# What may look hostile and is taken, with what it makes of the root.
TAKEN: dict[str, tuple[bytes, set[str]]] = {
    "an absolute name": (file(b"/victim/file"), {"victim", "victim/file"}),
    "a link to outside, and a file through it": (
        symlink(b"s", UP + b"victim") + file(b"s/file"),
        {"s", "victim", "victim/file"},
    ),
    "an absolute link, and a file through it": (
        symlink(b"s", b"/victim") + file(b"s/file"),
        {"s", "victim", "victim/file"},
    ),
    "a link to the parent, and a file through it": (
        symlink(b"s", b"..") + file(b"s/s/s/file"),
        {"s", "file"},
    ),
    "a file in place of a link to outside": (
        symlink(b"s", UP + b"victim/file") + file(b"s", b"harmless"),
        {"s"},
    ),
    "a directory in place of a link to outside": (
        symlink(b"s", UP + b"victim") + directory(b"s", 0o777) + file(b"s/file"),
        {"s", "s/file"},
    ),
    "a device in place of a link to outside": (
        symlink(b"s", UP + b"victim/file") + fifo(b"s"),
        {"s"},
    ),
    "a hard link to a link to outside": (
        symlink(b"s", UP + b"victim/file")
        + link(b"h", b"s")
        + pax({b"mtime": b"1"})
        + link(b"h", b"s"),
        {"s", "h"},
    ),
    "a directory that a link replaces while it is filled": (
        directory(b"d")
        + file(b"d/one")
        + symlink(b"d", UP + b"victim")
        + file(b"d/file")
        + whiteout(b"d/file2"),
        {"d", "victim", "victim/file"},
    ),
    "links that trade places": (
        symlink(b"a", b"b")
        + symlink(b"b", UP)
        + file(b"a/victim/file")
        + directory(b"b")
        + file(b"a/victim/file"),
        {"a", "b", "b/victim", "b/victim/file", "victim", "victim/file"},
    ),
    "a whiteout through a link to outside": (
        symlink(b"s", UP + b"victim") + whiteout(b"s/file"),
        {"s"},
    ),
    "an opaque mark through a link to outside": (
        symlink(b"s", UP) + opaque(b"s/victim"),
        {"s"},
    ),
    "proc's own links": (
        symlink(b"s", b"/proc/self/root/victim") + file(b"s/file"),
        {"s", "proc", "proc/self", "proc/self/root", "proc/self/root/victim"}
        | {"proc/self/root/victim/file"},
    ),
    "a mode that is more than a mode": (file(b"x", mode=0o100666), {"x"}),
    "a time beyond all": (pax({b"mtime": b"9" * 18}) + file(b"x"), {"x"}),
    "attributes that steer overlayfs": (
        pax(
            {
                b"SCHILY.xattr.trusted.overlay.redirect": b"/victim",
                b"SCHILY.xattr.user.overlay.redirect": b"/victim",
                b"SCHILY.xattr.trusted.overlay.metacopy": b"",
                b"SCHILY.xattr.trusted.overlay.whiteout": b"y",
            }
        )
        + directory(b"x"),
        {"x"},
    ),
    "a name of dots": (file(b"..."), {"..."}),
    "a name of bytes": (file(b"\x80\xff\n\x1b[2J"), {os.fsdecode(b"\x80\xff\n\x1b[2J")}),
    "nothing but the end": (b"", set()),
}

BOTH = pytest.mark.parametrize("how", list(Whiteouts), ids=lambda how: how.value)


@pytest.fixture(name="outside", autouse=True)
def watch_outside(tmp_path: Path) -> Iterator[None]:
    """Something beside the root that a layer could reach, which must be as it was."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o750)
    (victim / "file").write_bytes(b"unharmed")
    (victim / "file").chmod(0o640)
    (tmp_path / "r").mkdir()
    before = tree(victim)
    around = set(tmp_path.iterdir())
    yield
    assert tree(victim) == before
    assert set(tmp_path.iterdir()) - {tmp_path / "snapshots"} == around
    assert not Path("/escape").exists()
    assert not Path("/victim").exists()


def checked(how: Whiteouts, root: Path) -> ApplyOptions:
    if how is Whiteouts.APPLY:
        # A tree below, with links that the layer may go through.
        (root / "down").symlink_to("../victim")
        (root / "over").symlink_to(root.parent / "victim")
    return options(how)


@BOTH
@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str, how: Whiteouts) -> None:
    data, why = REFUSED[name]
    error = refusal(tmp_path / "r", archive(data), checked(how, tmp_path / "r"))
    assert error.reason is why, error.message
    assert str(tmp_path) not in error.message
    assert len(error.message) < 1000
    assert error.message.isprintable()


@BOTH
@pytest.mark.parametrize("name", TAKEN)
def test_taken_within_the_root(tmp_path: Path, name: str, how: Whiteouts) -> None:
    data, expected = TAKEN[name]
    root = tmp_path / "r"
    apply(root, archive(data), checked(how, root))
    found = {
        path: facts
        for path, facts in tree(root).items()
        if path not in ("", "down", "over") and facts != "whiteout"
    }
    # overlayfs's marks make the directories that they are in.
    if how is Whiteouts.OVERLAY and "through a link to outside" in name:
        found = {path: facts for path, facts in found.items() if path in expected}
    assert set(found) == expected
    allowed = {"user.overlay.opaque", "trusted.overlay.opaque"}
    assert all(set(facts["xattrs"]) <= allowed for facts in found.values())


def test_a_lower_layers_links_lead_nowhere(tmp_path: Path) -> None:
    """What a layer below left behind does not help the next one out."""
    root = tmp_path / "r"
    checked(Whiteouts.APPLY, root)
    apply(
        root,
        archive(
            file(b"down/file", b"evil"),
            file(b"over/file", b"evil"),
            whiteout(b"down/file"),
            opaque(b"over"),
            link(b"mine", b"over/file"),
        ),
        options(Whiteouts.APPLY),
    )
    # Links, followed as if the root were `/`: whatever they name is inside.
    inside = root / "victim"
    assert (inside / "file").read_bytes() == b"evil"
    assert (root / "mine").read_bytes() == b"evil"


# --- bombs


@BOTH
def test_more_entries_than_are_allowed(tmp_path: Path, how: Whiteouts) -> None:
    entries = archive(*(file(b"%d" % number, b"") for number in range(101)))
    assert refusal(tmp_path / "r", entries, options(how, max_entries=100)).reason is TOO_LARGE


@BOTH
def test_folders_that_no_entry_names_count_too(tmp_path: Path, how: Whiteouts) -> None:
    entries = archive(*(file(b"%d/%s/f" % (number, b"d/" * 50)) for number in range(3)))
    assert refusal(tmp_path / "r", entries, options(how, max_entries=100)).reason is TOO_LARGE
    apply(tmp_path / "r", entries, options(how, max_entries=160))


@BOTH
def test_walking_in_circles(tmp_path: Path, how: Whiteouts) -> None:
    """Each entry leads through a long way, of which the one before made us forget all."""
    way = [
        pax({b"linkpath": b"d/../" * 800 + b"l%d" % (n + 1)}) + symlink(b"l%d" % n, b"")
        for n in range(30)
    ]
    turns = [file(b"l0/f"), symlink(b"x", b"y"), directory(b"x")] * 2000
    entries = archive(directory(b"d"), directory(b"l30"), *way, *turns)
    error = refusal(tmp_path / "r", entries, options(how))
    assert error.reason is TOO_LARGE
    assert "too many directories" in error.message


LONG = b"/".join([b"d" * 200] * 18)


@pytest.mark.parametrize(
    ("how", "one"),
    [
        (Whiteouts.OVERLAY, lambda n: whiteout(b"l/%d" % n)),
        (Whiteouts.OVERLAY, lambda n: directory(b"l/%d" % n)),
        (Whiteouts.OVERLAY, lambda n: file(b"l/%d/f" % n)),
        (Whiteouts.APPLY, lambda n: directory(b"l/%d" % n)),
        (Whiteouts.APPLY, lambda n: file(b"l/%d/f" % n)),
    ],
)
def test_paths_that_links_make_long(
    tmp_path: Path, how: Whiteouts, one: Callable[[int], bytes]
) -> None:
    """What is remembered is bounded by its bytes, not by what the archive spends on them."""
    entries = archive(
        file(LONG[:200] + b"/x"),
        pax({b"linkpath": LONG}) + symlink(b"l", b""),
        *map(one, range(600)),
    )
    error = refusal(tmp_path / "r", entries, options(how, max_noted=1 << 20))
    assert error.reason is TOO_LARGE
    assert "links followed" in error.message
    again = tmp_path / "r" / "again"
    again.mkdir()
    apply(again, entries, options(how, max_noted=8 << 20))


def test_opaque_marks_that_links_make_long(tmp_path: Path) -> None:
    """Each costs a directory's path twice."""
    marks = [opaque(b"l/%d" % n) for n in range(200)]
    entries = archive(pax({b"linkpath": LONG}) + symlink(b"l", b""), *marks)
    noted = 2 * 200 * len(LONG)
    assert refusal(tmp_path / "r", entries, options(max_noted=noted)).reason is TOO_LARGE


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_bytes_beyond_the_bounds(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(archive(file(b"zeros", bytes(32 << 20))))
    assert len(bomb) < 1 << 20
    for how in (options(max_bytes=8 << 20), options(max_ratio=20, ratio_floor=4 << 20)):
        error = refusal(tmp_path / "r", bomb, how)
        assert error.reason is TOO_LARGE
        # It was stopped, not measured.
        assert sum(path.stat().st_size for path in (tmp_path / "r").iterdir()) < 20 << 20


def test_bytes_behind_the_end(tmp_path: Path) -> None:
    bomb = gzip.compress(archive(file(b"a")) + bytes(32 << 20))
    assert refusal(tmp_path / "r", bomb, options(max_bytes=8 << 20)).reason is TOO_LARGE


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(archive(file(b"zeros", bytes(64 << 20))))
    tracemalloc.start()
    try:
        apply(tmp_path / "r", bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_marks_without_end_cost_no_more_than_they_are(tmp_path: Path) -> None:
    """An opaque mark looks at what is in its directory, once."""
    root = tmp_path / "r"
    (root / "d").mkdir()
    for number in range(500):
        (root / "d" / str(number)).touch()
    looked = 0
    scandir = os.scandir

    def counting(*arguments: object) -> object:
        nonlocal looked
        looked += 1
        return scandir(*arguments)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", counting)
        apply(root, archive(file(b"d/new"), *[opaque(b"d")] * 300), options(Whiteouts.APPLY))
    assert set(tree(root)) == {"", "d", "d/new"}
    assert looked < 10


# --- fuzz

NAMES = st.sampled_from(
    b"a b a/b a/b/c ./a /a a/../b .. ../victim a/../../victim . a/.wh.b .wh.a .wh..wh..opq "
    b"a/.wh..wh..opq .wh.. b/.wh.. victim/file a/victim/file \xff".split(b" ")
)
TARGETS = st.sampled_from(
    [
        b"a",
        b"b",
        b"..",
        b"../victim",
        b"/victim",
        b"../../victim/file",
        b"/",
        b".",
        b"a/b",
        b"/proc",
    ]
)


@st.composite
def anything(draw: st.DrawFn) -> bytes:
    name, to = draw(NAMES), draw(TARGETS)
    kind = draw(
        st.sampled_from([b"0", b"0", b"1", b"2", b"2", b"3", b"5", b"5", b"6", b"7", b"\0"])
    )
    data = draw(st.binary(max_size=20)) if kind in b"07\0" else b""
    made = entry(
        name,
        kind,
        data,
        to=to,
        mode=draw(st.integers(0, 0o7777)),
        device=draw(st.sampled_from([(0, 0), (1, 3)])),
    )
    if draw(st.booleans()) and draw(st.booleans()):
        made = bytes(draw(st.binary(min_size=1, max_size=512))) + made[512:]
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.lists(anything(), max_size=8), st.sampled_from(list(Whiteouts)))
def test_no_archive_gets_out(tmp_path: Path, entries: list[bytes], how: Whiteouts) -> None:
    """The fixture looks at what is outside, after all of them."""
    root = tmp_path / "r"
    victim = tree(tmp_path / "victim")
    mode = stat.S_IMODE(root.stat().st_mode)
    try:
        apply(root, archive(*entries), options(how))
    except Error as error:
        if error.reason not in (INVALID, TOO_LARGE):
            raise
    finally:
        root.chmod(mode)
    assert tree(tmp_path / "victim") == victim


# --- snapshots


@pytest.mark.parametrize("kind", ["overlay", "copy"])
def test_a_hostile_layer_never_becomes_a_snapshot(tmp_path: Path, kind: str) -> None:
    if kind == "overlay" and not ROOT:
        pytest.skip("NOT TESTED: layers apart need root")
    store = SnapshotStore(tmp_path / "snapshots", kind)
    good = archive(file(b"good"))
    with Unpacker(store, workers=2) as unpacker:
        for name, (data, why) in REFUSED.items():
            bad = archive(data)
            layers = [
                Layer(diff_id(one), lambda one=one: Source(tmp_path, one))  # type: ignore[misc]
                for one in (good, bad)
            ]
            with pytest.raises(Error) as caught:
                unpacker.unpack(layers, quiet, Cancellation())
            assert caught.value.reason is why, name
            assert diff_id(bad) not in store.snapshots()
            assert set(store.snapshots()) <= {diff_id(good)}
    folders = list((tmp_path / "snapshots" / kind / "layers").iterdir())
    assert len(folders) == len(store.snapshots())
