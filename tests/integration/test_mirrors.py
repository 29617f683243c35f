"""The daemon with configured registries: docker-registry as a mirror, TLS, logins, a proxy."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import socketserver
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from imgd_server.registry import parse_registries
from tests.certificates import Authority
from tests.daemon import Daemon, refused, run_daemon
from tests.fake_images import FakeImage, make_image, make_layer
from tests.hostile import HostileRegistry
from tests.pulling import noise
from tests.registries import docker_registry, push_image

NET = 60.0
IMAGE = make_image([make_layer({"a": b"a" * 1000}), make_layer({"b": noise(300_000)})])
OTHER = make_image([make_layer({"c": noise(5000, 3)})])
USER, PASSWORD = "alice", "open sesame"
# bcrypt, the only thing that docker-registry takes, of the password above.
HTPASSWD = "alice:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"


@contextmanager
def configured(
    tmp_path: Path, text: str, environment: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    file = tmp_path / "imgd.toml"
    file.write_text(text)
    with run_daemon(tmp_path / "root", "--config", str(file), environment=environment) as daemon:
        yield daemon


def pull(daemon: Daemon, name: str) -> set[str]:
    """Pulls, and returns the hosts that served its blobs and manifests."""
    done = daemon.imgctl("pull", "--json", name)
    assert done.returncode == 0, (done.stdout, done.stderr, daemon.log)
    hosts = set()
    for line in done.stdout.splitlines():
        event: dict[str, Any] = json.loads(line)
        for kind in ("snapshot", "update"):
            for node in event.get(kind, {}).get("nodes", []):
                hosts |= {host for host in [node.get("host", "")] if host}
    return hosts


def assert_stored(daemon: Daemon, image: FakeImage) -> None:
    for digest, data in image.blobs.items():
        path = daemon.root / "content/blobs" / digest.replace(":", "/")
        assert path.read_bytes() == data


def test_docker_registry_as_a_mirror(tmp_path: Path) -> None:
    with ExitStack() as stack, docker_registry(tmp_path / "upstream") as upstream:
        push_image(upstream, "team/app", IMAGE, "1")
        push_image(upstream, "team/other", OTHER, "1")
        proxied = f"proxy:\n  remoteurl: http://{upstream}\n"
        mirror = stack.enter_context(docker_registry(tmp_path / "mirror", more=proxied))
        text = f'[registries."{upstream}".host."http://{mirror}"]\n'
        daemon = stack.enter_context(configured(tmp_path, text))
        assert pull(daemon, f"{upstream}/team/app:1") == {mirror}
        assert_stored(daemon, IMAGE)
        shown = daemon.imgctl("images", "--format", "{{.Repository}}").stdout
        assert shown == f"{upstream}/team/app\n"


def test_the_registry_itself_where_its_mirrors_are_gone_or_have_it_not(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "gone") as gone:
        pass
    with (
        docker_registry(tmp_path / "upstream") as upstream,
        docker_registry(tmp_path / "empty") as empty,
    ):
        push_image(upstream, "team/app", IMAGE, "1")
        tables = "".join(
            f'[registries."{upstream}".host."http://{mirror}"]\n' for mirror in (gone, empty)
        )
        with configured(tmp_path, tables) as daemon:
            assert pull(daemon, f"{upstream}/team/app:1") == {upstream}
            assert_stored(daemon, IMAGE)
    # The mirror that only has it not is well.
    left_out = [one for one in daemon.log if one["event"] == "mirror left out"]
    assert [(one["host"], one["reason"]) for one in left_out] == [(gone, "REGISTRY_UNREACHABLE")]


def test_our_own_registry_as_a_mirror(tmp_path: Path) -> None:
    """As a pull-through cache, which the `ns` of a request tells whose repository is meant."""
    with docker_registry(tmp_path / "upstream") as upstream, ExitStack() as stack:
        push_image(upstream, "team/app", IMAGE, "1")
        flags = ("--registry-listen", "127.0.0.1:0", "--registry-cache", upstream)
        cache = stack.enter_context(run_daemon(tmp_path / "cache", *flags))
        text = f'[registries."{upstream}".host."http://{cache.registry}"]\n'
        daemon = stack.enter_context(configured(tmp_path, text))
        assert pull(daemon, f"{upstream}/team/app:1") == {cache.registry}
        assert_stored(daemon, IMAGE)


def test_own_authority_and_client_certificate_in_containerds_form(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server, client = authority.issue("127.0.0.1"), authority.issue("client.example")
    tls = (
        f"  tls:\n    certificate: {server.chain}\n    key: {server.key}\n"
        f"    clientcas:\n      - {authority.bundle}\n"
    )
    store = tmp_path / "registry"
    with docker_registry(store) as registry:
        push_image(registry, "team/app", IMAGE, "1")
    with docker_registry(store, more=tls) as registry:
        folder = tmp_path / "hosts" / f"{registry.replace(':', '_')}_"
        folder.mkdir(parents=True)
        (folder / "own.pem").write_bytes(authority.bundle.read_bytes())
        trusts, pair = 'ca = "own.pem"\n', f'client = [["{client.chain}", "{client.key}"]]\n'
        text = f'hosts_dir = "{tmp_path / "hosts"}"\n'
        for lacking in ("", trusts, pair):
            (folder / "hosts.toml").write_text(f'server = "https://{registry}"\n{lacking}')
            with configured(tmp_path, text) as daemon:
                failed = daemon.imgctl("pull", f"{registry}/team/app:1")
                assert failed.returncode == 1
                assert "REGISTRY_TLS" in failed.stderr or "REGISTRY_UNREACHABLE" in failed.stderr
        for enough in (trusts + pair, f"skip_verify = true\n{pair}"):
            (folder / "hosts.toml").write_text(f'server = "https://{registry}"\n{enough}')
            with configured(tmp_path, text) as daemon:
                assert pull(daemon, f"{registry}/team/app:1") <= {registry}
                assert_stored(daemon, IMAGE)


@pytest.mark.parametrize("where", ["table", "docker", "helper"])
def test_the_daemons_own_login(where: str, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    auth = f"auth:\n  htpasswd:\n    realm: tests\n    path: {tmp_path / 'htpasswd'}\n"
    with docker_registry(tmp_path / "registry", more=auth) as registry:
        push_image(registry, "team/app", IMAGE, "1", user=USER, password=PASSWORD)
        text, environment = "", dict[str, str]()
        docker = tmp_path / "config.json"
        if where == "table":
            (tmp_path / "password").write_text(f"{PASSWORD}\n")
            text = f'[registries."{registry}"]\nuser = "{USER}"\n'
            text += f'password_file = "{tmp_path / "password"}"\n'
        else:
            text = f'docker_config = "{docker}"\n'
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            docker.write_text(json.dumps({"auths": {registry: {"auth": pair}}}))
        if where == "helper":
            docker.write_text(json.dumps({"credHelpers": {registry: "tests"}}))
            helper = tmp_path / "docker-credential-tests"
            answer = json.dumps({"Username": USER, "Secret": PASSWORD})
            helper.write_text(f"#!/bin/sh\necho '{answer}'\n")
            helper.chmod(0o755)
            environment["PATH"] = f"{tmp_path}:/usr/bin:/bin"
        with configured(tmp_path, text, environment) as daemon:
            assert pull(daemon, f"{registry}/team/app:1") == {registry}
            assert_stored(daemon, IMAGE)
            assert daemon.stop() == 0
            assert PASSWORD not in json.dumps(daemon.log)


def test_a_login_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "imgd.toml"
    file.write_text('[registries."h.io"]\nuser = "u"\npassword_file = "/none"\n')
    words = ("--root", str(tmp_path / "root"), "--config", str(file))
    assert '"h.io": /none: No such file or directory' in refused(*words)
    file.write_text('[registries."h.io".host."ftp://m.io"]\n')
    assert "registries (from the file" in refused(*words)


def test_the_example_of_the_operations_guide() -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    (example,) = re.findall(r"```conf\n(.*?)```", text, re.DOTALL)
    found = parse_registries(tomllib.loads(example)["registries"])
    assert {domain: len(one.mirrors) for domain, one in found.items()} == {
        "docker.io": 1,
        "registry.corp": 0,
    }


# --- a proxy


class _Tunnels(socketserver.ThreadingTCPServer):
    """A proxy that knows one name, and connects it to `target`."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.asked: list[list[str]] = []
        super().__init__(("127.0.0.1", 0), _Tunnel)

    @property
    def url(self) -> str:
        return f"http://alice:secret@127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> _Tunnels:
        threading.Thread(target=self.serve_forever, args=(0.02,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Tunnel(socketserver.StreamRequestHandler):
    server: _Tunnels

    def handle(self) -> None:
        lines = []
        while line := self.rfile.readline().strip().decode():
            lines.append(line)
        self.server.asked.append(lines)
        with socket.create_connection(self.server.target, NET) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pour, args=(upstream, self.connection))
            back.start()
            _pour(self.connection, upstream)
            back.join(NET)


def _pour(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_through_a_proxy(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate = authority.issue("registry.test")
    with (
        HostileRegistry(tls=certificate) as registry,
        HostileRegistry() as near,
        _Tunnels(("127.0.0.1", registry.port)) as proxy,
    ):
        registry.add("team/app", IMAGE, "1")
        near_by = near.add("team/near", OTHER, "1")
        # No name server knows the name, and none is asked for what is configured.
        text = 'allowed_hosts = ["registry.test"]\n[registries."registry.test"]\n'
        text += f'ca = "{authority.bundle}"\n'
        environment = {"HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url}
        with configured(tmp_path, text, environment) as daemon:
            assert pull(daemon, "registry.test/team/app:1") == {"registry.test"}
            assert_stored(daemon, IMAGE)
            assert pull(daemon, near_by) == {near.host}
            assert daemon.stop() == 0
            assert "secret" not in json.dumps(daemon.log)
        assert {lines[0] for lines in proxy.asked} == {"CONNECT registry.test:443 HTTP/1.1"}
        pair = base64.b64encode(b"alice:secret").decode()
        assert all(f"Proxy-Authorization: Basic {pair}" in lines for lines in proxy.asked)
        assert all("proxy-authorization" not in one.headers for one in registry.requests)


def test_a_proxy_that_is_none_ends_the_start(tmp_path: Path) -> None:
    environment = {**os.environ, "HTTPS_PROXY": "socks5://u:secret@p"}
    line = refused("--root", str(tmp_path / "root"), env=environment)
    assert "HTTPS_PROXY" in line
    assert "secret" not in line
