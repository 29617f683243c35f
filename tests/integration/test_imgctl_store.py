"""imgctl and the clients' holds over a real daemon's containers, leases, pins, events and space."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgd.v1 import container_pb2, event_pb2
from imgd_client import AsyncClient, AsyncEventStream, Client, EventStream, InUse, NotFound
from tests.daemon import BIN, PATIENCE, Daemon, run_daemon

_RUNNING = container_pb2.CONTAINER_STATE_RUNNING


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a registry of samples. Each test leaves no holds behind."""
    root = tmp_path_factory.mktemp("store") / "root"
    with run_daemon(root, "--registry-listen", "127.0.0.1:0", "--samples") as daemon:
        yield daemon


@pytest.fixture
def image(daemon: Daemon) -> str:
    """An image in its store."""
    name = f"{daemon.registry}/samples/hello:latest"
    _do(daemon, "pull", "-q", name)
    return name


def _do(daemon: Daemon, *words: str) -> str:
    done = daemon.imgctl(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_life_of_a_container(daemon: Daemon, image: str) -> None:
    assert _do(daemon, "container", "create", "--name", "web", "-l", "a=b", image) == "web\n"
    try:
        assert _do(daemon, "ps", "-q") == ""
        assert _do(daemon, "container", "start", "web") == "web\n"
        assert re.search(r"^web +\S+/hello:latest .* Up ", _do(daemon, "ps"), re.MULTILINE)
        assert _do(daemon, "ps", "-q", "--filter", "label=a=c") == ""
        held = daemon.imgctl("rmi", image)
        assert held.returncode == 1
        assert re.fullmatch(r"imgctl: .*containers/web.* \(IMAGE_IN_USE\)\n", held.stderr)

        _do(daemon, "container", "pause", "web")
        assert "(Paused)" in _do(daemon, "ps", "--filter", f"ancestor={image}")
        _do(daemon, "container", "unpause", "web")
        _do(daemon, "container", "stop", "--exit-status", "3", "web")
        assert "Exited (3)" in _do(daemon, "ps", "-a", "--filter", "status=exited")
        facts = "{{.State.Status}} {{.State.ExitCode}} {{.Config.Labels.a}}"
        assert _do(daemon, "container", "inspect", "-f", facts, "web") == "exited 3 b\n"
        silent = daemon.imgctl("container", "heartbeat", "web")
        assert "(CONTAINER_STATE)" in silent.stderr
    finally:
        assert _do(daemon, "container", "rm", "-f", "web") == "web\n"
    assert _do(daemon, "rmi", image).startswith(f"Untagged: {image}\n")


def test_leases_and_pins_hold(daemon: Daemon, image: str) -> None:
    _do(daemon, "pull", "-q", "--lease", "pulled", "--lease-ttl", "2h", image)
    assert _do(daemon, "lease", "create", "--name", "mine", "--image", image) == "mine\n"
    rows = [row.split()[0] for row in _do(daemon, "lease", "ls").splitlines()]
    assert rows == ["LEASE", "mine", "pulled"]
    assert "in 2 hours" in _do(daemon, "lease", "ls")
    _do(daemon, "lease", "renew", "--ttl", "240h", "mine")
    assert "in 10 days" in _do(daemon, "lease", "ls", "--format", "{{.Expires}}")
    _do(daemon, "pin", image)

    held = daemon.imgctl("rmi", image).stderr

    for holder in ("leases/mine", "leases/pulled", "pin"):
        assert holder in held
    assert _do(daemon, "images", "-q", "--filter", "pinned=true").count("\n") == 1
    assert _do(daemon, "lease", "rm", "mine", "pulled") == "mine\npulled\n"
    assert "is held by pin" in daemon.imgctl("rmi", image).stderr
    _do(daemon, "unpin", image)
    _do(daemon, "rmi", image)


def test_space_and_collection(daemon: Daemon, image: str) -> None:
    images = json.loads(_do(daemon, "df", "--format", "json").splitlines()[0])
    assert (images["Type"], images["TotalCount"], images["Active"]) == ("Images", "1", "0")
    assert images["Reclaimable"].startswith(images["Size"])
    assert _do(daemon, "df", "-v").count("<none>") == 0

    planned, done, again = _collected(daemon, image)
    # The daemon collects by itself some seconds after a removal: perhaps just then.
    while done[0].startswith("Deleted blobs: 0 of "):
        planned, done, again = _collected(daemon, image)

    # The registry's own samples stay.
    count = re.fullmatch(r"Blobs to delete: ([0-9]+) of ([0-9]+)", planned[0])
    assert count
    assert done[0] == f"Deleted blobs: {count[1]} of {count[2]}"
    assert planned[2].split(": ")[1] == done[2].split(": ")[1]
    assert again[0].startswith("Deleted blobs: 0 of ")


def _collected(daemon: Daemon, image: str) -> list[list[str]]:
    """Removes an image; what a plan of a collection says, it, and one more."""
    _do(daemon, "pull", "-q", image)
    _do(daemon, "rmi", image)
    words = ["gc --dry-run", "gc", "gc"]
    return [_do(daemon, *one.split()).splitlines() for one in words]


def test_events_are_dockers_lines(daemon: Daemon, image: str) -> None:
    with Client(daemon.address) as client, client.events() as stream:
        assert isinstance(stream, EventStream)
        _do(daemon, "tag", image, "mine:1")
        event = next(stream)
    assert (event.action, event.subject_kind) == ("tag", event_pb2.SUBJECT_KIND_IMAGE)
    following = subprocess.Popen(
        [
            *(str(BIN / "imgctl"), "--address", daemon.address, "events"),
            *("--after", str(event.cursor - 1), "--filter", "type=image"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout
    # What was, and what comes.
    first = following.stdout.readline()
    _do(daemon, "untag", "mine:1")
    second = following.stdout.readline()
    following.send_signal(signal.SIGINT)
    rest, _ = following.communicate(timeout=PATIENCE)

    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)"
    assert re.fullmatch(rf"{moment} image tag sha256:[0-9a-f]{{64}} \(.*name=mine:1.*\)\n", first)
    assert re.fullmatch(rf"{moment} image untag sha256:.*name=mine:1.*\)\n", second)
    assert (rest, following.returncode) == ("", 130)
    ended = _do(daemon, "events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}")
    assert ended.splitlines()[-2:] == ["tag", "untag"]
    _do(daemon, "rmi", image)


def test_a_block_holds_an_image(daemon: Daemon, image: str) -> None:
    with Client(daemon.address) as client:
        with client.leases.hold([image]) as lease:
            with pytest.raises(InUse) as caught:
                client.images.remove(image)
            assert caught.value.preconditions[0].subject == lease.name
        with client.containers.hold(image, container_id="held", heartbeat=1) as container:
            assert container.record.state == _RUNNING
            with pytest.raises(InUse):
                client.images.remove(image)
        with pytest.raises(NotFound):
            client.containers.get("held")
        assert not [*client.leases.list()]
        assert client.images.remove(image).untagged


async def test_a_block_of_asyncio_holds_an_image(daemon: Daemon, image: str) -> None:
    async with AsyncClient(daemon.address) as client:
        begun = datetime.now(UTC)
        async with (
            client.leases.hold([image], lease_id="both"),
            client.containers.hold(image, container_id="both"),
        ):
            with pytest.raises(InUse):
                await client.images.remove(image)
        events = client.events(
            since=begun, until=datetime.now(UTC), filters=["type=container", "type=lease"]
        )
        assert isinstance(events, AsyncEventStream)
        found = [(event.subject, event.action) async for event in events]
        lease, container = "leases/both", "containers/both"
        assert found == [
            (lease, "create"),
            (container, "create"),
            (container, "start"),
            (container, "destroy"),
            (lease, "delete"),
        ]
        await client.images.remove(image)


def test_a_hold_outlives_a_restart_of_the_daemon(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/imgd.sock"
    with Client(address) as client:
        with run_daemon(tmp_path / "root", address=address) as first:
            hold = client.leases.hold(ttl=300).__enter__()
            first.kill()
        with run_daemon(tmp_path / "root", address=address):
            assert client.leases.get(hold.name).name == hold.name
            hold.close()
            assert hold.lost is None
            assert not [*client.leases.list()]


def test_completion_knows_containers_and_leases(daemon: Daemon, image: str) -> None:
    def offered(line: str) -> list[str]:
        environment = {
            "_IMGCTL_COMPLETE": "bash_complete",
            "COMP_LINE": line,
            "COMP_POINT": str(len(line)),
            "IMGD_ADDRESS": daemon.address,
            "PATH": str(BIN),
        }
        done = subprocess.run(
            [str(BIN / "imgctl")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return [one.partition(",")[2] for one in done.stdout.split()]

    for name in ("web-1", "web-2"):
        _do(daemon, "container", "create", "--name", name, image)
    _do(daemon, "container", "start", "web-1")
    _do(daemon, "lease", "create", "--name", "mine", "--image", image)
    try:
        assert offered("imgctl container rm w") == ["web-2", "web-1"]
        assert offered("imgctl container start ") == ["web-2"]
        assert offered("imgctl container stop ") == ["web-1"]
        assert offered("imgctl container unpause ") == []
        assert offered("imgctl container pause containers/") == ["containers/web-1"]
        assert offered("imgctl lease rm ") == ["mine"]
        assert offered("imgctl lease renew leases/") == ["leases/mine"]
        assert offered("imgctl pull --lease ") == ["mine"]
        assert offered(f"imgctl pin {image[:12]}") == [image]
        assert offered("imgctl con") == ["container"]
        assert "unpause" in offered("imgctl container u")
    finally:
        _do(daemon, "container", "rm", "-f", "web-1", "web-2")
        _do(daemon, "lease", "rm", "mine")
        _do(daemon, "rmi", image)
