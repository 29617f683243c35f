"""Random walks through the API, each step held against a model of what behaviour says.

`HYPOTHESIS_PROFILE=long` walks longer, and more often.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from google.protobuf import duration_pb2
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs

from imgd.v1 import (
    container_pb2,
    container_service_pb2,
    errors_pb2,
    image_pb2,
    image_service_pb2,
    lease_service_pb2,
    system_service_pb2,
    transfer_pb2,
    transfer_service_pb2,
)
from tests.hostile import HostileRegistry
from tests.model.fakes import IMAGES, Known
from tests.model.store import Clock, RefusalError, Store, running_loop
from tests.model.store_model import Image, RefusedError, StoreModel, full_name

images: Any = image_service_pb2
containers: Any = container_service_pb2
leases: Any = lease_service_pb2
system: Any = system_service_pb2
transfers: Any = transfer_service_pb2

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"

_registry: list[HostileRegistry] = []

REPOSITORIES = ("lib/one", "lib/two")
TAGS = ("1", "latest")
LOCAL = ("app", "app:1", "team/app:2", "docker.io/library/app:1")
CONTAINERS = ("web", "job", "Db.1")
LEASES = ("build", "deploy")

known = st.sampled_from(sorted(IMAGES))
filters = st.sampled_from(
    [
        "dangling=true",
        "dangling=0",
        "in-use=1",
        "in-use=false",
        "pinned=true",
        "pinned=0",
        "kind=artifact",
        "kind=image",
        "label=tier",
        "label=tier=web",
        "label!=tier=web",
        "label=maintainer=Zoë",
        "until=2h",
        "last-used=2h",
        "reference=app",
        "reference=app:*",
        "reference=*/app",
        "reference=*/*/one",
        "reference=*/*/*:latest",
    ]
)
hours = st.sampled_from([1.5, 3.5])


def _hours(count: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(3600 * count))


class StoreMachine(RuleBasedStateMachine):
    """The store, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self._installed = self.clock.installed()
        self._installed.__enter__()
        self.store = Store()
        self.model = StoreModel()
        self.registry = _registry[-1]
        self.gone: set[str] = set()
        self.published: dict[tuple[str, str], Known] = {}
        self.registry.forget()

    def teardown(self) -> None:
        try:
            self.check_disk(verify=True)
        finally:
            self.store.close()
            self._installed.__exit__(None, None, None)

    # --- helpers

    def both(self, expected: Any, actual: Any) -> tuple[Any, Any]:
        """Does the same to model and store; both answer, or both refuse alike."""
        refused: RefusedError | None = None
        wanted = None
        try:
            wanted = expected()
        except RefusedError as error:
            refused = error
        try:
            got = actual()
        except RefusalError as error:
            refusal = error
        else:
            assert refused is None, f"not refused: {refused}; {got}"
            return wanted, got
        assert refused, f"refused: {refusal}; the model has {wanted!r}"
        assert refusal.reason == refused.reason, refusal
        if refused.holders:
            assert refusal.holders == refused.holders
        return None, None

    def texts(self) -> list[str]:
        """All the ways to write what is here, and some of what is not."""
        found = ["missing:1", "deadbeef", "sha256:" + "0" * 64, "images/" + "A" * 26, *LOCAL]
        for one in self.model.images.values():
            names = self.model.names_of(one.target)
            found += names + [name.removeprefix("docker.io/library/") for name in names]
            found += sorted(one.learned)
            for digest in (one.known.image_id, one.target, *sorted(one.platform_ids())):
                bare = digest.removeprefix("sha256:")
                found += [digest, bare, bare[:12], bare[:4], digest[:20]]
        return [*found, *self.model.uids, *sorted(self.gone - set(self.model.uids))]

    def draw_text(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.texts()), "text")

    def host_names(self) -> list[str]:
        return [f"{self.registry.host}/{one}:{tag}" for one in REPOSITORIES for tag in TAGS]

    def pages(self, *wanted: str, size: int = 0) -> list[image_pb2.Image]:
        """Every page of a list."""
        found: list[image_pb2.Image] = []
        token = ""
        while True:
            answer = self.store.call(
                self.store.images.ListImages,
                images.ListImagesRequest(
                    filters=wanted, page_size=size, page_token=token, view="IMAGE_VIEW_FULL"
                ),
            )
            found += answer.images
            token = answer.next_page_token
            if not token:
                return found

    # --- bringing images here

    @initialize(one=known, two=known)
    def publish_some(self, one: str, two: str) -> None:
        self.publish(REPOSITORIES[0], TAGS[0], one)
        self.publish(REPOSITORIES[1], TAGS[1], two)

    @rule(repository=st.sampled_from(REPOSITORIES), tag=st.sampled_from(TAGS), image=known)
    def publish(self, repository: str, tag: str, image: str) -> None:
        self.registry.add(repository, IMAGES[image].image, tag)
        self.published[repository, tag] = IMAGES[image]

    @rule(
        repository=st.sampled_from(REPOSITORIES),
        tag=st.sampled_from(TAGS),
        everything=st.booleans(),
        lease=st.sampled_from(("", *LEASES)),
        ttl=hours,
    )
    def pull(self, repository: str, tag: str, everything: bool, lease: str, ttl: float) -> None:
        reference = f"{self.registry.host}/{repository}:{tag}"
        found = self.published.get((repository, tag))
        outcome = self.pulled(reference, everything, lease, ttl)
        if found is None:
            assert outcome.failure.reason == errors_pb2.ERROR_REASON_REMOTE_NOT_FOUND
            return
        self.check_pull(found, reference, repository, outcome, everything, lease, ttl)

    @rule(repository=st.sampled_from(REPOSITORIES), image=known, everything=st.booleans())
    def pull_by_digest(self, repository: str, image: str, everything: bool) -> None:
        found = IMAGES[image]
        reference = self.registry.add(repository, found.image)
        outcome = self.pulled(reference, everything, "", 0)
        self.check_pull(found, reference, repository, outcome, everything, "", 0)

    def pulled(self, reference: str, everything: bool, lease: str, ttl: float) -> Any:
        request = transfers.PullRequest(reference=reference, platforms={"all": everything})
        if lease:
            request.lease.lease_id = lease
            request.lease.ttl.CopyFrom(_hours(ttl))
        answers = self.store.call(self.store.transfers.Pull, request)
        return answers[-1].event.finished.transfer.outcome

    def check_pull(
        self,
        found: Known,
        reference: str,
        repository: str,
        outcome: Any,
        everything: bool,
        lease: str,
        ttl: float,
    ) -> None:
        assert not outcome.HasField("failure"), outcome
        here = f"{self.registry.host}/{repository}"
        result = self.model.pull(found, reference, here, everything=everything)
        assert transfer_pb2.PullResult.Name(outcome.pull_result) == f"PULL_RESULT_{result}"
        assert outcome.target.digest == found.target
        assert outcome.image_id == found.image_id
        assert outcome.fetched_bytes + outcome.reused_bytes > 0
        if lease:
            self.model.take_in_pull(lease, ttl, found.target)
            assert outcome.lease == f"leases/{lease}"

    # --- naming

    @rule(data=st.data(), name=st.sampled_from(LOCAL), wish=st.sampled_from(["any", "new", "now"]))
    def tag(self, data: st.DataObject, name: str, wish: str) -> None:
        self._tag(self.draw_text(data), name, wish)

    @rule(data=st.data(), length=st.sampled_from([4, 12]))
    @precondition(lambda self: self.model.images)
    def tag_like_an_id(self, data: st.DataObject, length: int) -> None:
        other = data.draw(st.sampled_from(sorted(self.model.images)))
        name = self.model.images[other].known.image_id.removeprefix("sha256:")[:length]
        self._tag(self.draw_text(data), name, "any")

    @rule(data=st.data(), length=st.integers(0, 3))
    def tag_in_the_registrys_name(self, data: st.DataObject, length: int) -> None:
        self._tag(self.draw_text(data), self.host_names()[length], "any")

    def _tag(self, text: str, name: str, wish: str) -> None:
        expected: str | None = None if wish == "any" else ""
        if wish == "now":
            expected = self.model.names.get(full_name(name), "")
        request = images.TagImageRequest(image=text, tag=name, expected_digest=expected)
        wanted, got = self.both(
            lambda: self.model.tag(text, name, expected),
            lambda: self.store.call(self.store.images.TagImage, request),
        )
        if got is not None:
            assert got.previous_digest == wanted
            assert full_name(name) in got.image.tags

    @rule(data=st.data(), wish=st.sampled_from(["", "now", "other"]))
    def untag(self, data: st.DataObject, wish: str) -> None:
        name = data.draw(st.sampled_from([*self.model.names, *LOCAL]))
        digest = self.model.names.get(full_name(name), "")
        expected = {"": "", "now": digest, "other": "sha256:" + "0" * 64}[wish]
        request = images.UntagImageRequest(reference=name, expected_digest=expected)
        wanted, got = self.both(
            lambda: self.model.untag(name, expected),
            lambda: self.store.call(self.store.images.UntagImage, request),
        )
        if got is not None:
            assert got.image.target.digest == wanted

    # --- removing and keeping

    @rule(data=st.data(), force=st.booleans())
    def remove(self, data: st.DataObject, force: bool) -> None:
        text = self.draw_text(data)
        request = images.RemoveImageRequest(image=text, force=force)
        wanted, got = self.both(
            lambda: self.model.remove(text, force=force),
            lambda: self.store.call(self.store.images.RemoveImage, request),
        )
        if got is not None:
            assert len(set(got.untagged)) == len(got.untagged)
            assert (set(got.untagged), set(got.deleted), got.freed_bytes) == wanted

    @rule(everything=st.booleans(), some=st.lists(filters, max_size=2))
    def prune(self, everything: bool, some: list[str]) -> None:
        request = images.PruneImagesRequest(all=everything, filters=some, dry_run=True)
        prune = self.store.images.PruneImages
        if _contradict(some):
            with pytest.raises(RefusalError, match="FILTER_INVALID"):
                self.store.call(prune, request)
            return
        rehearsed = self.store.call(prune, request)
        self.check_list()
        request.dry_run = False
        assert self.store.call(prune, request) == rehearsed
        taken, freed = self.model.prune(everything=everything, filters=some)
        assert {one.digest for one in rehearsed.pruned} == taken
        assert (rehearsed.pruned_count, rehearsed.freed_bytes) == (len(taken), freed)

    @rule(data=st.data(), pinned=st.booleans())
    def pin(self, data: st.DataObject, pinned: bool) -> None:
        text = self.draw_text(data)
        method = self.store.images.PinImage if pinned else self.store.images.UnpinImage
        kind = images.PinImageRequest if pinned else images.UnpinImageRequest
        wanted, got = self.both(
            lambda: self.model.find(text), lambda: self.store.call(method, kind(image=text))
        )
        if got is not None:
            wanted.pinned = pinned
            wanted.doomed = wanted.doomed and not pinned
            if not pinned:
                # An unpinned image may have waited for that alone.
                self.model.release([wanted.target])
            assert (got.image.target.digest, got.image.pinned) == (wanted.target, pinned)

    # --- using

    @rule(
        data=st.data(),
        key=st.sampled_from(CONTAINERS),
        heartbeat=st.sampled_from([None, None, 600]),
    )
    def create_container(self, data: st.DataObject, key: str, heartbeat: int | None) -> None:
        text = self.draw_text(data)
        request = containers.CreateContainerRequest(image=text, container_id=key)
        if heartbeat:
            request.heartbeat_interval.seconds = heartbeat
        _, got = self.both(
            lambda: self.model.create(key, text, heartbeat),
            lambda: self.store.call(self.store.containers.CreateContainer, request),
        )
        if got is not None:
            target = self.model.containers[key].target
            assert self.model.uids.get(got.container.image, target) == target
            assert got.container.image_id == self.model.images[target].known.image_id

    @rule(
        key=st.sampled_from(CONTAINERS),
        action=st.sampled_from(["start", "start", "pause", "resume", "stop", "heartbeat"]),
    )
    def change_container(self, key: str, action: str) -> None:
        name = {"resume": "Pause"}.get(action, action.title())
        request = getattr(containers, f"{name}ContainerRequest")(name=f"containers/{key}")
        if action == "resume":
            request.resume = True
        self.both(
            lambda: self.model.change(key, action),
            lambda: self.store.call(getattr(self.store.containers, f"{name}Container"), request),
        )

    @rule(key=st.sampled_from(CONTAINERS), force=st.booleans())
    def remove_container(self, key: str, force: bool) -> None:
        request = containers.RemoveContainerRequest(name=f"containers/{key}", force=force)
        self.both(
            lambda: self.model.change(key, "remove", force=force),
            lambda: self.store.call(self.store.containers.RemoveContainer, request),
        )

    @rule(data=st.data(), key=st.sampled_from(LEASES), ttl=hours, blob=st.booleans())
    def take_lease(self, data: st.DataObject, key: str, ttl: float, blob: bool) -> None:
        texts = [self.draw_text(data)] if self.model.images else []
        digests = (
            [data.draw(st.sampled_from(sorted(self.model.disk)))]
            if (blob and self.model.disk)
            else []
        )
        self.store.expire()
        self.model.expire()
        request = leases.CreateLeaseRequest(
            lease_id=key, ttl=_hours(ttl), images=texts, digests=digests
        )
        self.both(
            lambda: self.model.lease(key, ttl, texts, digests),
            lambda: self.store.call(self.store.leases.CreateLease, request),
        )

    @rule(key=st.sampled_from(LEASES), ttl=hours)
    def renew_lease(self, key: str, ttl: float) -> None:
        request = leases.RenewLeaseRequest(name=f"leases/{key}", ttl=_hours(ttl))
        self.both(
            lambda: self.model.renew(key, ttl),
            lambda: self.store.call(self.store.leases.RenewLease, request),
        )

    @rule(key=st.sampled_from(LEASES))
    def give_lease_back(self, key: str) -> None:
        request = leases.DeleteLeaseRequest(name=f"leases/{key}")
        self.store.call(self.store.leases.DeleteLease, request)
        self.model.give_back(key)

    # --- time, collection, restart

    @rule(ahead=st.sampled_from([1, 3]))
    def pass_hours(self, ahead: int) -> None:
        self.clock.ahead += 3600 * ahead
        self.model.now += 3600 * ahead

    @rule()
    def keep_house(self) -> None:
        self.store.expire()
        self.model.expire()

    @rule()
    def collect(self) -> None:
        self.keep_house()
        request = system.CollectGarbageRequest(dry_run=True)
        rehearsed = self.store.call(self.store.system.CollectGarbage, request).report
        self.check_disk()
        request.dry_run = False
        report = self.store.call(self.store.system.CollectGarbage, request).report
        gone = self.model.collect()
        freed = sum(SIZES[one] for one in gone)
        for one in (rehearsed, report):
            assert (one.deleted_blobs, one.freed_bytes) == (len(gone), freed)
        self.check_disk(verify=True)

    @rule()
    def restart(self) -> None:
        self.store.restart()

    # --- looking

    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        text = self.draw_text(data)
        request = images.GetImageRequest(image=text)
        wanted, got = self.both(
            lambda: self.model.find(text),
            lambda: self.store.call(self.store.images.GetImage, request),
        )
        if got is not None:
            assert got.image.target.digest == wanted.target

    @rule(data=st.data(), some=st.lists(filters, min_size=1, max_size=3))
    def list_filtered(self, data: st.DataObject, some: list[str]) -> None:
        if self.model.names:
            name = data.draw(st.sampled_from(["", *sorted(self.model.names)]))
            some = some + (
                [f"{data.draw(st.sampled_from(['before', 'since']))}={name}"] if name else []
            )
        if _contradict(some):
            with pytest.raises(RefusalError, match="FILTER_INVALID"):
                self.pages(*some)
            return
        bound = [one for one in some if one.startswith(("before=", "since="))]
        if any(self.model.find(one.partition("=")[2]).known.created is None for one in bound):
            with pytest.raises(RefusalError, match="no create time"):
                self.pages(*some)
            return
        patterns = [one.partition("=")[2] for one in some if one.startswith("reference=")]
        rest = [one for one in some if not one.startswith("reference=")]
        fitting = []
        for image in self.model.images.values():
            shown = {name for one in patterns for name in self.model.shown(image, one)}
            if all(self.model.fits(image, one) for one in rest) and (shown or not patterns):
                fitting.append((image, shown))
        found = self.pages(*some, size=2)
        self.check_order(found)
        by_target = {one.target.digest: one for one in found}
        assert by_target.keys() == {image.target for image, _ in fitting}
        for image, shown in fitting:
            one = by_target[image.target]
            names = set(self.model.names_of(image.target))
            if patterns:
                names &= shown
            assert {*one.tags, *one.digest_references} == names

    # --- what must hold after each step

    @invariant()
    def check(self) -> None:
        self.check_list()
        self.check_containers()
        self.check_leases()
        self.check_disk()

    def check_list(self) -> None:
        found = self.pages(size=3)
        self.gone |= set(self.model.uids)
        self.model.uids = {one.name: one.target.digest for one in found}
        assert {one.target.digest for one in found} == set(self.model.images)
        self.check_order(found)
        for one in found:
            self.check_image(one, self.model.images[one.target.digest])

    def check_order(self, found: list[image_pb2.Image]) -> None:
        targets = [one.target.digest for one in found]
        assert len(set(targets)) == len(targets)
        places = [self.model.place(self.model.images[target]) for target in targets]
        assert places == sorted(places)

    def check_image(self, one: image_pb2.Image, image: Image) -> None:
        names = self.model.names_of(image.target)
        assert list(one.tags) == [name for name in names if "@" not in name]
        assert list(one.digest_references) == [name for name in names if "@" in name]
        assert set(one.repo_digests) == image.learned
        assert one.dangling == (not names)
        assert one.image_id == image.known.image_id
        assert one.pinned == image.pinned
        assert one.complete == image.complete
        assert one.content_size == image.size
        holders = {holder.name or "pin" for holder in one.holders}
        assert holders == set(self.model.holders(image.target))
        assert one.unique_size == sum(SIZES[b] for b in self.model.unique(image.target))
        running, idle, _ = self.model.held_by(image.target)
        assert one.container_count == len(running) + len(idle)

    def check_containers(self) -> None:
        answer = self.store.call(
            self.store.containers.ListContainers, containers.ListContainersRequest()
        )
        found = {
            one.name.removeprefix("containers/"): (
                self.model.uids[one.image],
                container_pb2.ContainerState.Name(one.state).removeprefix("CONTAINER_STATE_"),
            )
            for one in answer.containers
        }
        wanted = {key: (one.target, one.state) for key, one in self.model.containers.items()}
        assert found == wanted

    def check_leases(self) -> None:
        answer = self.store.call(self.store.leases.ListLeases, leases.ListLeasesRequest())
        found = {
            one.name.removeprefix("leases/"): (
                {*map(self.model.uids.get, one.images)},
                {*one.digests},
            )
            for one in answer.leases
        }
        wanted = {
            key: (one.targets & set(self.model.images), one.digests)
            for key, one in self.model.live_leases().items()
        }
        assert found == wanted

    def check_disk(self, *, verify: bool = False) -> None:
        here = {blob.digest: blob.size for blob in self.store.api.content.blobs()}
        assert here == {digest: SIZES[digest] for digest in self.model.disk}
        problems = self.store.call(
            self.store.system.CheckStore, system.CheckStoreRequest(verify_content=verify)
        )
        assert [problem for answer in problems for problem in answer.problems] == []


