"""Real images of three builders, with all that a root file system can hold: what containers get of
them here, file by file beside what umoci unpacks."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd.v1.container_service_pb2 import BundleSpec
from imgd_client import Client
from tests.bundles import unmount_all
from tests.daemon import Daemon, run_daemon
from tests.overlay import need_overlay
from tests.real_images import run
from tests.unit.rootfs.archives import ROOT, tree

pytestmark = pytest.mark.skipif(not ROOT, reason="NOT TESTED: only root makes owners")

# CAP_NET_RAW, effective (linux/capability.h, revision 2).
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
# Image: the layout that umoci unpacks, for it reads no zstd.
IMAGES = {
    "umoci": "umoci",
    "opaque": "opaque",
    "buildah": "buildah",
    "buildah-zstd": "buildah",
    "podman": "podman",
    "podman-zstd": "podman",
    "appended": "appended",
}


def fill(root: Path) -> None:
    """A root with one of everything."""
    for name in ("d/e/f", "gone/deep/er", "swap", "hide/a", "hide/b", "usr/bin"):
        (root / name).mkdir(parents=True)
    for name in ("d/one", "d/e/two", "gone/deep/er/x", "swap/in", "hide/a/x", "hide/b/y", "plain"):
        (root / name).write_text(name * 100)
    (root / "d" / "hard").hardlink_to(root / "d" / "one")
    (root / "usr" / "hard").hardlink_to(root / "d" / "one")
    (root / "hard-gone").hardlink_to(root / "plain")
    (root / "bin").symlink_to("usr/bin")
    (root / "usr" / "bin" / "broken").symlink_to("/nowhere/at/all")
    (root / "usr" / "bin" / ("n" * 200)).write_text("a long name")
    (root / "usr" / "bin" / "to-long").symlink_to("t" * 300)
    (root / "usr" / "bin" / "umläut").write_text("ä")
    with (root / "sparse").open("wb") as file:
        file.truncate(20 << 20)
        os.pwrite(file.fileno(), b"island", 9 << 20)
    os.mkfifo(root / "pipe", 0o620)
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "block", stat.S_IFBLK | 0o640, os.makedev(259, 70000))
    for name, mode in (("d", 0o2775), ("d/e", 0o1777), ("usr/bin/umläut", 0o4711)):
        (root / name).chmod(mode)
    os.chown(root / "d" / "e" / "two", 1000, 100)
    os.chown(root / "hide", 3_000_000_000, 2_500_000)
    os.chown(root / "bin", 5, 6, follow_symlinks=False)
    os.setxattr(root / "usr" / "bin" / ("n" * 200), "security.capability", CAPABILITY)
    os.setxattr(root / "d" / "e" / "two", "user.note", b"a\n=\0b")
    os.setxattr(root / "d", "user.folder", b"x")
    os.utime(root / "plain", ns=(1, 123_456_789))
    os.utime(root / "d" / "e" / "f", ns=(1, 1_234_567_890_123_456_789))


def change(root: Path) -> None:
    """What makes whiteouts, and files in the places of others."""
    shutil.rmtree(root / "gone")
    shutil.rmtree(root / "hide")
    (root / "hide").mkdir()
    (root / "hide" / "new").write_text("new")
    shutil.rmtree(root / "swap")
    (root / "swap").write_text("a file now")
    (root / "plain").unlink()
    (root / "plain").mkdir()
    (root / "plain" / "inside").write_text("a folder now")
    (root / "hard-gone").unlink()
    (root / "d" / "one").chmod(0o600)
    (root / "d" / "third").hardlink_to(root / "d" / "one")
    (root / "pipe").unlink()
    (root / "pipe").symlink_to("null")
    (root / "usr" / "bin" / "broken").unlink()
    os.chown(root / "d" / "e" / "two", 7, 8)
    os.setxattr(root / "usr" / "bin" / "umläut", "security.capability", CAPABILITY)


def build_with_umoci(folder: Path) -> None:
    """`umoci` and `opaque`: gzip."""
    image, bundle = f"{folder / 'umoci'}:out", folder / "umoci-bundle"
    run("umoci", "init", "--layout", folder / "umoci")
    run("umoci", "new", "--image", image)
    run("umoci", "unpack", "--image", image, bundle)
    for step in (fill, change):
        step(bundle / "rootfs")
        run("umoci", "repack", "--refresh-bundle", "--image", image, bundle)
    shutil.copytree(folder / "umoci", folder / "opaque")
    fresh = folder / "fresh"
    (fresh / "sub").mkdir(parents=True)
    (fresh / "only").write_text("what is left")
    more = ("insert", "--opaque", "--image", f"{folder / 'opaque'}:out", fresh)
    for path in ("/hide", "/d/e"):
        run("umoci", *more, path)


def build_with_storage(folder: Path, store: Path, program: str) -> None:
    """`buildah` or `podman`, and the same with zstd: two commits over containers/storage."""
    where = ("--root", store / "root", "--runroot", store / "run", "--storage-driver", "vfs")

    def do(*words: str | Path, of: str = program) -> str:
        return run(of, *where, *words).decode().strip()

    container = do("from", "scratch", of="buildah")
    fill(Path(do("mount", container, of="buildah")))
    do("commit", "--quiet", container, "first", of="buildah")
    if program == "buildah":
        container = do("from", "--pull-never", "first")
    else:
        do("create", "--name", "c", "localhost/first", "true")
        container = "c"
    change(Path(do("mount", container)))
    do("commit", "--quiet", container, "second")
    for name, form in ((program, "gzip"), (f"{program}-zstd", "zstd")):
        target = f"oci:{folder / name}:out"
        do("push", "--quiet", "--compression-format", form, "second", target)
    do("umount", container)


@pytest.fixture(scope="module", name="layouts")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OCI layouts, each with an image `out`, by name."""
    folder = tmp_path_factory.mktemp("trees")
    build_with_umoci(folder)
    for program in ("buildah", "podman"):
        # podman takes no long paths.
        with tempfile.TemporaryDirectory(prefix="imgd-", dir="/tmp") as store:
            build_with_storage(folder, Path(store), program)
    return folder


