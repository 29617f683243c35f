"""Layers onto directories, in both ways; what the two must agree on is in test_settle.py."""

from __future__ import annotations

import errno
import gzip
import io
import os
import resource
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs import ApplyOptions, Whiteouts, apply_layer
from tests.unit.rootfs.archives import (
    GNU,
    MTIME,
    ROOT,
    WHITEOUT,
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

BOTH = pytest.mark.parametrize(
    "how", [options(), options(Whiteouts.APPLY)], ids=["overlay", "apply"]
)
needs_root = pytest.mark.skipif(not ROOT, reason="NOT TESTED: owners and devices need root")


@pytest.fixture(params=[0o022, 0o077, 0], ids=lambda mask: f"umask {mask:o}")
def umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield
    os.umask(before)


# --- files and their metadata


@BOTH
def test_every_kind(tmp_path: Path, how: ApplyOptions, umask: object) -> None:
    owner = {"uid": 1234, "gid": 99} if ROOT else {"uid": os.geteuid(), "gid": os.getegid()}
    applied = apply(
        tmp_path / "r",
        archive(
            directory(b"./", 0o751, mtime=5),
            directory(b"d/", 0o2750, **owner),
            file(b"d/f", b"one", mode=0o6711, **owner),
            file(b"d/empty", b"", mode=0),
            symlink(b"d/s", b"../anywhere", **owner),
            link(b"h", b"d/f"),
            fifo(b"p", mode=0o640, **owner),
            directory(b"d/sticky", 0o1777),
            directory(b"d/plain", 0o755),
            file(b"d/implied/f"),
        ),
        how,
    )
    found = tree(tmp_path / "r")
    ids = (owner["uid"], owner["gid"])
    time = MTIME * 10**9
    assert found[""]["mode"] == oct(stat.S_IFDIR | 0o751)
    assert found[""]["mtime"] == 5 * 10**9
    assert (found["d"]["mode"], found["d"]["owner"]) == (oct(stat.S_IFDIR | 0o2750), ids)
    assert found["d"]["mtime"] == time
    assert (found["d/f"]["mode"], found["d/f"]["owner"]) == (oct(stat.S_IFREG | 0o6711), ids)
    assert (found["d/f"]["links"], found["d/f"]["same"], found["h"]["same"]) == (2, "d/f", "d/f")
    assert found["d/f"]["mtime"] == time
    assert found["d/empty"]["mode"] == oct(stat.S_IFREG)
    assert (str(found["d/s"]["to"]), found["d/s"]["mtime"]) == ("../anywhere", time)
    assert (found["p"]["mode"], found["p"]["mtime"]) == (oct(stat.S_IFIFO | 0o640), time)
    assert found["d/sticky"]["mode"] == oct(stat.S_IFDIR | 0o1777)
    assert found["d/plain"]["mode"] == found["d/implied"]["mode"] == oct(stat.S_IFDIR | 0o755)
    if ROOT:
        # Not of the directory that gives its group away.
        assert found["d/empty"]["owner"] == found["d/sticky"]["owner"] == (0, 0)
        assert found["d/plain"]["owner"] == found["d/implied"]["owner"] == (0, 0)
        assert found["d/s"]["owner"] == found["p"]["owner"] == ids
    assert applied.stats.entries == 10
    assert applied.stats.file_bytes == 7
    assert applied.implied == ((b"d/implied",) if how.whiteouts is Whiteouts.OVERLAY else ())
    assert applied.whiteouts == applied.opaque == ()


@needs_root
@BOTH
def test_devices(tmp_path: Path, how: ApplyOptions, umask: object) -> None:
    apply(
        tmp_path / "r",
        archive(
            device(b"null", 1, 3, mode=0o666),
            device(b"disk", 4095, 1048575, b"4", uid=7, mode=0o4640),
            device(b"null", 1, 5, mode=0o600),
        ),
        how,
    )
    found = tree(tmp_path / "r")
    assert (found["null"]["device"], found["null"]["mode"]) == ((1, 5), oct(stat.S_IFCHR | 0o600))
    assert found["disk"]["device"] == (4095, 1048575)
    assert (found["disk"]["owner"], found["disk"]["mode"]) == ((7, 0), oct(stat.S_IFBLK | 0o4640))


@BOTH
def test_without_privileges(tmp_path: Path, how: ApplyOptions) -> None:
    plain = ApplyOptions(how.whiteouts, privileged=False, overlay_prefix="user.")
    applied = apply(
        tmp_path / "r",
        archive(
            directory(b"closed", 0, uid=4, gid=5),
            file(b"closed/f", uid=1, gid=2, mode=0o4755),
            directory(b"closed/inner", 0o500, uid=4),
            symlink(b"closed/inner/s", b"t", uid=3),
            device(b"null", 1, 3),
            device(b"disk", 1, 3, b"4"),
            fifo(b"p", uid=9),
        ),
        plain,
    )
    assert applied.stats.skipped_devices == 2
    (tmp_path / "r").chmod(0o755)
    status = (tmp_path / "r" / "closed").stat()
    assert stat.S_IMODE(status.st_mode) == 0
    assert status.st_mtime == MTIME
    (tmp_path / "r" / "closed").chmod(0o700)
    found = tree(tmp_path / "r")
    assert found["closed/inner"]["mode"] == oct(stat.S_IFDIR | 0o500)
    assert found["closed/inner"]["mtime"] == MTIME * 10**9
    assert found["closed/f"]["mode"] == oct(stat.S_IFREG | 0o4755)
    assert {facts["owner"] for facts in found.values()} == {(os.geteuid(), os.getegid())}
    assert set(found) == {"", "closed", "closed/f", "closed/inner", "closed/inner/s", "p"}


DEVICE_IN_PLACE = """
import os, sys
from pathlib import Path
from imgd_server.rootfs import ApplyOptions, Whiteouts
from tests.unit.rootfs.archives import *
root = Path(sys.argv[1])
how = ApplyOptions(Whiteouts.APPLY, privileged=False)
apply(root, archive(directory(b"d", 0o555), file(b"d/f"), directory(b"d/in", 0), file(b"dev")), how)
apply(root, archive(file(b"d/g"), file(b"d/in/h"), whiteout(b"d/f"), device(b"dev", 1, 3)), how)
apply(root, archive(directory(b".", 0o500)), how)
apply(root, archive(file(b"new")), how)
noted = {b"SCHILY.xattr.user.note": b"x"}
apply(root, archive(pax(noted), file(b"locked", mode=0o444)), how)
apply(root, archive(pax(noted), directory(b"in", 0o555)), how)
"""


def test_without_privileges_onto_a_tree_that_bars_the_way(tmp_path: Path) -> None:
    """In a process that can't override modes, root or not."""
    root = tmp_path / "r"
    command = [sys.executable, "-c", DEVICE_IN_PLACE, str(root)]
    if ROOT:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    here = Path(__file__).parents[3]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(root.stat().st_mode) == 0o500
    root.chmod(0o700)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o555
    assert stat.S_IMODE((root / "d" / "in").stat().st_mode) == 0
    (root / "d" / "in").chmod(0o700)
    found = tree(root)
    assert set(found) == {"", "d", "d/g", "d/in", "d/in/h", "in", "locked", "new"}
    for name, mode in (("locked", stat.S_IFREG | 0o444), ("in", stat.S_IFDIR | 0o555)):
        assert (found[name]["mode"], set(found[name]["xattrs"])) == (oct(mode), {"user.note"})
    for name in ("d", "in"):
        (root / name).chmod(0o700)


@BOTH
def test_times(tmp_path: Path, how: ApplyOptions) -> None:
    apply(
        tmp_path / "r",
        archive(
            pax({b"mtime": b"1234.123456789123", b"atime": b"99.5"}),
            directory(b"d"),
            pax({b"mtime": b"1234.5"}),
            file(b"d/f"),
            pax({b"mtime": b"-7.25"}),
            symlink(b"d/s", b"t"),
            pax({b"mtime": b"9" * 18}),
            file(b"d/never"),
        ),
        how,
    )
    found = tree(tmp_path / "r")
    assert found["d"]["mtime"] == 1_234_123_456_789
    assert found["d/f"]["mtime"] == 1_234_500_000_000
    assert found["d/s"]["mtime"] == -7_250_000_000
    assert found["d/never"]["mtime"] > 10**19 // 2  # as late as the file system goes


@BOTH
def test_attributes(tmp_path: Path, how: ApplyOptions) -> None:
    every = {
        b"SCHILY.xattr.user.a": b"1\0\n2",
        b"SCHILY.xattr.trusted.overlay.redirect": b"/etc",
        b"SCHILY.xattr.user.overlay.metacopy": b"y",
        b"SCHILY.xattr.security.selinux": b"label",
    }
    applied = apply(
        tmp_path / "r",
        archive(
            pax(every),
            file(b"f"),
            pax(every),
            directory(b"d"),
            pax({b"SCHILY.xattr.user.a": b"x"}),
            symlink(b"s", b"t"),
            pax({b"SCHILY.xattr.user.gone": b"x"}),
            directory(b"twice"),
            directory(b"twice"),
        ),
        how,
    )
    found = tree(tmp_path / "r")
    assert found["f"]["xattrs"] == found["d"]["xattrs"] == {"user.a": b"1\0\n2"}
    assert found["s"]["xattrs"] == found["twice"]["xattrs"] == {}
    assert applied.stats.skipped_xattrs == 7


@needs_root
@BOTH
def test_capabilities_and_setuid_survive_the_owner(tmp_path: Path, how: ApplyOptions) -> None:
    # VFS_CAP_REVISION_2 with CAP_NET_BIND_SERVICE, effective.
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    apply(
        tmp_path / "r",
        archive(
            pax({b"SCHILY.xattr.security.capability": capability}),
            file(b"bind", uid=5, gid=5, mode=0o6755),
        ),
        how,
    )
    found = tree(tmp_path / "r")["bind"]
    assert found["xattrs"] == {"security.capability": capability}
    assert (found["mode"], found["owner"]) == (oct(stat.S_IFREG | 0o6755), (5, 5))


def test_an_inherited_acl_changes_no_mode(tmp_path: Path) -> None:
    acl = bytes.fromhex("0200000001000700ffffffff04000500ffffffff20000500ffffffff")
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("NOT TESTED: this file system has no ACLs")
    root = tmp_path / "r"
    apply(root, archive(file(b"f", mode=0o666), directory(b"d", 0o777)))
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o666
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o777
    archived = archive(
        pax({b"SCHILY.xattr.system.posix_acl_default": acl}),
        directory(b"a"),
        file(b"a/f", mode=0o777),
    )
    os.removexattr(tmp_path, "system.posix_acl_default")
    apply(tmp_path / "s", archived)
    assert stat.S_IMODE((tmp_path / "s" / "a" / "f").stat().st_mode) == 0o777


@BOTH
def test_sparse_files_are_holes(tmp_path: Path, how: ApplyOptions) -> None:
    records = {b"GNU.sparse.map": b"1048576,3,9000000,1", b"GNU.sparse.size": b"50000000"}
    applied = apply(tmp_path / "r", archive(pax(records), file(b"f", b"abcd", mode=0o600)), how)
    path = tmp_path / "r" / "f"
    with path.open("rb") as opened:
        assert os.pread(opened.fileno(), 5, 1048575) == b"\0abc\0"
        assert os.pread(opened.fileno(), 3, 8999999) == b"\0d\0"
    assert path.stat().st_size == 50_000_000
    assert path.stat().st_blocks * 512 < 100_000
    assert applied.stats.file_bytes == 4


def test_large_files_cross_chunks(tmp_path: Path) -> None:
    data = os.urandom(3_000_001)
    apply(
        tmp_path / "r", gzip.compress(archive(file(b"a", b"x"), file(b"big", data), file(b"z")), 1)
    )
    assert (tmp_path / "r" / "big").read_bytes() == data
    assert (tmp_path / "r" / "z").read_bytes() == b"data"


@BOTH
def test_names(tmp_path: Path, how: ApplyOptions) -> None:
    long = b"n" * 255
    apply(
        tmp_path / "r",
        archive(
            file(b"/absolute/f"),
            file(b"./a//b/./c"),
            file(b"x/../y"),
            pax({b"path": b"\xff\xfe/" + long}),
            file(b"short"),
            gnu_name(b"g/" + long),
            file(b"short"),
            file(b"last/", b"still a file"),
        ),
        how,
    )
    root = tmp_path / "r"
    for name in (b"absolute/f", b"a/b/c", b"y", b"\xff\xfe/" + long, b"g/" + long, b"last"):
        assert (root / os.fsdecode(name)).is_file(), name
    assert not (root / "x").exists()


# --- entries that meet others


@BOTH
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (file(b"a", b"old"), file(b"a", b"new")),
        (symlink(b"a", b"/etc/passwd"), file(b"a", b"new")),
        (directory(b"a") + file(b"a/b/c"), file(b"a", b"new")),
        (fifo(b"a"), file(b"a", b"new")),
        (link(b"a", b"target"), file(b"a", b"new")),
    ],
    ids=["file", "link", "directory", "fifo", "hard link"],
)
def test_the_last_of_two_wins(
    tmp_path: Path, how: ApplyOptions, first: bytes, second: bytes
) -> None:
    root = tmp_path / "r"
    apply(root, archive(file(b"target", b"kept"), first, second), how)
    assert (root / "a").is_file()
    assert not (root / "a").is_symlink()
    assert (root / "a").read_bytes() == b"new"
    assert (root / "target").read_bytes() == b"kept"


