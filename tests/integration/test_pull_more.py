"""`imgctl pull --all-tags` and `--referrers`, from docker-registry and from one that lists
referrers, and what the registry inside then serves."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgd_client import Client, TransferFailed
from tests.daemon import run_daemon
from tests.fake_images import (
    FakeImage,
    descriptor,
    digest_of,
    make_document,
    make_image,
    make_layer,
)
from tests.hostile import refuse
from tests.registries import docker_registry, push_image
from tests.taking import TakingRegistry

IMAGES = {
    tag: make_image([make_layer({"base": b"of all"}), make_layer({"own": tag.encode()})])
    for tag in ("1", "2", "latest")
}
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def signature_of(image: FakeImage) -> FakeImage:
    empty, data = b"{}", b"signed"
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.example.signature",
        "config": descriptor(empty, "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(data, "application/octet-stream")],
        "subject": descriptor(image.raw, image.media_type),
    }
    return make_document(document, blobs={digest_of(empty): empty, digest_of(data): data})


IMAGE = IMAGES["1"]
SIGNATURE = signature_of(IMAGE)


@contextmanager
def signed(kind: str, folder: Path) -> Iterator[str]:
    """A registry that has the image and its signature; without the API, by the tag scheme."""
    with ExitStack() as stack:
        if kind == "api":
            taking = stack.enter_context(TakingRegistry(referrers=True))
            taking.add("team/app", IMAGE, "1")
            taking.add("team/app", SIGNATURE)
            yield taking.host
            return
        address = stack.enter_context(docker_registry(folder))
        push_image(address, "team/app", IMAGE, "1")
        push_image(address, "team/app", SIGNATURE)
        entry = descriptor(SIGNATURE.raw, SIGNATURE.media_type)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        tag = IMAGE.digest.replace(":", "-")
        push_image(address, "team/app", make_document(index, OCI_INDEX), tag)
        yield address


def ask(address: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=60.0)
    try:
        connection.request("GET", path, headers={"Accept": "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("kind", ["api", "tags"])
def test_a_signature_comes_along_is_served_and_goes_with_its_image(
    kind: str, tmp_path: Path
) -> None:
    with (
        signed(kind, tmp_path / "registry") as host,
        run_daemon(tmp_path / "root", "--registry-listen", "127.0.0.1:0") as daemon,
    ):
        name = f"{host}/team/app:1"
        done = daemon.imgctl("pull", "-q", "--referrers", name)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [name]
        assert daemon.imgctl("images", "-q").stdout.split() == [IMAGE.image_id[7:19]]
        base = f"/v2/{host}/team/app"
        status, body = ask(daemon.registry, f"{base}/referrers/{IMAGE.digest}")
        assert status == 200
        [listed] = json.loads(body)["manifests"]
        assert (listed["digest"], listed["artifactType"]) == (
            SIGNATURE.digest,
            "application/vnd.example.signature",
        )
        assert ask(daemon.registry, f"{base}/manifests/{SIGNATURE.digest}") == (
            200,
            SIGNATURE.raw,
        )
        for digest, data in SIGNATURE.blobs.items():
            assert ask(daemon.registry, f"{base}/blobs/{digest}") == (200, data)
        assert daemon.imgctl("rmi", name).returncode == 0
        assert daemon.imgctl("gc").returncode == 0
        assert ask(daemon.registry, f"{base}/manifests/{SIGNATURE.digest}")[0] == 404
        stored = [file.name for file in (tmp_path / "root/content/blobs").rglob("*")]
        assert SIGNATURE.digest[7:] not in stored


def test_all_tags_of_a_repository(tmp_path: Path) -> None:
    log: list[str] = []
    with (
        docker_registry(tmp_path / "registry", log=log) as host,
        run_daemon(tmp_path / "root") as daemon,
    ):
        for tag, image in IMAGES.items():
            push_image(host, "team/app", image, tag)
        repository = f"{host}/team/app"
        done = daemon.imgctl("pull", "-q", "-a", repository)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [repository]
        listed = daemon.imgctl("images", "--format", "{{.Tag}}", repository).stdout
        assert sorted(listed.split()) == sorted(IMAGES)
        shown = daemon.imgctl("pull", "-a", repository)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.splitlines()[-2:] == [
            f"Status: Image is up to date for {repository}",
            repository,
        ]
        assert "Using default tag" not in shown.stdout
        assert "Digest:" not in shown.stdout
        with Client(daemon.address) as client:
            outcome = client.pull(repository, all_tags=True).result().outcome
            assert [*outcome.references] == [f"{repository}:{tag}" for tag in IMAGES]
        for wrong in (f"{repository}:1", f"{repository}@{IMAGE.digest}"):
            refused = daemon.imgctl("pull", "-a", wrong)
            assert refused.returncode == 125
            assert "wants a repository without a tag" in refused.stderr
        none = daemon.imgctl("pull", "-a", f"{host}/team/none")
        assert none.returncode == 1


def test_all_tags_are_unpacked_and_what_refers_to_them_is_not(tmp_path: Path) -> None:
    """Layers that an earlier tag brought are unpacked for a later one, too."""
    with (
        TakingRegistry(referrers=True) as registry,
        run_daemon(tmp_path / "root", "--snapshotter", "copy") as daemon,
    ):
        for tag, image in IMAGES.items():
            registry.add("team/app", image, tag)
        registry.add("team/app", SIGNATURE)
        registry.on("/tags/list", _tags)
        repository = f"{registry.host}/team/app"
        done = daemon.imgctl("pull", "-q", "-a", "--referrers", "--unpack", repository)
        assert done.returncode == 0, done.stderr
        trees = [*(tmp_path / "root/snapshots/copy/chains/sha256").iterdir()]
        assert len(trees) == len(IMAGES)
        again = daemon.imgctl("pull", "-q", "-a", "--unpack", repository)
        assert again.returncode == 0, again.stderr


def test_a_tag_that_fails_ends_it_and_those_before_are_named(tmp_path: Path) -> None:
    with TakingRegistry() as registry, run_daemon(tmp_path / "root") as daemon:
        for tag, image in IMAGES.items():
            registry.add("team/app", image, tag)
        own = IMAGES["2"].document["layers"][1]["digest"]
        registry.on(f"/blobs/{own}", refuse(403, "DENIED"))
        registry.on("/tags/list", _tags)
        repository = f"{registry.host}/team/app"
        with Client(daemon.address) as client, pytest.raises(TransferFailed) as caught:
            client.pull(repository, all_tags=True).result()
        assert caught.value.reason == "REGISTRY_DENIED"
        with Client(daemon.address) as client:
            [transfer] = client.transfers.list()
            assert [*transfer.outcome.references] == [f"{repository}:1"]
        listed = daemon.imgctl("images", "--format", "{{.Tag}}", repository).stdout
        assert listed.split() == ["1"]


def _tags(_: Any, answer: Any) -> Any:
    del answer
    from tests.misbehaviour import Answer

    body = json.dumps({"name": "team/app", "tags": [*IMAGES]}).encode()
    return Answer(200, {"Content-Type": "application/json"}, body)


def test_the_convenience_call_has_the_same_wishes(tmp_path: Path) -> None:
    import grpc

    from imgd.v1 import transfer_service_pb2, transfer_service_pb2_grpc

    with signed("api", tmp_path / "registry") as host, run_daemon(tmp_path / "root") as daemon:
        request = transfer_service_pb2.PullRequest(
            reference=f"{host}/team/app:1", include_referrers=True
        )
        with grpc.insecure_channel(daemon.address) as channel:
            stub: Any = transfer_service_pb2_grpc.TransferServiceStub(channel)
            [*_, last] = stub.Pull(request, timeout=60.0)
            nodes = last.event.finished.transfer.outcome
            assert nodes.target.digest == IMAGE.digest
            request = transfer_service_pb2.PullRequest(
                reference=f"{host}/team/app:1", all_tags=True
            )
            with pytest.raises(grpc.RpcError) as caught:
                [*stub.Pull(request, timeout=60.0)]
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        stored = [file.name for file in (tmp_path / "root/content/blobs").rglob("*")]
        assert SIGNATURE.digest[7:] in stored
