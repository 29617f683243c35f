from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.rootfs import Limits
from imgd_server.rootfs import _tar as module
from imgd_server.rootfs._tar import DIRECTORY, LINK, REGULAR, SYMLINK, Entry, TarReader
from tests.unit.rootfs.archives import (
    GNU,
    archive,
    device,
    directory,
    entry,
    fifo,
    file,
    gnu_name,
    link,
    pax,
    symlink,
)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return iter([data[at : at + size] for at in range(0, len(data), size)])


def read(data: bytes, size: int = 1 << 20, **limits: int) -> list[tuple[Entry, bytes]]:
    """All entries with their data, from chunks of `size` bytes."""
    reader = TarReader(cut(data, size), Limits(**limits))
    found = []
    while (one := reader.next()) is not None:
        found.append((one, b"".join(map(bytes, reader.data()))))
    return found


def only(data: bytes, **limits: int) -> tuple[Entry, bytes]:
    (found,) = read(data, **limits)
    return found


def reason(data: bytes, **limits: int) -> tuple[Reason, str]:
    with pytest.raises(Error) as caught:
        read(data, **limits)
    return caught.value.reason, caught.value.message


def read_or_refuse(data: bytes, size: int) -> None:
    """Anything but a refusal is a bug."""
    try:
        read(data, size)
    except Error as error:
        if error.reason not in (Reason.LAYER_INVALID, Reason.LAYER_TOO_LARGE):
            raise


# --- against tarfile

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=160)


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(NAMES).rstrip("/") or "x")
    info.type = draw(st.sampled_from([b"0", b"0", b"0", b"1", b"2", b"3", b"4", b"5", b"6"]))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 2**32)), draw(st.integers(0, 2**32))
    info.mtime = draw(st.integers(-(2**33), 2**40))
    data = b""
    if info.type == b"0":
        data = draw(st.binary(max_size=1500))
        info.size = len(data)
    elif info.type in b"12":
        info.linkname = draw(NAMES)
    elif info.type in b"34":
        info.devmajor, info.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 2**20))
    return info, data


def facts(info: tarfile.TarInfo) -> dict[str, Any]:
    plain = {
        "name": info.name.encode("utf-8", "surrogateescape"),
        "kind": info.type[0],
        "mode": info.mode,
        "uid": info.uid,
        "gid": info.gid,
        "mtime": int(info.mtime) * 10**9,
        "length": info.size,
    }
    if info.type in b"12":
        plain["link"] = info.linkname.encode("utf-8", "surrogateescape")
    if info.type in b"34":
        plain |= {"major": info.devmajor, "minor": info.devminor}
    return plain


