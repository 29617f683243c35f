"""Several callers at once: what they are promised holds, whoever does what meanwhile.

Each caller walks at random; whoever holds an image reads it whole before it lets go.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.testing import capture_logs

from imgd.v1 import (
    container_service_pb2,
    content_service_pb2,
    image_service_pb2,
    lease_service_pb2,
    system_service_pb2,
    transfer_service_pb2,
)
from tests.fake_images import digest_of
from tests.hostile import HostileRegistry
from tests.model.fakes import IMAGES, Known
from tests.model.store import RefusalError, Store, running_loop

images: Any = image_service_pb2
containers: Any = container_service_pb2
contents: Any = content_service_pb2
leases: Any = lease_service_pb2
system: Any = system_service_pb2
transfers: Any = transfer_service_pb2

CALLERS, STEPS = 6, 100
BY_TARGET = {one.target: one for one in IMAGES.values()}
NAMES = ["app:1", "app:2", "team/app:1"]
# What a caller may be told, for others were faster; anything else is a defect.
EXPECTED = {
    "IMAGE_NOT_FOUND",
    "IMAGE_IN_USE",
    "IMAGE_HAS_NAMES",
    "IMAGE_AMBIGUOUS",
    "DIGEST_CHANGED",
}


class Caller:
    """One of several, with a random walk of its own."""

    def __init__(self, store: Store, registry: HostileRegistry, number: int, seed: int) -> None:
        self.store, self.registry, self.number = store, registry, number
        self.random = random.Random(f"{seed} {number}")
        self.refusals: set[str] = set()

    def walk(self) -> None:
        steps: list[Callable[[], None]] = [
            self.pull_and_read,
            self.pull_and_read,
            self.use,
            self.use,
            self.tag,
            self.untag,
            self.remove,
            self.prune,
            self.pin,
            self.collect,
            self.look,
        ]
        for _ in range(STEPS):
            try:
                self.random.choice(steps)()
            except RefusalError as error:
                if error.reason not in EXPECTED:
                    raise
                self.refusals.add(error.reason)

    def name(self) -> str:
        return self.random.choice([*NAMES, *self.references()])

    def references(self) -> list[str]:
        return [f"{self.registry.host}/lib:{tag.replace(' ', '-')}" for tag in sorted(IMAGES)]

    def read(self, known: Known, *, everything: bool) -> None:
        """Every byte of what somebody holds."""
        wanted = known.own()
        for child in known.children if everything else known.children[:1]:
            wanted |= set(child.sizes)
        for digest in sorted(wanted):
            answers = self.store.call(
                self.store.contents.ReadBlob, contents.ReadBlobRequest(digest=digest)
            )
            assert digest_of(b"".join(answer.data for answer in answers)) == digest

    def pull_and_read(self) -> None:
        """A pull's own lease keeps what it brought."""
        tag = self.random.choice(sorted(IMAGES))
        everything = self.random.random() < 0.5
        lease = f"caller-{self.number}"
        request = transfers.PullRequest(
            reference=f"{self.registry.host}/lib:{tag.replace(' ', '-')}",
            platforms={"all": everything},
            lease={"lease_id": lease},
        )
        answers = self.store.call(self.store.transfers.Pull, request)
        outcome = answers[-1].event.finished.transfer.outcome
        assert not outcome.HasField("failure"), outcome.failure
        try:
            self.read(IMAGES[tag], everything=everything)
        finally:
            self.store.call(
                self.store.leases.DeleteLease, leases.DeleteLeaseRequest(name=f"leases/{lease}")
            )

    def use(self) -> None:
        """A container keeps its image."""
        key = f"caller-{self.number}"
        request = containers.CreateContainerRequest(image=self.name(), container_id=key)
        created = self.store.call(self.store.containers.CreateContainer, request).container
        try:
            if self.random.random() < 0.5:
                self.store.call(
                    self.store.containers.StartContainer,
                    containers.StartContainerRequest(name=created.name),
                )
            found = self.store.call(
                self.store.images.GetImage, images.GetImageRequest(image=created.image)
            ).image
            self.read(BY_TARGET[found.target.digest], everything=found.complete)
        finally:
            self.store.call(
                self.store.containers.RemoveContainer,
                containers.RemoveContainerRequest(name=created.name, force=True),
            )

    def tag(self) -> None:
        request = images.TagImageRequest(image=self.name(), tag=self.random.choice(NAMES))
        self.store.call(self.store.images.TagImage, request)

    def untag(self) -> None:
        self.store.call(
            self.store.images.UntagImage, images.UntagImageRequest(reference=self.name())
        )

    def remove(self) -> None:
        text = self.random.choice([self.name(), self.random.choice([*BY_TARGET])])
        request = images.RemoveImageRequest(image=text, force=self.random.random() < 0.5)
        self.store.call(self.store.images.RemoveImage, request)

    def prune(self) -> None:
        request = images.PruneImagesRequest(all=self.random.random() < 0.5)
        self.store.call(self.store.images.PruneImages, request)

    def pin(self) -> None:
        text = self.name()
        self.store.call(self.store.images.PinImage, images.PinImageRequest(image=text))
        self.store.call(self.store.images.UnpinImage, images.UnpinImageRequest(image=text))

    def collect(self) -> None:
        self.store.call(self.store.system.CollectGarbage, system.CollectGarbageRequest())

    def look(self) -> None:
        """One name, one image; all that is said of an image is so."""
        found = self.store.call(
            self.store.images.ListImages, images.ListImagesRequest(view="IMAGE_VIEW_FULL")
        ).images
        names = [name for one in found for name in one.tags]
        assert len(set(names)) == len(names)
        for one in found:
            known = BY_TARGET[one.target.digest]
            assert one.image_id == known.image_id
            assert one.dangling == (not one.tags and not one.digest_references)
            assert 0 < one.content_size <= sum(known.sizes.values())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2))