@BOTH
@pytest.mark.parametrize(
    "second",
    [symlink(b"a", b"t"), fifo(b"a"), link(b"a", b"target"), directory(b"a", mtime=3)],
    ids=["link", "fifo", "hard link", "directory"],
)
def test_a_file_gives_way(tmp_path: Path, how: ApplyOptions, second: bytes) -> None:
    root = tmp_path / "r"
    apply(root, archive(file(b"target"), file(b"a", b"old"), second), how)
    assert sorted(path.name for path in root.iterdir()) == ["a", "target"]
    assert not (root / "a").is_file() or (root / "a").samefile(root / "target")


@BOTH
def test_a_file_gives_way_to_a_directory_on_the_way(tmp_path: Path, how: ApplyOptions) -> None:
    applied = apply(tmp_path / "r", archive(file(b"a"), file(b"a/b/c")), how)
    assert (tmp_path / "r" / "a" / "b" / "c").is_file()
    # It is not the directory of that name in lower layers, which its file hid.
    assert applied.opaque == ((b"a",) if how.whiteouts is Whiteouts.OVERLAY else ())


@BOTH
def test_a_directory_again_keeps_what_is_in_it(tmp_path: Path, how: ApplyOptions) -> None:
    applied = apply(
        tmp_path / "r",
        archive(directory(b"d", 0o700), file(b"d/f"), directory(b"d", 0o711, mtime=9)),
        how,
    )
    found = tree(tmp_path / "r")
    assert found["d"]["mode"] == oct(stat.S_IFDIR | 0o711)
    assert found["d"]["mtime"] == 9 * 10**9
    assert "d/f" in found
    assert applied.opaque == ()


