"""Requests as nobody should send them: each is refused with a reason, and a field where one is to
blame, and nothing has changed: the database before and after is the same, row by row."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from imgd.v1 import (
    container_service_pb2,
    event_service_pb2,
    image_service_pb2,
    lease_service_pb2,
    system_service_pb2,
    transfer_service_pb2,
)
from imgd.v1.container_service_pb2_grpc import ContainerServiceStub
from imgd.v1.event_service_pb2_grpc import EventServiceStub
from imgd.v1.lease_service_pb2_grpc import LeaseServiceStub
from imgd.v1.transfer_service_pb2_grpc import TransferServiceStub
from tests.contract.api.served import Api, Refusal, refusal, serve
from tests.fake_images import make_image, make_layer

images: Any = image_service_pb2
containers: Any = container_service_pb2
leases: Any = lease_service_pb2
events: Any = event_service_pb2
system: Any = system_service_pb2
transfers: Any = transfer_service_pb2

# A net for an answer that never comes.
PATIENCE = 90.0
APP = "docker.io/library/app:1"
ONE = make_image([make_layer({"one": b"1"})], labels={"tier": "web"})
TWO = make_image([make_layer({"two": b"2"})], created=None)
HUGE = "a" * 100_000
ODD = ("nul\0here", "line\nfeed", "\u202eright-to-left", "\U0001f40b", "e\u0301", "İ", "\ufeffbom")


class Hostile:
    """A store with something of everything in it, and its rows."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api = api
        self.images = api.images
        self.containers: Any = ContainerServiceStub(api.channel)
        self.leases: Any = LeaseServiceStub(api.channel)
        self.events: Any = EventServiceStub(api.channel)
        self.transfers: Any = TransferServiceStub(api.channel)
        self._folder = folder

    async def fill(self) -> None:
        await self.api.store(ONE, APP, "docker.io/library/app:2", "127.0.0.1:5000/team/app:1")
        await self.api.store(TWO, "docker.io/library/undated:1")
        await self.containers.CreateContainer(
            containers.CreateContainerRequest(image=APP, container_id="web")
        )
        await self.leases.CreateLease(leases.CreateLeaseRequest(lease_id="build", images=[APP]))
        await self.images.PinImage(images.PinImageRequest(image="undated:1"))

    def rows(self) -> dict[str, list[Any]]:
        """Every row of every table."""
        with closing(sqlite3.connect(self._folder / "metadata.db")) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {
                table: sorted(database.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
                for (table,) in tables.fetchall()
            }

    async def refused(self, call: Any) -> Refusal:
        """The refusal of a call that changes nothing."""
        before = self.rows()
        found = await refusal(call)
        assert self.rows() == before
        assert found.code not in ("INTERNAL", "UNKNOWN"), found
        assert len(found.message) < 3000
        return found


@pytest.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[Hostile]:
    with capture_logs() as logs:
        async with serve(tmp_path) as api:
            found = Hostile(api, tmp_path)
            await found.fill()
            yield found
    assert [one for one in logs if one["log_level"] in ("warning", "error")] == []


# --- filters


BAD_FILTERS = [
    "colour=red",
    "=",
    "=x",
    "",
    "dangling",
    "dangling=",
    "dangling=yes",
    "dangling=TRUE ",
    "kind=thing",
    "label=",
    "label!==x",
    "before=",
    "before=a//b",
    "before=app@md5:" + "0" * 32,
    "since=app@sha256:12",
    "since=app@sha256:" + "G" * 64,
    "before=undated:1",
    "until=",
    "until=soon",
    "until=9999999999999",
    "until=2024-13-01",
    "until=0001-01-01T00:00:00+23:59",
    "until=99999999999h",
    "until=-1h",
    "last-used=yesterday",
    "last-used=1",
    "size=",
    "size=ten",
    "size=>-1",
    "size=1e3",
    "size=>1QB",
    "size=>999999999999999999PB",
    "digest=abc",
    "digest=sha256:XYZ1",
    "digest=sha999:" + "0" * 64,
    "platform=",
    "platform=linux/",
    "platform=/",
    "platform=" + "a/" * 50,
    "reference=",
    "reference=[",
    "reference=a[",
    "reference=[z-a]",
    "reference=app\\",
    "reference=[]",
    "in-use=maybe",
    "pinned=2",
    "\0=1",
    "dangling\0=true",
    "ＤＡＮＧＬＩＮＧ=true",
]


@pytest.mark.parametrize("text", BAD_FILTERS)
async def test_a_bad_filter_is_named(hostile: Hostile, text: str) -> None:
    for call in (
        hostile.images.ListImages(images.ListImagesRequest(filters=["dangling=false", text])),
        hostile.images.PruneImages(images.PruneImagesRequest(all=True, filters=["label=x", text])),
    ):
        found = await hostile.refused(call)
        assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FILTER_INVALID"), found
        assert found.field == "filters[1]"


@pytest.mark.parametrize(
    "text", ["before=missing:1", "since=deadbeef", "before=images/" + "A" * 26]
)
async def test_a_filter_by_an_image_that_is_not_here(hostile: Hostile, text: str) -> None:
    found = await hostile.refused(
        hostile.images.ListImages(images.ListImagesRequest(filters=[text]))
    )
    assert (found.code, found.reason) == ("NOT_FOUND", "IMAGE_NOT_FOUND")


@pytest.mark.parametrize(
    "pair",
    [
        ("dangling=true", "dangling=0"),
        ("in-use=1", "in-use=false"),
        ("pinned=true", "pinned=false"),
        ("kind=image", "kind=artifact"),
    ],
)
async def test_contradicting_filters(hostile: Hostile, pair: tuple[str, str]) -> None:
    for call in (
        hostile.images.ListImages(images.ListImagesRequest(filters=pair)),
        hostile.images.PruneImages(images.PruneImagesRequest(filters=pair)),
    ):
        found = await hostile.refused(call)
        assert (found.reason, found.field) == ("FILTER_INVALID", "filters[1]")


async def test_more_filters_than_permitted(hostile: Hostile) -> None:
    request = images.ListImagesRequest(filters=["dangling=true"] * 101)
    found = await hostile.refused(hostile.images.ListImages(request))
    assert (found.reason, found.field) == ("FIELD_INVALID", "filters")
    request = images.ListImagesRequest(filters=["label=" + "x" * 4096])
    found = await hostile.refused(hostile.images.ListImages(request))
    assert (found.reason, found.field) == ("FIELD_INVALID", "filters[0]")


@pytest.mark.parametrize(
    "pattern",
    ["*" * 4000, "*a" * 60 + "b", "?" * 4000, "[a-z]*" * 60, "\\*" * 2000, "**/" * 60, "/" * 4000],
)
async def test_a_costly_pattern_ends(hostile: Hostile, pattern: str) -> None:
    """Found nothing, or refused: but not for ever."""
    request = images.ListImagesRequest(filters=[f"reference={pattern}"])
    answer = await _answer(hostile.images.ListImages(request, timeout=PATIENCE))
    if isinstance(answer, Refusal):
        assert answer.reason == "FILTER_INVALID"
        return
    assert {name for one in answer.images for name in one.tags} <= {
        "docker.io/library/undated:1",
        APP,
        "docker.io/library/app:2",
        "127.0.0.1:5000/team/app:1",
    }


async def _answer(call: Any) -> Any:
    """What a call answers, or its refusal."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        return Refusal.of(error)


# --- images


@pytest.mark.parametrize("method", ["GetImage", "InspectImage", "GetImageHistory", "PinImage"])
@pytest.mark.parametrize(
    "text", ["", HUGE, *ODD, "UPPER", "a:b:c", "a@sha256:1", "images/", "../x"]
)
async def test_an_image_that_is_none(hostile: Hostile, method: str, text: str) -> None:
    request = getattr(images, f"{method}Request")(image=text)
    found = await hostile.refused(getattr(hostile.images, method)(request))
    assert found.code in ("INVALID_ARGUMENT", "NOT_FOUND")
    assert found.reason in (
        "FIELD_INVALID",
        "REFERENCE_INVALID",
        "DIGEST_INVALID",
        "IMAGE_NOT_FOUND",
    )
    if found.code == "INVALID_ARGUMENT":
        assert found.field == "image"
    assert "\0" not in found.message
    assert len(found.message) < 1000


@pytest.mark.parametrize(
    "tag",
    [
        "",
        HUGE,
        *ODD,
        "App",
        "app:" + "t" * 129,
        "app@sha256:" + "0" * 64,
        "a" * 64,
        "0" * 64,
        "x/" + "y" * 300,
        "app:",
        ":1",
        "app:1\n",
        "-app",
        "a//b",
    ],
)
async def test_a_tag_that_is_none(hostile: Hostile, tag: str) -> None:
    request = images.TagImageRequest(image=APP, tag=tag)
    found = await hostile.refused(hostile.images.TagImage(request))
    assert found.code == "INVALID_ARGUMENT"
    assert found.field == "tag"


async def test_tagging_what_is_not_here(hostile: Hostile) -> None:
    request = images.TagImageRequest(image="missing:1", tag="app:3")
    found = await hostile.refused(hostile.images.TagImage(request))
    assert (found.code, found.reason) == ("NOT_FOUND", "IMAGE_NOT_FOUND")
    assert "missing:1" in found.message


@pytest.mark.parametrize("expected", ["sha256:" + "0" * 64, ""])
async def test_tagging_with_another_digest_in_mind(hostile: Hostile, expected: str) -> None:
    request = images.TagImageRequest(image="undated:1", tag=APP, expected_digest=expected)
    found = await hostile.refused(hostile.images.TagImage(request))
    assert (found.code, found.reason) == ("ABORTED", "DIGEST_CHANGED")
    assert found.metadata["actual"] == ONE.digest


async def test_an_expected_digest_that_is_none(hostile: Hostile) -> None:
    for call in (
        hostile.images.TagImage(
            images.TagImageRequest(image=APP, tag="x", expected_digest="sha256:1")
        ),
        hostile.images.UntagImage(
            images.UntagImageRequest(reference=APP, expected_digest="md5:" + "0" * 32)
        ),
    ):
        found = await hostile.refused(call)
        assert found.reason in ("DIGEST_INVALID", "DIGEST_UNSUPPORTED")
        assert found.field == "expected_digest"


async def test_an_ambiguous_prefix_lists_its_candidates(hostile: Hostile) -> None:
    # So many images that some share their first four digits.
    ids: dict[str, list[str]] = {}
    number = 0
    while not (twins := [one for one in ids.values() if len(one) > 1]):
        image = make_image([b""], labels={"number": str(number)})
        ids.setdefault(image.image_id[7:11], []).append(image.image_id)
        number += 1
    for place in range(number):
        image = make_image([b""], labels={"number": str(place)})
        if image.image_id in twins[0]:
            await hostile.api.store(image, f"docker.io/library/twin:{place}")
    prefix = twins[0][0][7:11]
    for call in (
        hostile.images.GetImage(images.GetImageRequest(image=prefix)),
        hostile.images.RemoveImage(images.RemoveImageRequest(image=prefix, force=True)),
        hostile.images.TagImage(images.TagImageRequest(image=prefix, tag="new")),
        hostile.images.PinImage(images.PinImageRequest(image=f"sha256:{prefix}")),
        hostile.containers.CreateContainer(containers.CreateContainerRequest(image=prefix)),
        hostile.leases.CreateLease(leases.CreateLeaseRequest(images=[APP, prefix])),
        hostile.images.ListImages(images.ListImagesRequest(filters=[f"before={prefix}"])),
    ):
        found = await hostile.refused(call)
        assert (found.code, found.reason) == ("INVALID_ARGUMENT", "IMAGE_AMBIGUOUS")
        assert found.field in ("image", "images[1]", "filters[0]")
        assert all(one in found.message for one in twins[0])
        assert found.metadata["candidates_total"] == "2"


async def test_removals_that_are_refused(hostile: Hostile) -> None:
    await hostile.containers.StartContainer(containers.StartContainerRequest(name="containers/web"))
    for text, force, reason in (
        (ONE.image_id, False, "IMAGE_HAS_NAMES"),
        (ONE.image_id, True, "IMAGE_IN_USE"),
        (ONE.digest, True, "IMAGE_IN_USE"),
        ("undated:1", False, "IMAGE_IN_USE"),
        (TWO.image_id, False, "IMAGE_IN_USE"),
        ("missing:1", True, "IMAGE_NOT_FOUND"),
        ("missing@" + ONE.digest, True, "IMAGE_NOT_FOUND"),
    ):
        request = images.RemoveImageRequest(image=text, force=force)
        found = await hostile.refused(hostile.images.RemoveImage(request))
        assert found.reason == reason, (text, force)


async def test_a_request_id_for_something_else(hostile: Hostile) -> None:
    await hostile.images.TagImage(images.TagImageRequest(image=APP, tag="app:3", request_id="once"))
    for call in (
        hostile.images.TagImage(images.TagImageRequest(image=APP, tag="app:4", request_id="once")),
        hostile.images.RemoveImage(images.RemoveImageRequest(image=APP, request_id="once")),
        hostile.images.PruneImages(images.PruneImagesRequest(all=True, request_id="once")),
        hostile.leases.CreateLease(leases.CreateLeaseRequest(request_id="once")),
    ):
        found = await hostile.refused(call)
        assert (found.code, found.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


# --- pages


async def _token(hostile: Hostile, *filters: str) -> str:
    request = images.ListImagesRequest(page_size=1, filters=filters)
    token: str = (await hostile.images.ListImages(request)).next_page_token
    assert token
    return token


async def test_page_tokens_of_others(hostile: Hostile) -> None:
    token = await _token(hostile)
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for text, filters in (
        (token, ["dangling=false"]),
        (await _token(hostile, "dangling=false"), []),
        (flipped, []),
        (token[:-4], []),
        (token + "AAAA", []),
        ("!", []),
        ("\0", []),
        ("é" * 10, []),
        (base64.urlsafe_b64encode(b"\0" * 8 + b"[1,2]").decode(), []),
        (base64.urlsafe_b64encode(b"\0" * 8 + b"[" * 700).decode()[:1000], []),
    ):
        request = images.ListImagesRequest(page_token=text, filters=filters)
        found = await hostile.refused(hostile.images.ListImages(request))
        assert (found.code, found.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"), text
        assert found.field == "page_token"
    for call in (
        hostile.containers.ListContainers(containers.ListContainersRequest(page_token=token)),
        hostile.leases.ListLeases(leases.ListLeasesRequest(page_token=token)),
        hostile.transfers.ListTransfers(transfers.ListTransfersRequest(page_token=token)),
    ):
        found = await hostile.refused(call)
        assert (found.reason, found.field) == ("PAGE_TOKEN_INVALID", "page_token")
    found = await hostile.refused(
        hostile.images.ListImages(images.ListImagesRequest(page_token="A" * 8193))
    )
    assert (found.reason, found.field) == ("FIELD_INVALID", "page_token")


@pytest.mark.parametrize(
    "position",
    [
        [0, 0],
        [-1, -1],
        [2**62, 2**62],
        [2**63 - 1, 2**63 - 1],
        [-(2**63), 0],
        [2**63, 0],
        [10**30, 1],
        [1],
        [1, 2, 3],
        ["1", 2],
        [1.5, 2],
        [True, False],
        [None, None],
        {},
        "x",
        7,
        [[1], 2],
    ],
)
async def test_a_token_that_somebody_computed(hostile: Hostile, position: Any) -> None:
    """The checksum is no secret. A position that never was is refused, or is a place in the
    list."""
    from imgd_server.rpc import _pages

    queries: list[tuple[Any, Any]] = [
        (
            ["ListImages", []],
            lambda t: hostile.images.ListImages(images.ListImagesRequest(page_token=t)),
        ),
    ]
    for query, call in queries:
        token = _pages.encode_token(query, position)
        before = hostile.rows()
        try:
            answer = await call(token)
        except grpc.aio.AioRpcError as error:
            found = Refusal.of(error)
            assert (found.reason, found.field) == ("PAGE_TOKEN_INVALID", "page_token")
        else:
            assert len(answer.images) <= 2
        assert hostile.rows() == before


# --- numbers, maps, enums, times


@pytest.mark.parametrize(
    ("service", "method", "fields", "field"),
    [
        ("images", "ListImages", {"page_size": -1}, "page_size"),
        ("images", "ListImages", {"view": 77}, "view"),
        ("images", "GetImage", {"image": APP, "view": -1}, "view"),
        ("images", "TagImage", {"image": APP, "tag": "x", "request_id": "r" * 129}, "request_id"),
        ("images", "RemoveImage", {"image": APP, "request_id": HUGE}, "request_id"),
        ("images", "RemoveImage", {"image": HUGE, "force": True}, "image"),
        ("images", "UntagImage", {"reference": ""}, "reference"),
        ("images", "UntagImage", {"reference": HUGE}, "reference"),
        ("images", "UntagImage", {"reference": "A"}, "reference"),
        ("containers", "ListContainers", {"page_size": -(2**31)}, "page_size"),
        ("containers", "ListContainers", {"states": [2, 99]}, "states[1]"),
        ("containers", "ListContainers", {"labels": ["x"] * 101}, "labels"),
        ("containers", "ListContainers", {"image": HUGE}, "image"),
        ("containers", "CreateContainer", {"image": ""}, "image"),
        ("containers", "CreateContainer", {"image": APP, "container_id": "-x"}, "container_id"),
        ("containers", "CreateContainer", {"image": APP, "container_id": "a\0"}, "container_id"),
        ("containers", "CreateContainer", {"image": APP, "container_id": HUGE}, "container_id"),
        ("containers", "CreateContainer", {"image": APP, "container_id": "é"}, "container_id"),
        ("containers", "CreateContainer", {"image": APP, "platform": "/"}, "platform"),
        (
            "containers",
            "CreateContainer",
            {"image": APP, "labels": {str(n): "x" * 100 for n in range(1000)}},
            "labels",
        ),
        (
            "containers",
            "CreateContainer",
            {"image": APP, "heartbeat_interval": {"seconds": -5}},
            "heartbeat_interval",
        ),
        (
            "containers",
            "CreateContainer",
            {"image": APP, "heartbeat_interval": {"seconds": 2**62}},
            "heartbeat_interval",
        ),
        ("containers", "StartContainer", {"name": "web"}, "name"),
        ("containers", "StartContainer", {"name": "containers/../x"}, "name"),
        ("containers", "RemoveContainer", {"name": "containers/\0"}, "name"),
        ("containers", "GetContainer", {"name": "containers/" + HUGE}, "name"),
        ("leases", "CreateLease", {"lease_id": "transfer:x"}, "lease_id"),
        ("leases", "CreateLease", {"lease_id": "UPPER"}, "lease_id"),
        ("leases", "CreateLease", {"ttl": {"seconds": -1}}, "ttl"),
        ("leases", "CreateLease", {"ttl": {"seconds": 1, "nanos": -1}}, "ttl"),
        ("leases", "CreateLease", {"ttl": {"seconds": 31 * 86400}}, "ttl"),
        ("leases", "CreateLease", {"images": [APP] * 1001}, "images"),
        ("leases", "CreateLease", {"images": [APP, HUGE]}, "images[1]"),
        ("leases", "CreateLease", {"digests": ["sha256:1"]}, "digests[0]"),
        ("leases", "CreateLease", {"labels": {"k": "v" * 65_536}}, "labels"),
        ("leases", "RenewLease", {"name": "leases/build", "ttl": {"seconds": 2**60}}, "ttl"),
        ("leases", "DeleteLease", {"name": "leases/transfer:x"}, "name"),
        ("leases", "ListLeases", {"page_size": -1}, "page_size"),
    ],
)
async def test_a_field_that_breaks_its_rule(
    hostile: Hostile, service: str, method: str, fields: dict[str, Any], field: str
) -> None:
    request = getattr(globals()[service], f"{method}Request")(**fields)
    found = await hostile.refused(getattr(getattr(hostile, service), method)(request))
    assert found.code == "INVALID_ARGUMENT"
    assert found.field == field


async def test_images_of_a_lease_that_are_not_here(hostile: Hostile) -> None:
    request = leases.CreateLeaseRequest(lease_id="new", images=[APP, "missing:1"])
    found = await hostile.refused(hostile.leases.CreateLease(request))
    assert found.reason == "IMAGE_NOT_FOUND"
    request = leases.CreateLeaseRequest(lease_id="build")
    assert (await hostile.refused(hostile.leases.CreateLease(request))).reason == "LEASE_EXISTS"


async def test_containers_that_are_not_what_is_asked(hostile: Hostile) -> None:
    for method, fields, reason in (
        ("CreateContainer", {"image": APP, "container_id": "web"}, "CONTAINER_EXISTS"),
        ("CreateContainer", {"image": "missing:1"}, "IMAGE_NOT_FOUND"),
        ("CreateContainer", {"image": APP, "prepare_rootfs": True}, "UNSUPPORTED"),
        ("PauseContainer", {"name": "containers/web"}, "CONTAINER_STATE"),
        ("PauseContainer", {"name": "containers/web", "resume": True}, "CONTAINER_STATE"),
        ("HeartbeatContainer", {"name": "containers/web"}, "CONTAINER_STATE"),
        ("RemoveContainer", {"name": "containers/none", "force": True}, "CONTAINER_NOT_FOUND"),
        ("StopContainer", {"name": "containers/none"}, "CONTAINER_NOT_FOUND"),
    ):
        request = getattr(containers, f"{method}Request")(**fields)
        found = await hostile.refused(getattr(hostile.containers, method)(request))
        assert found.reason == reason, method


@pytest.mark.parametrize("text", ODD)
async def test_labels_are_kept_as_they_are(hostile: Hostile, text: str) -> None:
    """Any text is a label; a filter by it finds it, and it alone."""
    labels = {text: f"value {text}", 'quo"ted\\': text}
    await hostile.containers.CreateContainer(
        containers.CreateContainerRequest(image=APP, container_id="odd", labels=labels)
    )
    for wanted in (text, f"{text}=value {text}", 'quo"ted\\', f'quo"ted\\={text}'):
        answer = await hostile.containers.ListContainers(
            containers.ListContainersRequest(labels=[wanted])
        )
        assert [one.name for one in answer.containers] == ["containers/odd"], wanted
        assert dict(answer.containers[0].labels) == labels
    for other in (f"{text}=value", f"{text}x", f"{text}=", text[:-1] or "x"):
        answer = await hostile.containers.ListContainers(
            containers.ListContainersRequest(labels=[other])
        )
        assert list(answer.containers) == [], other


@pytest.mark.parametrize("text", ODD)
async def test_labels_of_images_are_found_as_they_are(hostile: Hostile, text: str) -> None:
    await hostile.api.store(make_image(labels={"odd": text, text: "x"}), "docker.io/library/odd:1")
    # A filter's own edges are trimmed, as Docker does.
    value = text.strip()
    for wanted in (f"label=odd={value}", f"label={value}=x", f"label={value}"):
        answer = await hostile.images.ListImages(images.ListImagesRequest(filters=[wanted]))
        assert [list(one.tags) for one in answer.images] == [["docker.io/library/odd:1"]], wanted


# --- events


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"after_cursor": -1}, "FIELD_INVALID", "after_cursor"),
        ({"after_cursor": 2**62}, "CURSOR_EXPIRED", ""),
        ({"filters": ["colour=red"]}, "FILTER_INVALID", "filters[0]"),
        ({"filters": ["type=image", "type=planet"]}, "FILTER_INVALID", "filters[1]"),
        ({"filters": ["type=unspecified"]}, "FILTER_INVALID", "filters[0]"),
        ({"filters": ["image"]}, "FILTER_INVALID", "filters[0]"),
        ({"filters": ["label=x"] * 101}, "FIELD_INVALID", "filters"),
        ({"since": {"seconds": 2**62}}, "FIELD_INVALID", "since"),
        ({"until": {"seconds": -(2**62)}}, "FIELD_INVALID", "until"),
        ({"since": {"seconds": 1, "nanos": -1}}, "FIELD_INVALID", "since"),
    ],
)
async def test_events_that_nobody_can_watch(
    hostile: Hostile, fields: dict[str, Any], reason: str, field: str
) -> None:
    # With an end, so that it ends where it is accepted.
    fields = {"until": {"seconds": 1}, **fields}
    call = hostile.events.WatchEvents(events.WatchEventsRequest(**fields), timeout=PATIENCE)
    found = await hostile.refused(call)
    assert found.reason == reason
    if field:
        assert found.field == field


# --- everything at once


async def test_every_method_survives_nonsense_in_every_string(hostile: Hostile) -> None:
    """Each string field of each request in turn: refused by a reason, or taken for what it is."""
    services = {
        "images": (
            "ListImages GetImage InspectImage GetImageHistory TagImage UntagImage "
            "RemoveImage PruneImages PinImage UnpinImage ParseReference"
        ),
        "containers": (
            "CreateContainer GetContainer ListContainers StartContainer PauseContainer "
            "StopContainer HeartbeatContainer RemoveContainer"
        ),
        "leases": "CreateLease GetLease ListLeases RenewLease DeleteLease",
    }
    kinds = set()
    for service, methods in services.items():
        for method in methods.split():
            request_type = getattr(globals()[service], f"{method}Request")
            for field in request_type.DESCRIPTOR.fields:
                if field.type != field.TYPE_STRING:
                    continue
                for text in ("\0", "\ud7ff" * 200, "'; DROP TABLE images; --", "%s%n", "*"):
                    value = [text] if field.is_repeated else text
                    request = request_type(**{field.name: value})
                    if "image" in request_type.DESCRIPTOR.fields_by_name and field.name != "image":
                        request.image = "missing:1"
                    try:
                        await getattr(getattr(hostile, service), method)(request, timeout=PATIENCE)
                    except grpc.aio.AioRpcError as error:
                        found = Refusal.of(error)
                        assert found.code in ("INVALID_ARGUMENT", "NOT_FOUND") or (
                            # Any text is a request ID, and some were used a method before.
                            field.name == "request_id"
                        ), (method, text)
                        kinds.add(found.reason)
                    else:
                        kinds.add("OK")
    assert {"OK", "FIELD_INVALID", "REFERENCE_INVALID", "IMAGE_NOT_FOUND"} <= kinds
    answer = await hostile.images.ListImages(images.ListImagesRequest())
    assert len(answer.images) == 2


async def test_a_message_that_is_too_large(hostile: Hostile) -> None:
    request = images.ListImagesRequest(filters=["x" * 5_000_000])
    before = hostile.rows()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await hostile.images.ListImages(request)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert hostile.rows() == before
