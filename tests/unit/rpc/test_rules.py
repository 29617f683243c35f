from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, duration_pb2, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from imgd.v1 import (
    archive_service_pb2,
    container_service_pb2,
    content_service_pb2,
    event_service_pb2,
    filesystem_service_pb2,
    image_pb2,
    image_service_pb2,
    lease_service_pb2,
    registry_service_pb2,
    system_service_pb2,
    transfer_pb2,
    transfer_service_pb2,
)
from imgd_server.errors import FieldError, Kind, Reason
from imgd_server.rpc import _rules
from imgd_server.rpc._rules import check_rules

ROOT = Path(__file__).resolve().parents[3]
SERVICES = [
    archive_service_pb2,
    container_service_pb2,
    content_service_pb2,
    event_service_pb2,
    filesystem_service_pb2,
    image_service_pb2,
    lease_service_pb2,
    registry_service_pb2,
    system_service_pb2,
    transfer_service_pb2,
]
# Typed loosely: their messages are made of dicts here.
containers: Any = container_service_pb2
contents: Any = content_service_pb2
files: Any = filesystem_service_pb2
images: Any = image_service_pb2
leases: Any = lease_service_pb2
parts: Any = transfer_pb2
registries: Any = registry_service_pb2
transfers: Any = transfer_service_pb2
DIGEST = "sha256:" + "0a" * 32
LONG = "a" * 100_000


def refused(message: Message) -> FieldError:
    with pytest.raises(FieldError) as caught:
        check_rules(message)
    error = caught.value
    assert error.kind is Kind.INVALID_ARGUMENT
    assert error.field in error.message
    assert len(error.message) < 1000
    return error


# --- what the comments say, read from the protos


