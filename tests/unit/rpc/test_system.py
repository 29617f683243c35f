from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace

import pytest

from imgd_server.rpc import _system

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("origin", "commit"),
    [
        (f'{{"url": "u", "vcs_info": {{"vcs": "git", "commit_id": "{COMMIT}"}}}}', COMMIT),
        ('{"url": "file:///work", "dir_info": {"editable": true}}', ""),
        (None, ""),
        ("not JSON", ""),
        ("[]", ""),
        ('{"vcs_info": null}', ""),
        ('{"vcs_info": {"commit_id": 7}}', ""),
    ],
)
def test_the_commit_is_what_the_installer_recorded(
    monkeypatch: pytest.MonkeyPatch, origin: str | None, commit: str
) -> None:
    found = SimpleNamespace(read_text=lambda name: origin)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
    assert _system._commit() == commit


def test_without_an_installed_package_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert _system._commit() == ""
