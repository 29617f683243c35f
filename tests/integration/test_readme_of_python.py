"""The Python client's README does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.daemon import PATIENCE, run_daemon

_README = Path(__file__).resolve().parents[2] / "clients" / "python" / "README.md"


def test_its_examples_run(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", _README.read_text(), re.DOTALL)
    pull, pull_async, hold, events, errors = examples
    with run_daemon(tmp_path / "r", "--registry-listen", "127.0.0.1:0", "--samples") as daemon:
        reference = f"{daemon.registry}/samples/hello:latest"

        def run(script: str, *words: str) -> str:
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", script, *words],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
                env={**os.environ, "IMGD_ADDRESS": daemon.address},
            )
            assert not done.returncode, done.stderr
            return done.stdout

        first, second = run(pull, reference), run(pull_async, reference)
        refused = subprocess.run(
            [sys.executable, "-c", pull, f"{daemon.registry}/no/such:image"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={**os.environ, "IMGD_ADDRESS": daemon.address},
        )
        held, happened, reason = run(hold, reference), run(events, reference), run(errors)

    digest = re.search(r"^pulled (sha256:[0-9a-f]{64})$", first, re.MULTILINE)
    assert digest
    assert f"['{reference}'] sha256:" in first
    assert f"pulled {digest[1]}\n" in second
    assert "snapshot" in second
    assert "finished" in second
    assert f"['{reference}'] sha256:" in second
    assert refused.returncode == 1
    assert refused.stderr.startswith("REMOTE_NOT_FOUND: ")
    # 2 is CONTAINER_STATE_RUNNING.
    assert held == "True\n2\n"
    assert re.fullmatch(r"tag mine:1 [0-9]+\n", happened)
    assert reason == "IMAGE_NOT_FOUND\n"
