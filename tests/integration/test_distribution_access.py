"""The registry inside with users, tokens and TLS, as other people's clients meet it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest

from imgd_server.distribution import AccessConfig, open_access, open_tls
from imgd_server.oci import Digest
from tests.certificates import Authority, Certificate
from tests.daemon import PATIENCE, Daemon, refused, run_daemon
from tests.peers import require
from tests.real_images import RealImages
from tests.registry_inside import Inside, serve_inside
from tests.token_server import TokenServer


def write_htpasswd(path: Path, **users: str) -> Path:
    hashes = {
        user: bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        for user, password in users.items()
    }
    path.write_text("".join(f"{user}:{hashed}\n" for user, hashed in hashes.items()))
    return path


def basic(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


ALICE_HEADER = basic("alice:open sesame")
# One request of each kind, and whether it only reads.
REQUESTS = [
    ("GET", "/v2/_catalog", True),
    ("GET", "/v2/app/tags/list", True),
    ("GET", "/v2/app/manifests/1", True),
    ("HEAD", "/v2/app/manifests/1", True),
    ("GET", f"/v2/app/blobs/{Digest.of(b'')}", True),
    ("GET", f"/v2/app/referrers/{Digest.of(b'')}", True),
    ("PUT", "/v2/app/manifests/1", False),
    ("DELETE", "/v2/app/manifests/1", False),
    ("DELETE", f"/v2/app/blobs/{Digest.of(b'')}", False),
    ("POST", "/v2/app/blobs/uploads/", False),
    ("GET", f"/v2/app/blobs/uploads/{'0' * 32}", False),
    ("PATCH", f"/v2/app/blobs/uploads/{'0' * 32}", False),
    ("PUT", f"/v2/app/blobs/uploads/{'0' * 32}", False),
    ("DELETE", f"/v2/app/blobs/uploads/{'0' * 32}", False),
]


@pytest.fixture(params=[False, True], ids=["closed", "anonymous"])
async def users(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Inside, bool]]:
    file = write_htpasswd(tmp_path / "htpasswd", alice="open sesame")
    access = open_access(AccessConfig(htpasswd=str(file), anonymous_read=request.param))
    async with serve_inside(tmp_path, access=access) as inside:
        yield inside, request.param


@pytest.mark.parametrize(("method", "path", "reads"), REQUESTS)
async def test_users_may_everything_and_others_at_most_read(
    users: tuple[Inside, bool], method: str, path: str, reads: bool
) -> None:
    inside, anonymous = users
    for headers in ({}, basic(":")):
        answer = await inside.call(method, path, headers=headers)
        if anonymous and reads:
            assert answer.status in (200, 404)
            continue
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="imgd"'
        assert method == "HEAD" or answer.code == "UNAUTHORIZED"
    answer = await inside.call(method, path, headers=ALICE_HEADER)
    assert answer.status != 401
    # Wrong credentials are refused also where none are needed.
    for wrong in ("alice:close", "bob:open sesame", "alice", "alice:", ":x"):
        answer = await inside.call(method, path, headers=basic(wrong))
        assert answer.status == 401
    for scheme in ("Basic", "Basic ?", "Bearer x", "Digest y"):
        answer = await inside.call(method, path, headers={"Authorization": scheme})
        assert answer.status == 401


async def test_the_base_tells_clients_how_to_log_in(users: tuple[Inside, bool]) -> None:
    inside, _ = users
    assert (await inside.call("GET", "/v2/")).status == 401
    assert (await inside.call("GET", "/v2/", headers=ALICE_HEADER)).status == 200


async def test_guesses_end_in_429(
    users: tuple[Inside, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the guesses take here.
    monkeypatch.setattr("imgd_server.distribution._htpasswd._REFILL_SECONDS", 1e6)
    inside, _ = users
    assert (await inside.call("GET", "/v2/", headers=ALICE_HEADER)).status == 200
    answers = [await inside.call("GET", "/v2/", headers=basic(f"alice:{n}")) for n in range(12)]
    assert [one.status for one in answers[:10]] == [401] * 10
    assert answers[-1].status == 429
    assert answers[-1].code == "TOOMANYREQUESTS"
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert (await inside.call("GET", "/v2/", headers=ALICE_HEADER)).status == 200


# --- tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with TokenServer(tmp_path) as server:
        yield server


@pytest.fixture
async def guarded(tmp_path: Path, tokens: TokenServer) -> AsyncIterator[Inside]:
    access = open_access(
        AccessConfig(
            token_realm=tokens.realm,
            token_service="registry",
            token_issuer="tests",
            token_keys=str(tokens.bundle),
        )
    )
    async with serve_inside(tmp_path / "state", access=access) as inside:
        yield inside


def bearer(tokens: TokenServer, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens.token(list(scopes), alice=True)}"}


@pytest.mark.parametrize(("method", "path", "reads"), REQUESTS)
async def test_a_challenge_names_the_scope(
    guarded: Inside, tokens: TokenServer, method: str, path: str, reads: bool
) -> None:
    scope = "repository:app:pull" if reads else "repository:app:pull,push"
    if path.endswith("_catalog"):
        scope = "registry:catalog:*"
    elif method == "DELETE" and "uploads" not in path:
        scope = "repository:app:delete"
    start = f'Bearer realm="{tokens.realm}",service="registry"'
    answer = await guarded.call(method, path)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == f'{start},scope="{scope}"'
    # A password is for the token server.
    assert (await guarded.call(method, path, headers=ALICE_HEADER)).status == 401
    answer = await guarded.call(method, path, headers=bearer(tokens, "repository:other:pull,push"))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == (
        f'{start},scope="{scope}",error="insufficient_scope"'
    )
    answer = await guarded.call(method, path, headers={"Authorization": "Bearer x.y.z"})
    assert answer.headers["WWW-Authenticate"] == f'{start},error="invalid_token"'
    if scope.endswith(("pull", "push")):
        answer = await guarded.call(method, path, headers=bearer(tokens, scope))
        assert answer.status in (200, 202, 400, 404)


async def test_the_base_wants_any_token(guarded: Inside, tokens: TokenServer) -> None:
    answer = await guarded.call("GET", "/v2/")
    assert (answer.status, "scope" in answer.headers["WWW-Authenticate"]) == (401, False)
    assert (await guarded.call("GET", "/v2/", headers=bearer(tokens))).status == 200


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("registry.test/app", "app"),
        ("docker.io/app", "docker.io/library/app"),
        ("index.docker.io/library/app", "docker.io/library/app"),
    ],
)
async def test_a_repository_has_one_name_in_scopes(
    guarded: Inside, tokens: TokenServer, path: str, name: str
) -> None:
    """A token server that keeps one name to itself must not be asked about another."""
    answer = await guarded.call("GET", f"/v2/{path}/tags/list")
    assert f'scope="repository:{name}:pull"' in answer.headers["WWW-Authenticate"]
    headers = bearer(tokens, f"repository:{name}:pull")
    assert (await guarded.call("GET", f"/v2/{path}/tags/list", headers=headers)).status == 404
    headers = bearer(tokens, f"repository:{path}:pull")
    assert (await guarded.call("GET", f"/v2/{path}/tags/list", headers=headers)).status == 401


async def test_a_mount_takes_only_what_its_sender_may_read(
    guarded: Inside, tokens: TokenServer
) -> None:
    data = b"a secret"
    digest = Digest.of(data)
    own = "repository:mine:pull,push"
    both = bearer(tokens, own, "repository:secret:pull,push")
    path = f"/v2/secret/blobs/uploads/?digest={digest}"
    assert (await guarded.call("POST", path, data=data, headers=both)).status == 201
    blob = f"/v2/mine/blobs/{digest}"
    for source in ("&from=secret", "&from=registry.test/secret", "&from=mine", "&from=NONE", ""):
        mount = f"/v2/mine/blobs/uploads/?mount={digest}{source}"
        answer = await guarded.call("POST", mount, headers=bearer(tokens, own))
        assert answer.status == 202
        assert (await guarded.call("GET", blob, headers=both)).status == 404
    for source in ("&from=secret", ""):
        mount = f"/v2/mine/blobs/uploads/?mount={digest}{source}"
        assert (await guarded.call("POST", mount, headers=both)).status == 201
        assert (await guarded.call("GET", blob, headers=both)).body == data
        assert (await guarded.call("DELETE", blob, headers=both)).status == 401
        await guarded.metadata.write(lambda session: session.unlink("registry.test/mine", digest))


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def issued(authority: Authority, tmp_path: Path) -> Certificate:
    """A certificate in files of its own, to be replaced."""
    found = authority.issue("127.0.0.1", "localhost")
    chain, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    shutil.copy(found.chain, chain)
    shutil.copy(found.key, key)
    return Certificate(chain, key)


def trusting(*bundles: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for bundle in bundles:
        context.load_verify_locations(bundle)
    return context


async def test_blobs_come_whole_through_tls(
    tmp_path: Path, authority: Authority, issued: Certificate
) -> None:
    data = os.urandom((3 << 20) + 17)
    trust = trusting(authority.bundle)
    async with serve_inside(tmp_path, tls=open_tls(str(issued.chain), str(issued.key))) as inside:
        path = f"/v2/app/blobs/uploads/?digest={Digest.of(data)}"
        assert (await inside.call("POST", path, data=io.BytesIO(data), ssl=trust)).status == 201
        blob = f"/v2/app/blobs/{Digest.of(data)}"
        assert (await inside.call("GET", blob, ssl=trust)).body == data
        part = {"Range": f"bytes=1000-{2 << 20}"}
        answer = await inside.call("GET", blob, ssl=trust, headers=part)
        assert (answer.status, answer.body) == (206, data[1000 : (2 << 20) + 1])
        assert (await inside.call("HEAD", blob, ssl=trust)).headers["Content-Length"] == str(
            len(data)
        )
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await inside.call("GET", "/v2/")


async def test_a_renewed_certificate_is_shown(
    tmp_path: Path, authority: Authority, issued: Certificate
) -> None:
    fresh = Authority(tmp_path / "fresh", "another authority")
    async with serve_inside(tmp_path, tls=open_tls(str(issued.chain), str(issued.key))) as inside:

        async def shown() -> str:
            """The authority that issued what a new connection is shown; with and without SNI."""
            context = trusting(authority.bundle, fresh.bundle)
            names = set()
            for name in ("localhost", "127.0.0.1"):
                reader, writer = await asyncio.open_connection(
                    *inside.address, ssl=context, server_hostname=name
                )
                certificate: Any = writer.get_extra_info("peercert")
                names.add(dict(part[0] for part in certificate["issuer"])["commonName"])
                writer.close()
                await writer.wait_closed()
                assert await reader.read() == b""
            (name,) = names
            return str(name)

        assert await shown() == "imgd tests"
        renewed = fresh.issue("127.0.0.1", "localhost")
        # Halfway, the two do not fit together: the former stay in force.
        shutil.copy(renewed.chain, issued.chain)
        assert await shown() == "imgd tests"
        shutil.copy(renewed.key, issued.key)
        assert await shown() == "another authority"
        issued.key.unlink()
        assert await shown() == "another authority"


# --- a whole daemon, and other people's clients


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Path:
    """Where clients find the authority (skopeo's --cert-dir)."""
    folder = tmp_path / "certs"
    folder.mkdir()
    shutil.copy(authority.bundle, folder / "ca.crt")
    return folder


def tls_flags(issued: Certificate) -> list[str]:
    return ["--registry-tls-certificate", str(issued.chain), "--registry-tls-key", str(issued.key)]


class Clients:
    """Skopeo and crane with a configuration of their own."""

    def __init__(self, home: Path, certificates: Path) -> None:
        self.home, self.certificates = home, certificates
        self.auth = home / "config.json"

    def log_in(self, registry: str, user: str, password: str) -> None:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.auth.write_text(json.dumps({"auths": {registry: {"auth": pair}}}))

    def log_out(self) -> None:
        self.auth.write_text("{}")

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        environment: Mapping[str, str] = {
            **os.environ,
            "DOCKER_CONFIG": str(self.home),
            "REGISTRY_AUTH_FILE": str(self.auth),
            "SSL_CERT_FILE": str(self.certificates / "ca.crt"),
        }
        return subprocess.run(
            [str(require(program)), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def good(self, program: str, *words: str) -> str:
        done = self.run(program, *words)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def bad(self, program: str, *words: str) -> str:
        done = self.run(program, *words)
        assert done.returncode != 0, done
        return done.stderr.lower()


@pytest.fixture
def clients(tmp_path: Path, folder: Path) -> Clients:
    home = tmp_path / "home"
    home.mkdir()
    clients = Clients(home, folder)
    clients.log_out()
    return clients


@pytest.fixture
def layout(real_images: RealImages) -> str:
    return f"oci:{real_images.folder / 'app'}:app"


def push(
    clients: Clients, layout: str, name: str, *, tls: bool = True
) -> subprocess.CompletedProcess[str]:
    trust = f"--dest-cert-dir={clients.certificates}" if tls else "--dest-tls-verify=false"
    return clients.run("skopeo", "copy", trust, layout, f"docker://{name}")


@pytest.mark.parametrize("anonymous", [False, True], ids=["closed", "anonymous"])
def test_clients_with_users_over_tls(
    tmp_path: Path, clients: Clients, layout: str, issued: Certificate, *, anonymous: bool
) -> None:
    users = write_htpasswd(tmp_path / "htpasswd", alice="open sesame")
    flags = ["--registry-listen", "127.0.0.1:0", "--registry-htpasswd", str(users)]
    if anonymous:
        flags.append("--registry-anonymous-read")
    environment = {"SSL_CERT_FILE": str(clients.certificates / "ca.crt")}
    with run_daemon(
        tmp_path / "state", *flags, *tls_flags(issued), environment=environment
    ) as daemon:
        name = f"{daemon.registry}/team/app:1"
        cert_dir = f"--cert-dir={clients.certificates}"
        assert push(clients, layout, name).returncode != 0
        clients.log_in(daemon.registry, "alice", "close")
        assert push(clients, layout, name).returncode != 0
        clients.log_in(daemon.registry, "alice", "open sesame")
        assert push(clients, layout, name).returncode == 0
        digest = clients.good("crane", "digest", name)
        clients.good("crane", "validate", f"--remote={name}")
        clients.good("crane", "copy", name, f"{daemon.registry}/other/app:2")
        assert clients.good("crane", "catalog", daemon.registry).split() == [
            "other/app",
            "team/app",
        ]
        clients.good("skopeo", "delete", cert_dir, f"docker://{daemon.registry}/other/app:2")
        clients.log_out()
        look = ("skopeo", "inspect", cert_dir, "--format={{.Digest}}", f"docker://{name}")
        if anonymous:
            assert clients.good(*look) == clients.good("crane", "digest", name) == digest
            # imgd is such a client itself, with TLS also on loopback.
            assert daemon.imgctl("pull", name).returncode == 0
        else:
            assert "unauthorized" in clients.bad(*look)
            assert "unauthorized" in clients.bad("crane", "digest", name)
            assert "REGISTRY_UNAUTHORIZED" in daemon.imgctl("pull", name).stderr
        for said in daemon.log:
            assert "sesame" not in str(said)
            assert said.get("level") != "error"
            assert "alice" not in str(said)


def test_clients_with_tokens(
    tmp_path: Path, clients: Clients, layout: str, tokens: TokenServer
) -> None:
    # By its name: crane asks no token server at a private address.
    realm = tokens.realm.replace("127.0.0.1", "localhost")
    flags = [
        *("--registry-listen", "127.0.0.1:0", "--registry-token-realm", realm),
        *("--registry-token-service", "registry", "--registry-token-issuer", "tests"),
        *("--registry-token-keys", str(tokens.bundle)),
    ]
    with run_daemon(tmp_path / "state", *flags) as daemon:
        public, private = f"{daemon.registry}/public/app:1", f"{daemon.registry}/team/app:1"
        assert push(clients, layout, public, tls=False).returncode != 0
        clients.log_in(daemon.registry, "alice", "open sesame")
        for name in (public, private):
            assert push(clients, layout, name, tls=False).returncode == 0
        digest = clients.good("crane", "digest", private)
        clients.good("crane", "validate", f"--remote={private}")
        # A mount: crane asks for both scopes at once.
        clients.good("crane", "copy", private, f"{daemon.registry}/team/copy:1")
        clients.log_out()
        assert clients.good("crane", "digest", public) == digest
        clients.good("crane", "validate", f"--remote={public}")
        assert "unauthorized" in clients.bad("crane", "digest", private)

        clients.bad("skopeo", "delete", "--tls-verify=false", f"docker://{public}")
        assert "repository:team/app:pull,push" in " ".join(tokens.scopes)


# --- where it may listen


def test_other_addresses_need_both(tmp_path: Path, issued: Certificate) -> None:
    users = write_htpasswd(tmp_path / "htpasswd", alice="open sesame")
    flags = ["--root", str(tmp_path / "state"), "--registry-listen", "0.0.0.0:0"]
    access = ["--registry-htpasswd", str(users)]
    for some in ([], access, tls_flags(issued)):
        said = refused(*flags, *some)
        assert "registry_listen: 0.0.0.0 is no loopback address" in said
    assert "registry_host: needed" in refused(*flags, *access, *tls_flags(issued))


def test_other_addresses_are_served_with_both(
    tmp_path: Path, authority: Authority, issued: Certificate, clients: Clients, layout: str
) -> None:
    users = write_htpasswd(tmp_path / "htpasswd", alice="open sesame")
    flags = ["--registry-listen", "0.0.0.0:0", "--registry-htpasswd", str(users)]
    host = ["--registry-host", "images.test"]
    with run_daemon(tmp_path / "state", *flags, *host, *tls_flags(issued)) as daemon:
        port = daemon.registry.rpartition(":")[2]
        name = f"127.0.0.1:{port}/app:1"
        clients.log_in(f"127.0.0.1:{port}", "alice", "open sesame")
        assert push(clients, layout, name).returncode == 0
        assert "images.test/app" in daemon.imgctl("images", "--format", "{{.Repository}}").stdout


def test_a_realm_without_tls_does_not_go_with_tls(
    tmp_path: Path, tokens: TokenServer, issued: Certificate
) -> None:
    """Clients refuse it, for it would send passwords in the clear."""
    said = refused(
        *("--root", str(tmp_path / "state"), "--registry-listen", "127.0.0.1:0"),
        *("--registry-token-realm", tokens.realm, "--registry-token-service", "registry"),
        *("--registry-token-issuer", "tests", "--registry-token-keys", str(tokens.bundle)),
        *tls_flags(issued),
    )
    assert "registry_token_realm: " in said


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        (["--registry-htpasswd", "/nowhere"], "registry_htpasswd"),
        (["--registry-tls-key", "/nowhere"], "registry_tls_certificate"),
        (["--registry-anonymous-read"], "registry_anonymous_read"),
        (["--registry-token-realm", "https://auth.test/"], "registry_token_service"),
    ],
)
def test_what_is_wrong_ends_the_start_with_its_key(
    tmp_path: Path, flags: list[str], key: str
) -> None:
    listen = ["--root", str(tmp_path / "state"), "--registry-listen", "127.0.0.1:0"]
    assert f"{key}: " in refused(*listen, *flags)


def test_a_daemon_with_a_client_that_stays_ends_all_the_same(
    tmp_path: Path, authority: Authority, issued: Certificate
) -> None:
    async def stay(daemon: Daemon) -> int:
        host, _, port = daemon.registry.rpartition(":")
        context = trusting(authority.bundle)
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        try:
            return await asyncio.to_thread(daemon.stop)
        finally:
            writer.transport.abort()

    flags = ["--registry-listen", "127.0.0.1:0", *tls_flags(issued)]
    with run_daemon(tmp_path / "state", *flags) as daemon:
        assert asyncio.run(stay(daemon)) == 0
