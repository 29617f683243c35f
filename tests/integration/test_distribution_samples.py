"""The sample images: the same bytes wherever they are built, served from a root of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from imgd_client import Client
from imgd_server.content import LocalContentStore
from imgd_server.distribution import SampleStore, _samples, open_samples
from imgd_server.images import check_store
from imgd_server.oci import Digest
from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.peers import require
from tests.real_images import raw_manifest, run
from tests.registry_inside import serve_inside

NAMES = ["localhost/samples/hello:latest", "localhost/samples/python:latest"]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small library for this Python, so that building takes no time."""
    folder = tmp_path / "library"
    write_library(folder, reverse=False)
    use_library(folder, monkeypatch)
    return folder


def use_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = "imgd_server.distribution._samples.sysconfig.get_paths"
    monkeypatch.setattr(where, lambda: {"stdlib": str(folder)})


def write_library(folder: Path, *, reverse: bool) -> None:
    """Files for every layer, made in one order or the other."""
    files = [
        "os.py",
        "re/x.py",
        "json/a.py",
        "json/b.py",
        "asyncio/x.py",
        "unittest/x.py",
        "csv.py",
    ]
    passed_over = [
        "__pycache__/os.pyc",
        "json/__pycache__/a.pyc",
        "site-packages/x.py",
        "config-3/x",
    ]
    for number, name in enumerate(sorted([*files, *passed_over], reverse=reverse)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n" * 100)
        path.chmod(0o600 if reverse else 0o755)
        os.utime(path, (number, number))
    (folder / "link.py").symlink_to("os.py")


@asynccontextmanager
async def opened(root: Path) -> AsyncIterator[SampleStore]:
    samples = await open_samples(root)
    try:
        yield samples
    finally:
        await samples.close()


def blobs(root: Path) -> set[str]:
    return {str(blob.digest) for blob in LocalContentStore(root / "content").blobs()}


async def test_samples_are_the_same_wherever_they_are_built(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for root in ("one", "two"):
        async with opened(tmp_path / root):
            pass
        # The same files, made in another order, at other times, with other modes.
        other = tmp_path / "other library"
        if not other.exists():
            write_library(other, reverse=True)
            use_library(other, monkeypatch)
    assert blobs(tmp_path / "one") == blobs(tmp_path / "two")


async def test_samples_are_whole_images(library: Path, tmp_path: Path) -> None:
    async with opened(tmp_path / "samples") as samples:
        assert samples.repositories == ("samples/hello", "samples/python")
        for name in NAMES:
            record = await samples.metadata.read(
                lambda session, name=name: session.image_by_name(name)  # type: ignore[misc]
            )
            assert record is not None
            assert record.complete
        found = [
            problem
            async for _, problems in check_store(
                samples.metadata, samples.content, verify_content=True
            )
            for problem in problems
        ]
        assert found == []


async def test_the_library_is_in_the_layers_once(library: Path, tmp_path: Path) -> None:
    async with opened(tmp_path / "samples") as samples:
        record = await samples.metadata.read(lambda session: session.image_by_name(NAMES[1]))
        assert record is not None
        manifest = json.loads(samples.content.read(record.target.digest, 1 << 20))
        names = []
        for layer in manifest["layers"]:
            data = samples.content.read(Digest.parse(layer["digest"]), 1 << 20)
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                members = archive.getmembers()
            assert all(one.mtime == one.uid == one.gid == 0 for one in members)
            names.append({one.name for one in members if one.isfile()})
    assert [len(one) for one in names] == [2, 3, 1, 1]
    files = set().union(*names)
    assert files == {
        f"usr/lib/python/{path.relative_to(library)}"
        for path in library.rglob("*.py")
        if not path.is_symlink() and "packages" not in str(path)
    }


async def test_samples_are_built_once(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "samples"):
        before = blobs(tmp_path / "samples")

    def again(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(_samples, "_build_python", again)
    monkeypatch.setattr(_samples, "_build_hello", again)
    async with opened(tmp_path / "samples"):
        assert blobs(tmp_path / "samples") == before


async def test_a_build_that_was_broken_off_is_completed(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "samples"
    with monkeypatch.context() as patched:

        def broken(*_: object) -> None:
            raise OSError("the power failed")

        patched.setattr(_samples, "_put_image", broken)
        with pytest.raises(OSError, match="the power failed"):
            await open_samples(root)
    async with opened(root) as samples:
        assert await samples.metadata.read(lambda session: session.count_images()) == 2


async def test_samples_are_read_only_and_apart(library: Path, tmp_path: Path) -> None:
    async with (
        opened(tmp_path / "samples") as samples,
        serve_inside(tmp_path / "own", samples=samples) as inside,
    ):
        tags = await inside.call("GET", "/v2/samples/hello/tags/list")
        assert tags.json == {"name": "samples/hello", "tags": ["1", "latest"]}
        manifest = await inside.call("GET", "/v2/samples/python/manifests/latest")
        blob = manifest.json["layers"][0]["digest"]
        writes: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/v2/samples/python/blobs/uploads/", {}),
            ("PUT", "/v2/samples/new/manifests/1", {"data": manifest.body}),
            ("DELETE", "/v2/samples/python/manifests/latest", {}),
            ("DELETE", f"/v2/samples/python/blobs/{blob}", {}),
        ]
        for method, path, more in writes:
            answer = await inside.call(method, path, **more)
            assert (answer.status, answer.code) == (405, "UNSUPPORTED")
        # What is not in the store can't be mounted into it.
        for source in ("&from=samples/python", ""):
            answer = await inside.call("POST", f"/v2/app/blobs/uploads/?mount={blob}{source}")
            assert answer.status == 202
        await inside.push_blob("own", b"blob")
        catalog = await inside.call("GET", "/v2/_catalog")
        assert catalog.json["repositories"] == ["own", "samples/hello", "samples/python"]
        page = await inside.call("GET", "/v2/_catalog?n=1&last=own")
        assert page.json["repositories"] == ["samples/hello"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "state", "--registry-listen", "127.0.0.1:0", "--samples") as daemon:
        yield daemon


def test_pulling_a_sample_moves_bytes(daemon: Daemon, tmp_path: Path) -> None:
    """The real one, made of this machine's library, as other clients and imgd see it."""
    name = f"{daemon.registry}/samples/python:latest"
    manifest = json.loads(raw_manifest(name))
    size = sum(layer["size"] for layer in manifest["layers"])
    assert len(manifest["layers"]) >= 3
    assert size > 5_000_000
    assert b"PASS" in run("crane", "validate", f"--remote={name}")
    with Client(daemon.address) as client:
        assert list(client.images.list()) == []
        with client.pull(name) as pull:
            outcome = pull.result().outcome
        assert outcome.fetched_bytes > size
        (image,) = client.images.list()
        assert list(image.tags) == [name]
    target = f"oci:{tmp_path / 'hello'}:1"
    source = f"docker://{daemon.registry}/samples/hello:1"
    run("skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", source, target)
    refused = subprocess.run(
        [str(require("crane")), "tag", name, "mine"], capture_output=True, timeout=PATIENCE
    )
    assert refused.returncode != 0
    assert b"read-only" in refused.stderr
