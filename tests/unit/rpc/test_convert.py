from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd.v1 import descriptor_pb2, image_pb2, transfer_pb2
from imgd_server.errors import Error, Kind, Origin, Reason
from imgd_server.images import Details, Holds
from imgd_server.metadata import ImageRecord, Name, PlatformRecord, TransferRecord
from imgd_server.oci import Descriptor, Digest, Platform, Reference, media
from imgd_server.rpc import _convert
from imgd_server.rpc._limits import MAX_ANSWER_BYTES
from imgd_server.transfer import (
    Activity,
    ActivityKind,
    LeaseRequest,
    Node,
    NodeKind,
    NodeState,
    Outcome,
    Progress,
    PullPolicy,
    PullResult,
    RegistryEndpoint,
    Retry,
    StoreEndpoint,
    TransferSpec,
    TransferState,
    TransferView,
    WatchEvent,
    WatchEventKind,
)

DIGEST = Digest("sha256:" + "0a" * 32)
TARGET = Descriptor(media.OCI_MANIFEST, DIGEST, 1234)
MIB = 1 << 20


# --- times


@given(st.integers(-(10**15), 10**16))
def test_times_keep_their_microseconds(moment: int) -> None:
    found = _convert.timestamp(moment)
    assert 0 <= found.nanos < 1_000_000_000
    assert found.ToMicroseconds() == moment


def test_a_datetime_before_the_epoch() -> None:
    moment = datetime.datetime(1969, 12, 31, 23, 59, 58, 500_000, tzinfo=datetime.UTC)
    found = _convert.timestamp_of(moment)
    assert (found.seconds, found.nanos) == (-2, 500_000_000)


@pytest.mark.parametrize(
    ("seconds", "parts"),
    [(0.1, (0, 100_000_000)), (1e-6, (0, 1000)), (0.9999999, (1, 0)), (86400, (86400, 0))],
)
def test_durations(seconds: float, parts: tuple[int, int]) -> None:
    found = _convert.duration(seconds)
    assert (found.seconds, found.nanos) == parts


# --- descriptors, platforms, references


def test_a_descriptor_in_full_and_in_brief() -> None:
    value = Descriptor(
        media.OCI_MANIFEST,
        DIGEST,
        7,
        urls=("https://x/y",),
        annotations={"a": "b"},
        data=b"secret",
        artifact_type="text/x",
        platform=Platform("linux", "arm", "v7", "1.2", ("f",)),
    )
    full, brief = _convert.descriptor(value), _convert.descriptor(value, brief=True)
    assert (list(full.urls), dict(full.annotations)) == (["https://x/y"], {"a": "b"})
    assert not brief.urls
    assert not brief.annotations
    assert not full.HasField("data")
    for found in (full, brief):
        assert (found.digest, found.size, found.artifact_type) == (DIGEST, 7, "text/x")
        platform = found.platform
        assert (platform.os, platform.architecture, platform.variant) == ("linux", "arm", "v7")
        assert (platform.os_version, list(platform.os_features)) == ("1.2", ["f"])
    assert not _convert.descriptor(TARGET).HasField("platform")


def test_a_strangers_words_are_bounded() -> None:
    long = "x" * MIB
    value = Descriptor(long, DIGEST, 7, artifact_type=long, platform=Platform(long, long, long))
    assert _convert.descriptor(value, brief=True).ByteSize() < 2000
    platform = Platform("linux", "amd64", "", long, (long,) * 1000)
    assert _convert.platform(platform).ByteSize() < 5000


@pytest.mark.parametrize(
    ("text", "own", "kind"),
    [
        ("redis:7", [], "OFFICIAL"),
        ("bitnami/redis", [], "COMMUNITY"),
        ("ghcr.io/a/b", [], "THIRD_PARTY"),
        ("ghcr.io/a/b", ["ghcr.io"], "LOCAL"),
        (f"127.0.0.1:5000/a@{DIGEST}", [], "LOCAL"),
    ],
)
def test_references(text: str, own: list[str], kind: str) -> None:
    parsed = Reference.parse(text)
    found = _convert.reference(parsed, own)
    assert image_pb2.ReferenceClass.Name(found.reference_class) == f"REFERENCE_CLASS_{kind}"
    assert (found.full, found.familiar) == (str(parsed), parsed.familiar())
    assert (found.domain, found.path) == (parsed.domain, parsed.path)
    assert (found.tag, found.digest) == (parsed.tag or "", parsed.digest or "")


