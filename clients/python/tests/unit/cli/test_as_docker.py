"""imgctl prints what docker's command line printed of the same images (oracles/docker.json)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imgd.v1 import image_pb2, image_service_pb2
from imgd_client.cli import _history, _images, _inspect
from imgd_client.cli.__main__ import main

_BOOK = json.loads((Path(__file__).parents[2] / "oracles" / "docker.json").read_text())
# Where docker names its Go types, or counts as usage what is a template.
_OURS = {
    "*formatter.imageContext": "image",
    "*image.historyContext": "history",
    "json.Number": "int",
}
_ZERO = -62135596800


def _seconds(value: int | dict[str, int], now: int) -> int:
    return now - value["ago"] if isinstance(value, dict) else value


def _full(name: str) -> str:
    # No name in the cases has a slash but behind a host.
    return name if "/" in name else f"docker.io/library/{name}"


def _image(summary: dict[str, Any], now: int) -> image_pb2.Image:
    image = image_pb2.Image(
        image_id=summary["Id"],
        tags=[_full(tag) for tag in summary["RepoTags"]],
        repo_digests=[_full(name) for name in summary["RepoDigests"]],
        size=summary["Size"],
    )
    created = _seconds(summary["Created"], now)
    if created != _ZERO:
        image.create_time.seconds = created
    return image


def _step(entry: dict[str, Any], now: int) -> image_pb2.HistoryEntry:
    step = image_pb2.HistoryEntry(
        created_by=entry["CreatedBy"], comment=entry["Comment"], unpacked_size=entry["Size"]
    )
    step.create_time.seconds = _seconds(entry["Created"], now)
    return step


def _inspection(found: dict[str, Any]) -> image_service_pb2.InspectImageResponse:
    config = found["Config"]
    answer = image_service_pb2.InspectImageResponse(
        image=image_pb2.Image(
            image_id=found["Id"],
            tags=[_full(tag) for tag in found["RepoTags"]],
            repo_digests=[_full(name) for name in found["RepoDigests"]],
            size=found["Size"],
        ),
        config=image_pb2.ImageConfig(
            exposed_ports=config["ExposedPorts"],
            env=config["Env"],
            cmd=config["Cmd"],
            working_dir=config["WorkingDir"],
            labels=config["Labels"],
        ),
        author=found["Author"],
        comment=found["Comment"],
        diff_ids=found["RootFS"]["Layers"],
    )
    answer.image.create_time.FromJsonString(found["Created"])
    answer.image.target.media_type = found["Descriptor"]["mediaType"]
    answer.image.target.digest = found["Descriptor"]["digest"]
    answer.image.target.size = found["Descriptor"]["size"]
    answer.platform.os, answer.platform.architecture = found["Os"], found["Architecture"]
    answer.config_blob.digest = found["Id"]
    return answer


class _Images:
    """The daemon's answers, made of what docker's engine answered."""

    def __init__(self, engine: dict[str, Any], now: int) -> None:
        self._engine = engine
        self._now = now

    def list(self, **_: object) -> list[image_pb2.Image]:
        return [_image(one, self._now) for one in self._engine["/images/json"]]

    def history(self, image: str, **_: object) -> Sequence[image_pb2.HistoryEntry]:
        steps = self._engine[f"/images/{image}/history"]
        return [_step(one, self._now) for one in reversed(steps)]

    def inspect(self, image: str, **_: object) -> image_service_pb2.InspectImageResponse:
        return _inspection(self._engine[f"/images/{image}/json"])


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever zone a case sets, the next starts with its own."""
    yield
    monkeypatch.undo()
    time.tzset()


def _name(case: dict[str, Any]) -> str:
    return " ".join([*case["words"], case.get("zone", "")]).strip()[:70]


@pytest.mark.parametrize("case", _BOOK["cases"], ids=_name)
def test_prints_as_docker_does(
    case: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = {**_BOOK["engine"], **case.get("engine", {})}
    client = SimpleNamespace(images=_Images(engine, case["now"]))

    @contextmanager
    def connect() -> Iterator[SimpleNamespace]:
        yield client

    for module in (_images, _history, _inspect):
        monkeypatch.setattr(module, "connect", connect)
    for module in (_images, _history):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: case["now"]))
    monkeypatch.setenv("TZ", case.get("zone", "UTC"))
    time.tzset()

    words = case["words"][1:] if case["words"][:2] == ["image", "inspect"] else case["words"]
    status = main(words)
    printed, told = capsys.readouterr()

    assert bool(status) == bool(case["status"])
    if case["status"]:
        expected = case["stderr"]
        for theirs, ours in _OURS.items():
            expected = expected.replace(theirs, ours)
        assert told == f"imgctl: {expected}"
        assert status == 1
        return
    # What imgd tells of an image beyond docker.
    beyond = re.compile(r',"StoreTime":"[^"]*","LastUseTime":"[^"]*"')
    assert beyond.sub("", printed) == case["stdout"]
