"""What an image's config says of its containers, as a message."""

from __future__ import annotations

from google.protobuf import duration_pb2

from imgd.v1 import image_pb2
from imgd_server.images import Inspection

__all__ = ["config_message"]

_MAX_NUMBER = (1 << 63) - 1  # Go's, which Docker reads them into
_TIMES = {
    "Interval": "interval",
    "Timeout": "timeout",
    "StartPeriod": "start_period",
    "StartInterval": "start_interval",
}


def config_message(found: Inspection) -> image_pb2.ImageConfig:
    """The config's `config` object; what has the wrong type in it counts as not set."""
    return image_pb2.ImageConfig(
        user=found.text("User"),
        exposed_ports=sorted(found.keys("ExposedPorts")),
        env=found.words("Env"),
        entrypoint=found.words("Entrypoint"),
        cmd=found.words("Cmd"),
        volumes=sorted(found.keys("Volumes")),
        working_dir=found.text("WorkingDir"),
        labels=found.config.labels if found.config else {},
        stop_signal=found.text("StopSignal"),
        health_check=_health_check(found),
        on_build=found.words("OnBuild"),
        shell=found.words("Shell"),
    )


def _health_check(found: Inspection) -> image_pb2.HealthCheck | None:
    """Docker's: times in nanoseconds, of which zero says nothing (moby, docker-image-spec v1.3)."""
    value = found.value("Healthcheck")
    if not isinstance(value, dict):
        return None
    test = value.get("Test")
    message = image_pb2.HealthCheck(
        test=[one for one in test if isinstance(one, str)] if isinstance(test, list) else []
    )
    for key, name in _TIMES.items():
        if nanoseconds := _number(value.get(key)):
            seconds, rest = divmod(nanoseconds, 10**9)
            getattr(message, name).CopyFrom(duration_pb2.Duration(seconds=seconds, nanos=rest))
    if retries := _number(value.get("Retries")):
        message.retries = retries
    return message


def _number(value: object) -> int:
    """A number above zero; zero for what is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MAX_NUMBER:
        return value
    return 0
