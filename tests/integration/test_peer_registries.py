"""All that imgctl does with registries, done with other people's: docker-registry, crane's, and
another daemon's registry inside. Images are made, and what arrives is read, by other people too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgd.v1 import transfer_pb2
from imgd_client import Client, NotFound, TransferFailed
from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.fake_images import digest_of
from tests.peers import require
from tests.real_images import RealImages, raw_config, raw_manifest, run
from tests.registries import crane_registry, docker_registry

KINDS = ("app", "multi", "zstd", "plain", "schema2", "schema2-list", "artifact")
UP_TO_DATE = transfer_pb2.PULL_RESULT_UP_TO_DATE
PEERS = ("docker-registry", "crane", "imgd")


@contextmanager
def peer(kind: str, folder: Path) -> Iterator[str]:
    """A registry of a kind; yields its address."""
    if kind == "imgd":
        with run_daemon(folder / "peer", "--registry-listen", "127.0.0.1:0") as other:
            yield other.registry
    elif kind == "docker-registry":
        with docker_registry(folder / "peer") as address:
            yield address
    else:
        with crane_registry() as address:
            yield address


@pytest.fixture(scope="module", params=PEERS)
def registry(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    real_images: RealImages,
) -> Iterator[str]:
    """A registry with all KINDS of images, as `library/KIND:1`."""
    with peer(request.param, tmp_path_factory.mktemp("peer")) as address:
        for kind in KINDS:
            real_images.push(kind, f"{address}/library/{kind}:1")
        yield address


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The one whose client is tried; each test has names of its own."""
    root = tmp_path_factory.mktemp("daemon") / "state"
    with run_daemon(root, "--registry-listen", "127.0.0.1:0") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as client:
        yield client


def copy(source: str, target: str) -> None:
    """Lets skopeo copy an image as it is."""
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    run("skopeo", "copy", "--quiet", "--all", "--preserve-digests", *plain,
        f"docker://{source}", f"docker://{target}")  # fmt: skip


def said(daemon: Daemon, *words: str) -> str:
    """What imgctl prints; it must succeed."""
    done = daemon.imgctl(*words)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_pulled_pushed_and_copied_with_its_digest(
    daemon: Daemon, client: Client, registry: str, kind: str
) -> None:
    name = f"{registry}/library/{kind}:1"
    raw = raw_manifest(name)
    digest = digest_of(raw)
    assert client.registry.resolve(name).target.digest == digest
    assert client.registry.manifest(name).raw == raw
    if kind != "artifact":
        found = client.registry.manifest(name, platform="linux/amd64", include_config=True)
        assert found.config == raw_config(name, "linux/amd64")
    pulled = client.pull(name, all_platforms=True).result().outcome
    assert pulled.target.digest == digest
    assert pulled.fetched_bytes + pulled.reused_bytes == client.images.get(name).content_size
    # Up to date: nothing comes.
    again = client.pull(name, all_platforms=True).result().outcome
    assert (again.pull_result, again.fetched_bytes) == (UP_TO_DATE, 0)
    pushed, copied = f"{registry}/pushed/{kind}:2", f"{registry}/copied/{kind}:3"
    inside = f"{daemon.registry}/copied/{kind}:4"
    client.transfers.push(name, pushed, all_platforms=True).result()
    for source, target in ((name, copied), (copied, inside)):
        client.transfers.copy(source, target, all_platforms=True).result()
    for one in (pushed, copied, inside):
        assert raw_manifest(one) == raw
        if kind in ("app", "schema2"):
            # Crane downloads and unpacks every layer: digests, sizes and diff IDs.
            assert b"PASS" in run("crane", "validate", f"--remote={one}")


def test_tags_and_repositories_are_listed(daemon: Daemon, client: Client, registry: str) -> None:
    name = f"{registry}/tags/app"
    copy(f"{registry}/library/artifact:1", f"{name}:1.0")
    wanted = sorted(["1.0", "latest", *(f"v1.{number}" for number in range(12))])
    for tag in wanted[1:]:
        run("crane", "tag", f"{name}:1.0", tag)
    assert said(daemon, "tags", name).split() == wanted
    fitting = [one for one in wanted if one.startswith("v1.1")]
    assert list(client.registry.tags(name, pattern="v1.1*")) == fitting
    # Page by page, with what each registry has of pages.
    assert list(client.registry.tags(name, page_size=5)) == wanted
    found = list(client.registry.repositories(registry, page_size=3))
    assert {f"library/{kind}" for kind in KINDS} | {"tags/app"} <= set(found)
    assert found == sorted(set(found))
    # All of them at once.
    said(daemon, "copy", "--quiet", "--all-tags", name, f"{registry}/tags/copied")
    assert list(client.registry.tags(f"{registry}/tags/copied")) == wanted


def test_what_oras_attached_is_found_and_copied_along(
    daemon: Daemon, registry: str, tmp_path: Path
) -> None:
    """With the referrers' API, and where there is none, by the tag scheme."""
    source = f"{registry}/attached/app:1"
    copy(f"{registry}/library/app:1", source)
    (tmp_path / "note").write_text("a note")
    attached = [attach(tmp_path, f"application/vnd.test.{kind}", source) for kind in ("a", "b")]
    assert sorted(said(daemon, "referrers", "-q", source).split()) == sorted(attached)
    chosen = ("referrers", "-q", "--artifact-type", "application/vnd.test.a", source)
    assert said(daemon, *chosen).split() == attached[:1]
    # To the registry inside, and from there back to another repository.
    own = registry.rpartition(":")[2]
    inside, back = f"{daemon.registry}/attached/from-{own}:1", f"{registry}/back/app:1"
    said(daemon, "copy", "--quiet", "--referrers", source, inside)
    said(daemon, "copy", "--quiet", "--referrers", inside, back)
    for one in (inside, back):
        assert raw_manifest(one) == raw_manifest(source)
        found = json.loads(run("oras", "discover", "--plain-http", "--format", "json", one))
        assert sorted(entry["digest"] for entry in found["referrers"]) == sorted(attached)


def attach(folder: Path, kind: str, subject: str) -> str:
    """Lets oras attach a note to an image; returns the digest of what refers to it."""
    command = [str(require("oras")), "attach", "--plain-http", "--format", "json"]
    ended = subprocess.run(
        [*command, "--artifact-type", kind, subject, "note:text/plain"],
        cwd=folder,
        capture_output=True,
        check=True,
        timeout=PATIENCE,
    )
    return str(json.loads(ended.stdout)["digest"])


def test_what_is_deleted_there_is_told_and_stays_here(client: Client, registry: str) -> None:
    name = f"{registry}/gone/app"
    copy(f"{registry}/library/app:1", f"{name}:1")
    digest = client.pull(f"{name}:1").result().outcome.target.digest
    run("crane", "delete", f"{name}@{digest}")
    with pytest.raises(TransferFailed) as caught:
        client.pull(f"{name}@{digest}").result()
    assert caught.value.reason == "REMOTE_NOT_FOUND"
    with pytest.raises(NotFound):
        client.registry.manifest(f"{name}@{digest}")
    assert client.images.get(f"{name}:1").target.digest == digest
