"""What came with somebody's credentials, against a docker-registry with users or with tokens."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from imgd.v1 import transfer_pb2
from imgd_client import Client, ImgdError
from tests.daemon import Daemon, run_daemon
from tests.fake_images import descriptor, digest_of, make_document, make_image, make_layer
from tests.hostile import HostileRegistry
from tests.registries import docker_registry, push_image
from tests.token_server import TokenServer

IMAGE = make_image([make_layer({"secret": b"of alice"})])
REPOSITORY = "private/app"
POLICIES = [
    transfer_pb2.PULL_POLICY_ALWAYS,
    transfer_pb2.PULL_POLICY_IF_NOT_PRESENT,
    transfer_pb2.PULL_POLICY_NEVER,
]
PRESENT = transfer_pb2.PULL_POLICY_IF_NOT_PRESENT
PASSWORD = "open sesame"


def who(user: str, password: str = PASSWORD) -> transfer_pb2.RegistryCredentials:
    pair = transfer_pb2.RegistryCredentials.UserPassword(user=user, password=password)
    return transfer_pb2.RegistryCredentials(user_password=pair)


ANONYMOUS = transfer_pb2.RegistryCredentials(anonymous=transfer_pb2.RegistryCredentials.Anonymous())
STRANGERS = [None, ANONYMOUS, who("alice", "wrong"), who("mallory")]


@dataclass
class World:
    """A registry that lets alice (and, with users, bob) read, and what it logs."""

    address: str
    log: list[str]
    stop: Callable[[], None]

    @property
    def reference(self) -> str:
        return f"{self.address}/{REPOSITORY}:1"


@contextmanager
def registry_with(folder: Path, auth: str, log: list[str]) -> Iterator[World]:
    """A docker-registry that has the image and asks for a login."""
    # What it keeps it has from one that does not ask.
    with docker_registry(folder) as address:
        push_image(address, REPOSITORY, IMAGE, "1")
    with ExitStack() as stack:
        address = stack.enter_context(docker_registry(folder, more=f"auth:\n{auth}", log=log))
        yield World(address, log, stack.close)


@pytest.fixture
def users(tmp_path: Path) -> Iterator[World]:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"alice:{hashed}\nbob:{hashed}\n")
    auth = f"  htpasswd:\n    realm: tests\n    path: {tmp_path / 'users'}\n"
    with registry_with(tmp_path / "registry", auth, []) as world:
        yield world


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[World]:
    with TokenServer(tmp_path) as server:
        auth = (
            f"  token:\n    realm: {server.realm}\n    service: registry\n"
            f"    issuer: tests\n    rootcertbundle: {server.bundle}\n"
        )
        with registry_with(tmp_path / "registry", auth, []) as world:
            yield world


def pull(
    daemon: Daemon,
    reference: str,
    credentials: transfer_pb2.RegistryCredentials | None,
    policy: transfer_pb2.PullPolicy.ValueType = POLICIES[0],
) -> transfer_pb2.TransferOutcome:
    with Client(daemon.address) as client:
        return client.pull(reference, credentials=credentials, policy=policy).result().outcome


def refusal(
    daemon: Daemon,
    reference: str,
    credentials: transfer_pb2.RegistryCredentials | None,
    policy: transfer_pb2.PullPolicy.ValueType,
) -> ImgdError:
    with pytest.raises(ImgdError) as caught:
        pull(daemon, reference, credentials, policy)
    return caught.value


def create(daemon: Daemon, image: str, credentials: transfer_pb2.RegistryCredentials | None) -> str:
    with Client(daemon.address) as client:
        return client.containers.create(image, credentials=credentials).name


@pytest.mark.parametrize("kind", ["users", "tokens"])
def test_strangers_get_nothing_and_readers_what_is_theirs(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    world: World = request.getfixturevalue(kind)
    with run_daemon(tmp_path / "root") as daemon:
        assert pull(daemon, world.reference, who("alice")).fetched_bytes > 0
        for policy in POLICIES:
            for stranger in STRANGERS:
                refused = refusal(daemon, world.reference, stranger, policy)
                assert refused.reason in ("REGISTRY_UNAUTHORIZED", "REGISTRY_DENIED")
        for name in (world.reference, IMAGE.digest):
            for stranger in STRANGERS:
                with pytest.raises(ImgdError) as caught:
                    create(daemon, name, stranger)
                assert caught.value.reason in ("REGISTRY_UNAUTHORIZED", "REGISTRY_DENIED")
                assert PASSWORD not in str(caught.value)
        assert create(daemon, world.reference, who("alice"))
        # An ID says as little as a name, and shows credentials to the one registry there is.
        assert create(daemon, IMAGE.digest, who("alice"))


def test_a_proof_needs_no_registry_and_outlives_the_daemon(users: World, tmp_path: Path) -> None:
    with run_daemon(tmp_path / "root") as daemon:
        pull(daemon, users.reference, who("alice"))
    users.stop()
    with run_daemon(tmp_path / "root") as daemon:
        for policy in POLICIES[1:]:
            assert pull(daemon, users.reference, who("alice"), policy).fetched_bytes == 0
        assert create(daemon, users.reference, who("alice"))
        refused = refusal(daemon, users.reference, who("alice", "other"), PRESENT)
        assert refused.reason == "REGISTRY_UNREACHABLE"
        assert "is here, but" in refused.message
        assert "can't be asked whether these credentials may have it" in refused.message
    # Whose time is over has to ask, too.
    with run_daemon(tmp_path / "root", "--proof-lifetime", "0") as daemon:
        refused = refusal(daemon, users.reference, who("alice"), PRESENT)
        assert refused.reason == "REGISTRY_UNREACHABLE"
    with run_daemon(tmp_path / "root", "--share-private") as daemon:
        assert pull(daemon, users.reference, None, PRESENT).fetched_bytes == 0
    (tmp_path / "root" / "proof.key").unlink()
    with run_daemon(tmp_path / "root") as daemon:
        refused = refusal(daemon, users.reference, who("alice"), POLICIES[2])
        assert refused.reason == "REGISTRY_UNAUTHORIZED"


def test_a_request_that_is_sent_again_asks_nobody(users: World, tmp_path: Path) -> None:
    with run_daemon(tmp_path / "root", "--proof-lifetime", "0") as daemon:
        pull(daemon, users.reference, who("alice"))
        with Client(daemon.address) as client:
            request: dict[str, Any] = {"credentials": who("alice"), "request_id": "twice"}
            made = client.containers.create(users.reference, **request)
            users.stop()
            assert client.containers.create(users.reference, **request) == made
            with pytest.raises(ImgdError) as caught:
                client.containers.create(users.reference, credentials=who("alice"))
            assert caught.value.reason == "REGISTRY_UNREACHABLE"


def test_no_password_is_kept(users: World, tmp_path: Path) -> None:
    with run_daemon(tmp_path / "root") as daemon:
        pull(daemon, users.reference, who("alice"))
        with Client(daemon.address) as client:
            client.containers.create(users.reference, credentials=who("alice"), request_id="again")
            # What is repeated may have other credentials, when those it had are over.
            client.containers.create(users.reference, credentials=who("alice"), request_id="again")
            assert len(list(client.containers.list())) == 1
    for file in (tmp_path / "root").rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file
    key = tmp_path / "root" / "proof.key"
    assert (key.stat().st_mode & 0o777, len(key.read_bytes())) == (0o600, 32)


def test_another_reader_pays_one_request(users: World, tmp_path: Path) -> None:
    with run_daemon(tmp_path / "root") as daemon:
        pull(daemon, users.reference, who("alice"))
        for _ in range(2):
            assert pull(daemon, users.reference, who("bob"), PRESENT).fetched_bytes == 0
        assert create(daemon, users.reference, who("bob"))
    users.stop()
    answered = [one for one in users.log if "response completed" in one and "status=200" in one]
    methods = ["HEAD" if "method=HEAD" in one else "GET" for one in answered]
    # Alice's tag, manifest, config and layer; Bob's tag, once.
    assert sorted(methods) == ["GET", "GET", "GET", "HEAD", "HEAD"]


def test_a_mirror_that_gives_to_everybody_makes_nothing_private(tmp_path: Path) -> None:
    with (
        docker_registry(tmp_path / "mirror") as mirror,
        docker_registry(tmp_path / "registry") as upstream,
    ):
        push_image(mirror, REPOSITORY, IMAGE, "1")
        reference = f"{upstream}/{REPOSITORY}:1"
        config = tmp_path / "config.toml"
        config.write_text(f'[registries."{upstream}".host."http://{mirror}"]\n')
        with run_daemon(tmp_path / "root", "--config", str(config)) as daemon:
            pull(daemon, reference, None)
            assert pull(daemon, reference, ANONYMOUS, POLICIES[2]).fetched_bytes == 0
            # What one with credentials gets through it may be for that one.
        with run_daemon(tmp_path / "other", "--config", str(config)) as daemon:
            pull(daemon, reference, who("alice"))
            refused = refusal(daemon, reference, who("mallory"), POLICIES[2])
            assert refused.reason == "REGISTRY_UNAUTHORIZED"


def test_imgctl_brings_the_credentials_of_its_login(users: World, tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    pair = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    entry = {"auths": {users.address: {"auth": pair}}}
    (folder / "config.json").write_text(json.dumps(entry))
    with run_daemon(tmp_path / "root") as daemon:
        logged_in = {"DOCKER_CONFIG": str(folder), "PATH": "/usr/bin:/bin"}
        nobody = {"DOCKER_CONFIG": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"}
        done = daemon.imgctl("pull", "-q", users.reference, env=logged_in)
        assert done.returncode == 0, done.stderr
        refused = daemon.imgctl("container", "create", users.reference, env=nobody)
        assert refused.returncode == 1
        assert "its registry does not give it to you" in refused.stderr
        refused = daemon.imgctl("pull", "--policy", "never", users.reference, env=nobody)
        assert refused.returncode == 1
        assert "pull with IF_NOT_PRESENT or ALWAYS" in refused.stderr
        done = daemon.imgctl("container", "create", users.reference, env=logged_in)
        assert done.returncode == 0, done.stderr


def test_a_diff_id_is_no_way_to_what_was_unpacked(users: World, tmp_path: Path) -> None:
    """Mallory's image says that its layer unpacks to what alice's does."""
    junk = make_image([make_layer({"mine": b"of mallory"})])
    config = json.loads(junk.blobs[junk.document["config"]["digest"]])
    secret = json.loads(IMAGE.blobs[IMAGE.document["config"]["digest"]])
    raw = json.dumps({**config, "rootfs": secret["rootfs"]}).encode()
    document = {**junk.document, "config": descriptor(raw, junk.document["config"]["mediaType"])}
    stolen = make_document(document, blobs={**junk.blobs, digest_of(raw): raw})
    with (
        docker_registry(tmp_path / "open") as address,
        run_daemon(tmp_path / "root", "--snapshotter", "copy") as daemon,
        Client(daemon.address) as client,
    ):
        push_image(address, "mallory/app", stolen, "1")
        pull(daemon, users.reference, who("alice"))
        alices = client.containers.create(
            users.reference, prepare_rootfs=True, credentials=who("alice")
        )
        assert alices.mounts
        pull(daemon, f"{address}/mallory/app:1", None)
        with pytest.raises(ImgdError) as caught:
            client.containers.create(f"{address}/mallory/app:1", prepare_rootfs=True)
        assert caught.value.reason == "DIGEST_MISMATCH"
        assert len(list(client.containers.list())) == 1


def test_the_cache_marks_the_blobs_of_a_registry_that_shows_manifests_to_everybody(
    tmp_path: Path,
) -> None:
    mine = make_image([make_layer({"mine": b"of mallory"})])
    layers = [*mine.document["layers"], *IMAGE.document["layers"]]
    stolen = make_document({**mine.document, "layers": layers}, blobs=mine.blobs)
    with HostileRegistry() as home, HostileRegistry() as evil:
        home.require_basic("alice", PASSWORD, "/blobs/")
        reference = home.add(REPOSITORY, IMAGE, "1")
        evil.add("evil/app", stolen, "1")
        config = tmp_path / "config.toml"
        config.write_text(
            f'registry_cache = ["{home.host}"]\n'
            f'[registries."{home.host}"]\nuser = "alice"\npassword_env = "SECRET"\n'
        )
        flags = ("--registry-listen", "127.0.0.1:0", "--config", str(config))
        with run_daemon(tmp_path / "root", *flags, environment={"SECRET": PASSWORD}) as daemon:
            base = f"http://{daemon.registry}/v2/{home.host}/{REPOSITORY}"
            for path in ("manifests/1", *(f"blobs/{digest}" for digest in IMAGE.blobs)):
                with urllib.request.urlopen(f"{base}/{path}", timeout=60.0) as answer:
                    answer.read()
            for policy in POLICIES[:2]:
                refused = refusal(daemon, reference, ANONYMOUS, policy)
                assert refused.reason == "REGISTRY_UNAUTHORIZED"
            refused = refusal(daemon, f"{evil.host}/evil/app:1", None, POLICIES[0])
            assert refused.reason == "REMOTE_NOT_FOUND"


def test_what_the_cache_fetched_is_for_its_readers_and_those_who_prove(
    users: World, tmp_path: Path
) -> None:
    """With the daemon's credentials; by gRPC, and by way of another registry, it is private."""
    mine = make_image([make_layer({"mine": b"of mallory"})])
    layers = [*mine.document["layers"], *IMAGE.document["layers"]]
    stolen = make_document({**mine.document, "layers": layers}, blobs=mine.blobs)
    config = tmp_path / "config.toml"
    config.write_text(
        f'registry_cache = ["{users.address}"]\n'
        f'[registries."{users.address}"]\nuser = "alice"\npassword_env = "SECRET"\n'
    )
    flags = ("--registry-listen", "127.0.0.1:0", "--config", str(config))
    with (
        HostileRegistry() as registry,
        run_daemon(tmp_path / "root", *flags, environment={"SECRET": PASSWORD}) as daemon,
    ):
        registry.add("evil/app", stolen, "1")
        base = f"http://{daemon.registry}/v2/{users.address}/{REPOSITORY}"
        for path in ("manifests/1", *(f"blobs/{digest}" for digest in IMAGE.blobs)):
            with urllib.request.urlopen(f"{base}/{path}", timeout=60.0) as answer:
                assert answer.status == 200
                answer.read()
        refused = refusal(daemon, users.reference, ANONYMOUS, PRESENT)
        assert refused.reason == "REGISTRY_UNAUTHORIZED"
        refused = refusal(daemon, f"{registry.host}/evil/app:1", None, POLICIES[0])
        assert refused.reason == "REMOTE_NOT_FOUND"
        # Without credentials of his own a caller stands for the daemon, which has some.
        assert pull(daemon, users.reference, None, PRESENT).fetched_bytes == 0
        assert create(daemon, users.reference, None)
