"""What every test shares."""

from __future__ import annotations

import os
import socket

import hypothesis
import pytest

from tests import peers, real_images

# What the user of this machine keeps for registries is nobody's matter here, and their credential
# helpers are not to be run.
os.environ["DOCKER_CONFIG"] = "/nonexistent/docker"

# No example is too slow (nothing in the tests is timed), and CI tries the same examples each time.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session", name="real_images")
def build_real_images(tmp_path_factory: pytest.TempPathFactory) -> real_images.RealImages:
    """Images with real files by real builders, in OCI layouts; built once."""
    return real_images.build_images(tmp_path_factory.mktemp("real-images"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the peers that were missing, so that a green run is not mistaken for a full one."""
    if not peers.missing:
        return
    terminalreporter.section("MISSING PEERS", red=True, bold=True)
    for program, tests in sorted(peers.missing.items()):
        terminalreporter.line(f"MISSING PEERS: {program}, wanted by {len(tests)} tests", red=True)
        for test in sorted(set(tests)):
            terminalreporter.line(f"    {test}")
    terminalreporter.line("`make setup-peers` installs them; CI=true makes these tests fail.")
