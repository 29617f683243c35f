"""The registry inside as oras and podman meet it: artifacts, what refers to images, and images."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from imgd.v1 import image_pb2
from imgd_client import Client
from tests.certificates import Authority
from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.fake_images import FakeImage, digest_of, make_image, make_index, make_layer
from tests.peers import require
from tests.pulling import noise
from tests.real_images import RealImages, raw_manifest, run
from tests.registries import docker_registry, push_image

SBOM = b'{"bomFormat": "CycloneDX"}'
SBOM_TYPE, SIGNATURE_TYPE = "application/vnd.cyclonedx+json", "application/vnd.test.signature"
IMAGE = make_image([make_layer({"a": b"a"}), make_layer({"b": noise(300_000)})])
ARM = make_image([make_layer({"a": b"arm"})], architecture="arm64")
INDEX = make_index(
    [
        (IMAGE, {"os": "linux", "architecture": "amd64"}),
        (ARM, {"os": "linux", "architecture": "arm64"}),
    ]
)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "state", "--registry-listen", "127.0.0.1:0") as daemon:
        yield daemon
        assert [one for one in daemon.log if one.get("level") in ("warning", "error")] == []


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as client:
        yield client


def oras(*words: str, folder: Path | None = None) -> str:
    """Runs oras, with files named from `folder`; returns what it prints."""
    ended = subprocess.run(
        [str(require("oras")), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def attach(subject: str, kind: str, folder: Path, data: bytes) -> str:
    """Attaches a document to an image; returns the digest of what refers to it."""
    (folder / "document").write_bytes(data)
    words = ("attach", "--plain-http", "--format", "json", "--artifact-type", kind, subject)
    found: dict[str, Any] = json.loads(oras(*words, "document:text/plain", folder=folder))
    return str(found["digest"])


def discover(subject: str) -> dict[str, Any]:
    """What refers to an image, and to that: digests, each with what refers to it."""
    words = ("discover", "--plain-http", "--format", "json", "--depth", "3", subject)
    return _tree(json.loads(oras(*words)))


def _tree(found: dict[str, Any]) -> dict[str, Any]:
    return {one["digest"]: _tree(one) for one in found.get("referrers") or []}


def whole(image: FakeImage, name: str, folder: Path) -> None:
    """Lets oras copy an image into a layout, and compares every byte."""
    oras("cp", "--from-plain-http", "--to-oci-layout", name, f"{folder}:it")
    expected = {**image.blobs, **{key: raw for key, (_, raw) in image.manifests.items()}}
    found = {f"sha256:{one.name}": one.read_bytes() for one in folder.glob("blobs/sha256/*")}
    assert found == expected


def test_an_artifact_of_oras_comes_back_and_is_one_of_the_store(
    daemon: Daemon, client: Client, tmp_path: Path
) -> None:
    name = f"{daemon.registry}/team/bom:1"
    (tmp_path / "bom.json").write_bytes(SBOM)
    words = ("push", "--plain-http", "--artifact-type", SBOM_TYPE, "--annotation", "a=b")
    oras(*words, name, "bom.json:application/json", folder=tmp_path)
    oras("pull", "--plain-http", "--output", str(tmp_path / "back"), name)
    assert (tmp_path / "back/bom.json").read_bytes() == SBOM
    raw = raw_manifest(name)
    assert oras("manifest", "fetch", "--plain-http", name).encode() == raw
    (image,) = client.images.list()
    assert (image.kind, image.artifact_type) == (image_pb2.IMAGE_KIND_ARTIFACT, SBOM_TYPE)
    assert image.target.digest == digest_of(raw)
    assert daemon.imgctl("manifest", name).stdout.encode() == raw
    # Tagged anew, listed, and deleted by its digest.
    oras("tag", "--plain-http", name, "2", "latest")
    assert oras("repo", "tags", "--plain-http", f"{daemon.registry}/team/bom").split() == [
        "1",
        "2",
        "latest",
    ]
    assert oras("repo", "ls", "--plain-http", daemon.registry).split() == ["team/bom"]
    whole_name = f"{daemon.registry}/team/bom@{digest_of(raw)}"
    oras("manifest", "delete", "--plain-http", "--force", whole_name)
    assert oras("repo", "tags", "--plain-http", f"{daemon.registry}/team/bom").split() == []
    (image,) = client.images.list()
    assert image.dangling


def test_what_is_attached_is_discovered_by_all(daemon: Daemon, tmp_path: Path) -> None:
    name = f"{daemon.registry}/team/app:1"
    push_image(daemon.registry, "team/app", INDEX, "1")
    assert discover(name) == {}
    bom = attach(name, SBOM_TYPE, tmp_path, SBOM)
    signature = attach(f"{daemon.registry}/team/app@{bom}", SIGNATURE_TYPE, tmp_path, b"signed")
    other = attach(name, SIGNATURE_TYPE, tmp_path, b"signed, too")
    assert discover(name) == {bom: {signature: {}}, other: {}}
    shown = daemon.imgctl("referrers", "--format", "{{.Digest}} {{.ArtifactType}}", name).stdout
    assert sorted(shown.splitlines()) == sorted([f"{bom} {SBOM_TYPE}", f"{other} {SIGNATURE_TYPE}"])
    chosen = daemon.imgctl("referrers", "-q", "--artifact-type", SBOM_TYPE, name).stdout
    assert chosen.split() == [bom]
    # What refers to nothing any more is not listed.
    one = f"{daemon.registry}/team/app@{other}"
    oras("manifest", "delete", "--plain-http", "--force", one)
    assert discover(name) == {bom: {signature: {}}}


@pytest.mark.parametrize("way", ["from ours", "to ours"])
def test_oras_copies_an_image_with_all_that_refers_to_it(
    daemon: Daemon, tmp_path: Path, way: str
) -> None:
    """docker-registry has no referrers' API: there the tag scheme tells."""
    with docker_registry(tmp_path / "peer") as peer:
        here, there = f"{daemon.registry}/team/app:1", f"{peer}/team/app:1"
        source, target = (here, there) if way == "from ours" else (there, here)
        push_image(source.partition("/")[0], "team/app", INDEX, "1")
        bom = attach(source, SBOM_TYPE, tmp_path, SBOM)
        name = f"{source.removesuffix(':1')}@{bom}"
        signature = attach(name, SIGNATURE_TYPE, tmp_path, b"signed")
        oras("cp", "-r", "--from-plain-http", "--to-plain-http", source, target)
        assert discover(target) == {bom: {signature: {}}}
        whole(INDEX, target, tmp_path / "layout")


