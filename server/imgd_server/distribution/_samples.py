"""Sample images of real content, so that the main job runs with no network.

`samples/python` has layers made of this Python's own library; `samples/hello` is an index of two
platforms. The same machine makes the same bytes: names are sorted, times and owners are fixed. They
live in a store of their own, so that pulling them really moves bytes.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import stat
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from imgd_server.content import ContentStore, LocalContentStore
from imgd_server.distribution._repository import put_bytes
from imgd_server.images import describe
from imgd_server.metadata import MetadataStore, Name, SqliteMetadataStore, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform, media

__all__ = ["SAMPLES", "SAMPLES_HOST", "SampleStore", "open_samples"]

# The namespace that samples are served under, and the host that names them in their own store.
SAMPLES = "samples"
SAMPLES_HOST = "localhost"
_CREATED = "2026-01-01T00:00:00Z"
# Higher levels take several times as long for a tenth less.
_LEVEL = 3
_LIBRARY = "usr/lib/python"
# Which parts of the library make which layer, lowest first; the rest is the first.
_PARTS = (
    ("the core of the library", None),
    ("text, encodings and data formats", ("encodings", "email", "json", "xml", "html", "csv.py")),
    ("networks and concurrency", ("asyncio", "http", "urllib", "concurrent", "multiprocessing")),
    ("development tools", ("idlelib", "lib2to3", "pydoc_data", "ensurepip", "unittest", "test")),
)


@dataclass(frozen=True, slots=True)
class SampleStore:
    """The samples' own store."""

    content: ContentStore
    metadata: MetadataStore
    repositories: tuple[str, ...]

    async def close(self) -> None:
        """Closes the store."""
        await self.metadata.close()


@dataclass(frozen=True, slots=True)
class _Layer:
    blob: Descriptor
    diff_id: Digest
    comment: str


async def open_samples(root: Path) -> SampleStore:
    """Opens the samples' store, and builds what is missing."""
    content = await asyncio.to_thread(LocalContentStore, root / "content")
    metadata = await SqliteMetadataStore.open(root / "metadata.db")
    repositories = (f"{SAMPLES}/hello", f"{SAMPLES}/python")
    for repository, build in zip(repositories, (_build_hello, _build_python), strict=True):
        full = f"{SAMPLES_HOST}/{repository}"
        if await metadata.read(lambda session: session.image_by_name(f"{full}:latest")):  # noqa: B023
            continue
        target = await asyncio.to_thread(build, content)
        described = await asyncio.to_thread(describe, content, target, Platform.host())

        def show(session: WriteSession) -> None:
            image = session.put_image(
                described.record,  # noqa: B023 - called before they change
                described.platforms,  # noqa: B023
                described.blobs,  # noqa: B023
            )
            for tag in ("latest", "1"):
                session.put_name(Name(f"{full}:{tag}", full), image.uid)  # noqa: B023

        await metadata.write(show)
    return SampleStore(content, metadata, repositories)


def _build_python(content: ContentStore) -> Descriptor:
    library = Path(sysconfig.get_paths()["stdlib"])
    named = {name for _, names in _PARTS for name in names or ()}

    def part(names: tuple[str, ...] | None) -> list[Path]:
        top = sorted(one for one in library.iterdir() if _belongs(one))
        return [one for one in top if (one.name in names if names else one.name not in named)]

    def build(step: tuple[str, tuple[str, ...] | None]) -> _Layer:
        return _put_layer(content, step[0], _files(library, part(step[1])))

    # Deflating is most of the work, and lets go of the interpreter's lock.
    with ThreadPoolExecutor(2) as pool:
        layers = list(pool.map(build, _PARTS))
    return _put_image(content, layers, Platform.host(), ["python3"])


def _belongs(path: Path) -> bool:
    return path.name not in ("__pycache__", "site-packages", "dist-packages") and not (
        path.name.startswith(("config-", "."))
    )


def _files(library: Path, tops: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    for top in tops:
        paths = sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else []
        for path in [top, *paths]:
            inside = path.relative_to(library)
            if "__pycache__" not in inside.parts and not path.is_symlink():
                yield f"{_LIBRARY}/{inside.as_posix()}", path


def _build_hello(content: ContentStore) -> Descriptor:
    manifests = []
    for architecture in ("amd64", "arm64"):
        text = f"hello from imgd, for linux/{architecture}\n".encode()
        layer = _put_archive(content, "a greeting", _tar([("hello.txt", text)]))
        platform = Platform("linux", architecture)
        manifests.append(_put_image(content, [layer], platform, ["cat", "/hello.txt"]))
    index = {
        "schemaVersion": 2,
        "mediaType": media.OCI_INDEX,
        "manifests": [manifest.to_json() for manifest in manifests],
    }
    return _put_json(content, index, media.OCI_INDEX)


def _put_layer(content: ContentStore, comment: str, files: Iterable[tuple[str, Path]]) -> _Layer:
    def entries() -> Iterator[tuple[str, bytes | None]]:
        for name, path in files:
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                yield name, None
            elif stat.S_ISREG(mode):
                yield name, path.read_bytes()

    return _put_archive(content, comment, _tar(entries()))


def _tar(entries: Iterable[tuple[str, bytes | None]]) -> bytes:
    """A tar of files (bytes) and directories (None), the same for the same entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755 if data is None else 0o644
            if data is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            else:
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _put_archive(content: ContentStore, comment: str, archive: bytes) -> _Layer:
    packed = gzip.compress(archive, _LEVEL, mtime=0)
    return _Layer(_put(content, packed, media.OCI_LAYER_GZIP), Digest.of(archive), comment)


def _put_image(
    content: ContentStore, layers: list[_Layer], platform: Platform, command: list[str]
) -> Descriptor:
    config = {
        **platform.to_json(),
        "created": _CREATED,
        "config": {
            "Cmd": command,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": {"dev.imgd.sample": "true"},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [
            {"created": _CREATED, "created_by": "imgd samples", "comment": layer.comment}
            for layer in layers
        ],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": _put_json(content, config, media.OCI_CONFIG).to_json(),
        "layers": [layer.blob.to_json() for layer in layers],
    }
    stored = _put_json(content, manifest, media.OCI_MANIFEST)
    return Descriptor(stored.media_type, stored.digest, stored.size, platform=platform)


def _put_json(content: ContentStore, value: object, media_type: str) -> Descriptor:
    return _put(content, json.dumps(value, sort_keys=True).encode(), media_type)


def _put(content: ContentStore, data: bytes, media_type: str) -> Descriptor:
    digest = Digest.of(data)
    put_bytes(content, digest, data)
    return Descriptor(media_type, digest, len(data))
