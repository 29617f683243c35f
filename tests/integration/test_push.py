"""Pushes and copies to real registries, read back by other people's clients."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from imgd.v1 import transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc
from imgd_client import Client, TransferFailed
from imgd_server.errors import Origin, Reason
from imgd_server.registry import Credentials, RegistryConfig
from imgd_server.transfer import NodeState, TransferState
from tests.certificates import Authority
from tests.daemon import Daemon, run_daemon
from tests.fake_images import FakeImage, make_image, make_index, make_layer
from tests.pulling import noise
from tests.pushing import Pusher, copy_spec, push_spec, pushing
from tests.real_images import run
from tests.registries import crane_registry, docker_registry, push_image
from tests.registry_inside import serve_inside
from tests.token_server import TokenServer

PATIENCE = 60.0
IMAGE = make_image([make_layer({"a": b"a" * 1000}), make_layer({"b": noise(300_000)})])
ARM = make_image([make_layer({"a": b"arm"})], architecture="arm64")
INDEX = make_index(
    [
        (IMAGE, {"os": "linux", "architecture": "amd64"}),
        (ARM, {"os": "linux", "architecture": "arm64"}),
    ]
)
ALICE = Credentials("alice", "open sesame")
CREDS = "alice:open sesame"
# bcrypt, the only thing that docker-registry takes, of the password above.
HTPASSWD = "alice:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"


@dataclass(frozen=True)
class Peer:
    """A registry, and who may write to it."""

    host: str
    who: Credentials | None = None


@contextmanager
def peer(kind: str, folder: Path) -> Iterator[Peer]:
    """A registry of a kind."""
    folder.mkdir()
    if kind == "open":
        with docker_registry(folder) as host:
            yield Peer(host)
    elif kind == "htpasswd":
        passwords = folder / "htpasswd"
        passwords.write_text(HTPASSWD)
        auth = f"auth:\n  htpasswd:\n    realm: tests\n    path: {passwords}\n"
        with docker_registry(folder, more=auth) as host:
            yield Peer(host, ALICE)
    elif kind == "token":
        with TokenServer(folder) as server:
            auth = (
                f"auth:\n  token:\n    realm: {server.realm}\n    service: registry\n"
                f"    issuer: tests\n    rootcertbundle: {server.bundle}\n"
            )
            with docker_registry(folder, more=auth) as host:
                yield Peer(host, ALICE)
    else:
        with crane_registry() as host:
            yield Peer(host)


@pytest.fixture
async def pusher(tmp_path: Path) -> AsyncIterator[Pusher]:
    async with pushing(tmp_path / "root") as one:
        yield one


def digest_at(where: Peer, name: str) -> str:
    """What skopeo finds there: the digest of the bytes themselves."""
    login = [f"--creds={CREDS}"] if where.who else []
    raw = run("skopeo", "inspect", "--tls-verify=false", *login, "--raw", f"docker://{name}")
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def fetched_whole(where: Peer, name: str, folder: Path) -> None:
    """Lets skopeo fetch and verify every byte."""
    login = [f"--src-creds={CREDS}"] if where.who else []
    run("skopeo", "copy", "--all", "--src-tls-verify=false", *login, f"docker://{name}",
        f"oci:{folder}:it")  # fmt: skip


@pytest.mark.parametrize("kind", ["open", "htpasswd", "token", "crane"])
async def test_a_push_is_read_back_with_equal_digests(
    pusher: Pusher, tmp_path: Path, kind: str
) -> None:
    with peer(kind, tmp_path / "peer") as where:
        name, second = f"{where.host}/team/app:1", f"{where.host}/other/app:2"
        await pusher.store(INDEX, name)
        outcome = await pusher.push(name, credentials=where.who)
        assert outcome.uploaded_bytes == sum(map(len, INDEX.blobs.values())) + sum(
            len(raw) for _, raw in INDEX.manifests.values()
        )
        assert digest_at(where, name) == INDEX.digest
        fetched_whole(where, name, tmp_path / "layout")
        # Again: everything is there.
        again = await pusher.push(name, credentials=where.who)
        assert again.uploaded_bytes == 0
        # In another repository: what can be mounted is not sent.
        uid = await pusher.start(push_spec(name, second, credentials=where.who))
        state, _, nodes = await pusher.end(uid)
        assert state is TransferState.SUCCEEDED
        assert digest_at(where, second) == INDEX.digest
        # crane's registry has one heap of blobs for all repositories.
        wants = NodeState.EXISTS if kind == "crane" else NodeState.MOUNTED
        assert {nodes[digest].state for digest in INDEX.blobs} == {wants}


@pytest.mark.parametrize("kind", ["htpasswd", "token"])
@pytest.mark.parametrize("who", [None, Credentials("alice", "wrong")])
async def test_who_may_not_write_is_told(
    pusher: Pusher, tmp_path: Path, kind: str, who: Credentials | None
) -> None:
    with peer(kind, tmp_path / "peer") as where:
        name = f"{where.host}/team/app:1"
        await pusher.store(IMAGE, name)
        failure = await pusher.fail(push_spec(name, credentials=who))
        assert (failure.reason, failure.origin) == (
            Reason.REGISTRY_UNAUTHORIZED,
            Origin.DESTINATION,
        )


@pytest.mark.parametrize("source", ["open", "token"])
@pytest.mark.parametrize("destination", ["htpasswd", "crane"])
async def test_a_copy_between_registries(
    pusher: Pusher, tmp_path: Path, source: str, destination: str
) -> None:
    with peer(source, tmp_path / "from") as read, peer(destination, tmp_path / "to") as written:
        name, copy = f"{read.host}/team/app:1", f"{written.host}/copied/app:2"
        await pusher.store(INDEX, name)
        await pusher.push(name, credentials=read.who)
        blobs = len([*pusher.content.blobs()])
        await pusher.copy(name, copy, credentials=(read.who, written.who))
        assert digest_at(written, copy) == INDEX.digest
        fetched_whole(written, copy, tmp_path / "layout")
        one = f"{written.host}/copied/app:arm"
        spec = copy_spec(name, one, credentials=(read.who, written.who), all_platforms=False,
                         platforms=("linux/arm64",))  # fmt: skip
        await pusher.succeed(spec)
        assert digest_at(written, one) == ARM.digest
        assert len([*pusher.content.blobs()]) == blobs


async def test_a_large_layer_goes_in_chunks(
    pusher: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.registry._push._CHUNK", 1_000_000)
    plain = "application/vnd.oci.image.layer.v1.tar"
    image = make_image([make_layer({"f": noise(4_321_000)})], layer_type=plain)
    with peer("open", tmp_path / "peer") as where:
        name = f"{where.host}/team/app:1"
        await pusher.store(image, name)
        await pusher.push(name)
        fetched_whole(where, name, tmp_path / "layout")
        assert digest_at(where, name) == image.digest


async def test_a_large_layer_is_copied_by_one_request(
    pusher: Pusher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many chunks it goes in: what a registry sent of a request that was given up, it sent
    for nothing."""
    monkeypatch.setattr("imgd_server.registry._push._CHUNK", 1_000_000)
    plain = "application/vnd.oci.image.layer.v1.tar"
    image = make_image([make_layer({"f": noise(4_321_000)})], layer_type=plain)
    (layer,) = [digest for digest, data in image.blobs.items() if len(data) > 4_000_000]
    log: list[str] = []
    with docker_registry(tmp_path / "from", log=log) as source, peer("open", tmp_path / "to") as to:
        await pusher.store(image, f"{source}/app:1")
        await pusher.push(f"{source}/app:1")
        await pusher.copy(f"{source}/app:1", f"{to.host}/app:1")
        assert digest_at(to, f"{to.host}/app:1") == image.digest
    asked = [line for line in log if "response completed" in line and f"/blobs/{layer}" in line]
    assert len([line for line in asked if "http.request.method=GET" in line]) == 1, asked


