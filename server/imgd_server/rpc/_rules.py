"""The field rules that the proto comments state, enforced before any handler runs.

A rule is a line of this table, so that every method that takes such a field refuses the same way:
BadRequest names the field, and the reason says what kind of rule it broke.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from imgd_server.errors import FieldError, Reason
from imgd_server.oci import Digest, FormatError, Platform, Reference
from imgd_server.transfer import MAX_CONCURRENT_BLOBS, MAX_RATE, MIN_RATE

__all__ = ["check_rules"]

MAX_IMAGE_TEXT = 4096
MAX_PLATFORMS = 64
MAX_REQUEST_ID = 128
# Holds a path, in the lists of files.
MAX_PAGE_TOKEN = 8192
MAX_FILTERS = 100
MAX_TAGS = 100
# What one request may name of images, digests and the like.
MAX_NAMED = 1000
# No other string of a request is longer: what names a thing, or a person writes.
MAX_TEXT = 65_536
# Nor is a list: looking at each entry must not hold up other calls.
MAX_ENTRIES = 10_000
MAX_LABELS = 65_536
# They go into URLs. Media types have at most 255 characters (RFC 6838, 4.2), tags 128.
MAX_MEDIA_TYPE = 255
MAX_PATTERN = 1024
MAX_QUERY = 1024
# Docker's own bound for the layers of an image.
MAX_LAYERS = 125
# A chunk of a stream: a message stays below 1 MiB with its framing.
MAX_CHUNK = 1 << 20
_DAY = 24 * 3600

_LEASE_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII)
_CONTAINER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", re.ASCII)

Check = Callable[[str, Any], None]


def _refuse(field: str, message: str, reason: Reason = Reason.FIELD_INVALID) -> FieldError:
    return FieldError(field, f"{field}: {message}", reason=reason)


def _required(field: str, value: Any) -> None:
    if not value:
        raise _refuse(field, "is required")


def _at_most(length: int) -> Check:
    def check(field: str, value: Any) -> None:
        if len(value) > length:
            unit = "characters" if isinstance(value, str) else "entries"
            unit = "bytes" if isinstance(value, bytes) else unit
            raise _refuse(field, f"has more than {length} {unit}")

    return check


def _not_negative(field: str, value: Any) -> None:
    if value < 0:
        raise _refuse(field, "must not be negative")


def _concurrency(field: str, value: Any) -> None:
    if not 0 <= value <= MAX_CONCURRENT_BLOBS:
        raise _refuse(field, f"is from 1 to {MAX_CONCURRENT_BLOBS}, or 0 for the daemon's setting")


def _rate(field: str, value: Any) -> None:
    if value and not MIN_RATE <= value <= MAX_RATE:
        raise _refuse(field, f"is {MIN_RATE} to {MAX_RATE} bytes a second, or 0 for no bound")


def _each(check: Check) -> Check:
    """The check of a string, for every string of a list too."""

    def check_all(field: str, value: Any) -> None:
        if isinstance(value, str):
            check(field, value)
        else:
            for position, text in enumerate(value):
                check(f"{field}[{position}]", text)

    return check_all


def _parsed(parse: Callable[[str], object]) -> Check:
    def check(field: str, text: str) -> None:
        try:
            if text:
                parse(text)
        except FormatError as error:
            raise _refuse(field, str(error), Reason[error.reason]) from error

    return _each(check)


def _new_name(text: str) -> None:
    if Reference.parse(text).digest:
        raise FormatError("REFERENCE_INVALID", "a name to give has no digest", text)


def _host(text: str) -> None:
    # The older name of Docker Hub is normalised to the other.
    if Reference.parse(f"{text}/x").domain not in (text, text.removeprefix("index.")):
        raise FormatError("REFERENCE_INVALID", "a registry is HOST[:PORT]", text)


def _matching(pattern: re.Pattern[str], rule: str) -> Check:
    def check(field: str, value: str) -> None:
        if value and not pattern.fullmatch(value):
            raise _refuse(field, rule)

    return check


def _resource(collection: str) -> Check:
    pattern = re.compile(rf"{collection}/[A-Za-z0-9_.-]{{1,128}}", re.ASCII)
    return _matching(pattern, f"is not a name of the form {collection}/…")


def _duration(most: int) -> Check:
    def check(field: str, value: Any) -> None:
        if not (
            0 <= value.nanos < 1_000_000_000 and 0 <= value.seconds + value.nanos / 1e9 <= most
        ):
            raise _refuse(field, f"must be from 0 to {most // _DAY} days")

    return check


def _at_least_a_second(field: str, value: Any) -> None:
    if value.seconds < 1:
        raise _refuse(field, "must be at least a second")


def _labels(field: str, value: Any) -> None:
    if sum(len(key.encode()) + len(text.encode()) for key, text in value.items()) > MAX_LABELS:
        raise _refuse(field, f"has more than {MAX_LABELS} bytes in all")


_reference = _parsed(Reference.parse)
_registry = _parsed(_host)
_tag = _parsed(_new_name)
_digest = _parsed(Digest.parse)
_platform = _parsed(Platform.parse)
_image = _each(_at_most(MAX_IMAGE_TEXT))
_absolute = _matching(re.compile(r"/[^\0]*", re.ASCII | re.DOTALL), "must be an absolute path")

# By the field's name, wherever it stands: the same name means the same thing in every message.
_COMMON: dict[str, tuple[Check, ...]] = {
    "after_cursor": (_not_negative,),
    "after_sequence": (_not_negative,),
    "data": (_at_most(MAX_CHUNK),),
    "digest": (_digest,),
    "digests": (_at_most(MAX_NAMED), _digest),
    "expected_digest": (_digest,),
    "filters": (_at_most(MAX_FILTERS), _each(_at_most(MAX_IMAGE_TEXT))),
    "image": (_image,),
    "images": (_at_most(MAX_NAMED), _image),
    "lease_id": (
        _matching(_LEASE_ID, "is lower-case letters, digits, _ . -, starts so, at most 63"),
    ),
    "limit": (_not_negative,),
    "min_interval": (_duration(30 * _DAY),),
    "offset": (_not_negative,),
    "page_size": (_not_negative,),
    "page_token": (_at_most(MAX_PAGE_TOKEN),),
    "platform": (_platform,),
    "reference": (_image, _reference),
    "request_id": (_at_most(MAX_REQUEST_ID),),
    "tag": (_tag,),
    "tags": (_at_most(MAX_TAGS), _tag),
    "total_size": (_not_negative,),
    "ttl": (_duration(30 * _DAY),),
    "upload": (_resource("uploads"),),
}

_Rules = dict[str, tuple[Check, ...]]


def _all(messages: str, rules: _Rules) -> dict[str, _Rules]:
    """The same rules for several messages, whose names end in `Request`."""
    return dict.fromkeys((f"{name}Request" for name in messages.split()), rules)


# By message, for what a name alone does not say. A oneof's name stands for its arms.
_BY_MESSAGE: dict[str, _Rules] = {
    **_all(
        "GetImage InspectImage GetImageHistory RemoveImage PinImage UnpinImage Push "
        "CreateContainer ListLayers ListLayerChanges",
        {"image": (_required,)},
    ),
    **_all(
        "WatchTransfer GetTransfer CancelTransfer ResumeTransfer DeleteTransfer",
        {"name": (_required, _resource("transfers"))},
    ),
    **_all(
        "GetContainer StartContainer PauseContainer StopContainer HeartbeatContainer "
        "RemoveContainer DiffContainer CommitContainer",
        {"name": (_required, _resource("containers"))},
    ),
    **_all("GetLease RenewLease DeleteLease", {"name": (_required, _resource("leases"))}),
    **_all("GetUpload AbortUpload", {"name": (_required, _resource("uploads"))}),
    **_all("GetBlob ReadBlob", {"digest": (_required,)}),
    **_all(
        "Pull UntagImage ResolveReference GetRemoteManifest",
        {"reference": (_required,)},
    ),
    "MountImageRequest": {"image": (_required,), "target_path": (_absolute,)},
    **_all("ListFiles", {"tree": (_required,)}),
    **_all("GetFile ReadFile", {"tree": (_required,), "path": (_absolute,)}),
    "AppendImageRequest": {"base": (_image,), "layers": (_at_most(MAX_LAYERS), _digest)},
    "CheckCredentialsRequest": {
        "registry": (_required, _image, _registry),
        "credentials": (_required,),
    },
    "CreateContainerRequest": {
        "image": (_required,),
        "labels": (_labels,),
        "heartbeat_interval": (_at_least_a_second, _duration(30 * _DAY)),
        "container_id": (
            _matching(_CONTAINER_ID, "is letters, digits, _ . -, starts so, at most 128"),
        ),
    },
    "CreateLeaseRequest": {"labels": (_labels,)},
    "ListContainersRequest": {"labels": (_at_most(MAX_FILTERS),)},
    "ExportContainerRequest": {"container": (_required, _resource("containers"))},
    "LayoutEndpoint": {"path": (_required, _absolute)},
    "ListRateBudgetsRequest": {"registry": (_image, _registry)},
    "ListReferrersRequest": {
        "reference": (_required,),
        "artifact_type": (_at_most(MAX_MEDIA_TYPE),),
    },
    "ListRepositoriesRequest": {"registry": (_required, _image, _registry)},
    "ListTagsRequest": {
        "repository": (_required, _image, _reference),
        "pattern": (_at_most(MAX_PATTERN),),
    },
    "ParseReferenceRequest": {"text": (_required, _image, _reference)},
    "PlatformSelection": {"platforms": (_at_most(MAX_PLATFORMS), _platform)},
    "RegistryEndpoint": {"reference": (_required,)},
    "SaveImagesRequest": {"images": (_required,)},
    "SearchRepositoriesRequest": {
        "query": (_required, _at_most(MAX_QUERY)),
        "registry": (_image, _registry),
        "min_stars": (_not_negative,),
    },
    "StartTransferRequest": {"source": (_required,), "destination": (_required,)},
    "StartUploadRequest": {"ttl": (_duration(7 * _DAY),)},
    "TagImageRequest": {"image": (_required,), "tag": (_required,)},
    "TransferDestination": {"destination": (_required,)},
    "TransferLimits": {
        "max_concurrency": (_concurrency,),
        "max_bytes_per_second": (_rate,),
    },
    "TransferSource": {"source": (_required,)},
    "TreeSelector": {"image": (_required,)},
}


def check_rules(message: Message, path: str = "") -> None:
    """Raises FieldError for the first field that breaks a rule."""
    own = _BY_MESSAGE.get(message.DESCRIPTOR.name, {})
    _check_oneofs(message, own, path)
    for field in _fields(message):
        name = f"{path}{field.name}"
        checks = (*own.get(field.name, ()), *_COMMON.get(field.name, ()))
        if _is_message(field) and not message.HasField(field.name):
            if _required in checks:
                raise _refuse(name, "is required")
            continue
        value = getattr(message, field.name)
        _check_value(field, name, value)
        for check in checks:
            if check is not _required or not _is_message(field):
                check(name, value)
        for place, child in _children(field, name, value):
            check_rules(child, f"{place}.")
    if message.DESCRIPTOR.name == "PlatformSelection":
        _all_or_some(message, path)


def _check_oneofs(message: Message, own: _Rules, path: str) -> None:
    for oneof in cast(Descriptor, message.DESCRIPTOR).oneofs:
        if _required in own.get(oneof.name, ()) and not message.WhichOneof(oneof.name):
            arms = ", ".join(field.name for field in oneof.fields)
            raise _refuse(f"{path}{oneof.name}", f"is required: set one of {arms}")


def _check_value(field: FieldDescriptor, name: str, value: Any) -> None:
    """What holds for every field of its type."""
    several = field.is_repeated
    if several:
        _at_most(MAX_ENTRIES)(name, value)
    if field.type == FieldDescriptor.TYPE_STRING:
        _each(_at_most(MAX_TEXT))(name, value)
    elif field.type == FieldDescriptor.TYPE_ENUM and field.enum_type:
        # A value that is not known would be taken for another one.
        known = field.enum_type.values_by_number
        for position, number in enumerate(value if several else (value,)):
            if number not in known:
                place = f"{name}[{position}]" if several else name
                raise _refuse(place, f"{number} is no {field.enum_type.name} that is known here")
    elif field.message_type and field.message_type.full_name == "google.protobuf.Timestamp":
        # protobuf's own range, the years 1 to 9999.
        if not (-62_135_596_800 <= value.seconds < 253_402_300_800 and 0 <= value.nanos < 10**9):
            raise _refuse(name, "is no time in the years 1 to 9999")
    elif _is_map(field):
        for key, text in value.items():
            for part in (key, text):
                if isinstance(part, str):
                    _at_most(MAX_TEXT)(f"{name}[{key[:100]!r}]", part)


def _all_or_some(message: Any, path: str) -> None:
    if message.all and message.platforms:
        raise _refuse(f"{path}all", "excludes platforms")


def _fields(message: Message) -> list[FieldDescriptor]:
    return cast(list[FieldDescriptor], list(message.DESCRIPTOR.fields))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_message(field: FieldDescriptor) -> bool:
    """Whether it is one message, which can be absent."""
    return field.message_type is not None and not field.is_repeated


def _children(field: FieldDescriptor, name: str, value: Any) -> Iterator[tuple[str, Message]]:
    if field.message_type is None or _is_map(field):
        return
    if field.is_repeated:
        for position, child in enumerate(value):
            yield f"{name}[{position}]", child
    else:
        yield name, value
