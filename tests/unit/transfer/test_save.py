"""Saves: what goes into an archive, always the same, and what of it is held meanwhile."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import collect, describe, remove_image
from imgd_server.metadata import ImageRecord, Name, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform, Reference
from imgd_server.rootfs import Limits, TarReader
from imgd_server.transfer import (
    ArchiveEndpoint,
    ArchiveForm,
    NodeState,
    Outbox,
    StoreEndpoint,
    TransferSpec,
    TransferState,
    now_us,
)
from imgd_server.transfer._save import _header
from tests.fake_images import OCI_INDEX, FakeImage, descriptor, make_document, make_image
from tests.unit.transfer.fakes import PATIENCE, Lab, layered, open_lab, outcome_of, size_of
from tests.unit.transfer.image_archives import FULL_NAME, REF_NAME, blob, load, parts_of, save
from tests.unit.transfer.test_load import MULTI, PLATFORMS, children_of, parts_of_child

NAME = "registry.test/team/app:1"
IMAGE = layered(3000, 500)
OTHER = layered(700, seed=5)


async def store(lab: Lab, image: FakeImage, *names: str, without: Any = ()) -> ImageRecord:
    """Stores an image under names, without some digests."""
    blobs = {**image.blobs, **{digest: raw for digest, (_, raw) in image.manifests.items()}}
    for digest in blobs.keys() - set(without):
        with lab.content.ingest(digest, Digest(digest), len(blobs[digest])) as ingest:
            ingest.write(blobs[digest])
            ingest.commit()
    target = Descriptor(image.media_type, Digest(image.digest), len(image.raw))
    found = describe(lab.content, target, Platform.host())

    def show(session: WriteSession) -> ImageRecord:
        record = session.put_image(found.record, found.platforms, found.blobs)
        for name in names:
            parsed = Reference.parse(name)
            by_digest = parsed.digest is not None
            session.put_name(Name(name, parsed.name, by_digest=by_digest), record.uid)
        kept = session.image(record.uid)
        assert kept
        return kept

    return await lab.metadata.write(show)


def files_of(data: bytes) -> dict[str, bytes]:
    """The members, read by Python's own reader."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file, member.name
            assert member.name not in found
            found[member.name] = file.read()
    return found


async def saved(lab: Lab, *images: str, **more: Any) -> dict[str, bytes]:
    record, data = await save(lab.manager, *images, **more)
    assert record.state == TransferState.SUCCEEDED.name, record.outcome
    return files_of(data)


async def refusal(lab: Lab, *images: str, **more: Any) -> Error:
    record, _ = await save(lab.manager, *images, **more)
    failure = outcome_of(record).failure
    assert failure is not None
    assert failure.origin is Origin.SOURCE
    return failure


async def test_an_archive_is_a_layout_and_dockers_at_once(lab: Lab) -> None:
    image = await store(lab, IMAGE, NAME)
    record, data = await save(lab.manager, NAME)
    files = files_of(data)
    assert [*files][:3] == ["oci-layout", "index.json", "manifest.json"]
    assert {name: raw for name, raw in files.items() if "/" in name} == parts_of(IMAGE)
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    annotations = {FULL_NAME: NAME, REF_NAME: "1"}
    assert json.loads(files["index.json"]) == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(IMAGE.raw, IMAGE.media_type, annotations=annotations)],
    }
    paths = [f"blobs/sha256/{one[7:]}" for one in parts_of_child(IMAGE)]
    assert json.loads(files["manifest.json"]) == [
        {"Config": paths[0], "RepoTags": [NAME], "Layers": paths[1:]}
    ]
    outcome = outcome_of(record)
    assert (outcome.image, outcome.image_id) == (image.uid, IMAGE.image_id)
    assert (outcome.uploaded_bytes, outcome.references) == (size_of(IMAGE), (NAME,))
    (*_, last) = await lab.watch(record.uid)
    progress = last.view.progress
    assert {node.state for node in progress.nodes.values()} == {NodeState.DONE}
    assert progress.current_bytes == progress.total_bytes == size_of(IMAGE)
    # The same for everybody, at any time.
    assert (await save(lab.manager, NAME))[1] == data
    assert len(data) % 512 == 0


async def test_what_is_saved_is_loaded_by_another_as_it_was(lab: Lab, tmp_path: Path) -> None:
    await store(lab, MULTI, NAME, "docker.io/library/redis:7")
    await store(lab, OTHER, "registry.test/other:1")
    wanted = (NAME, "redis:7", "registry.test/other:1")
    _, data = await save(lab.manager, *wanted)
    (tmp_path / "other").mkdir()
    async with open_lab(tmp_path / "other") as other:
        record, loaded = await load(other.manager, data, piece=777)
        assert record.state == TransferState.SUCCEEDED.name
        assert [image.target.digest for image in loaded] == [MULTI.digest, OTHER.digest]
        assert all(image.complete for image in loaded)
        assert (await save(other.manager, *wanted))[1] == data


