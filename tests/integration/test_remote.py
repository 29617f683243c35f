"""Registries looked into, and logged in at, by imgctl: against docker-registry and our own."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd.v1.transfer_pb2 import RegistryCredentials
from imgd_client import AsyncClient, Client, NotFound
from tests.daemon import BIN, Daemon, run_daemon
from tests.fake_images import (
    OCI_INDEX,
    OCI_MANIFEST,
    FakeImage,
    descriptor,
    make_document,
    make_image,
    make_index,
)
from tests.hostile import Answer, HostileRegistry, header, refuse, stall
from tests.peers import require
from tests.registries import docker_registry, push_image
from tests.terminal import Terminal
from tests.token_server import TokenServer

IMAGE, ARM = make_image([b"amd64"]), make_image([b"arm"], architecture="arm64", variant="v8")
INDEX = make_index(
    [
        (IMAGE, {"os": "linux", "architecture": "amd64"}),
        (ARM, {"os": "linux", "architecture": "arm64", "variant": "v8"}),
    ]
)
ANYBODY = RegistryCredentials(
    user_password=RegistryCredentials.UserPassword(user="any", password="body")
)
TAGS = ["1.0", "1.1", "2.0", "latest"]
USER, PASSWORD = "alice", "open sesame"
# bcrypt, the only thing that docker-registry takes, of the password above.
HTPASSWD = "alice:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"
HELPER = """\
#!/bin/sh
cd "$(dirname "$0")" || exit 1
case $1 in
store) cat >kept ;;
get)
    [ -e kept ] || { echo "credentials not found in native keychain"; exit 1; }
    cat kept ;;
erase) rm -f kept ;;
esac
"""


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A docker-registry for everybody."""
    with docker_registry(tmp_path_factory.mktemp("open")) as address:
        push_image(address, "team/app", INDEX, *TAGS)
        push_image(address, "other", IMAGE, "1")
        yield address


@pytest.fixture(scope="module")
def closed_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A docker-registry that only alice may use."""
    folder = tmp_path_factory.mktemp("closed")
    users = folder / "htpasswd"
    users.write_text(HTPASSWD)
    more = f"auth:\n  htpasswd:\n    realm: tests\n    path: {users}\n"
    with docker_registry(folder, more=more) as address:
        push_image(address, "team/app", IMAGE, *TAGS, user=USER, password=PASSWORD)
        yield address


@pytest.fixture(scope="module")
def hub() -> Iterator[HostileRegistry]:
    """What the daemon searches instead of Docker Hub."""
    results = [
        {
            "name": "redis",
            "description": "Redis is the world’s fastest data platform for caching, and more",
            "star_count": 13000,
            "is_official": True,
        },
        {"name": "bitnami/redis", "description": "", "star_count": 300, "is_official": False},
        {"name": "a/b", "description": "x\x1b[31my", "star_count": 2, "is_official": False},
    ]
    body = json.dumps({"num_pages": 1, "results": results}).encode()
    with HostileRegistry() as hub:
        hub.on("/v1/search", lambda _request, _answer: Answer(200, {}, body))
        yield hub


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hub: HostileRegistry) -> Iterator[Daemon]:
    """A daemon with a registry inside."""
    root = tmp_path_factory.mktemp("daemon") / "root"
    flags = ("--registry-listen", "127.0.0.1:0", "--search-host", hub.host)
    with run_daemon(root, *flags) as daemon:
        yield daemon


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Docker's folder, empty."""
    return tmp_path / "docker"


