"""Credentials where docker keeps them, with helpers that are scripts."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from imgd.v1.transfer_pb2 import RegistryCredentials
from imgd_client.cli._docker_config import DockerConfig, credentials_for, registry_of
from imgd_client.cli._names import domain_of

HUB = "https://index.docker.io/v1/"
# Keeps what it is told in files beside it, named after the server.
HELPER = """\
#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$1" >>calls
case $1 in
store) cat >kept ;;
get)
    [ -e kept ] || { echo "credentials not found in native keychain"; exit 1; }
    cat kept ;;
erase) cat >erased; rm -f kept ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker"


@pytest.fixture
def configure(home: Path) -> Callable[..., Path]:
    def write(**content: Any) -> Path:
        home.mkdir(exist_ok=True)
        path = home / "config.json"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def install(script: str = HELPER) -> Path:
        folder = tmp_path / "helper"
        folder.mkdir(exist_ok=True)
        program = folder / "docker-credential-fake"
        program.write_text(script)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder

    return install


def pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def told(found: RegistryCredentials | None) -> tuple[str, ...] | None:
    if found is None:
        return None
    if found.WhichOneof("credentials") == "user_password":
        return found.user_password.user, found.user_password.password
    return found.identity_token, found.registry_token


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("", "docker.io"),
        ("docker.io", "docker.io"),
        (HUB, "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("h.io:5000", "h.io:5000"),
        ("https://h.io/v2/", "h.io"),
        ("http://h.io", "h.io"),
    ],
)
def test_what_people_and_files_call_a_registry(text: str, host: str) -> None:
    assert registry_of(text) == host


@pytest.mark.parametrize(
    ("reference", "domain"),
    [
        ("redis:7", "docker.io"),
        ("a/b@sha256:0", "docker.io"),
        ("index.docker.io/a/b", "docker.io"),
        ("localhost/x", "localhost"),
        ("localhost:5000/x:1", "localhost:5000"),
        ("h.io/x", "h.io"),
        ("test.com:5000", "docker.io"),
    ],
)
def test_the_registry_of_a_reference(reference: str, domain: str) -> None:
    assert domain_of(reference) == domain


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": pair("alice:pass:word")}, ("alice", "pass:word")),
        ({"auth": pair("alice:ü")}, ("alice", "ü")),
        ({"auth": pair("alice:nul\0")}, ("alice", "nul")),
        ({"username": "alice", "password": "p"}, ("alice", "p")),
        ({"auth": pair("alice:"), "identitytoken": "I"}, ("I", "")),
        ({"registrytoken": "R"}, ("", "R")),
        ({}, None),
        ({"auth": ""}, None),
    ],
)
def test_each_form_of_an_entry_is_read(
    configure: Callable[..., Path], entry: dict[str, str], expected: tuple[str, ...] | None
) -> None:
    configure(auths={"h.io": entry})
    assert told(credentials_for("h.io/app:1")) == expected
    assert credentials_for("other.io/app:1") is None


@pytest.mark.parametrize("key", [HUB, "index.docker.io", "docker.io", "https://docker.io"])
def test_docker_hub_has_several_names(configure: Callable[..., Path], key: str) -> None:
    configure(auths={key: {"auth": pair("a:b")}})
    assert told(credentials_for("redis")) == ("a", "b")