@pytest.mark.parametrize("lists", [True, False], ids=["another daemon", "docker-registry"])
def test_imgd_copies_what_oras_attached(daemon: Daemon, tmp_path: Path, lists: bool) -> None:
    source = f"{daemon.registry}/team/app:1"
    push_image(daemon.registry, "team/app", INDEX, "1")
    bom = attach(source, SBOM_TYPE, tmp_path, SBOM)
    signature = attach(f"{daemon.registry}/team/app@{bom}", SIGNATURE_TYPE, tmp_path, b"signed")
    other = (
        run_daemon(tmp_path / "other", "--registry-listen", "127.0.0.1:0")
        if lists
        else docker_registry(tmp_path / "peer")
    )
    with other as peer:
        host = peer.registry if isinstance(peer, Daemon) else peer
        target = f"{host}/copied/app:2"
        done = daemon.imgctl("copy", "--referrers", source, target)
        assert done.returncode == 0, done.stderr
        assert discover(target) == {bom: {signature: {}}}
        whole(INDEX, target, tmp_path / "layout")
        assert daemon.imgctl("referrers", "-q", target).stdout.split() == [bom]


# --- podman


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


def test_podman_pulls_what_it_pushed_and_what_imgd_has(
    daemon: Daemon, client: Client, podman: Any, real_images: RealImages, tmp_path: Path
) -> None:
    name = f"{daemon.registry}/team/app:1"
    real_images.push("app", name)
    podman("pull", "--quiet", "--tls-verify=false", name)
    raw = raw_manifest(name)
    config = json.loads(raw)["config"]["digest"]
    assert podman("image", "inspect", "--format", "{{.ID}}", name) == config.partition(":")[2]
    # Built upon, it is an image with the base's layers and one more.
    more = f"{daemon.registry}/team/more:1"
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {name}\nLABEL more=1\nCOPY Dockerfile /Dockerfile\n")
    podman("build", "--quiet", "--tag", more, "--file", dockerfile, tmp_path)
    podman("push", "--quiet", "--tls-verify=false", more)
    image = client.images.get(more, view=image_pb2.IMAGE_VIEW_FULL)
    assert image.complete
    assert image.labels["more"] == "1"
    base, built = (client.images.inspect(one).diff_ids for one in (name, more))
    assert built[:-1] == base
    # And whole, for podman too, that has nothing of it any more.
    podman("rmi", "--all", "--force")
    podman("pull", "--quiet", "--tls-verify=false", more)
    listed = podman("search", "--tls-verify=false", "--list-tags", more.removesuffix(":1"))
    assert listed.split() == ["NAME", "TAG", more.removesuffix(":1"), "1"]


