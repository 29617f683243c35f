"""Naming, removing, pruning, pinning; containers and leases: as any client meets them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from imgd.v1 import (
    container_pb2,
    container_service_pb2,
    image_pb2,
    image_service_pb2,
    lease_service_pb2,
)
from imgd.v1.container_service_pb2_grpc import ContainerServiceStub
from imgd.v1.lease_service_pb2_grpc import LeaseServiceStub
from imgd_server.errors import Error, Reason
from imgd_server.metadata import Name, WriteSession
from tests.contract.api.served import Api, refusal
from tests.fake_images import FakeImage, make_image, make_index, make_layer

FULL = image_pb2.IMAGE_VIEW_FULL
RUNNING = container_pb2.CONTAINER_STATE_RUNNING
MIB = 1 << 20


def fake(number: int, **more: Any) -> FakeImage:
    return make_image([make_layer({"number": str(number).encode()})], **more)


class Client:
    """Calls by name, with the request's fields as arguments."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._services: list[tuple[Any, Any]] = [
            (api.images, image_service_pb2),
            (ContainerServiceStub(api.channel), container_service_pb2),
            (LeaseServiceStub(api.channel), lease_service_pb2),
        ]

    def __getattr__(self, method: str) -> Any:
        for stub, messages in self._services:
            if hasattr(stub, method):
                request = getattr(messages, f"{method}Request")
                return lambda **fields: getattr(stub, method)(request(**fields))
        raise AttributeError(method)

    async def tags(self, *filters: str, **fields: Any) -> list[list[str]]:
        answer = await self.ListImages(filters=filters, **fields)
        return [list(one.tags) for one in answer.images]


@pytest.fixture
def client(api: Api) -> Client:
    return Client(api)


