"""The main job from end to end: real images in a real registry, pulled through a real daemon.

What is right is what skopeo says of the same image.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from imgd.v1 import (
    content_service_pb2,
    content_service_pb2_grpc,
    errors_pb2,
    image_pb2,
    transfer_pb2,
)
from imgd_client import AsyncClient, Client, ProgressState, TransferFailed
from tests.daemon import BIN, PATIENCE, Daemon, run_daemon
from tests.fake_images import digest_of
from tests.gate import Gate, gate
from tests.real_images import ARTIFACT_TYPE, Expected, RealImages, expect, raw_config, run
from tests.registries import docker_registry

KINDS = ("app", "multi", "zstd", "plain", "schema2", "schema2-list", "artifact")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, real_images: RealImages) -> Iterator[str]:
    """A docker-registry that has all KINDS of images, as `library/KIND:1`; its address."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        for kind in KINDS:
            real_images.push(kind, f"{address}/library/{kind}:1")
        yield address


@pytest.fixture
def front(registry: str) -> Iterator[Gate]:
    """A front before that registry."""
    with gate(registry) as front:
        yield front


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "state") as daemon:
        yield daemon


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as client:
        yield client


def stored_blobs(daemon: Daemon) -> dict[str, int]:
    """What the store's `blobs/` folder holds; each file must be what its name says."""
    found = {}
    for path in (daemon.root / "content/blobs").glob("*/*"):
        data = path.read_bytes()
        assert hashlib.new(path.parent.name, data).hexdigest() == path.name
        found[f"{path.parent.name}:{path.name}"] = len(data)
    return found


def read_blob(client: Client, digest: str) -> bytes:
    stub = content_service_pb2_grpc.ContentServiceStub(client.channel)
    request = content_service_pb2.ReadBlobRequest(digest=digest)
    return b"".join(part.data for part in stub.ReadBlob(request))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        pytest.param("app", {}, id="single"),
        pytest.param("multi", {}, id="index"),
        pytest.param("multi", {"platforms": ["linux/arm64"]}, id="one-platform"),
        pytest.param("multi", {"platforms": ["linux/amd64", "linux/arm64/v8"]}, id="two-platforms"),
        pytest.param("buildah", {"platforms": ["linux/arm64"]}, id="buildah"),
        pytest.param("multi", {"all_platforms": True}, id="all-platforms"),
        pytest.param("zstd", {}, id="zstd"),
        pytest.param("plain", {}, id="not-compressed"),
        pytest.param("schema2", {}, id="schema2"),
        pytest.param("schema2-list", {"platforms": ["linux/arm64/v8"]}, id="schema2-list"),
        pytest.param("artifact", {}, id="artifact"),
    ],
)
def test_what_is_pulled_is_what_skopeo_sees(
    daemon: Daemon,
    client: Client,
    registry: str,
    real_images: RealImages,
    kind: str,
    options: Any,
) -> None:
    reference = f"{registry}/library/{kind}:1"
    if kind not in KINDS:
        real_images.push(kind, reference)
    expected = expect(reference, options.get("platforms", ()), "all_platforms" in options)
    outcome = client.pull(reference, **options).result().outcome

    assert outcome.pull_result == transfer_pb2.PULL_RESULT_DOWNLOADED
    assert outcome.target.digest == expected.digest
    assert outcome.target.size == len(expected.raw)
    assert outcome.target.media_type == expected.media_type
    assert outcome.references == [reference]
    assert not outcome.warnings
    assert (outcome.fetched_bytes, outcome.reused_bytes) == (expected.size, 0)
    assert stored_blobs(daemon) == expected.blobs
    assert read_blob(client, expected.digest) == expected.raw

    (image,) = client.images.list(view=image_pb2.IMAGE_VIEW_FULL)
    assert image == client.images.get(reference, view=image_pb2.IMAGE_VIEW_FULL)
    assert (image.name, image.image_id) == (outcome.image, outcome.image_id)
    assert image.target == outcome.target
    assert image.tags == [reference]
    assert image.repo_digests == [f"{registry}/library/{kind}@{expected.digest}"]
    assert not image.digest_references
    assert not image.dangling
    assert image.content_size == expected.size
    partial = len(expected.manifests) < len(expected.children)
    assert image.complete is not partial
    _check_platforms(image, expected)
    if kind == "artifact":
        assert image.image_id == expected.digest
        assert image.kind == image_pb2.IMAGE_KIND_ARTIFACT
        assert image.artifact_type == ARTIFACT_TYPE
        assert not image.HasField("create_time")
    else:
        default = (options.get("platforms") or [""])[0]
        _check_config(client, reference, image, raw_config(reference, default), expected)


