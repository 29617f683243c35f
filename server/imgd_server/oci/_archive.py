"""The documents of image archives: OCI layouts (OCI image 1.1, image-layout.md) and `docker save`'s
(moby, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format").

One archive can be both: the members of a layout, and docker's ``manifest.json``, which names its
blobs, as Docker 25 and containerd write them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from . import media
from ._descriptor import Descriptor
from ._digest import Digest
from ._errors import FormatError, show
from ._json import Fields, load_array, load_object
from ._manifest import MAX_LAYERS, Index, parse_manifest
from ._reference import Reference

DOCKER_DOCUMENT: Final = "manifest.json"
LAYOUT_DOCUMENT: Final = "oci-layout"
LAYOUT_INDEX: Final = "index.json"

MAX_ARCHIVE_IMAGES: Final = 1000
"""As one request may name; an archive that lists more is no backup that anybody made by hand."""

_MAX_TAGS: Final = 1000
_VERSION: Final = "1.0.0"
_FULL_NAME: Final = "io.containerd.image.name"
_REF_NAME: Final = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class LayoutImage:
    """An entry of a layout's ``index.json``.

    Attributes:
        target: The manifest or index, without annotations.
        reference: The name that it has, or None.
        label: What it says beside, where that is no name: most often a tag alone.
    """

    target: Descriptor
    reference: Reference | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class DockerImage:
    """An entry of docker's ``manifest.json``.

    Attributes:
        config: The config's path in the archive.
        layers: The layers' paths, base first.
        references: Its names, each with a tag.
    """

    config: str
    layers: tuple[str, ...]
    references: tuple[Reference, ...] = field(default=())


def blob_path(digest: Digest) -> str:
    """Where a layout has a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def parse_blob_path(path: str) -> Digest | None:
    """The digest of the blob that a layout has at a path; None for any other path.

    Raises:
        FormatError: ``ARCHIVE_INVALID`` for a path in the folder of an algorithm that is known, or
            of one that could be, that names no digest.
    """
    folder, _, rest = path.partition("/")
    if folder != "blobs":
        return None
    algorithm, _, encoded = rest.partition("/")
    try:
        return Digest.parse(f"{algorithm}:{encoded}")
    except FormatError as error:
        raise FormatError("ARCHIVE_INVALID", f"{show(path)} is no blob: {error}", path) from error


def is_layout(raw: bytes) -> bool:
    """Say whether an ``oci-layout`` is of a version that is known.

    Raises:
        FormatError: ``ARCHIVE_INVALID`` where it is malformed.
    """
    document = load_object(raw, reason="ARCHIVE_INVALID", what=LAYOUT_DOCUMENT)
    fields = Fields(document, reason="ARCHIVE_INVALID", where=LAYOUT_DOCUMENT)
    return fields.string("imageLayoutVersion") == _VERSION


def layout_document() -> bytes:
    """Write an ``oci-layout``."""
    return _dump({"imageLayoutVersion": _VERSION})


def parse_layout_index(raw: bytes) -> tuple[LayoutImage, ...]:
    """Read a layout's ``index.json``.

    A full name is containerd's annotation, else OCI's where it has a ``/`` or ``:``; that is a tag
    alone in what Docker and containerd write, and a full name in what podman and skopeo do.

    Raises:
        FormatError: ``ARCHIVE_INVALID`` for too many entries, or a name that is none; what
            `parse_manifest` raises.
    """
    index = parse_manifest(raw, media.OCI_INDEX)
    assert isinstance(index, Index)
    _check_count(len(index.manifests), LAYOUT_INDEX)
    return tuple(_layout_image(one) for one in index.manifests)


def _layout_image(entry: Descriptor) -> LayoutImage:
    target = replace(entry, annotations={}, data=None)
    full, ref = entry.annotations.get(_FULL_NAME, ""), entry.annotations.get(_REF_NAME, "")
    try:
        if not full and not ("/" in ref or ":" in ref):
            return LayoutImage(target, None, ref)
        reference = _reference(full or ref, LAYOUT_INDEX)
    except FormatError:
        if full:
            raise
        # OCI allows words there that are no reference.
        return LayoutImage(target, None, ref)
    if reference.digest and reference.digest != target.digest:
        raise FormatError(
            "ARCHIVE_INVALID",
            f"{LAYOUT_INDEX} names {target.digest} by another digest: {show(str(reference))}",
            str(reference),
        )
    return LayoutImage(target, reference)


def layout_index(images: Sequence[LayoutImage]) -> bytes:
    """Write a layout's ``index.json``: an entry for each image, with both names' annotations.

    OCI's is the tag alone, as containerd writes it, unless another image has the same tag.
    """
    tags = Counter(one.reference.tag for one in images if one.reference)
    entries: list[object] = []
    for one in images:
        annotations = {}
        if reference := one.reference:
            alone = reference.tag and tags[reference.tag] == 1
            annotations = {
                _FULL_NAME: str(reference),
                _REF_NAME: str(reference.tag if alone else reference),
            }
        entries.append(replace(one.target, annotations=annotations, data=None).to_json())
    return _dump({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries})


