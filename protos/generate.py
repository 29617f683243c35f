"""Generates what is made from the protos: Python stubs and docs/errors.md.

Runs in the environment of protos/requirements.txt (`make generate`); `--check` writes nothing and
fails when a committed file is not what would be generated.
"""

from __future__ import annotations

import argparse
import difflib
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import descriptor_pb2

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


@dataclass(frozen=True)
class Tree:
    """One folder of protos and where its Python goes."""

    protos: Path
    """The folder of .proto files."""
    imported_as: str
    """The folder's name in import paths; a Python package of that name is generated."""
    output: Path
    """The folder on Python's path that the package is put into."""

    @property
    def package(self) -> Path:
        """The folder that holds the generated modules."""
        return self.output / self.imported_as


TREES = (
    Tree(PROTOS / "imgd" / "v1", "imgd/v1", ROOT / "clients" / "python"),
    # Not a part of the client's distribution: only its conformance executable speaks it.
    Tree(
        PROTOS / "imgd" / "conformance" / "v1",
        "imgd/conformance/v1",
        ROOT / "clients" / "python" / "conformance",
    ),
    # No top-level Python package may be called `runtime`, hence the longer import path. It works as
    # long as these protos import none of their own.
    Tree(PROTOS / "runtime" / "v1", "imgd_server/rpc/_runtime/v1", ROOT / "server"),
)
# Concrete: a servicer may leave methods out, as at run time, and they answer UNIMPLEMENTED.
TYPED = "quiet,generate_concrete_servicer_stubs"
ERRORS_PROTO = "imgd/v1/errors.proto"
ERRORS_PAGE = ROOT / "docs" / "errors.md"


def protoc(*arguments: str) -> None:
    """Runs the pinned protoc with this environment's plugins."""
    bin_folder = Path(sys.executable).parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            *(
                f"--plugin={bin_folder / name}"
                for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
            ),
            *arguments,
        ],
        check=True,
    )


def generate_stubs(tree: Tree, output: Path) -> None:
    """Writes messages for every proto of `tree`, and gRPC stubs for those that define services."""
    names = [f"{tree.imported_as}/{path.name}" for path in sorted(tree.protos.glob("*.proto"))]
    services = [
        f"{tree.imported_as}/{path.name}"
        for path in sorted(tree.protos.glob("*.proto"))
        if any(line.startswith("service ") for line in path.read_text().splitlines())
    ]
    includes = (f"-I{tree.imported_as}={tree.protos}", f"-I{PROTOS}")
    protoc(*includes, f"--python_out={output}", f"--mypy_out=quiet:{output}", *names)
    if services:
        protoc(
            *includes, f"--grpc_python_out={output}", f"--mypy_grpc_out={TYPED}:{output}", *services
        )


def errors_page() -> str:
    """Renders ErrorReason's comments as a page for people."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as file:
        protoc(
            f"-I{PROTOS}",
            "--include_source_info",
            f"--descriptor_set_out={file.name}",
            ERRORS_PROTO,
        )
        described = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file[0]
    comments = {
        tuple(location.path): location.leading_comments
        for location in described.source_code_info.location
        if location.leading_comments
    }

    def paragraphs(*path: int) -> str:
        """A comment as text: its line breaks mean nothing, its empty lines do."""
        lines = (line.strip() for line in comments.get(path, "").splitlines())
        blocks = "\n".join(lines).strip().split("\n\n")
        return "\n\n".join(" ".join(block.split("\n")) for block in blocks)

    # Numbers of the fields in descriptor.proto: `syntax`, `enum_type`, `value`.
    syntax, enum_type, value = 12, 5, 2
    title, _, introduction = paragraphs(syntax).partition(". ")
    index, enum = next((i, e) for i, e in enumerate(described.enum_type) if e.name == "ErrorReason")
    page = [
        f"<!-- Generated from protos/{ERRORS_PROTO} by `make generate`; change that file. -->",
        f"# {title}",
        introduction,
        f"## Reasons\n\n{paragraphs(enum_type, index)}",
    ]
    rows = ["| Reason | gRPC code | Number | Meaning |", "| --- | --- | --- | --- |"]
    for position, entry in enumerate(enum.value):
        code, stop, meaning = paragraphs(enum_type, index, value, position).partition(". ")
        if not stop or not code.replace("_", "").isalpha() or not code.isupper():
            sys.exit(f"{ERRORS_PROTO}: {entry.name}'s comment does not start with a gRPC code")
        name = entry.name.removeprefix("ERROR_REASON_")
        meaning = meaning.replace("\n\n", " ").replace("|", "\\|")
        rows.append(f"| `{name}` | {code} | {entry.number} | {meaning} |")
    return "\n\n".join([*page, "\n".join(rows)]) + "\n"


def generate(scratch: Path) -> dict[Path, str]:
    """All that should be there: each file's place in the repository and its content."""
    files = {ERRORS_PAGE: errors_page()}
    for tree in TREES:
        if not tree.protos.is_dir():
            continue
        output = scratch / tree.output.relative_to(ROOT)
        output.mkdir(parents=True)
        generate_stubs(tree, output)
        for path in sorted(output.rglob("*")):
            if path.is_file():
                files[ROOT / path.relative_to(scratch)] = path.read_text()
    return files


def committed() -> set[Path]:
    """All generated files that are there now."""
    stubs = {path for tree in TREES for name in GENERATED for path in tree.package.glob(name)}
    return stubs | ({ERRORS_PAGE} if ERRORS_PAGE.exists() else set())


def check(files: dict[Path, str]) -> int:
    """Prints how the repository differs from `files`; returns an exit code."""
    differing = 0
    for path in sorted(committed() | files.keys()):
        name = str(path.relative_to(ROOT))
        have = path.read_text() if path.exists() else ""
        want = files.get(path, "")
        if have == want and path.exists() == (path in files):
            continue
        differing += 1
        lines = difflib.unified_diff(
            have.splitlines(),
            want.splitlines(),
            f"{name} (committed)",
            f"{name} (generated)",
            "",
            "",
        )
        print("\n".join([*lines][:40]) or f"{name}: should not be there, or is missing")
    if differing:
        print(
            f"{differing} generated files are not up to date: run `make generate`", file=sys.stderr
        )
        return 1
    print(f"{len(files)} generated files are up to date")
    return 0


def write(files: dict[Path, str]) -> None:
    """Clears what was generated before and writes `files`."""
    for path in committed() - files.keys():
        path.unlink()
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    print(f"{len(files)} files generated")


def main() -> int:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        files = generate(Path(scratch))
    if arguments.check:
        return check(files)
    write(files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
