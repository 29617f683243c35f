"""Fifty callers at once, and a real registry's own log of what it was asked for."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path

from imgd.v1 import transfer_pb2
from imgd_client import AsyncClient
from tests.daemon import PATIENCE, run_daemon
from tests.fake_images import FakeImage, make_image
from tests.gate import gate
from tests.pulling import noise
from tests.registries import docker_registry, push_image

PLAIN = "application/vnd.oci.image.layer.v1.tar"
SHARED = noise(400_000, 1)
# One blob is two layers of it.
IMAGE = make_image([noise(3_000_000, 2), SHARED, SHARED, noise(7000, 3)], layer_type=PLAIN)
OTHER = make_image([SHARED, noise(100_000, 4)], layer_type=PLAIN)
CALLERS, OTHERS = 40, 10
State = transfer_pb2.TransferState
_ANSWERED = re.compile(
    r'http\.request\.method=(\w+) .*http\.request\.uri="?([^ ?"]+).*'
    r"http\.response\.status=(\d+) http\.response\.written=(\d+)"
)


def asked(log: list[str], method: str, kind: str) -> Counter[str]:
    """How often docker-registry says that each blob or manifest was asked for."""
    found = [match.groups() for line in log if (match := _ANSWERED.search(line))]
    return Counter(
        path.rpartition("/")[2]
        for verb, path, status, _ in found
        if verb == method and f"/{kind}/" in path and status == "200"
    )


def written(log: list[str]) -> int:
    """How many bytes of blobs and manifests it sent."""
    found = [match.groups() for line in log if (match := _ANSWERED.search(line))]
    return sum(int(size) for verb, _, _, size in found if verb == "GET")


def size_of(*images: FakeImage) -> int:
    """Bytes of images, each blob once."""
    blobs = {digest: data for image in images for digest, data in image.blobs.items()}
    return sum(map(len, blobs.values())) + sum(len(image.raw) for image in images)


async def ended(client: AsyncClient, name: str) -> transfer_pb2.Transfer:
    """A transfer's record at its end."""
    async for event in client.watch(name):
        if event.HasField("finished"):
            return event.finished.transfer
    raise AssertionError("a watch ends with `finished`")


async def followed(client: AsyncClient, names: list[str]) -> str:
    """Waits until all of them share one's work; returns the name of that one."""
    leader = ""

    async def follow(name: str) -> None:
        nonlocal leader
        async for event in client.watch(name, min_interval=0.2):
            part = event.snapshot if event.HasField("snapshot") else event.update
            if part.progress.leader or part.progress.follower_count == len(names) - 1:
                leader = part.progress.leader or name
                return

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*map(follow, names))
    return leader


async def test_each_blob_is_asked_for_once_also_when_the_leader_leaves(tmp_path: Path) -> None:
    log: list[str] = []
    with (
        run_daemon(tmp_path / "state", "--read-timeout", "600") as daemon,
        docker_registry(tmp_path / "registry", log=log) as registry,
        gate(registry) as front,
    ):
        push_image(registry, "library/app", IMAGE, "1")
        push_image(registry, "library/app", OTHER, "2")
        # Layers stop before their last byte.
        front.close()
        async with AsyncClient(daemon.address) as client:
            wanted = ["1"] * CALLERS + ["2"] * OTHERS
            started = await asyncio.gather(
                *(client.transfers.start_pull(f"{front.address}/library/app:{tag}")
                  for tag in wanted)
            )  # fmt: skip
            names = [one.name for one in started]
            leader = await followed(client, names[:CALLERS])
            other = await followed(client, names[CALLERS:])
            gone = [await client.transfers.cancel(name) for name in (leader, other)]
            assert {one.state for one in gone} == {State.TRANSFER_STATE_CANCELLED}
            front.open()
            left = [name for name in names if name not in (leader, other)]
            records = await asyncio.gather(*(ended(client, name) for name in left))
            assert {one.state for one in records} == {State.TRANSFER_STATE_SUCCEEDED}
            assert Counter(one.outcome.target.digest for one in records) == {
                IMAGE.digest: CALLERS - 1,
                OTHER.digest: OTHERS - 1,
            }
            assert sum(one.outcome.fetched_bytes for one in records) <= size_of(IMAGE, OTHER)
            images = [image.target.digest async for image in client.images.list()]
            assert sorted(images) == sorted([IMAGE.digest, OTHER.digest])
    # It has ended, and has told everything.
    assert asked(log, "GET", "blobs") == dict.fromkeys([*IMAGE.blobs, *OTHER.blobs], 1)
    assert asked(log, "GET", "manifests") == {IMAGE.digest: 1, OTHER.digest: 1}
    assert written(log) == size_of(IMAGE, OTHER)
    assert asked(log, "HEAD", "manifests").total() <= CALLERS + OTHERS
