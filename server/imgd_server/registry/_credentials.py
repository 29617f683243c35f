"""The daemon's own credentials: from its configuration, from docker's `config.json`, from helpers.

docker/cli, cli/config; the helpers' protocol is that of docker/docker-credential-helpers. No secret
reaches a log or a message, and files are read when they are needed, so that they may be replaced.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from imgd_server.errors import Error, Reason
from imgd_server.registry._auth import held
from imgd_server.registry._protocol import Cancellation, Credentials
from imgd_server.registry._settings import HostSettings

__all__ = ["DaemonCredentials"]

_log = structlog.get_logger(__name__)

_HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = {_HUB, "index.docker.io", "registry-1.docker.io"}
_MAX_SECRET = 64 << 10
_MAX_CONFIG = 4 << 20
# Helpers ask services of clouds, and no person: the daemon has none.
_HELPER_SECONDS = 15.0
_MAX_ANSWER = 1 << 20
# How long an answer of a helper is good for: a process for each blob would cost more than the blob.
_KEPT_SECONDS = 60.0
_HELPER = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
# The user's name by which a helper says that its secret is an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - no secret, but docker's word
_NOT_FOUND = "credentials not found in native keychain"
_LOOK_UP = 0.1


class DaemonCredentials:
    """Finds the daemon's credentials for hosts. Safe to use from many threads.

    `docker_config` is a file or the folder that it is in; empty for none. Raises FIELD_INVALID for
    one that is no such file, and for a helper that is not there.
    """

    def __init__(self, docker_config: str = "") -> None:
        self._path = Path(docker_config) if docker_config else None
        if self._path and self._path.is_dir():
            self._path /= "config.json"
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[Credentials | None, float]] = {}
        try:
            for helper in _helpers(self._read()):
                if shutil.which(f"docker-credential-{helper}") is None:
                    raise ValueError(f"docker-credential-{helper} is not there")
        except (OSError, ValueError) as error:
            raise Error(Reason.FIELD_INVALID, f"docker_config: {_why(error)}") from None

    def check(self, settings: HostSettings) -> None:
        """Raises FIELD_INVALID for a secret of these settings that can't be read."""
        try:
            _configured(settings)
        except (OSError, ValueError) as error:
            raise Error(
                Reason.FIELD_INVALID, f"registries: {settings.key}: {_why(error)}"
            ) from None

    def find(
        self, host: str, settings: HostSettings | None, cancellation: Cancellation
    ) -> Credentials | None:
        """The credentials for a host (`host[:port]`, as references have it), if there are any.

        Raises REGISTRY_UNAUTHORIZED when what is configured can't be had, CANCELLED.
        """
        try:
            if settings and (found := _configured(settings)):
                return found
            return self._docker(host, cancellation) if self._path else None
        except (OSError, ValueError) as error:
            # For the operator: a caller learns nothing of the daemon's files.
            _log.warning("the daemon's credentials can't be had", host=host, why=_why(error))
            raise Error(
                Reason.REGISTRY_UNAUTHORIZED,
                f"the daemon can't get its credentials for {host}: check its configuration",
                host=host,
            ) from None

    # --- docker's file

    def _docker(self, host: str, cancellation: Cancellation) -> Credentials | None:
        content = self._read()
        registry = _registry_of(host)
        helper = _helper(content, registry)
        if helper and (found := self._helped(helper, registry, cancellation)):
            return found
        auths = _table(content, "auths")
        keys = [key for key in auths if _registry_of(key) == registry]
        for key in sorted(keys, key=lambda key: key != _key(registry)):
            entry = auths[key]
            if isinstance(entry, dict) and (listed := _from_entry(entry)):
                return listed
        return None

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        with self._path.open("rb") as file:
            raw = file.read(_MAX_CONFIG + 1)
        try:
            found = json.loads(raw or b"{}") if len(raw) <= _MAX_CONFIG else None
        except (ValueError, RecursionError):
            # Not the decoder's words, which show what is around the mistake.
            found = None
        if not isinstance(found, dict):
            raise ValueError("is no JSON object")
        return found

    def _helped(self, helper: str, registry: str, cancellation: Cancellation) -> Credentials | None:
        # One at a time, so that those who want the same find it; a helper asks one service.
        with held(self._lock, cancellation):
            kept, until = self._kept.get((helper, registry), (None, 0.0))
            if time.monotonic() < until:
                return kept
            found = _parse_answer(_call_helper(helper, _key(registry), cancellation))
            if len(self._kept) >= 1000:
                self._kept.clear()
            self._kept[helper, registry] = found, time.monotonic() + _KEPT_SECONDS
            return found


