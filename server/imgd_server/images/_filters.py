"""Docker's filters, and ours, read into conditions (behaviour: list, filter, format)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from imgd_server.errors import FieldError, Reason
from imgd_server.images._lookup import find_image
from imgd_server.images._patterns import PatternError, ReferencePattern
from imgd_server.metadata import ImageQuery, ImageRecord, LabelCondition, Name, ReadSession
from imgd_server.oci import FormatError, Platform, parse_rfc3339

__all__ = ["FILTER_KEYS", "Filters", "Patterns", "parse_duration", "parse_filters"]

Patterns = tuple[tuple[str, ...], tuple[str, ...]]
"""Texts of patterns that are wanted, and of those that are not."""

_TRUE, _FALSE = ("true", "1"), ("false", "0")
_UNITS = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgtp", 1)
    for base, suffixes in ((1000, ("", "b")), (1024, ("i", "ib")))
    for suffix in suffixes
}
_SIZE = re.compile(r"(<=|>=|<|>|=|)\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([a-z]*)", re.ASCII)
_DIGEST = re.compile(r"(sha256|sha512):[0-9a-f]{4,128}|[0-9a-f]{4,128}", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?:[0-9]{1,12}(?:\.[0-9]{0,9})?(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"([0-9.]+)([a-zµμ]+)")
# Go's durations are nanoseconds in 64 bits; so are the store's sizes, in bytes.
_LONGEST, _MOST = 2**63 / 1e9, 2.0**63
_UNIX = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_LOCAL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?")


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters that were read. `query` judges most; what is left is for `narrow`."""

    query: ImageQuery = field(default_factory=ImageQuery)
    wanted: tuple[ReferencePattern, ...] = ()
    unwanted: tuple[ReferencePattern, ...] = ()
    patterns: Patterns = ((), ())
    """The texts of those that are wanted, and of those that are not."""

    @property
    def narrows(self) -> bool:
        """Whether `narrow` does anything."""
        return bool(self.wanted or self.unwanted)

    def narrow(self, record: ImageRecord) -> ImageRecord | None:
        """The image with only the names that fit; None when it does not belong in the list. What
        comes of it depends on the record and on `patterns` alone."""
        if not self.narrows:
            return record
        learned = [Name(one, one.partition("@")[0], by_digest=True) for one in record.repo_digests]
        if _any_fits(self.unwanted, (*record.names, *learned)):
            return None
        if not self.wanted:
            return record
        names = tuple(one for one in record.names if _any_fits(self.wanted, (one,)))
        kept = tuple(one.name for one in learned if _any_fits(self.wanted, (one,)))
        if not names and not kept:
            return None
        if (names, kept) == (record.names, record.repo_digests):
            return record
        return replace(record, names=names, repo_digests=kept)


def _any_fits(patterns: Sequence[ReferencePattern], names: Sequence[Name]) -> bool:
    return any(pattern.matches(one.name, one.repository) for pattern in patterns for one in names)


def parse_filters(session: ReadSession, filters: Sequence[str], now: int) -> Filters:
    """Reads filters, each `key=value`. `now` is in microseconds since the epoch.

    Different keys AND together; `reference` repeats OR; the others' repeats AND. `before` and
    `since` look their image up. Raises FILTER_INVALID that names the filter, IMAGE_NOT_FOUND,
    IMAGE_AMBIGUOUS.
    """
    reading = _Reading(session, now)
    for position, text in enumerate(filters):
        key, equals, value = text.partition("=")
        key, value = key.strip().lower(), value.strip()
        reading.place = f"filters[{position}]"
        try:
            if not equals:
                raise ValueError("a filter is key=value")
            if key not in _READERS:
                raise ValueError(f"the keys are {', '.join(FILTER_KEYS)}")
            _READERS[key](reading, value)
        except (ValueError, FormatError) as error:
            raise FieldError(
                reading.place,
                f"filter {text[:200]!r}: {error}",
                reason=Reason.FILTER_INVALID,
                metadata={"filter": key[:100]},
            ) from None
    return Filters(
        ImageQuery(
            **reading.values,
            labels=tuple(reading.labels),
            digests=tuple(reading.digests),
            platforms=tuple(reading.platforms),
            name_globs=tuple(
                dict.fromkeys(glob for pattern in reading.wanted for glob in pattern.globs)
            ),
        ),
        tuple(reading.wanted),
        tuple(reading.unwanted),
        (tuple(one.text for one in reading.wanted), tuple(one.text for one in reading.unwanted)),
    )


@dataclass(slots=True)
class _Reading:
    """Filters as far as they are read."""

    session: ReadSession
    now: int
    place: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    labels: list[LabelCondition] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    platforms: list[str] = field(default_factory=list)
    wanted: list[ReferencePattern] = field(default_factory=list)
    unwanted: list[ReferencePattern] = field(default_factory=list)

    def once(self, key: str, value: object) -> None:
        """Sets what can have one value only."""
        if self.values.setdefault(key, value) != value:
            raise ValueError("contradicts another filter of the same key")

    def lowest(self, key: str, value: int) -> None:
        """Keeps the stricter of upper bounds."""
        self.values[key] = min(value, self.values.get(key, value))

    def highest(self, key: str, value: int) -> None:
        """Keeps the stricter of lower bounds."""
        self.values[key] = max(value, self.values.get(key, value))


