"""`imgd demo`, which `make run` starts on machines where nothing but Python is installed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon import BIN, PATIENCE

IMGD = str(BIN / "imgd")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with nothing but this Python: no PATH, no home, no settings."""
    kept = {key: value for key, value in os.environ.items() if key.startswith(("COV", "PYTHON"))}
    return {**kept, "PATH": "/nonexistent", "TMPDIR": str(tmp_path)}


def test_once_pulls_a_sample_lists_it_and_ends_well(bare: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [IMGD, "demo", "--once"],
        env=bare,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    # What is going on, in the order in which it goes on.
    sample = re.search(r"127\.0\.0\.1:\d+/samples/python", said)
    assert sample
    for words in (
        "starting imgd",
        f"$ imgctl pull {sample[0]}:latest",
        "Pull complete",
        "Digest: sha256:",
        f"Status: Downloaded newer image for {sample[0]}:latest",
        "$ imgctl images",
        "REPOSITORY",
    ):
        assert words in said
        said = said.partition(words)[2]
    assert re.search(rf"^{re.escape(sample[0])} +latest +[0-9a-f]{{12}} .* [\d.]+MB$", said, re.M)
    assert done.stdout.count(": Pull complete") >= 2
    # No colours and no cursor movements where there is no terminal, and no complaints.
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr == ""
    # Nothing is left behind.
    assert list(tmp_path.iterdir()) == []


@contextmanager
def demo(environment: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """A demo in a process group of its own, as a terminal has it."""
    process = subprocess.Popen(
        [IMGD, "demo", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(process: subprocess.Popen[str], words: str) -> str:
    """Reads up to the line that holds the words; returns what was said."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it ended without {words!r}: {said}")


def test_it_goes_on_serving_says_how_to_call_it_and_ends_on_ctrl_c(
    bare: dict[str, str], tmp_path: Path
) -> None:
    with demo(bare) as process:
        said = until(process, "Ctrl-C")
        call = re.search(r"call it with: (.*)$", said, re.M)
        assert call
        # As it stands there.
        done = subprocess.run(
            call[1].split(), env=bare, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        assert "samples/python" in done.stdout
        os.killpg(process.pid, signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, rest
        assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_during_the_pull_ends_it_all(
    bare: dict[str, str], tmp_path: Path, to_all: bool
) -> None:
    with demo(bare) as process:
        until(process, "$ imgctl pull")
        # A terminal tells the whole group; `kill` and a supervisor tell the first alone.
        if to_all:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        assert "Traceback" not in rest
        assert "call it with" not in rest
    assert list(tmp_path.iterdir()) == []


def test_a_pull_that_fails_ends_the_demo_with_its_status(
    bare: dict[str, str], tmp_path: Path
) -> None:
    # A program of that name beside the interpreter is the one that is run.
    home = tmp_path / "bin"
    home.mkdir()
    (home / "python").symlink_to(sys.executable)
    (home / "imgctl").write_text("#!/bin/sh\necho no such thing >&2\nexit 7\n")
    (home / "imgctl").chmod(0o755)
    code = "import sys; sys.executable = sys.argv[1]; from imgd_server.__main__ import main; "
    code += "sys.exit(main(['demo']))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(home / "python")],
        env={**bare, "PATH": "/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 7
    assert "no such thing" in done.stderr
    assert "$ imgctl images" not in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_demo_that_can_not_start_says_why(bare: dict[str, str], tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    done = subprocess.run(
        [IMGD, "demo", "--once"],
        env={**bare, "TMPDIR": str(deep)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1
    assert "107 bytes" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(deep.iterdir()) == []