@given(
    st.lists(members(), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.integers(1, 2048),
)
def test_reads_what_tarfile_writes_in_chunks_of_any_size(
    made: list[tuple[tarfile.TarInfo, bytes]], form: int, size: int
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, encoding="utf-8") as tar:
        for info, data in made:
            tar.addfile(info, io.BytesIO(data))
    found = read(buffer.getvalue(), size)
    with tarfile.open(fileobj=io.BytesIO(buffer.getvalue()), encoding="utf-8") as tar:
        expected = tar.getmembers()
    assert len(found) == len(expected)
    for (one, content), info, (_, data) in zip(found, expected, made, strict=True):
        shown = facts(info)
        # tarfile drops the slash that it writes behind a directory's name.
        shown["name"] += b"/" if info.isdir() else b""
        assert {key: getattr(one, key) for key in shown} == shown
        assert content == data


@given(st.binary(max_size=3000), st.integers(1, 700))
def test_any_bytes_are_read_or_refused(data: bytes, size: int) -> None:
    read_or_refuse(data, size)


@given(st.data())
def test_a_damaged_archive_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(
        archive(
            pax({b"path": b"p/q", b"mtime": b"1.5", b"SCHILY.xattr.user.a": b"b"}),
            file(b"x", b"y" * 700),
            gnu_name(b"long" * 40),
            symlink(b"s", b"t"),
            pax({b"GNU.sparse.map": b"0,2,9,1", b"GNU.sparse.size": b"10"}),
            file(b"sparse", b"abc"),
            entry(
                b"old",
                b"S",
                b"abc",
                magic=GNU,
                patch={386: b"%011o\0%011o\0" % (5, 3), 483: b"%011o\0" % 8},
            ),
        )
    )
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        block = at - at % 512
        whole[at] = data.draw(st.integers(0, 255))
        # A right checksum, so that the damage is met further in.
        whole[block + 148 : block + 156] = b" " * 8
        whole[block + 148 : block + 156] = b"%06o\0 " % sum(whole[block : block + 512])
    read_or_refuse(bytes(whole), data.draw(st.integers(1, 3000)))


# --- ends, as Go's archive/tar takes them


@pytest.mark.parametrize(
    "end",
    [b"", bytes(512), bytes(1024), bytes(10240), bytes(1024) + b"rubbish"],
    ids=["none", "one block", "two blocks", "a record", "followed by rubbish"],
)
def test_end_markers(end: bytes) -> None:
    assert only(archive(file(b"a", b"1"), end=end))[1] == b"1"


def test_the_last_files_padding_may_be_missing() -> None:
    assert only(file(b"a", b"12345", padded=False))[1] == b"12345"
    assert read(file(b"a", b"1" * 600, padded=False) + bytes(100)) != []


def test_nothing_is_an_empty_archive() -> None:
    assert read(b"") == read(bytes(512)) == read(bytes(1024)) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x" * 100, "in the middle of a header"),
        (file(b"a", b"1") + b"x", "in the middle of a header"),
        (file(b"a", b"12345", size=9, padded=False), "in the middle of a file"),
        (bytes(512) + file(b"a"), "zeros"),
        (b"\x7fELF" + bytes(600), "checksum"),
        (file(b"a", checksum=b"000001\0 "), "checksum"),
        (file(b"a", patch={124: b"zzz"}), "not octal"),
        (file(b"a", patch={100: b"0000989\0"}), "not octal"),
        (file(b"a", size=-1), "impossible size"),
        (file(b"a", patch={124: b"\x80" + b"\xff" * 11}), "64 bits"),
        (entry(b"a", b"Z"), "unknown type"),
        (entry(b"a", b"V"), "unknown type"),
        (pax(b"nonsense") + file(b"a"), "length"),
        (pax(b"99 path=a\n") + file(b"a"), "malformed"),
        (pax(b"8 path=a\n") + file(b"a"), "malformed"),
        (pax(b"7 noeq\n") + file(b"a"), "malformed"),
        (pax({b"path": b"a\0b"}) + file(b"a"), "NUL"),
        (pax({b"size": b"-1"}) + file(b"a"), "not a number"),
        (pax({b"size": b"9" * 19}) + file(b"a"), "not a number"),
        (pax({b"uid": b"root"}) + file(b"a"), "not a number"),
        (pax({b"mtime": b"now"}) + file(b"a"), "time"),
        (pax({b"path": b"g"}, b"g")[:516], "in the middle of a header"),
        (entry(b"././@LongLink", b"L", size=-5, magic=GNU), "impossible size"),
    ],
)
def test_refuses(data: bytes, words: str) -> None:
    why, message = reason(data)
    assert why is Reason.LAYER_INVALID
    assert words in message


def test_bounds() -> None:
    long = archive(pax({b"comment": b"x" * 100}), file(b"a"))
    assert reason(long, max_header=100)[0] is Reason.LAYER_TOO_LARGE
    assert only(long, max_header=120)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MAX_EXTENDED", 1500)
        read(pax({b"a": b"b"}) * 2 + file(b"a"))
        assert reason(pax({b"a": b"b"}) * 3 + file(b"a"))[0] is Reason.LAYER_TOO_LARGE
    # Refused by what it states, before a byte of it is kept.
    assert reason(entry(b"x", b"x", size=1 << 40))[0] is Reason.LAYER_TOO_LARGE


# --- forms


def test_v7() -> None:
    one, data = only(archive(entry(b"a/", b"\0", magic=bytes(8), device=(7, 7))))
    assert (one.kind, one.name, data) == (DIRECTORY, b"a/", b"")
    one, data = only(archive(entry(b"a", b"\0", b"x", magic=bytes(8), prefix=b"no prefix here")))
    assert (one.kind, one.name, data) == (REGULAR, b"a", b"x")


def test_signed_checksums_of_old_writers() -> None:
    made = bytearray(file(b"\xff\xfe"))
    block = made[:148] + b" " * 8 + made[156:512]
    made[148:156] = b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in block)
    assert only(bytes(made))[0].name == b"\xff\xfe"