@BOTH
def test_links_in_the_middle_are_followed_within_the_root(
    tmp_path: Path, how: ApplyOptions
) -> None:
    apply(
        tmp_path / "r",
        archive(
            symlink(b"lib", b"usr/lib"),
            file(b"lib/one"),
            symlink(b"up", b"../../../.."),
            file(b"up/two"),
            symlink(b"abs", b"/usr/lib"),
            file(b"abs/three"),
            link(b"four", b"abs/three"),
        ),
        how,
    )
    root = tmp_path / "r"
    assert sorted(path.name for path in (root / "usr" / "lib").iterdir()) == ["one", "three"]
    assert (root / "two").is_file()
    assert (root / "four").samefile(root / "usr" / "lib" / "three")
    assert (root / "lib").is_symlink()


@BOTH
def test_a_link_that_becomes_a_directory(tmp_path: Path, how: ApplyOptions) -> None:
    """What was resolved through the link must not be remembered."""
    apply(
        tmp_path / "r",
        archive(
            symlink(b"l", b"one"),
            file(b"l/f"),
            directory(b"l"),
            file(b"l/g"),
            symlink(b"l", b"two"),
            file(b"l/h"),
        ),
        how,
    )
    root = tmp_path / "r"
    assert [path.name for path in (root / "one").iterdir()] == ["f"]
    assert [path.name for path in (root / "two").iterdir()] == ["h"]