# --- failures


def test_a_failure_says_all_that_is_known() -> None:
    error = Error(
        Reason.REGISTRY_DENIED,
        "denied",
        origin=Origin.SOURCE,
        reference="r",
        digest="d",
        host="h",
        http_status=403,
        registry_code="DENIED",
        retry_after=2.5,
        metadata={"a": "b"},
    )
    found = _convert.failure(error)
    assert found.code == Kind.PERMISSION_DENIED.value
    assert (found.message, found.reference, found.digest) == ("denied", "r", "d")
    assert (found.host, found.http_status, found.registry_code) == ("h", 403, "DENIED")
    assert (found.origin, found.reason) == (1, 83)
    assert (found.retry_delay.seconds, found.retry_delay.nanos) == (2, 500_000_000)
    assert dict(found.metadata) == {"a": "b"}
    assert not _convert.failure(Error(Reason.CANCELLED, "x")).HasField("retry_delay")


def test_a_failure_is_never_long() -> None:
    long = "x" * MIB
    error = Error(
        Reason.REGISTRY_DENIED, long, reference=long, digest=long, host=long, registry_code=long
    )
    assert _convert.failure(error).ByteSize() < 8000


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_a_failure(reason: Reason) -> None:
    found = _convert.failure(Error(reason, "x" * MIB + "\ud800", metadata={"a": "\udc80" * MIB}))
    assert (found.code, found.reason) == (reason.kind.value, reason.number)
    assert found.ByteSize() < 4096


# --- images


def record(**changes: Any) -> ImageRecord:
    facts: dict[str, Any] = {
        "uid": "A" * 26,
        "target": TARGET,
        "image_id": "sha256:" + "bb" * 32,
        "kind": "image",
        "artifact_type": "",
        "created": None,
        "stored": 1_700_000_000_000_000,
        "last_used": None,
        "content_size": 1000,
        "unpacked_size": None,
        "pinned": False,
        "complete": False,
        "platform": "",
    }
    return ImageRecord(**{**facts, **changes})


def details(*platforms: PlatformRecord, **holds: Any) -> Details:
    facts: dict[str, Any] = {"running": (), "idle": (), "leases": (), "pinned": False}
    return Details(platforms, Holds(**{**facts, **holds}), shared_size=0, unique_size=1000)


def test_what_an_image_does_not_have_is_absent() -> None:
    found = _convert.image(record(), details())
    for field in ("create_time", "unpacked_size", "platform", "last_use_time"):
        assert not found.HasField(field), field
    assert found.dangling
    assert found.size == 1000
    assert not found.truncated
    assert found.name == f"images/{'A' * 26}"
    assert found.kind == image_pb2.IMAGE_KIND_IMAGE


def image_record() -> ImageRecord:
    return record(
        kind="artifact",
        artifact_type="text/x",
        created=0,
        last_used=5,
        unpacked_size=0,
        pinned=True,
        complete=True,
        platform="linux/arm/v7",
        labels={"a": "b"},
        names=(Name("h.io/a:1", "h.io/a"), Name(f"h.io/a@{DIGEST}", "h.io/a", by_digest=True)),
        repo_digests=(f"h.io/a@{DIGEST}",),
    )