def _check_platforms(image: image_pb2.Image, expected: Expected) -> None:
    if not expected.children:
        return
    assert [one.manifest.digest for one in image.platforms] == expected.children
    for one in image.platforms:
        assert one.complete is (one.manifest.digest in expected.blobs)
    ids = {one.image_id for one in image.platforms if one.image_id}
    assert ids == {manifest["config"]["digest"] for manifest in expected.manifests}


def _check_config(
    client: Client, reference: str, image: image_pb2.Image, raw: bytes, expected: Expected
) -> None:
    """The image's config, manifest and layers are those of the platform served by default."""
    config = json.loads(raw)
    assert image.image_id == digest_of(raw)
    assert image.kind == image_pb2.IMAGE_KIND_IMAGE
    assert image.labels == config["config"]["Labels"]
    # Ours has microseconds, as protobuf's JSON writes them.
    assert image.create_time.ToDatetime().isoformat()[:19] == config["created"][:19]
    seen = client.images.inspect(reference)
    assert (seen.platform.os, seen.platform.architecture) == (config["os"], config["architecture"])
    assert seen.platform.variant == config.get("variant", "")
    assert read_blob(client, seen.config_blob.digest) == raw
    assert seen.config.cmd == config["config"]["Cmd"]
    assert seen.config.env == config["config"].get("Env", [])
    assert seen.config.exposed_ports == [*config["config"].get("ExposedPorts", {})]
    assert seen.config.working_dir == config["config"].get("WorkingDir", "")
    assert seen.author == config.get("author", "")
    assert seen.diff_ids == config["rootfs"]["diff_ids"]
    layers = expected.manifests[0]["layers"]
    assert [(one.media_type, one.digest, one.size) for one in seen.layers] == [
        (one["mediaType"], one["digest"], one["size"]) for one in layers
    ]
    steps = [entry for entry in client.images.history(reference) if not entry.empty_layer]
    assert [step.layer.digest for step in steps] == [one["digest"] for one in layers]


def test_pull_by_digest_gives_a_name_by_digest_and_no_tag(
    daemon: Daemon, client: Client, registry: str
) -> None:
    expected = expect(f"{registry}/library/app:1")
    by_digest = f"{registry}/library/app@{expected.digest}"
    # Beside a digest a tag is information: this one does not exist.
    outcome = client.pull(by_digest.replace("@", ":never@")).result().outcome
    assert outcome.target.digest == expected.digest
    assert outcome.references == [by_digest]
    (image,) = client.images.list()
    assert (list(image.tags), list(image.digest_references)) == ([], [by_digest])
    assert not image.dangling
    assert stored_blobs(daemon) == expected.blobs


def test_stored_image_unpacks_with_umoci(
    daemon: Daemon, client: Client, registry: str, real_images: RealImages, tmp_path: Path
) -> None:
    target = client.pull(f"{registry}/library/app:1").result().outcome.target
    layout = tmp_path / "layout"
    layout.mkdir()
    for name in ("blobs", "oci-layout"):
        (layout / name).symlink_to(daemon.root / "content" / name)
    entry = {
        "mediaType": target.media_type,
        "digest": target.digest,
        "size": target.size,
        "annotations": {"org.opencontainers.image.ref.name": "app"},
    }
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    run("umoci", "unpack", "--rootless", "--image", f"{layout}:app", tmp_path / "bundle")
    for name, data in real_images.files.items():
        path = tmp_path / "bundle/rootfs" / name
        assert (path.read_bytes() if path.is_file() else None) == data, name
        assert path.exists() is (data is not None)


