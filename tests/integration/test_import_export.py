"""Root file systems out of containers and into images, with crun, tar and skopeo beside."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd.v1.container_service_pb2 import BundleSpec
from imgd_client import Client, FailedPrecondition, ImgdError
from tests.bundles import PATIENCE, crun, unmount_all
from tests.daemon import Daemon, run_daemon
from tests.fake_images import digest_of, make_image
from tests.hostile import HostileRegistry
from tests.overlay import need_overlay
from tests.peers import require
from tests.real_images import run
from tests.unit.rootfs.archives import ROOT, archive, directory, file, link, symlink, tree, whiteout

SCRIPT = (
    "echo 1 > /added; chmod 600 /etc/kept; rm -rf /old/deep; rm /etc/gone; mkdir -p /x/y;"
    "ln /added /x/hard; ln -s nowhere /x/soft; rm -rf /swap; mkdir /swap; echo s > /swap/new"
)


def base() -> bytes:
    busybox = Path(require("busybox")).read_bytes()
    programs = (b"sh", b"ls", b"cat", b"rm", b"mkdir", b"touch", b"chmod", b"ln")
    folders = (b"bin", b"dev", b"proc", b"sys", b"etc", b"old", b"old/deep", b"swap", b"tmp")
    return archive(
        directory(b"./", mode=0o711),
        *(directory(name) for name in folders),
        file(b"bin/busybox", busybox, mode=0o755),
        *(link(b"bin/" + name, b"bin/busybox") for name in programs),
        file(b"etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        *(file(name, name) for name in (b"etc/gone", b"etc/kept", b"old/a", b"old/deep/b")),
        file(b"swap/before", b"b"),
        file(b"n" * 120, b"a long name"),
        symlink(b"etc/link", b"../bin/sh"),
    )


UPPER = archive(directory(b"etc"), whiteout(b"old/a"), file(b"etc/over", b"o"))


@pytest.fixture(scope="module", name="registry")
def run_registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        config = {"Entrypoint": ["/bin/sh", "-c"], "Env": ["PATH=/bin"]}
        registry.add("app", make_image([base(), UPPER], config=config), "1")
        yield registry


@pytest.fixture(params=["overlay", "copy"], name="daemon")
def start(
    request: pytest.FixtureRequest, tmp_path: Path, registry: HostileRegistry
) -> Iterator[Daemon]:
    if request.param == "overlay":
        need_overlay(tmp_path)
    flags = ("--snapshotter", request.param, "--registry-listen", "127.0.0.1:0")
    try:
        with run_daemon(tmp_path / "state", *flags) as daemon:
            assert daemon.imgctl("pull", "-q", f"{registry.host}/app:1").returncode == 0
            yield daemon
    finally:
        unmount_all(tmp_path)


def unpacked(archive: Path, folder: Path) -> Any:
    """What tar makes of an archive."""
    folder.mkdir()
    how = ("--xattrs", "--delay-directory-restore")
    subprocess.run(["tar", "xpf", archive, "-C", folder, *how], check=True, timeout=PATIENCE)
    return tree(folder)


def test_a_container_goes_out_whole_and_comes_back_as_an_image(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path
) -> None:
    out = tmp_path / "out.tar"
    with Client(daemon.address) as client:
        spec = BundleSpec(args=[SCRIPT], user="0")
        made = client.containers.create_bundle(f"{registry.host}/app:1", spec, container_id="web")
        assert crun(made.bundle_path, "web") == ""
        done = daemon.imgctl("export", "-o", str(out), "web")
        assert (done.returncode, done.stderr) == (0, "")
        found = unpacked(out, tmp_path / "unpacked")
        assert found == tree(Path(made.bundle_path) / "rootfs")
        assert {"added", "etc/kept", "swap/new", "x/y", "etc/over"} <= found.keys()
        assert not {"old/deep", "etc/gone", "swap/before", "old/a"} & found.keys()
        # Nothing stays mounted, and the container is as it was.
        assert "export-" not in Path("/proc/self/mounts").read_text()
        assert b"".join(client.archives.export("web")) == out.read_bytes()
    words = ["-c", 'ENTRYPOINT ["/bin/cat"]', "-c", 'CMD ["/added", "/etc/over"]', "-m", "moved"]
    done = daemon.imgctl("import", *words, str(out), "test.com/back:1")
    assert done.returncode == 0, done
    with Client(daemon.address) as client:
        image = client.images.inspect("test.com/back:1")
        assert image.diff_ids == [digest_of(out.read_bytes())]
        assert done.stdout == f"{image.image.image_id}\n"
        history = client.images.history("test.com/back:1")
        assert [(one.created_by, one.comment) for one in history] == [("imgd import", "moved")]
        again = client.containers.create_bundle("test.com/back:1", BundleSpec(user="0"))
        assert crun(again.bundle_path, "again") == "1\no"


def test_what_is_imported_is_an_image_for_others_too(daemon: Daemon, tmp_path: Path) -> None:
    data = base()
    name = f"{daemon.registry}/team/imported:1"
    done = daemon.imgctl("image", "import", "-", name, input=gzip.compress(data), text=False)
    assert done.returncode == 0, done
    config = json.loads(
        run("skopeo", "inspect", "--tls-verify=false", "--config", f"docker://{name}")
    )
    assert config["rootfs"]["diff_ids"] == [digest_of(data)]
    copy = f"oci:{tmp_path / 'layout'}:1"
    run("skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{name}", copy)
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", copy.removeprefix("oci:"), tmp_path / "bundle")
    (tmp_path / "base.tar").write_bytes(data)
    if ROOT:
        assert tree(tmp_path / "bundle/rootfs") == unpacked(tmp_path / "base.tar", tmp_path / "u")


def test_what_is_no_root_file_system_makes_no_image(daemon: Daemon) -> None:
    with Client(daemon.address) as client:
        before = {one.name for one in client.images.list()}
        for data, options, reason in (
            (b"words" * 500, {}, "LAYER_INVALID"),
            (archive(file(b"../x")), {}, "LAYER_INVALID"),
            (b"", {}, "FIELD_INVALID"),
            (base(), {"changes": ["RUN x"]}, "FIELD_INVALID"),
            (base(), {"tag": "Not a tag"}, "REFERENCE_INVALID"),
            (base(), {"platform": "a/b/c/d"}, "PLATFORM_INVALID"),
        ):
            with pytest.raises(ImgdError) as caught:
                client.archives.import_image([data], **options)
            assert caught.value.reason == reason, caught.value

        def endless() -> Iterator[bytes]:
            while True:
                yield bytes(1 << 20)

        # What can't be is told before all has come.
        with pytest.raises(ImgdError) as early:
            client.archives.import_image(endless(), changes=["RUN x"])
        assert early.value.reason == "FIELD_INVALID"
        assert {one.name for one in client.images.list()} == before
        client.system.collect()
    assert not [*(daemon.root / "content" / "ingest").iterdir()]
    done = daemon.imgctl("import", "https://test.com/x.tar")
    assert done.returncode == 125


def test_a_container_without_files_has_nothing_to_export(
    daemon: Daemon, registry: HostileRegistry
) -> None:
    with Client(daemon.address) as client:
        client.containers.create(f"{registry.host}/app:1", container_id="plain")
        with pytest.raises(FailedPrecondition) as caught:
            b"".join(client.archives.export("plain"))
        assert caught.value.reason == "CONTAINER_STATE"
        with pytest.raises(ImgdError) as missing:
            b"".join(client.archives.export("absent"))
        assert missing.value.reason == "CONTAINER_NOT_FOUND"


def test_whoever_leaves_an_export_leaves_nothing_behind(
    daemon: Daemon, registry: HostileRegistry
) -> None:
    with Client(daemon.address) as client:
        client.containers.create_bundle(f"{registry.host}/app:1", BundleSpec(), container_id="a")
        chunks = client.archives.export("a")
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
        client.containers.remove("a")
    assert daemon.stop() == 0
    assert not [*(daemon.root / "containers").glob("*/export-*")]
