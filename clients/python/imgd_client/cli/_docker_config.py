"""Credentials where docker keeps them: `config.json`, and the helpers that it names.

docker/cli, cli/config; the helpers' protocol is that of docker/docker-credential-helpers.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from imgd.v1 import transfer_pb2

from ._names import domain_of

__all__ = ["HUB", "DockerConfig", "credentials_for", "registry_of", "with_password"]

HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = {HUB, "index.docker.io", "registry-1.docker.io"}
# A helper may ask a person to unlock something.
_PATIENCE = 120.0
_MAX_ANSWER = 1 << 20
_HELPER = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
# The user's name by which a helper says that its secret is an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - no secret, but docker's word
_NOT_FOUND = "credentials not found in native keychain"


def with_password(user: str, password: str) -> transfer_pb2.RegistryCredentials:
    """Credentials of a user."""
    pair = transfer_pb2.RegistryCredentials.UserPassword(user=user, password=password)
    return transfer_pb2.RegistryCredentials(user_password=pair)


def credentials_for(reference: str) -> transfer_pb2.RegistryCredentials | None:
    """What docker would send to a reference's registry; None for nothing.

    What can't be read is told of, and then it is nothing: the registry may be open to everybody.
    """
    try:
        return DockerConfig().find(domain_of(reference))
    except click.ClickException as error:
        message = f"imgctl: warning: {error.format_message()}; going on without credentials"
        click.echo(message, err=True)
        return None


def registry_of(text: str) -> str:
    """A registry's host, of what people and docker call it: a host, or a URL."""
    host = re.sub(r"^https?://", "", text).partition("/")[0]
    return HUB if host in _HUB_HOSTS or not host else host


class DockerConfig:
    """Docker's `config.json`, of `DOCKER_CONFIG` or of `~/.docker`.

    Raises:
        ClickException: It can't be read or written, or a helper fails. No message holds a secret.
    """

    def __init__(self) -> None:
        folder = os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser()
        self.path = Path(folder) / "config.json"
        """Where it is, or will be."""
        self._content = self._read()

    def find(self, registry: str) -> transfer_pb2.RegistryCredentials | None:
        """The credentials that are kept for a registry."""
        if helper := self.helper(registry):
            return _from_helper(helper, registry)
        for key in self._keys(registry):
            entry = self._table("auths")[key]
            if isinstance(entry, dict) and (found := _from_entry(entry)):
                return found
        return None

    def store(self, registry: str, user: str, password: str, identity_token: str = "") -> bool:
        """Keeps credentials: an identity token where there is one, instead of the password.

        Returns whether it is in the file, and so for all to read who may read that.
        """
        entry: dict[str, str] = {}
        helper = self.helper(registry)
        if helper:
            name, secret = (_TOKEN_USER, identity_token) if identity_token else (user, password)
            facts = {"ServerURL": _key(registry), "Username": name, "Secret": secret}
            _call_helper(helper, "store", json.dumps(facts))
        else:
            kept = "" if identity_token else password
            entry["auth"] = base64.b64encode(f"{user}:{kept}".encode()).decode()
            if identity_token:
                entry["identitytoken"] = identity_token
        auths = self._table("auths")
        for key in self._keys(registry):
            del auths[key]
        auths[_key(registry)] = entry
        self._content["auths"] = auths
        self._write()
        return not helper

    def erase(self, registry: str) -> bool:
        """Forgets credentials; returns whether there were any."""
        helper = self.helper(registry)
        known = bool(helper and _from_helper(helper, registry))
        if helper and known:
            _call_helper(helper, "erase", _key(registry))
        keys = self._keys(registry)
        if keys:
            auths = self._table("auths")
            self._content["auths"] = {key: value for key, value in auths.items() if key not in keys}
            self._write()
        return known or bool(keys)

    def helper(self, registry: str) -> str:
        """The helper that keeps a registry's credentials; empty where the file does."""
        helpers = self._table("credHelpers")
        name = next(
            (helpers[key] for key in (_key(registry), registry) if helpers.get(key)),
            self._content.get("credsStore"),
        )
        if not name:
            return ""
        if not isinstance(name, str) or not _HELPER.fullmatch(name):
            raise click.ClickException(f"{self.path} names a credential helper that is no name")
        return name

    def _keys(self, registry: str) -> list[str]:
        """What the file calls a registry, the usual form first."""
        found = [key for key in self._table("auths") if registry_of(key) == registry]
        return sorted(found, key=lambda key: key != _key(registry))

    def _table(self, name: str) -> dict[str, Any]:
        found = self._content.get(name) or {}
        if not isinstance(found, dict):
            raise click.ClickException(f"{self.path}: {name} is no object")
        return found

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_bytes() or b"{}")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            # Not the JSON decoder's words, which show what is around the mistake.
            why = error.strerror if isinstance(error, OSError) else "it is not JSON"
            raise click.ClickException(f"can't read {self.path}: {why}") from None
        if not isinstance(found, dict):
            raise click.ClickException(f"can't read {self.path}: it is no JSON object")
        return found

    def _write(self) -> None:
        """Writes it whole or not at all, for its owner alone."""
        # A link stays one, as of docker.
        path = self.path.resolve()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp's files are for their owner alone.
            number, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
            try:
                with open(number, "w", encoding="utf-8") as file:
                    json.dump(self._content, file, indent="\t", ensure_ascii=False)
                    file.flush()
                    os.fsync(number)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise click.ClickException(f"can't write {self.path}: {error.strerror}") from None


