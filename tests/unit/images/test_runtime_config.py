"""What a bundle says of its image."""

from __future__ import annotations

import json
from dataclasses import replace

from imgd_server.images import describe, inspect
from imgd_server.images._bundle import BundleRequest, User, runtime_config
from imgd_server.oci import Platform
from tests.fake_images import make_image
from tests.unit.images.conftest import Shelf

PREFIX = "org.opencontainers.image."


def implied(shelf: Shelf, labels: dict[str, str]) -> dict[str, str]:
    image = make_image(
        variant="v3",
        labels=labels,
        config={"StopSignal": "INT", "ExposedPorts": {"1/tcp": {}, "2/udp": {}}},
    )
    described = describe(shelf, shelf.add(image), Platform("linux", "amd64"))
    found = inspect(shelf, described.record, described.platforms, None)
    assert found.config is not None
    platform = replace(found.config.platform, os_version="10.1", os_features=("a", "b"))
    found = replace(found, config=replace(found.config, platform=platform, author="Ann"))
    made = runtime_config(
        found, BundleRequest(), User(), root="rootfs", hostname="h", volumes={}, owner=None
    )
    json.dumps(made)
    shown: dict[str, str] = made["annotations"]
    return shown


def test_what_is_implied_becomes_annotations(shelf: Shelf) -> None:
    assert implied(shelf, {"own": "1"}) == {
        f"{PREFIX}os": "linux",
        f"{PREFIX}architecture": "amd64",
        f"{PREFIX}variant": "v3",
        f"{PREFIX}os.version": "10.1",
        f"{PREFIX}os.features": "a,b",
        f"{PREFIX}author": "Ann",
        f"{PREFIX}created": "2024-05-06T07:08:09Z",
        f"{PREFIX}stopSignal": "INT",
        f"{PREFIX}exposedPorts": "1/tcp,2/udp",
        "own": "1",
    }


def test_labels_win(shelf: Shelf) -> None:
    assert implied(shelf, {f"{PREFIX}created": "long ago"})[f"{PREFIX}created"] == "long ago"
