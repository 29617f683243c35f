from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation, Credentials, _credentials
from imgd_server.registry._credentials import DaemonCredentials
from imgd_server.registry._settings import HostSettings

NET = 60.0
NEVER = Cancellation()
ALICE = Credentials("alice", "open sesame")
SECRETS = ("sesame", "c2VzYW1l", "identity!")

Write = Callable[[Any], DaemonCredentials]
Helper = Callable[..., Path]


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes docker's file, and reads it."""

    def write(content: Any) -> DaemonCredentials:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text)
        return DaemonCredentials(str(tmp_path / "config.json"))

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    """Makes a credential helper of a shell script; returns the file where it notes what it is
    asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def make(script: str, name: str = "test") -> Path:
        program, asked = programs / f"docker-credential-{name}", tmp_path / f"asked-{name}"
        program.write_text(f'#!/bin/sh\nread -r server\necho "$1 $server" >> {asked}\n{script}\n')
        program.chmod(0o755)
        return asked

    return make


def find(
    credentials: DaemonCredentials, host: str = "h.io", settings: HostSettings | None = None
) -> Credentials | None:
    return credentials.find(host, settings, NEVER)


def refusal(call: Callable[[], object]) -> Error:
    with pytest.raises(Error) as caught:
        call()
    assert not any(secret in caught.value.message for secret in SECRETS)
    return caught.value


# --- the daemon's own configuration


def test_secrets_come_from_files_and_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("open sesame\n")
    monkeypatch.setenv("SECRET", "identity!")
    credentials = DaemonCredentials()
    in_file = HostSettings("k", user="alice", password_file=str(file))
    assert find(credentials, settings=in_file) == ALICE
    token = HostSettings("k", identity_token_env="SECRET")
    assert find(credentials, settings=token) == Credentials(identity_token="identity!")
    assert find(credentials, settings=HostSettings("k")) is None
    assert find(credentials) is None
    # It may be replaced.
    file.write_text("new\r\n")
    assert find(credentials, settings=in_file) == Credentials("alice", "new")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"\n", "a secret is empty"),
        (b"x" * 70_000, "a secret is too long"),
        (b"\xffsesame", "a secret is no text"),
    ],
)
def test_a_secret_that_cannot_be_had(content: bytes | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    settings = HostSettings('"h.io"', user="alice", password_file=str(file))
    credentials = DaemonCredentials()
    at_start = refusal(lambda: credentials.check(settings))
    assert at_start.reason is Reason.FIELD_INVALID
    assert at_start.message.startswith('registries: "h.io": ')
    assert says in at_start.message
    later = refusal(lambda: find(credentials, settings=settings))
    assert (later.reason, later.host) == (Reason.REGISTRY_UNAUTHORIZED, "h.io")
    # A caller is told no paths.
    assert str(tmp_path) not in later.message


def test_a_variable_that_is_not_there() -> None:
    settings = HostSettings("k", identity_token_env="NO_SUCH_VARIABLE")
    error = refusal(lambda: DaemonCredentials().check(settings))
    assert error.message == "registries: k: the environment has no NO_SUCH_VARIABLE"


# --- docker's file


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("h.io", "h.io"),
        ("https://h.io", "h.io"),
        ("http://h.io/v1/", "h.io"),
        ("h.io:5000", "h.io:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "index.docker.io"),
    ],
)
def test_what_docker_calls_a_registry(key: str, host: str, write: Write) -> None:
    credentials = write({"auths": {key: auth("alice", "open sesame")}})
    assert find(credentials, host) == ALICE
    assert find(credentials, "other.io") is None


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (auth("alice", "open sesame"), ALICE),
        (auth("alice", "open sesame\0\0"), ALICE),
        (auth("a", "b:c"), Credentials("a", "b:c")),
        ({"username": "alice", "password": "open sesame"}, ALICE),
        (
            {**auth("alice", ""), "identitytoken": "identity!"},
            Credentials(identity_token="identity!"),
        ),
        ({"registrytoken": "r"}, Credentials(registry_token="r")),
        ({}, None),
        ([], None),
        ({"auth": ""}, None),
    ],
)
def test_entries_of_dockers_file(entry: Any, found: Credentials | None, write: Write) -> None:
    assert find(write({"auths": {"h.io": entry}})) == found


def test_the_usual_form_of_a_name_goes_first(write: Write) -> None:
    auths = {"https://h.io/v1/": auth("old", "x"), "h.io": auth("alice", "open sesame")}
    assert find(write({"auths": auths})) == ALICE


def test_the_daemons_configuration_goes_before_dockers(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "identity!")
    credentials = write({"auths": {"h.io": auth("alice", "open sesame")}})
    settings = HostSettings("k", identity_token_env="TOKEN")
    assert find(credentials, settings=settings) == Credentials(identity_token="identity!")
    assert find(credentials, settings=HostSettings("k")) == ALICE


def test_the_file_may_be_replaced_and_be_a_folder(write: Write, tmp_path: Path) -> None:
    write({})
    credentials = DaemonCredentials(str(tmp_path))
    assert find(credentials) is None
    write({"auths": {"h.io": auth("alice", "open sesame")}})
    assert find(credentials) == ALICE
    (tmp_path / "config.json").unlink()
    with capture_logs() as logs:
        error = refusal(lambda: find(credentials))
    assert error.reason is Reason.REGISTRY_UNAUTHORIZED
    assert str(tmp_path) not in error.message
    # The operator's log says more.
    assert logs[0]["why"] == f"{tmp_path}/config.json: No such file or directory"


@pytest.mark.parametrize(
    "content",
    [
        "sesame",
        "[]",
        '{"auths": [], "credHelpers": 1}',
        "[" * 100_000,
        '{"credsStore": "../sesame"}',
        '{"credHelpers": {"h.io": 1}}',
        '{"credsStore": "not-there"}',
        " " * (5 << 20),
    ],
)
def test_a_file_that_is_none_of_dockers(content: str, write: Write) -> None:
    error = refusal(lambda: write(content))
    assert error.reason is Reason.FIELD_INVALID
    assert error.message.startswith("docker_config: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    error = refusal(lambda: DaemonCredentials(str(tmp_path / "none")))
    assert error.message == f"docker_config: {tmp_path}/none: No such file or directory"


def test_an_auth_that_is_malformed(write: Write) -> None:
    credentials = write({"auths": {"h.io": {"auth": "c2VzYW1l!"}}})
    assert refusal(lambda: find(credentials)).reason is Reason.REGISTRY_UNAUTHORIZED


# --- helpers

ANSWER = """echo '{"ServerURL": "x", "Username": "alice", "Secret": "open sesame"}'"""


@pytest.mark.parametrize(
    ("host", "server"), [("h.io", "h.io"), ("docker.io", "https://index.docker.io/v1/")]
)
def test_a_helper_is_asked_once_for_many(
    host: str, server: str, write: Write, helper: Helper
) -> None:
    asked = helper(ANSWER)
    credentials = write({"credsStore": "test"})
    found: list[Credentials | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(find(credentials, host))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(NET)
    assert found == [ALICE] * 8
    assert asked.read_text() == f"get {server}\n"


def test_a_helper_is_asked_again_after_a_while(
    write: Write, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = helper(ANSWER)
    credentials = write({"credsStore": "test"})
    monkeypatch.setattr(_credentials, "_KEPT_SECONDS", 0.0)
    find(credentials)
    find(credentials)
    assert asked.read_text() == "get h.io\n" * 2


def test_one_registrys_own_helper_goes_before_the_store(write: Write, helper: Helper) -> None:
    own, store = helper(ANSWER, "own"), helper("exit 1", "store")
    credentials = write({"credsStore": "store", "credHelpers": {"https://h.io": "own"}})
    assert find(credentials) == ALICE
    assert own.read_text() == "get h.io\n"
    assert not store.exists()


def test_a_helper_may_have_an_identity_token(write: Write, helper: Helper) -> None:
    helper("""echo '{"Username": "<token>", "Secret": "identity!"}'""")
    assert find(write({"credsStore": "test"})) == Credentials(identity_token="identity!")


@pytest.mark.parametrize(
    "script",
    ["echo 'credentials not found in native keychain'; exit 1", "echo '{}'", "true"],
)
def test_a_helper_that_has_nothing_leaves_it_to_the_file(
    script: str, write: Write, helper: Helper
) -> None:
    helper(script)
    assert find(write({"credsStore": "test"})) is None
    assert find(write({"credsStore": "test", "auths": {"h.io": auth("alice", "open sesame")}})) == (
        ALICE
    )


@pytest.mark.parametrize(
    "script",
    [
        "echo sesame; exit 1",
        "echo sesame",
        "echo '[]'",
        f"{ANSWER}; exit 3",
        "yes sesame",
        "kill -9 $$",
    ],
)
def test_a_helper_that_fails(script: str, write: Write, helper: Helper) -> None:
    helper(script)
    credentials = write({"credsStore": "test"})
    with capture_logs() as logs:
        error = refusal(lambda: find(credentials))
    assert (error.reason, error.host) == (Reason.REGISTRY_UNAUTHORIZED, "h.io")
    assert logs[0]["why"].startswith("a credential helper")
    assert not any(one in str(logs) for one in SECRETS)


@pytest.mark.parametrize("script", ["exec sleep 1000", "exec >&- ; exec sleep 1000", "sleep 1000"])
def test_a_helper_that_does_not_end_is_ended(
    script: str, write: Write, helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_credentials, "_HELPER_SECONDS", 0.2)
    helper(script)
    credentials = write({"credsStore": "test"})
    with capture_logs() as logs:
        assert refusal(lambda: find(credentials)).reason is Reason.REGISTRY_UNAUTHORIZED
    assert logs[0]["why"] == "a credential helper does not answer"


def test_waiting_for_a_helper_can_be_cancelled(
    write: Write, helper: Helper, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    helper(f"echo $$ > {pipe}; exec sleep 1000")
    credentials, cancellation = write({"credsStore": "test"}), Cancellation()
    failed: list[Error] = []

    def work() -> None:
        try:
            credentials.find("h.io", None, cancellation)
        except Error as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    # It runs now.
    process = int(pipe.read_text())
    cancellation.cancel()
    for thread in threads:
        thread.join(NET)
    assert [one.reason for one in failed] == [Reason.CANCELLED] * 2
    assert not Path(f"/proc/{process}").exists()


def test_what_is_kept_of_helpers_is_bounded(write: Write, helper: Helper) -> None:
    helper(ANSWER)
    credentials = write({"credsStore": "test"})
    credentials._kept.update({("test", f"{number}"): (None, 0.0) for number in range(1000)})
    assert find(credentials) == ALICE
    assert list(credentials._kept) == [("test", "h.io")]