def select_entry(raw: bytes, ref_name: str) -> Descriptor:
    """The entry of a layout's ``index.json`` with this ref name; empty where there is one alone.

    Raises:
        FormatError: ``ARCHIVE_INVALID`` where there is none, or where several could be meant; what
            `parse_manifest` raises.
    """
    index = parse_manifest(raw, media.OCI_INDEX)
    assert isinstance(index, Index)
    found = [
        one
        for one in index.manifests
        if not ref_name or ref_name in (one.annotations.get(key) for key in (_REF_NAME, _FULL_NAME))
    ]
    if len(found) != 1:
        known = [one.annotations.get(_REF_NAME, "") for one in index.manifests]
        names = ", ".join(show(name) for name in known if name)[:500] or "none"
        wanted = f"entries named {show(ref_name)}" if ref_name else "entries, and no name was given"
        raise FormatError(
            "ARCHIVE_INVALID", f"the layout has {len(found)} {wanted}; names are: {names}", ref_name
        )
    return found[0]


def layout_entry(raw: bytes, entry: Descriptor) -> bytes:
    """Write a layout's ``index.json`` with an entry more, or in the place of those of its ref name;
    without one, of those that are the same. The others stay as they are written.

    Raises:
        FormatError: What `parse_manifest` raises.
    """
    index = parse_manifest(raw, media.OCI_INDEX)
    assert isinstance(index, Index)
    name = entry.annotations.get(_REF_NAME, "")
    document = load_object(raw, reason="MANIFEST_INVALID", what=LAYOUT_INDEX)
    entries = Fields(document, reason="MANIFEST_INVALID", where="").array("manifests")
    kept = [
        written
        for one, written in zip(index.manifests, entries, strict=True)
        if (one.annotations.get(_REF_NAME, "") != name if name else one.digest != entry.digest)
    ]
    return _dump({**document, "manifests": [*kept, entry.to_json()]})


def named_entry(target: Descriptor, reference: Reference | None, ref_name: str) -> Descriptor:
    """The entry of an image that is known by a reference, or by a ref name, or by none."""
    name = ref_name or (str(reference.tag or reference) if reference else "")
    annotations = {_FULL_NAME: str(reference)} if reference else {}
    if name:
        annotations[_REF_NAME] = name
    return replace(target, annotations=annotations, data=None)


def parse_docker_document(raw: bytes) -> tuple[DockerImage, ...]:
    """Read docker's ``manifest.json``.

    Raises:
        FormatError: ``ARCHIVE_INVALID``: it is malformed, lists too much, or a name is none.
    """
    entries = load_array(raw, reason="ARCHIVE_INVALID", what=DOCKER_DOCUMENT)
    _check_count(len(entries), DOCKER_DOCUMENT)
    return tuple(
        _docker_image(entry, f"{DOCKER_DOCUMENT}[{number}]") for number, entry in enumerate(entries)
    )


def _docker_image(entry: object, where: str) -> DockerImage:
    fields = Fields(entry, reason="ARCHIVE_INVALID", where=where)
    config, layers, tags = (
        fields.string("Config"),
        fields.strings("Layers"),
        fields.strings("RepoTags"),
    )
    if not config:
        raise fields.bad("Config", "is missing")
    if len(layers) > MAX_LAYERS or len(tags) > _MAX_TAGS:
        raise fields.bad("", f"has more than {MAX_LAYERS} layers or {_MAX_TAGS} names")
    references = [_reference(tag, fields.place("RepoTags")) for tag in tags]
    if any(one.digest for one in references):
        raise fields.bad("RepoTags", "must hold names with tags, not digests")
    return DockerImage(config, layers, tuple(dict.fromkeys(references)))


def docker_document(images: Sequence[DockerImage]) -> bytes:
    """Write docker's ``manifest.json``."""
    return _dump(
        [
            {
                "Config": one.config,
                "RepoTags": [reference.familiar() for reference in one.references] or None,
                "Layers": list(one.layers),
            }
            for one in images
        ]
    )


def docker_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """Write the manifest (Docker schema 2) of an image that came without one, always the same."""
    return _dump(
        {
            "schemaVersion": 2,
            "mediaType": media.DOCKER_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
    )


def _check_count(count: int, where: str) -> None:
    if count > MAX_ARCHIVE_IMAGES:
        raise FormatError(
            "ARCHIVE_INVALID", f"{where} lists {count} images, and {MAX_ARCHIVE_IMAGES} is the most"
        )


def _reference(text: str, where: str) -> Reference:
    try:
        return Reference.parse(text).with_default_tag()
    except FormatError as error:
        raise FormatError("ARCHIVE_INVALID", f"{where}: {error}", text) from error


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
