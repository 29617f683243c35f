"""Images for pulls: for given platforms, in indexes, and of any document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imgd_server.metadata import ImageRecord
from imgd_server.oci import Platform
from tests.fake_images import (
    FakeImage,
    digest_of,
    make_image,
    make_index,
)
from tests.unit.transfer.fakes import (
    HOST,
    Lab,
)

__all__ = [
    "APP",
    "HOST_PLATFORM",
    "OTHER",
    "PLAIN",
    "child",
    "for_platform",
    "image_at",
    "index_of",
    "manifest_of",
    "platform_json",
]

APP = f"{HOST}/app:1"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
HOST_PLATFORM = Platform.host()
OTHER = "linux/s390x"


def for_platform(text: str, **more: Any) -> FakeImage:
    os, architecture, *variant = text.split("/")
    return make_image(
        [text.encode()],
        os=os,
        architecture=architecture,
        variant="".join(variant),
        layer_type=PLAIN,
        **more,
    )


def platform_json(text: str) -> dict[str, str]:
    os, architecture, *variant = text.split("/")
    more = {"variant": variant[0]} if variant else {}
    return {"os": os, "architecture": architecture, **more}


def index_of(*platforms: str, **more: Any) -> FakeImage:
    return make_index([(for_platform(one), platform_json(one)) for one in platforms], **more)


def child(index: FakeImage, number: int) -> str:
    return str(index.document["manifests"][number]["digest"])


def manifest_of(document: Mapping[str, Any], blobs: Mapping[str, bytes]) -> FakeImage:
    raw = json.dumps(document).encode()
    kind = str(document["mediaType"])
    return FakeImage(raw, kind, blobs, {digest_of(raw): (kind, raw)})


async def image_at(lab: Lab, name: str) -> ImageRecord:
    record = await lab.metadata.read(lambda session: session.image_by_name(name))
    assert record is not None
    return record
