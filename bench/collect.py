"""A garbage collection of 100,000 blobs, half of them free, while lists, look-ups and pulls go on.

`python -m bench.collect FOLDER BLOBS`: fills a store in an empty folder, runs the daemon on it,
measures the calls during the collection and afterwards, and prints what it found as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio

from bench.common import BenchError, PeakMemory, Sample, free_port, log, need, serving
from bench.listing import python
from bench.rounds import Place, Scenario, Subject, Target
from imgd.v1 import image_service_pb2, system_service_pb2, transfer_service_pb2
from imgd.v1.image_service_pb2_grpc import ImageServiceStub
from imgd.v1.system_service_pb2_grpc import SystemServiceStub
from imgd.v1.transfer_service_pb2_grpc import TransferServiceStub
from imgd_server.content import LocalContentStore
from imgd_server.metadata import BlobRef, ImageRecord, Name, SqliteMetadataStore, WriteSession
from imgd_server.oci import Descriptor, Digest, media

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# 1,000 images of 50 blobs each are half of the blobs.
IMAGES, PARTS = 1000, 50
BLOBS = 2 * IMAGES * PARTS
# The calls whose time is bounded; a pull and its removal are several.
CALLS = ("GetImage", "ListImages (50)")
# A call of each kind begins so often: the client must not be what is slow.
PACE = 0.005
QUIET_SECONDS = 5.0


def _put(folder: Path, text: str) -> Digest:
    """A tiny blob, without the syncs of a real one."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / digest).write_text(text)
    return Digest(f"sha256:{digest}")


async def fill(root: Path, blobs: int) -> None:
    """A store of so many blobs, half of them of images."""
    LocalContentStore(root / "content")
    folder = root / "content" / "blobs" / "sha256"
    metadata = await SqliteMetadataStore.open(root / "metadata.db")
    parts = max(blobs // 2 // IMAGES, 1)
    for number in range(IMAGES):
        digests = [_put(folder, f"held {number} {part}") for part in range(parts)]
        refs = [BlobRef(one, 16, media.OCI_LAYER_GZIP) for one in digests]
        record = ImageRecord(
            uid=f"{number:026d}",
            target=Descriptor(media.OCI_MANIFEST, digests[0], 16),
            image_id=digests[-1],
            kind="image",
            artifact_type="",
            created=number * 1_000_000,
            stored=number * 1_000_000,
            last_used=None,
            content_size=0,
            unpacked_size=None,
            pinned=False,
            complete=True,
            platform="linux/amd64",
            names=(Name(f"registry.test/app{number}:1", f"registry.test/app{number}"),),
        )

        def show(session: WriteSession) -> None:
            session.put_image(record, (), refs)  # noqa: B023 - called before they change

        await metadata.write(show)
    for number in range(blobs - IMAGES * parts):
        _put(folder, f"free {number}")
    await metadata.close()


def floor(folder: Path, files: int) -> float:
    """Seconds to delete so many files of the same size, with nothing else going on.

    No collection is faster: ext4 takes 20 to 150 µs a file, the most where it tells the disk at
    once what became free (`discard`).
    """
    folder.mkdir()
    for number in range(files):
        _put(folder, f"free {number}")
    os.sync()
    start = time.perf_counter()
    for entry in [*os.scandir(folder)]:
        os.unlink(entry.path)  # noqa: PTH108 - as the store does
    return time.perf_counter() - start


class Caller:
    """One kind of call, again and again, and how long each took."""

    def __init__(self, name: str, call: Callable[[], Awaitable[object]]) -> None:
        self.name, self._call = name, call
        self.seconds: list[float] = []

    async def run(self, over: asyncio.Event) -> None:
        """Calls until it is over."""
        while not over.is_set():
            start = time.perf_counter()
            await self._call()
            self.seconds.append(time.perf_counter() - start)
            await asyncio.sleep(PACE)

    def summary(self) -> dict[str, float]:
        """Milliseconds, and a count."""
        ordered = sorted(self.seconds)

        def at(share: float) -> float:
            return round(1000 * ordered[min(math.ceil(len(ordered) * share), len(ordered)) - 1], 2)

        return {
            "calls": len(ordered),
            "p50": at(0.5),
            "p99": at(0.99),
            "p99.9": at(0.999),
            "longest": at(1.0),
        }


def callers(channel: grpc.aio.Channel, reference: str) -> list[Caller]:
    """What goes on beside the collection."""
    images: Any = ImageServiceStub(channel)
    transfers: Any = TransferServiceStub(channel)
    one = image_service_pb2.GetImageRequest(image=f"registry.test/app{IMAGES // 2}:1")
    page = image_service_pb2.ListImagesRequest(page_size=50)
    pull = transfer_service_pb2.PullRequest(reference=reference)
    remove = image_service_pb2.RemoveImageRequest(image=reference, force=True)

    async def pull_and_remove() -> None:
        # What the former round left is fetched again, unless the collection has not come to it.
        async for _ in transfers.Pull(pull):
            pass
        await images.RemoveImage(remove)

    return [
        Caller(CALLS[0], lambda: images.GetImage(one)),
        Caller(CALLS[1], lambda: images.ListImages(page)),
        Caller("Pull and RemoveImage", pull_and_remove),
    ]


async def measure(address: str, reference: str) -> dict[str, Any]:
    """The same calls without and with a collection."""
    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), 30)
        system: Any = SystemServiceStub(channel)
        found: dict[str, Any] = {}
        # In this order: each removal is followed by a collection of its own.
        for name, work in (("collecting", system.CollectGarbage), ("quiet", None)):
            running = callers(channel, reference)
            over = asyncio.Event()
            tasks = [asyncio.create_task(one.run(over)) for one in running]
            await asyncio.sleep(0.2)
            start = time.perf_counter()
            if work is None:
                await asyncio.sleep(QUIET_SECONDS)
            else:
                answer = await work(system_service_pb2.CollectGarbageRequest(), timeout=600)
                found["seconds"] = round(time.perf_counter() - start, 2)
                found["examined"] = answer.report.examined_blobs
                found["deleted"] = answer.report.deleted_blobs
            over.set()
            await asyncio.gather(*tasks)
            found[name] = {one.name: one.summary() for one in running}
        return found