def test_prefixes() -> None:
    assert only(file(b"name", prefix=b"some/folder"))[0].name == b"some/folder/name"
    assert only(file(b"n" * 100, prefix=b"p" * 155))[0].name == b"p" * 155 + b"/" + b"n" * 100
    # star keeps times behind a shorter prefix.
    star = file(b"name", prefix=b"p", patch={476: b"00000000000 ", 508: b"tar\0"})
    assert only(star)[0].name == b"p/name"
    # Go before 1.8 wrote one where GNU has times.
    old = file(b"name", magic=GNU, prefix=b"folder", uid=3_000_000)
    assert only(old)[0].name == b"folder/name"
    assert only(file(b"name", magic=GNU, prefix=b"\xff\xfe"))[0].name == b"name"
    # GNU keeps times there.
    assert only(file(b"name", magic=GNU, patch={345: b"14204545345 "}))[0].name == b"name"


def test_extended_headers_win_and_speak_of_one_entry() -> None:
    (first, _), (second, _) = read(
        archive(
            pax(
                {
                    b"path": b"long",
                    b"uid": b"5000000",
                    b"gid": b"6",
                    b"mtime": b"12.5",
                    b"atime": b"-1.25",
                }
            ),
            file(b"short", uid=1),
            file(b"next", uid=1),
        )
    )
    assert (first.name, first.uid, first.gid) == (b"long", 5_000_000, 6)
    assert (first.mtime, first.atime) == (12_500_000_000, -1_250_000_000)
    assert (second.name, second.uid, second.mtime) == (b"next", 1, 1_600_000_000 * 10**9)
    assert second.atime is None


def test_size_of_an_extended_header() -> None:
    for size in (b"4", b"0" * 30 + b"4"):
        assert only(archive(pax({b"size": size}), file(b"a", b"data", size=0)))[1] == b"data"


def test_an_empty_value_says_nothing() -> None:
    assert only(archive(pax({b"path": b""}), file(b"a")))[0].name == b"a"


def test_global_headers_are_passed_over() -> None:
    assert (
        only(archive(pax({b"path": b"all", b"comment": b"git"}, b"g"), file(b"a")))[0].name == b"a"
    )


def test_gnu_long_names() -> None:
    name, to = b"n" * 3000, b"t" * 3000
    one, _ = only(archive(gnu_name(name), gnu_name(to, b"K"), symlink(b"short", b"short")))
    assert (one.name, one.link, one.kind) == (name, to, SYMLINK)


def test_base_256() -> None:
    one, _ = only(archive(file(b"a", uid=3_000_000, gid=2**31, mtime=-5, magic=GNU)))
    assert (one.uid, one.gid, one.mtime) == (3_000_000, 2**31, -5 * 10**9)


def test_what_has_no_data_has_none_whatever_its_size() -> None:
    kinds = [link, symlink]
    parts = [make(b"l", b"t", size=4096) for make in kinds]
    parts += [directory(b"d", size=9), fifo(b"f", size=9), device(b"c", 1, 2, size=9)]
    found = read(archive(*parts, file(b"end")))
    assert [one.name for one, _ in found] == [b"l", b"l", b"d", b"f", b"c", b"end"]
    assert found[0][0].kind == LINK


def test_attributes() -> None:
    one, _ = only(
        archive(
            pax({b"SCHILY.xattr.user.a": b"1\n=\0", b"SCHILY.xattr.user.empty": b""}), file(b"a")
        )
    )
    assert one.xattrs == {b"user.a": b"1\n=\0", b"user.empty": b""}


# --- sparse files


def sparse_map(*extents: tuple[int, int]) -> bytes:
    return b"".join(b"%d\n%d\n" % extent for extent in extents)


def form_1_0(lines: bytes, data: bytes, length: int) -> bytes:
    stored = lines + bytes(-len(lines) % 512) + data
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": b"real",
        b"GNU.sparse.realsize": b"%d" % length,
    }
    return pax(records) + file(b"GNUSparseFile.0/real", stored)


