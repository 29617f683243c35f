"""Images of what containers changed: run by crun, copied out by skopeo, unpacked by umoci."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from imgd.v1.container_service_pb2 import BundleSpec
from imgd_client import Client, FailedPrecondition, ImgdError, InvalidArgument, NotFound
from tests.bundles import crun, unmount_all
from tests.daemon import Daemon, run_daemon
from tests.fake_images import make_image
from tests.hostile import HostileRegistry
from tests.overlay import need_overlay
from tests.peers import require
from tests.real_images import run
from tests.unit.rootfs.archives import ROOT, archive, directory, file, link, tree

NAMES = {0: "", 1: "A", 2: "C", 3: "D"}
EPOCH = 1_700_000_000
SCRIPT = (
    "echo 1 > /added; chmod 600 /etc/kept; rm -rf /old/deep; rm /etc/gone; mkdir -p /x/y;"
    "ln /added /x/hard; ln -s nowhere /x/soft; echo more > /etc/kept;"
    "rm -rf /swap; mkdir /swap; echo s > /swap/new; touch '/x/a name'"
)


def base() -> bytes:
    busybox = Path(require("busybox")).read_bytes()
    programs = (b"sh", b"ls", b"cat", b"rm", b"mkdir", b"touch", b"chmod", b"ln")
    folders = (b"bin", b"dev", b"proc", b"sys", b"etc", b"old", b"old/deep", b"swap", b"tmp")
    return archive(
        directory(b"./"),
        *(directory(name) for name in folders),
        file(b"bin/busybox", busybox, mode=0o755),
        *(link(b"bin/" + name, b"bin/busybox") for name in programs),
        file(b"etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        *(file(name, name) for name in (b"etc/gone", b"etc/kept", b"old/a", b"old/deep/b")),
        file(b"swap/before", b"b"),
    )


@pytest.fixture(scope="module", name="registry")
def run_registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        config = {
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["cat /added"],
            "Env": ["PATH=/bin"],
            "Labels": {"of": "base"},
        }
        registry.add("app", make_image([base()], config=config), "1")
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


def ran(client: Client, registry: HostileRegistry, name: str) -> str:
    """A container that did its work; its bundle."""
    spec = BundleSpec(args=[SCRIPT], user="0")
    made = client.containers.create_bundle(f"{registry.host}/app:1", spec, container_id=name)
    assert crun(made.bundle_path, name) == ""
    return made.bundle_path


def config_of(client: Client, image: str) -> Any:
    """The config's document, from its bytes."""
    from imgd.v1.content_service_pb2 import ReadBlobRequest
    from imgd.v1.content_service_pb2_grpc import ContentServiceStub

    stub: Any = ContentServiceStub(client.channel)
    digest = client.images.inspect(image).config_blob.digest
    parts = stub.ReadBlob(ReadBlobRequest(digest=digest), timeout=60)
    return json.loads(b"".join(one.data for one in parts))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_container_becomes_an_image(
    daemon: Daemon, registry: HostileRegistry, tmp_path: Path, compression: str
) -> None:
    with Client(daemon.address) as client:
        bundle = ran(client, registry, "web")
        before = client.images.inspect(f"{registry.host}/app:1")
        name = f"{daemon.registry}/made:2"
        done = daemon.imgctl(
            *("commit", "-a", "Ann", "-m", "what it did", "--compression", compression),
            *("-c", "ENV A=$PATH B=2", "--change", 'CMD ["cat /swap/new"]', "web", name),
        )
        assert done.returncode == 0, done
        assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.stdout)
        image = client.images.inspect(name)
        assert image.image.image_id == done.stdout.strip()
        assert image.layers[:-1] == before.layers
        assert image.layers[-1].media_type.endswith(f"+{compression}")
        # The new layer holds just what was changed.
        last = len(image.layers) - 1
        told = {f"{NAMES[one.kind]} {one.path}" for one in client.files.changes(name, last)}
        diff = {f"{NAMES[one.kind]} {one.path}" for one in client.containers.diff("web")}
        # Of folders the one tells when they have other attributes, the other when they are written.
        folders = {"C /etc", "C /old", "C /swap", "C /"}
        # What went with a folder is not told of a container.
        assert told - folders == (diff - folders) | {"D /old/deep/b"}
        assert {"A /added", "D /etc/gone", "D /swap/before", "D /old/deep"} <= told
        config = config_of(client, name)
        assert config["config"] == {
            "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["cat /swap/new"],
            "Env": ["PATH=/bin", "A=/bin", "B=2"],
            "Labels": {"of": "base"},
        }
        assert (config["author"], config["architecture"]) == ("Ann", "amd64")
        step = config["history"][-1]
        assert (step["author"], step["comment"]) == ("Ann", "what it did")
        assert step["created"] == config["created"] > "2025"
        # The container goes on; what is made of the image has what it had.
        again = client.containers.create_bundle(name, container_id="again")
        assert crun(again.bundle_path, "again") == "s\n"
        client.containers.remove("again")
        expected = tree(Path(bundle) / "rootfs")
        compare_with_umoci(name, tmp_path, expected, zstd=compression == "zstd")
        client.containers.remove("web")