async def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the kernel can't send files by itself."""
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue("127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    tls = f"  tls:\n    certificate: {certificate.chain}\n    key: {certificate.key}\n"
    async with pushing(tmp_path / "root", RegistryConfig()) as pusher:
        with docker_registry(tmp_path / "peer", more=tls) as host:
            name = f"{host}/team/app:1"
            await pusher.store(IMAGE, name)
            await pusher.push(name)
            raw = run("skopeo", "inspect", "--raw", f"docker://{name}")
            assert raw == IMAGE.raw


@pytest.mark.parametrize("image", [IMAGE, INDEX], ids=["image", "index"])
async def test_to_the_registry_inside_of_another_daemon(
    pusher: Pusher, tmp_path: Path, image: FakeImage
) -> None:
    async with serve_inside(tmp_path / "inside") as inside:
        name = f"{inside.host}/team/app:1"
        await pusher.store(image, name)
        await pusher.push(name)
        answer = await inside.call("GET", "/v2/team/app/manifests/1")
        assert answer.body == image.raw
        for digest, data in image.blobs.items():
            assert (await inside.call("GET", f"/v2/team/app/blobs/{digest}")).body == data
        await pusher.copy(name, f"{inside.host}/copied/app:2")
        answer = await inside.call("GET", "/v2/copied/app/manifests/2")
        assert answer.body == image.raw


# --- with a daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "state", "--registry-listen", "127.0.0.1:0") as one:
        yield one


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as one:
        yield one


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_imgctl_pushes_and_copies(daemon: Daemon, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "peer") as host:
        push_image(host, "from/app", INDEX, "1")
        daemon.imgctl("pull", "-q", "--all-platforms", f"{host}/from/app:1")
        daemon.imgctl("tag", f"{host}/from/app:1", f"{host}/team/app:1")
        size = len(INDEX.raw)
        lines = said(daemon.imgctl("push", f"{host}/team/app:1"))
        assert lines[0] == f"The push refers to repository [{host}/team/app]"
        assert lines[-1] == f"{host}/team/app:1: digest: {INDEX.digest} size: {size}"
        layers = {str(one["digest"])[7:19] for one in IMAGE.document["layers"]}
        assert {f"{one}: Mounted" for one in layers} <= set(lines)
        lines = said(daemon.imgctl("image", "push", f"{host}/team/app:1"))
        assert {f"{one}: Layer already exists" for one in layers} <= set(lines)
        # From our own registry inside, whole, without storing it.
        inside = f"{daemon.registry}/copied/app:2"
        assert said(daemon.imgctl("copy", "-q", f"{host}/team/app:1", inside)) == [inside]
        lines = said(daemon.imgctl("copy", "--platform=linux/arm64", inside, f"{host}/arm/app:3"))
        assert lines[-1] == f"{host}/arm/app:3: digest: {ARM.digest} size: {len(ARM.raw)}"
        kinds = said(daemon.imgctl("transfers", "--format", "{{.Kind}}"))
        assert sorted(kinds) == ["copy", "copy", "pull", "push", "push"]
        name = said(daemon.imgctl("push", "-d", f"{host}/team/app:1"))[0]
        watched = said(daemon.imgctl("watch", name))
        assert watched[-1] == f"{host}/team/app:1: digest: {INDEX.digest} size: {size}"
        # All tags.
        daemon.imgctl("tag", f"{host}/from/app:1", f"{host}/team/app:2")
        lines = said(daemon.imgctl("push", "-a", f"{host}/team/app"))
        assert lines[-2:] == [f"{host}/team/app:1: pushed", f"{host}/team/app:2: pushed"]
        digests = said(daemon.imgctl("images", "--digests", "--format", "{{.Digest}}"))
        assert INDEX.digest in digests


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("push", "no/such:1"), 1, "no such image"),
        (("push", "-a", "no/such:1"), 125, "without a tag"),
        (("push", "--platform=a/b", "--all-platforms", "x"), 125, "exclude each other"),
        (("copy", "x"), 125, "DESTINATION"),
        (("push", "A B"), 1, "reference"),
    ],
)
def test_imgctl_says_what_is_wrong(
    daemon: Daemon, words: tuple[str, ...], status: int, says: str
) -> None:
    done = daemon.imgctl(*words)
    assert done.returncode == status
    assert says.lower() in done.stderr.lower()