@BOTH
def test_hard_links(tmp_path: Path, how: ApplyOptions) -> None:
    apply(
        tmp_path / "r",
        archive(
            symlink(b"s", b"nowhere"),
            link(b"s2", b"s"),
            file(b"d/f", b"x", mode=0o640),
            # The entry's own metadata are no news.
            link(b"f2", b"./d/../d/f", mode=0o777, mtime=1, uid=77),
            link(b"f2", b"d/f"),
            link(b"d/f", b"f2"),
        ),
        how,
    )
    found = tree(tmp_path / "r")
    assert str(found["s2"]["to"]) == "nowhere"
    assert found["d/f"]["links"] == 2
    assert (found["d/f"]["mode"], found["d/f"]["mtime"]) == (
        oct(stat.S_IFREG | 0o640),
        MTIME * 10**9,
    )
    assert found["d/f"]["same"] == found["f2"]["same"]


def test_a_hard_link_does_not_change_the_file_it_replaces(tmp_path: Path) -> None:
    """A file that others share (of lower layers, say) is replaced, not written to."""
    root = tmp_path / "r"
    root.mkdir()
    (root / "a").write_bytes(b"lower")
    (root / "b").hardlink_to(root / "a")
    apply(root, archive(file(b"a", b"upper", mode=0o600)), options(Whiteouts.APPLY))
    assert (root / "a").read_bytes() == b"upper"
    assert (root / "b").read_bytes() == b"lower"


