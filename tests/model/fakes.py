"""The images that the model tests pull: few, small, and as entangled as images get."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from imgd_server.oci import Platform
from tests.fake_images import (
    FakeImage,
    descriptor,
    digest_of,
    make_document,
    make_image,
    make_index,
    make_layer,
)

__all__ = ["IMAGES", "Known", "known"]

HOST = Platform.host()
_PLAIN = "application/vnd.oci.image.layer.v1.tar"
_ONE, _TWO, _THREE, _FOUR = (make_layer({f"file{n}": bytes([n]) * 40 * n}) for n in range(1, 5))
_own: dict[str, Any] = {"os": HOST.os, "architecture": HOST.architecture}
_other: dict[str, Any] = {"os": "linux", "architecture": "s390x"}


@dataclass(frozen=True)
class Known:
    """What a model may know of an image, worked out from its bytes alone."""

    image: FakeImage
    image_id: str
    created: int | None
    """Seconds since the epoch."""
    labels: dict[str, str] = field(default_factory=dict)
    kind: str = "image"
    children: tuple[Known, ...] = ()
    """Of an index: the first is this machine's."""

    @property
    def target(self) -> str:
        return self.image.digest

    @property
    def sizes(self) -> dict[str, int]:
        """Every blob, by digest."""
        raws = {digest: raw for digest, (_, raw) in self.image.manifests.items()}
        return {digest: len(raw) for digest, raw in {**self.image.blobs, **raws}.items()}

    @property
    def layers(self) -> set[str]:
        """The blobs that Docker would name when they go."""
        if self.children:
            return set().union(*(child.layers for child in self.children))
        return {layer["digest"] for layer in self.image.document["layers"]}

    def own(self) -> set[str]:
        """The target and, of a manifest, all that it needs."""
        return {self.target} if self.children else set(self.sizes)


def known(
    image: FakeImage, created: int | None = None, labels: dict[str, str] | None = None
) -> Known:
    """A single manifest."""
    return Known(image, image.image_id, created, labels or {})


def _artifact() -> Known:
    empty, document = b"{}", b'{"components": []}'
    image = make_document(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.test.sbom",
            "config": descriptor(empty, "application/vnd.oci.empty.v1+json"),
            "layers": [descriptor(document, "application/json")],
        },
        blobs={digest_of(one): one for one in (empty, document)},
    )
    return Known(image, image.digest, None, kind="artifact")


def _index(*children: tuple[Known, dict[str, str]]) -> Known:
    image = make_index([(child.image, platform) for child, platform in children])
    first = children[0][0]
    return Known(
        image,
        first.image_id,
        first.created,
        first.labels,
        children=tuple(child for child, _ in children),
    )


_WEB = {"tier": "web", "maintainer": "Zoë"}
_A = known(
    make_image([_ONE], created="2024-01-01T00:00:00Z", labels=_WEB, **_own), 1704067200, labels=_WEB
)
# The same build, packed otherwise: two images that share an ID.
_PACKED = known(
    make_image([_ONE], created="2024-01-01T00:00:00Z", labels=_WEB, layer_type=_PLAIN, **_own),
    1704067200,
    labels=_WEB,
)
_B = known(
    make_image([_ONE, _TWO], created="2024-02-01T00:00:00Z", labels={"tier": "db"}, **_own),
    1706745600,
    labels={"tier": "db"},
)
_C = known(make_image([_THREE], created=None, **_own))
_FOREIGN = known(make_image([_ONE, _FOUR], created="2024-03-01T00:00:00Z", **_other), 1709251200)

IMAGES: dict[str, Known] = {
    "base": _A,
    "packed": _PACKED,
    "child": _B,
    "undated": _C,
    # Shares its ID with `base`, whose manifest is its child, too.
    "index": _index((_A, _own), (_FOREIGN, _other)),
    "other index": _index((_B, _own), (_FOREIGN, _other)),
    "artifact": _artifact(),
}
assert _A.image_id == _PACKED.image_id
assert json.loads(_A.image.raw) != json.loads(_PACKED.image.raw)
