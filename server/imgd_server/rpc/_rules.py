"""The field rules that the proto comments state, enforced before any handler runs.

A rule is a line of this table, so that every method that takes such a field refuses the same way:
BadRequest names the field, and the reason says what kind of rule it broke.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from imgd_server.errors import FieldError, Reason
from imgd_server.oci import Digest, FormatError, Platform, Reference

__all__ = ["check_rules"]

MAX_IMAGE_TEXT = 4096
MAX_PLATFORMS = 64
MAX_REQUEST_ID = 128
MAX_PAGE_TOKEN = 1024
MAX_FILTERS = 100
# No other string of a request is longer: what names a thing, or a person writes.
MAX_TEXT = 65_536
MAX_TTL_SECONDS = 30 * 24 * 3600

_LEASE_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}", re.ASCII)

Check = Callable[[str, Any], None]


def _refuse(field: str, message: str, reason: Reason = Reason.FIELD_INVALID) -> FieldError:
    return FieldError(field, f"{field}: {message}", reason=reason)


def _required(field: str, value: Any) -> None:
    if not value:
        raise _refuse(field, "is required")


def _at_most(length: int) -> Check:
    def check(field: str, value: Any) -> None:
        if len(value) > length:
            raise _refuse(field, f"is longer than {length}")

    return check


def _not_negative(field: str, value: Any) -> None:
    if value < 0:
        raise _refuse(field, "must not be negative")


def _parsed(parse: Callable[[str], object]) -> Check:
    def check(field: str, value: Any) -> None:
        for position, text in enumerate([value] if isinstance(value, str) else value):
            place = field if isinstance(value, str) else f"{field}[{position}]"
            try:
                if text:
                    parse(text)
            except FormatError as error:
                raise _refuse(place, str(error), Reason[error.reason]) from error

    return check


def _resource(collection: str) -> Check:
    pattern = re.compile(rf"{collection}/[A-Za-z0-9_.-]{{1,128}}", re.ASCII)

    def check(field: str, value: Any) -> None:
        if not pattern.fullmatch(value):
            raise _refuse(field, f"is not a name of the form {collection}/…")

    return check


def _duration(field: str, value: Any) -> None:
    seconds = value.seconds + value.nanos / 1e9
    if not 0 <= seconds <= MAX_TTL_SECONDS:
        raise _refuse(field, "must be from 0 to 30 days")


def _lease_id(field: str, value: Any) -> None:
    if value and not _LEASE_ID.fullmatch(value):
        raise _refuse(field, "must be lower-case letters, digits, _ . -, at most 63, and start so")


_reference = _parsed(Reference.parse)
_digest = _parsed(Digest.parse)
_platform = _parsed(Platform.parse)

# By the field's name, wherever it stands: the same name means the same thing in every message.
_COMMON: dict[str, tuple[Check, ...]] = {
    "page_size": (_not_negative,),
    "page_token": (_at_most(MAX_PAGE_TOKEN),),
    "request_id": (_at_most(MAX_REQUEST_ID),),
    "filters": (_at_most(MAX_FILTERS),),
    "platforms": (),
    "platform": (_platform,),
    "image": (_at_most(MAX_IMAGE_TEXT),),
    "min_interval": (_duration,),
    "ttl": (_duration,),
    "lease_id": (_lease_id,),
    "offset": (_not_negative,),
    "limit": (_not_negative,),
    "after_sequence": (_not_negative,),
}

# By message, for what a name alone does not say.
_BY_MESSAGE: dict[str, dict[str, tuple[Check, ...]]] = {
    "GetImageRequest": {"image": (_required,)},
    "InspectImageRequest": {"image": (_required,)},
    "GetImageHistoryRequest": {"image": (_required,)},
    "ParseReferenceRequest": {"text": (_required, _at_most(MAX_IMAGE_TEXT), _reference)},
    "StartTransferRequest": {"source": (_required,), "destination": (_required,)},
    "WatchTransferRequest": {"name": (_required, _resource("transfers"))},
    "GetTransferRequest": {"name": (_required, _resource("transfers"))},
    "CancelTransferRequest": {"name": (_required, _resource("transfers"))},
    "ResumeTransferRequest": {"name": (_required, _resource("transfers"))},
    "DeleteTransferRequest": {"name": (_required, _resource("transfers"))},
    "PullRequest": {"reference": (_required, _at_most(MAX_IMAGE_TEXT), _reference)},
    "RegistryEndpoint": {"reference": (_required, _at_most(MAX_IMAGE_TEXT), _reference)},
    "StoreEndpoint": {"tags": (_at_most(MAX_FILTERS), _reference)},
    "PlatformSelection": {"platforms": (_at_most(MAX_PLATFORMS), _platform)},
    "TransferLimits": {
        "max_concurrency": (_not_negative,),
        "max_bytes_per_second": (_not_negative,),
    },
    "GetBlobRequest": {"digest": (_required, _digest)},
    "ReadBlobRequest": {"digest": (_required, _digest)},
}


def check_rules(message: Message, path: str = "") -> None:
    """Raises FieldError for the first field that breaks a rule."""
    own = _BY_MESSAGE.get(message.DESCRIPTOR.name, {})
    for field in _fields(message):
        name = f"{path}{field.name}"
        checks = (*own.get(field.name, ()), *_COMMON.get(field.name, ()))
        if field.message_type and not field.is_repeated and not message.HasField(field.name):
            if _required in checks:
                raise _refuse(name, "is required")
            continue
        value = getattr(message, field.name)
        for check in checks:
            if check is not _required or not field.message_type:
                check(name, value)
        for text in _texts(field, value):
            _at_most(MAX_TEXT)(name, text)
        if field.message_type:
            for position, child in enumerate(_children(field, value)):
                place = f"{name}[{position}]" if field.is_repeated else name
                check_rules(child, f"{place}.")


def _fields(message: Message) -> list[FieldDescriptor]:
    return cast(list[FieldDescriptor], list(message.DESCRIPTOR.fields))


def _texts(field: FieldDescriptor, value: Any) -> Iterator[str]:
    if field.type == FieldDescriptor.TYPE_STRING:
        yield from value if field.is_repeated else (value,)


def _children(field: FieldDescriptor, value: Any) -> Iterator[Message]:
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return
    yield from value if field.is_repeated else (value,)
