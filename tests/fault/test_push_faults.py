"""Pushes and copies to registries that fail in every way: success, or one clear error."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Origin, Reason
from imgd_server.registry import Credentials
from imgd_server.transfer import NodeState, TransferState
from tests.fake_images import FakeImage, digest_of, make_document, make_image
from tests.hostile import HostileRegistry, header, refuse, reset
from tests.misbehaviour import Answer, Request
from tests.pulling import noise
from tests.pushing import Pusher, copy_spec, push_spec, pushing
from tests.taking import TakingRegistry

PLAIN = "application/vnd.oci.image.layer.v1.tar"
CHUNK = 100_000
IMAGE = make_image([noise(450_000)], layer_type=PLAIN)
LAYER = str(IMAGE.document["layers"][0]["digest"])
ALICE = Credentials("alice", "open sesame")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of five chunks."""
    monkeypatch.setattr("imgd_server.registry._push._CHUNK", CHUNK)


@pytest.fixture
async def pusher(tmp_path: Path) -> AsyncIterator[Pusher]:
    async with pushing(tmp_path / "root") as one:
        yield one


@pytest.fixture
def registry() -> Iterator[TakingRegistry]:
    with TakingRegistry() as one:
        yield one


async def stored(pusher: Pusher, registry: TakingRegistry, image: FakeImage = IMAGE) -> str:
    """Stores an image under a name of the registry; returns the name."""
    name = f"{registry.host}/team/app:1"
    await pusher.store(image, name)
    return name


# --- what ends in success


@pytest.mark.parametrize("after", [0, 1, 54_321])
async def test_a_push_that_is_cut_goes_on_where_it_stopped(
    pusher: Pusher, registry: TakingRegistry, after: int
) -> None:
    registry.cut("PATCH", after, times=2)
    name = await stored(pusher, registry)
    outcome = await pusher.push(name)
    assert registry.holds("team/app", IMAGE, "1")
    blobs = sum(map(len, IMAGE.blobs.values()))
    # Registries say the same of one byte as of none: then it begins anew.
    assert registry.received == blobs + (2 if after == 1 else 0)
    assert outcome.target is not None
    assert outcome.target.digest == IMAGE.digest


async def test_a_registry_that_forgets_what_came_gets_it_again(pusher: Pusher) -> None:
    with TakingRegistry(keeps=False) as registry:
        registry.cut("PATCH", 50_000)
        await pusher.push(await stored(pusher, registry))
        assert registry.holds("team/app", IMAGE, "1")
        assert registry.received == sum(map(len, IMAGE.blobs.values())) + 50_000