SIZES: dict[str, int] = {}
for _one in IMAGES.values():
    SIZES |= _one.sizes


def _contradict(some: list[str]) -> bool:
    """Whether a key that can have one value only has two."""
    values: dict[str, set[bool]] = {}
    for one in some:
        key, _, value = one.partition("=")
        if key in ("dangling", "in-use", "pinned"):
            values.setdefault(key, set()).add(value in ("true", "1"))
        elif key == "kind":
            values.setdefault(key, set()).add(value == "image")
    return any(len(one) > 1 for one in values.values())


@pytest.fixture(autouse=True)
def _served() -> Iterator[None]:
    with capture_logs() as logs, running_loop(), HostileRegistry() as registry:
        _registry.append(registry)
        try:
            yield
        finally:
            _registry.pop()
    assert [one for one in logs if one["log_level"] in ("warning", "error")] == []


@pytest.mark.timeout(0 if LONG else 600)
def test_the_store_is_what_the_model_says() -> None:
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate]
    if LONG:
        # A walk is seconds long, so its shortest form is minutes away.
        phases.append(hypothesis.Phase.shrink)
    run_state_machine_as_test(
        StoreMachine,
        settings=hypothesis.settings(
            max_examples=1000 if LONG else 20,
            stateful_step_count=100 if LONG else 30,
            phases=phases,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
