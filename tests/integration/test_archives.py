"""Archives between imgd and the others: theirs load here, ours load there, and digests stay."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd.v1 import image_pb2, transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc
from imgd_client import Client, ImgdError
from tests.daemon import BIN, PATIENCE, Daemon, run_daemon
from tests.fake_images import digest_of
from tests.real_images import RealImages, run

FULL = image_pb2.IMAGE_VIEW_FULL


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("archives")
    with run_daemon(folder / "state", "--registry-listen", "127.0.0.1:0") as running:
        yield running


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that has nothing."""
    with run_daemon(tmp_path / "other") as running:
        yield running


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def raw(source: str) -> bytes:
    return run("skopeo", "inspect", "--raw", source)


def config(source: str) -> bytes:
    return run("skopeo", "inspect", "--config", "--raw", source)


def stored(daemon: Daemon, name: str) -> image_pb2.Image:
    with Client(daemon.address) as client:
        return client.images.get(name, view=FULL)


# --- theirs


@pytest.mark.parametrize("image", ["app", "multi", "zstd", "artifact"])
def test_an_oci_archive_of_skopeo_keeps_its_digest(
    daemon: Daemon, real_images: RealImages, tmp_path: Path, image: str
) -> None:
    path, name = tmp_path / "archive.tar", f"test.com/{image}:oci"
    archive = f"oci-archive:{path}:{name}"
    layout = f"oci:{real_images.folder / image}:{image}"
    run("skopeo", "copy", "--quiet", "--all", "--preserve-digests", layout, archive)
    assert ok(daemon.imgctl("load", "-i", str(path))) == f"Loaded image: {name}\n"
    found = stored(daemon, name)
    assert found.target.digest == digest_of(raw(archive))
    assert found.complete