def test_what_an_image_has_is_there_even_when_it_is_zero() -> None:
    platforms = [
        PlatformRecord("linux/arm/v7", TARGET, "sha256:cc", True, 12),
        PlatformRecord("", TARGET, "", False, 0),
    ]
    found = _convert.image(image_record(), details(*platforms))
    assert (list(found.tags), list(found.digest_references)) == (["h.io/a:1"], [f"h.io/a@{DIGEST}"])
    assert list(found.repo_digests) == [f"h.io/a@{DIGEST}"]
    assert not found.dangling
    assert found.HasField("create_time")
    assert found.create_time.seconds == 0
    assert found.HasField("unpacked_size")
    assert (found.size, found.content_size) == (0, 1000)
    assert (found.pinned, found.complete) == (True, True)
    assert (found.kind, found.artifact_type) == (image_pb2.IMAGE_KIND_ARTIFACT, "text/x")
    assert found.platform.variant == "v7"
    assert dict(found.labels) == {"a": "b"}
    assert found.last_use_time.nanos == 5000
    first, second = found.platforms
    assert (first.platform.os, first.image_id, first.complete, first.content_size) == (
        "linux",
        "sha256:cc",
        True,
        12,
    )
    assert not second.HasField("platform")


def test_the_basic_view_leaves_out_what_is_costly() -> None:
    found = _convert.image(image_record())
    assert not found.platforms
    assert not found.labels
    for field in ("last_use_time", "shared_size", "unique_size"):
        assert not found.HasField(field), field


def test_holders_are_named_up_to_a_hundred_and_counted() -> None:
    few = _convert.image(
        record(pinned=True), details(running=("a",), idle=("b",), leases=("l",), pinned=True)
    )
    assert [one.name for one in few.holders] == ["containers/a", "containers/b", "leases/l", ""]
    kinds = [image_pb2.ImageHolder.Kind.Name(one.kind) for one in few.holders]
    assert kinds == ["KIND_CONTAINER", "KIND_CONTAINER", "KIND_LEASE", "KIND_PIN"]
    assert (few.holder_count, few.container_count) == (4, 2)
    assert (few.shared_size, few.unique_size) == (0, 1000)
    many = _convert.image(record(), details(idle=tuple(f"c{n}" for n in range(150))))
    assert (len(many.holders), many.holder_count) == (100, 150)


def test_an_image_with_too_many_names_is_cut_and_says_so() -> None:
    names = tuple(Name(f"h.io/a:{number:0100d}", "h.io/a") for number in range(20_000))
    found = _convert.image(record(names=names, labels={"a": "b"}), details())
    assert found.truncated
    assert not found.dangling
    assert 7000 < len(found.tags) < 20_000
    assert list(found.tags) == [name.name for name in names[: len(found.tags)]]
    assert found.ByteSize() < MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"a": "b", "c": "d" * 2 * MIB}},
        {"labels": {f"{number}": "x" * 100 for number in range(20_000)}},
        {"repo_digests": tuple(f"h.io/{number:0200d}@{DIGEST}" for number in range(5000))},
        {"artifact_type": "x" * MIB},
        {"platform": "x" * MIB},
    ],
)
def test_no_image_is_larger_than_an_answer(changes: dict[str, Any]) -> None:
    platforms = [PlatformRecord("x" * MIB, TARGET, "", False, 0)] * 3000
    holders = tuple(f"{'c' * 120}{number}" for number in range(200))
    found = _convert.image(record(**changes), details(*platforms, idle=holders))
    assert found.ByteSize() <= MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("linux/x86_64", ("linux", "amd64", "")),
        ("linux/arm64/v8", ("linux", "arm64", "")),
        ("li nux/amd64", ("li nux", "amd64", "")),
        ("a/b/c/d", ("a", "b", "c/d")),
        ("???", ("???", "", "")),
        ("/", ("", "", "")),
    ],
)
def test_a_platform_that_is_none_does_not_break_an_answer(
    text: str, parts: tuple[str, str, str]
) -> None:
    found = _convert.image(record(platform=text)).platform
    assert (found.os, found.architecture, found.variant) == parts


# --- transfers


def transfer_record(spec: TransferSpec, **changes: Any) -> TransferRecord:
    facts: dict[str, Any] = {
        "uid": "T" * 26,
        "request_id": "r",
        "spec": spec.to_json(),
        "state": "RUNNING",
        "attempt": 2,
        "created": 1,
    }
    return TransferRecord(**{**facts, **changes})


PLAIN = TransferSpec(RegistryEndpoint("h.io/a:1"), StoreEndpoint())