def test_dockers_own_name_comes_first(configure: Callable[..., Path]) -> None:
    configure(auths={"docker.io": {"auth": pair("a:old")}, HUB: {"auth": pair("a:new")}})
    assert told(credentials_for("redis")) == ("a", "new")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff",
        b"[" * 50_000,
        b'{"auths": [1]}',
        b'{"auths": {"h.io": {"auth": "secret!"}}}',
        b'{"credsStore": "../evil"}',
        b'{"credsStore": 7}',
        b'{"credsStore": "not-installed"}',
    ],
)
def test_what_can_not_be_read_is_told_of_and_is_no_credentials(
    home: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    home.mkdir()
    (home / "config.json").write_bytes(content)
    assert credentials_for("h.io/app:1") is None
    said = capsys.readouterr().err
    assert said.startswith("imgctl: warning: ")
    assert len(said.splitlines()) == 1
    assert "secret" not in said


def test_no_file_is_no_credentials(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert credentials_for("h.io/app:1") is None
    assert capsys.readouterr().err == ""


def test_what_is_stored_is_for_its_owner_alone_and_leaves_the_rest(
    configure: Callable[..., Path], home: Path
) -> None:
    path = configure(HttpHeaders={"X": "ü"}, auths={"h.io": {"auth": pair("b:c")}})
    path.chmod(0o644)
    real = path.rename(home / "elsewhere.json")
    path.symlink_to(real)

    assert DockerConfig().store("h.io:5000", "alice", "pass:word")

    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    assert json.loads(real.read_text()) == {
        "HttpHeaders": {"X": "ü"},
        "auths": {"h.io": {"auth": pair("b:c")}, "h.io:5000": {"auth": pair("alice:pass:word")}},
    }
    assert sorted(one.name for one in home.iterdir()) == ["config.json", "elsewhere.json"]
    assert told(DockerConfig().find("h.io:5000")) == ("alice", "pass:word")


def test_the_folder_is_made_for_its_owner_alone(home: Path) -> None:
    DockerConfig().store("docker.io", "alice", "p")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert json.loads((home / "config.json").read_text()) == {
        "auths": {HUB: {"auth": pair("alice:p")}}
    }


def test_an_identity_token_is_kept_instead_of_the_password(home: Path) -> None:
    DockerConfig().store("h.io", "alice", "secret", "token")
    assert json.loads((home / "config.json").read_text()) == {
        "auths": {"h.io": {"auth": pair("alice:"), "identitytoken": "token"}}
    }


def test_storing_anew_replaces_every_name(configure: Callable[..., Path]) -> None:
    path = configure(auths={"https://h.io": {"auth": pair("a:old")}})
    DockerConfig().store("h.io", "a", "new")
    assert json.loads(path.read_text()) == {"auths": {"h.io": {"auth": pair("a:new")}}}


def test_a_file_that_can_not_be_written_stays_as_it_is(
    configure: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configure(auths={})

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(click.ClickException, match="No space left"):
        DockerConfig().store("h.io", "a", "b")
    assert json.loads(path.read_text()) == {"auths": {}}
    assert [*path.parent.iterdir()] == [path]


def test_erasing_tells_whether_there_was_anything(configure: Callable[..., Path]) -> None:
    path = configure(auths={"h.io": {"auth": pair("a:b")}, "i.io": {"auth": pair("c:d")}})
    assert DockerConfig().erase("h.io")
    assert not DockerConfig().erase("h.io")
    assert json.loads(path.read_text()) == {"auths": {"i.io": {"auth": pair("c:d")}}}


# --- helpers


@pytest.mark.parametrize("by", ["credsStore", "credHelpers"])
def test_a_helper_keeps_what_the_file_does_not(
    configure: Callable[..., Path], helper: Callable[..., Path], by: str
) -> None:
    setting: Any = "fake" if by == "credsStore" else {"h.io": "fake"}
    path, folder = configure(**{by: setting}), helper()

    assert DockerConfig().find("h.io") is None
    assert not DockerConfig().store("h.io", "alice", "secret")

    kept = json.loads((folder / "kept").read_text())
    assert kept == {"ServerURL": "h.io", "Username": "alice", "Secret": "secret"}
    assert json.loads(path.read_text()) == {by: setting, "auths": {"h.io": {}}}
    assert told(credentials_for("h.io/app")) == ("alice", "secret")
    assert DockerConfig().erase("h.io")
    assert (folder / "erased").read_text() == "h.io"
    assert not DockerConfig().erase("h.io")
    assert (folder / "calls").read_text().split() == ["get", "store", "get", "get", "erase", "get"]


def test_a_helper_of_one_registry_is_not_asked_for_another(
    configure: Callable[..., Path], helper: Callable[..., Path]
) -> None:
    configure(credHelpers={"h.io": "fake"}, auths={"i.io": {"auth": pair("a:b")}})
    folder = helper()
    assert told(credentials_for("i.io/app")) == ("a", "b")
    assert not (folder / "calls").exists()


def test_a_helper_keeps_docker_hubs_by_dockers_name(
    configure: Callable[..., Path], helper: Callable[..., Path]
) -> None:
    configure(credHelpers={HUB: "fake"})
    folder = helper()
    DockerConfig().store("docker.io", "alice", "secret", "token")
    kept = json.loads((folder / "kept").read_text())
    assert kept == {"ServerURL": HUB, "Username": "<token>", "Secret": "token"}
    assert told(credentials_for("redis")) == ("token", "")


@pytest.mark.parametrize(
    "script",
    ["echo '{'", "echo '[]'", "echo went wrong; exit 1", "printf 'a\\033[31m'; exit 2", "exit 3"],
)
def test_a_helper_that_fails_is_told_of(
    configure: Callable[..., Path],
    helper: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    script: str,
) -> None:
    configure(credsStore="fake")
    helper(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    assert credentials_for("h.io/app") is None
    said = capsys.readouterr().err
    assert "docker-credential-fake" in said
    assert "\033" not in said
    with pytest.raises(click.ClickException):
        DockerConfig().erase("h.io")


def test_a_helper_with_an_empty_answer_has_nothing(
    configure: Callable[..., Path],
    helper: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(credsStore="fake")
    helper('#!/bin/sh\ncat >/dev/null\necho \'{"Username": "", "Secret": ""}\'\n')
    assert credentials_for("h.io/app") is None
    assert capsys.readouterr().err == ""