def _configured(settings: HostSettings) -> Credentials | None:
    """The credentials that a host's settings name."""

    def secret(path: str, variable: str) -> str:
        if variable:
            if not (text := os.environ.get(variable, "")):
                raise ValueError(f"the environment has no {variable}")
            return text
        if not path:
            return ""
        with Path(path).open("rb") as file:
            raw = file.read(_MAX_SECRET + 1)
        if len(raw) > _MAX_SECRET:
            raise ValueError("a secret is too long")
        if not (text := raw.decode().rstrip("\r\n")):
            raise ValueError("a secret is empty")
        return text

    token = secret(settings.identity_token_file, settings.identity_token_env)
    if token:
        return Credentials(identity_token=token)
    if settings.user:
        password = secret(settings.password_file, settings.password_env)
        return Credentials(settings.user, password)
    return None


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "a credential helper does not answer"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    # A UnicodeError shows what it can't decode.
    return "a secret is no text" if isinstance(error, UnicodeError) else str(error)


def _registry_of(text: str) -> str:
    """A registry's host, of what docker calls it: a host, or a URL."""
    host = re.sub(r"^https?://", "", text).partition("/")[0].lower()
    return _HUB if host in _HUB_HOSTS else host


def _key(registry: str) -> str:
    return _HUB_KEY if registry == _HUB else registry


def _table(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = content.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{name} is no object")
    return found


def _helpers(content: Mapping[str, Any]) -> Iterator[str]:
    """Every helper that a file names."""
    for name in [*_table(content, "credHelpers").values(), content.get("credsStore")]:
        if name:
            yield _helper_name(name)


def _helper(content: Mapping[str, Any], registry: str) -> str:
    """The helper that keeps a registry's credentials; empty for none."""
    helpers = _table(content, "credHelpers")
    keys = [key for key in helpers if _registry_of(key) == registry]
    name = helpers[keys[0]] if keys else content.get("credsStore")
    return _helper_name(name) if name else ""


def _helper_name(name: object) -> str:
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        raise ValueError("a credential helper's name is none")
    return name


def _from_entry(entry: Mapping[str, Any]) -> Credentials | None:
    """The credentials in an entry of `auths`; None where there are none."""
    words = dict[str, str]()
    words.update((key, one) for key, one in entry.items() if isinstance(one, str) and one)
    if token := words.get("registrytoken"):
        return Credentials(registry_token=token)
    if token := words.get("identitytoken"):
        return Credentials(identity_token=token)
    user, password = words.get("username", ""), words.get("password", "")
    if "auth" in words:
        try:
            user, password = base64.b64decode(words["auth"]).decode().split(":", 1)
        except (binascii.Error, ValueError):
            raise ValueError("an auth is malformed") from None
    return Credentials(user, password.rstrip("\0")) if user else None


# --- helpers


def _parse_answer(answer: str) -> Credentials | None:
    try:
        found = json.loads(answer or "{}")
        user, secret = found.get("Username", ""), found.get("Secret", "")
    except (ValueError, AttributeError, RecursionError):
        raise ValueError("a credential helper answers no JSON object") from None
    if not (isinstance(user, str) and isinstance(secret, str) and secret):
        return None
    return Credentials(identity_token=secret) if user == _TOKEN_USER else Credentials(user, secret)


def _call_helper(helper: str, server: str, cancellation: Cancellation) -> str:
    """What a helper answers; empty where it has nothing. Raises OSError, ValueError."""
    process = subprocess.Popen(
        [f"docker-credential-{helper}", "get"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(server.encode())
        answer = _read_answer(process.stdout.fileno(), cancellation).decode(errors="replace")
    except BaseException:
        _kill(process)
        raise
    finally:
        process.stdout.close()
    status = _end(process)
    if status == 0:
        return answer
    if answer.strip() == _NOT_FOUND:
        return ""
    raise ValueError("a credential helper failed")


def _read_answer(descriptor: int, cancellation: Cancellation) -> bytes:
    """All that comes, in a bounded time: whatever else holds the pipe open is not waited for."""
    deadline = time.monotonic() + _HELPER_SECONDS
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    answer = bytearray()
    while True:
        cancellation.check()
        if time.monotonic() > deadline:
            raise TimeoutError
        if poller.poll(_LOOK_UP * 1000):
            piece = os.read(descriptor, 64 << 10)
            if not piece:
                return bytes(answer)
            answer += piece
            if len(answer) > _MAX_ANSWER:
                raise ValueError("a credential helper says too much")


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_HELPER_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise TimeoutError from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