def test_directories_without_an_entry(tmp_path: Path, umask: object) -> None:
    applied = apply(tmp_path / "r", archive(file(b"a/b/f"), directory(b"a", 0o700), file(b"c/f")))
    assert applied.implied == (b"", b"a/b", b"c")
    found = tree(tmp_path / "r")
    assert found["a/b"]["mode"] == found["c"]["mode"] == oct(stat.S_IFDIR | 0o755)
    assert found["a/b"]["mtime"] == found["c"]["mtime"] == 0
    assert found["a"]["mtime"] == MTIME * 10**9


# --- marks of removal, overlayfs's way


@needs_root
def test_whiteouts_for_overlayfs(tmp_path: Path) -> None:
    applied = apply(
        tmp_path / "r",
        archive(
            whiteout(b"gone"),
            whiteout(b"d/gone"),
            whiteout(b"d/gone"),
            opaque(b"o"),
            opaque(b"o"),
            file(b"o/new"),
            device(b"own", 0, 0),
        ),
    )
    found = tree(tmp_path / "r")
    assert found["gone"] == found["d/gone"] == found["own"] == WHITEOUT
    assert found["o"]["xattrs"] == {"trusted.overlay.opaque": b"y"}
    assert set(found) == {"", "gone", "d", "d/gone", "o", "o/new", "own"}
    assert applied.whiteouts == (b"gone", b"d/gone", b"own")
    assert applied.opaque == (b"o",)
    assert applied.implied == (b"", b"d", b"o")


@pytest.mark.parametrize("late", [False, True], ids=["first", "last"])
def test_a_whiteout_and_a_file_of_one_layer(tmp_path: Path, late: bool) -> None:
    """The whiteout speaks of lower layers, whatever the order of the entries."""
    parts = [file(b"f", b"new"), directory(b"d"), file(b"d/x"), file(b"i/x")]
    marks = [whiteout(b"f"), whiteout(b"d"), whiteout(b"i")]
    applied = apply(tmp_path / "r", archive(*(parts + marks if late else marks + parts)))
    assert (tmp_path / "r" / "f").read_bytes() == b"new"
    assert (tmp_path / "r" / "d" / "x").is_file()
    # New directories, of which nothing below shows through.
    assert applied.opaque == (b"d", b"i")
    assert applied.whiteouts == ()
    assert applied.renewed == (b"i",)