def test_repeated_pull_asks_once_and_fetches_nothing(client: Client, front: Gate) -> None:
    reference = f"{front.address}/library/app:1"
    first = client.pull(reference).result().outcome
    (before,) = client.images.list()
    front.asked.clear()
    again = client.pull(reference).result().outcome
    assert front.asked == [("HEAD", "/v2/library/app/manifests/1")]
    assert again.pull_result == transfer_pb2.PULL_RESULT_UP_TO_DATE
    assert (again.fetched_bytes, again.reused_bytes) == (0, first.fetched_bytes)
    assert (again.target, again.image) == (first.target, first.image)
    assert [before] == list(client.images.list())
    front.asked.clear()
    present = client.pull(reference, policy=transfer_pb2.PULL_POLICY_IF_NOT_PRESENT)
    assert present.result().outcome.pull_result == transfer_pb2.PULL_RESULT_UP_TO_DATE
    assert front.asked == []


def test_moved_tag_updates_and_leaves_the_former_image_dangling(
    daemon: Daemon, client: Client, registry: str, front: Gate, real_images: RealImages
) -> None:
    real_images.push("app", f"{registry}/library/moving:1")
    reference = f"{front.address}/library/moving:1"
    former = client.pull(reference).result().outcome
    old = expect(reference)
    real_images.push("app-next", f"{registry}/library/moving:1")
    new = expect(reference)
    front.asked.clear()
    outcome = client.pull(reference).result().outcome

    assert outcome.pull_result == transfer_pb2.PULL_RESULT_UPDATED
    assert outcome.target.digest == new.digest != old.digest
    fresh = set(new.blobs) - set(old.blobs)
    assert sorted(front.blobs) == sorted(fresh - {new.digest})
    assert outcome.fetched_bytes == sum(new.blobs[digest] for digest in fresh)
    assert outcome.reused_bytes == new.size - outcome.fetched_bytes
    assert client.images.get(reference).target.digest == new.digest
    left = client.images.get(former.image)
    assert (list(left.tags), left.dangling) == ([], True)
    assert left.repo_digests == [f"{front.address}/library/moving@{old.digest}"]
    assert stored_blobs(daemon) == {**old.blobs, **new.blobs}

    table = [line.split()[:3] for line in daemon.imgctl("images").stdout.splitlines()[1:]]
    repository = f"{front.address}/library/moving"
    assert sorted(table) == sorted(
        [repository, tag, one.image_id.removeprefix("sha256:")[:12]]
        for tag, one in (("1", outcome), ("<none>", former))
    )