_Reader = Callable[[_Reading, str], None]


def _switch(key: str) -> _Reader:
    def read(reading: _Reading, value: str) -> None:
        if value not in (*_TRUE, *_FALSE):
            raise ValueError(f"wants true, 1, false or 0, not {value[:100]!r}")
        reading.once(key, value in _TRUE)

    return read


def _kind(reading: _Reading, value: str) -> None:
    if value not in ("image", "artifact"):
        raise ValueError(f"is image or artifact, not {value[:100]!r}")
    reading.once("kind", value)


def _created(reading: _Reading, value: str) -> int:
    try:
        record = find_image(reading.session, value, reading.place)
    except FieldError as error:
        if error.reason is Reason.IMAGE_AMBIGUOUS:
            raise
        raise ValueError(str(error.__cause__)) from None
    if record.created is None:
        raise ValueError("that image has no create time, so nothing is older or newer")
    return record.created


def _before(reading: _Reading, value: str) -> None:
    reading.lowest("created_before", _created(reading, value))


def _since(reading: _Reading, value: str) -> None:
    reading.highest("created_after", _created(reading, value))


def _until(reading: _Reading, value: str) -> None:
    reading.lowest("stored_before", _moment(value, reading.now))


def _last_used(reading: _Reading, value: str) -> None:
    ago = parse_duration(value)
    if ago is None:
        raise ValueError(f"wants a duration such as 72h, not {value[:100]!r}")
    reading.lowest("used_before", reading.now - ago)


def _label(reading: _Reading, value: str) -> None:
    reading.labels.append(_condition(value, negated=False))


def _not_label(reading: _Reading, value: str) -> None:
    reading.labels.append(_condition(value, negated=True))


def _condition(text: str, *, negated: bool) -> LabelCondition:
    key, equals, value = text.partition("=")
    if not key:
        raise ValueError("wants a label's key, or key=value")
    return LabelCondition(key, value if equals else None, negated)


def _reference(reading: _Reading, value: str) -> None:
    reading.wanted.append(_pattern(value))


def _not_reference(reading: _Reading, value: str) -> None:
    reading.unwanted.append(_pattern(value))


def _pattern(value: str) -> ReferencePattern:
    if not value:
        raise ValueError("wants a pattern")
    try:
        return ReferencePattern(value)
    except PatternError as error:
        raise ValueError(f"the pattern {error}") from None


def _digest(reading: _Reading, value: str) -> None:
    if not _DIGEST.fullmatch(value):
        raise ValueError("wants a digest, or at least 4 of its hex digits")
    kind = "sha256" if len(value) <= 64 else "sha512"
    reading.digests.append(value if ":" in value else f"{kind}:{value}")


def _platform(reading: _Reading, value: str) -> None:
    reading.platforms.append(str(Platform.parse(value)))


def _size(reading: _Reading, value: str) -> None:
    match = _SIZE.fullmatch(value.lower())
    if not match or match[3] not in _UNITS:
        raise ValueError(f"wants a size such as >10MB or <=1.5GiB, not {value[:100]!r}")
    size = float(match[2]) * _UNITS[match[3]]
    if size >= _MOST:
        raise ValueError("is more than any image has")
    if match[1] in (">", ">=", "=", ""):
        reading.highest("min_size", int(size) + 1 if match[1] == ">" else -int(-size // 1))
    if match[1] in ("<", "<=", "=", ""):
        reading.lowest("max_size", -int(-size // 1) - 1 if match[1] == "<" else int(size))


def parse_duration(text: str) -> int | None:
    """A Go duration (time.ParseDuration) in microseconds; None for what is none."""
    if not _DURATION.fullmatch(text):
        return None
    seconds = sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(text))
    if seconds >= _LONGEST:
        raise ValueError("is longer than the 292 years that a duration can have")
    return int(seconds * 1_000_000)


def _moment(text: str, now: int) -> int:
    """A time, in microseconds since the epoch: RFC 3339, a date, seconds, or a duration ago.

    What names no zone is UTC.
    """
    ago = parse_duration(text)
    if ago is not None:
        return now - ago
    if _UNIX.fullmatch(text):
        return int(float(text) * 1_000_000)
    try:
        if _DATE.fullmatch(text) or _LOCAL_TIME.fullmatch(text):
            moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        else:
            moment = parse_rfc3339(text)
    except (ValueError, FormatError):
        raise ValueError(
            f"wants RFC 3339, a date, unix seconds or a duration ago, not {text[:100]!r}"
        ) from None
    return round(moment.timestamp() * 1_000_000)


_READERS: dict[str, _Reader] = {
    "before": _before,
    "dangling": _switch("dangling"),
    "digest": _digest,
    "in-use": _switch("in_use"),
    "kind": _kind,
    "label": _label,
    "label!": _not_label,
    "last-used": _last_used,
    "pinned": _switch("pinned"),
    "platform": _platform,
    "reference": _reference,
    "reference!": _not_reference,
    "since": _since,
    "size": _size,
    "until": _until,
}

FILTER_KEYS: tuple[str, ...] = tuple(sorted(_READERS))
"""The keys that are known, for GetCapabilities."""
