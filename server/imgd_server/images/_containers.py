"""Containers as records: registered uses that hold their image (behaviour: containers)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from imgd_server.errors import Error, Reason
from imgd_server.images._holds import label_facts, release
from imgd_server.images._inspect import choose_target
from imgd_server.images._lookup import find_image, new_uid
from imgd_server.metadata import (
    ContainerRecord,
    EventRecord,
    ImageRecord,
    ReadSession,
    WriteSession,
)
from imgd_server.oci import Digest, Platform

__all__ = [
    "NewContainer",
    "beat_container",
    "container_event",
    "container_exists",
    "create_container",
    "expire_containers",
    "find_container",
    "pause_container",
    "remove_container",
    "start_container",
    "stop_container",
]

# A record whose heartbeat stays away for so many intervals counts as exited.
_MISSED_BEATS = 3


@dataclass(frozen=True, slots=True)
class NewContainer:
    """What a caller asks for. `heartbeat` is in microseconds, None for none wanted. `uid` is the
    image that `image` named when it was looked at, or its root file system, `rootfs`, was made, and
    `manifest` is what was chosen of it then: an index may be stored for more platforms since."""

    image: str
    container_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    heartbeat: int | None = None
    uid: str = ""
    manifest: Digest | None = None
    rootfs: str = ""


def create_container(session: WriteSession, wanted: NewContainer, now: int) -> ContainerRecord:
    """Registers a use of an image. Raises IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, PLATFORM_NOT_FOUND,
    CONTAINER_EXISTS."""
    container_id = wanted.container_id or new_uid().lower()
    if session.container(container_id):
        raise container_exists(container_id)
    image = find_image(session, f"images/{wanted.uid}" if wanted.uid else wanted.image)
    record = ContainerRecord(
        container_id,
        image.uid,
        wanted.image,
        _image_id(session, image, wanted),
        "CREATED",
        now,
        wanted.labels,
        heartbeat=wanted.heartbeat,
        expires=_next_beat(wanted.heartbeat, now),
        platform=wanted.platform,
        rootfs=wanted.rootfs,
    )
    session.put_container(record)
    session.touch_image(image.uid, now)
    _tell(session, "create", record, now)
    return record


def container_exists(container_id: str) -> Error:
    """CONTAINER_EXISTS."""
    return Error(
        Reason.CONTAINER_EXISTS,
        f"a container named {container_id} exists: remove it, or use another name",
        metadata={"container": f"containers/{container_id}"},
    )


def _image_id(session: ReadSession, image: ImageRecord, wanted: NewContainer) -> str:
    if not (wanted.platform or wanted.manifest):
        return image.image_id
    platforms = session.image_platforms(image.uid)
    digest = wanted.manifest
    if digest is None:
        digest = choose_target(image, platforms, Platform.parse(wanted.platform)).digest
    found = (one.image_id for one in platforms if one.manifest.digest == digest)
    # What is no image of a platform has the image's own.
    return next(found, "") or image.image_id


def find_container(session: ReadSession, container_id: str) -> ContainerRecord:
    """The record. Raises CONTAINER_NOT_FOUND."""
    if record := session.container(container_id):
        return record
    raise Error(
        Reason.CONTAINER_NOT_FOUND,
        f"no such container: {container_id}",
        metadata={"container": f"containers/{container_id}"},
    )


def start_container(session: WriteSession, container_id: str, now: int) -> ContainerRecord:
    """Records that it runs; one that runs already stays as it is. Raises CONTAINER_NOT_FOUND,
    CONTAINER_STATE for a paused one."""
    record = find_container(session, container_id)
    if record.state == "RUNNING":
        return record
    _require(record, ("CREATED", "EXITED"), "started")
    session.touch_image(record.image, now)
    return _change(
        session,
        replace(
            record,
            state="RUNNING",
            started=now,
            exit_status=None,
            expires=_next_beat(record.heartbeat, now),
        ),
        "start",
        now,
    )


def pause_container(
    session: WriteSession, container_id: str, now: int, *, resume: bool
) -> ContainerRecord:
    """Records that it is paused, or goes on. Idempotent. Raises CONTAINER_NOT_FOUND,
    CONTAINER_STATE for one that does not run."""
    record = find_container(session, container_id)
    wanted = "RUNNING" if resume else "PAUSED"
    if record.state == wanted:
        return record
    _require(record, ("PAUSED",) if resume else ("RUNNING",), "resumed" if resume else "paused")
    return _change(session, replace(record, state=wanted), "unpause" if resume else "pause", now)


def stop_container(
    session: WriteSession, container_id: str, exit_status: int | None, now: int
) -> ContainerRecord:
    """Records that it stopped; one that does not run stays as it is. Raises
    CONTAINER_NOT_FOUND."""
    record = find_container(session, container_id)
    if record.state not in ("RUNNING", "PAUSED"):
        return record
    stopped = replace(record, state="EXITED", stopped=now, exit_status=exit_status, expires=None)
    return _change(session, stopped, "die", now)


def beat_container(session: WriteSession, container_id: str, now: int) -> ContainerRecord:
    """Records a sign of life. Raises CONTAINER_NOT_FOUND, CONTAINER_STATE for one that asked for
    none, or that has exited."""
    record = find_container(session, container_id)
    if record.heartbeat is None:
        raise Error(
            Reason.CONTAINER_STATE,
            f"containers/{container_id} was created without a heartbeat",
            metadata={"container": f"containers/{container_id}"},
        )
    _require(record, ("CREATED", "RUNNING", "PAUSED"), "kept alive")
    beaten = replace(record, expires=_next_beat(record.heartbeat, now))
    session.put_container(beaten)
    return beaten


def remove_container(
    session: WriteSession, container_id: str, now: int, *, force: bool
) -> ContainerRecord:
    """Forgets it and lets its image go; returns what it was. Raises CONTAINER_NOT_FOUND,
    CONTAINER_STATE for one that runs or is paused, unless forced."""
    record = find_container(session, container_id)
    if not force:
        _require(record, ("CREATED", "EXITED"), "removed without force")
    session.delete_container(container_id)
    _tell(session, "destroy", record, now)
    release(session, [record.image], now)
    return record


def expire_containers(session: WriteSession, now: int) -> int:
    """Records as exited what asked for a heartbeat and has not been heard of; returns how many."""
    silent = session.silent_containers(now)
    for record in silent:
        _change(session, replace(record, state="EXITED", stopped=now, expires=None), "die", now)
    return len(silent)


def _next_beat(interval: int | None, now: int) -> int | None:
    return None if interval is None else now + _MISSED_BEATS * interval


def _require(record: ContainerRecord, states: tuple[str, ...], what: str) -> None:
    if record.state not in states:
        raise Error(
            Reason.CONTAINER_STATE,
            f"containers/{record.container_id} is {record.state.lower()}, and can't be {what}",
            metadata={"container": f"containers/{record.container_id}", "state": record.state},
        )


def _change(
    session: WriteSession, record: ContainerRecord, action: str, now: int
) -> ContainerRecord:
    session.put_container(record)
    _tell(session, action, record, now)
    return record


def container_event(
    action: str, record: ContainerRecord, now: int, **attributes: str
) -> EventRecord:
    """An event about a container."""
    facts = {"image": f"images/{record.image}", "image_id": record.image_id}
    facts |= {"name": record.image_reference, **attributes} | label_facts(record.labels)
    if record.exit_status is not None:
        facts["exit_status"] = str(record.exit_status)
    return EventRecord("CONTAINER", action, f"containers/{record.container_id}", now, facts)


def _tell(session: WriteSession, action: str, record: ContainerRecord, now: int) -> None:
    session.add_event(container_event(action, record, now))