@cache
def comments() -> dict[str, str]:
    """The leading comment of every field and oneof, by its full name."""
    built = subprocess.run(
        [str(Path(sys.executable).with_name("buf")), "build", "protos", "--output", "-"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    found: dict[str, str] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(built.stdout).file:
        texts = {tuple(one.path): one.leading_comments for one in file.source_code_info.location}
        # Field numbers in descriptor.proto: message_type, nested_type, field, oneof_decl.
        for number, message in enumerate(file.message_type):
            pending: list[tuple[tuple[int, ...], str, descriptor_pb2.DescriptorProto]]
            pending = [((4, number), file.package, message)]
            while pending:
                path, scope, one = pending.pop()
                name = f"{scope}.{one.name}"
                for position, field in enumerate(one.field):
                    found[f"{name}.{field.name}"] = texts.get((*path, 2, position), "")
                for position, oneof in enumerate(one.oneof_decl):
                    found[f"{name}.{oneof.name}"] = texts.get((*path, 8, position), "")
                pending += [
                    ((*path, 3, position), name, nested)
                    for position, nested in enumerate(one.nested_type)
                ]
    return {name: " ".join(text.split()) for name, text in found.items()}


def reachable() -> Iterator[Descriptor]:
    """Every message that a request is or holds."""
    pending: list[Descriptor] = [
        method.input_type
        for module in SERVICES
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]
    seen: set[str] = set()
    while pending:
        message = pending.pop()
        if message.full_name in seen or not message.full_name.startswith("imgd."):
            continue
        seen.add(message.full_name)
        yield message
        pending += [field.message_type for field in message.fields if field.message_type]


def said(pattern: str) -> list[tuple[Descriptor, str, re.Match[str]]]:
    """Fields and oneofs of requests whose comment matches."""
    return [
        (message, name, match)
        for message in sorted(reachable(), key=lambda one: str(one.full_name))
        for name in [*message.fields_by_name, *message.oneofs_by_name]
        if (match := re.search(pattern, comments()[f"{message.full_name}.{name}"]))
    ]


REQUIRED = said(r"\bRequired\.")
BOUNDED = said(r"\bAt most ([\d,]+)\b(?! KiB)")


def test_the_comments_are_read() -> None:
    names = {f"{message.name}.{name}" for message, name, _ in REQUIRED}
    assert {"GetImageRequest.image", "TransferSource.source", "RegistryEndpoint.reference"} <= names
    assert len(names) > 50
    assert {name for _, name, _ in BOUNDED} >= {"filters", "platforms", "request_id", "images"}


@pytest.mark.parametrize(
    ("message", "field"), [pytest.param(m, f, id=f"{m.name}.{f}") for m, f, _ in REQUIRED]
)
def test_every_field_that_is_called_required_is(message: Descriptor, field: str) -> None:
    assert _rules._required in _rules._BY_MESSAGE.get(message.name, {}).get(field, ())


def test_nothing_else_is_required() -> None:
    # A rule for a message or field that is gone, or that its comment does not state.
    required = {
        (message, field)
        for message, rules in _rules._BY_MESSAGE.items()
        for field, checks in rules.items()
        if _rules._required in checks
    }
    assert required == {(message.name, field) for message, field, _ in REQUIRED}
    known = {message.name: message for message in reachable()}
    for message, rules in _rules._BY_MESSAGE.items():
        for field in rules:
            assert field in {*known[message].fields_by_name, *known[message].oneofs_by_name}


def test_a_common_rule_is_of_a_field_that_exists() -> None:
    names = {field.name for message in reachable() for field in message.fields}
    assert set(_rules._COMMON) <= names


@pytest.mark.parametrize(
    ("message", "field", "most"),
    [
        pytest.param(m, f, int(match[1].replace(",", "")), id=f"{m.name}.{f}")
        for m, f, match in BOUNDED
    ],
)
def test_every_stated_bound_holds(message: Descriptor, field: str, most: int) -> None:
    """Sees the bound alone: other rules may refuse the same field, with other words."""
    made: Any = message_factory.GetMessageClass(message)()
    kind: FieldDescriptor = message.fields_by_name[field]
    if kind.is_repeated:
        getattr(made, field).extend(["a"] * (most + 1))
    else:
        setattr(made, field, "a" * (most + 1))
    own = _rules._BY_MESSAGE.get(message.name, {})
    checks = (*own.get(field, ()), *_rules._COMMON.get(field, ()))
    bounds = [check for check in checks if broken(check, getattr(made, field))]
    assert bounds
    if kind.is_repeated:
        getattr(made, field).pop()
    else:
        setattr(made, field, "a" * most)
    assert not [check for check in bounds if broken(check, getattr(made, field))]


def broken(check: Callable[[str, Any], None], value: Any) -> bool:
    try:
        check("field", value)
    except FieldError as error:
        return "has more than" in error.message
    return False


# --- names and paths


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (images.GetImageRequest(), "image"),
        (images.ParseReferenceRequest(), "text"),
        (contents.ReadBlobRequest(), "digest"),
        (transfers.PullRequest(), "reference"),
        (transfers.StartTransferRequest(), "source"),
        (transfers.WatchTransferRequest(), "name"),
        (
            transfers.StartTransferRequest(
                source=parts.TransferSource(),
                destination=parts.TransferDestination(),
            ),
            "source.source",
        ),
        (
            transfers.StartTransferRequest(
                source=parts.TransferSource(registry={"reference": "redis"})
            ),
            "destination",
        ),
        (
            transfers.StartTransferRequest(
                source=parts.TransferSource(registry={}),
            ),
            "source.registry.reference",
        ),
        (
            transfers.StartTransferRequest(
                source=parts.TransferSource(layout={}),
            ),
            "source.layout.path",
        ),
    ],
)
def test_what_is_missing_is_named_with_its_path(message: Message, field: str) -> None:
    error = refused(message)
    assert (error.field, error.reason) == (field, Reason.FIELD_INVALID)
    assert "is required" in error.message


def started(**more: Any) -> Message:
    made: Message = transfers.StartTransferRequest(
        source=parts.TransferSource(registry={"reference": "redis:7"}),
        destination=parts.TransferDestination(store=more.pop("store", {})),
        **more,
    )
    return made


