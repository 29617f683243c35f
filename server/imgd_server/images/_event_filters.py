"""Docker's filters of events.

Sources: Docker Engine API 1.47, `GET /events`; `docker events --filter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imgd_server.errors import FieldError, Reason
from imgd_server.images._holds import LABEL
from imgd_server.metadata import EventRecord

__all__ = ["event_fits", "parse_event_filters"]

_KEYS = ("container", "event", "image", "label", "type")
_TYPES = ("image", "container", "lease", "transfer", "collection")


def parse_event_filters(texts: Iterable[str]) -> dict[str, set[str]]:
    """Values by key: an event fits when it has one of each key's. Raises FILTER_INVALID."""
    filters: dict[str, set[str]] = {}
    for position, text in enumerate(texts):
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        wrong = ""
        if not equals or key not in _KEYS:
            wrong = f"a filter is key=value, and the keys are {', '.join(_KEYS)}"
        elif key == "type" and value.strip().lower() not in _TYPES:
            wrong = f"the types are {', '.join(_TYPES)}"
        if wrong:
            raise FieldError(
                f"filters[{position}]",
                f"filters[{position}]: {text[:200]!r}: {wrong}",
                reason=Reason.FILTER_INVALID,
            )
        value = value.strip().lower() if key == "type" else value.strip()
        filters.setdefault(key, set()).add(value)
    return filters


def event_fits(event: EventRecord, filters: Mapping[str, set[str]]) -> bool:
    """Whether filters let an event through."""
    return all(not wanted.isdisjoint(_words(event, key)) for key, wanted in filters.items())


def _words(event: EventRecord, key: str) -> set[str]:
    """What a filter's value can be for it to fit the event."""
    facts = event.attributes
    if key == "type":
        return {event.kind.lower()}
    if key == "event":
        return {event.action}
    if key == "container":
        is_own = event.kind == "CONTAINER"
        return {event.subject, event.subject.partition("/")[2]} if is_own else set()
    if key == "label":
        labels = [(one.removeprefix(LABEL), facts[one]) for one in facts if one.startswith(LABEL)]
        return {name for name, _ in labels} | {f"{name}={value}" for name, value in labels}
    image = event.subject if event.kind == "IMAGE" else facts.get("image", "")
    names = {facts.get(one, "") for one in ("name", "familiar")}
    # As in Docker, a name without its tag means all of the repository.
    words = {image, facts.get("digest", ""), facts.get("image_id", ""), *names}
    return (words | {_repository(one) for one in names}) - {""}


def _repository(name: str) -> str:
    place, slash, rest = name.partition("@")[0].rpartition("/")
    return f"{place}{slash}{rest.partition(':')[0]}"