SPARSE = {
    "old GNU": entry(
        b"real",
        b"S",
        b"abcde",
        magic=GNU,
        patch={386: b"%011o\0%011o\0" * 2 % (10, 2, 600, 3), 483: b"%011o\0" % 1000},
    ),
    "0.0": pax(
        b"24 GNU.sparse.size=1000\n"
        + b"24 GNU.sparse.offset=10\n"
        + b"25 GNU.sparse.numbytes=2\n"
        + b"25 GNU.sparse.offset=600\n"
        + b"25 GNU.sparse.numbytes=3\n"
    )
    + file(b"real", b"abcde"),
    "0.1": pax(
        {
            b"GNU.sparse.map": b"10,2,600,3",
            b"GNU.sparse.size": b"1000",
            b"GNU.sparse.name": b"real",
        }
    )
    + file(b"GNUSparseFile.0/real", b"abcde"),
    "1.0": form_1_0(b"2\n" + sparse_map((10, 2), (600, 3)), b"abcde", 1000),
}


@pytest.mark.parametrize("form", SPARSE)
@pytest.mark.parametrize("size", [1, 512, 4096])
def test_sparse_forms(form: str, size: int) -> None:
    found = read(archive(SPARSE[form], file(b"after")), size)
    one, data = found[0]
    assert (one.name, one.length, one.size, one.kind) == (b"real", 1000, 5, REGULAR)
    assert (one.extents, data) == ([(10, 2), (600, 3)], b"abcde")
    assert found[1][0].name == b"after"


def test_old_gnu_map_that_goes_on() -> None:
    extents = [(number * 100, 1) for number in range(4 + 21 + 3)]
    fields = [b"%011o\0%011o\0" % extent for extent in extents]
    first = {386: b"".join(fields[:4]), 482: b"\1", 483: b"%011o\0" % 5000}
    more = b"".join(fields[4:25]).ljust(504, b"\0") + b"\1" + bytes(7)
    last = b"".join(fields[25:]).ljust(512, b"\0")
    header = entry(b"s", b"S", magic=GNU, size=28, patch=first)
    one, data = only(archive(header, more, last, b"x" * 28 + bytes(484)))
    assert (one.extents, data) == (extents, b"x" * 28)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (form_1_0(b"1\n" + sparse_map((0, 9)), b"abc", 9), Reason.LAYER_INVALID),
        (form_1_0(b"1\n" + sparse_map((0, 3)), b"abc", 2), Reason.LAYER_INVALID),
        (form_1_0(b"2\n" + sparse_map((5, 2), (0, 1)), b"abc", 9), Reason.LAYER_INVALID),
        (form_1_0(b"2\n" + sparse_map((0, 2), (1, 1)), b"abc", 9), Reason.LAYER_INVALID),
        (form_1_0(b"x\n", b"abc", 9), Reason.LAYER_INVALID),
        (form_1_0(b"1" * 600, b"abc", 9), Reason.LAYER_INVALID),
        (form_1_0(b"5\n", b"", 9), Reason.LAYER_INVALID),
        (form_1_0(b"1\n" + sparse_map((0, 3)), b"abc", 1 << 50), Reason.LAYER_TOO_LARGE),
        (form_1_0(b"999999999\n", b"", 9), Reason.LAYER_TOO_LARGE),
        (
            pax({b"GNU.sparse.major": b"2", b"GNU.sparse.minor": b"0"}) + file(b"a"),
            Reason.LAYER_INVALID,
        ),
        (
            pax({b"GNU.sparse.map": b"0,1,2", b"GNU.sparse.size": b"9"}) + file(b"a", b"a"),
            Reason.LAYER_INVALID,
        ),
        (pax({b"GNU.sparse.map": b"0,4"}) + file(b"a"), Reason.LAYER_INVALID),
        (pax(b"24 GNU.sparse.offset=10\n" * 2) + file(b"a"), Reason.LAYER_INVALID),
    ],
)
def test_refuses_sparse(data: bytes, why: Reason) -> None:
    assert reason(archive(data))[0] is why


def test_an_endless_old_gnu_map() -> None:
    block = (b"%011o\0%011o\0" % (1, 1) * 21) + b"\1" + bytes(7)
    header = entry(b"s", b"S", magic=GNU, patch={482: b"\1", 483: b"%011o\0" % 5000})
    assert reason(header + block * 20, max_extents=100)[0] is Reason.LAYER_TOO_LARGE
