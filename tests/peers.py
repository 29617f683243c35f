"""The real programs that tests run against: registries, builders, other clients.

`make setup` installs them. A test asks with `require("skopeo")`; where the program is missing, the
test is skipped and the run ends with a loud list, or, with CI=true, the test fails.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

__all__ = ["find", "missing", "require"]

_ROOT = Path(__file__).resolve().parent.parent
# Go tools are built into the repository; daemons are in folders that are not on everyone's PATH.
_SEARCHED = (str(_ROOT / ".tools" / "bin"), os.environ.get("PATH", ""), "/usr/sbin", "/sbin")

missing: dict[str, list[str]] = {}
"""What was asked for in vain: the program, and the tests that asked."""


def find(program: str) -> Path | None:
    """Returns where `program` is, or None; for tests that can do without."""
    path = shutil.which(program, path=os.pathsep.join(_SEARCHED))
    return Path(path) if path else None


def require(program: str) -> Path:
    """Returns where `program` is; without it the test ends here: skipped, or failed in CI."""
    path = find(program)
    if path is not None:
        return path
    test = os.environ.get("PYTEST_CURRENT_TEST", "unknown test").partition(" (")[0]
    missing.setdefault(program, []).append(test)
    message = f"missing peer: {program} (`make setup-peers` installs it)"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