@pytest.mark.parametrize(
    ("message", "field", "reason"),
    [
        (transfers.PullRequest(reference="RED IS"), "reference", "REFERENCE_INVALID"),
        (transfers.PullRequest(reference="redis\n"), "reference", "REFERENCE_INVALID"),
        (
            transfers.PullRequest(reference="redis@md5:00"),
            "reference",
            "DIGEST_UNSUPPORTED",
        ),
        (
            transfers.PullRequest(
                reference="redis", platforms={"platforms": ["linux/amd64", "a/b/c/d"]}
            ),
            "platforms.platforms[1]",
            "PLATFORM_INVALID",
        ),
        (
            transfers.PullRequest(
                reference="redis", platforms={"platforms": ["linux"], "all": True}
            ),
            "platforms.all",
            "FIELD_INVALID",
        ),
        *(
            (
                transfers.PullRequest(reference="redis", limits={field: value}),
                f"limits.{field}",
                "FIELD_INVALID",
            )
            for field, value in (
                ("max_concurrency", -1),
                ("max_concurrency", 65),
                ("max_bytes_per_second", -1),
                ("max_bytes_per_second", 1023),
                ("max_bytes_per_second", 2**53 + 1),
            )
        ),
        (
            transfers.PullRequest(reference="redis", lease={"lease_id": "Upper"}),
            "lease.lease_id",
            "FIELD_INVALID",
        ),
        (
            started(store={"tags": ["ok", "x:y:z"]}),
            "destination.store.tags[1]",
            "REFERENCE_INVALID",
        ),
        # A name by digest would promise other content than what arrives.
        (
            started(store={"tags": [f"x@{DIGEST}"]}),
            "destination.store.tags[0]",
            "REFERENCE_INVALID",
        ),
        (contents.GetBlobRequest(digest="sha256:AB"), "digest", "DIGEST_INVALID"),
        (contents.GetBlobRequest(digest="md5:ab"), "digest", "DIGEST_UNSUPPORTED"),
        (contents.ReadBlobRequest(digest=DIGEST, offset=-1), "offset", "FIELD_INVALID"),
        (contents.ReadBlobRequest(digest=DIGEST, limit=-1), "limit", "FIELD_INVALID"),
        (contents.StartUploadRequest(total_size=-1), "total_size", "FIELD_INVALID"),
        (contents.WriteBlobRequest(upload="leases/a"), "upload", "FIELD_INVALID"),
        (contents.WriteBlobRequest(data=b"x" * 1_048_577), "data", "FIELD_INVALID"),
        (images.ListImagesRequest(page_size=-1), "page_size", "FIELD_INVALID"),
        (
            images.InspectImageRequest(image="redis", platform="?"),
            "platform",
            "PLATFORM_INVALID",
        ),
        (
            images.ListImagesRequest(filters=["a", "b" * 4097]),
            "filters[1]",
            "FIELD_INVALID",
        ),
        (
            images.TagImageRequest(image="a", tag=f"x@{DIGEST}"),
            "tag",
            "REFERENCE_INVALID",
        ),
        (
            leases.CreateLeaseRequest(digests=[DIGEST, "x"]),
            "digests[1]",
            "DIGEST_INVALID",
        ),
        (
            leases.CreateLeaseRequest(labels={"a": "b" * 65_536}),
            "labels",
            "FIELD_INVALID",
        ),
        (transfers.GetTransferRequest(name="ABC"), "name", "FIELD_INVALID"),
        (transfers.GetTransferRequest(name="leases/a"), "name", "FIELD_INVALID"),
        (transfers.GetTransferRequest(name="transfers/"), "name", "FIELD_INVALID"),
        (transfers.GetTransferRequest(name="transfers/a\n"), "name", "FIELD_INVALID"),
        (
            transfers.WatchTransferRequest(name="transfers/A", after_sequence=-1),
            "after_sequence",
            "FIELD_INVALID",
        ),
        (containers.GetContainerRequest(name="leases/a"), "name", "FIELD_INVALID"),
        (
            containers.CreateContainerRequest(image="a", container_id="-a"),
            "container_id",
            "FIELD_INVALID",
        ),
        (
            files.GetFileRequest(tree={"image": "a"}, path="etc"),
            "path",
            "FIELD_INVALID",
        ),
    ],
)
def test_what_breaks_a_rule_is_named_with_its_path(
    message: Message, field: str, reason: str
) -> None:
    error = refused(message)
    assert (error.field, error.reason.name) == (field, reason)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (images.GetImageRequest(image=LONG), "image"),
        (images.ParseReferenceRequest(text=LONG), "text"),
        (images.ListImagesRequest(page_token=LONG), "page_token"),
        (images.ListImagesRequest(filters=[LONG]), "filters[0]"),
        (transfers.GetTransferRequest(name=f"transfers/{LONG}"), "name"),
        (transfers.PullRequest(reference=LONG), "reference"),
        (transfers.PullRequest(reference="a", request_id=LONG), "request_id"),
        (started(store={"tags": [LONG]}), "destination.store.tags[0]"),
        (contents.GetBlobRequest(digest=f"sha256:{LONG}"), "digest"),
        # No rule of their own.
        (
            transfers.PullRequest(
                reference="a", credentials={"user_password": {"user": "a", "password": LONG}}
            ),
            "credentials.user_password.password",
        ),
        (registries.SearchRepositoriesRequest(query=LONG), "query"),
        (
            images.AppendImageRequest(changes={"env": {"A": LONG}}),
            "changes.env['A']",
        ),
        (
            images.AppendImageRequest(changes={"cmd": {"words": ["a", LONG]}}),
            "changes.cmd.words[1]",
        ),
    ],
)
def test_a_hundred_thousand_characters_are_refused_and_not_repeated(
    message: Message, field: str
) -> None:
    error = refused(message)
    assert error.field == field
    assert "a" * 300 not in error.message


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (transfers.ListTransfersRequest(states=[4] * 10_001), "states"),
        (images.AppendImageRequest(changes={"on_build": [""] * 10_001}), "changes.on_build"),
        (
            images.AppendImageRequest(changes={"labels": {f"{n}": "" for n in range(10_001)}}),
            "changes.labels",
        ),
    ],
)
def test_no_list_is_longer_than_ten_thousand(message: Message, field: str) -> None:
    assert refused(message).field == field


