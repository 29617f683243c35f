"""A garbage collection of 100,000 blobs, half of them free, while lists, look-ups and pulls go on.

`python -m bench.collect`: fills a store, runs the daemon on it, measures the calls during
the collection and afterwards, and writes `results/collect.json` and `.md`. Goals: the collection
within 5 s, and 99.9 % of the other calls within 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import hashlib
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio

from bench.common import RESULTS, BenchError, default_cache, free_port, log, need, prepare, serving
from bench.report import commit, machine
from imgd.v1 import image_service_pb2, system_service_pb2, transfer_service_pb2
from imgd.v1.image_service_pb2_grpc import ImageServiceStub
from imgd.v1.system_service_pb2_grpc import SystemServiceStub
from imgd.v1.transfer_service_pb2_grpc import TransferServiceStub
from imgd_server.content import LocalContentStore
from imgd_server.metadata import BlobRef, ImageRecord, Name, SqliteMetadataStore, WriteSession
from imgd_server.oci import Descriptor, Digest, media

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# 1,000 images of 50 blobs each are half of the blobs.
IMAGES, PARTS = 1000, 50
GOAL_SECONDS, GOAL_CALL = 5.0, 0.050
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
        Caller("GetImage", lambda: images.GetImage(one)),
        Caller("ListImages (50)", lambda: images.ListImages(page)),
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


def _table(about: dict[str, Any], found: dict[str, Any]) -> str:
    lines = [
        f"# Collecting {found['deleted']:,} of {found['examined']:,} blobs: {found['seconds']} s",
        "",
        f"Goal: {GOAL_SECONDS:g} s, and p99.9 of other calls {GOAL_CALL * 1000:g} ms. "
        f"{about['cpu']}, {about['cores']} cores, commit {about['commit']}, {about['date']}; "
        f"load before: {about['load']}.",
        "",
        f"Deleting as many files, and nothing else, takes {found['floor']} s here.",
        "",
        "| call (ms) | when | calls | p50 | p99 | p99.9 | longest |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in found["quiet"]:
        for when in ("quiet", "collecting"):
            row = " | ".join(f"{value:g}" for value in found[when][name].values())
            lines.append(f"| {name} | {when} | {row} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measures, and writes the results. 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.collect", description=__doc__)
    parser.add_argument("--blobs", type=int, default=2 * IMAGES * PARTS)
    parser.add_argument("--cache", type=Path, default=default_cache())
    options = parser.parse_args()
    root = prepare(options.cache) / "collect"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    load = Path("/proc/loadavg").read_text().split()[0]
    log(f"filling a store with {options.blobs} blobs")
    asyncio.run(fill(root / "state", options.blobs))
    deleting = round(floor(root / "floor", options.blobs // 2), 2)
    os.sync()
    registry = f"127.0.0.1:{free_port()}"
    socket = root / "imgd.sock"
    command = [
        *(need("imgd"), "serve", "--root", str(root / "state"), "--listen", f"unix:{socket}"),
        *("--registry-listen", registry, "--samples", "--log-level", "warning"),
    ]
    try:
        with serving(command, socket, root / "imgd.log"):
            found = asyncio.run(measure(f"unix:{socket}", f"{registry}/samples/hello:latest"))
            found["floor"] = deleting
    finally:
        shutil.rmtree(root / "state", ignore_errors=True)
    about = {
        **machine(),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load": load,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "collect.json").write_text(json.dumps({**about, **found}, indent=2) + "\n")
    table = _table(about, found)
    (RESULTS / "collect.md").write_text(table)
    print(table)
    slow = [
        name for name, one in found["collecting"].items()
        if not name.startswith("Pull") and one["p99.9"] > GOAL_CALL * 1000
    ]  # fmt: skip
    return 1 if slow or found["seconds"] > GOAL_SECONDS else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        log(f"ERROR: {error}")
        sys.exit(1)
