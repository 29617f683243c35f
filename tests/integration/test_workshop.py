"""What the documents, manifests and workshop files claim is true of this folder."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import imgd_client
import imgd_server
from imgd.v1 import errors_pb2
from imgd_client import Client
from imgd_server.config import Config, load
from tests.daemon import BIN, PATIENCE, Daemon, run_daemon
from tests.peers import require

ROOT = Path(__file__).resolve().parents[2]
SERVER = tomllib.loads((ROOT / "pyproject.toml").read_text())
CLIENT = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())
TOOLS = SERVER["tool"]
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "clients").glob("*/README.md"),
    ]
)
# The address and the reference that README speaks of.
ADDRESS, REFERENCE = "unix:/run/imgd/imgd.sock", "redis:7"


def run(*command: str | Path) -> str:
    """Runs a command that must succeed; returns what it prints."""
    ended = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.M | re.S)


def console_lines() -> list[list[str]]:
    """README's shell commands as words, without comments."""
    lines = "".join(blocks(ROOT / "README.md", "console")).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with samples in its registry."""
    root = tmp_path_factory.mktemp("daemon") / "state"
    with run_daemon(root, "--registry-listen", "127.0.0.1:0", "--samples") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def sample(daemon: Daemon) -> str:
    """A sample's reference."""
    with Client(daemon.address) as client:
        return client.system.info().registry_inside.samples[0]


# --- the manifests


def test_versions_are_the_same_everywhere() -> None:
    ours = SERVER["project"]["version"]
    assert CLIENT["project"]["version"] == ours
    assert imgd_server.__version__ == ours
    assert {version("imgd"), version("imgd-client")} == {ours}
    assert f"imgd-client=={ours}" in SERVER["project"]["dependencies"]


@pytest.mark.parametrize("language", ["go", "python", "rust", "typescript"])
def test_packages_bring_the_licence(language: str) -> None:
    """What is packed there is packed from that folder alone; Java and C++ take the one above."""
    packed = ROOT / "clients" / language / "LICENSE"
    assert packed.read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_pins_cover_what_is_required_and_fit_its_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {canonicalize_name(name): pinned for name, pinned in pins.items()}
    wanted = [
        *SERVER["project"]["dependencies"],
        *SERVER["dependency-groups"]["dev"],
        *CLIENT["project"]["dependencies"],
        *CLIENT["project"]["optional-dependencies"]["cli"],
        *SERVER["build-system"]["requires"],
    ]
    for requirement in map(Requirement, wanted):
        if requirement.name != "imgd-client":
            pinned = pins.get(canonicalize_name(requirement.name), "none")
            assert pinned in requirement.specifier, f"{requirement} is pinned to {pinned}"


@pytest.mark.parametrize(
    ("folder", "requirements"),
    [
        ("server/imgd_server", SERVER["project"]["dependencies"]),
        (
            "clients/python",
            [
                *CLIENT["project"]["dependencies"],
                *CLIENT["project"]["optional-dependencies"]["cli"],
            ],
        ),
    ],
)
def test_what_is_imported_is_required(folder: str, requirements: list[str]) -> None:
    # A package that only the tests require is here, and missing where imgd is installed.
    imported = set()
    files = [path for path in (ROOT / folder).rglob("*.py") if "tests" not in path.parts]
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])
    own = {"imgd_server"} if folder.startswith("server") else {"imgd", "imgd_client"}
    assert own <= imported
    declared = {canonicalize_name(Requirement(one).name) for one in requirements}
    # Two editable folders hold one namespace, which says nothing about who brings it.
    providers = {**packages_distributions(), "imgd": ["imgd-client"]}
    for name in imported - own - sys.stdlib_module_names:
        assert declared & {canonicalize_name(one) for one in providers[name]}, name


def test_folders_that_the_manifests_name_exist() -> None:
    named = [
        *TOOLS["hatch"]["build"]["targets"]["wheel"]["packages"],
        *(path.lstrip("/") for path in TOOLS["hatch"]["build"]["targets"]["sdist"]["include"]),
        *TOOLS["pytest"]["ini_options"]["testpaths"],
        *TOOLS["coverage"]["run"]["source"],
        *TOOLS["mypy"]["mypy_path"],
    ]
    client = CLIENT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    named += [f"clients/python/{package}" for package in client]
    assert [path for path in named if not (ROOT / path).is_dir()] == []


