"""Looking inside images, with a daemon as it is run, and beside what umoci unpacks."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgd_client import Client, ImgdError
from imgd_server.oci import Digest
from imgd_server.rootfs import FileKind, LayerIndex, Limits, MergedTree, build_index, read_file
from tests.daemon import Daemon, run_daemon
from tests.fake_images import make_image
from tests.hostile import HostileRegistry
from tests.real_images import RealImages, run
from tests.unit.rootfs.archives import ROOT, archive, directory, file, opaque, symlink, whiteout

BASE = archive(
    directory(b"etc"), file(b"etc/a", b"one"), file(b"etc/.hidden", b""), symlink(b"l", b"etc/a"),
    directory(b".x"), file(b".x/in", b""), file(b".x/.in", b""), symlink(b".y", b".x"),
)  # fmt: skip
TOP = archive(file(b"etc/a", b"three"), whiteout(b"etc/.hidden"), directory(b"d"), opaque(b"d"))


@pytest.fixture(name="daemon")
def start(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "state", "--snapshotter", "copy") as daemon:
        yield daemon


def test_imgctl_looks_inside(daemon: Daemon) -> None:
    with HostileRegistry() as registry:
        registry.add("app", make_image([BASE, TOP]), "1")
        name = f"{registry.host}/app:1"
        with Client(daemon.address) as client:
            client.transfers.pull(name).result()
            assert b"".join(client.files.read(name, "/l", offset=1, limit=2)) == b"hr"
            found = [(one.kind, one.path) for one in client.files.changes(name, 1)]
            assert found == [(1, "/d"), (3, "/etc/.hidden"), (2, "/etc/a")]
    assert daemon.imgctl("ls", name).stdout == "/d\n/etc\n/l\n"
    assert daemon.imgctl("ls", name, "etc", "--layer", "0").stdout == "/etc/a\n"
    shown = daemon.imgctl("ls", "-a", name, "/etc", "--layer", "0").stdout
    assert shown == "/etc/.hidden\n/etc/a\n"
    # What is hidden is so by its place below the folder that was asked for.
    assert daemon.imgctl("ls", name, "/.x").stdout == "/.x/in\n"
    assert daemon.imgctl("ls", name, "/.y").stdout == "/.x/in\n"
    long = daemon.imgctl("ls", "-l", name).stdout.splitlines()
    assert long[-1].startswith("lrwxrwxrwx")
    assert long[-1].endswith("/l -> etc/a")
    assert daemon.imgctl("cat", name, "/l").stdout == "three"
    *table, total = daemon.imgctl("layers", name).stdout.splitlines()
    assert [line.split()[0] for line in table] == ["LAYER", "0", "1"]
    assert total == "wasted 3B, efficiency 62.5%"
    rows = daemon.imgctl("layers", name, "--format", "{{.Added}} {{.Changed}} {{.Removed}}").stdout
    assert rows == "8 0 0\n1 1 1\n"
    refused = daemon.imgctl("cat", name, "/nothing")
    assert refused.returncode == 1
    assert "no such file" in refused.stderr


def test_names_that_are_no_utf_8(daemon: Daemon) -> None:
    """Asked for as they are told: as bytes. A shell's arguments are bytes, too."""
    layer = archive(directory(b"d\xff"), file(b"d\xff/f\xfe", b"found"))
    with HostileRegistry() as registry, Client(daemon.address) as client:
        registry.add("app", make_image([layer]), "1")
        name = f"{registry.host}/app:1"
        client.transfers.pull(name).result()
        (folder,) = client.files.list(name)
        assert folder.path == "/d\ufffd"
        (found,) = client.files.list(name, folder.raw_path)
        assert found.raw_path == b"/d\xff/f\xfe"
        assert client.files.get(name, found.raw_path).size == 5
        assert b"".join(client.files.read(name, os.fsdecode(found.raw_path))) == b"found"
        for path in (b"d\xff", b"/d\xff\0", b"/\xff" * 3000, ""):
            with pytest.raises(ImgdError) as caught:
                client.files.get(name, path)
            assert caught.value.reason == "FIELD_INVALID"
    assert daemon.imgctl("cat", name, "/d\udcff/f\udcfe").stdout == "found"
    rows = daemon.imgctl("df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").stdout
    assert "Layer Indexes 1 1\n" in rows
    assert daemon.imgctl("rmi", name).returncode == 0
    with Client(daemon.address) as client:
        client.system.collect()
        assert client.system.disk_usage().indexes.count == 0
    assert [*(daemon.root / "indexes").iterdir()] == []


def test_the_tree_is_what_umoci_unpacks(tmp_path: Path, real_images: RealImages) -> None:
    layout = real_images.folder / "app"

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    rootless = [] if ROOT else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", f"{layout}:app", tmp_path / "bundle")
    root = tmp_path / "bundle" / "rootfs"
    entry = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    manifest = json.loads(blob(entry["digest"]).read_bytes())
    diff_ids = json.loads(blob(manifest["config"]["digest"]).read_bytes())["rootfs"]["diff_ids"]
    layers = [blob(one["digest"]) for one in manifest["layers"]]
    indexes = []
    for number, (layer, diff_id) in enumerate(zip(layers, diff_ids, strict=True)):
        path = tmp_path / str(number)
        with layer.open("rb") as stream:
            build_index(stream, path, Limits(), Digest(diff_id))
        indexes.append(LayerIndex(path))
    tree = MergedTree(indexes)
    seen = set()
    contents = 0
    for met in tree.walk(tree.root(), recursive=True):
        if met.found is None:
            continue
        one = met.found.file
        path = root / os.fsdecode(one.path[1:])
        status = path.lstat()
        seen.add(path)
        kind = {0o10: 1, 0o4: 2, 0o12: 3, 0o2: 4, 0o6: 5, 0o1: 6}[status.st_mode >> 12]
        assert one.kind == kind, path
        assert not ROOT or (one.uid, one.gid) == (status.st_uid, status.st_gid), path
        if one.kind == FileKind.SYMLINK:
            assert one.link == os.fsencode(path.readlink())
            continue
        assert one.mode == stat.S_IMODE(status.st_mode), path
        assert one.mtime == status.st_mtime_ns, path
        if one.kind == FileKind.REGULAR:
            assert one.size == status.st_size
            if contents < 40:
                contents += 1
                with layers[met.found.layer].open("rb") as stream:
                    number = stream.fileno()
                    data = read_file(
                        lambda length, offset, number=number: os.pread(number, length, offset),  # type: ignore[misc]
                        one,
                        0,
                        one.size,
                    )
                    assert b"".join(data) == path.read_bytes(), path
    for index in indexes:
        index.close()
    assert seen == {*root.rglob("*")}
    assert contents