def test_a_transfer_that_has_just_been_asked_for() -> None:
    found = _convert.transfer(transfer_record(PLAIN, state="PENDING"))
    assert found.name == f"transfers/{'T' * 26}"
    assert found.source.registry.reference == "h.io/a:1"
    assert found.destination.WhichOneof("destination") == "store"
    assert found.destination.store.policy == transfer_pb2.PULL_POLICY_ALWAYS
    assert (found.state, found.attempt) == (transfer_pb2.TRANSFER_STATE_PENDING, 2)
    for field in ("start_time", "end_time", "expire_time", "outcome"):
        assert not found.HasField(field), field
    assert not found.destination.store.HasField("lease")
    assert not found.source.registry.HasField("credentials")


@pytest.mark.parametrize("state", TransferState)
@pytest.mark.parametrize("policy", PullPolicy)
def test_a_transfer_that_ended(state: TransferState, policy: PullPolicy) -> None:
    spec = TransferSpec(
        RegistryEndpoint("h.io/a:1"),
        StoreEndpoint(("h.io/b:1",), policy, LeaseRequest("l", 90.5)),
        platforms=("linux/amd64",),
        max_concurrency=3,
        max_bytes_per_second=4096,
    )
    outcome = Outcome(
        pull_result=PullResult.UPDATED,
        target=TARGET,
        image="I",
        image_id="sha256:dd",
        references=("h.io/b:1",),
        fetched_bytes=5,
        reused_bytes=6,
        lease="l",
        warnings=("careful",),
        failure=Error(Reason.DISK_FULL, "full"),
    )
    found = _convert.transfer(
        transfer_record(
            spec, state=state.name, started=2, ended=3, expires=4, outcome=outcome.to_json()
        )
    )
    assert transfer_pb2.TransferState.Name(found.state) == f"TRANSFER_STATE_{state.name}"
    store = found.destination.store
    assert transfer_pb2.PullPolicy.Name(store.policy) == f"PULL_POLICY_{policy.name}"
    assert list(store.tags) == ["h.io/b:1"]
    assert (store.lease.lease_id, store.lease.ttl.seconds, store.lease.ttl.nanos) == (
        "l",
        90,
        500_000_000,
    )
    assert list(found.platforms.platforms) == ["linux/amd64"]
    assert found.limits == transfer_pb2.TransferLimits(max_concurrency=3, max_bytes_per_second=4096)
    assert [found.start_time.nanos, found.end_time.nanos, found.expire_time.nanos] == [
        2000,
        3000,
        4000,
    ]
    result = found.outcome
    assert result.pull_result == transfer_pb2.PULL_RESULT_UPDATED
    assert (result.image, result.image_id, result.lease) == ("images/I", "sha256:dd", "leases/l")
    assert (result.fetched_bytes, result.reused_bytes) == (5, 6)
    assert (list(result.references), list(result.warnings)) == (["h.io/b:1"], ["careful"])
    assert result.target.digest == DIGEST
    assert result.failure.reason == Reason.DISK_FULL.number


def test_an_outcome_that_knows_nothing() -> None:
    found = _convert.transfer(transfer_record(PLAIN, outcome=Outcome().to_json())).outcome
    assert not found.HasField("target")
    assert not found.HasField("failure")
    assert (found.image, found.lease) == ("", "")


# --- events


def events_of(
    kind: Any, *nodes: Node, state: str = "RUNNING", leader: str = "", followers: int = 0
) -> transfer_pb2.TransferEvent:
    progress = Progress(1 << 32, nodes)
    view = TransferView(transfer_record(PLAIN, state=state), progress, leader, followers)
    return _convert.transfer_event(WatchEvent(kind, 77, view, list(progress.nodes.values())))


FAILURE = Error(Reason.REGISTRY_UNAVAILABLE, "HTTP 503", http_status=503)