def main(folder: Path, blobs: int) -> int:
    """Fills a store in `folder`, measures once, and prints what was found as JSON."""
    asyncio.run(fill(folder / "state", blobs))
    os.sync()
    inside = f"127.0.0.1:{free_port()}"
    socket = folder / "s.sock"
    command = [
        *(need("imgd"), "serve", "--root", str(folder / "state"), "--listen", f"unix:{socket}"),
        *("--registry-listen", inside, "--samples", "--log-level", "warning"),
    ]
    with (
        serving(command, socket, folder / "imgd.log") as process,
        PeakMemory(process.pid) as memory,
    ):
        found = asyncio.run(measure(f"unix:{socket}", f"{inside}/samples/hello:latest"))
    print(json.dumps({**found, "memory": memory.peak}))
    return 0


# --- the scenario --------------------------------------------------------------------------------


def _collect(folder: Path) -> Sample:
    log(f"filling a store with {BLOBS:,} blobs ...")
    found = json.loads(python("bench.collect", str(folder), str(BLOBS)))
    if found["deleted"] < BLOBS // 2:
        raise BenchError(f"only {found['deleted']} blobs were deleted")
    more = {
        f"{name} p99.9 ms{'' if when == 'collecting' else ', quiet'}": found[when][name]["p99.9"]
        for when in ("collecting", "quiet")
        for name in found[when]
    }
    return Sample(found["seconds"], found["memory"], more)


def _floor(folder: Path) -> Sample:
    return Sample(floor(folder / "blobs", BLOBS // 2))


@contextlib.contextmanager
def _scenario(_cache: Path, _folder: Path) -> Iterator[Scenario]:
    row = "imgd: collection"
    yield Scenario(
        {"blobs": BLOBS, "of_which_free": BLOBS // 2, "images": IMAGES},
        [
            Subject(row, "imgd", _collect),
            Subject("floor: deleting the files", "floor", _floor),
        ],
        (
            Target(row, 5.0),
            *(Target(row, 50, reading=f"{name} p99.9 ms") for name in CALLS),
        ),
        "While it collects, and for some seconds afterwards (quiet), the other calls go on, each "
        f"again {PACE * 1000:g} ms after its answer.",
        rounds=2,
        warm_up=False,
    )


SCENARIOS: dict[str, Place] = {"collect": _scenario}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
