"""The client needs what it declares, and nothing else: never the server."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import imgd_client
import imgd_client.cli

_PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
# Runs in an interpreter of its own, in which only some things are installed.
_SCRIPT = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ImportError(f"{{name}} is not installed here")

sys.meta_path.insert(0, Refuse())
for name in {modules!r}:
    importlib.import_module(name)
"""


def _import_with_only(distributions: set[str], modules: list[str]) -> None:
    # What is installed as editable is listed nowhere.
    refused = {"imgd_server"} | {
        name
        for name, owners in metadata.packages_distributions().items()
        if not distributions & {owner.lower().replace("_", "-") for owner in owners}
    }
    script = _SCRIPT.format(modules=modules, refused=refused)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert not done.returncode, done.stderr


def _declared(*requirements: str) -> set[str]:
    """The names of requirements and of what they require, as far as it is installed."""
    found = set[str]()
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if "extra ==" not in requirement:
            with suppress(metadata.PackageNotFoundError):
                found |= {name.lower(), *_declared(*(metadata.requires(name) or ()))}
    return found


def test_the_library_needs_its_requirements_only() -> None:
    modules = [f"imgd_client.{one.name}" for one in pkgutil.iter_modules(imgd_client.__path__)]
    modules.remove("imgd_client.cli")
    declared = _declared(*_PROJECT["dependencies"])
    assert "click" not in declared

    _import_with_only(declared | {"imgd-client"}, [*modules, "google.rpc.error_details_pb2"])


def test_imgctl_needs_its_extra_and_never_the_server() -> None:
    modules = [
        f"imgd_client.cli.{one.name}" for one in pkgutil.iter_modules(imgd_client.cli.__path__)
    ]
    extra = _PROJECT["optional-dependencies"]["cli"]

    _import_with_only(_declared(*_PROJECT["dependencies"], *extra) | {"imgd-client"}, modules)


def test_listing_imports_nothing_that_it_does_not_need() -> None:
    # Start-up time: grpc itself brings asyncio, but nothing here may bring more.
    script = (
        "import sys; import grpc, click, google.protobuf.timestamp_pb2; before = set(sys.modules)\n"
        "from imgd_client.cli._app import app; app.get_command(None, 'images')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    new = set(done.stdout.split())
    assert "imgd_client.cli._images" in new
    unneeded = [
        "rich",
        "google.rpc",
        "importlib.metadata",
        "unicodedata",
        "google.protobuf.json_format",
        "click.shell_completion",
        "imgd_client.cli.gotemplate",
    ]
    for name in unneeded:
        assert not [one for one in new if one == name or one.startswith(f"{name}.")]
    for service in ("archive", "container", "content", "event", "filesystem", "lease", "registry"):
        assert f"imgd.v1.{service}_service_pb2" not in new