def append(daemon: Daemon, folder: Path) -> None:
    """`appended`: what GNU tar packs, made an image here."""
    root = folder / "packed"
    root.mkdir()
    fill(root)
    for name in ("low", "top"):
        if name == "top":
            change(root)
            for mark in (".wh.gone", ".wh.hard-gone", "hide/.wh..wh..opq", "usr/bin/.wh.broken"):
                (root / mark).touch()
        flags = ["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--zstd"]
        archive = str(folder / f"{name}.tar.zst")
        subprocess.run(["tar", *flags, "-C", str(root), "-cf", archive, "."], check=True)
    layers = ("-f", str(folder / "low.tar.zst"), "-f", str(folder / "top.tar.zst"))
    done = daemon.imgctl("append", *layers, f"{daemon.registry}/appended:1")
    assert done.returncode == 0, done
    source = f"docker://{daemon.registry}/appended:1"
    plain = f"dir:{folder / 'appended-plain'}"
    run("skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-decompress", source, plain)
    run("skopeo", "copy", "--quiet", plain, f"oci:{folder / 'appended'}:out")


@pytest.fixture(scope="module", params=["overlay", "copy"], name="daemon")
def start(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, layouts: Path
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    if request.param == "overlay":
        need_overlay(folder)
    flags = ("--snapshotter", request.param, "--registry-listen", "127.0.0.1:0")
    try:
        with run_daemon(folder / "state", *flags) as daemon:
            for name in IMAGES.keys() - {"appended"}:
                target = f"docker://{daemon.registry}/{name}:1"
                copy = ("copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false")
                run("skopeo", *copy, f"oci:{layouts / name}:out", target)
            if not (layouts / "appended").exists():
                append(daemon, layouts)
            else:
                target = f"docker://{daemon.registry}/appended:1"
                source = f"oci:{layouts / 'appended'}:out"
                run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, target)
            yield daemon
    finally:
        unmount_all(folder)


def without_overlays(found: dict[str, Any]) -> dict[str, Any]:
    """What the kernel notes for itself is no attribute of the image."""
    for facts in found.values():
        for key in [one for one in facts["xattrs"] if one.startswith("trusted.overlay.")]:
            del facts["xattrs"][key]
    return found


@pytest.mark.parametrize("name", IMAGES)
def test_a_containers_files_are_as_umoci_unpacks_them(
    daemon: Daemon, layouts: Path, tmp_path: Path, name: str
) -> None:
    began = time.time_ns()
    image = f"{layouts / IMAGES[name]}:out"
    run("umoci", "unpack", "--keep-dirlinks", "--image", image, tmp_path / "umoci")
    expected = tree(tmp_path / "umoci" / "rootfs")
    with Client(daemon.address) as client:
        made = client.containers.create_bundle(
            f"{daemon.registry}/{name}:1", BundleSpec(args=["true"]), container_id=name, timeout=60
        )
        found = without_overlays(tree(Path(made.bundle_path) / "rootfs"))
        client.containers.remove(name)
    for path, facts in expected.items():
        # umoci gives the time of unpacking to directories that no layer describes, or in which it
        # made or removed something afterwards; and a root that none describes the epoch.
        undescribed = facts["mtime"] >= began or (path == "" and not facts["mtime"])
        if undescribed and path in found and "links" not in facts:
            facts["mtime"] = found[path]["mtime"]
    assert found.keys() == expected.keys()
    different = {
        path: (found[path], expected[path]) for path in found if found[path] != expected[path]
    }
    assert different == {}
    # And it is all there, as far as the builder takes it.
    assert {"plain/inside", "hide", "null", "block", "sparse", "d/third"} <= found.keys()
    assert {"gone", "hide/a", "hard-gone"}.isdisjoint(found)
    assert (found["d/one"]["links"], found["d/one"]["mode"]) == (4, "0o100600")
    assert found["block"]["device"] == (259, 70000)
    assert found["usr/bin/umläut"]["xattrs"] == {"security.capability": CAPABILITY}
