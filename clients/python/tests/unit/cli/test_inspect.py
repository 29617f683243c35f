"""What imgctl's inspect shows, where no answer of docker's is at hand."""

from __future__ import annotations

import json

from imgd.v1 import image_pb2, image_service_pb2
from imgd_client.cli._inspect import describe
from imgd_client.cli.gotemplate import encode


def _shown(config: image_pb2.ImageConfig) -> object:
    """The `Config` that is printed."""
    answer = image_service_pb2.InspectImageResponse(config=config)
    return json.loads(encode(describe(answer)))["Config"]


def test_health_check_and_triggers_are_in_docker_s_form() -> None:
    config = image_pb2.ImageConfig(
        on_build=["RUN a"],
        shell=["/bin/ash", "-c"],
        health_check=image_pb2.HealthCheck(test=["CMD", "true"], retries=3),
    )
    config.health_check.interval.FromMilliseconds(1500)
    assert _shown(config) == {
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_500_000_000, "Retries": 3},
        "OnBuild": ["RUN a"],
        "Shell": ["/bin/ash", "-c"],
    }


def test_an_image_without_them_says_nothing_of_them() -> None:
    assert _shown(image_pb2.ImageConfig(user="me")) == {"User": "me"}