def test_marks_of_aufs_itself_are_passed_over(tmp_path: Path) -> None:
    applied = apply(
        tmp_path / "r",
        archive(
            directory(b".wh..wh.plnk"),
            file(b".wh..wh.plnk/1.2"),
            file(b".wh..wh.aufs"),
            file(b"a/.wh..wh.orph/x/y"),
        ),
    )
    assert list((tmp_path / "r").iterdir()) == []
    assert applied.whiteouts == applied.opaque == ()


# --- marks of removal, applied


def lower(root: Path) -> None:
    apply(
        root,
        archive(
            directory(b"d", 0o700, mtime=7),
            file(b"d/one"),
            file(b"d/two"),
            directory(b"d/sub"),
            file(b"d/sub/three"),
            file(b"top"),
            symlink(b"l", b"d"),
        ),
        options(Whiteouts.APPLY),
    )


def names(root: Path) -> set[str]:
    return set(tree(root)) - {""}


def test_applied_whiteouts(tmp_path: Path) -> None:
    root = tmp_path / "r"
    lower(root)
    applied = apply(
        root,
        archive(
            whiteout(b"d/one"),
            whiteout(b"d/sub"),
            whiteout(b"top"),
            whiteout(b"never"),
            whiteout(b"no/such/folder"),
            opaque(b"neither"),
        ),
        options(Whiteouts.APPLY),
    )
    assert names(root) == {"d", "d/two", "l"}
    # The directory is as it was.
    assert (root / "d").stat().st_mtime == 7
    assert applied.whiteouts == applied.opaque == applied.implied == ()


def test_an_applied_whiteout_goes_through_links_within_the_root(tmp_path: Path) -> None:
    root = tmp_path / "r"
    lower(root)
    apply(root, archive(whiteout(b"l/one"), whiteout(b"l")), options(Whiteouts.APPLY))
    assert names(root) == {"d", "d/two", "d/sub", "d/sub/three", "top"}


@pytest.mark.parametrize("late", [False, True], ids=["first", "last"])
def test_an_applied_opaque_directory_keeps_what_is_new(tmp_path: Path, late: bool) -> None:
    root = tmp_path / "r"
    lower(root)
    parts = [file(b"d/new"), file(b"d/sub/four"), file(b"d/two", b"second")]
    marks = [opaque(b"d"), opaque(b"d")]
    apply(root, archive(*(parts + marks if late else marks + parts)), options(Whiteouts.APPLY))
    assert names(root) == {"d", "d/new", "d/sub", "d/sub/four", "d/two", "top", "l"}
    assert (root / "d" / "two").read_bytes() == b"second"


@pytest.mark.parametrize("late", [False, True], ids=["first", "last"])
def test_an_applied_whiteout_spares_this_layers_files(tmp_path: Path, late: bool) -> None:
    root = tmp_path / "r"
    lower(root)
    parts = [directory(b"d"), file(b"d/sub/four"), file(b"top", b"second")]
    marks = [whiteout(b"d"), whiteout(b"top"), whiteout(b"d/sub")]
    apply(root, archive(*(parts + marks if late else marks + parts)), options(Whiteouts.APPLY))
    assert names(root) == {"d", "d/sub", "d/sub/four", "top", "l"}
    assert (root / "top").read_bytes() == b"second"


def test_an_applied_device_that_is_a_whiteout(tmp_path: Path) -> None:
    root = tmp_path / "r"
    lower(root)
    apply(root, archive(device(b"top", 0, 0)), options(Whiteouts.APPLY))
    assert "top" not in names(root)


def test_hard_links_to_lower_files(tmp_path: Path) -> None:
    """They can be had where the layers below are; a layer by itself can't have them, and
    containerd refuses it as well."""
    root = tmp_path / "r"
    lower(root)
    apply(root, archive(link(b"other", b"d/one")), options(Whiteouts.APPLY))
    assert (root / "other").samefile(root / "d" / "one")
    error = refusal(tmp_path / "s", archive(link(b"other", b"d/one")))
    assert error.reason is Reason.LAYER_INVALID
    assert "which is not there" in error.message


# --- the whole


