"""The registry client against docker-registry, with what skopeo pushed, and against TLS."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.oci import Descriptor, Digest, Index, Manifest, Reference, media, parse_manifest
from imgd_server.registry import Cancellation, Credentials, HttpRegistryClient, RegistryConfig
from tests.certificates import Authority, Certificate
from tests.fake_images import FakeImage, descriptor, make_image, make_index, make_layer
from tests.hostile import HostileRegistry, redirect
from tests.peers import require
from tests.pulling import noise
from tests.registries import docker_registry
from tests.token_server import TokenServer

IMAGE = make_image([make_layer({"a": b"a" * 1000}), make_layer({"b": noise(300_000)})])
ARM = make_image([make_layer({"a": b"arm"})], architecture="arm64")
INDEX = make_index(
    [
        (IMAGE, {"os": "linux", "architecture": "amd64"}),
        (ARM, {"os": "linux", "architecture": "arm64"}),
    ]
)
ALICE = Credentials("alice", "open sesame")
# bcrypt, the only thing that docker-registry takes, of the password above.
HTPASSWD = "alice:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"


@contextmanager
def registry_client(**config: Any) -> Iterator[HttpRegistryClient]:
    client = HttpRegistryClient(RegistryConfig(**config))
    try:
        yield client
    finally:
        client.close()


@dataclass
class Fetched:
    """An image as the client saw it."""

    target: Descriptor
    raw: bytes
    blobs: dict[str, bytes]


def fetch(client: HttpRegistryClient, text: str, who: Credentials | None = None) -> Fetched:
    """Resolves and fetches a reference and all below it, each blob in two parts."""
    reference, never = Reference.parse(text), Cancellation()
    target = client.resolve(reference, who, never).target
    raw = client.fetch_manifest(reference, target, who, never).raw
    blobs: dict[str, bytes] = {}
    waiting = [parse_manifest(raw, target.media_type)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Index):
            for child in node.manifests:
                below = client.fetch_manifest(reference, child, who, never).raw
                waiting.append(parse_manifest(below, child.media_type))
            continue
        for part in (node.config, *node.layers):
            half = part.size // 2
            whole = fetch_blob(client, reference, part, 0, who)
            assert fetch_blob(client, reference, part, half, who) == whole[half:]
            blobs[part.digest] = whole
    return Fetched(target, raw, blobs)


def fetch_blob(
    client: HttpRegistryClient,
    reference: Reference,
    part: Descriptor,
    offset: int,
    who: Credentials | None = None,
) -> bytes:
    data, buffer = b"", memoryview(bytearray(1 << 16))
    with client.open_blob(reference, part, offset, who, Cancellation()) as stream:
        assert stream.offset == offset
        while got := stream.readinto(buffer):
            data += buffer[:got]
    return data


def fail(client: HttpRegistryClient, text: str, who: Credentials | None = None) -> Error:
    with pytest.raises(Error) as caught:
        client.resolve(Reference.parse(text), who, Cancellation())
    return caught.value


def write_layout(folder: Path, image: FakeImage) -> Path:
    """The image as an OCI layout, for skopeo."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, data in [
        *image.blobs.items(),
        *((d, raw) for d, (_, raw) in image.manifests.items()),
    ]:
        (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = descriptor(
        image.raw, image.media_type, annotations={"org.opencontainers.image.ref.name": "it"}
    )
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def skopeo(*words: str) -> bytes:
    command = [str(require("skopeo")), *words]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def push(image: FakeImage, reference: str, folder: Path, *options: str) -> bytes:
    """Pushes with skopeo; returns the manifest as skopeo then reads it back."""
    source = f"oci:{write_layout(folder, image)}:it"
    skopeo("copy", "--all", "--dest-tls-verify=false", *options, source, f"docker://{reference}")
    credentials = [one.replace("--dest-creds", "--creds") for one in options if "creds" in one]
    return skopeo("inspect", "--raw", "--tls-verify=false", *credentials, f"docker://{reference}")


# --- what skopeo pushed


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.mark.parametrize(
    ("image", "options", "media_type"),
    [
        (IMAGE, [], media.OCI_MANIFEST),
        (INDEX, [], media.OCI_INDEX),
        (IMAGE, ["--format", "v2s2"], media.DOCKER_MANIFEST),
        (INDEX, ["--format", "v2s2"], media.DOCKER_MANIFEST_LIST),
    ],
    ids=["OCI", "OCI index", "schema 2", "schema 2 list"],
)
def test_what_skopeo_pushed_is_fetched(
    image: FakeImage, options: list[str], media_type: str, registry: str, tmp_path: Path
) -> None:
    name = f"{registry}/team/app_{media_type.rpartition('.')[0].rpartition('.')[2]}"
    said = push(image, f"{name}:1.0", tmp_path / "layout", *options)
    with registry_client() as client:
        found = fetch(client, f"{name}:1.0")
        assert (found.raw, found.target) == (
            said,
            Descriptor(media_type, Digest.of(said), len(said)),
        )
        assert all(Digest.of(data) == digest for digest, data in found.blobs.items())
        assert {d for d, data in image.blobs.items() if len(data) > 1000} <= set(found.blobs)
        assert fetch(client, f"{name}@{found.target.digest}") == found


def test_what_is_not_there(registry: str, tmp_path: Path) -> None:
    push(IMAGE, f"{registry}/there:1", tmp_path / "layout")
    with registry_client() as client:
        for text, code in [
            (f"{registry}/nowhere:1", "MANIFEST_UNKNOWN"),
            (f"{registry}/there:2", "MANIFEST_UNKNOWN"),
            (f"{registry}/there@{Digest.of(b'x')}", "MANIFEST_UNKNOWN"),
        ]:
            failure = fail(client, text)
            assert (failure.reason, failure.http_status, failure.host, failure.registry_code) == (
                Reason.REMOTE_NOT_FOUND,
                404,
                registry,
                code,
            )
        with pytest.raises(Error) as caught:
            fetch_blob(
                client,
                Reference.parse(f"{registry}/there:1"),
                Descriptor(media.OCI_LAYER, Digest.of(b"x"), 1),
                0,
            )
        assert (caught.value.reason, caught.value.registry_code) == (
            Reason.REMOTE_NOT_FOUND,
            "BLOB_UNKNOWN",
        )


# --- credentials


def test_basic(tmp_path: Path) -> None:
    passwords = tmp_path / "htpasswd"
    passwords.write_text(HTPASSWD)
    auth = f"auth:\n  htpasswd:\n    realm: tests\n    path: {passwords}\n"
    with docker_registry(tmp_path / "registry", more=auth) as address:
        push(IMAGE, f"{address}/app:1", tmp_path / "layout", "--dest-creds=alice:open sesame")
        with registry_client() as client:
            assert fetch(client, f"{address}/app:1", ALICE).raw == IMAGE.raw
            for who in (None, Credentials("alice", "wrong"), Credentials("bob", "open sesame")):
                failure = fail(client, f"{address}/app:1", who)
                assert (failure.reason, failure.http_status) == (Reason.REGISTRY_UNAUTHORIZED, 401)
            # And what failed did no harm to what is known.
            assert fetch(client, f"{address}/app:1", ALICE).raw == IMAGE.raw


def test_tokens(tmp_path: Path) -> None:
    with TokenServer(tmp_path) as server:
        auth = (
            f"auth:\n  token:\n    realm: {server.realm}\n    service: registry\n"
            f"    issuer: tests\n    rootcertbundle: {server.bundle}\n"
        )
        with docker_registry(tmp_path / "registry", more=auth) as address:
            for name in ("public/app", "team/app"):
                layout = tmp_path / name.replace("/", "-")
                push(IMAGE, f"{address}/{name}:1", layout, "--dest-creds=alice:open sesame")
            server.scopes.clear()
            with registry_client() as client:
                assert fetch(client, f"{address}/public/app:1").raw == IMAGE.raw
                assert fetch(client, f"{address}/team/app:1", ALICE).raw == IMAGE.raw
                assert server.scopes == ["repository:public/app:pull", "repository:team/app:pull"]
                failure = fail(client, f"{address}/team/app:1")
                assert (failure.reason, failure.http_status) == (Reason.REGISTRY_UNAUTHORIZED, 401)


# --- TLS

HOST = "registry.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("127.0.0.1", "localhost", HOST)


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts the authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`names(host, …)`: these hosts are at 127.0.0.1."""
    look_up = socket.getaddrinfo

    def resolve(*hosts: str) -> None:
        def fake(host: str, port: int, *rest: Any, **more: Any) -> Any:
            return look_up("127.0.0.1" if host in hosts else host, port, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", fake)

    return resolve


@pytest.mark.usefixtures("trusted")
def test_docker_registry_with_tls(
    certificate: Certificate, names: Callable[..., None], tmp_path: Path
) -> None:
    names(HOST)
    tls = f"  tls:\n    certificate: {certificate.chain}\n    key: {certificate.key}\n"
    with docker_registry(tmp_path / "registry", more=tls) as address, registry_client() as client:
        push(IMAGE, f"{address}/app:1", tmp_path / "layout")
        port = address.rpartition(":")[2]
        # On loopback, TLS is found out; elsewhere it is what is spoken.
        for host in ("127.0.0.1", "localhost", HOST):
            found = fetch(client, f"{host}:{port}/app:1")
            assert found.raw == IMAGE.raw
            assert found.blobs == IMAGE.blobs


@pytest.mark.parametrize("host", ["127.0.0.1", HOST])
def test_an_authority_that_nobody_knows(
    host: str, certificate: Certificate, names: Callable[..., None]
) -> None:
    names(HOST)
    with HostileRegistry(tls=certificate) as registry, registry_client() as client:
        registry.add("app", IMAGE, "1")
        failure = fail(client, f"{host}:{registry.port}/app:1", ALICE)
        assert failure.reason is Reason.REGISTRY_TLS
        assert "issuer certificate" in failure.message
        assert registry.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_host(
    certificate: Certificate, names: Callable[..., None]
) -> None:
    names("other.test")
    with HostileRegistry(tls=certificate) as registry, registry_client() as client:
        failure = fail(client, f"other.test:{registry.port}/app:1")
        assert failure.reason is Reason.REGISTRY_TLS
        assert "other.test" in failure.message


def test_a_plain_registry_where_tls_is_spoken(names: Callable[..., None]) -> None:
    names(HOST)
    with HostileRegistry() as registry:
        registry.add("app", IMAGE, "1")
        domain = f"{HOST}:{registry.port}"
        with registry_client() as client:
            failure = fail(client, f"{domain}/app:1")
            assert failure.reason in (Reason.REGISTRY_TLS, Reason.REGISTRY_UNREACHABLE)
            assert registry.requests == []
        with registry_client(plain_http={domain}) as client:
            assert fetch(client, f"{domain}/app:1").raw == IMAGE.raw


@pytest.mark.usefixtures("trusted")
def test_no_redirect_leaves_tls(certificate: Certificate, names: Callable[..., None]) -> None:
    names(HOST)
    with (
        HostileRegistry(tls=certificate) as registry,
        HostileRegistry() as plain,
        registry_client(allowed_hosts={"127.0.0.1"}) as client,
    ):
        registry.add("app", IMAGE, "1")
        plain.add("app", IMAGE, "1")
        registry.on("", redirect(lambda asked: plain.url + asked.path))
        assert fail(client, f"{HOST}:{registry.port}/app:1").reason is Reason.EGRESS_DENIED
        assert plain.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_realm_with_tls_and_a_redirect_between_hosts(
    certificate: Certificate, names: Callable[..., None]
) -> None:
    names(HOST, "cdn.test")
    with (
        HostileRegistry(tls=certificate) as registry,
        registry_client(allowed_hosts={"localhost"}) as client,
    ):
        registry.add("app", IMAGE, "1")
        realm = f"https://localhost:{registry.port}/token"
        registry.require_bearer(realm, user=ALICE.user, password=ALICE.password)
        assert fetch(client, f"{HOST}:{registry.port}/app:1", ALICE).blobs == IMAGE.blobs
        # The same machine by another name is another host, and a private one.
        registry.on(
            "/blobs/", redirect(lambda asked: f"https://cdn.test:{registry.port}{asked.path}")
        )
        with pytest.raises(Error) as caught:
            fetch(client, f"{HOST}:{registry.port}/app:1", ALICE)
        assert caught.value.reason is Reason.EGRESS_DENIED


@pytest.mark.usefixtures("trusted")
def test_a_cancelled_reader_sees_nothing_that_is_encrypted(certificate: Certificate) -> None:
    never, cancellation = Cancellation(), Cancellation()
    with HostileRegistry(tls=certificate) as registry, registry_client() as client:
        reference = Reference.parse(registry.add("app", IMAGE, "1"))
        target = client.resolve(reference, None, never).target
        manifest = parse_manifest(client.fetch_manifest(reference, target, None, never).raw)
        assert isinstance(manifest, Manifest)
        layer = manifest.layers[1]
        data, buffer = b"", memoryview(bytearray(20_000))
        with client.open_blob(reference, layer, 0, None, cancellation) as stream:
            data += buffer[: stream.readinto(buffer)]
            # What the system holds already may still come, as what it is.
            cancellation.cancel()
            with pytest.raises(Error) as caught:  # noqa: PT012 - how many reads is not known
                while got := stream.readinto(buffer):
                    data += buffer[:got]
        assert caught.value.reason is Reason.CANCELLED
        assert IMAGE.blobs[layer.digest].startswith(data)


# --- sockets


@contextmanager
def deaf() -> Iterator[socket.socket]:
    """A listener that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_handshake_that_hangs_ends(names: Callable[..., None]) -> None:
    names(HOST)
    with deaf() as listener, registry_client(connect_timeout=0.3) as client:
        failure = fail(client, f"{HOST}:{listener.getsockname()[1]}/app:1")
        assert failure.reason is Reason.REGISTRY_TIMEOUT


@pytest.mark.parametrize("host", ["127.0.0.1", HOST], ids=["head", "handshake"])
def test_a_cancellation_wakes_whoever_waits(host: str, names: Callable[..., None]) -> None:
    names(HOST)
    with deaf() as listener, registry_client(connect_timeout=3600, read_timeout=3600) as client:
        reference = Reference.parse(f"{host}:{listener.getsockname()[1]}/app:1")
        cancellation, failures = Cancellation(), []

        def resolve() -> None:
            try:
                client.resolve(reference, None, cancellation)
            except Error as error:
                failures.append(error.reason)

        thread = threading.Thread(target=resolve)
        thread.start()
        connection, _ = listener.accept()
        with connection:
            # The request, or the start of a handshake, is there: now it waits for the answer.
            assert connection.recv(1)
            cancellation.cancel()
            thread.join(60)
        assert failures == [Reason.CANCELLED]


def test_other_addresses_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def fake(host: str, port: int, *rest: Any, **more: Any) -> Any:
        return [
            *look_up("127.0.0.3", port, *rest, **more),
            *look_up("127.0.0.1", port, *rest, **more),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", fake)
    with HostileRegistry() as registry, registry_client() as client:
        registry.add("app", IMAGE, "1")
        assert fetch(client, f"localhost:{registry.port}/app:1").blobs == IMAGE.blobs


def test_ipv6() -> None:
    with HostileRegistry(address="::1") as registry, registry_client() as client:
        reference = registry.add("app", IMAGE, "1")
        assert reference == f"[::1]:{registry.port}/app:1"
        assert fetch(client, reference).blobs == IMAGE.blobs
        assert {one.headers["host"] for one in registry.requests} == {f"[::1]:{registry.port}"}