class Watcher(threading.Thread):
    """Somebody who watches a transfer over a connection of their own, to the end."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(name="watcher")
        self.events: list[transfer_pb2.TransferEvent] = []
        self.state = ProgressState()
        self.changed = threading.Condition()
        self._address, self._transfer = address, name
        self.start()

    def run(self) -> None:
        with Client(self._address) as client, client.watch(self._transfer, min_interval=0) as watch:
            for event in watch:
                with self.changed:
                    self.events.append(event)
                    self.state.apply(event)
                    self.changed.notify_all()

    def wait_for(self, condition: Callable[[ProgressState], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.state), PATIENCE)


def _is_midway(state: ProgressState) -> bool:
    """Whether a layer has received something, and not all."""
    return any(
        node.state == transfer_pb2.NODE_STATE_ACTIVE
        and 0 < node.activities[0].current_bytes < node.blob.size
        for node in state.layers
    )


def _check_told(events: Sequence[transfer_pb2.TransferEvent]) -> None:
    """A snapshot first, exactly one end, and sequence numbers that rise."""
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "snapshot"
    assert kinds[-1] == "finished"
    assert set(kinds[1:-1]) <= {"update"}
    numbers = [event.sequence for event in events]
    assert numbers == sorted(set(numbers))


def test_watchers_that_attach_at_different_moments_all_see_a_snapshot_and_one_end(
    daemon: Daemon, client: Client, front: Gate
) -> None:
    reference = f"{front.address}/library/app:1"
    front.close()
    name = client.transfers.start_pull(reference).name
    early = Watcher(daemon.address, name)
    early.wait_for(_is_midway)
    middle = Watcher(daemon.address, name)
    middle.wait_for(lambda state: state.sequence > 0)
    assert _is_midway(middle.state), "the snapshot shows the bytes that came before"
    other = subprocess.Popen(
        [str(BIN / "imgctl"), "--address", daemon.address, "watch", "--json", name],
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout
        first = json.loads(other.stdout.readline())
        running = client.transfers.get(name)
        front.open()
        lines = [first, *map(json.loads, other.stdout)]
    assert running.state == transfer_pb2.TRANSFER_STATE_RUNNING
    late = Watcher(daemon.address, name)
    for watcher in (early, middle, late):
        watcher.join(PATIENCE)
        assert watcher.state.finished
        _check_told(watcher.events)

    record = client.transfers.get(name)
    assert record.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
    for watcher in (early, middle, late):
        assert watcher.events[-1].finished.transfer == record
        assert watcher.state.nodes == late.state.nodes
        assert watcher.state.progress.current_bytes == record.outcome.fetched_bytes
    assert {node.state for node in late.state.nodes.values()} == {transfer_pb2.NODE_STATE_DONE}
    assert len(late.events) == 2

    assert other.returncode == 0
    assert first["snapshot"]["transfer"]["state"] == "TRANSFER_STATE_RUNNING"
    assert "NODE_STATE_ACTIVE" in {node["state"] for node in first["snapshot"]["nodes"]}
    assert [line for line in lines if "finished" in line] == lines[-1:]
    assert lines[-1]["finished"]["transfer"]["name"] == name


async def test_twenty_callers_share_one_download(daemon: Daemon, front: Gate) -> None:
    reference = f"{front.address}/library/app:1"
    expected = expect(reference)
    front.asked.clear()
    front.close()
    midway: set[int] = set()

    async def pull(number: int) -> transfer_pb2.TransferOutcome:
        state = ProgressState()
        async with AsyncClient(daemon.address) as client, client.pull(reference) as stream:
            async for event in stream:
                state.apply(event)
                if _is_midway(state):
                    midway.add(number)
                    if len(midway) == 20:
                        front.open()
            return (await stream.result()).outcome

    outcomes = await asyncio.gather(*(pull(number) for number in range(20)))
    assert len(midway) == 20, "all were under way before the first byte of a layer was through"
    served = Counter(front.blobs)
    manifest = expected.manifests[0]
    assert set(served) == {one["digest"] for one in (manifest["config"], *manifest["layers"])}
    assert set(served.values()) == {1}
    assert [path for method, path in front.asked if "/manifests/" in path and method == "GET"] == [
        f"/v2/library/app/manifests/{expected.digest}"
    ]
    assert {outcome.target.digest for outcome in outcomes} == {expected.digest}
    assert {one.fetched_bytes + one.reused_bytes for one in outcomes} == {expected.size}
    assert sum(outcome.fetched_bytes for outcome in outcomes) == expected.size
    assert stored_blobs(daemon) == expected.blobs


@pytest.mark.parametrize("name", ["library/app:never", "library/absent:1"])
def test_what_the_registry_does_not_have_is_said_with_its_host(
    daemon: Daemon, client: Client, registry: str, name: str
) -> None:
    reference = f"{registry}/{name}"
    with pytest.raises(TransferFailed) as caught:
        client.pull(reference).result()
    failure = caught.value.failure
    assert failure.reason == errors_pb2.ERROR_REASON_REMOTE_NOT_FOUND
    assert (failure.host, failure.http_status) == (registry, 404)
    assert failure.origin == errors_pb2.FAILURE_ORIGIN_SOURCE
    assert failure.reference == reference
    ended = daemon.imgctl("pull", "--quiet", reference)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert registry in ended.stderr
    assert "REMOTE_NOT_FOUND" in ended.stderr
    assert stored_blobs(daemon) == {}
    assert list(client.images.list()) == []


def test_registry_that_is_down_is_tried_again_and_then_said_to_be_unreachable(
    client: Client, free_port: int
) -> None:
    reference = f"127.0.0.1:{free_port}/library/app:1"
    attempts = []
    state = ProgressState()
    with client.pull(reference, min_interval=0) as stream:
        for event in stream:
            attempts += [
                node.retry.attempt for node in state.apply(event) if node.HasField("retry")
            ]
    # A watcher may miss a short pause, and none goes back.
    assert attempts == sorted(attempts)
    assert (set(attempts) <= {2, 3, 4, 5}, attempts[-1]) == (True, 5)
    failure = stream.transfer.outcome.failure
    assert failure.reason == errors_pb2.ERROR_REASON_REGISTRY_UNREACHABLE
    assert failure.host == f"127.0.0.1:{free_port}"
    assert failure.origin == errors_pb2.FAILURE_ORIGIN_SOURCE
    assert list(client.images.list()) == []


def _listed(client: Client) -> list[image_pb2.Image]:
    return list(client.images.list(view=image_pb2.IMAGE_VIEW_FULL))


def _fsck(root: Path, *more: str) -> tuple[int, str]:
    command = [str(BIN / "imgd"), "fsck", "--verify-content", "--root", str(root), *more]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def test_everything_is_there_after_a_restart_and_verifies(registry: str, tmp_path: Path) -> None:
    root = tmp_path / "state"
    with run_daemon(root) as daemon, Client(daemon.address) as client:
        for kind in KINDS:
            client.pull(f"{registry}/library/{kind}:1").result()
        images, transfers = _listed(client), list(client.transfers.list())
        blobs = stored_blobs(daemon)
        assert daemon.stop() == 0
    assert _fsck(root) == (0, "no problems found\n")
    with run_daemon(root) as daemon, Client(daemon.address) as client:
        assert len(images) == len(KINDS)
        assert _listed(client) == images
        assert list(client.transfers.list()) == transfers
        assert stored_blobs(daemon) == blobs
        events = list(client.watch(transfers[0].name))
        _check_told(events)
        assert events[-1].finished.transfer == transfers[0]


def test_damaged_blob_is_found_and_repaired_as_the_check_says(
    registry: str, tmp_path: Path
) -> None:
    root = tmp_path / "state"
    reference = f"{registry}/library/app:1"
    with run_daemon(root) as daemon, Client(daemon.address) as client:
        client.pull(reference).result()
        digest = client.images.inspect(reference).layers[0].digest
    blob = root / "content/blobs" / digest.replace(":", "/")
    data = bytearray(blob.read_bytes())
    data[0] ^= 1
    blob.chmod(0o600)
    blob.write_bytes(data)
    status, said = _fsck(root)
    assert status == 1
    assert said.splitlines()[0].startswith(f"DIGEST_MISMATCH {digest}: ")
    assert "repair the store, then pull" in said
    assert blob.exists(), "a check changes nothing"
    assert _fsck(root, "--repair")[0] == 0
    assert not blob.exists()
    with run_daemon(root) as daemon, Client(daemon.address) as client:
        outcome = client.pull(reference).result().outcome
        assert outcome.fetched_bytes == len(data)
    assert _fsck(root) == (0, "no problems found\n")


def test_imgctl_pulls_lists_and_inspects_like_docker(daemon: Daemon, registry: str) -> None:
    reference = f"{registry}/library/app:1"
    expected = expect(reference)
    layers = [one["digest"].removeprefix("sha256:")[:12] for one in expected.manifests[0]["layers"]]
    pulled = daemon.imgctl("pull", reference)
    assert pulled.returncode == 0, pulled.stderr
    lines = pulled.stdout.splitlines()
    assert lines[0] == "1: Pulling from library/app"
    assert lines[-3:] == [
        f"Digest: {expected.digest}",
        f"Status: Downloaded newer image for {reference}",
        reference,
    ]
    assert {f"{layer}: Pull complete" for layer in layers} <= set(lines)
    assert daemon.imgctl("pull", reference).stdout.splitlines() == [
        "1: Pulling from library/app",
        f"Digest: {expected.digest}",
        f"Status: Image is up to date for {reference}",
        reference,
    ]

    config = json.loads(raw_config(reference))
    image_id = expected.manifests[0]["config"]["digest"]
    assert daemon.imgctl("images", "-q", "--no-trunc").stdout == f"{image_id}\n"
    (seen,) = json.loads(daemon.imgctl("inspect", image_id.removeprefix("sha256:")[:12]).stdout)
    assert seen["Id"] == image_id
    assert seen["RepoTags"] == [reference]
    assert seen["RepoDigests"] == [f"{registry}/library/app@{expected.digest}"]
    assert (seen["Os"], seen["Architecture"]) == (config["os"], config["architecture"])
    assert seen["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
    for key in ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "User", "WorkingDir"):
        assert seen["Config"][key] == config["config"][key], key
    absent = daemon.imgctl("inspect", "absent")
    assert absent.returncode == 1
    assert "IMAGE_NOT_FOUND" in absent.stderr