async def test_a_blob_in_one_piece_that_is_cut_goes_on_in_chunks(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    image = make_image([noise(90_000)], layer_type=PLAIN)
    registry.cut("PUT .*/blobs/uploads/", 60_000)
    await pusher.push(await stored(pusher, registry, image))
    assert registry.holds("team/app", image, "1")
    assert registry.received == sum(map(len, image.blobs.values()))


async def test_an_upload_that_is_gone_is_begun_anew(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    registry.refuse("PATCH", 404, "BLOB_UPLOAD_UNKNOWN")
    await pusher.push(await stored(pusher, registry))
    assert registry.holds("team/app", IMAGE, "1")


async def test_a_registry_without_chunks_gets_the_blob_whole(pusher: Pusher) -> None:
    with TakingRegistry(chunks=False) as registry:
        await pusher.push(await stored(pusher, registry))
        assert registry.holds("team/app", IMAGE, "1")
        assert len(registry.matching("PATCH")) == 1
        (whole,) = registry.matching(f"PUT .*{LAYER.replace(':', '%3A')}")
        assert whole.headers["content-length"] == "450000"


async def test_a_registry_may_want_larger_chunks(pusher: Pusher) -> None:
    with TakingRegistry(minimum=200_000) as registry:
        await pusher.push(await stored(pusher, registry))
        assert registry.holds("team/app", IMAGE, "1")
        lengths = [one.headers["content-length"] for one in registry.matching("PATCH")]
        assert lengths == ["200000", "200000", "50000"]


async def test_a_chunk_that_was_taken_in_part_goes_on_behind_it(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    """The registry is at another place than was thought: it says where."""

    def half(request: Request, answer: Answer) -> Answer:
        (kept,) = [one for one in registry.uploads.values() if len(one) == CHUNK]
        del kept[CHUNK // 2 :]
        return answer.having(Range=f"0-{CHUNK // 2 - 1}")

    registry.on("PATCH", half, times=1)
    await pusher.push(await stored(pusher, registry))
    assert registry.holds("team/app", IMAGE, "1")


@pytest.mark.parametrize(
    ("pattern", "status", "more"),
    [
        ("POST", 500, {}),
        ("PATCH", 503, {}),
        ("PUT .*/blobs/", 502, {}),
        ("HEAD .*/blobs/", 500, {}),
        ("PUT .*/manifests/", 504, {}),
        ("PATCH", 429, {"Retry_After": "0"}),
        ("PUT .*/manifests/", 429, {"Retry_After": "0"}),
    ],
)
async def test_bursts_of_failures_are_waited_out(
    pusher: Pusher, registry: TakingRegistry, pattern: str, status: int, more: dict[str, str]
) -> None:
    registry.refuse(pattern, status, "TOOMANYREQUESTS", times=2, **more)
    uid = await pusher.start(push_spec(await stored(pusher, registry)))
    state, outcome, _ = await pusher.end(uid)
    assert state is TransferState.SUCCEEDED, outcome.failure
    assert registry.holds("team/app", IMAGE, "1")


async def test_a_refused_mount_becomes_an_upload(pusher: Pusher) -> None:
    with TakingRegistry(mounts=False) as registry:
        name = await stored(pusher, registry)
        await pusher.store(IMAGE, learned=[f"{registry.host}/other/app@{IMAGE.digest}"])
        await pusher.push(name)
        assert registry.holds("team/app", IMAGE, "1")
        assert len(registry.matching("POST .*from=other%2Fapp")) == len(IMAGE.blobs)
        assert len(registry.matching("POST")) == len(IMAGE.blobs)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_a_mount_that_is_an_error_becomes_an_upload(
    pusher: Pusher, registry: TakingRegistry, status: int
) -> None:
    registry.refuse("POST .*from=", status, "DENIED", times=10)
    name = await stored(pusher, registry)
    await pusher.store(IMAGE, learned=[f"{registry.host}/other/app@{IMAGE.digest}"])
    await pusher.push(name)
    assert registry.holds("team/app", IMAGE, "1")


async def test_a_token_that_ends_in_the_middle_is_renewed(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    registry.require_bearer(user="alice", password="open sesame")

    def expire(request: Request, answer: Answer) -> Answer:
        registry.tokens.clear()
        return answer

    registry.on("PATCH", expire, times=1)
    await pusher.push(await stored(pusher, registry), credentials=ALICE)
    assert registry.holds("team/app", IMAGE, "1")
    assert [one.status for one in registry.matching("PATCH")] == [202, 401, 202, 202, 202, 202]


async def test_an_upload_on_another_host_gets_no_credentials(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    """A Location of the same address but another port is another origin."""
    registry.require_basic("alice", "open sesame")
    with HostileRegistry() as elsewhere:

        def away(request: Request, answer: Answer) -> Answer:
            place = answer.headers["Location"]
            return answer.having(Location=f"http://{elsewhere.host}{place}")

        registry.on(r"POST .*/blobs/uploads/$", away)
        name = await stored(pusher, registry)
        failure = await pusher.fail(push_spec(name, credentials=ALICE))
        assert (failure.reason, failure.origin) == (
            Reason.REMOTE_NOT_FOUND,
            Origin.DESTINATION,
        ) or (failure.reason is Reason.REGISTRY_UNAVAILABLE)
        assert elsewhere.requests
        assert not any("authorization" in one.headers for one in elsewhere.requests)


# --- what ends in one clear error


@pytest.mark.parametrize(
    "location", ["ftp://x/y", "http://[::1", "", "http://user@127.0.0.1/x", None]
)
async def test_a_location_that_is_none(
    pusher: Pusher, registry: TakingRegistry, location: str | None
) -> None:
    registry.on("POST", header(Location=location))
    failure = await pusher.fail(push_spec(await stored(pusher, registry)))
    assert (failure.reason, failure.origin) == (Reason.REGISTRY_PROTOCOL, Origin.DESTINATION)
    assert registry.tagged("team/app", "1") is None


@pytest.mark.parametrize("place", ["http://169.254.169.254/x", "http://10.1.2.3/x"])
async def test_a_location_at_a_forbidden_address(
    pusher: Pusher, registry: TakingRegistry, place: str
) -> None:
    registry.on("POST", header(Location=place))
    failure = await pusher.fail(push_spec(await stored(pusher, registry)))
    assert (failure.reason, failure.origin) == (Reason.EGRESS_DENIED, Origin.DESTINATION)


async def test_a_digest_that_is_refused_is_tried_once_more(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    registry.refuse("PUT .*/blobs/", 400, "DIGEST_INVALID", times=100)
    failure = await pusher.fail(push_spec(await stored(pusher, registry)))
    assert (failure.reason, failure.origin) == (Reason.DIGEST_MISMATCH, Origin.DESTINATION)
    assert failure.registry_code == "DIGEST_INVALID"
    assert failure.host == registry.host
    assert not registry.order


async def test_a_blob_that_is_damaged_here_is_the_sources_fault(
    pusher: Pusher, registry: TakingRegistry, tmp_path: Path
) -> None:
    name = await stored(pusher, registry)
    (file,) = (tmp_path / "root" / "content").rglob(LAYER.partition(":")[2])
    file.chmod(0o600)
    file.write_bytes(b"\0" * 450_000)
    failure = await pusher.fail(push_spec(name))
    assert (failure.reason, failure.origin) == (Reason.STORE_CORRUPT, Origin.SOURCE)
    assert failure.digest == LAYER
    assert registry.tagged("team/app", "1") is None


@pytest.mark.parametrize(
    ("pattern", "status", "reason"),
    [
        ("HEAD .*/blobs/", 403, Reason.REGISTRY_DENIED),
        ("POST", 401, Reason.REGISTRY_UNAUTHORIZED),
        ("POST", 404, Reason.REMOTE_NOT_FOUND),
        ("PATCH", 413, Reason.REGISTRY_PROTOCOL),
        ("PUT .*/manifests/1", 400, Reason.REGISTRY_PROTOCOL),
        ("PUT .*/manifests/1", 500, Reason.REGISTRY_UNAVAILABLE),
    ],
)
async def test_a_refusal_is_told(
    pusher: Pusher, registry: TakingRegistry, pattern: str, status: int, reason: Reason
) -> None:
    registry.refuse(pattern, status, "CODE_OF_ITS_OWN", times=100)
    name = await stored(pusher, registry)
    failure = await pusher.fail(push_spec(name))
    assert (failure.reason, failure.origin) == (reason, Origin.DESTINATION)
    assert (failure.host, failure.http_status) == (registry.host, status)
    # An answer to HEAD has no body to say it in.
    assert failure.registry_code == ("" if "HEAD" in pattern else "CODE_OF_ITS_OWN")
    assert failure.reference == name
    assert registry.tagged("team/app", "1") is None


async def test_a_registry_that_forgets_every_upload(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    registry.refuse("PATCH", 404, "BLOB_UPLOAD_UNKNOWN", times=1000)
    failure = await pusher.fail(push_spec(await stored(pusher, registry)))
    assert failure.reason is Reason.REGISTRY_UNAVAILABLE
    assert len(registry.matching("PATCH")) == 9


async def test_a_registry_that_takes_a_manifest_for_another(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    registry.on("PUT .*/manifests/", header(Docker_Content_Digest="sha256:" + "0" * 64))
    failure = await pusher.fail(push_spec(await stored(pusher, registry)))
    assert (failure.reason, failure.origin) == (Reason.REGISTRY_PROTOCOL, Origin.DESTINATION)


async def test_uploads_that_are_sent_in_circles(pusher: Pusher, registry: TakingRegistry) -> None:
    def circle(request: Request, answer: Answer) -> Answer:
        return Answer(307, {"Location": request.path.partition("?")[0]})

    image = make_image([noise(50)], layer_type=PLAIN)
    registry.on("PUT .*/blobs/", circle)
    failure = await pusher.fail(push_spec(await stored(pusher, registry, image)))
    assert failure.reason is Reason.REGISTRY_PROTOCOL


async def test_a_manifest_that_fails_leaves_the_tag_where_it_was(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    before = make_image([b"before"])
    registry.add("team/app", before, "1")
    registry.on("PUT .*/manifests/", reset())
    registry.refuse("PUT .*/manifests/", 500, times=100)
    name = await stored(pusher, registry)
    failure = await pusher.fail(push_spec(name))
    assert failure.origin is Origin.DESTINATION
    assert registry.tagged("team/app", "1") == before.raw


@pytest.mark.parametrize("kind", ["push", "copy"])
async def test_an_answer_that_comes_before_all_is_sent_is_heard(
    pusher: Pusher, registry: TakingRegistry, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The registry reads none of it; the layer is larger than what sockets hold."""
    monkeypatch.setattr("imgd_server.registry._push._CHUNK", 1 << 30)
    image = make_image([noise(16 << 20)], layer_type=PLAIN)
    body = b'{"errors": [{"code": "SIZE_INVALID_HERE", "message": "too large"}]}'
    registry.early_answers["PUT"] = Answer(413, {"Content-Type": "application/json"}, body)
    name = f"{registry.host}/team/app:1"
    if kind == "push":
        await pusher.store(image, name)
        failure = await pusher.fail(push_spec(name))
    else:
        with HostileRegistry() as source:
            read = source.add("from/app", image, "1")
            failure = await pusher.fail(copy_spec(read, name))
    assert (failure.reason, failure.origin) == (Reason.REGISTRY_PROTOCOL, Origin.DESTINATION)
    assert (failure.http_status, failure.registry_code) == (413, "SIZE_INVALID_HERE")


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_an_upload_that_moves_is_followed(
    pusher: Pusher, registry: TakingRegistry, method: str
) -> None:
    """With its body: that is not lost on the way."""
    image = IMAGE if method == "PATCH" else make_image([noise(90_000)], layer_type=PLAIN)
    place = registry.url
    registry.refuse(
        f"{method} .*/blobs/uploads/1", 307, Location=f"{place}/v2/team/app/blobs/uploads/1"
    )
    await pusher.push(await stored(pusher, registry, image))
    assert registry.holds("team/app", image, "1")


# --- copies


def names(source: HostileRegistry, registry: TakingRegistry, image: FakeImage) -> tuple[str, str]:
    return source.add("from/app", image, "1"), f"{registry.host}/team/app:1"


@pytest.mark.parametrize("after", [1000, 250_000])
async def test_a_source_that_breaks_is_asked_on(
    pusher: Pusher, registry: TakingRegistry, after: int
) -> None:
    with HostileRegistry() as source:
        source.on(f"GET .*/blobs/{LAYER}", reset(after), times=2)
        await pusher.copy(*names(source, registry, IMAGE))
        assert registry.holds("team/app", IMAGE, "1")
    assert not [*pusher.content.blobs()], "a copy stores nothing"
    assert not [*pusher.content.partials()]


async def test_a_copy_that_is_cut_at_the_destination_goes_on(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    with HostileRegistry() as source:
        registry.cut("PATCH", 77_777, times=2)
        await pusher.copy(*names(source, registry, IMAGE))
        assert registry.holds("team/app", IMAGE, "1")
        assert registry.received == sum(map(len, IMAGE.blobs.values()))


async def test_wrong_bytes_of_the_source_never_arrive(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    wrong = bytearray(IMAGE.blobs[LAYER])
    wrong[333] ^= 1
    with HostileRegistry() as source:
        read, written = names(source, registry, IMAGE)
        source._blobs[LAYER] = bytes(wrong)
        failure = await pusher.fail(copy_spec(read, written))
    assert (failure.reason, failure.origin) == (Reason.DIGEST_MISMATCH, Origin.SOURCE)
    assert failure.digest == LAYER
    assert failure.reference == read
    # The last byte is not handed on, so that no registry could take it.
    assert not registry.matching(f"PUT .*{LAYER.replace(':', '%3A')}")
    assert ("team/app", digest_of(bytes(wrong))) not in registry.linked


@pytest.mark.parametrize("side", ["source", "destination"])
async def test_each_side_has_its_own_credentials_and_faults(
    pusher: Pusher, registry: TakingRegistry, side: str
) -> None:
    bob = Credentials("bob", "wrong")
    with HostileRegistry() as source:
        source.require_basic("alice", "open sesame")
        registry.require_basic("carol", "swordfish")
        read, written = names(source, registry, IMAGE)
        carol = Credentials("carol", "swordfish")
        right = (ALICE, carol)
        wrong = (bob, carol) if side == "source" else (ALICE, bob)
        failure = await pusher.fail(copy_spec(read, written, credentials=wrong))
        assert failure.reason is Reason.REGISTRY_UNAUTHORIZED
        assert failure.origin is (Origin.SOURCE if side == "source" else Origin.DESTINATION)
        assert failure.host == (source.host if side == "source" else registry.host)
        assert failure.reference == (read if side == "source" else written)
        await pusher.copy(read, written, credentials=right)
        assert registry.holds("team/app", IMAGE, "1")


async def test_a_copy_within_a_registry_mounts(pusher: Pusher, registry: TakingRegistry) -> None:
    read = registry.add("from/app", IMAGE, "1")
    uid = await pusher.start(copy_spec(read, f"{registry.host}/team/app:2"))
    state, outcome, nodes = await pusher.end(uid)
    assert state is TransferState.SUCCEEDED, outcome.failure
    assert registry.holds("team/app", IMAGE, "2")
    assert registry.received == 0
    assert {nodes[digest].state for digest in IMAGE.blobs} == {NodeState.MOUNTED}


@pytest.mark.parametrize("lists", [True, False])
async def test_referrers_come_along_and_are_listed(pusher: Pusher, lists: bool) -> None:
    signature, attached = referrers_of(IMAGE)
    with TakingRegistry(referrers=True) as source, TakingRegistry(referrers=lists) as registry:
        read, written = names(source, registry, IMAGE)
        source.add("from/app", signature)
        source.add("from/app", attached)
        await pusher.copy(read, written, include_referrers=True)
        assert registry.holds("team/app", IMAGE, "1")
        assert registry.holds("team/app", signature)
        assert registry.holds("team/app", attached)
        # The name comes last of all.
        assert registry.order[-1] == "1"
        tag = IMAGE.digest.replace(":", "-")
        listed = registry.tagged("team/app", tag)
        assert (listed is None) == lists
        if listed:
            assert signature.digest.encode() in listed
            assert b"application/vnd.test.signature" in listed
        # Again: nothing is listed twice.
        await pusher.copy(read, written, include_referrers=True)
        again = registry.tagged("team/app", tag)
        assert again == listed


def referrers_of(image: FakeImage) -> tuple[FakeImage, FakeImage]:
    """A signature of an image, and something that refers to the signature."""
    first = _referrer(image, "application/vnd.test.signature")
    return first, _referrer(first, "application/vnd.test.note")


def _referrer(subject: FakeImage, kind: str) -> FakeImage:
    blob, config = kind.encode(), b"{}"
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": kind,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": digest_of(config),
            "size": len(config),
        },
        "layers": [
            {"mediaType": "text/plain", "digest": digest_of(blob), "size": len(blob)},
        ],
        "subject": {
            "mediaType": subject.media_type,
            "digest": subject.digest,
            "size": len(subject.raw),
        },
    }
    return make_document(document, blobs={digest_of(blob): blob, digest_of(config): config})


async def test_a_source_that_refuses_in_the_middle(
    pusher: Pusher, registry: TakingRegistry
) -> None:
    with HostileRegistry() as source:
        read, written = names(source, registry, IMAGE)
        source.on(f"GET .*/blobs/{LAYER}", refuse(403, "DENIED"))
        failure = await pusher.fail(copy_spec(read, written))
    assert (failure.reason, failure.origin) == (Reason.REGISTRY_DENIED, Origin.SOURCE)
    assert registry.tagged("team/app", "1") is None