def test_push_in_one_call(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    """The convenience of the API: events until the end, and the image's own name by default."""
    stub = transfer_service_pb2_grpc.TransferServiceStub(client.channel)
    with docker_registry(tmp_path / "peer") as host:
        push_image(host, "from/app", IMAGE, "1")
        name = f"{host}/from/app:1"
        client.pull(name).result()
        request = transfer_service_pb2.PushRequest(image=name)
        events = [one.event for one in stub.Push(request, timeout=PATIENCE)]
        assert events[-1].finished.transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
        record = events[-1].finished.transfer
        assert record.source.store.image == name
        assert record.destination.registry.reference == name
        assert record.outcome.target.digest == IMAGE.digest
        done = client.transfers.push(name, f"{host}/to/app:1").result()
        assert done.outcome.uploaded_bytes == len(IMAGE.raw)
        done = client.transfers.copy(name, f"{host}/to/app:2", all_platforms=True).result()
        assert list(done.outcome.references) == [f"{host}/to/app:2"]
        with pytest.raises(TransferFailed) as caught:
            client.transfers.push(f"{host}/no/such:1").result()
        assert caught.value.reason == "IMAGE_NOT_FOUND"


def test_a_bad_request_names_its_field(client: Client) -> None:
    stub = transfer_service_pb2_grpc.TransferServiceStub(client.channel)
    # 64 digits are an ID, and never a name.
    push = transfer_service_pb2.PushRequest(image="0" * 64)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Push(push, timeout=PATIENCE))
    assert status_of(caught.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert "reference: is required" in status_of(caught.value)[1]
    start = transfer_service_pb2.StartTransferRequest(
        source=transfer_pb2.TransferSource(store=transfer_pb2.StoreEndpoint()),
        destination=transfer_pb2.TransferDestination(
            registry=transfer_pb2.RegistryEndpoint(reference="h.test/a")
        ),
    )
    with pytest.raises(grpc.RpcError) as caught:
        stub.StartTransfer(start, timeout=PATIENCE)
    assert status_of(caught.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert "source.store.image: is required" in status_of(caught.value)[1]


def status_of(error: Any) -> tuple[grpc.StatusCode, str]:
    return error.code(), error.details()
