"""A save: images of the store, to one archive that a caller takes.

The archive is an OCI layout and docker's at once. All sizes and digests are known before its first
byte, so it is written as it goes, always the same for the same images: documents first, then each
blob once. What is chosen is held from then on.
"""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from imgd_server.content import ContentStore, Reader
from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import children, choose_target, find_image, image_event, read_manifest
from imgd_server.metadata import ImageRecord, PlatformRecord, TransferRecord, WriteSession
from imgd_server.oci import (
    DOCKER_DOCUMENT,
    LAYOUT_DOCUMENT,
    LAYOUT_INDEX,
    Descriptor,
    DockerImage,
    FormatError,
    Index,
    LayoutImage,
    Manifest,
    Platform,
    Reference,
    blob_path,
    docker_document,
    is_attestation,
    layout_document,
    layout_index,
    media,
    named_entry,
)
from imgd_server.registry import Cancellation
from imgd_server.threads import in_thread
from imgd_server.transfer import _commit
from imgd_server.transfer._engine import Engine
from imgd_server.transfer._layouts import LayoutFolder, opened_layout
from imgd_server.transfer._outcome import Outcome, TransferState
from imgd_server.transfer._pipes import Flow, Outbox
from imgd_server.transfer._progress import ActivityKind, Node, NodeState, kind_of, now_us, outline
from imgd_server.transfer._run import Commit, Run
from imgd_server.transfer._spec import (
    ArchiveEndpoint,
    ArchiveForm,
    LayoutEndpoint,
    StoreEndpoint,
    TransferSpec,
)

__all__ = ["save", "save_layout"]

# A message of a call stays below 1 MiB with its framing.
_CHUNK = (1 << 20) - 1024
_BLOCK = 512
# BuildKit, docs/attestations/attestation-storage.md.
_ABOUT = "vnd.docker.reference.digest"
_END = bytes(2 * _BLOCK)


async def save(engine: Engine, run: Run, outbox: Outbox) -> Commit:
    """Does the work of a save; what it returns notes what was written."""
    return await _Saving(engine, run, outbox).work()


async def save_layout(engine: Engine, run: Run) -> Commit:
    """As `save`, of one image to a layout's folder."""
    source, destination = run.spec.source, run.spec.destination
    assert isinstance(source, StoreEndpoint)
    assert isinstance(destination, LayoutEndpoint)
    run.moving = work = _Saving(engine, run, Outbox())
    chosen = await engine.metadata.write(
        partial(_choose, uid=run.record.uid, texts=[source.image], spec=run.spec)
    )
    image, names = chosen[0].image, chosen[0].references
    work.target = image.target
    plan = await asyncio.to_thread(_plan, engine.fetcher.content, chosen, ArchiveForm.OCI)
    entry = named_entry(image.target, names[0] if names else None, destination.ref_name)
    stopped = Cancellation()
    opening = opened_layout(
        destination.path, engine.config.layout_roots, "destination.layout.path", create=True
    )
    folder = await in_thread(opening.__enter__)
    try:
        layout = LayoutFolder(folder)
        await in_thread(layout.begin)
        work.plan(plan)
        for blob in plan.blobs:
            await work.write(layout, blob, stopped)
        await in_thread(partial(layout.name, entry, stopped.check), stop=stopped.cancel)
    finally:
        opening.__exit__(None, None, None)
    return partial(
        _commit_save,
        chosen=chosen,
        uploaded=work.uploaded,
        reused=work.reused,
        warnings=plan.warnings,
    )


