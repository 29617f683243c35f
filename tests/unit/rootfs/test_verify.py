"""Looking at an archive before it is a layer, beside what unpacking makes of it."""

from __future__ import annotations

import gzip
import random
import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.rootfs import Limits, VerifiedLayer, Whiteouts, verify_layer
from imgd_server.rootfs._frames import check_frames
from tests.unit.rootfs.archives import (
    ROOT,
    apply,
    archive,
    diff_id,
    directory,
    entry,
    fifo,
    file,
    link,
    options,
    pax,
    symlink,
    whiteout,
)

REFUSED = {Reason.LAYER_INVALID, Reason.LAYER_TOO_LARGE}


def quiet() -> None:
    """Nobody has left."""


def verify(data: bytes, **limits: int) -> VerifiedLayer:
    return verify_layer(
        lambda length, offset: data[offset : offset + length], Limits(**limits), quiet
    )


@pytest.mark.parametrize(("name", "pack"), [("", bytes), ("gzip", gzip.compress),
                                            ("zstd", zstandard.compress)])  # fmt: skip
def test_what_a_layer_is(name: str, pack: object) -> None:
    made = archive(
        directory(b"d"),
        file(b"d/x", b"12345"),
        link(b"y", b"d/x"),
        symlink(b"s", b"/nowhere"),
        fifo(b"p"),
        whiteout(b"z"),
        entry(b"d/.wh..wh.plnk", b"5"),
    )
    found = verify(pack(made))  # type: ignore[operator]
    assert found == VerifiedLayer(diff_id(made), name, 5, len(made))
    # What GNU tar pads its archives with is part of them.
    padded = made + bytes(9000)
    assert verify(padded).diff_id == diff_id(padded)


@pytest.mark.parametrize(
    "data",
    [
        b"no archive" * 100,
        archive(file(b"..")),
        archive(file(b"a/../../b")),
        archive(file(b"/../b")),
        archive(link(b"a", b"../b")),
        archive(link(b"a", b"/")),
        archive(file(b".")),
        archive(symlink(b"./", b"x")),
        archive(file(b".wh.d/x")),
        archive(file(b"d/.wh.")),
        archive(file(b".wh...")),
        archive(pax({b"uid": b"4294967296"}), file(b"x")),
        archive(entry(b"x", b"Z")),
        gzip.compress(archive(file(b"x")))[:-9],
        gzip.compress(archive(file(b"x"))) + b"\0",  # Go's gzip takes nothing behind a member
        zstandard.compress(archive(file(b"x")))[:-9],
        archive(file(b"x", b"y" * 1000))[:900],
    ],
)
def test_what_is_no_layer(data: bytes) -> None:
    with pytest.raises(Error) as caught:
        verify(data)
    assert caught.value.reason is Reason.LAYER_INVALID


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (archive(*[file(b"x", b"")] * 11), {"max_entries": 10}),
        (archive(file(b"x", bytes(5000))), {"max_bytes": 4000}),
        (gzip.compress(archive(file(b"x", bytes(1 << 20)))), {"ratio_floor": 1000, "max_ratio": 9}),
        (archive(file(b"a/b/c/d")), {"max_depth": 3}),
        (archive(pax({b"path": b"p" * 5000}), file(b"x")), {}),
    ],
)
def test_what_is_beyond_bounds(data: bytes, limits: dict[str, int]) -> None:
    with pytest.raises(Error) as caught:
        verify(data, **limits)
    assert caught.value.reason is Reason.LAYER_TOO_LARGE


LONG = b"n" * 256
CAPABILITY = b"\1\0\0\2" + bytes(16)


def attribute(key: bytes, value: bytes) -> bytes:
    return archive(pax({b"SCHILY.xattr." + key: value}), file(b"d/x"))


def named(path: bytes, one: bytes) -> bytes:
    """An entry whose name does not fit into its header."""
    return pax({b"path": path}) + one