@pytest.fixture
def imgctl(daemon: Daemon, home: Path) -> Any:
    def run(*words: str, path: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_CONFIG": str(home)}
        if path:
            environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
        return daemon.imgctl(*words, env=environment, **options)

    return run


def refused(done: subprocess.CompletedProcess[str], reason: str) -> str:
    """The one line of a failed command, which has this reason."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"({reason})")
    return line


# --- look-ups


class TestLookUps:
    def test_tags(self, imgctl: Any, open_registry: str) -> None:
        name = f"{open_registry}/team/app"
        assert imgctl("tags", name).stdout.split() == TAGS
        assert imgctl("tags", name, "--filter", "1.*").stdout.split() == ["1.0", "1.1"]
        seen = subprocess.run(
            [require("skopeo"), "list-tags", "--tls-verify=false", f"docker://{name}"],
            check=True,
            capture_output=True,
        )
        assert sorted(json.loads(seen.stdout)["Tags"]) == TAGS
        refused(imgctl("tags", f"{open_registry}/none"), "REMOTE_NOT_FOUND")

    def test_digest_and_manifest(self, imgctl: Any, open_registry: str) -> None:
        name = f"{open_registry}/team/app:2.0"
        assert imgctl("digest", name).stdout == f"{INDEX.digest}\n"
        assert imgctl("digest", name, "--platform", "linux/arm64").stdout == f"{ARM.digest}\n"
        assert imgctl("manifest", name).stdout == INDEX.raw.decode()
        arm = imgctl("manifest", name, "--platform", "linux/arm64").stdout
        assert arm == ARM.raw.decode()
        config = imgctl("manifest", "raw", name, "--platform", "linux/arm64", "--config")
        assert config.stdout == ARM.blobs[ARM.image_id].decode()
        assert imgctl("manifest", name, "--config").returncode == 1
        refused(imgctl("digest", name, "--platform", "linux/s390x"), "REMOTE_PLATFORM_NOT_FOUND")
        refused(imgctl("digest", f"{open_registry}/team/app:none"), "REMOTE_NOT_FOUND")
        seen = subprocess.run(
            [require("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{name}"],
            check=True,
            capture_output=True,
        )
        assert seen.stdout == INDEX.raw

    def test_manifest_inspect(self, imgctl: Any, open_registry: str) -> None:
        name = f"{open_registry}/team/app"
        plain = imgctl("manifest", "inspect", name).stdout
        assert plain == json.dumps(INDEX.document, indent="\t") + "\n"
        found = json.loads(imgctl("manifest", "inspect", "-v", name).stdout)
        entries = INDEX.document["manifests"]
        assert [one["Ref"] for one in found] == [
            f"{name}:latest@{entry['digest']}" for entry in entries
        ]
        assert [one["Descriptor"] for one in found] == entries
        assert [base64.b64decode(one["Raw"]) for one in found] == [IMAGE.raw, ARM.raw]
        assert [one["OCIManifest"] for one in found] == [IMAGE.document, ARM.document]
        by_digest = f"{name}@{ARM.digest}"
        single = json.loads(imgctl("manifest", "inspect", "--verbose", by_digest).stdout)
        assert single["Ref"] == by_digest
        assert single["Descriptor"]["platform"] == {
            "architecture": "arm64",
            "os": "linux",
            "variant": "v8",
        }

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"schemaVersion":2,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
            b'{"schemaVersion":2,"x":' + b"7" * 10_000 + b"}",
            b'\xff\xfe{"schemaVersion":2}',
            b"[]" * 2,
        ],
        ids=["deep", "a long number", "no UTF-8", "two values"],
    )
    def test_what_can_not_be_shown_is_printed_as_it_is(self, imgctl: Any, raw: bytes) -> None:
        with HostileRegistry() as registry:
            name = registry.add("odd/app", make_document(raw, OCI_INDEX), "1")
            shown = imgctl("manifest", "inspect", name)
            assert shown.returncode == 1
            assert f"`imgctl manifest {name}` prints it" in shown.stderr
            assert "Traceback" not in shown.stderr

    def test_the_catalog_of_both_registries(self, daemon: Daemon, open_registry: str) -> None:
        push_image(daemon.registry, "b/own", IMAGE, "1")
        push_image(daemon.registry, "a/own", IMAGE, "1")
        with Client(daemon.address) as client:
            assert [*client.registry.repositories(open_registry)] == ["other", "team/app"]
            own = [*client.registry.repositories(daemon.registry, page_size=1)]
            assert [name for name in own if name.endswith("/own")] == ["a/own", "b/own"]

    async def test_the_client_for_asyncio(self, daemon: Daemon, open_registry: str) -> None:
        name = f"{open_registry}/team/app"
        async with AsyncClient(daemon.address) as client:
            registry = client.registry
            assert [one async for one in registry.tags(name, page_size=3)] == TAGS
            assert (await registry.resolve(name)).target.digest == INDEX.digest
            found = await registry.manifest(name, platform="linux/arm64", include_config=True)
            assert (found.descriptor.digest, found.raw) == (ARM.digest, ARM.raw)
            assert found.config == ARM.blobs[ARM.image_id]
            assert [one async for one in registry.referrers(name)] == []
            catalog = [one async for one in registry.repositories(open_registry, page_size=1)]
            assert catalog == ["other", "team/app"]
            names = [one.repository async for one in registry.search("x", page_size=1)]
            assert names == ["redis", "bitnami/redis", "a/b"]
            assert await registry.rate_budgets(open_registry) == []
            assert await registry.check_credentials(open_registry, ANYBODY) == ""
            with pytest.raises(NotFound, match="none"):
                await registry.manifest(f"{open_registry}/none:1")
        with Client(daemon.address) as client, pytest.raises(NotFound, match="none"):
            client.registry.manifest(f"{open_registry}/none:1")


def artifact(kind: str, subject: FakeImage) -> FakeImage:
    empty = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": descriptor(empty, "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(empty, "application/vnd.oci.empty.v1+json")],
        "subject": descriptor(subject.raw, subject.media_type),
    }
    return make_document(document, blobs={descriptor(empty, "")["digest"]: empty})


class TestReferrers:
    SIGNATURE = artifact("application/vnd.test.signature", IMAGE)
    SBOM = artifact("application/vnd.test.sbom", IMAGE)

    def check(self, imgctl: Any, name: str) -> None:
        every = imgctl("referrers", name, "-q").stdout.split()
        assert every == sorted([self.SIGNATURE.digest, self.SBOM.digest])
        kind = ("--artifact-type", "application/vnd.test.sbom")
        table = imgctl("referrers", name, *kind).stdout.splitlines()
        assert [line.split() for line in table] == [
            ["DIGEST", "ARTIFACT", "TYPE", "SIZE"],
            [self.SBOM.digest, "application/vnd.test.sbom", f"{len(self.SBOM.raw)}B"],
        ]
        only = imgctl("referrers", name, *kind, "--format", "{{.ArtifactType}}").stdout
        assert only == "application/vnd.test.sbom\n"

    def test_by_the_api_of_our_registry(self, imgctl: Any, daemon: Daemon) -> None:
        push_image(daemon.registry, "signed", IMAGE, "1")
        for one in (self.SIGNATURE, self.SBOM):
            push_image(daemon.registry, "signed", one)
        self.check(imgctl, f"{daemon.registry}/signed:1")

    def test_by_the_tag_where_the_registry_has_no_api(
        self, imgctl: Any, open_registry: str
    ) -> None:
        push_image(open_registry, "signed", IMAGE, "1")
        entries = []
        for one in (self.SIGNATURE, self.SBOM):
            push_image(open_registry, "signed", one)
            kind = one.document["artifactType"]
            entries.append(descriptor(one.raw, OCI_MANIFEST, artifactType=kind))
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        tag = IMAGE.digest.replace(":", "-")
        push_image(open_registry, "signed", make_document(index, OCI_INDEX), tag)
        self.check(imgctl, f"{open_registry}/signed:1")


class TestSearch:
    def test_dockers_table(self, imgctl: Any) -> None:
        done = imgctl("search", "redis")
        assert (done.stderr, done.returncode) == ("", 0)
        assert [line.rstrip() for line in done.stdout.splitlines()] == [
            "NAME            DESCRIPTION                                     STARS     OFFICIAL",
            "redis           Redis is the world’s fastest data platform f…   13000     [OK]",
            "bitnami/redis                                                   300",
            "a/b             x [31my                                         2",
        ]
        full = imgctl("search", "--no-trunc", "--format", "{{.Description}}", "redis")
        assert full.stdout.startswith("Redis is the world’s fastest data platform for caching, and")

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [
            (["--filter", "is-official=true"], ["redis"]),
            (["--filter", "is-official=false"], ["bitnami/redis", "a/b"]),
            (["-f", "stars=300"], ["redis", "bitnami/redis"]),
            (["-f", "stars=300", "-f", "is-official=false"], ["bitnami/redis"]),
            (["--limit", "1"], ["redis"]),
            (["--limit", "1", "-f", "is-official=false"], ["bitnami/redis"]),
        ],
    )
    def test_filters(self, imgctl: Any, flags: list[str], expected: list[str]) -> None:
        done = imgctl("search", *flags, "--format", "{{.Name}}", "redis")
        assert done.stdout.split() == expected

    def test_as_json(self, imgctl: Any) -> None:
        (line,) = imgctl("search", "--limit", "1", "--format", "json", "redis").stdout.splitlines()
        found = json.loads(line)
        assert (found["Name"], found["StarCount"]) == ("redis", "13000")
        assert (found["IsOfficial"], found["IsAutomated"]) == ("true", "false")

    def test_another_registry(self, imgctl: Any, hub: HostileRegistry) -> None:
        done = imgctl("search", f"{hub.host}/team/x", "--format", "{{.Name}} {{.IsOfficial}}")
        assert done.stdout.splitlines()[0] == f"{hub.host}/redis "
        assert "?q=team%2Fx&" in hub.requests[-1].path

    @pytest.mark.parametrize(
        "words",
        [["--filter", "stars=x"], ["--filter", "size=1"], ["--limit", "0"], ["--limit", "101"]],
    )
    def test_what_it_does_not_know(self, imgctl: Any, words: list[str]) -> None:
        assert imgctl("search", *words, "redis").returncode == 125


# --- logging in


class TestLogin:
    def test_one_login_serves_every_command(
        self, imgctl: Any, home: Path, closed_registry: str
    ) -> None:
        name = f"{closed_registry}/team/app"
        refused(imgctl("tags", name), "REGISTRY_UNAUTHORIZED")
        refused(imgctl("pull", "-q", name), "REGISTRY_UNAUTHORIZED")

        done = imgctl("login", "-u", USER, "--password-stdin", closed_registry, input=PASSWORD)

        assert (done.returncode, done.stdout) == (0, "Login Succeeded\n")
        assert "unencrypted" in done.stderr
        path = home / "config.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        assert json.loads(path.read_text()) == {"auths": {closed_registry: {"auth": pair}}}
        assert imgctl("tags", name).stdout.split() == TAGS
        assert imgctl("digest", name).stdout.strip() == IMAGE.digest
        assert imgctl("manifest", name).stdout == IMAGE.raw.decode()
        assert imgctl("referrers", name).returncode == 0
        assert imgctl("pull", "-q", name).stdout == f"{name}:latest\n"
        assert imgctl("push", "-q", f"{name}:latest").returncode == 0
        copied = imgctl("copy", "-q", f"{name}:1.0", f"{closed_registry}/copied/app:1")
        assert (copied.returncode, copied.stderr) == (0, "")
        assert imgctl("tags", f"{closed_registry}/copied/app").stdout == "1\n"
        again = imgctl("login", closed_registry).stdout.splitlines()
        assert again == ["Authenticating with existing credentials...", "Login Succeeded"]

        said = imgctl("logout", closed_registry).stdout
        assert said == f"Removing login credentials for {closed_registry}\n"
        assert json.loads(path.read_text()) == {"auths": {}}
        refused(imgctl("tags", name), "REGISTRY_UNAUTHORIZED")
        assert imgctl("logout", closed_registry).stdout == f"Not logged in to {closed_registry}\n"

    def test_what_docker_tools_wrote_is_read_and_they_read_ours(
        self, imgctl: Any, home: Path, closed_registry: str
    ) -> None:
        imgctl("login", "-u", USER, "-p", PASSWORD, closed_registry)
        command = [str(require("skopeo")), "list-tags", "--tls-verify=false"]
        environment = {**os.environ, "REGISTRY_AUTH_FILE": str(home / "config.json")}
        name = f"{closed_registry}/team/app"
        seen = subprocess.run(
            [*command, f"docker://{name}"], check=True, capture_output=True, env=environment
        )
        assert sorted(json.loads(seen.stdout)["Tags"]) == TAGS
        (home / "config.json").unlink()
        subprocess.run(
            [require("skopeo"), "login", "--tls-verify=false", "-u", USER, "-p", PASSWORD,
             "--authfile", str(home / "config.json"), closed_registry],
            check=True, capture_output=True,
        )  # fmt: skip
        assert imgctl("tags", name).stdout.split() == TAGS

    def test_a_transfer_that_failed_for_want_of_a_login_can_be_resumed_after_it(
        self, imgctl: Any, closed_registry: str
    ) -> None:
        transfer = imgctl("pull", "--detach", f"{closed_registry}/team/app:1.1").stdout.strip()
        assert imgctl("watch", transfer).returncode == 1
        imgctl("login", "-u", USER, "--password-stdin", closed_registry, input=PASSWORD)
        resumed = imgctl("resume", "-q", transfer)
        assert resumed.stdout == f"{closed_registry}/team/app:1.1\n", resumed.stderr

    def test_a_wrong_password_is_kept_nowhere(
        self, imgctl: Any, home: Path, daemon: Daemon, closed_registry: str
    ) -> None:
        words = ("login", "-u", USER, "--password-stdin", closed_registry)
        line = refused(imgctl(*words, input="hunter2\n"), "REGISTRY_UNAUTHORIZED")
        assert "hunter2" not in line
        assert not home.exists()
        assert "hunter2" not in json.dumps(daemon.log)

    def test_a_helper_keeps_it(
        self, imgctl: Any, home: Path, tmp_path: Path, closed_registry: str
    ) -> None:
        program = tmp_path / "bin" / "docker-credential-fake"
        program.parent.mkdir()
        program.write_text(HELPER)
        program.chmod(0o755)
        home.mkdir()
        (home / "config.json").write_text('{"credsStore": "fake"}')
        path = str(program.parent)

        done = imgctl(
            "login", "-u", USER, "--password-stdin", closed_registry, input=PASSWORD, path=path
        )

        assert (done.stdout, done.stderr) == ("Login Succeeded\n", "")
        kept = json.loads((program.parent / "kept").read_text())
        assert kept == {"ServerURL": closed_registry, "Username": USER, "Secret": PASSWORD}
        assert PASSWORD not in (home / "config.json").read_text()
        name = f"{closed_registry}/team/app"
        assert imgctl("tags", name, path=path).stdout.split() == TAGS
        imgctl("logout", closed_registry, path=path)
        assert not (program.parent / "kept").exists()
        refused(imgctl("tags", name, path=path), "REGISTRY_UNAUTHORIZED")

    def test_a_person_is_asked_and_the_password_is_not_shown(
        self, daemon: Daemon, home: Path, closed_registry: str
    ) -> None:
        command = [str(BIN / "imgctl"), "--address", daemon.address, "login", closed_registry]
        terminal = Terminal(command, environment={**os.environ, "DOCKER_CONFIG": str(home)})
        try:
            terminal.wait_for(lambda: "Username" in terminal.text)
            terminal.type(f"{USER}\n")
            # The blank comes when the terminal no longer shows what is typed, and has forgotten
            # what was typed before.
            terminal.wait_for(lambda: "Password: " in terminal.raw)
            terminal.type(f"{PASSWORD}\n")
            terminal.wait_for(lambda: "Login Succeeded" in terminal.text)
            assert terminal.wait() == 0
            assert PASSWORD not in terminal.raw
        finally:
            terminal.close()
        assert closed_registry in (home / "config.json").read_text()

    def test_nobody_is_asked_without_a_terminal(self, imgctl: Any, closed_registry: str) -> None:
        done = imgctl("login", closed_registry, stdin=subprocess.DEVNULL)
        assert done.returncode == 1
        assert "--password-stdin" in done.stderr

    def test_credentials_that_are_good_no_more(
        self, imgctl: Any, home: Path, closed_registry: str
    ) -> None:
        home.mkdir()
        pair = base64.b64encode(f"{USER}:former".encode()).decode()
        before = json.dumps({"auths": {closed_registry: {"auth": pair}}})
        (home / "config.json").write_text(before)
        done = imgctl("login", closed_registry, stdin=subprocess.DEVNULL)
        assert done.returncode == 1
        assert "Login did not succeed" in done.stderr
        assert "former" not in done.stderr
        assert (home / "config.json").read_text() == before

    def test_at_a_registry_with_a_token_server(self, imgctl: Any, tmp_path: Path) -> None:
        with TokenServer(tmp_path) as tokens:
            more = (
                f"auth:\n  token:\n    realm: {tokens.realm}\n    service: registry\n"
                f"    issuer: tests\n    rootcertbundle: {tokens.bundle}\n"
            )
            with docker_registry(tmp_path / "registry", more=more) as address:
                name = f"{address}/private/app"
                refused(imgctl("tags", name), "REGISTRY_UNAUTHORIZED")
                done = imgctl("login", "-u", USER, "--password-stdin", address, input=PASSWORD)
                assert done.stdout == "Login Succeeded\n"
                # Known, and empty.
                refused(imgctl("tags", name), "REMOTE_NOT_FOUND")
        assert set(tokens.scopes) == {"repository:private/app:pull"}

    def test_at_our_own_registry(self, imgctl: Any, tmp_path: Path) -> None:
        users = tmp_path / "htpasswd"
        users.write_text(HTPASSWD)
        flags = ("--registry-listen", "127.0.0.1:0", "--registry-htpasswd", str(users))
        with run_daemon(tmp_path / "own", *flags) as own:
            push_image(own.registry, "app", IMAGE, *TAGS, user=USER, password=PASSWORD)
            name = f"{own.registry}/app"
            wrong = ("login", "-u", USER, "--password-stdin", own.registry)
            refused(imgctl(*wrong, input="wrong"), "REGISTRY_UNAUTHORIZED")
            refused(imgctl("tags", name), "REGISTRY_UNAUTHORIZED")
            assert imgctl(*wrong, input=PASSWORD).stdout == "Login Succeeded\n"
            assert imgctl("tags", name).stdout.split() == TAGS

    @pytest.mark.parametrize(
        "words", [["--password-stdin"], ["-u", "a", "-p", "b", "--password-stdin"]]
    )
    def test_contradictions(self, imgctl: Any, words: list[str]) -> None:
        assert imgctl("login", *words, "h.io", input="x").returncode == 125
        assert imgctl("login", "-u", "a", "--password-stdin", "h.io", input="").returncode == 125


# --- faults


def test_a_registry_that_leads_elsewhere_is_told_of(imgctl: Any) -> None:
    with HostileRegistry() as registry, HostileRegistry() as victim:
        link = f'<{victim.url}/v2/app/tags/list>; rel="next"'
        registry.on("/tags/list", lambda *_: Answer(200, {"Link": link}, b'{"tags": ["a", "b"]}'))
        done = imgctl("tags", f"{registry.host}/app")
        refused(done, "REGISTRY_PROTOCOL")
        assert victim.requests == []


def test_what_registries_say_of_their_limits_is_known(daemon: Daemon, imgctl: Any) -> None:
    with HostileRegistry() as registry:
        name = registry.add("app", IMAGE, "1")
        registry.on("", header(RateLimit_Limit="100;w=21600", RateLimit_Remaining="7;w=21600"))
        assert imgctl("digest", name).stdout.strip() == IMAGE.digest
        registry.on("", refuse(429, Retry_After="600"))
        refused(imgctl("digest", name), "REGISTRY_RATE_LIMITED")
        with Client(daemon.address) as client:
            (budget,) = client.registry.rate_budgets(registry.host)
    assert (budget.limit, budget.remaining, budget.window.seconds) == (100, 7, 21600)
    assert budget.HasField("blocked_until")
    until, told = (one.ToJsonString() for one in (budget.blocked_until, budget.update_time))
    shown = [line for line in imgctl("info").stdout.splitlines() if registry.host in line]
    says = f"7 of 100 left in 6 hours, no requests until {until} (told {told})"
    assert shown == [f" {registry.host}:  {says}"]
    (as_json,) = json.loads(imgctl("info", "--format", "json").stdout)["RateBudgets"]
    assert (as_json["host"], as_json["remaining"]) == (registry.host, "7")


def test_a_daemon_that_stops_waits_for_no_registry(tmp_path: Path) -> None:
    with HostileRegistry() as registry:
        registry.on("HEAD", stall())
        name = registry.add("app", IMAGE, "1")
        flags = ("--read-timeout", "3600", "--drain", "0")
        with run_daemon(tmp_path / "root", *flags) as daemon:
            command = [str(BIN / "imgctl"), "--address", daemon.address, "digest", name]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as asking:
                registry.wait_for("HEAD")
                assert daemon.stop() == 0
                assert asking.wait(60) == 1