@pytest.mark.parametrize("state", NodeState)
@pytest.mark.parametrize("kind", NodeKind)
def test_a_node_in_every_state(state: NodeState, kind: NodeKind) -> None:
    node = Node(
        "n",
        kind,
        TARGET,
        parent_id="p",
        layer_index=0 if kind is NodeKind.LAYER else None,
        label="linux/amd64",
        state=state,
        activities=[
            Activity(ActivityKind.RESOLVE, started=1, ended=2),
            Activity(ActivityKind.DOWNLOAD, started=3, total=0, current=4, resumed=5),
        ],
        host="h.io",
        retry=Retry(2, 9, FAILURE),
        failure=FAILURE if state is NodeState.FAILED else None,
    )
    (found,) = events_of(WatchEventKind.UPDATE, node).update.nodes
    assert transfer_pb2.NodeState.Name(found.state) == f"NODE_STATE_{state.name}"
    assert transfer_pb2.NodeKind.Name(found.kind) == f"NODE_KIND_{kind.name}"
    assert (found.node_id, found.parent_id, found.host, found.label) == (
        "n",
        "p",
        "h.io",
        "linux/amd64",
    )
    assert found.HasField("layer_index") == (kind is NodeKind.LAYER)
    assert found.HasField("retry") == (state is NodeState.RETRYING)
    assert found.HasField("failure") == (state is NodeState.FAILED)
    assert found.blob == descriptor_pb2.Descriptor(
        media_type=media.OCI_MANIFEST, digest=DIGEST, size=1234
    )
    resolve, download = found.activities
    assert not resolve.HasField("total_bytes")
    assert resolve.end_time.nanos == 2000
    assert download.HasField("total_bytes")
    assert not download.HasField("end_time")
    assert (download.current_bytes, download.resumed_bytes) == (4, 5)
    if state is NodeState.RETRYING:
        assert (found.retry.attempt, found.retry.next_time.nanos) == (2, 9000)
        assert found.retry.failure.http_status == 503


@pytest.mark.parametrize("kind", ActivityKind)
def test_every_activity(kind: ActivityKind) -> None:
    node = Node("n", NodeKind.LAYER, None, activities=[Activity(kind, 1)])
    (found,) = events_of(WatchEventKind.UPDATE, node).update.nodes
    assert transfer_pb2.ActivityKind.Name(found.activities[0].kind) == f"ACTIVITY_KIND_{kind.name}"
    assert not found.HasField("blob")


def test_every_kind_of_event() -> None:
    node = Node("n", NodeKind.CONFIG, TARGET)
    snapshot = events_of(WatchEventKind.SNAPSHOT, node)
    assert snapshot.WhichOneof("event") == "snapshot"
    assert snapshot.snapshot.transfer.source.registry.reference == "h.io/a:1"
    assert len(snapshot.snapshot.nodes) == 1
    update = events_of(WatchEventKind.UPDATE, node, state="PENDING")
    assert update.WhichOneof("event") == "update"
    assert update.update.state == transfer_pb2.TRANSFER_STATE_PENDING
    heartbeat = events_of(WatchEventKind.HEARTBEAT, node)
    assert heartbeat.WhichOneof("event") == "heartbeat"
    finished = events_of(WatchEventKind.FINISHED, node, state="SUCCEEDED")
    assert finished.WhichOneof("event") == "finished"
    assert finished.finished.transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
    assert finished.finished.progress.total_nodes == 1
    for event in (snapshot, update, heartbeat, finished):
        assert event.sequence == 77
        assert event.event_time.seconds > 1_600_000_000


def test_a_leader_and_a_follower() -> None:
    leads = events_of(WatchEventKind.UPDATE, followers=2).update.progress
    assert (leads.role, leads.leader, leads.follower_count) == (
        transfer_pb2.TRANSFER_ROLE_LEADER,
        "",
        2,
    )
    follows = events_of(WatchEventKind.UPDATE, leader="L").update.progress
    assert (follows.role, follows.leader) == (
        transfer_pb2.TRANSFER_ROLE_FOLLOWER,
        "transfers/L",
    )


def test_what_is_not_known_of_the_whole_is_absent() -> None:
    progress = events_of(WatchEventKind.UPDATE, Node("n", NodeKind.LAYER, TARGET)).update.progress
    assert not progress.HasField("total_bytes")
    assert not progress.HasField("estimated_remaining")
    assert (progress.done_nodes, progress.total_nodes) == (0, 1)
