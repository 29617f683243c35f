"""The walk that Docker's documentation makes through its images, with imgctl, line by line.

The images come from the daemon's own sample registry and from skopeo, which pushes there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import Daemon, run_daemon
from tests.real_images import RealImages

HEADER = ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
_SHORT_ID = re.compile(r"[0-9a-f]{12}")


class Walk:
    """A daemon, and a registry from which it pulls."""

    def __init__(self, daemon: Daemon, source: str) -> None:
        self.daemon, self.source = daemon, source

    def run(self, *words: str) -> list[str]:
        """The lines of a command that succeeds."""
        ended = self.daemon.imgctl(*words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()

    def fail(self, *words: str) -> str:
        """What a command that fails says."""
        ended = self.daemon.imgctl(*words)
        assert ended.returncode == 1, ended.stdout
        assert ended.stdout == ""
        return ended.stderr

    def rows(self, *words: str) -> list[tuple[str, str, str]]:
        """Repository, tag and ID of each row."""
        header, *rows = self.run("images", *words)
        assert header.split() == HEADER
        found = [row.split()[:3] for row in rows]
        assert all(_SHORT_ID.fullmatch(row[2]) for row in found)
        return [(row[0], row[1], row[2]) for row in found]

    def names(self, *words: str) -> set[tuple[str, str]]:
        return {(repository, tag) for repository, tag, _ in self.rows(*words)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, real_images: RealImages) -> Iterator[Daemon]:
    """A daemon whose registry has the samples, and real images beside them."""
    root = tmp_path_factory.mktemp("source") / "root"
    with run_daemon(root, "--registry-listen", "127.0.0.1:0", "--samples") as daemon:
        for name in ("app", "app-next"):
            real_images.push(name, f"{daemon.registry}/real/{name}:1")
        yield daemon


@pytest.fixture
def walk(tmp_path: Path, source: Daemon) -> Iterator[Walk]:
    with run_daemon(tmp_path / "root") as daemon:
        yield Walk(daemon, source.registry)


def test_the_walk(walk: Walk) -> None:
    app, following = f"{walk.source}/real/app", f"{walk.source}/real/app-next"
    hello = f"{walk.source}/samples/hello"

    # An empty store lists only its header.
    assert walk.rows() == []

    # Two pulls list two rows.
    walk.run("pull", "-q", f"{app}:1")
    walk.run("pull", "-q", hello)
    assert walk.names() == {(app, "1"), (hello, "latest")}
    ids = {repository: image_id for repository, _, image_id in walk.rows()}
    assert ids[app] != ids[hello]

    # The same image under three tags lists three rows with one ID.
    walk.run("tag", f"{app}:1", "app")
    walk.run("tag", "app", f"{app}:stable")
    assert [row for row in walk.rows() if row[2] == ids[app]] == [
        (app, "1", ids[app]),
        (app, "stable", ids[app]),
        ("app", "latest", ids[app]),
    ]
    assert walk.names("app") == {("app", "latest")}

    # `--format` prints just what it is told.
    lines = walk.run("images", "--format", "{{.Repository}}: {{.Tag}}: {{.Size}}")
    assert len(lines) == 4
    sizes = {line.rpartition(": ")[2] for line in lines if line.startswith(app)}
    assert len(sizes) == 1
    assert re.fullmatch(r"[0-9.]+[kMG]?B", sizes.pop())
    assert {line.rpartition(": ")[0] for line in lines} == {
        f"{app}: 1",
        f"{app}: stable",
        "app: latest",
        f"{hello}: latest",
    }

    # By ID, several names are several too many.
    assert "app:latest" in walk.fail("rmi", ids[app])
    assert walk.run("rmi", f"{app}:stable") == [f"Untagged: {app}:stable"]
    assert walk.run("rmi", "app") == ["Untagged: app:latest"]

    # Re-tagging a name to another image leaves `<none>` `<none>` behind.
    walk.run("tag", f"{app}:1", "moving:1")
    untagged = walk.run("rmi", f"{app}:1")
    assert untagged[0] == f"Untagged: {app}:1"
    assert re.fullmatch(rf"Untagged: {re.escape(app)}@sha256:[0-9a-f]{{64}}", untagged[1])
    walk.run("pull", "-q", f"{following}:1")
    walk.run("tag", f"{following}:1", "moving:1")
    assert ("<none>", "<none>", ids[app]) in walk.rows()
    next_id = next(row[2] for row in walk.rows() if row[0] == "moving")
    assert next_id != ids[app]

    # `--filter dangling=true` shows just that; prune removes just that.
    assert walk.rows("--filter", "dangling=true") == [("<none>", "<none>", ids[app])]
    assert walk.run("images", "-q", "-f", "dangling=true") == [ids[app]]
    pruned = walk.run("prune", "-f")
    assert pruned[0] == "Deleted Images:"
    deleted = [line.removeprefix("deleted: sha256:")[:12] for line in pruned[1:-2]]
    assert deleted[0] == ids[app]
    assert re.fullmatch(r"Total reclaimed space: [0-9.]+[kMG]?B", pruned[-1])
    assert walk.names() == {(following, "1"), ("moving", "1"), (hello, "latest")}

    # Removing an image that a container uses is refused and names the container.
    created = walk.run("container", "create", "--name", "web", hello)
    assert created
    refused = walk.fail("rmi", hello)
    assert "web" in refused
    assert (hello, "latest") in walk.names()

    # With `-a` prune takes all that no container uses.
    walk.run("prune", "-a", "-f")
    assert walk.names() == {(hello, "latest")}

    # It works once the container is gone.
    walk.run("container", "rm", "web")
    lines = walk.run("rmi", hello)
    assert lines[0] == f"Untagged: {hello}:latest"
    assert lines[1].startswith(f"Untagged: {hello}@sha256:")
    assert lines[2].startswith(f"Deleted: sha256:{ids[hello]}")
    assert all(line.startswith("Deleted: sha256:") for line in lines[2:])
    assert walk.rows() == []
