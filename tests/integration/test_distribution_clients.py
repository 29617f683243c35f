"""The registry inside as other people's clients meet it: skopeo, crane, and imgd itself."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgd.v1 import image_pb2
from imgd_client import Client
from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.fake_images import digest_of
from tests.peers import require
from tests.real_images import RealImages, raw_manifest, run
from tests.registries import docker_registry

KINDS = ("app", "multi", "zstd", "plain", "schema2", "schema2-list", "artifact")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "state", "--registry-listen", "127.0.0.1:0") as daemon:
        yield daemon
        assert [one for one in daemon.log if one.get("level") in ("warning", "error")] == []


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as client:
        yield client


def crane(*words: str) -> str:
    return run("crane", *words).decode().strip()


def validate(name: str, platform: str = "all") -> str:
    """Crane downloads and unpacks every layer, and compares digests, sizes and diff IDs."""
    return crane(f"--platform={platform}", "validate", f"--remote={name}")


def refused(program: str, *words: str) -> str:
    """Runs a client that is to fail; returns what it says."""
    ended = subprocess.run(
        [str(require(program)), *words], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode != 0
    return ended.stderr


def blobs_of(folder: Path) -> dict[str, bytes]:
    """The blobs of an OCI layout, by digest."""
    return {
        f"{path.parent.name}:{path.name}": path.read_bytes()
        for path in (folder / "blobs").glob("*/*")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_skopeo_pushes_is_an_image_and_comes_back(
    daemon: Daemon, client: Client, real_images: RealImages, tmp_path: Path, kind: str
) -> None:
    name = f"{daemon.registry}/team/{kind}"
    real_images.push(kind, f"{name}:1")
    raw = raw_manifest(f"{name}:1")
    digest = digest_of(raw)
    assert crane("digest", f"{name}:1") == digest
    assert raw_manifest(f"{name}@{digest}") == raw

    (image,) = client.images.list()
    assert list(image.tags) == [f"{name}:1"]
    assert list(image.repo_digests) == [f"{name}@{digest}"]
    assert image.target.digest == digest
    assert image.complete
    artifact = image_pb2.IMAGE_KIND_ARTIFACT
    assert (image.kind == artifact) is (kind == "artifact")

    # Into a layout, as it is: the same blobs as those that were pushed, and as the store holds.
    back = tmp_path / "back"
    form = ["--format", "v2s2"] if kind.startswith("schema2") else ["--preserve-digests"]
    target = f"dir:{back}" if kind.startswith("schema2") else f"oci:{back}:1"
    source = f"docker://{name}:1"
    copy = ("copy", "--quiet", "--all", *form, "--src-tls-verify=false", source, target)
    run("skopeo", *copy)
    if kind.startswith("schema2"):
        assert (back / "manifest.json").read_bytes() == raw
    else:
        pulled = blobs_of(back)
        assert pulled[digest] == raw
        assert pulled == blobs_of(daemon.root / "content")
        pushed = blobs_of(real_images.folder / kind)
        assert {key: pushed.get(key) for key in pulled} == pulled


@pytest.mark.parametrize("kind", ["app", "schema2"])
def test_crane_finds_an_image_well_formed(
    daemon: Daemon, real_images: RealImages, kind: str
) -> None:
    real_images.push(kind, f"{daemon.registry}/app:1")
    assert "PASS" in validate(f"{daemon.registry}/app:1")


def test_crane_copies_between_repositories_by_mounting(
    daemon: Daemon, client: Client, real_images: RealImages
) -> None:
    real_images.push("multi", f"{daemon.registry}/one:1")
    command = [str(require("crane")), "-v", "copy"]
    names = [f"{daemon.registry}/one:1", f"{daemon.registry}/team/two:2"]
    ended = subprocess.run(
        [*command, *names], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    said = ended.stderr
    assert "&mount=sha256" in said or "?mount=sha256" in said
    assert "PATCH http" not in said
    assert raw_manifest(names[0]) == raw_manifest(names[1])
    (image,) = client.images.list()
    assert sorted(image.tags) == names
    assert "PASS" in validate(names[1], "linux/amd64")


def test_tags_and_repositories_are_listed(daemon: Daemon, real_images: RealImages) -> None:
    real_images.push("artifact", f"{daemon.registry}/a:1")
    real_images.push("artifact", f"{daemon.registry}/team/b:1")
    wanted = sorted(["1", *(f"v{number}" for number in range(25))])
    for tag in wanted[1:]:
        crane("tag", f"{daemon.registry}/a:1", tag)
    assert crane("ls", f"{daemon.registry}/a").splitlines() == wanted
    listed = run("skopeo", "list-tags", "--tls-verify=false", f"docker://{daemon.registry}/a")
    assert json.loads(listed)["Tags"] == wanted
    assert crane("catalog", daemon.registry).splitlines() == ["a", "team/b"]
    assert "NAME_UNKNOWN" in refused("crane", "ls", f"{daemon.registry}/none")


def test_what_crane_deletes_is_gone_and_dangles(
    daemon: Daemon, client: Client, real_images: RealImages
) -> None:
    name = f"{daemon.registry}/app"
    real_images.push("app", f"{name}:1")
    crane("tag", f"{name}:1", "2")
    digest = crane("digest", f"{name}:1")
    crane("delete", f"{name}:1")
    assert "MANIFEST_UNKNOWN" in refused("crane", "manifest", f"{name}:1")
    assert crane("digest", f"{name}:2") == digest
    # skopeo deletes by the tag's digest.
    run("skopeo", "delete", "--tls-verify=false", f"docker://{name}:2")
    for reference in (f"{name}:2", f"{name}@{digest}"):
        assert "MANIFEST_UNKNOWN" in refused("crane", "manifest", reference)
    (image,) = client.images.list()
    assert image.dangling
    assert image.target.digest == digest
    # Its content is the store's still, until somebody prunes it.
    assert digest in blobs_of(daemon.root / "content")


def test_imgd_pulls_from_its_own_registry_and_another_daemon_does(
    daemon: Daemon, client: Client, real_images: RealImages, tmp_path: Path
) -> None:
    name = f"{daemon.registry}/app:1"
    real_images.push("app", name)
    with client.pull(name) as pull:
        own = pull.result().outcome
    assert own.fetched_bytes == 0
    with run_daemon(tmp_path / "other") as other, Client(other.address) as far:
        with far.pull(name) as pull:
            outcome = pull.result().outcome
        assert outcome.target.digest == own.target.digest == crane("digest", name)
        (here,), (there,) = client.images.list(), far.images.list()
        assert outcome.fetched_bytes == there.content_size == here.content_size
        assert blobs_of(other.root / "content") == blobs_of(daemon.root / "content")


def test_what_imgd_pulled_is_served_under_its_full_domain(
    daemon: Daemon, client: Client, real_images: RealImages, tmp_path: Path
) -> None:
    with docker_registry(tmp_path / "upstream") as upstream:
        real_images.push("multi", f"{upstream}/team/multi:1")
        raw = raw_manifest(f"{upstream}/team/multi:1")
        tags = ["docker.io/library/multi:1", "other.example/team/multi:2"]
        with client.pull(f"{upstream}/team/multi:1", tags=tags, platforms=["linux/amd64"]) as pull:
            pull.result()
    for path in ("docker.io/library/multi:1", "other.example/team/multi:2"):
        name = f"{daemon.registry}/{path}"
        assert raw_manifest(name) == raw
        # The one that was pulled is here, whole; the other was not.
        assert "PASS" in validate(name, "linux/amd64")
        absent = refused("crane", "--platform=linux/arm64", "validate", f"--remote={name}")
        assert "MANIFEST_UNKNOWN" in absent
    # No client's grammar has a port within a path; HTTP has.
    host, _, port = daemon.registry.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    digest = digest_of(raw)
    connection.request("GET", f"/v2/{upstream}/team/multi/manifests/{digest}")
    assert connection.getresponse().read() == raw
    connection.close()
    catalog = crane("catalog", daemon.registry).splitlines()
    assert catalog == ["docker.io/library/multi", "other.example/team/multi"]


def test_a_read_only_registry_refuses_a_push(real_images: RealImages, tmp_path: Path) -> None:
    flags = ["--registry-listen", "127.0.0.1:0"]
    with run_daemon(tmp_path / "state", *flags, "--registry-host", "registry.test") as daemon:
        real_images.push("app", f"{daemon.registry}/app:1")
        raw = raw_manifest(f"{daemon.registry}/app:1")
    flags += ["--registry-host", "registry.test", "--registry-read-only"]
    with run_daemon(tmp_path / "state", *flags) as daemon:
        assert raw_manifest(f"{daemon.registry}/app:1") == raw
        said = refused("crane", "tag", f"{daemon.registry}/app:1", "2")
        assert "read-only" in said
        assert "read-only" in refused("crane", "delete", f"{daemon.registry}/app:1")


def test_a_large_layer_arrives_whole(daemon: Daemon, tmp_path: Path) -> None:
    """More than any buffer on the way holds, and not compressible."""
    data = b"".join(hashlib.sha512(bytes([n % 256, n // 256])).digest() * 512 for n in range(2000))
    (tmp_path / "layer.tar").write_bytes(data)
    name = f"{daemon.registry}/large:1"
    crane("append", "--new_tag", name, "--new_layer", str(tmp_path / "layer.tar"))
    manifest = json.loads(crane("manifest", name))
    (layer,) = manifest["layers"]
    served = run("crane", "blob", f"{daemon.registry}/large@{layer['digest']}")
    assert digest_of(served) == layer["digest"]
    assert len(served) == layer["size"]
