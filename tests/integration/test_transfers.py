"""Transfers over gRPC: slow readers, large pictures, callers who leave or may not share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from imgd.v1 import transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc
from imgd_client import Client
from tests.daemon import Daemon, run_daemon
from tests.fake_images import FakeImage, make_image
from tests.hostile import HostileRegistry, refuse, stall
from tests.pulling import noise

PLAIN = "application/vnd.oci.image.layer.v1.tar"
MEBIBYTE = 1 << 20
PATIENCE = 60.0
NodeState = transfer_pb2.NodeState
State = transfer_pb2.TransferState


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as one:
        yield one


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "root") as one:
        yield one


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as one:
        yield one


def layers_of(image: FakeImage) -> list[str]:
    return [str(one["digest"]) for one in image.document["layers"]]


def until_moved(events: Any, digest: str, wanted: int) -> None:
    """Reads events until so many bytes of a node are there."""
    for event in events:
        event = getattr(event, "event", event)
        part = event.snapshot if event.HasField("snapshot") else event.update
        for node in part.nodes:
            moved = [one.current_bytes for one in node.activities]
            if node.node_id == digest and moved and moved[-1] >= wanted:
                return
    raise AssertionError("it ended before")


def test_a_reader_who_does_not_read_holds_nobody_up_and_misses_no_end(
    daemon: Daemon, client: Client, registry: HostileRegistry
) -> None:
    image = make_image([noise(200_000, seed) for seed in range(40)], layer_type=PLAIN)
    reference = registry.add("library/app", image, "1")
    first, last = layers_of(image)[0], layers_of(image)[-1]
    registry.on(f"GET .*/blobs/{first}", stall(1000))
    name = client.transfers.start_pull(reference).name
    # A channel that takes little before it is read.
    options = [("grpc.http2.lookahead_bytes", 65_535), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(daemon.address, options=options) as channel:
        request = transfer_service_pb2.WatchTransferRequest(name=name)
        request.min_interval.SetInParent()
        stub = transfer_service_pb2_grpc.TransferServiceStub(channel)
        slow = iter(stub.WatchTransfer(request, timeout=PATIENCE))
        seen = [next(slow).event]
        until_moved(client.watch(name, min_interval=0.0), first, 1000)
        registry.release()
        # Another one sees it all, to the end, while the slow one does nothing.
        events = list(client.watch(name, min_interval=0.0))
        assert events[-1].finished.transfer.state == State.TRANSFER_STATE_SUCCEEDED
        seen += [answer.event for answer in slow]
    assert seen[0].HasField("snapshot")
    assert seen[-1].HasField("finished")
    assert seen[-1].sequence == events[-1].sequence
    numbers = [event.sequence for event in seen]
    assert numbers == sorted(set(numbers))
    nodes: dict[str, transfer_pb2.TransferNode] = {}
    for event in seen:
        part = event.snapshot if event.HasField("snapshot") else event.update
        nodes.update((node.node_id, node) for node in part.nodes)
    assert len(nodes) == 42
    assert last in nodes
    for node in nodes.values():
        assert node.state == NodeState.NODE_STATE_DONE
        assert all(activity.HasField("end_time") for activity in node.activities)


def test_no_event_of_a_very_large_image_exceeds_a_mebibyte(
    client: Client, registry: HostileRegistry
) -> None:
    """Nor does it repeat a number."""
    image = make_image([b"%d" % number for number in range(2500)], layer_type=PLAIN)
    reference = registry.add("library/app", image, "1")
    registry.on("GET .*/blobs/", refuse(403, "DENIED", "ж" * 200))
    name = client.transfers.start_pull(reference).name
    for watch in ("live", "late"):
        events = list(client.watch(name, min_interval=0.0))
        # After the end there is nothing but the picture: it takes several events.
        assert watch == "live" or len(events) > 2
        assert max(event.ByteSize() for event in events) < MEBIBYTE
        numbers = [event.sequence for event in events]
        assert numbers == sorted(set(numbers))
        known = {
            node.node_id: node
            for event in events
            for node in (*event.snapshot.nodes, *event.update.nodes)
        }
        assert len(known) == 2502
        assert not any(node.state == NodeState.NODE_STATE_ACTIVE for node in known.values())
        finished = events[-1].finished.transfer
        assert finished.state == State.TRANSFER_STATE_FAILED
        assert finished.outcome.failure.registry_code == "DENIED"


def test_leaving_a_pull_cancels_it_resumably_and_hurts_nobody(
    daemon: Daemon, client: Client, registry: HostileRegistry
) -> None:
    image = make_image([noise(3 * MEBIBYTE)], layer_type=PLAIN)
    reference = registry.add("library/app", image, "1")
    (layer,) = layers_of(image)
    registry.on(f"GET .*/blobs/{layer}", stall(2 * MEBIBYTE), times=1)
    stub = transfer_service_pb2_grpc.TransferServiceStub(client.channel)
    request = transfer_service_pb2.PullRequest(reference=reference)
    calls = []
    for _ in range(2):
        calls.append(stub.Pull(request, timeout=PATIENCE))
        until_moved(calls[-1], layer, MEBIBYTE)
    names = [one.name for one in client.transfers.list()]
    leader, follower = reversed(names)
    assert next(client.watch(follower)).snapshot.progress.leader == leader
    calls[0].cancel()
    *_, last = client.watch(leader)
    ended = last.finished.transfer
    assert ended.state == State.TRANSFER_STATE_CANCELLED
    assert ended.outcome.failure.code == grpc.StatusCode.CANCELLED.value[0]
    # The other one goes on, and leads now; then it leaves, too.
    moved = next(client.watch(follower)).snapshot
    assert moved.transfer.state == State.TRANSFER_STATE_RUNNING
    assert moved.progress.role == transfer_pb2.TRANSFER_ROLE_LEADER
    calls[1].cancel()
    *_, last = client.watch(follower)
    assert last.finished.transfer.state == State.TRANSFER_STATE_CANCELLED
    assert not list(client.images.list())
    client.transfers.resume(leader)
    *_, last = client.watch(leader)
    assert last.finished.transfer.state == State.TRANSFER_STATE_SUCCEEDED
    ranges = [one.headers.get("range", "") for one in registry.matching(f"GET .*/blobs/{layer}")]
    assert ranges[0] == ""
    assert len(ranges) == 2
    offset = int(ranges[1].removeprefix("bytes=").partition("-")[0])
    assert offset >= MEBIBYTE
    assert last.finished.transfer.outcome.fetched_bytes == 3 * MEBIBYTE - offset


def test_callers_who_may_not_share_take_turns(
    daemon: Daemon, client: Client, registry: HostileRegistry
) -> None:
    """Two repositories with one layer, and two callers of whom one has no business there."""
    image = make_image([noise(2 * MEBIBYTE)], layer_type=PLAIN)
    registry.require_basic("alice", "open-sesame")
    references = [registry.add(name, image, "1") for name in ("library/app", "library/other")]
    (layer,) = layers_of(image)
    registry.on(f"GET .*/blobs/{layer}", stall(MEBIBYTE), times=1)
    alice = transfer_pb2.RegistryCredentials(
        user_password=transfer_pb2.RegistryCredentials.UserPassword(
            user="alice", password="open-sesame"
        )
    )
    first = client.transfers.start_pull(references[0], credentials=alice).name
    until_moved(client.watch(first, min_interval=0.0), layer, MEBIBYTE // 2)
    second = client.transfers.start_pull(references[1], credentials=alice).name
    *_, last = client.watch(client.transfers.start_pull(references[0]).name)
    refused = last.finished.transfer.outcome.failure
    assert refused.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert refused.http_status == 401
    until_moved(client.watch(second, min_interval=0.0), layer, 0)
    ends: dict[str, transfer_pb2.Transfer] = {}

    def wait(name: str) -> None:
        *_, last = Client(daemon.address).watch(name)
        ends[name] = last.finished.transfer

    waiting = [threading.Thread(target=wait, args=(name,)) for name in (first, second)]
    for thread in waiting:
        thread.start()
    registry.release()
    for thread in waiting:
        thread.join(PATIENCE)
    assert {one.state for one in ends.values()} == {State.TRANSFER_STATE_SUCCEEDED}
    assert registry.served(f"GET .*/blobs/{layer}") == 2 * MEBIBYTE
    # The manifest's bytes are the second one's proof that its repository has it.
    assert ends[second].outcome.fetched_bytes == len(image.raw)
    # What opens the registry is nowhere: not in the state, not in the log.
    kept = b"".join(path.read_bytes() for path in daemon.root.glob("metadata.db*"))
    assert b"library/app" in kept
    assert b"open-sesame" not in kept
    assert "open-sesame" not in str(daemon.log)