async def test_tag_and_untag(client: Client) -> None:
    first = await client.api.store(fake(1), "docker.io/library/a:1")
    second = await client.api.store(fake(2), "docker.io/library/b:1")
    answer = await client.TagImage(image="a:1", tag="h.io/x")
    assert list(answer.image.tags) == ["docker.io/library/a:1", "h.io/x:latest"]
    assert answer.previous_digest == ""
    answer = await client.TagImage(image="b:1", tag="h.io/x:latest")
    assert answer.previous_digest == first.target.digest
    # Absent means any, and empty that it must not exist.
    for expected, reason in (("", "DIGEST_CHANGED"), (first.target.digest, "DIGEST_CHANGED")):
        found = await refusal(client.TagImage(image="a:1", tag="h.io/x", expected_digest=expected))
        assert (found.code, found.reason) == ("ABORTED", reason)
        assert found.metadata["actual"] == second.target.digest
    await client.TagImage(image="a:1", tag="h.io/y", expected_digest="")
    found = await refusal(
        client.UntagImage(reference="h.io/y", expected_digest=second.target.digest)
    )
    assert found.reason == "DIGEST_CHANGED"
    untagged = await client.UntagImage(reference="h.io/y")
    assert list(untagged.image.tags) == ["docker.io/library/a:1"]
    untagged = await client.UntagImage(reference="a:1", expected_digest=first.target.digest)
    assert untagged.image.dangling
    assert (await refusal(client.UntagImage(reference="a:1"))).reason == "IMAGE_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "fields", "reason", "field"),
    [
        ("TagImage", {"image": "a:1", "tag": ""}, "FIELD_INVALID", "tag"),
        ("TagImage", {"image": "", "tag": "b"}, "FIELD_INVALID", "image"),
        ("TagImage", {"image": "a:1", "tag": "B"}, "REFERENCE_INVALID", "tag"),
        ("TagImage", {"image": "a:1", "tag": "a" * 100_000}, "FIELD_INVALID", "tag"),
        (
            "TagImage",
            {"image": "a:1", "tag": "b", "expected_digest": "x"},
            "DIGEST_INVALID",
            "expected_digest",
        ),
        ("UntagImage", {"reference": "A B"}, "REFERENCE_INVALID", "reference"),
        ("UntagImage", {"reference": ""}, "FIELD_INVALID", "reference"),
        ("RemoveImage", {"image": ""}, "FIELD_INVALID", "image"),
        ("RemoveImage", {"image": "a" * 100_000}, "FIELD_INVALID", "image"),
        ("RemoveImage", {"image": "a:1", "request_id": "x" * 129}, "FIELD_INVALID", "request_id"),
        ("PruneImages", {"filters": ["x=1"]}, "FILTER_INVALID", "filters[0]"),
        ("PruneImages", {"filters": ["x=1"], "dry_run": True}, "FILTER_INVALID", "filters[0]"),
        ("PruneImages", {"filters": ["label=x"] * 101}, "FIELD_INVALID", "filters"),
        ("ListImages", {"filters": ["until=999999999999h"]}, "FILTER_INVALID", "filters[0]"),
        ("PinImage", {"image": ""}, "FIELD_INVALID", "image"),
        ("CreateContainer", {"image": ""}, "FIELD_INVALID", "image"),
        ("CreateContainer", {"image": "a:1", "container_id": "_"}, "FIELD_INVALID", "container_id"),
        (
            "CreateContainer",
            {"image": "a:1", "container_id": "x" * 129},
            "FIELD_INVALID",
            "container_id",
        ),
        (
            "CreateContainer",
            {"image": "a:1", "heartbeat_interval": Duration(nanos=999_999_999)},
            "FIELD_INVALID",
            "heartbeat_interval",
        ),
        (
            "CreateContainer",
            {"image": "a:1", "labels": {f"{n}": "x" * 60_000 for n in range(2)}},
            "FIELD_INVALID",
            "labels",
        ),
        (
            "CreateContainer",
            {"image": "a:1", "platform": "a/b/c/d"},
            "PLATFORM_INVALID",
            "platform",
        ),
        ("StartContainer", {"name": "c1"}, "FIELD_INVALID", "name"),
        ("ListContainers", {"labels": ["x"] * 101}, "FIELD_INVALID", "labels"),
        ("ListContainers", {"states": [99]}, "FIELD_INVALID", "states[0]"),
        ("ListContainers", {"page_token": "x"}, "PAGE_TOKEN_INVALID", "page_token"),
        ("CreateLease", {"lease_id": "A"}, "FIELD_INVALID", "lease_id"),
        ("CreateLease", {"lease_id": "transfer:1"}, "FIELD_INVALID", "lease_id"),
        ("CreateLease", {"ttl": Duration(seconds=31 * 86400)}, "FIELD_INVALID", "ttl"),
        ("CreateLease", {"digests": ["sha256:0"]}, "DIGEST_INVALID", "digests[0]"),
        ("CreateLease", {"images": ["a:1"] * 1001}, "FIELD_INVALID", "images"),
        ("DeleteLease", {"name": "leases/transfer:1"}, "FIELD_INVALID", "name"),
    ],
)
async def test_a_broken_rule_names_its_field_and_changes_nothing(
    client: Client, method: str, fields: dict[str, Any], reason: str, field: str
) -> None:
    await client.api.store(fake(1), "docker.io/library/a:1")
    found = await refusal(getattr(client, method)(**fields))
    assert (found.code, found.reason, found.field) == ("INVALID_ARGUMENT", reason, field)
    assert await client.tags() == [["docker.io/library/a:1"]]
    assert not (await client.ListContainers()).containers
    assert not (await client.ListLeases()).leases


async def test_remove_answers_in_dockers_order(client: Client) -> None:
    image = fake(1)
    await client.api.store(image, "docker.io/library/a:1", "docker.io/library/a:2")
    answer = await client.RemoveImage(image="a:1")
    assert (list(answer.untagged), list(answer.deleted)) == (["docker.io/library/a:1"], [])
    answer = await client.RemoveImage(image="a:2")
    layer = image.document["layers"][0]["digest"]
    assert list(answer.untagged) == ["docker.io/library/a:2"]
    assert list(answer.deleted) == [image.image_id, layer]
    assert answer.freed_bytes == len(image.raw) + sum(map(len, image.blobs.values()))
    assert await client.tags() == []


