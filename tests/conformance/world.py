"""A real daemon with a registry beside it: what cases of a real daemon run in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc

from imgd.v1.container_service_pb2 import ListContainersRequest, RemoveContainerRequest
from imgd.v1.container_service_pb2_grpc import ContainerServiceStub
from imgd.v1.image_service_pb2 import ListImagesRequest, RemoveImageRequest, TagImageRequest
from imgd.v1.image_service_pb2_grpc import ImageServiceStub
from imgd.v1.lease_service_pb2 import DeleteLeaseRequest, ListLeasesRequest
from imgd.v1.lease_service_pb2_grpc import LeaseServiceStub
from imgd.v1.transfer_pb2 import (
    TRANSFER_STATE_PENDING,
    TRANSFER_STATE_RUNNING,
    TransferState,
)
from imgd.v1.transfer_service_pb2 import (
    CancelTransferRequest,
    ListTransfersRequest,
    PullRequest,
    StartTransferRequest,
)
from imgd.v1.transfer_service_pb2_grpc import TransferServiceStub
from tests.daemon import Daemon, run_daemon
from tests.fake_images import FakeImage, make_image, make_index, make_layer
from tests.gate import Gate, gate
from tests.taking import TakingRegistry

__all__ = ["World", "world"]

_NET = 60.0


def _images() -> dict[str, FakeImage]:
    """What the registry has, by `repository:tag`. Always the same bytes, so the same digests."""
    files = {
        "etc/hello.txt": b"hello\n",
        "etc/numbers.bin": random.Random(5).randbytes(300_000),
        **{f"many/{number:03}": b"" for number in range(250)},
    }
    arm = make_image([make_layer({"arch": b"arm64"})], architecture="arm64")
    small = make_image([make_layer({"one": b"1"})], labels={"tier": "front"})
    return {
        "small:1": small,
        "small:2": make_image([make_layer({"two": b"2"})], created="2025-01-01T00:00:00Z"),
        "files:1": make_image([make_layer(files), make_layer({"etc/.wh.gone": b""})]),
        "multi:1": make_index(
            [
                (small, {"os": "linux", "architecture": "amd64"}),
                (arm, {"os": "linux", "architecture": "arm64"}),
            ]
        ),
    }


def _big(seed: int) -> FakeImage:
    """Large enough to be held back at the gate, and not to be compressed below that."""
    return make_image([make_layer({"noise": random.Random(seed).randbytes(400_000)})])


class World:
    """The daemon, the registry and its gate, and what the runner itself does with them."""

    def __init__(self, folder: Path, registry: TakingRegistry, front: Gate) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._cases = 0
        self.registry = registry
        self.gate = front
        self.daemon: Daemon = None  # type: ignore[assignment]  # `start` follows at once
        self.transfer = ""
        """The resource name of the pull that the runner started last."""

    @property
    def address(self) -> str:
        """Where the daemon is."""
        return self.daemon.address

    def start(self) -> None:
        """Starts the daemon, and connects to it."""
        self.daemon = self._stack.enter_context(run_daemon(self._folder / "root"))
        channel = self._stack.enter_context(grpc.insecure_channel(self.address))
        self._images: Any = ImageServiceStub(channel)
        self._containers: Any = ContainerServiceStub(channel)
        self._leases: Any = LeaseServiceStub(channel)
        self._transfers: Any = TransferServiceStub(channel)

    def close(self) -> None:
        """Stops the daemon."""
        self._stack.close()

    def restart(self) -> None:
        """Kills the daemon and starts it again."""
        self.daemon.kill()
        self.close()
        self.start()

    def empty(self) -> None:
        """Takes everything out of the store, and opens the gate."""
        self.gate.open()
        for state in (TRANSFER_STATE_PENDING, TRANSFER_STATE_RUNNING):
            for transfer in self._transfers.ListTransfers(
                ListTransfersRequest(states=[state], page_size=1000)
            ).transfers:
                self._transfers.CancelTransfer(CancelTransferRequest(name=transfer.name))
        for container in self._containers.ListContainers(
            ListContainersRequest(page_size=1000)
        ).containers:
            self._containers.RemoveContainer(
                RemoveContainerRequest(name=container.name, force=True)
            )
        for lease in self._leases.ListLeases(ListLeasesRequest(page_size=1000)).leases:
            self._leases.DeleteLease(DeleteLeaseRequest(name=lease.name))
        for image in self._images.ListImages(ListImagesRequest(page_size=1000)).images:
            self._images.RemoveImage(RemoveImageRequest(image=image.name, force=True))
        # What was pulled once is not asked for again, so that each case has a `big:1` of its own.
        self._cases += 1
        self.registry.add("big", _big(self._cases), "1")
        self.gate.asked.clear()

    def pull(self, image: str) -> None:
        """Pulls an image of the registry, to its end."""
        *_, last = self._transfers.Pull(PullRequest(reference=f"{self.registry.host}/{image}"))
        assert last.event.finished.transfer.outcome.image, last

    def start_pull(self, image: str) -> None:
        """Begins to pull through the gate."""
        request = StartTransferRequest()
        request.source.registry.reference = f"{self.gate.address}/{image}"
        request.destination.store.SetInParent()
        self.transfer = self._transfers.StartTransfer(request).transfer.name

    def tag(self, image: str, name: str, count: int) -> None:
        """Gives an image of the registry that is stored more names."""
        for one in [f"{name}{number}" for number in range(count)] or [name]:
            self._images.TagImage(TagImageRequest(image=f"{self.registry.host}/{image}", tag=one))

    async def held(self) -> None:
        """Waits until a layer is held back at the gate."""
        await _until(lambda: bool(self.gate.blobs))

    async def transfer_is(self, state: str) -> None:
        """Waits until the newest transfer is in a state."""
        wanted = TransferState.Value(f"TRANSFER_STATE_{state}")

        def is_there() -> bool:
            found = self._transfers.ListTransfers(ListTransfersRequest(page_size=1)).transfers
            return bool(found) and found[0].state == wanted

        await _until(is_there)


async def _until(holds: Callable[[], bool]) -> None:
    """Waits until something that tells nobody when it changes holds. Raises TimeoutError."""
    async with asyncio.timeout(_NET):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.02)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Runs a daemon and a registry with the sample images; ends them at the end."""
    with TakingRegistry() as registry, gate(registry.host) as front:
        for name, image in _images().items():
            repository, _, tag = name.partition(":")
            registry.add(repository, image, tag)
        found = World(folder, registry, front)
        try:
            found.start()
            yield found
        finally:
            found.close()
