"""OCI layouts as folders: what is read and written of them, and that no path leads out."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import collect
from imgd_server.oci import Descriptor, Digest
from imgd_server.transfer import (
    LayoutEndpoint,
    NodeState,
    StoreEndpoint,
    TransferSpec,
    TransferState,
    _layouts,
    now_us,
)
from imgd_server.transfer._intake import Intake
from imgd_server.transfer._layouts import LayoutFolder
from imgd_server.transfer._pipes import Flow
from tests.unit.transfer.fakes import PATIENCE, Lab, layered, open_lab, outcome_of, size_of
from tests.unit.transfer.image_archives import FULL_NAME, REF_NAME, blob, layout, parts_of
from tests.unit.transfer.test_load import MULTI, PLATFORMS, children_of, names
from tests.unit.transfer.test_save import store

NAME = "registry.test/team/app:1"
IMAGE = layered(3000, 500)
OTHER = layered(700, seed=5)


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """The folder that is allowed."""
    found = tmp_path / "roots"
    found.mkdir()
    return found


@pytest.fixture
async def lab(tmp_path: Path, roots: Path) -> AsyncIterator[Lab]:
    (tmp_path / "state").mkdir()
    async with open_lab(tmp_path / "state") as one:
        object.__setattr__(one.manager.config, "layout_roots", (str(roots),))
        yield one


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def run(lab: Lab, source: Any, destination: Any, **more: Any) -> Any:
    record = await lab.manager.start(TransferSpec(source, destination, **more))
    async with asyncio.timeout(PATIENCE):
        return await lab.manager.ended(record.uid)


async def get(lab: Lab, folder: Path, ref_name: str = "", *tags: str, **more: Any) -> Any:
    source = LayoutEndpoint(str(folder), ref_name)
    return await run(lab, source, StoreEndpoint(tags=tags), **more)


async def put(lab: Lab, image: str, folder: Path, ref_name: str = "", **more: Any) -> Any:
    target = LayoutEndpoint(str(folder), ref_name)
    return await run(lab, StoreEndpoint(image=image), target, **more)


def failure_of(record: Any) -> Error:
    failure = outcome_of(record).failure
    assert failure is not None
    assert record.state == TransferState.FAILED.name
    return failure


# --- reading


async def test_one_image_of_a_layout_is_read(lab: Lab, roots: Path) -> None:
    files = layout((IMAGE, {REF_NAME: "app"}), (OTHER, {REF_NAME: "other", FULL_NAME: NAME}))
    folder = write(roots / "deep" / "layout", files)
    record = await get(lab, folder, "app", "test.com/mine:1")
    assert record.state == TransferState.SUCCEEDED.name
    assert outcome_of(record).fetched_bytes == size_of(IMAGE)
    assert await names(lab) == {"test.com/mine:1": IMAGE.digest}
    # Of the other nothing was read, and its own name counts where none is given.
    assert len([*lab.content.blobs()]) == len(parts_of(IMAGE))
    await get(lab, folder, NAME)
    assert await names(lab) == {"test.com/mine:1": IMAGE.digest, NAME: OTHER.digest}
    for ref_name in ("", "absent"):
        failure = failure_of(await get(lab, folder, ref_name))
        assert (failure.reason, failure.origin) == (Reason.ARCHIVE_INVALID, Origin.SOURCE)
        assert "'app', 'other'" in failure.message


async def test_the_only_image_needs_no_name_and_platforms_can_be_chosen(
    lab: Lab, roots: Path
) -> None:
    folder = write(roots / "layout", layout((MULTI, {REF_NAME: "multi"})))
    record = await get(lab, folder, "", NAME, platforms=(PLATFORMS[1],))
    assert record.state == TransferState.SUCCEEDED.name, record.outcome
    image = await lab.metadata.read(lambda session: session.image_by_name(NAME))
    assert image is not None
    assert not image.complete
    await get(lab, folder)
    image = await lab.metadata.read(lambda session: session.image_by_name(NAME))
    assert image is not None
    assert image.complete


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda folder, layer: layer.unlink(), Reason.ARCHIVE_INVALID),
        (lambda folder, layer: layer.write_bytes(b"other"), Reason.DIGEST_MISMATCH),
        (lambda folder, layer: _replace(layer, lambda: layer.symlink_to("/etc/passwd")),
         Reason.ARCHIVE_INVALID),
        (lambda folder, layer: _replace(layer, lambda: os.mkfifo(layer)), Reason.ARCHIVE_INVALID),
        (lambda folder, layer: _replace(layer, layer.mkdir), Reason.ARCHIVE_INVALID),
        (lambda folder, layer: (folder / "index.json").write_bytes(b"{"), Reason.MANIFEST_INVALID),
        (lambda folder, layer: (folder / "index.json").unlink(), Reason.ARCHIVE_INVALID),
        (lambda folder, layer: (folder / "oci-layout").unlink(), Reason.ARCHIVE_INVALID),
        (lambda folder, layer: (folder / "oci-layout").write_bytes(b"{}"), Reason.ARCHIVE_INVALID),
    ],
)  # fmt: skip
async def test_a_layout_that_is_broken_is_refused_whole(
    lab: Lab, roots: Path, break_it: Any, reason: Reason
) -> None:
    folder = write(roots / "layout", layout((IMAGE, {FULL_NAME: NAME})))
    layer = folder / blob(max(IMAGE.blobs.values(), key=len))
    break_it(folder, layer)
    failure = failure_of(await get(lab, folder))
    assert (failure.reason, failure.origin) == (reason, Origin.SOURCE), failure.message
    assert str(roots) not in failure.message
    assert await names(lab) == {}
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert [*lab.content.blobs()] == []


async def test_what_manifests_may_list_is_bounded_before_it_is_looked_for(
    lab: Lab, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.transfer._layouts.MAX_FILES", 50)
    files = layout((IMAGE, {}))
    seen: list[str] = []
    read = _layouts._read

    def noted(folder: int, name: str) -> bytes:
        seen.append(name)
        return read(folder, name)

    monkeypatch.setattr("imgd_server.transfer._layouts._read", noted)
    one = {"mediaType": IMAGE.media_type, "size": 2}
    manifests = [
        {
            "schemaVersion": 2,
            "mediaType": IMAGE.media_type,
            "config": IMAGE.document["config"],
            "layers": [
                {**IMAGE.document["layers"][0], "digest": Digest.of(b"%d %d" % (part, layer))}
                for layer in range(30)
            ],
        }
        for part in range(10)
    ]
    raw = [json.dumps(manifest).encode() for manifest in manifests]
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {**one, "digest": Digest.of(document), "size": len(document)} for document in raw
        ],
    }
    whole = json.dumps(index).encode()
    entry = {"mediaType": index["mediaType"], "digest": Digest.of(whole), "size": len(whole)}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    files |= {blob(document): document for document in (*raw, whole)}
    failure = failure_of(await get(lab, write(roots / "layout", files)))
    assert (failure.reason, failure.origin) == (Reason.ARCHIVE_INVALID, Origin.SOURCE)
    assert "more than 50 blobs" in failure.message
    # Two of the ten said enough.
    assert sum(name.startswith("blobs/") for name in seen) == 3


def _replace(path: Path, make: Any) -> None:
    path.unlink()
    make()


# --- writing


async def test_an_image_is_written_as_skopeo_and_umoci_would(lab: Lab, roots: Path) -> None:
    await store(lab, IMAGE, NAME)
    folder = roots / "new" / "layout"
    record = await put(lab, NAME, folder)
    assert record.state == TransferState.SUCCEEDED.name, record.outcome
    assert outcome_of(record).uploaded_bytes == size_of(IMAGE)
    files = read(folder)
    assert {name: data for name, data in files.items() if "/" in name} == parts_of(IMAGE)
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {FULL_NAME: NAME, REF_NAME: "1"}
    assert entry["digest"] == IMAGE.digest
    # And read again, by its name.
    record = await get(lab, folder, "1", "test.com/again:1")
    assert outcome_of(record).reused_bytes == size_of(IMAGE)


async def test_what_is_there_stays_but_for_an_entry_of_the_same_name(lab: Lab, roots: Path) -> None:
    folder = write(roots / "layout", layout((OTHER, {REF_NAME: "other"}), (MULTI, {})))
    index = json.loads((folder / "index.json").read_bytes())
    await store(lab, IMAGE, NAME)
    await put(lab, NAME, folder, "mine")
    found = json.loads((folder / "index.json").read_bytes())
    assert found["manifests"][:2] == index["manifests"]
    assert found["manifests"][2]["annotations"][REF_NAME] == "mine"
    await store(lab, OTHER, "test.com/other:1")
    record = await put(lab, "test.com/other:1", folder, "mine")
    assert outcome_of(record).reused_bytes == size_of(OTHER)
    (*_, last) = await lab.watch(record.uid)
    assert {node.state for node in last.view.progress.nodes.values()} == {NodeState.EXISTS}
    found = json.loads((folder / "index.json").read_bytes())
    assert [one["digest"] for one in found["manifests"]] == [
        OTHER.digest, MULTI.digest, OTHER.digest
    ]  # fmt: skip
    assert read(folder).keys() >= parts_of(IMAGE, OTHER).keys()


async def test_a_damaged_blob_is_written_anew_and_one_of_the_store_is_not_written(
    lab: Lab, roots: Path
) -> None:
    await store(lab, IMAGE, NAME)
    layer = blob(max(IMAGE.blobs.values(), key=len))
    folder = roots / "layout"
    await put(lab, NAME, folder)
    (folder / layer).write_bytes(bytes(3000))
    await put(lab, NAME, folder)
    assert read(folder)[layer] == parts_of(IMAGE)[layer]
    path = lab.root / "content" / layer
    path.chmod(0o644)
    path.write_bytes(bytes(3000))
    failure = failure_of(await put(lab, NAME, roots / "second"))
    assert (failure.reason, failure.origin) == (Reason.STORE_CORRUPT, Origin.SOURCE)
    second = read(roots / "second")
    assert layer not in second
    assert "index.json" not in second
    assert not [name for name in second if ".part" in name]


async def test_of_an_index_goes_what_is_here(lab: Lab, roots: Path) -> None:
    first, second = children_of(MULTI)
    await store(lab, MULTI, NAME)
    await put(lab, NAME, roots / "layout", platforms=(PLATFORMS[0],))
    files = read(roots / "layout")
    assert blob(first.raw) in files
    assert blob(second.raw) not in files


async def test_a_folder_of_other_things_is_left_alone(lab: Lab, roots: Path) -> None:
    await store(lab, IMAGE, NAME)
    folder = write(roots / "home", {"letter": b"dear"})
    failure = failure_of(await put(lab, NAME, folder))
    assert (failure.reason, failure.origin) == (Reason.FIELD_INVALID, Origin.DESTINATION)
    assert read(folder) == {"letter": b"dear"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, Reason.DISK_FULL),
        (errno.EROFS, Reason.FIELD_INVALID),
        # Of which the caller's path is not to blame.
        (errno.EIO, Reason.INTERNAL),
    ],
)
async def test_what_a_folder_that_can_not_be_made_means(
    lab: Lab, roots: Path, monkeypatch: pytest.MonkeyPatch, code: int, reason: Reason
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, "no", str(roots))

    await store(lab, IMAGE, NAME)
    monkeypatch.setattr("imgd_server.transfer._layouts.os.mkdir", fail)
    failure = failure_of(await put(lab, NAME, roots / "layout"))
    assert failure.reason is reason
    assert (failure.origin is Origin.DESTINATION) == (reason is not Reason.INTERNAL)
    assert str(roots) not in failure.message


async def test_what_stands_in_the_way_is_told_as_the_path_s(lab: Lab, roots: Path) -> None:
    await store(lab, IMAGE, NAME)
    folder = write(roots / "layout", {**layout(), "blobs": b"no folder"})
    failure = failure_of(await put(lab, NAME, folder))
    assert (failure.reason, failure.origin) == (Reason.FIELD_INVALID, Origin.DESTINATION)
    assert failure.message == "destination.layout.path: Not a directory"


@pytest.mark.parametrize("code", [None, errno.EOPNOTSUPP, errno.EISDIR])
async def test_a_file_has_no_name_before_it_is_whole(
    lab: Lab, roots: Path, monkeypatch: pytest.MonkeyPatch, code: int | None
) -> None:
    """So whoever is killed leaves nothing, where the file system can do that."""
    really = os.open

    def opened(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if code and flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, "no such files here")
        return really(path, flags, *more, **options)

    monkeypatch.setattr("imgd_server.transfer._layouts.os.open", opened)
    await store(lab, IMAGE, NAME)
    layer = max(IMAGE.blobs.values(), key=len)
    target = Descriptor("application/octet-stream", Digest.of(layer), len(layer))
    descriptor = really(roots, os.O_RDONLY | os.O_DIRECTORY)
    seen: set[str] = set()
    try:
        folder = LayoutFolder(descriptor)
        assert folder.put(lab.content, target, Flow(), lambda: seen.update(read(roots)))
    finally:
        os.close(descriptor)
    assert bool(seen) == (code is not None or not can_be_nameless(roots))
    assert read(roots) == {blob(layer): layer}


def can_be_nameless(folder: Path) -> bool:
    try:
        os.close(os.open(folder, os.O_WRONLY | os.O_TMPFILE))
    except OSError:
        return False
    return True


async def test_two_saves_of_one_blob_do_not_get_in_each_others_way(lab: Lab, roots: Path) -> None:
    await store(lab, IMAGE, NAME)
    layer = max(IMAGE.blobs.values(), key=len)
    target = Descriptor("application/octet-stream", Digest.of(layer), len(layer))
    content = lab.content
    descriptor = os.open(roots, os.O_RDONLY | os.O_DIRECTORY)
    done: list[bool] = []

    def other_saves() -> None:
        """While the first has its file open."""
        if not done:
            done.append(False)
            done[0] = layout_folder.put(content, target, Flow(), lambda: None)

    def interrupt() -> None:
        thread = Thread(target=other_saves)
        thread.start()
        thread.join()

    try:
        layout_folder = LayoutFolder(descriptor)
        assert await asyncio.to_thread(layout_folder.put, content, target, Flow(), interrupt)
    finally:
        os.close(descriptor)
    assert done == [True]
    assert read(roots) == {blob(layer): layer}


async def test_an_index_that_cannot_be_read_is_not_written_over(lab: Lab, roots: Path) -> None:
    await store(lab, IMAGE, NAME)
    for name, index in (("large", b" " * (4 << 20) + b"{}"), ("none", b"[]")):
        folder = write(roots / name, {**layout((OTHER, {})), "index.json": index})
        failure = failure_of(await put(lab, NAME, folder))
        assert failure.origin is Origin.DESTINATION, name
        assert (folder / "index.json").read_bytes() == index


async def test_a_save_that_was_killed_is_no_reason_to_refuse_its_folder(
    lab: Lab, roots: Path
) -> None:
    await store(lab, IMAGE, NAME)
    folder = write(roots / "layout", {".oci-layout.7.7.part": b"{"})
    record = await put(lab, NAME, folder)
    assert record.state == TransferState.SUCCEEDED.name, record.outcome


async def test_a_lock_that_somebody_keeps_holds_up_nobody_who_cancels(
    lab: Lab, roots: Path
) -> None:
    await store(lab, IMAGE, NAME)
    folder = roots / "layout"
    folder.mkdir()
    holder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        record = await lab.manager.start(
            TransferSpec(StoreEndpoint(image=NAME), LayoutEndpoint(str(folder)))
        )
        async with asyncio.timeout(PATIENCE):
            async for event in lab.manager.watch(record.uid):
                states = [node.state for node in event.view.progress.nodes.values()]
                if states and set(states) == {NodeState.DONE}:
                    break
            ended = await lab.manager.cancel(record.uid)
        assert ended.state == TransferState.CANCELLED.name
        assert not (folder / "index.json").exists()
    finally:
        os.close(holder)


async def test_a_folder_stays_open_for_whoever_works_in_it(
    lab: Lab, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is cancelled: its number would be another file's."""
    begun, go_on, open_then = Event(), Event(), []

    def run_slowly(intake: Intake) -> None:
        begun.set()
        go_on.wait(PATIENCE)
        folder = intake.members._folder  # type: ignore[attr-defined]
        open_then.append(os.path.samestat(os.fstat(folder), (roots / "layout").stat()))

    monkeypatch.setattr(Intake, "run", run_slowly)
    folder = write(roots / "layout", layout((IMAGE, {})))
    record = await lab.manager.start(
        TransferSpec(LayoutEndpoint(str(folder)), StoreEndpoint(tags=(NAME,)))
    )
    try:
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        for _ in range(3):
            lab.manager.stop(record.uid)
            for _ in range(10):
                await asyncio.sleep(0)
    finally:
        go_on.set()
    async with asyncio.timeout(PATIENCE):
        ended = await lab.manager.ended(record.uid)
    assert ended.state == TransferState.CANCELLED.name
    assert open_then == [True]


