"""The images that an archive lists, once all of it is here. Blocks; runs in a worker thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from imgd_server.content import ContentStore, Reader
from imgd_server.errors import Error, Origin, Reason, from_format
from imgd_server.images import Description, Only, children, choose_target, describe, read_manifest
from imgd_server.oci import (
    DOCKER_DOCUMENT,
    LAYOUT_DOCUMENT,
    LAYOUT_INDEX,
    MAX_ARCHIVE_IMAGES,
    MAX_CONFIG_BYTES,
    Descriptor,
    Digest,
    DockerImage,
    FormatError,
    Index,
    Manifest,
    Platform,
    Reference,
    docker_manifest,
    is_layout,
    media,
    parse_config,
    parse_docker_document,
    parse_layout_index,
)
from imgd_server.rootfs import Limits, verify_layer
from imgd_server.transfer._intake import Intake
from imgd_server.transfer._members import refused

__all__ = ["Archived", "Found"]

# They are shown with the outcome, which is a part of one event.
_MAX_NAMES = 200_000
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(slots=True)
class Found:
    """An image of an archive, and the names that the archive gives it."""

    description: Description
    references: list[Reference] = field(default_factory=list)

    @property
    def target(self) -> Descriptor:
        """Its manifest or index."""
        return self.description.record.target


@dataclass(slots=True)
class Archived:
    """Finds out what an archive's images are. `platforms` are those wanted; none means all; it is
    `renamed` where its names do not count. `check` is called now and then, and may raise."""

    intake: Intake
    check: Callable[[], None]
    platforms: Sequence[Platform] = ()
    require_complete: bool = False
    renamed: bool = False
    warnings: list[str] = field(default_factory=list)
    # Compressed layers that were compared with their diff IDs, and what that took.
    _compared: set[tuple[Digest, Digest]] = field(default_factory=set)
    _unpacked: int = 0
    _bytes_of_names: int = 0
    _found: dict[str, Found] = field(default_factory=dict)
    _names: dict[Reference, str] = field(default_factory=dict)
    # Whose config, of any platform in the archive, is whose target.
    _configs: dict[str, str] = field(default_factory=dict)

    def images(self) -> list[Found]:
        """The images, each once, in the archive's order.

        Raises ARCHIVE_INVALID, LAYER_INVALID, LAYER_TOO_LARGE, DIGEST_MISMATCH, SIZE_MISMATCH,
        MANIFEST_*, CONFIG_INVALID, INDEX_TOO_DEEP, PLATFORM_NOT_FOUND, IMAGE_INCOMPLETE, all with
        the source as their origin; and DISK_FULL.
        """
        documents = self.intake.documents
        try:
            if LAYOUT_INDEX in documents:
                self._read_layout(documents)
            if DOCKER_DOCUMENT in documents:
                known = dict(self._configs)
                for entry in parse_docker_document(documents[DOCKER_DOCUMENT]):
                    self._read_docker(entry, known)
        except FormatError as error:
            failure = from_format(error)
            failure.origin = Origin.SOURCE
            raise failure from error
        except Error as error:
            if error.reason is not Reason.DISK_FULL:
                error.origin = Origin.SOURCE
            raise
        if not self._found:
            raise refused(
                f"it has no image: neither {LAYOUT_INDEX} (an OCI layout) nor {DOCKER_DOCUMENT} "
                "(docker save) lists one"
            )
        return [*self._found.values()]

    # --- OCI layouts

    def _read_layout(self, documents: dict[str, bytes]) -> None:
        if LAYOUT_DOCUMENT not in documents:
            raise refused(f"it has an {LAYOUT_INDEX} and no {LAYOUT_DOCUMENT}")
        if not is_layout(documents[LAYOUT_DOCUMENT]):
            raise refused(f"its {LAYOUT_DOCUMENT} is of an unknown version")
        for entry in parse_layout_index(documents[LAYOUT_INDEX]):
            target = entry.target
            if not (media.is_manifest(target.media_type) or media.is_index(target.media_type)):
                self.warnings.append(
                    f"left out what is no manifest: {target.digest} ({target.media_type[:100]})"
                )
            elif entry.reference is None and self._refers(target):
                self.warnings.append(f"left out {target.digest}, which refers to another image")
            else:
                if entry.label and not (entry.reference or self.renamed):
                    self.warnings.append(
                        f"{target.digest} has no name: {entry.label[:100]!r} alone is none"
                    )
                self._add(replace(target, platform=None), entry.reference)

    def _refers(self, target: Descriptor) -> bool:
        self._need(target.digest)
        return read_manifest(self._content, target).subject is not None

    # --- docker's form

    def _read_docker(self, entry: DockerImage, known: Mapping[str, str]) -> None:
        """Takes an entry in; of what the layout has, whose targets by config are `known`, only the
        names that it does not give itself."""
        config = self.intake.resolve(entry.config)
        if config in known:
            target = self._found[known[config]].target
            references = [one for one in entry.references if one not in self._names]
        else:
            target, references = self._make(entry, config), [*entry.references]
            self._add(target, None)
        for reference in references:
            self._add(target, reference)

    def _make(self, entry: DockerImage, config: Digest) -> Descriptor:
        """Makes the manifest of an image that came without one."""
        if self.intake.sizes[config] > MAX_CONFIG_BYTES:
            raise refused(f"the config {config} has more than {MAX_CONFIG_BYTES} bytes")
        diff_ids = parse_config(self._content.read(config, MAX_CONFIG_BYTES)).diff_ids
        if len(diff_ids) != len(entry.layers):
            raise refused(
                f"the config {config} has {len(diff_ids)} diff IDs for {len(entry.layers)} layers"
            )
        layers = [
            self._layer(self.intake.resolve(path), diff_id)
            for path, diff_id in zip(entry.layers, diff_ids, strict=True)
        ]
        raw = docker_manifest(self.intake.descriptor(config, media.DOCKER_CONFIG), layers)
        return self.intake.descriptor(self.intake.keep(raw), media.DOCKER_MANIFEST)

    def _layer(self, digest: Digest, diff_id: Digest) -> Descriptor:
        """A layer as it came, which is what the config says: most often not compressed, and then
        its digest is its diff ID."""
        with self._content.open(digest) as reader:
            head = reader.pread(4, 0)
            if digest != diff_id and (digest, diff_id) not in self._compared:
                self._compare(reader, digest, diff_id)
                self._compared.add((digest, diff_id))
        kind = media.DOCKER_LAYER_PLAIN
        if head.startswith(_GZIP):
            kind = media.DOCKER_LAYER
        elif head.startswith(_ZSTD):
            kind = media.DOCKER_LAYER_ZSTD
        return self.intake.descriptor(digest, kind)

    def _compare(self, reader: Reader, digest: Digest, diff_id: Digest) -> None:
        """Reads a layer to see that it is one, and what a config says."""
        limits = Limits()
        left = replace(limits, max_bytes=limits.max_bytes - self._unpacked)
        found = verify_layer(reader.pread, left, self.check, diff_id.algorithm, strict=False)
        self._unpacked += found.unpacked_bytes
        if found.diff_id != diff_id:
            raise Error(
                Reason.DIGEST_MISMATCH,
                f"the layer {digest} has the diff ID {found.diff_id}, and the config says "
                f"{diff_id}",
                digest=digest,
            )

    # --- both

    @property
    def _content(self) -> ContentStore:
        return self.intake.content

    def _add(self, target: Descriptor, reference: Reference | None) -> None:
        self.check()
        if target.digest not in self._found:
            self._found[target.digest] = Found(self._describe(target))
        if reference is None:
            return
        if reference not in self._names:
            self._bytes_of_names += len(str(reference))
        if len(self._names) == MAX_ARCHIVE_IMAGES and reference not in self._names:
            raise refused(f"it gives more than {MAX_ARCHIVE_IMAGES} names")
        if self._bytes_of_names > _MAX_NAMES:
            raise refused(f"the names that it gives have more than {_MAX_NAMES} bytes in all")
        if self._names.setdefault(reference, target.digest) != target.digest:
            raise refused(f"it gives the name {reference.familiar()} to two images")
        if reference not in self._found[target.digest].references:
            self._found[target.digest].references.append(reference)

    def _describe(self, target: Descriptor) -> Description:
        """An image of what the archive has of it, whatever else the store has."""
        self._need(target.digest)
        host, sizes = Platform.host(), self.intake.sizes
        found = describe(Only(self._content, sizes), target, host)
        for one in found.platforms:
            if one.image_id:
                self._configs.setdefault(one.image_id, target.digest)
        if self.platforms:
            chosen = [choose_target(found.record, found.platforms, one) for one in self.platforms]
            wanted = self._below(found, {one.digest for one in chosen})
            found = describe(Only(self._content, wanted), target, host)
        self._check(found)
        return found

    def _need(self, digest: Digest) -> None:
        if digest not in self.intake.sizes:
            raise refused(f"{digest} is not in it, and {LAYOUT_INDEX} lists it")

    def _below(self, found: Description, chosen: Collection[Digest]) -> set[str]:
        """The digests of the chosen manifests, of what they are made of, and of all indexes."""
        wanted: set[str] = set()
        for target, parsed in self._documents(found):
            if isinstance(parsed, Index) or target.digest in chosen:
                wanted.add(target.digest)
            if isinstance(parsed, Manifest) and target.digest in chosen:
                wanted.update(one.digest for one in children(parsed))
        return wanted

    def _documents(self, found: Description) -> Iterator[tuple[Descriptor, Manifest | Index]]:
        for blob in found.blobs:
            kind = blob.media_type
            if blob.stored and (media.is_manifest(kind) or media.is_index(kind)):
                target = Descriptor(kind, blob.digest, blob.size)
                yield target, read_manifest(self._content, target)

    def _check(self, found: Description) -> None:
        """Refuses manifests without what they are made of, and indexes without any manifest. That
        some of an index's are left out is how those who have not all save it."""
        here = {blob.digest for blob in found.blobs if blob.stored}
        for target, parsed in self._documents(found):
            for child in children(parsed) if isinstance(parsed, Manifest) else ():
                if child.digest not in here and not media.is_foreign_layer(child.media_type):
                    raise refused(f"{child.digest} is not in it, a part of {target.digest}")
        record = found.record
        if media.is_index(record.target.media_type) and not any(
            one.image_id for one in found.platforms
        ):
            raise refused(f"it has none of the manifests of the index {record.target.digest}")
        if self.require_complete and not record.complete:
            raise Error(
                Reason.IMAGE_INCOMPLETE,
                f"not all of {record.target.digest} is in the archive, or was asked for",
                digest=record.target.digest,
            )