@pytest.mark.parametrize("image", ["app", "plain"])
def test_a_docker_archive_of_skopeo_keeps_its_id(
    daemon: Daemon, real_images: RealImages, tmp_path: Path, image: str
) -> None:
    path, name = tmp_path / "archive.tar", f"test.com/{image}:docker"
    archive = f"docker-archive:{path}"
    run(
        "skopeo",
        "copy",
        "--quiet",
        f"oci:{real_images.folder / image}:{image}",
        f"{archive}:{name}",
    )
    packed = gzip.compress(path.read_bytes(), 1)
    done: Any = daemon.imgctl("load", input=packed, text=False)
    assert (done.returncode, done.stdout) == (0, f"Loaded image: {name}\n".encode()), done
    assert stored(daemon, name).image_id == digest_of(config(archive))
    # It is whole: another tool gets it from here, as it was.
    target = f"docker://{daemon.registry}/{name}"
    run("skopeo", "copy", "--quiet", "--src-tls-verify=false", target, f"dir:{tmp_path / 'dir'}")


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Any]:
    """Runs podman with a store of its own; returns what it prints."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: podman without root needs ranges of user IDs")
    # It takes no path of more than 50 characters.
    run_root = Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))
    where = ("--root", tmp_path / "podman", "--runroot", run_root, "--storage-driver", "vfs",
             "--cgroup-manager", "cgroupfs", "--events-backend", "none")  # fmt: skip

    def call(*words: str | Path) -> str:
        return run("podman", *where, *words).decode().strip()

    yield call
    shutil.rmtree(run_root)


def test_podman_and_imgd_load_what_the_other_saves(
    daemon: Daemon, real_images: RealImages, podman: Any, tmp_path: Path
) -> None:
    ours, theirs, many = tmp_path / "ours.tar", tmp_path / "theirs.tar", tmp_path / "many.tar"
    real_images.push("app", f"{daemon.registry}/team/app:1")
    real_images.push("app-next", f"{daemon.registry}/team/next:1")
    names = [f"{daemon.registry}/team/app:1", f"{daemon.registry}/team/next:1"]
    ids = [stored(daemon, name).image_id for name in names]
    ok(daemon.imgctl("save", "-o", str(ours), *names))
    said = podman("load", "--quiet", "--input", ours)
    shown = [podman("image", "inspect", "--format", "{{.Id}}", name) for name in names]
    assert [f"sha256:{one}" for one in shown] == ids, said
    # And back, in the forms that it has.
    for form in ("oci-archive", "docker-archive"):
        podman("save", "--quiet", "--format", form, "--output", theirs, names[0])
        loaded = ok(daemon.imgctl("load", "-i", str(theirs), "--tag", f"test.com/{form}:back"))
        assert loaded == f"Loaded image: test.com/{form}:back\n"
        # podman writes the config anew where it converts one form into another.
        assert stored(daemon, f"test.com/{form}:back").image_id == digest_of(
            config(f"{form}:{theirs}")
        )
        theirs.unlink()
    podman("save", "--quiet", "--multi-image-archive", "--output", many, *names)
    assert ok(daemon.imgctl("load", "-i", str(many))).splitlines() == [
        f"Loaded image: {name}" for name in names
    ]
    assert [stored(daemon, name).image_id for name in names] == ids


def test_an_archive_of_buildah_loads(
    daemon: Daemon, real_images: RealImages, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: buildah without root needs ranges of user IDs")
    real_images.push("buildah", f"{daemon.registry}/team/buildah:1")
    path = tmp_path / "archive.tar"
    layout = f"oci:{real_images.folder / 'buildah'}:buildah"
    run("skopeo", "copy", "--quiet", "--all", layout, f"oci-archive:{path}:test.com/buildah:1")
    ok(daemon.imgctl("load", "-i", str(path)))
    found = stored(daemon, "test.com/buildah:1")
    assert found.target.digest == stored(daemon, f"{daemon.registry}/team/buildah:1").target.digest


# --- ours


def test_skopeo_reads_what_is_saved_in_either_form(
    daemon: Daemon, real_images: RealImages, tmp_path: Path
) -> None:
    path = tmp_path / "saved.tar"
    name = f"{daemon.registry}/team/multi:1"
    real_images.push("multi", name)
    found = stored(daemon, name)
    ok(daemon.imgctl("save", "-o", str(path), name))
    oci, docker = f"oci-archive:{path}:1", f"docker-archive:{path}:{name}"
    assert digest_of(raw(oci)) == found.target.digest
    assert digest_of(config(docker)) == found.image_id
    for source in (oci, docker):
        target = tmp_path / source.partition(":")[0]
        run("skopeo", "copy", "--quiet", "--all", source, f"dir:{target}")
    assert digest_of((tmp_path / "oci-archive/manifest.json").read_bytes()) == found.target.digest
    # Of docker's alone too, and as it goes to standard output.
    done: Any = daemon.imgctl("save", "--format", "docker", name, text=False)
    assert done.returncode == 0
    path.write_bytes(done.stdout)
    assert digest_of(config(docker)) == found.image_id


def test_umoci_unpacks_what_is_saved(
    daemon: Daemon, real_images: RealImages, tmp_path: Path
) -> None:
    name = f"{daemon.registry}/team/unpacked:1"
    real_images.push("app", name)
    layout = tmp_path / "layout"
    layout.mkdir()
    ok(daemon.imgctl("save", "--format", "oci", "-o", str(tmp_path / "a.tar"), name))
    subprocess.run(["tar", "xf", tmp_path / "a.tar", "-C", layout], check=True)
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", f"{layout}:1", tmp_path / "bundle")
    for file, data in real_images.files.items():
        found = tmp_path / "bundle/rootfs" / file
        assert (found.read_bytes() if found.exists() else None) == data, file


def test_what_one_daemon_saves_another_loads_as_it_is(
    daemon: Daemon, other: Daemon, real_images: RealImages
) -> None:
    names = [f"{daemon.registry}/team/{image}:2" for image in ("app", "multi", "schema2", "plain")]
    for name, image in zip(names, ("app", "multi", "schema2", "plain"), strict=True):
        real_images.push(image, name)
    # Through a pipe, as people do it.
    command = [str(BIN / "imgctl"), "--address", daemon.address, "save", *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as save:
        loaded = other.imgctl("load", stdin=save.stdout)
        assert save.wait(PATIENCE) == 0
    assert ok(loaded).splitlines() == [f"Loaded image: {name}" for name in names]
    kinds = other.imgctl("transfers", "--format", "{{.Kind}} {{.Image}}")
    assert kinds.stdout == f"load {names[0]}, and 3 more\n"
    for name in names:
        here, there = stored(daemon, name), stored(other, name)
        assert there.target == here.target
        assert there.image_id == here.image_id
        assert [*there.platforms] == [*here.platforms]
        assert there.complete
    again = [run_.imgctl("save", *names, text=False).stdout for run_ in (daemon, other)]
    assert again[0] == again[1]


# --- imgctl and the client


def test_a_load_can_be_watched_and_left(daemon: Daemon, real_images: RealImages) -> None:
    name = f"{daemon.registry}/team/watched:1"
    real_images.push("app", name)
    with Client(daemon.address) as client:
        data = b"".join(client.archives.save([name]))
        stub = transfer_service_pb2_grpc.TransferServiceStub(client.channel)
        request = transfer_service_pb2.StartTransferRequest(
            source=transfer_pb2.TransferSource(archive=transfer_pb2.ArchiveEndpoint()),
            destination=transfer_pb2.TransferDestination(store=transfer_pb2.StoreEndpoint()),
        )
        started = stub.StartTransfer(request).transfer

        class TornError(Exception):
            pass

        def torn() -> Iterator[bytes]:
            yield data[: len(data) // 2]
            raise TornError

        with pytest.raises(TornError):
            client.archives.load(torn(), transfer=started.name)
        *_, last = client.watch(started.name)
        assert last.finished.transfer.state == transfer_pb2.TRANSFER_STATE_CANCELLED
        stub.ResumeTransfer(transfer_service_pb2.ResumeTransferRequest(name=started.name))
        watch = client.watch(started.name)
        answer = client.archives.load([data], transfer=started.name)
        assert answer.transfer == started.name
        assert [image.target.digest for image in answer.images] == [
            stored(daemon, name).target.digest
        ]
        *_, last = watch
        assert last.finished.transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
        assert last.finished.progress.current_bytes == last.finished.progress.total_bytes > 0
        with pytest.raises(ImgdError) as caught:
            client.archives.load([data], transfer=started.name)
        assert caught.value.reason == "TRANSFER_STATE"


def test_what_goes_wrong_is_told_and_leaves_no_file(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "out.tar"
    done = daemon.imgctl("save", "-o", str(path), "absent")
    assert done.returncode == 1
    assert "no such image: absent" in done.stderr
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "words").write_text("no archive")
    done = daemon.imgctl("load", "-i", str(tmp_path / "words"))
    assert done.returncode == 1
    assert "the archive is refused" in done.stderr
    assert "Traceback" not in done.stderr
    done = daemon.imgctl("load", "-i", str(tmp_path / "nothing"))
    assert (done.returncode, "No such file" in done.stderr) == (1, True)
    nowhere = str(tmp_path / "no" / "folder")
    done = daemon.imgctl("save", "-o", nowhere, "absent")
    assert (done.returncode, done.stderr) == (
        1, f"imgctl: {nowhere}: No such file or directory\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [("load",), ("import", "-", "a:1"), ("append", "-f", "-", "a:1")], ids=" ".join
)
def test_who_waits_for_standard_input_can_be_interrupted(
    daemon: Daemon, words: tuple[str, ...]
) -> None:
    command = [str(BIN / "imgctl"), "--address", daemon.address, *words]
    reading, writing = os.pipe()
    try:
        with subprocess.Popen(command, stdin=reading, stderr=subprocess.PIPE, text=True) as waiting:
            # More than a pipe holds: when it is gone somebody reads, and waits for more. Nobody
            # refuses zeros before their end.
            os.write(writing, bytes(1_000_000))
            waiting.send_signal(signal.SIGINT)
            _, said = waiting.communicate(timeout=PATIENCE)
    finally:
        os.close(reading)
        os.close(writing)
    assert (waiting.returncode, said) == (130, "")


def test_a_saved_archive_replaces_a_file_and_a_device_takes_it(
    daemon: Daemon, real_images: RealImages, tmp_path: Path
) -> None:
    name = f"{daemon.registry}/team/file:1"
    real_images.push("app", name)
    path = tmp_path / "out.tar"
    path.write_text("before")
    ok(daemon.imgctl("image", "save", "--output", str(path), name))
    with tarfile.open(path) as archive:
        assert {"oci-layout", "index.json", "manifest.json"} < set(archive.getnames())
    ok(daemon.imgctl("save", "-o", "/dev/null", name))
    assert Path("/dev/null").is_char_device()
    assert json.loads(raw(f"oci-archive:{path}"))["schemaVersion"] == 2


# --- layouts as folders


def test_layouts_of_skopeo_are_read_and_written(real_images: RealImages, tmp_path: Path) -> None:
    roots = tmp_path / "layouts"
    roots.mkdir()
    run("skopeo", "copy", "--quiet", "--all", f"oci:{real_images.folder / 'multi'}:multi",
        f"oci:{roots / 'theirs'}:multi")  # fmt: skip
    theirs, ours = f"oci:{roots / 'theirs'}:multi", f"oci:{roots / 'ours'}:copy"
    with (
        run_daemon(tmp_path / "state", "--layout-roots", str(roots)) as daemon,
        Client(daemon.address) as client,
    ):
        source = transfer_pb2.LayoutEndpoint(path=str(roots / "theirs"), ref_name="multi")
        target = transfer_pb2.LayoutEndpoint(path=str(roots / "ours"), ref_name="copy")
        store = transfer_pb2.StoreEndpoint(image="test.com/multi:1", tags=["test.com/multi:1"])

        def moved(**sides: Any) -> transfer_pb2.Transfer:
            request = transfer_service_pb2.StartTransferRequest(
                source=transfer_pb2.TransferSource(**sides["source"]),
                destination=transfer_pb2.TransferDestination(**sides["destination"]),
            )
            *_, last = client.watch(client.transfers.start(request).name)
            assert last.finished.transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED, last
            return last.finished.transfer

        read = moved(source={"layout": source}, destination={"store": store})
        assert read.source.layout == source
        assert digest_of(raw(theirs)) == read.outcome.target.digest
        written = moved(source={"store": store}, destination={"layout": target})
        assert written.destination.layout == target
    assert raw(ours) == raw(theirs)
    run("skopeo", "copy", "--quiet", "--all", ours, f"dir:{tmp_path / 'dir'}")