@pytest.mark.parametrize(
    ("asked", "references", "tags"),
    [
        (("app:1",), ["docker.io/library/app:1"], ["app:1"]),
        (("app:1", "app", "app:1"), ["docker.io/library/app:1", "docker.io/library/app:latest"],
         ["app:1", "app:latest"]),
        ((IMAGE.image_id[7:19],), [], None),
        ((IMAGE.image_id,), [], None),
        ((f"app@{IMAGE.digest}",), [f"docker.io/library/app@{IMAGE.digest}"], None),
        (("app:1", IMAGE.image_id), ["docker.io/library/app:1"], ["app:1"]),
    ],
)  # fmt: skip
async def test_an_image_goes_by_the_names_that_it_was_asked_for_by(
    lab: Lab, asked: tuple[str, ...], references: list[str], tags: list[str] | None
) -> None:
    names = ["app:1", "app:latest", f"app@{IMAGE.digest}"]
    await store(lab, IMAGE, *(f"docker.io/library/{name}" for name in names))
    files = await saved(lab, *asked)
    entries = json.loads(files["index.json"])["manifests"]
    named = [one["annotations"][FULL_NAME] for one in entries if "annotations" in one]
    assert named == references
    assert len(entries) == max(len(references), 1)
    (docker,) = json.loads(files["manifest.json"])
    assert docker["RepoTags"] == tags


async def test_equal_tags_of_two_images_do_not_hide_one_from_the_other(lab: Lab) -> None:
    await store(lab, IMAGE, "test.com/a:1")
    await store(lab, OTHER, "test.com/b:1")
    files = await saved(lab, "test.com/a:1", "test.com/b:1")
    entries = json.loads(files["index.json"])["manifests"]
    assert [one["annotations"][REF_NAME] for one in entries] == ["test.com/a:1", "test.com/b:1"]


async def test_one_form_alone(lab: Lab) -> None:
    await store(lab, MULTI, NAME)
    oci = await saved(lab, NAME, form=ArchiveForm.OCI)
    assert "manifest.json" not in oci
    assert oci.keys() - {"oci-layout", "index.json"} == parts_of(MULTI).keys()
    docker = await saved(lab, NAME, form=ArchiveForm.DOCKER)
    own = children_of(MULTI)[0]
    paths = {f"blobs/sha256/{one[7:]}" for one in parts_of_child(own)}
    assert docker.keys() == {"manifest.json", *paths}


async def test_of_an_index_goes_what_is_here_or_asked_for(lab: Lab) -> None:
    first, second = children_of(MULTI)
    await store(lab, MULTI, NAME, without=[second.digest, *parts_of_child(second)])
    here = {
        blob(MULTI.raw),
        blob(first.raw),
        *(f"blobs/sha256/{one[7:]}" for one in parts_of_child(first)),
    }
    record, data = await save(lab.manager, NAME)
    assert {name for name in files_of(data) if "/" in name} == here
    (warning,) = outcome_of(record).warnings
    assert PLATFORMS[0] in warning
    missing = await refusal(lab, NAME, platforms=(PLATFORMS[1],))
    assert missing.reason is Reason.PLATFORM_NOT_FOUND
    whole = await refusal(lab, NAME, require_complete=True)
    assert whole.reason is Reason.IMAGE_INCOMPLETE
    assert PLATFORMS[1] in whole.message
    await store(lab, MULTI, NAME)
    assert (await saved(lab, NAME)).keys() >= parts_of(MULTI).keys()
    other = await saved(lab, NAME, platforms=(PLATFORMS[1],))
    assert blob(first.raw) not in other
    assert {blob(MULTI.raw), blob(second.raw)} < other.keys()
    assert json.loads(other["manifest.json"])[0]["Config"].endswith(parts_of_child(second)[0][7:])


async def test_an_attestation_goes_with_what_it_is_about(lab: Lab) -> None:
    app = layered(600, seed=3)
    about = {"vnd.docker.reference.type": "attestation-manifest"}
    attestation = make_image([b"proof"], os="unknown", architecture="unknown", created=None)

    def index(digest: str) -> FakeImage:
        entries = [
            descriptor(app.raw, app.media_type, platform={"os": "linux", "architecture": "amd64"}),
            descriptor(
                attestation.raw,
                attestation.media_type,
                annotations={**about, "vnd.docker.reference.digest": digest},
                platform={"os": "unknown", "architecture": "unknown"},
            ),
        ]
        return make_document(
            {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries},
            OCI_INDEX,
            blobs={**app.blobs, **attestation.blobs},
            manifests={**app.manifests, **attestation.manifests},
        )

    for number, (digest, goes) in enumerate(((app.digest, True), (OTHER.digest, False))):
        name = f"test.com/app:{number}"
        await store(lab, index(digest), name)
        assert (blob(attestation.raw) in await saved(lab, name)) is goes