def test_readme_names_the_rooms_in_their_order() -> None:
    (layers,) = (one for one in TOOLS["importlinter"]["contracts"] if one["type"] == "layers")
    rooms = [layer.strip("()") for layer in layers["layers"]]
    rooms = rooms[rooms.index("rpc") :]
    readme = (ROOT / "README.md").read_text()
    row = re.search(r"its rooms import strictly downward: (.*) \|", readme)
    assert row
    assert re.findall(r"`(\w+)`", row[1]) == rooms
    for room in rooms:
        importlib.import_module(f"imgd_server.{room}")


def _modules() -> list[str]:
    stubs = importlib.import_module("imgd.v1")
    return [
        module.name
        for package in (imgd_server, imgd_client, stubs)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]


def test_every_module_imports_without_a_warning() -> None:
    names = _modules()
    assert len(names) > 100
    run(sys.executable, "-W", "error", "-c", f"import {', '.join(names)}")


@pytest.mark.parametrize(
    "package", sorted({".".join(name.split(".")[:2]) for name in _modules() if "imgd_" in name})
)
def test_every_room_can_be_imported_first(package: str) -> None:
    # A circle of imports shows only from some of its points.
    run(sys.executable, "-c", f"import {package}")


def test_scripts_run() -> None:
    scripts = {**SERVER["project"]["scripts"], **CLIENT["project"]["scripts"]}
    assert set(scripts) == {"imgd", "imgctl"}
    for script in scripts:
        assert script in run(BIN / script, "--help")
    assert run(BIN / "imgd", "version") == f"imgd {imgd_server.__version__}\n"


# --- README


def test_readme_python_example_runs(daemon: Daemon, sample: str) -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    assert ADDRESS in code
    assert REFERENCE in code
    assert len(code.strip().splitlines()) <= 12
    code = code.replace(ADDRESS, daemon.address).replace(REFERENCE, sample)
    lines = run(sys.executable, "-W", "error", "-c", code).splitlines()
    with Client(daemon.address) as client:
        image = client.images.get(sample)
    assert f"{image.content_size} of {image.content_size} bytes" in lines
    assert lines[-2:] == [image.target.digest, f"{image.tags} {image.image_id} {image.size}"]


def test_readme_grpcurl_examples_run(daemon: Daemon, sample: str) -> None:
    said = {}
    # The pull comes first, so that there is something to list.
    for words in reversed([words for words in console_lines() if words[0] == "grpcurl"]):
        text = "\0".join(words).replace(ADDRESS, daemon.address).replace(REFERENCE, sample)
        said[words[-1]] = run(require("grpcurl"), *text.split("\0")[1:])
    pulled = said["imgd.v1.TransferService/Pull"]
    assert pulled.count('"snapshot"') == pulled.count('"finished"') == 1
    assert f'"{sample}:latest"' in said["imgd.v1.ImageService/ListImages"]


def test_readme_commands_exist() -> None:
    helped: dict[str, str] = {}
    for program in ("imgd", "imgctl"):
        helped[program] = run(BIN / program, "--help")
    targets = run("make", "-C", ROOT, "help")
    seen = set()
    for words in console_lines():
        program = Path(words[0]).name
        seen.add(program)
        if program in helped:
            assert re.search(rf"\b{words[1]}\b", helped[program]), words
            known = run(BIN / program, words[1], "--help")
            assert all(word in known for word in words if word.startswith("--")), words
        elif program == "make":
            assert re.search(rf"^make {words[1]} ", targets, re.M), words
    assert seen == {"git", "make", "imgd", "imgctl", "grpcurl"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_targets_of_documents_exist(document: Path) -> None:
    text = document.read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []
    makefile = (ROOT / "Makefile").read_text()
    targets = {*re.findall(r"^([a-z-]+):", makefile, re.M)}
    languages = [path.parent.name for path in (ROOT / "clients").glob("*/tasks")]
    for pattern in re.findall(r"^([a-z-]+)%:", makefile, re.M):
        targets |= {pattern + language for language in languages}
    assert {*re.findall(r"`(?:ONCE=1 )?make ([a-z-]+)`", text)} <= targets
    numbers = re.findall(r"ADR-(\d{4})", text)
    assert [one for one in numbers if not [*(ROOT / "docs/adr").glob(f"{one}-*.md")]] == []


# --- docs


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    documents = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    documents.remove(Path("README.md"))
    assert [path for path in documents if f"]({path})" not in index] == []


def test_every_reason_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/errors.md").read_text(), re.M)
    names = errors_pb2.ErrorReason.DESCRIPTOR.values_by_name
    assert rows == [name.removeprefix("ERROR_REASON_") for name in names]


def test_operations_guide_states_every_key_and_its_default(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "docs/operations.md", "toml")
    stated = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example, flags=re.M))
    assert list(stated) == [key.name for key in fields(Config)]
    file = tmp_path / "imgd.toml"
    file.write_text(example)
    for_root = {"root": "/var/lib/imgd", "listen": [ADDRESS]}
    assert load({"config": str(file)}, {}) == Config(**for_root)  # type: ignore[arg-type]


