"""Listing, finding and looking into images."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from imgd.v1 import image_pb2, image_service_pb2
from imgd_server.metadata import Name, WriteSession
from tests import records
from tests.contract.api.served import AMD64, Api, refusal
from tests.fake_images import FakeImage, make_image, make_index, make_layer

MIB = 1 << 20
FULL = image_pb2.IMAGE_VIEW_FULL


def listing(**fields: Any) -> image_service_pb2.ListImagesRequest:
    return image_service_pb2.ListImagesRequest(**fields)


def image(number: int, **more: Any) -> FakeImage:
    """An image of its own."""
    return make_image([make_layer({"number": str(number).encode()})], **more)


async def pages(api: Api, size: int, **fields: Any) -> list[image_service_pb2.ListImagesResponse]:
    found = []
    token = ""
    while True:
        request = listing(page_size=size, page_token=token, **fields)
        found.append(await api.images.ListImages(request))
        token = found[-1].next_page_token
        if not token:
            return found


def names(answers: list[image_service_pb2.ListImagesResponse]) -> list[str]:
    return [one.name for answer in answers for one in answer.images]


# --- listing


async def test_an_empty_store_has_one_empty_page(api: Api) -> None:
    answer = await api.images.ListImages(listing())
    assert answer == image_service_pb2.ListImagesResponse()


async def test_the_newest_comes_first_and_what_has_no_time_last(api: Api) -> None:
    for number, created in enumerate(
        ["2024-01-01T00:00:00Z", None, "2025-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]
    ):
        await api.store(image(number, created=created), f"h.io/{number}:1")
    answer = await api.images.ListImages(listing())
    assert [one.tags[0] for one in answer.images] == [
        "h.io/2:1",
        "h.io/0:1",
        "h.io/3:1",
        "h.io/1:1",
    ]
    assert [one.HasField("create_time") for one in answer.images] == [True, True, True, False]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 1000])
async def test_pages_hold_every_image_once(api: Api, size: int) -> None:
    stored = [
        await api.store(image(n, created=f"20{10 + n // 3}-01-01T00:00:00Z"), f"h.io/{n}:1")
        for n in range(7)
    ]
    found = await pages(api, size)
    assert sorted(names(found)) == sorted(f"images/{one.uid}" for one in stored)
    assert names(found) == names(await pages(api, 1000))
    # The last page is not an empty one more.
    assert [len(one.images) for one in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1].images) <= size


def moving(name: Name, uid: str) -> Callable[[WriteSession], object]:
    return lambda session: session.put_name(name, uid)


async def test_pages_are_stable_while_others_write(api: Api) -> None:
    before = [await api.store(image(n, created=None), f"h.io/{n}:1") for n in range(9)]
    listed: list[str] = []
    token, number = "", itertools.count(100)
    for step in itertools.count():
        answer = await api.images.ListImages(listing(page_size=2, page_token=token))
        listed += names([answer])
        token = answer.next_page_token
        if not token:
            break
        # New images before and behind, a tag that moves, one that goes: the list is of its start.
        await api.store(image(next(number), created="2030-01-01T00:00:00Z"), f"n.io/{step}:1")
        await api.store(image(next(number), created=None), f"n.io/late-{step}:1")
        await api.metadata.write(moving(Name("h.io/0:1", "h.io/0"), before[step % 9].uid))
    kept = [f"images/{one.uid}" for one in before]
    assert [name for name in listed if name in kept] == sorted(kept, key=listed.index)
    assert {name for name in listed if name in kept} == set(kept)
    assert len(set(listed)) == len(listed)


async def test_pages_under_a_storm_of_writes(api: Api) -> None:
    kept = [
        await api.store(image(n, created="2020-01-01T00:00:00Z"), f"h.io/{n}:1") for n in range(20)
    ]

    async def write(worker: int) -> None:
        for step in range(10):
            number = 1000 + worker * 100 + step
            await api.store(image(number, created=f"20{10 + number % 20}-01-01T00:00:00Z"))

    storm = asyncio.gather(*(write(worker) for worker in range(4)))
    while not storm.done():
        listed = names(await pages(api, 3))
        assert len(set(listed)) == len(listed)
        assert {f"images/{one.uid}" for one in kept} <= set(listed)
    await storm


async def test_a_page_token_is_of_its_list_and_unchanged(api: Api) -> None:
    for number in range(3):
        await api.store(image(number))
    token = (await api.images.ListImages(listing(page_size=1))).next_page_token
    assert len((await api.images.ListImages(listing(page_token=token))).images) == 2
    for bad in (token[:-2], f"{token}AAAA", token.swapcase(), "AAAA", "é", "\n", "x" * 1024):
        found = await refusal(api.images.ListImages(listing(page_token=bad)))
        assert (found.code, found.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
        assert found.field == "page_token"
    found = await refusal(api.images.ListImages(listing(page_token="x" * 8193)))
    assert (found.reason, found.field) == ("FIELD_INVALID", "page_token")


@pytest.mark.parametrize("text", ["", "nonsense", "no-such-key=1", "é=é", "=" * 4096])
async def test_a_filter_that_is_not_known_is_refused_and_named(api: Api, text: str) -> None:
    found = await refusal(api.images.ListImages(listing(filters=[text])))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FILTER_INVALID")
    assert found.field == "filters[0]"


# A host may have thousands of characters, so that few names make a large answer.
LONG_HOST = f"{'h' * 3000}.io"


async def name(api: Api, uid: str, repository: str, count: int) -> list[str]:
    """Gives an image so many tags of some 3 kB; returns them."""
    tags = [f"{LONG_HOST}/{repository}:{number:04}" for number in range(count)]

    def put(session: WriteSession) -> None:
        for tag in tags:
            session.put_name(Name(tag, f"{LONG_HOST}/{repository}"), uid)

    await api.metadata.write(put)
    return tags


async def test_a_page_never_exceeds_a_mebibyte(api: Api) -> None:
    for number in range(12):
        record = await api.store(image(number))
        await name(api, record.uid, f"{number}", 45)
    found = await pages(api, 1000)
    assert len(found) > 1
    assert all(MIB // 2 < answer.ByteSize() < MIB for answer in found[:-1])
    assert len(set(names(found))) == len(names(found)) == 12
    assert all(len(one.tags) == 45 and not one.truncated for a in found for one in a.images)


async def test_an_image_with_too_many_tags_for_an_answer_is_listed_and_found(api: Api) -> None:
    record = await api.store(image(1))
    other = await api.store(image(2), "h.io/other:1")
    tags = await name(api, record.uid, "many", 500)
    found = await pages(api, 1000)
    assert all(answer.ByteSize() < MIB for answer in found)
    shown = {one.name: one for answer in found for one in answer.images}
    assert set(shown) == {f"images/{record.uid}", f"images/{other.uid}"}
    many = shown[f"images/{record.uid}"]
    assert many.truncated
    assert list(many.tags) == tags[: len(many.tags)]
    assert 100 < len(many.tags) < 500
    # The last tag finds it, shown or not.
    answer = await api.images.GetImage(image_service_pb2.GetImageRequest(image=tags[-1], view=FULL))
    assert answer.image.name == many.name
    assert answer.ByteSize() < MIB


async def test_views(api: Api) -> None:
    await api.store(image(1, labels={"a": "b"}), "h.io/a:1")
    (basic,) = (await api.images.ListImages(listing())).images
    (full,) = (await api.images.ListImages(listing(view=FULL))).images
    assert not basic.platforms
    assert not basic.labels
    assert dict(full.labels) == {"a": "b"}
    assert [one.platform.architecture for one in full.platforms] == ["amd64"]
    assert (full.shared_size, full.unique_size) == (0, full.content_size)
    for more in ("platforms", "labels", "shared_size", "unique_size"):
        full.ClearField(more)
    assert full == basic


async def test_an_image_for_a_platform_that_is_none_harms_no_list(api: Api) -> None:
    await api.store(image(1, os="li nux", architecture="?" * 3000, variant="\n"), "h.io/a:1")
    await api.store(image(2, os="", architecture=""), "h.io/b:1")
    await api.store(image(3), "h.io/c:1")
    answer = await api.images.ListImages(listing(view=FULL))
    shown = {one.tags[0]: one for one in answer.images}
    assert set(shown) == {"h.io/a:1", "h.io/b:1", "h.io/c:1"}
    assert shown["h.io/c:1"].platform.os == "linux"
    for name in shown:
        await api.images.GetImage(image_service_pb2.GetImageRequest(image=name, view=FULL))
        inspected = await api.images.InspectImage(image_service_pb2.InspectImageRequest(image=name))
        assert inspected.config.cmd == ["true"]
    for name in ("h.io/a:1", "h.io/b:1"):
        found = await refusal(
            api.images.InspectImage(
                image_service_pb2.InspectImageRequest(image=name, platform="linux/s390x")
            )
        )
        assert found.reason == "PLATFORM_NOT_FOUND"


# --- looking up


async def test_every_form_of_look_up(api: Api) -> None:
    fake = image(1)
    record = await api.store(
        fake, "docker.io/library/redis:7", f"docker.io/library/redis@{fake.digest}"
    )
    await api.store(image(2), "docker.io/library/redis:latest", "h.io/a/b:1")
    hexes = record.image_id.removeprefix("sha256:")
    for text in (
        "redis:7",
        "library/redis:7",
        "docker.io/redis:7",
        "index.docker.io/library/redis:7",
        f"redis@{fake.digest}",
        # The digest decides, whatever the tag says.
        f"redis:latest@{fake.digest}",
        record.image_id,
        hexes,
        hexes[:12],
        f"sha256:{hexes[:8]}",
        fake.digest,
        fake.digest.removeprefix("sha256:")[:16],
        f"images/{record.uid}",
    ):
        answer = await api.images.GetImage(image_service_pb2.GetImageRequest(image=text))
        assert answer.image.name == f"images/{record.uid}", text
    latest = await api.images.GetImage(image_service_pb2.GetImageRequest(image="redis"))
    assert latest.image.name != f"images/{record.uid}"


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        ("redis:8", "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("h.io/redis:7", "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("images/" + "A" * 26, "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("sha256:" + "00" * 32, "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("00" * 32, "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("redis@sha256:" + "00" * 32, "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("0000", "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("", "INVALID_ARGUMENT", "FIELD_INVALID"),
        ("Redis:7", "INVALID_ARGUMENT", "REFERENCE_INVALID"),
        ("redis:7\n", "INVALID_ARGUMENT", "REFERENCE_INVALID"),
        ("redis\x00", "INVALID_ARGUMENT", "REFERENCE_INVALID"),
        ("a" * 4097, "INVALID_ARGUMENT", "FIELD_INVALID"),
        ("a" * 4096, "INVALID_ARGUMENT", "REFERENCE_INVALID"),
    ],
)
async def test_what_is_not_found_says_why(api: Api, text: str, code: str, reason: str) -> None:
    await api.store(image(1), "docker.io/library/redis:7")
    for call in (
        api.images.GetImage(image_service_pb2.GetImageRequest(image=text)),
        api.images.InspectImage(image_service_pb2.InspectImageRequest(image=text)),
        api.images.GetImageHistory(image_service_pb2.GetImageHistoryRequest(image=text)),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == (code, reason)


def twins() -> tuple[str, list[FakeImage]]:
    """Two images whose IDs start with the same four digits, which some hundreds hold."""
    seen: dict[str, FakeImage] = {}
    for number in itertools.count():
        one = image(number)
        prefix = one.image_id.removeprefix("sha256:")[:4]
        if prefix in seen:
            return prefix, [seen[prefix], one]
        seen[prefix] = one
    raise AssertionError


async def test_a_prefix_of_several_names_the_candidates_unless_a_tag_is_named_so(api: Api) -> None:
    prefix, both = twins()
    request = image_service_pb2.GetImageRequest(image=prefix)
    await api.store(both[0])
    assert (await api.images.GetImage(request)).image.image_id == both[0].image_id
    await api.store(both[1])
    found = await refusal(api.images.GetImage(request))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "IMAGE_AMBIGUOUS")
    assert found.metadata["candidates_total"] == "2"
    for one in both:
        assert one.image_id in found.metadata["candidates"]
        assert one.image_id in found.message
    tagged = await api.store(image(-1), f"docker.io/library/{prefix}:latest")
    assert (await api.images.GetImage(request)).image.name == f"images/{tagged.uid}"


# --- looking into one


async def test_inspect_an_image(api: Api) -> None:
    layers = [make_layer({"a": b"1"}), make_layer({"b": b"2"})]
    fake = make_image(
        layers,
        labels={"l": "v"},
        config={
            "User": "u:g",
            "ExposedPorts": {"90/udp": {}, "80/tcp": {}},
            "Env": ["A=b", "C=d"],
            "Entrypoint": ["/e"],
            "Cmd": ["c"],
            "Volumes": {"/w": {}, "/v": {}},
            "WorkingDir": "/d",
            "StopSignal": "SIGUSR1",
        },
        annotations={"org.example": "x"},
    )
    await api.store(fake, "h.io/a:1")
    found = await api.images.InspectImage(image_service_pb2.InspectImageRequest(image="h.io/a:1"))
    config = found.config
    assert (config.user, config.working_dir, config.stop_signal) == ("u:g", "/d", "SIGUSR1")
    assert list(config.exposed_ports) == ["80/tcp", "90/udp"]
    assert list(config.env) == ["A=b", "C=d"]
    assert (list(config.entrypoint), list(config.cmd)) == (["/e"], ["c"])
    assert (list(config.volumes), dict(config.labels)) == (["/v", "/w"], {"l": "v"})
    assert found.manifest.digest == fake.digest
    assert found.config_blob.digest == found.image.image_id == fake.image_id
    assert [one.digest for one in found.layers] == [
        one["digest"] for one in fake.document["layers"]
    ]
    assert len(found.diff_ids) == 2
    assert dict(found.annotations) == {"org.example": "x"}
    assert (found.platform.os, found.platform.architecture) == ("linux", "amd64")
    assert dict(found.image.labels) == {"l": "v"}


async def test_what_docker_alone_has_in_a_config_shows_too(api: Api) -> None:
    health = {
        "Test": ["CMD-SHELL", "curl -f localhost"],
        "Interval": 30_000_000_000,
        "Timeout": 1_500_000_000,
        "StartPeriod": 0,
        "StartInterval": 7,
        "Retries": 3,
    }
    shown = {"Healthcheck": health, "OnBuild": ["RUN a", "COPY . /"], "Shell": ["/bin/ash", "-c"]}
    await api.store(image(1, config=shown), "h.io/a:1")
    odd = {
        "Healthcheck": {"Test": "x", "Interval": "1s", "Timeout": -1, "Retries": 1 << 63},
        "OnBuild": {},
    }
    await api.store(image(2, config=odd), "h.io/a:2")
    await api.store(image(3), "h.io/a:3")

    async def config(name: str) -> image_pb2.ImageConfig:
        request = image_service_pb2.InspectImageRequest(image=name)
        return (await api.images.InspectImage(request)).config

    found = await config("h.io/a:1")
    assert (list(found.on_build), list(found.shell)) == (shown["OnBuild"], shown["Shell"])
    check = found.health_check
    assert list(check.test) == health["Test"]
    assert (check.interval.seconds, check.interval.nanos) == (30, 0)
    assert (check.timeout.seconds, check.timeout.nanos) == (1, 500_000_000)
    assert (check.start_interval.nanos, check.retries) == (7, 3)
    assert not check.HasField("start_period")
    found = await config("h.io/a:2")
    assert found.HasField("health_check")
    assert found.health_check == image_pb2.HealthCheck()
    assert not found.on_build
    assert not (await config("h.io/a:3")).HasField("health_check")


async def test_a_config_with_the_wrong_types_counts_as_not_set(api: Api) -> None:
    fake = image(1, config={"User": 7, "Env": "A=b", "Cmd": [1, "x"], "Volumes": ["/v"]})
    await api.store(fake, "h.io/a:1")
    config = (
        await api.images.InspectImage(image_service_pb2.InspectImageRequest(image="h.io/a:1"))
    ).config
    assert (config.user, list(config.env), list(config.cmd)) == ("", [], ["x"])
    assert not config.volumes


async def test_an_index_is_looked_into_by_platform(api: Api) -> None:
    arm = image(1, architecture="arm64")
    amd = image(2)
    far = image(3, architecture="s390x")
    index = make_index(
        [
            (arm, {"os": "linux", "architecture": "arm64"}),
            (amd, {"os": "linux", "architecture": "amd64"}),
            (far, {"os": "linux", "architecture": "s390x"}),
        ]
    )
    await api.store(index, "h.io/a:1", without=[far.digest, *far.blobs])

    async def inspect(platform: str = "") -> image_service_pb2.InspectImageResponse:
        return await api.images.InspectImage(
            image_service_pb2.InspectImageRequest(image="h.io/a:1", platform=platform)
        )

    assert (await inspect()).manifest.digest == amd.digest
    assert (await inspect("linux/arm64")).manifest.digest == arm.digest
    assert (await inspect("linux/x86_64")).config_blob.digest == amd.image_id
    for platform in ("linux/s390x", "windows/amd64"):
        found = await refusal(inspect(platform))
        assert (found.code, found.reason) == ("NOT_FOUND", "PLATFORM_NOT_FOUND")
    found = await refusal(inspect("a/b/c/d"))
    assert (found.reason, found.field) == ("PLATFORM_INVALID", "platform")
    got = await api.images.GetImage(image_service_pb2.GetImageRequest(image="h.io/a:1", view=FULL))
    assert not got.image.complete
    assert {one.platform.architecture: one.complete for one in got.image.platforms} == {
        "arm64": True,
        "amd64": True,
        "s390x": False,
    }
    assert got.image.platform.architecture == AMD64.architecture


async def test_an_artifact_has_no_config(api: Api) -> None:
    fake = image(1, config_type="application/vnd.example+json")
    await api.store(fake, "h.io/a:1")
    found = await api.images.InspectImage(image_service_pb2.InspectImageRequest(image="h.io/a:1"))
    assert not found.HasField("config")
    assert not found.HasField("platform")
    assert found.image.kind == image_pb2.IMAGE_KIND_ARTIFACT
    assert found.image.artifact_type == "application/vnd.example+json"
    history = await api.images.GetImageHistory(
        image_service_pb2.GetImageHistoryRequest(image="h.io/a:1")
    )
    assert not history.entries


async def test_history(api: Api) -> None:
    fake = make_image([make_layer({"a": b"1"}), make_layer({"b": b"2"})])
    await api.store(fake, "h.io/a:1")
    found = await api.images.GetImageHistory(
        image_service_pb2.GetImageHistoryRequest(image="h.io/a:1")
    )
    assert [one.created_by for one in found.entries] == ["layer 0", "layer 1"]
    assert [one.layer.digest for one in found.entries] == [
        one["digest"] for one in fake.document["layers"]
    ]
    assert all(one.diff_id for one in found.entries)
    assert not found.entries[0].HasField("create_time")
    assert not found.entries[0].HasField("unpacked_size")


async def test_a_history_of_an_image_with_thousands_of_tags(api: Api) -> None:
    record = await api.store(make_image(), "h.io/a:1")
    tags = [records.tag(f"h.io/{'x' * 240}:{number:0128}") for number in range(3000)]

    def name(session: WriteSession) -> None:
        for one in tags:
            session.put_name(one, record.uid)

    await api.metadata.write(name)
    found = await api.images.GetImageHistory(
        image_service_pb2.GetImageHistoryRequest(image="h.io/a:1")
    )
    assert found.ByteSize() <= 1 << 20
    assert 2000 < len(found.entries[-1].tags) < len(tags)


async def test_a_config_that_no_answer_can_hold_is_refused_with_where_it_is(api: Api) -> None:
    fake = image(1, config={"Env": [f"A{number}={'x' * 1000}" for number in range(1200)]})
    await api.store(fake, "h.io/a:1")
    found = await refusal(
        api.images.InspectImage(image_service_pb2.InspectImageRequest(image="h.io/a:1"))
    )
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "MANIFEST_TOO_LARGE")
    assert fake.image_id in found.message
    # It lists and is found all the same.
    assert len((await api.images.ListImages(listing(view=FULL))).images) == 1


async def test_what_is_gone_from_the_disk_is_said(api: Api) -> None:
    fake = image(1)
    await api.store(fake, "h.io/a:1")
    api.content.delete(next(iter(api.content.blobs())).digest)
    for blob in list(api.content.blobs()):
        api.content.delete(blob.digest)
    found = await refusal(
        api.images.InspectImage(image_service_pb2.InspectImageRequest(image="h.io/a:1"))
    )
    assert (found.code, found.reason) == ("NOT_FOUND", "BLOB_NOT_FOUND")


# --- references


@pytest.mark.parametrize(
    ("text", "full", "familiar", "kind"),
    [
        ("redis", "docker.io/library/redis:latest", "redis:latest", "OFFICIAL"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7", "bitnami/redis:7", "COMMUNITY"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1", "ghcr.io/a/b:1", "THIRD_PARTY"),
        ("localhost:5000/a:1", "localhost:5000/a:1", "localhost:5000/a:1", "LOCAL"),
        ("images.test/a:1", "images.test/a:1", "images.test/a:1", "LOCAL"),
    ],
)
async def test_parse_reference(api: Api, text: str, full: str, familiar: str, kind: str) -> None:
    answer = await api.images.ParseReference(image_service_pb2.ParseReferenceRequest(text=text))
    found = answer.reference
    assert (found.full, found.familiar) == (full, familiar)
    assert image_pb2.ReferenceClass.Name(found.reference_class) == f"REFERENCE_CLASS_{kind}"


async def test_parse_a_digest_and_what_is_none(api: Api) -> None:
    digest = "sha256:" + "0a" * 32

    async def parse(text: str) -> image_service_pb2.ParseReferenceResponse:
        return await api.images.ParseReference(image_service_pb2.ParseReferenceRequest(text=text))

    found = (await parse(f"redis:7@{digest}")).reference
    assert (found.tag, found.digest, found.path) == ("7", digest, "library/redis")
    for text, reason in (
        ("A B", "REFERENCE_INVALID"),
        (f"redis@md5:{'0' * 32}", "DIGEST_UNSUPPORTED"),
        ("redis@sha256:0", "DIGEST_INVALID"),
        ("", "FIELD_INVALID"),
    ):
        refused = await refusal(parse(text))
        assert (refused.code, refused.reason, refused.field) == (
            "INVALID_ARGUMENT",
            reason,
            "text",
        )