async def test_an_artifact_has_no_place_in_dockers_form(lab: Lab) -> None:
    config, document = b"{}", b'{"chart": 1}'
    chart = make_document(
        {
            "schemaVersion": 2,
            "config": descriptor(config, "application/vnd.cncf.helm.config.v1+json"),
            "layers": [descriptor(document, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
        },
        blobs={descriptor(one, "")["digest"]: one for one in (config, document)},
    )
    await store(lab, chart, NAME)
    files = await saved(lab, NAME)
    assert "manifest.json" not in files
    assert files.keys() >= parts_of(chart).keys()
    assert (await refusal(lab, NAME, form=ArchiveForm.DOCKER)).reason is Reason.UNSUPPORTED


async def test_nothing_goes_of_what_is_not_here(lab: Lab) -> None:
    await store(lab, IMAGE, NAME)
    assert (await refusal(lab, NAME, "absent")).reason is Reason.IMAGE_NOT_FOUND
    layer = parts_of_child(OTHER)[1]
    await store(lab, OTHER, "test.com/partly:1", without=[layer])
    assert (await refusal(lab, "test.com/partly:1")).reason is Reason.IMAGE_INCOMPLETE
    held = await lab.metadata.read(lambda session: session.expired_leases(now_us() + 10**15, 9))
    assert held == []


async def test_an_image_that_goes_meanwhile_is_saved_whole(lab: Lab) -> None:
    await store(lab, layered(9 << 20), NAME)
    record = await lab.manager.start(TransferSpec(StoreEndpoint(), ArchiveEndpoint((NAME,))))
    outbox = lab.manager.pipe(record.uid)
    assert isinstance(outbox, Outbox)
    chunks = outbox.chunks()
    async with asyncio.timeout(PATIENCE):
        data = await anext(chunks)
        await lab.metadata.write(
            lambda session: remove_image(session, NAME, force=False, now=now_us())
        )
        await collect(lab.metadata, lab.content, now_us, dry_run=False)
        data += b"".join([chunk async for chunk in chunks])
        assert (await lab.manager.ended(record.uid)).state == TransferState.SUCCEEDED.name
    assert files_of(data).keys() >= parts_of(layered(9 << 20)).keys()
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert [*lab.content.blobs()] == []


async def test_a_damaged_blob_does_not_get_out_whole(lab: Lab) -> None:
    await store(lab, IMAGE, NAME)
    layer = max(IMAGE.blobs, key=lambda one: len(IMAGE.blobs[one]))
    path = lab.root / "content" / "blobs" / "sha256" / layer[7:]
    for damage in (bytes(3000), b"short"):
        path.chmod(0o644)
        path.write_bytes(damage)
        record, data = await save(lab.manager, NAME)
        failure = outcome_of(record).failure
        assert failure is not None
        assert (failure.reason, failure.digest) == (Reason.STORE_CORRUPT, layer)
        assert not data.endswith(bytes(1024))


async def test_a_save_that_is_cancelled_lets_go_and_is_not_resumed(lab: Lab) -> None:
    await store(lab, layered(9 << 20), NAME)
    record = await lab.manager.start(TransferSpec(StoreEndpoint(), ArchiveEndpoint((NAME,))))
    outbox = lab.manager.pipe(record.uid)
    assert isinstance(outbox, Outbox)
    async with asyncio.timeout(PATIENCE):
        assert await anext(outbox.chunks())
        assert (await lab.manager.cancel(record.uid)).state == TransferState.CANCELLED.name
    held = await lab.metadata.read(lambda session: session.expired_leases(now_us() + 10**15, 9))
    assert held == []
    with pytest.raises(Error) as caught:
        await lab.manager.resume(record.uid)
    assert caught.value.reason is Reason.UNSUPPORTED


@pytest.mark.parametrize("size", [0, 1, 8 << 30, 1 << 45])
def test_headers_hold_any_size(size: int) -> None:
    raw = _header("blobs/sha256/" + "0" * 64, size)
    assert len(raw) % 512 == 0
    entry = TarReader(iter([raw]), Limits()).next()
    assert entry is not None
    assert (entry.name, entry.size, entry.mode) == (b"blobs/sha256/" + b"0" * 64, size, 0o644)


async def test_what_is_to_be_saved_is_bounded_as_a_text(lab: Lab) -> None:
    """A record is shown whole in one event."""
    images = tuple(f"test.com/{number}/{'a' * 200}:1" for number in range(900))
    with pytest.raises(Error) as caught:
        await save(lab.manager, *images)
    assert caught.value.reason is Reason.FIELD_INVALID