def test_operations_guide_names_every_file_and_event(daemon: Daemon, sample: str) -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert daemon.imgctl("pull", sample).returncode == 0
    for path in daemon.root.iterdir():
        name = path.name.replace("metadata.db-", "-")
        assert f"`{name}`" in text or f"`{name}/" in text, path.name
    for entry in daemon.log:
        assert f"`{entry['event']}`" in text, entry
        row = next(line for line in text.splitlines() if f"| `{entry['event']}`" in line)
        for key in set(entry) - {"event", "level", "timestamp"}:
            assert f"`{key}`" in row, entry


def test_backup_of_a_running_daemon_verifies(daemon: Daemon, sample: str, tmp_path: Path) -> None:
    (commands,) = blocks(ROOT / "docs/operations.md", "sh")
    statement = re.search(r'"(VACUUM INTO \'/backup/metadata.db\')"', commands)
    assert statement
    assert daemon.imgctl("pull", sample).returncode == 0
    copy = tmp_path / "backup"
    copy.mkdir()
    database = sqlite3.connect(daemon.root / "metadata.db")
    try:
        database.execute(statement[1].replace("/backup", str(copy)))
    finally:
        database.close()
    shutil.copytree(daemon.root / "content", copy / "content")
    said = run(BIN / "imgd", "fsck", "--verify-content", "--root", copy)
    assert said == "no problems found\n"
    with run_daemon(copy) as restored:
        assert restored.imgctl("images", "-q").stdout == daemon.imgctl("images", "-q").stdout != ""


# --- the workshop's scripts


@pytest.mark.parametrize("name", ["apt-install", "install-peers", "retry", "run"])
def test_scripts_of_the_workshop_parse_and_are_executable(name: str) -> None:
    script = ROOT / ".ci" / name
    assert os.access(script, os.X_OK)
    run("bash", "-n", script)


def test_retry_tries_three_times_and_keeps_the_status(tmp_path: Path) -> None:
    # Instead of waiting, `sleep` says for how long.
    (tmp_path / "sleep").write_text('#!/bin/sh\necho "sleep $1"\n')
    (tmp_path / "sleep").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    count = tmp_path / "count"

    def retry(code: str) -> tuple[int, str, int]:
        count.write_text("")
        script = f"echo x >>'{count}'; n=$(wc -l <'{count}'); {code}"
        ended = subprocess.run(
            [str(ROOT / ".ci/retry"), "bash", "-c", script],
            capture_output=True, text=True, check=False, env=environment, timeout=PATIENCE,
        )  # fmt: skip
        return ended.returncode, ended.stdout, len(count.read_text().splitlines())

    assert retry("true") == (0, "", 1)
    assert retry("((n == 3))") == (0, "sleep 5\nsleep 10\n", 3)
    assert retry("exit 7") == (7, "sleep 5\nsleep 10\n", 3)


def test_programs_that_tests_ask_for_are_installed_by_the_workshop() -> None:
    # On a machine that has them anyway, nothing else would tell.
    ask = re.compile(r'\brequire\("([a-z][a-z-]+)"')
    files = [*(ROOT / "tests").glob("*.py")]
    for folder in ("contract", "integration", "fault"):
        files += (ROOT / "tests" / folder).rglob("*.py")
    asked = {name for path in files for name in ask.findall(path.read_text())}
    builders = (ROOT / "tests/real_images.py").read_text()
    asked |= set(re.findall(r'\brun\(\s*"([a-z][a-z-]+)"', builders))
    assert {"docker-registry", "skopeo", "umoci", "buildah", "busybox", "grpcurl"} <= asked
    script = (ROOT / ".ci/install-peers").read_text()
    packages = re.search(r"test\)\s*packages=\((.*?)\)\s*tools=\((.*?)\)", script, re.S)
    assert packages
    known = " ".join(packages.groups())
    assert [name for name in asked if not re.search(rf"\b{name}\b", known)] == []
