"""FilesystemService: the tree that layers make, one layer, what each does."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from imgd.v1 import container_pb2, filesystem_pb2, filesystem_service_pb2
from tests.contract.api.served import Api, refusal
from tests.fake_images import OCI_CONFIG, OCI_MANIFEST, FakeImage, descriptor, digest_of, make_image
from tests.unit.rootfs.archives import (
    archive,
    directory,
    file,
    link,
    opaque,
    pax,
    symlink,
    whiteout,
)

NAME = "docker.io/library/app:1"
NOISE = random.Random(5).randbytes(3 << 20)
BASE = archive(
    directory(b"etc"),
    file(b"etc/a", b"one"),
    file(b"etc/motd", b"hello", mode=0o640),
    directory(b"old"),
    file(b"old/x", b"gone"),
    directory(b"usr"),
    directory(b"usr/lib"),
    file(b"usr/lib/libc.so", NOISE),
    link(b"usr/lib/libc.so.6", b"usr/lib/libc.so"),
    symlink(b"lib", b"usr/lib"),
    symlink(b"root-lib", b"/lib"),
    symlink(b"circle", b"circle"),
    symlink(b"out", b"../../../etc/motd"),
    file(b"caf\xe9", b"latin"),
)
MIDDLE = archive(
    file(b"etc/a", b"three"), whiteout(b"etc/motd"), opaque(b"old"), file(b"old/y", b"new")
)
TOP = archive(whiteout(b"usr"), file(b"usr.txt", b""), file(b"deep/er/z", b"z"))
Selector = filesystem_service_pb2.TreeSelector


async def ls(api: Api, path: str = "", layer: int | None = None, **more: Any) -> list[str]:
    """The paths of all pages."""
    request = filesystem_service_pb2.ListFilesRequest(
        tree=Selector(image=NAME, layer_index=layer), path=path, **more
    )
    found: list[str] = []
    while True:
        page = await api.files.ListFiles(request)
        found += [one.path for one in page.files]
        if not page.next_page_token:
            return found
        assert len(page.files) <= (request.page_size or 1000)
        request.page_token = page.next_page_token


async def stat(
    api: Api, path: str, *, follow: bool = False, layer: int | None = None
) -> filesystem_pb2.FileInfo:
    request = filesystem_service_pb2.GetFileRequest(
        tree=Selector(image=NAME, layer_index=layer), path=path, follow=follow
    )
    return (await api.files.GetFile(request)).file


async def cat(api: Api, path: str, offset: int = 0, limit: int = 0) -> bytes:
    request = filesystem_service_pb2.ReadFileRequest(
        tree=Selector(image=NAME), path=path, offset=offset, limit=limit
    )
    answers = [one async for one in api.files.ReadFile(request)]
    assert answers[0].HasField("file")
    assert not any(one.HasField("file") for one in answers[1:])
    return b"".join(one.data for one in answers)


async def changes(api: Api, layer: int) -> list[tuple[str, str]]:
    request = filesystem_service_pb2.ListLayerChangesRequest(image=NAME, layer_index=layer)
    kinds = container_pb2.ChangeKind
    return [
        (kinds.Name(one.kind).removeprefix("CHANGE_KIND_")[0], one.path)
        async for answer in api.files.ListLayerChanges(request)
        for one in answer.changes
    ]


async def test_the_merged_tree_shows_what_the_layers_leave(api: Api) -> None:
    await api.store(make_image([BASE, MIDDLE, TOP]), NAME)
    rest = ["/circle", "/deep", "/etc", "/lib", "/old", "/out", "/root-lib", "/usr.txt"]
    assert await ls(api) == ["/caf\ufffd", *rest]
    assert await ls(api, "/etc") == ["/etc/a"]
    everything = await ls(api, recursive=True)
    assert everything == sorted(everything, key=lambda path: path.split("/"))
    assert {"/deep/er/z", "/old/y"} < {*everything}
    assert not {"/etc/motd", "/old/x", "/usr", "/usr/lib"} & {*everything}
    for size in (1, 2, 5):
        assert await ls(api, recursive=True, page_size=size) == everything
        assert await ls(api, page_size=size) == ["/caf\ufffd", *rest]
    found = await stat(api, "/etc/a")
    assert (found.size, found.layer_index, found.mode) == (5, 1, 0o644)
    implied = await stat(api, "/deep/er")
    assert (implied.kind, implied.mode) == (filesystem_pb2.FILE_KIND_DIRECTORY, 0o755)
    assert await cat(api, "/etc/a") == b"three"


async def test_one_layer_is_shown_alone(api: Api) -> None:
    await api.store(make_image([BASE, MIDDLE, TOP]), NAME)
    assert await ls(api, layer=1, recursive=True) == ["/etc", "/etc/a", "/old", "/old/y"]
    assert (await stat(api, "/etc/motd", layer=0)).mode == 0o640
    # In the order that its directory has it, which says nothing of it.
    assert (await stat(api, "/etc", layer=1)).layer_index == 1
    for layer in (3, -1):
        refused = await refusal(
            api.files.GetFile(
                filesystem_service_pb2.GetFileRequest(
                    tree=Selector(image=NAME, layer_index=layer), path="/"
                )
            )
        )
        assert refused.reason == "FIELD_INVALID"


async def test_links_lead_within_the_image_alone(api: Api) -> None:
    await api.store(make_image([BASE]), NAME)
    assert (await stat(api, "/lib")).link_target == "usr/lib"
    assert (await stat(api, "/root-lib", follow=True)).path == "/usr/lib"
    assert await ls(api, "/root-lib") == ["/usr/lib/libc.so", "/usr/lib/libc.so.6"]
    assert await cat(api, "/out") == b"hello"
    shared = await stat(api, "/lib/libc.so.6")
    assert (shared.link_target, shared.size) == ("/usr/lib/libc.so", len(NOISE))
    assert await cat(api, "/lib/libc.so.6") == NOISE
    for path in ("/circle/x", "/nothing", "/etc/a/b", "/../nothing"):
        request = filesystem_service_pb2.GetFileRequest(tree=Selector(image=NAME), path=path)
        assert (await refusal(api.files.GetFile(request))).reason == "FILE_NOT_FOUND"


def packed(how: str, *archives: bytes) -> FakeImage:
    packers: dict[str, Callable[[bytes], bytes]] = {
        "plain": bytes,
        "gzip": gzip.compress,
        "zstd": zstandard.compress,
    }
    layers = [packers[how](one) for one in archives]
    kind = "application/vnd.oci.image.layer.v1.tar" + ("" if how == "plain" else f"+{how}")
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in archives]},
        }
    ).encode()
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, OCI_CONFIG),
            "layers": [descriptor(one, kind) for one in layers],
        }
    ).encode()
    blobs = {digest_of(one): one for one in (config, *layers)}
    return FakeImage(raw, OCI_MANIFEST, blobs, {digest_of(raw): (OCI_MANIFEST, raw)})


@pytest.mark.parametrize("how", ["plain", "gzip", "zstd"])
async def test_ranges_of_files_are_read_whatever_packed_them(api: Api, how: str) -> None:
    records = {b"GNU.sparse.map": b"2,3,1000000,3", b"GNU.sparse.size": b"1000010"}
    sparse = archive(pax(records), file(b"hole", b"ABCDEF"), file(b"next", b"n"))
    whole = b"\0\0ABC".ljust(1_000_000, b"\0") + b"DEF".ljust(10, b"\0")
    await api.store(packed(how, BASE, sparse), NAME)
    path, size = "/usr/lib/libc.so", len(NOISE)
    for offset, limit in [(0, 0), (7, 1), (size - 5, 100), (size, 0), (1 << 20, (1 << 20) + 3)]:
        end = offset + limit if limit else size
        assert await cat(api, path, offset, limit) == NOISE[offset:end]
    assert await cat(api, "/next") == b"n"
    for offset, limit in [(0, 0), (3, 1), (4, 999_998), (600_000, 10), (1_000_001, 0)]:
        assert await cat(api, "/hole", offset, limit) == whole[offset:][: limit or None]
    request = filesystem_service_pb2.ReadFileRequest(
        tree=Selector(image=NAME), path=path, offset=size + 1
    )
    call = api.files.ReadFile(request)
    assert (await refusal(call.read())).reason == "OFFSET_MISMATCH"


async def test_layers_tell_what_they_do(api: Api) -> None:
    await api.store(make_image([BASE, MIDDLE, TOP]), NAME)
    assert await changes(api, 1) == [
        ("C", "/etc/a"),
        ("D", "/etc/motd"),
        ("D", "/old/x"),
        ("A", "/old/y"),
    ]
    assert await changes(api, 2) == [
        ("A", "/deep"),
        ("A", "/deep/er"),
        ("A", "/deep/er/z"),
        ("D", "/usr"),
        ("D", "/usr/lib"),
        ("D", "/usr/lib/libc.so"),
        ("D", "/usr/lib/libc.so.6"),
        ("A", "/usr.txt"),
    ]
    for _ in range(2):
        answer = await api.files.ListLayers(filesystem_service_pb2.ListLayersRequest(image=NAME))
        base, middle, top = answer.layers
        assert (base.added_count, base.changed_count, base.deleted_count) == (14, 0, 0)
        assert base.unpacked_size == 3 + 5 + 4 + len(NOISE) + 5
        assert (middle.added_count, middle.changed_count, middle.deleted_count) == (1, 1, 2)
        assert (middle.unpacked_size, middle.wasted_size) == (8, 3 + 5 + 4)
        assert (top.deleted_count, top.wasted_size) == (4, len(NOISE))
        assert base.created_by == "layer 0"
        wasted = 12 + len(NOISE)
        assert answer.wasted_size == wasted
        assert answer.efficiency == pytest.approx(1 - wasted / (wasted + 5 + 8 + 1))


async def test_files_are_found_by_pattern(api: Api) -> None:
    await api.store(make_image([BASE]), NAME)
    assert await ls(api, recursive=True, pattern="libc*") == [
        "/usr/lib/libc.so",
        "/usr/lib/libc.so.6",
    ]
    assert await ls(api, recursive=True, pattern="/usr/**.so") == ["/usr/lib/libc.so"]
    assert await ls(api, recursive=True, pattern="/*/[a-m]", page_size=1) == ["/etc/a"]
    request = filesystem_service_pb2.ListFilesRequest(tree=Selector(image=NAME), pattern="[z")
    assert (await refusal(api.files.ListFiles(request))).reason == "FIELD_INVALID"


async def test_names_that_are_no_utf8_come_whole(api: Api) -> None:
    await api.store(make_image([BASE]), NAME)
    page = await api.files.ListFiles(
        filesystem_service_pb2.ListFilesRequest(tree=Selector(image=NAME))
    )
    first = page.files[0]
    assert (first.path, first.raw_path) == ("/caf\ufffd", b"/caf\xe9")
    assert not any(one.HasField("raw_path") for one in page.files[1:])


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (archive(file(b"../x", b"")), "LAYER_INVALID"),
        (archive(link(b"a", b"etc/passwd")), "LAYER_INVALID"),
        (archive(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/x", b"")), "LAYER_INVALID"),
        (archive(whiteout(b"..")), "LAYER_INVALID"),
        (b"no archive at all" * 100, "LAYER_INVALID"),
    ],
)
async def test_a_layer_that_would_not_unpack_is_refused(
    api: Api, layer: bytes, reason: str
) -> None:
    image = make_image([layer])
    await api.store(image, NAME)
    request = filesystem_service_pb2.GetFileRequest(tree=Selector(image=NAME), path="/")
    for _ in range(2):
        refused = await refusal(api.files.GetFile(request))
        assert refused.reason == reason