def test_what_callers_are_promised_holds_beside_others(seed: int) -> None:
    with capture_logs() as logs, running_loop(), HostileRegistry() as registry:
        for tag, known in IMAGES.items():
            registry.add("lib", known.image, tag.replace(" ", "-"))
        store = Store()
        try:
            _walk_together(store, registry, seed)
            _check_end(store)
        finally:
            store.close()
    assert [one for one in logs if one["log_level"] in ("warning", "error")] == []


def _walk_together(store: Store, registry: HostileRegistry, seed: int) -> None:
    callers = [Caller(store, registry, number, seed) for number in range(CALLERS)]
    begin = threading.Barrier(CALLERS)

    def walk(caller: Caller) -> None:
        begin.wait()
        caller.walk()

    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(walk, caller) for caller in callers]:
            done.result()
    # They really met: some were told that others had been there.
    assert "IMAGE_NOT_FOUND" in set().union(*(caller.refusals for caller in callers))


def _check_end(store: Store) -> None:
    """Nothing is held any more, nothing is missing, and a collection leaves nothing over."""
    store.call(store.system.CollectGarbage, system.CollectGarbageRequest())
    problems = store.call(store.system.CheckStore, system.CheckStoreRequest(verify_content=True))
    assert [problem for answer in problems for problem in answer.problems] == []
    found = store.call(
        store.images.ListImages, images.ListImagesRequest(view="IMAGE_VIEW_FULL")
    ).images
    assert [holder for one in found for holder in one.holders if holder.name] == []
    needed = {blob.digest for one in found for blob in _stored(store, one.name)}
    assert {blob.digest for blob in store.api.content.blobs()} == needed
    for one in found:
        store.call(store.images.RemoveImage, images.RemoveImageRequest(image=one.name, force=True))
    store.call(store.system.CollectGarbage, system.CollectGarbageRequest())
    assert list(store.api.content.blobs()) == []


def _stored(store: Store, name: str) -> list[Any]:
    uid = name.removeprefix("images/")
    blobs = store.run(store.api.metadata.read(lambda session: session.image_blobs(uid)))
    return [blob for blob in blobs if blob.stored]
