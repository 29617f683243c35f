"""overlayfs, for tests that mount it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imgd_server.rootfs import can_overlay
from tests import peers

__all__ = ["need_overlay"]


def need_overlay(folder: Path) -> None:
    """Ends a test where overlayfs can't be mounted in `folder`: loudly, as for a missing peer."""
    if can_overlay(folder / "probe"):
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "unknown test").partition(" (")[0]
    peers.missing.setdefault("overlayfs (root, and a file system for it)", []).append(test)
    if os.environ.get("CI") == "true":
        pytest.fail("overlayfs can't be mounted here", pytrace=False)
    pytest.skip("NOT TESTED: overlayfs can't be mounted here")