# --- places


@pytest.mark.parametrize(
    "place", ["", ".", "../other", "a/../../other", "//etc", "../roots-more/a"]
)
async def test_a_place_that_is_not_below_an_allowed_one_is_refused_at_once(
    lab: Lab, roots: Path, place: str
) -> None:
    path = place if place.startswith("/") else f"{roots}/{place}"
    for spec in (
        TransferSpec(LayoutEndpoint(path), StoreEndpoint()),
        TransferSpec(StoreEndpoint(image=NAME), LayoutEndpoint(path)),
    ):
        with pytest.raises(Error) as caught:
            await lab.manager.start(spec)
        assert caught.value.reason is Reason.FIELD_INVALID
        assert "layout_roots" in caught.value.message


async def test_no_link_is_followed_to_a_layout(lab: Lab, roots: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "layout", layout((IMAGE, {FULL_NAME: NAME})))
    (roots / "link").symlink_to(outside.parent)
    (roots / "direct").symlink_to(outside)
    before = read(outside)
    await store(lab, OTHER, "test.com/other:1")
    for place in (roots / "link" / "layout", roots / "direct"):
        assert failure_of(await get(lab, place)).reason is Reason.FIELD_INVALID
        assert failure_of(await put(lab, "test.com/other:1", place)).reason is Reason.FIELD_INVALID
    inside = write(roots / "layout", {"oci-layout": before["oci-layout"]})
    (inside / "blobs").symlink_to(outside / "blobs")
    assert failure_of(await put(lab, "test.com/other:1", inside)).origin is Origin.DESTINATION
    assert read(outside) == before