def compare_with_umoci(
    source: str, tmp_path: Path, expected: dict[str, Any], *, zstd: bool
) -> None:
    layout, bundle = f"oci:{tmp_path / 'layout'}:out", tmp_path / "umoci"
    copy = ("copy", "--quiet", "--src-tls-verify=false", f"docker://{source}")
    if zstd:
        # umoci reads no zstd.
        unpacked = f"dir:{tmp_path / 'plain'}"
        run("skopeo", *copy, "--dest-decompress", unpacked)
        run("skopeo", "copy", "--quiet", unpacked, layout)
    else:
        run("skopeo", *copy, layout)
    rootless = [] if ROOT else ["--rootless"]
    run("umoci", "unpack", *rootless, "--image", layout.removeprefix("oci:"), bundle)
    found = tree(bundle / "rootfs")
    for facts in (*found.values(), *expected.values()):
        for key in [*facts["xattrs"]]:
            if key.startswith(("trusted.overlay.", "user.rootlesscontainers")):
                del facts["xattrs"][key]
    assert found.keys() == expected.keys()
    different = {path for path in found if found[path] != expected[path]}
    assert different == set(), [(found[one], expected[one]) for one in different]


def test_the_same_changes_make_the_same_image(daemon: Daemon, registry: HostileRegistry) -> None:
    with Client(daemon.address) as client:
        made = []
        for name in ("one", "other"):
            ran(client, registry, name)
            environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
            done = daemon.imgctl("commit", name, f"h.io/{name}:1", env=environment)
            assert done.returncode == 0, done
            made.append(done.stdout)
        assert made[0] == made[1]
        image = client.images.get("h.io/one:1")
        assert image.tags == ["h.io/one:1", "h.io/other:1"]
        assert image.create_time.seconds == EPOCH
        files = [*client.files.list("h.io/one:1", recursive=True)]
        assert max(one.modify_time.seconds for one in files) == EPOCH
        done = daemon.imgctl("commit", "one", env={**os.environ, "SOURCE_DATE_EPOCH": "soon"})
        assert done.returncode == 125, done
        assert "SOURCE_DATE_EPOCH" in done.stderr


def test_names_states_and_refusals(daemon: Daemon, registry: HostileRegistry) -> None:
    app = f"{registry.host}/app:1"
    with Client(daemon.address) as client:
        ran(client, registry, "web")
        client.containers.start("web")
        with pytest.raises(FailedPrecondition) as caught:
            client.containers.commit("web", "h.io/made:1")
        assert caught.value.reason == "CONTAINER_STATE"
        assert "running" in caught.value.message
        client.containers.commit("web", "h.io/made:1", allow_running=True)
        for words, code in (([], 1), (["-p"], 1), (["--pause=false"], 0), (["--no-pause"], 0)):
            assert daemon.imgctl("commit", *words, "web", "h.io/made:1").returncode == code, words
        first = client.images.get("h.io/made:1")
        client.containers.pause("web")
        # Of the same changes, at another time: the name moves, and the former dangles.
        second = client.containers.commit("web", "h.io/made:1", request_id="twice")
        assert client.containers.commit("web", "h.io/made:1", request_id="twice") == second
        assert second.tags == ["h.io/made:1"]
        assert client.images.get(first.name).dangling
        client.containers.unpause("web")
        client.containers.stop("web")
        third = client.containers.commit("web", create_time=datetime(2020, 1, 2, tzinfo=UTC))
        assert (third.dangling, third.tags[:]) == (True, [])
        assert client.images.get("h.io/made:1").name == second.name
        # A hard link takes no room.
        assert third.size == client.images.get(app).size + len("1\nmore\ns\n")
        # What they stand on stays as long as they do: they have its layers.
        client.containers.remove("web")
        client.images.remove(app)
        client.system.collect()
        again = client.containers.create_bundle("h.io/made:1", container_id="again")
        assert crun(again.bundle_path, "again") == "1\n"

        client.containers.create("h.io/made:1", container_id="bare")
        for name, reason in (("bare", "CONTAINER_STATE"), ("nobody", "CONTAINER_NOT_FOUND")):
            with pytest.raises((FailedPrecondition, NotFound)) as refused:
                client.containers.commit(name)
            assert refused.value.reason == reason
        with pytest.raises(InvalidArgument) as wrong:
            client.containers.commit("again", changes=["USER me", "RUN make"])
        assert wrong.value.field_violations[0].field == "changes.instructions[1]"
        assert "RUN" in wrong.value.message
        with pytest.raises(ImgdError) as named:
            client.containers.commit("again", "sha256:abc")
        assert named.value.reason == "REFERENCE_INVALID"
        (Path(again.bundle_path) / "rootfs" / ".wh.x").touch()
        with pytest.raises(ImgdError) as caught_name:
            client.containers.commit("again", "h.io/no:1")
        assert caught_name.value.reason == "UNSUPPORTED"
        with tarfile.open(fileobj=io.BytesIO(b"".join(client.archives.export("again")))) as files:
            assert ".wh.x" in files.getnames()
        done = daemon.imgctl("commit", "again", "h.io/no:1")
        assert (done.returncode, done.stdout) == (1, "")
        with pytest.raises(NotFound):
            client.images.get("h.io/no:1")
        client.containers.remove("again")


def test_what_only_the_config_changes(daemon: Daemon, registry: HostileRegistry) -> None:
    """No layer is added, as in Docker."""
    with Client(daemon.address) as client:
        app = f"{registry.host}/app:1"
        client.containers.create_bundle(app, container_id="idle")
        client.containers.commit("idle", "h.io/user:1", changes=["USER me"])
        image = client.images.inspect("h.io/user:1")
        assert image.layers == client.images.inspect(app).layers
        assert image.config.user == "me"
        (*_, step) = client.images.history("h.io/user:1")
        assert step.empty_layer
        with client.events(since=datetime.fromtimestamp(0, UTC), until=datetime.now(UTC)) as events:
            told = [(one.action, one.subject.partition("/")[0]) for one in events]
        assert ("commit", "containers") in told
        assert told.index(("create", "images")) < told.index(("tag", "images"))
        client.containers.remove("idle")