def _key(registry: str) -> str:
    return _HUB_KEY if registry == HUB else registry


def _from_entry(entry: Mapping[str, Any]) -> transfer_pb2.RegistryCredentials | None:
    """The credentials in an entry of `auths`; None where a helper has them."""
    words = dict[str, str]()
    words.update((key, one) for key, one in entry.items() if isinstance(one, str) and one)
    if "registrytoken" in words:
        return transfer_pb2.RegistryCredentials(registry_token=words["registrytoken"])
    if "identitytoken" in words:
        return transfer_pb2.RegistryCredentials(identity_token=words["identitytoken"])
    user, password = words.get("username", ""), words.get("password", "")
    if "auth" in words:
        try:
            user, _, password = base64.b64decode(words["auth"]).decode().partition(":")
        except (binascii.Error, ValueError):
            raise click.ClickException("an auth in docker's config.json is malformed") from None
    return with_password(user, password.rstrip("\0")) if user else None


def _from_helper(helper: str, registry: str) -> transfer_pb2.RegistryCredentials | None:
    answer = _call_helper(helper, "get", _key(registry))
    try:
        found = json.loads(answer or "{}")
        user, secret = found.get("Username", ""), found.get("Secret", "")
    except (ValueError, AttributeError, RecursionError):
        raise click.ClickException(f"docker-credential-{helper} answers no JSON object") from None
    if not (isinstance(user, str) and isinstance(secret, str) and secret):
        return None
    if user == _TOKEN_USER:
        return transfer_pb2.RegistryCredentials(identity_token=secret)
    return with_password(user, secret)


def _call_helper(helper: str, action: str, text: str) -> str:
    """What a helper answers; empty where it has nothing."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, action], input=text.encode(), capture_output=True, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise click.ClickException(f"{program} {action} does not end") from None
    except OSError as error:
        raise click.ClickException(f"can't run {program}: {error.strerror}") from None
    answer = done.stdout[:_MAX_ANSWER].decode(errors="replace").strip()
    if done.returncode == 0:
        return answer
    # A helper says on standard output why it failed.
    if action == "get" and answer == _NOT_FOUND:
        return ""
    why = "".join(_shown(answer or f"exit status {done.returncode}"))
    raise click.ClickException(f"{program} {action} failed: {why}")


def _shown(text: str) -> Iterator[str]:
    for character in text[:200]:
        yield character if character.isprintable() else " "