@dataclass(slots=True)
class _Chosen:
    """An image to save, the names that it goes by, and its platforms that are wanted."""

    image: ImageRecord
    platforms: tuple[PlatformRecord, ...]
    references: list[Reference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Plan:
    """An archive to write: its documents by name, then its blobs."""

    documents: dict[str, bytes]
    blobs: tuple[Descriptor, ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Saving:
    """What a save has done so far (see `Moving`)."""

    engine: Engine
    run: Run
    outbox: Outbox
    target: Descriptor | None = None
    fetched: int = 0
    reused: int = 0
    uploaded: int = 0

    @property
    def _content(self) -> ContentStore:
        return self.engine.fetcher.content

    async def work(self) -> Commit:
        run, endpoint = self.run, self.run.spec.destination
        assert isinstance(endpoint, ArchiveEndpoint)
        run.moving = self
        # One transaction: what is chosen is held from then on, whatever becomes of the images.
        chosen = await self.engine.metadata.write(
            partial(_choose, uid=run.record.uid, texts=endpoint.images, spec=run.spec)
        )
        self.target = chosen[0].image.target
        plan = await asyncio.to_thread(_plan, self._content, chosen, endpoint.form)
        self.plan(plan)
        for name, document in plan.documents.items():
            await self.outbox.put(_header(name, len(document)) + document + _padding(document))
        for blob in plan.blobs:
            await self._send(blob)
        await self.outbox.put(_END)
        return partial(_commit_save, chosen=chosen, uploaded=self.uploaded, warnings=plan.warnings)

    def plan(self, plan: _Plan) -> None:
        """Shows what is to go."""
        progress = self.run.progress
        for blob in plan.blobs:
            progress.add(Node(blob.digest, kind_of(blob.media_type), outline(blob)))
        progress.planned = True
        progress.touch()

    async def write(self, layout: LayoutFolder, blob: Descriptor, stopped: Cancellation) -> None:
        """Writes a blob to a layout's folder."""
        node, flow = self.run.progress.nodes[blob.digest], Flow()
        activity = self.run.progress.begin(node, ActivityKind.UPLOAD, flow, blob.size)
        write = partial(layout.put, self._content, blob, flow, stopped.check)
        try:
            fresh = await in_thread(write, stop=stopped.cancel)
        except Error as error:
            self.run.progress.fail(node, error)
            raise
        self.uploaded += flow.moved_bytes
        self.reused += 0 if fresh else blob.size
        self.run.progress.end(node, NodeState.DONE if fresh else NodeState.EXISTS, only=activity)

    async def _send(self, blob: Descriptor) -> None:
        node, flow = self.run.progress.nodes[blob.digest], Flow()
        activity = self.run.progress.begin(node, ActivityKind.UPLOAD, flow, blob.size)
        await self.outbox.put(_header(blob_path(blob.digest), blob.size))
        hasher = blob.digest.hasher()

        def read(reader: Reader) -> bytes:
            data = reader.pread(_CHUNK, flow.done_bytes)
            hasher.update(data)
            return data

        try:
            reader = await in_thread(partial(self._content.open, blob.digest))
            with reader:
                while data := await in_thread(partial(read, reader)):
                    flow.count(len(data))
                    self.uploaded += len(data)
                    whole = flow.done_bytes >= blob.size
                    if whole and not (
                        flow.done_bytes == blob.size and hasher.hexdigest() == blob.digest.hex
                    ):
                        raise _damaged(blob)
                    await self.outbox.put(data)
            if flow.done_bytes < blob.size:
                raise _damaged(blob)
        except Error as error:
            error.origin = Origin.SOURCE
            self.run.progress.fail(node, error)
            raise
        await self.outbox.put(bytes(-blob.size % _BLOCK))
        self.run.progress.end(node, NodeState.DONE, only=activity)


def _damaged(blob: Descriptor) -> Error:
    return Error(
        Reason.STORE_CORRUPT,
        f"{blob.digest} is damaged in the store: pull its image again",
        digest=blob.digest,
    )


def _header(name: str, size: int) -> bytes:
    """A member's header: the same for everybody and at any time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(data: bytes) -> bytes:
    return bytes(-len(data) % _BLOCK)


# --- what is saved


def _choose(
    session: WriteSession, *, uid: str, texts: Sequence[str], spec: TransferSpec
) -> list[_Chosen]:
    """The images, each once, in the order of asking; holds all that is stored of them. Raises
    IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, PLATFORM_NOT_FOUND, IMAGE_INCOMPLETE."""
    found: dict[str, _Chosen] = {}
    try:
        for text in texts:
            image = find_image(session, text, "images")
            if image.uid not in found:
                platforms = session.image_platforms(image.uid)
                found[image.uid] = _Chosen(image, _wanted(image, platforms, spec))
            reference = _reference_of(text, image)
            if reference and reference not in found[image.uid].references:
                found[image.uid].references.append(reference)
    except Error as error:
        error.origin = Origin.SOURCE
        raise
    held = {
        blob.digest
        for one in found.values()
        for blob in session.image_blobs(one.image.uid)
        if blob.stored
    }
    _commit.hold(session, uid, [*held])
    return [*found.values()]


def _reference_of(text: str, image: ImageRecord) -> Reference | None:
    """The name by which an image was asked for, if it was by one; IDs look like names, too."""
    try:
        reference = Reference.parse(text).with_default_tag()
    except FormatError:
        return None
    if reference.digest:
        reference = replace(reference, tag=None)
    known = {*(name.name for name in image.names), *image.repo_digests}
    return reference if str(reference) in known else None


def _wanted(
    image: ImageRecord, platforms: Sequence[PlatformRecord], spec: TransferSpec
) -> tuple[PlatformRecord, ...]:
    """The platforms that go: those asked for, or all that are whole."""
    complete = [one for one in platforms if one.complete]
    if spec.platforms:
        stated = [choose_target(image, platforms, Platform.parse(one)) for one in spec.platforms]
        wanted = [one for one in platforms if one.manifest.digest in {a.digest for a in stated}]
        if missing := [one for one in wanted if not one.complete]:
            raise _incomplete(image, ", ".join(one.platform for one in missing))
        complete = wanted
    if not complete or (spec.require_complete and not image.complete):
        missing = [one for one in platforms if not one.complete]
        raise _incomplete(image, ", ".join(one.platform or one.manifest.digest for one in missing))
    return tuple(complete)


def _incomplete(image: ImageRecord, missing: str) -> Error:
    return Error(
        Reason.IMAGE_INCOMPLETE,
        f"not all of {image.target.digest} is stored: {missing[:500] or 'a part of it'} is "
        "missing; pull it, or save the platforms that are here",
        digest=image.target.digest,
        metadata={"missing": missing[:500]},
    )


def _plan(content: ContentStore, chosen: Sequence[_Chosen], form: ArchiveForm) -> _Plan:
    """Blocks. Raises MANIFEST_*, STORE_CORRUPT, UNSUPPORTED for what docker's form has no place
    for."""
    layout: list[LayoutImage] = []
    docker: list[DockerImage] = []
    blobs: dict[str, Descriptor] = {}
    warnings: list[str] = []
    for one in chosen:
        below = [*_below(content, one)]
        target = replace(one.image.target, data=None)
        names: Sequence[Reference | None] = one.references or (None,)
        layout += [LayoutImage(target, name) for name in names]
        found = _docker_image(content, one)
        if found:
            docker.append(found[0])
        elif form is ArchiveForm.DOCKER:
            raise Error(
                Reason.UNSUPPORTED,
                f"{target.digest} is no image of layers, which is all that docker's form is for",
                origin=Origin.SOURCE,
            )
        if form is ArchiveForm.DOCKER and found:
            below = found[1]
        for blob in below:
            blobs.setdefault(blob.digest, blob)
        if not one.image.complete:
            warnings.append(
                f"{target.digest}: not everything of it is stored; saved for "
                + ", ".join(platform.platform or "one platform" for platform in one.platforms)
            )
    documents: dict[str, bytes] = {}
    if form is not ArchiveForm.DOCKER:
        documents[LAYOUT_DOCUMENT] = layout_document()
        documents[LAYOUT_INDEX] = layout_index(layout)
    if form is not ArchiveForm.OCI and docker:
        documents[DOCKER_DOCUMENT] = docker_document(docker)
    return _Plan(documents, tuple(blobs.values()), tuple(warnings))


def _below(content: ContentStore, chosen: _Chosen) -> Iterator[Descriptor]:
    """What an image is made of, as far as it is stored and wanted: manifests before their parts."""
    wanted = {one.manifest.digest for one in chosen.platforms}
    waiting = [chosen.image.target]
    seen: set[str] = set()
    while waiting:
        target = replace(waiting.pop(0), data=None)
        if target.digest in seen or content.find(target.digest) is None:
            continue
        seen.add(target.digest)
        parsed = read_manifest(content, target)
        if isinstance(parsed, Index):
            yield target
            waiting += [
                one
                for one in parsed.manifests
                if media.is_manifest(one.media_type) or media.is_index(one.media_type)
            ]
            continue
        parts = [replace(one, data=None) for one in children(parsed)]
        here = [one for one in parts if content.find(one.digest)]
        left_out = [
            one for one in parts if one not in here and not media.is_foreign_layer(one.media_type)
        ]
        # Attestations are of no platform: they go along with what they are about.
        about = target.annotations.get(_ABOUT) if is_attestation(target) else None
        if target.digest in wanted or (about in wanted and not left_out):
            yield target
            yield from here


def _docker_image(
    content: ContentStore, chosen: _Chosen
) -> tuple[DockerImage, list[Descriptor]] | None:
    """The entry of docker's document for an image, and the blobs that it needs: the platform that
    is served by default, else the first. None for what is no image of layers."""
    default = choose_target(chosen.image, chosen.platforms, None)
    parsed = read_manifest(content, default)
    if not isinstance(parsed, Manifest) or not media.is_image_config(parsed.config.media_type):
        return None
    parts = [replace(one, data=None) for one in children(parsed)]
    if not all(media.is_layer(one.media_type) and content.find(one.digest) for one in parts[1:]):
        return None
    tags = tuple(one for one in chosen.references if one.tag)
    paths = [blob_path(one.digest) for one in parts]
    return DockerImage(paths[0], tuple(paths[1:]), tags), parts


def _commit_save(
    session: WriteSession,
    record: TransferRecord,
    *,
    chosen: Sequence[_Chosen],
    uploaded: int,
    warnings: tuple[str, ...],
    reused: int = 0,
) -> TransferRecord:
    """Notes what a save wrote, and ends it."""
    now = now_us()
    for one in chosen:
        session.touch_image(one.image.uid, now)
        session.add_event(image_event("save", one.image, now))
    first = chosen[0].image
    outcome = Outcome(
        target=first.target,
        image=first.uid,
        image_id=first.image_id,
        references=tuple(str(name) for one in chosen for name in one.references),
        reused_bytes=reused,
        uploaded_bytes=uploaded,
        warnings=warnings,
    )
    record = replace(record, state=TransferState.SUCCEEDED.name, outcome=outcome.to_json())
    session.put_transfer(record)
    session.delete_lease(_commit.holding_lease(record.uid))
    session.add_event(_commit.transfer_event("finish", record, now))
    return record