async def test_what_holds_an_image_is_named(client: Client) -> None:
    record = await client.api.store(fake(1), "docker.io/library/a:1", "docker.io/library/a:2")
    found = await refusal(client.RemoveImage(image=record.image_id))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "IMAGE_HAS_NAMES")
    await client.RemoveImage(image="a:2")
    for number in range(150):
        container_id = f"{number:03}-" + "x" * 120
        await client.CreateContainer(image="a:1", container_id=container_id)
    await client.CreateLease(lease_id="l1", images=["a:1"])
    await client.PinImage(image="a:1")
    found = await refusal(client.RemoveImage(image="a:1"))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "IMAGE_IN_USE")
    assert found.metadata["holders_total"] == "152"
    violations = found.detail(error_details_pb2.PreconditionFailure).violations
    assert violations[0].subject == "containers/000-" + "x" * 120
    assert violations[0].type == "IMAGE_IN_USE"
    (full,) = (await client.ListImages(view=FULL)).images
    assert (full.container_count, full.holder_count, len(full.holders)) == (150, 152, 100)
    (basic,) = (await client.ListImages()).images
    assert basic.pinned
    assert not basic.holders
    assert await client.tags("in-use=true", "pinned=true") == [["docker.io/library/a:1"]]


async def test_a_doomed_image_goes_with_its_last_hold_unless_it_is_pinned(client: Client) -> None:
    for number in (1, 2):
        await client.api.store(fake(number), f"docker.io/library/a:{number}")
        await client.CreateContainer(image=f"a:{number}", container_id=f"c{number}")
        await client.RemoveImage(image=f"a:{number}", force=True)
    assert await client.tags() == [[], []]
    await client.PinImage(image=fake(2).image_id)
    for number in (1, 2):
        await client.RemoveContainer(name=f"containers/c{number}")
    (left,) = (await client.ListImages()).images
    assert left.image_id == fake(2).image_id
    assert not (await client.UnpinImage(image=left.name)).image.pinned
    assert len((await client.ListImages()).images) == 1


# --- answers