IMPOSSIBLE = {
    "a name": archive(named(LONG, file(b"x"))),
    "a folder": archive(named(LONG + b"/x", file(b"x"))),
    "a removed file": archive(named(b".wh." + LONG, file(b"x"))),
    "a folder of a mark": archive(named(LONG + b"/.wh.x", file(b"x"))),
    "a hard link to a long name": archive(pax({b"linkpath": LONG}), link(b"x", b"y")),
    "a link to nothing": archive(symlink(b"x", b"")),
    "a link to what is too long": archive(pax({b"linkpath": b"l" * 4096}), symlink(b"x", b"y")),
    "a device": archive(entry(b"x", b"3", device=(4096, 1))),
    "a capability": attribute(b"security.capability", CAPABILITY[:-1]),
    "an ACL": attribute(b"system.posix_acl_access", b"\2\0\0\0" + bytes(8)),
    "a folder's ACL, of a file": attribute(
        b"system.posix_acl_default",
        b"\2\0\0\0" + b"".join(b"%c\0\5\0" % kind + b"\xff" * 4 for kind in (1, 4, 32)),
    ),
    "an attribute without a name": attribute(b"user.", b"x"),
    "an attribute's long name": attribute(b"user." + b"a" * 251, b"x"),
    "a long attribute": attribute(b"user.a", bytes(65537)),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_can_be_no_file_is_refused_before_it_is_unpacked(tmp_path: Path, what: str) -> None:
    data = IMPOSSIBLE[what]
    with pytest.raises(Error) as caught:
        verify(data)
    assert caught.value.reason in REFUSED
    if not ROOT and what in ("a device", "a removed file", "a folder of a mark"):
        return  # which this caller can't make anyway
    try:
        applied = apply(tmp_path / "root", data, options())
    except Error as error:
        assert error.reason is caught.value.reason  # noqa: PT017 - or it is none
    else:
        # A file system that takes no such attribute at all.
        assert applied.stats.skipped_xattrs == 1


def test_what_is_just_possible(tmp_path: Path) -> None:
    data = archive(
        named(b"n" * 255, file(b"x")),
        named(b"d" * 255, directory(b"x")),
        named(b".wh." + b"w" * 255, file(b"x")),
        pax({b"linkpath": b"l" * 4095}),
        symlink(b"s", b"y"),
        pax({b"SCHILY.xattr.security.capability": CAPABILITY}),
        file(b"x"),
        pax({b"SCHILY.xattr.trusted.overlay.redirect": bytes(70_000)}),
        file(b"left-out"),
        pax({b"SCHILY.xattr.user.": b"x", b"uid": b"4294967296"}),
        link(b"y", b"x"),
    )
    assert verify(data).diff_id == diff_id(data)
    apply(tmp_path / "root", data, options(Whiteouts.OVERLAY if ROOT else Whiteouts.APPLY))


ZSTD = [
    zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size).compress(data)
    for checksum in (False, True)
    for size in (False, True)
    for data in (b"", b"x" * 300, random.Random(1).randbytes(400_000), bytes(1 << 20))
]


@pytest.mark.parametrize("frame", ZSTD)
def test_a_zstd_file_is_whole_or_refused(frame: bytes) -> None:
    """Its decompressor takes an end in the middle of a frame for the end."""
    skippable = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"skipped"
    for whole in (frame, frame + frame, skippable + frame, frame + skippable):
        check_frames(lambda length, at, data=whole: data[at : at + length], quiet)  # type: ignore[misc]
    for end in {1, 3, 4, 5, 8, len(frame) // 2, len(frame) - 4, len(frame) - 1} - {0}:
        if not 0 < end < len(frame):
            continue
        with pytest.raises(Error, match="zstd"):
            check_frames(lambda length, at, end=end: frame[:end][at : at + length], quiet)  # type: ignore[misc]
    with pytest.raises(Error, match="zstd"):
        check_frames(lambda length, at: (frame + b"rubbish!")[at : at + length], quiet)


def test_who_leaves_ends_it() -> None:
    data = archive(file(b"x", bytes(3 << 20)))

    def check() -> None:
        raise Error(Reason.CANCELLED, "cancelled")

    with pytest.raises(Error) as caught:
        verify_layer(lambda length, offset: data[offset : offset + length], Limits(), check)
    assert caught.value.reason is Reason.CANCELLED


NAMES = st.sampled_from(
    b"a b a/b a/b/c ./a /a a/../b . .. ../x a/../../x a/.wh.b .wh.a .wh..wh..opq a/.wh..wh..opq "
    b".wh.. b/.wh.. .wh.a/b a/.wh..wh.plnk/f .wh..wh.aufs \xff".split(b" ")
)
TARGETS = st.sampled_from([b"a", b"b", b"..", b"/a", b"../x", b"/", b".", b"a/b", b"", b"nowhere"])


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([b"0", b"0", b"1", b"2", b"5", b"5", b"6", b"7", b"\0", b"3"]))
    data = draw(st.binary(max_size=20)) if kind in b"07\0" else b""
    owner = draw(st.sampled_from([0, 0, 1000, 1 << 32 if ROOT else 1]))
    made = entry(draw(NAMES), kind, data, to=draw(TARGETS), uid=owner)
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, 511))
        made = made[:at] + draw(st.binary(min_size=1, max_size=1)) + made[at + 1 :]
    return made


@settings(max_examples=300, deadline=None)
@given(st.lists(entries(), max_size=6), st.sampled_from([bytes, gzip.compress, zstandard.compress]))
def test_whatever_unpacks_is_a_layer(made: list[bytes], pack: object) -> None:
    """Each way of unpacking refuses what is refused here, and takes more only to find links to what
    is not there, and the like."""
    data = archive(*made)
    packed = pack(data)  # type: ignore[operator]
    found: VerifiedLayer | None = None
    try:
        found = verify(packed)
    except Error as error:
        assert error.reason in REFUSED, error.message  # noqa: PT017 - or it is none
    for how in Whiteouts:
        with tempfile.TemporaryDirectory() as folder:
            try:
                applied = apply(Path(folder) / "root", packed, options(how))
            except Error as error:
                assert error.reason in REFUSED, error.message  # noqa: PT017
                continue
        assert found is not None, "unpacked, and refused before"
        assert (found.diff_id, found.file_bytes) == (applied.diff_id, applied.stats.file_bytes)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_a_layer_or_refused(data: bytes) -> None:
    try:
        verify(data)
    except Error as error:
        assert error.reason in REFUSED, error.message  # noqa: PT017
