"""imgctl as a process of its own: its surroundings, and what it lets others write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Runs a command, and then has gRPC's core find something to say.
_SCRIPT = """
from imgd_client.cli.__main__ import main

main(["--help"])
import grpc

try:
    grpc.insecure_channel("unix:/" + "x" * 200).unary_unary("/a/b")(b"", timeout=60)
except grpc.RpcError:
    pass
"""


@pytest.mark.parametrize("asked", [None, "ERROR"])
def test_grpc_says_nothing_of_its_own_unless_it_is_asked_to(asked: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if "GRPC" not in name}
    if asked:
        environment["GRPC_VERBOSITY"] = asked
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("Usage: imgctl")
    assert bool(done.stderr) is bool(asked)


@pytest.mark.parametrize("module", ["grpc._channel", "imgd_client"])
def test_what_fails_in_a_thread_of_grpc_is_not_told(module: str) -> None:
    script = f"""
import threading
from imgd_client.cli.__main__ import main
main(["--help"])
space = {{"__name__": {module!r}}}
exec("def fail(): raise ValueError('closed')", space)
thread = threading.Thread(target=space["fail"])
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ("ValueError: closed" in done.stderr) == (module == "imgd_client")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [
            "sh",
            "-c",
            'rmdir "$PWD" && exec "$0" -m imgd_client.cli container create --bundle web redis',
            sys.executable,
        ],
        cwd=gone,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "imgctl: the working directory is gone: name the bundle's folder by its full path\n"
    )