async def test_a_repeated_request_gets_its_first_answer_and_changes_nothing(
    client: Client,
) -> None:
    await client.api.store(fake(1), "docker.io/library/a:1")
    removed = await client.RemoveImage(image="a:1", request_id="r1")
    record = await client.api.store(fake(1), "docker.io/library/a:1")
    assert await client.RemoveImage(image="a:1", request_id="r1") == removed
    assert await client.tags() == [["docker.io/library/a:1"]]
    for call in (
        client.RemoveImage(image="a:2", request_id="r1"),
        client.UntagImage(reference="a:1", request_id="r1"),
        client.PruneImages(all=True, request_id="r1"),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    # What was refused is not kept.
    assert (await refusal(client.TagImage(image="b", tag="c", request_id="r2"))).reason
    await client.api.store(fake(2), "docker.io/library/b:latest")
    assert (await client.TagImage(image="b", tag="c", request_id="r2")).image.tags
    lease = await client.CreateLease(images=[f"images/{record.uid}"], request_id="r3")
    assert await client.CreateLease(images=[f"images/{record.uid}"], request_id="r3") == lease
    assert len((await client.ListLeases()).leases) == 1
    made = await asyncio.gather(
        *(client.CreateContainer(image="b", request_id="r4") for _ in range(5))
    )
    assert len({one.container.name for one in made}) == 1


async def test_prune_and_its_dry_run(client: Client) -> None:
    for number in range(3):
        await client.api.store(fake(number))
    await client.api.store(fake(9), "docker.io/library/a:1")
    foreseen = await client.PruneImages(dry_run=True, request_id="p")
    assert len((await client.ListImages()).images) == 4
    pruned = await client.PruneImages(request_id="p")
    assert pruned == foreseen
    assert pruned.pruned_count == 3
    assert {one.image_id for one in pruned.pruned} == {fake(n).image_id for n in range(3)}
    assert all(len(one.deleted) == 2 for one in pruned.pruned)
    await client.api.store(fake(1))
    assert await client.PruneImages(request_id="p") == pruned
    assert len((await client.ListImages()).images) == 2
    assert (await client.PruneImages(all=True)).pruned_count == 2


LONG_HOST = f"{'h' * 3000}.io"


async def test_what_many_names_make_of_an_answer_stays_below_a_mebibyte(client: Client) -> None:
    records = [await client.api.store(fake(number)) for number in range(2)]

    def put(session: WriteSession) -> None:
        for number in range(400):
            for record in records:
                repository = f"{LONG_HOST}/{record.uid.lower()}"
                session.put_name(Name(f"{repository}:{number}", repository), record.uid)

    await client.api.metadata.write(put)
    foreseen = await client.PruneImages(all=True, dry_run=True)
    assert MIB // 2 < foreseen.ByteSize() < MIB
    assert foreseen.pruned_count == 2
    removed = await client.RemoveImage(image=f"images/{records[0].uid}", force=True)
    assert MIB // 2 < removed.ByteSize() < MIB
    assert removed.freed_bytes > 0
    assert (await client.PruneImages(all=True)).pruned_count == 1


# --- kept lists


async def test_a_list_shows_every_change_that_was_answered(client: Client) -> None:
    await client.api.store(fake(1), "docker.io/library/a:1")

    async def same() -> list[list[str]]:
        """The list, asked for twice: the second time it is kept."""
        first = await client.ListImages()
        assert await client.ListImages() == first
        return [list(one.tags) for one in first.images]

    assert await same() == [["docker.io/library/a:1"]]
    await client.TagImage(image="a:1", tag="b")
    assert await same() == [["docker.io/library/a:1", "docker.io/library/b:latest"]]
    await client.PinImage(image="b")
    assert [one.pinned for one in (await client.ListImages()).images] == [True]
    await client.UntagImage(reference="b")
    assert await same() == [["docker.io/library/a:1"]]
    await client.api.store(fake(2))
    assert len(await same()) == 2
    await client.RemoveImage(image="a:1", force=True)
    assert await same() == [[]]


async def test_a_kept_list_does_not_look_into_the_store(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.api.store(fake(1), "docker.io/library/a:1")
    first = await client.ListImages(filters=["label!=x"])

    async def fail(_: object) -> None:
        raise Error(Reason.STORE_CORRUPT, "read")

    monkeypatch.setattr(client.api.metadata, "read", fail)
    assert await client.ListImages(filters=["label!=x"]) == first
    for fields in ({"view": FULL}, {"filters": ["until=1h"]}, {"filters": ["last-used=1h"]}):
        assert (await refusal(client.ListImages(**fields))).reason == "STORE_CORRUPT"


async def test_a_kept_list_is_of_its_request(client: Client) -> None:
    for number in range(3):
        await client.api.store(fake(number), f"docker.io/library/a:{number}")
    for _ in range(2):
        assert len(await client.tags()) == 3
        assert len(await client.tags("reference=a:1")) == 1
        assert len(await client.tags("reference=a:1", "reference=a:2")) == 2
        assert len(await client.tags(page_size=2)) == 2
        (full,) = (await client.ListImages(filters=["reference=a:1"], view=FULL)).images
        assert full.platforms


@pytest.mark.parametrize("key", ["in-use=true", "IN-USE = true", " in-use=true"])
async def test_what_depends_on_more_than_images_is_never_kept(client: Client, key: str) -> None:
    await client.api.store(fake(1), "docker.io/library/a:1")
    assert await client.tags(key) == []
    await client.CreateContainer(image="a:1", container_id="c")
    assert await client.tags(key) == [["docker.io/library/a:1"]]
    await client.RemoveContainer(name="containers/c")
    assert await client.tags(key) == []


async def test_what_callers_do_at_once_shows_in_their_lists(client: Client) -> None:
    await client.api.store(fake(1), "docker.io/library/a:1")

    async def work(number: int) -> None:
        for step in range(5):
            tag = f"docker.io/library/w{number}:{step}"
            await client.TagImage(image="a:1", tag=tag)
            ((*shown,),) = await client.tags()
            assert tag in shown
            await client.UntagImage(reference=tag)
            ((*shown,),) = await client.tags()
            assert tag not in shown

    await asyncio.gather(*(work(number) for number in range(6)))


# --- containers and leases


async def test_a_containers_life(client: Client) -> None:
    record = await client.api.store(fake(1), "docker.io/library/a:1")
    made = await client.CreateContainer(
        image="a:1",
        container_id="c1",
        labels={"é": "ü"},
        heartbeat_interval=Duration(seconds=1, nanos=500_000_000),
    )
    one = made.container
    assert (one.name, one.image, one.image_id) == (
        "containers/c1",
        f"images/{record.uid}",
        record.image_id,
    )
    assert one.heartbeat_interval.ToMilliseconds() == 1500
    assert not one.HasField("start_time")
    assert (await client.StartContainer(name=one.name)).container.state == RUNNING
    await client.HeartbeatContainer(name=one.name)
    assert (await refusal(client.RemoveContainer(name=one.name))).reason == "CONTAINER_STATE"
    await client.PauseContainer(name=one.name)
    assert (await client.PauseContainer(name=one.name, resume=True)).container.state == RUNNING
    stopped = (await client.StopContainer(name=one.name, exit_status=0)).container
    assert stopped.HasField("exit_status")
    assert stopped.HasField("stop_time")
    assert (await client.GetContainer(name=one.name)).container == stopped
    assert (await client.ListContainers(labels=["é=ü"])).containers[0] == stopped
    await client.RemoveContainer(name=one.name)
    found = await refusal(client.GetContainer(name=one.name))
    assert (found.code, found.reason) == ("NOT_FOUND", "CONTAINER_NOT_FOUND")
    assert found.detail(error_details_pb2.ResourceInfo).resource_name == "containers/c1"


async def test_a_container_wants_a_platform_that_is_here(client: Client) -> None:
    arm, amd = fake(1, architecture="arm64"), fake(2)
    index = make_index(
        [
            (arm, {"os": "linux", "architecture": "arm64"}),
            (amd, {"os": "linux", "architecture": "amd64"}),
        ]
    )
    await client.api.store(index, "docker.io/library/a:1", without=[arm.digest, *arm.blobs])
    made = (await client.CreateContainer(image="a:1", platform="linux/x86_64")).container
    assert (made.platform, made.image_id) == ("linux/amd64", amd.image_id)
    found = await refusal(client.CreateContainer(image="a:1", platform="linux/arm64"))
    assert (found.code, found.reason) == ("NOT_FOUND", "PLATFORM_NOT_FOUND")


async def test_containers_and_leases_page(client: Client) -> None:
    await client.api.store(fake(1), "docker.io/library/a:1")
    for number in range(5):
        await client.CreateContainer(image="a:1", container_id=f"c{number}")
        await client.CreateLease(lease_id=f"l{number}", images=["a:1"])
    for method, part in (("ListContainers", "containers"), ("ListLeases", "leases")):
        names: list[str] = []
        token = ""
        while True:
            answer = await getattr(client, method)(page_size=2, page_token=token)
            names += [one.name for one in getattr(answer, part)]
            token = answer.next_page_token
            if not token:
                break
            other = "ListLeases" if method == "ListContainers" else "ListContainers"
            found = await refusal(getattr(client, other)(page_token=token))
            assert found.reason == "PAGE_TOKEN_INVALID"
        assert len(names) == len(set(names)) == 5
    # The same states in another order, or twice, are the same list.
    states = [RUNNING, container_pb2.CONTAINER_STATE_CREATED]
    first = await client.ListContainers(page_size=2, states=states)
    again = await client.ListContainers(states=states[::-1] * 9, page_token=first.next_page_token)
    assert len(again.containers) == 3
    found = await refusal(
        client.ListContainers(states=states[:1], page_token=first.next_page_token)
    )
    assert found.reason == "PAGE_TOKEN_INVALID"


async def test_a_lease(client: Client) -> None:
    record = await client.api.store(fake(1), "docker.io/library/a:1")
    lease = (
        await client.CreateLease(
            lease_id="l1", images=["a:1"], ttl=Duration(seconds=60), labels={"k": "v"}
        )
    ).lease
    assert (lease.name, list(lease.images)) == ("leases/l1", [f"images/{record.uid}"])
    assert lease.expire_time.seconds - lease.create_time.seconds == 60
    assert (await refusal(client.CreateLease(lease_id="l1"))).reason == "LEASE_EXISTS"
    renewed = (await client.RenewLease(name=lease.name, ttl=Duration(seconds=600))).lease
    assert renewed.expire_time.seconds > lease.expire_time.seconds
    assert (await client.GetLease(name=lease.name)).lease == renewed
    assert (await refusal(client.RemoveImage(image=record.image_id, force=True))).reason == (
        "IMAGE_IN_USE"
    )
    for _ in range(2):
        await client.DeleteLease(name=lease.name)
    found = await refusal(client.GetLease(name=lease.name))
    assert (found.code, found.reason) == ("NOT_FOUND", "LEASE_NOT_FOUND")
    await client.RemoveImage(image=record.image_id)