def test_a_password_is_not_repeated() -> None:
    error = refused(
        transfers.PullRequest(
            reference="a",
            credentials={"user_password": {"user": "u", "password": "hunter2" * 10_000}},
        )
    )
    assert "hunter2" not in error.message


# --- durations and enums


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(-1, 0), (0, -1), (1, -1), (0, 1_000_000_000), (30 * 86400, 1), (2**62, 0), (-(2**62), 5)],
)
def test_durations_have_a_range(seconds: int, nanos: int) -> None:
    value = duration_pb2.Duration(seconds=seconds, nanos=nanos)
    watch = transfers.WatchTransferRequest(name="transfers/A", min_interval=value)
    assert refused(watch).field == "min_interval"
    pull = transfers.PullRequest(reference="a", lease={"ttl": value})
    assert refused(pull).field == "lease.ttl"


def test_a_lease_holds_at_most_30_days_and_an_upload_7() -> None:
    week = duration_pb2.Duration(seconds=7 * 86400)
    check_rules(contents.StartUploadRequest(ttl=week))
    check_rules(transfers.PullRequest(reference="a", lease={"ttl": {"seconds": 30 * 86400}}))
    week.nanos = 1
    assert refused(contents.StartUploadRequest(ttl=week)).field == "ttl"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (transfers.ListTransfersRequest(states=[4, 99]), "states[1]"),
        (transfers.PullRequest(reference="a", policy=99), "policy"),
        (images.ListImagesRequest(view=-1), "view"),
        (started(store={"policy": 7}), "destination.store.policy"),
    ],
)
def test_an_enum_value_that_is_not_known_is_refused(message: Message, field: str) -> None:
    assert refused(message).field == field


# --- what is right passes


@pytest.mark.parametrize(
    "message",
    [
        images.ListImagesRequest(),
        images.ListImagesRequest(
            page_size=2**31 - 1, filters=["a"] * 100, view=image_pb2.IMAGE_VIEW_FULL
        ),
        images.GetImageRequest(image="a" * 4096),
        images.InspectImageRequest(image="redis", platform="linux/x86_64"),
        images.TagImageRequest(image="a", tag="b", expected_digest=""),
        images.TagImageRequest(image="a", tag="b:1", expected_digest=DIGEST),
        transfers.GetTransferRequest(name="transfers/A1"),
        transfers.ListTransfersRequest(states=[transfer_pb2.TRANSFER_STATE_FAILED]),
        started(
            store={"tags": ["a:1", "b"], "lease": {"lease_id": "a.b-c_1"}},
            platforms={"platforms": ["linux/arm/v7"]},
            limits={},
            request_id="r" * 128,
        ),
        started(
            platforms={"all": True},
            limits={"max_concurrency": 64, "max_bytes_per_second": 2**53},
        ),
        transfers.PullRequest(reference=f"redis:7@{DIGEST}", min_interval={}),
        contents.ReadBlobRequest(digest=DIGEST, offset=2**63 - 1, limit=2**63 - 1),
        contents.WriteBlobRequest(data=b"x" * 1_048_576, finish=True),
        leases.CreateLeaseRequest(labels={"a": "b" * 65_535}),
    ],
)
def test_what_keeps_the_rules_passes(message: Message) -> None:
    check_rules(message)


TEXT = st.text(max_size=40) | st.sampled_from(["", "redis:7", DIGEST, "transfers/A", "a" * 5000])


@given(TEXT, TEXT, st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1))
def test_whatever_is_sent_is_passed_or_refused_as_a_field(
    first: str, second: str, small: int, large: int
) -> None:
    for message in (
        images.ListImagesRequest(page_token=first, filters=[second], page_size=small),
        images.InspectImageRequest(image=first, platform=second),
        transfers.WatchTransferRequest(
            name=first, after_sequence=large, min_interval={"seconds": large, "nanos": small}
        ),
        contents.ReadBlobRequest(digest=first, offset=large, limit=large),
        transfers.PullRequest(
            reference=first,
            platforms={"platforms": [second]},
            lease={"lease_id": second},
            limits={"max_concurrency": small, "max_bytes_per_second": large},
        ),
    ):
        # Anything else that is raised would reach the caller as a defect.
        with suppress(FieldError):
            check_rules(message)
