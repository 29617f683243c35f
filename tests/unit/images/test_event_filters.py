"""Filters of events (behaviour.md; Docker's `events --filter`)."""

from __future__ import annotations

import pytest

from imgd.v1 import event_pb2
from imgd_server.errors import FieldError, Reason
from imgd_server.images import LABEL, event_fits, parse_event_filters
from imgd_server.metadata import EventRecord

IMAGE = EventRecord(
    "IMAGE",
    "tag",
    "images/one",
    1,
    {
        "name": "h.io:5000/app:1",
        "familiar": "h.io:5000/app:1",
        "image_id": "sha256:1",
        f"{LABEL}tier": "web",
    },
)
CONTAINER = EventRecord("CONTAINER", "start", "containers/c", 1, {"image": "images/one"})


@pytest.mark.parametrize(
    ("filters", "fitting"),
    [
        ((), "both"),
        (("type=image",), "image"),
        (("TYPE= Container ",), "container"),
        (("type=image", "type=container"), "both"),
        (("type=image", "event=start"), ""),
        (("event=tag",), "image"),
        (("container=c",), "container"),
        (("container=containers/c",), "container"),
        (("container=one",), ""),
        (("image=images/one",), "both"),
        (("image=h.io:5000/app",), "image"),
        (("image=h.io:5000/app:1",), "image"),
        (("image=h.io",), ""),
        (("image=",), ""),
        (("image=sha256:1",), "image"),
        (("label=tier",), "image"),
        (("label=tier=web",), "image"),
        (("label=tier=",), ""),
    ],
)
def test_which_events_fit(filters: tuple[str, ...], fitting: str) -> None:
    parsed = parse_event_filters(filters)
    found = [
        name
        for name, one in (("image", IMAGE), ("container", CONTAINER))
        if event_fits(one, parsed)
    ]
    assert found == (["image", "container"] if fitting == "both" else [fitting] * bool(fitting))


@pytest.mark.parametrize("text", ["", "image", "=x", "daemon=x", "type=pod", "type="])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_event_filters(["event=pull", text])
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.message.startswith("filters[1]: ")


def test_every_kind_of_subject_can_be_asked_for() -> None:
    for name in event_pb2.SubjectKind.keys()[1:]:
        kind = name.removeprefix("SUBJECT_KIND_")
        (only,) = parse_event_filters([f"type={kind}"]).values()
        assert event_fits(EventRecord(kind, "x", "y", 1), {"type": only})