def test_progress_and_figures(tmp_path: Path) -> None:
    plain = archive(*(file(b"%d" % number, bytes(100_000)) for number in range(30)))
    packed = gzip.compress(plain)
    told: list[int] = []
    (tmp_path / "r").mkdir()
    descriptor = os.open(tmp_path / "r", os.O_RDONLY)
    applied = apply_layer(io.BytesIO(packed), descriptor, options(), diff_id(plain), told.append)
    os.close(descriptor)
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == len(plain) == applied.stats.unpacked_bytes
    assert applied.stats.packed_bytes == len(packed)
    assert (applied.stats.entries, applied.stats.file_bytes) == (30, 3_000_000)
    assert applied.diff_id == diff_id(plain)


def test_what_progress_raises_ends_the_work(tmp_path: Path) -> None:
    plain = archive(*(file(b"%d" % number, bytes(300_000)) for number in range(30)))

    def stop(unpacked: int) -> None:
        raise Error(Reason.CANCELLED, "enough")

    (tmp_path / "r").mkdir()
    descriptor = os.open(tmp_path / "r", os.O_RDONLY)
    with pytest.raises(Error, match="enough"):
        apply_layer(io.BytesIO(plain), descriptor, options(), None, stop)
    os.close(descriptor)
    assert len(list((tmp_path / "r").iterdir())) < 30


def test_the_diff_id_is_of_every_byte(tmp_path: Path) -> None:
    plain = archive(file(b"f")) + b"behind the end"
    (tmp_path / "r").mkdir()
    descriptor = os.open(tmp_path / "r", os.O_RDONLY)
    applied = apply_layer(io.BytesIO(plain), descriptor, options(), diff_id(plain))
    assert applied.diff_id == diff_id(plain)
    wrong = Digest.of(b"", "sha512")
    with pytest.raises(Error) as caught:
        apply_layer(io.BytesIO(plain), descriptor, options(), wrong)
    os.close(descriptor)
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    assert caught.value.digest == wrong


def test_a_file_that_the_system_finds_too_large(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        error = refusal(tmp_path / "r", archive(file(b"small"), file(b"big", bytes(200_000))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.reason is Reason.LAYER_TOO_LARGE
    assert "'big' is too large" in error.message


def test_what_is_no_fault_of_the_layer_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **more: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", broken)
        with pytest.raises(OSError, match="Input/output"):
            apply(tmp_path / "r", archive(file(b"f")))
    with monkeypatch.context() as patch:
        patch.setattr(os, "setxattr", broken)
        with pytest.raises(OSError, match="Input/output"):
            apply(tmp_path / "s", archive(pax({b"SCHILY.xattr.user.a": b"b"}), file(b"f")))


def test_a_file_system_without_attributes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    marked = pax({b"SCHILY.xattr.user.a": b"b"})
    with monkeypatch.context() as patch:
        for call in ("setxattr", "getxattr", "listxattr"):
            patch.setattr(os, call, none)
        applied = apply(
            tmp_path / "r", archive(marked, file(b"f"), marked, directory(b"d"), directory(b"d"))
        )
    assert applied.stats.skipped_xattrs == 2
    assert set(tree(tmp_path / "r")) == {"", "f", "d"}
    with monkeypatch.context() as patch:
        patch.setattr(os, "listxattr", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            apply(tmp_path / "s", archive(directory(b"d"), directory(b"d")))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    apply(tmp_path / "r", archive(*(file(b"%d/f" % number) for number in range(400))))
    refusal(tmp_path / "s", archive(file(b"a/b/c"), symlink(b"l", b"l"), file(b"l/x")))
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_as_gnu_tar_writes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("x" * 250)
        info.uid, info.gid, info.mtime = (2**31, 5, -3) if ROOT else (0, 0, -3)
        tar.addfile(info)
    apply(tmp_path / "r", buffer.getvalue())
    found = tree(tmp_path / "r")["x" * 250]
    assert found["mtime"] == -3 * 10**9
    assert found["owner"] == ((2**31, 5) if ROOT else (os.geteuid(), os.getegid()))
    apply(tmp_path / "s", archive(entry(b"c", b"7", b"contiguous", magic=GNU)))
    assert (tmp_path / "s" / "c").read_bytes() == b"contiguous"