@pytest.mark.parametrize("anonymous", [False, True], ids=["closed", "anonymous"])
def test_a_login_of_podman_is_one_of_oras(
    podman: Any, real_images: RealImages, tmp_path: Path, anonymous: bool
) -> None:
    """Over TLS; who has not logged in reads where everybody may, and writes nowhere."""
    authority, certificates = Authority(tmp_path / "ca"), tmp_path / "certificates"
    issued = authority.issue("127.0.0.1")
    certificates.mkdir()
    trusted = Path(shutil.copy(authority.bundle, certificates / "ca.crt"))
    hashed = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"alice:{hashed}\n")
    logins = tmp_path / "auth.json"
    flags = ["--registry-listen", "127.0.0.1:0", "--registry-tls-certificate", str(issued.chain),
             "--registry-tls-key", str(issued.key), "--registry-htpasswd",
             str(tmp_path / "htpasswd")]  # fmt: skip
    flags += ["--registry-anonymous-read"] if anonymous else []
    with run_daemon(tmp_path / "state", *flags) as daemon:
        name = f"{daemon.registry}/team/app:1"
        where = ("--cert-dir", certificates, "--authfile", logins)
        layout = f"oci:{real_images.folder / 'app'}:app"
        podman("pull", "--quiet", layout)
        podman("tag", podman("images", "--quiet"), name)
        logins.write_text("{}")
        with pytest.raises(RuntimeError, match=r"(?i)unauthorized|authentication required"):
            podman("push", *where, name)
        with pytest.raises(RuntimeError, match="invalid username/password"):
            podman("login", *where, "--username=alice", "--password=close", daemon.registry)
        podman("login", *where, "--username=alice", "--password=open sesame", daemon.registry)
        podman("push", "--quiet", *where, name)
        oras_where = ("--ca-file", str(trusted), "--registry-config", str(logins))
        (tmp_path / "bom").write_bytes(SBOM)
        oras("attach", *oras_where, "--artifact-type", SBOM_TYPE, name, "bom:text/plain",
             folder=tmp_path)  # fmt: skip
        look = ("discover", *oras_where, "--format", "json", name)
        assert len(json.loads(oras(*look))["referrers"]) == 1
        podman("logout", "--authfile", logins, daemon.registry)
        podman("rmi", "--all", "--force")
        if anonymous:
            assert len(json.loads(oras(*look))["referrers"]) == 1
            podman("pull", "--quiet", *where, name)
        else:
            with pytest.raises(AssertionError, match=r"(?i)unauthorized|basic credential"):
                oras(*look)
            with pytest.raises(RuntimeError, match=r"(?i)unauthorized|authentication required"):
                podman("pull", "--quiet", *where, name)
        assert "sesame" not in str(daemon.log)
