"""Archives that lie, lead out of themselves or are broken: each is refused, and leaves nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import zstandard
from hypothesis import strategies

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import collect
from imgd_server.oci import Digest
from imgd_server.rootfs import Limits
from imgd_server.transfer import TransferState, now_us
from imgd_server.transfer._members import Members
from tests.fake_images import OCI_INDEX, descriptor, digest_of, make_index
from tests.unit.rootfs.archives import (
    archive,
    device,
    directory,
    entry,
    fifo,
    file,
    gnu_name,
    link,
    pax,
    symlink,
)
from tests.unit.transfer.fakes import Lab, layered, open_lab, outcome_of
from tests.unit.transfer.image_archives import (
    FULL_NAME,
    LAYOUT,
    blob,
    docker_archive,
    layout,
    load,
    tar,
)

NAME = "registry.test/team/app:1"
IMAGE = layered(3000, 500)
GOOD = layout((IMAGE, {FULL_NAME: NAME}))
LAYER = max(IMAGE.blobs.values(), key=len)
RAW_CONFIG = IMAGE.blobs[IMAGE.image_id]
CONFIG = json.dumps(
    {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [digest_of(b"one")]}}
).encode()
BOTH = file(b"layer", b"one"), file(b"config", CONFIG)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    (tmp_path / "state").mkdir()
    async with open_lab(tmp_path / "state") as one:
        yield one


def members(files: dict[str, bytes]) -> list[bytes]:
    return [file(name.encode(), data) for name, data in files.items()]


def beside(*more: bytes) -> bytes:
    """A good archive with more members."""
    return archive(*members(GOOD), *more)


def with_index(value: Any, **files: bytes) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return tar({**GOOD, **files, "index.json": raw})


def entries(*manifests: Any, **files: bytes) -> bytes:
    return with_index({"schemaVersion": 2, "manifests": list(manifests)}, **files)


def docker(document: Any, *files: bytes) -> bytes:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return archive(*files, file(b"manifest.json", raw))


def listed(**more: Any) -> list[dict[str, Any]]:
    return [{"Config": "config", "RepoTags": ["app:1"], "Layers": ["layer"], **more}]


def nested(depth: int) -> bytes:
    image = IMAGE
    for _ in range(depth):
        image = make_index([(image, None)])
    return tar(layout((image, {FULL_NAME: NAME})))


def index_of(*manifests: Any) -> bytes:
    found = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests)}
    return json.dumps(found).encode()


def lying() -> bytes:
    """A layout whose manifest says another size of a layer than it has."""
    layers = [{**IMAGE.document["layers"][0], "size": 1}]
    raw = json.dumps({**IMAGE.document, "layers": layers}).encode()
    blobs = {blob(one): one for one in (*IMAGE.blobs.values(), raw)}
    index = index_of(descriptor(raw, IMAGE.media_type))
    return tar({"oci-layout": LAYOUT, **blobs, "index.json": index})


def without(*files: bytes) -> bytes:
    """A good archive without some files."""
    return tar({name: data for name, data in GOOD.items() if data not in files})


MANIFEST = descriptor(IMAGE.raw, IMAGE.media_type)
INVALID = Reason.ARCHIVE_INVALID
# What each tries, and what it is refused for.
HOSTILE: dict[str, tuple[bytes, Reason]] = {
    # --- no archive
    "nothing": (b"", INVALID),
    "an empty archive": (bytes(1024), INVALID),
    "words": (b"not an archive at all, but long enough to be a header" * 20, INVALID),
    "gzip of words": (gzip.compress(b"words" * 500), INVALID),
    "gzip that is cut off": (gzip.compress(tar(GOOD))[:-40], INVALID),
    "gzip with a wrong checksum": (gzip.compress(tar(GOOD))[:-8] + bytes(8), INVALID),
    "zstd that is cut off": (zstandard.compress(tar(GOOD))[:-40], INVALID),
    "cut off in a file": (tar(GOOD)[: tar(GOOD).index(LAYER) + 100], INVALID),
    "cut off in a header": (tar(GOOD)[: 1024 + 100], INVALID),
    "a header with a wrong checksum": (tar(GOOD).replace(b"oci-layout", b"oci-layouT"), INVALID),
    "more behind its end": (archive(*members(GOOD), end=bytes(512)) + file(b"x"), INVALID),
    # --- names
    "a name above it": (beside(file(b"../x")), INVALID),
    "a name above it in the middle": (beside(file(b"a/../../x")), INVALID),
    "a name that goes up and down": (beside(file(b"a/../b")), INVALID),
    "an absolute name": (beside(file(b"/etc/passwd")), INVALID),
    "a folder above it": (beside(directory(b"../")), INVALID),
    "a name that is empty": (beside(file(b"")), INVALID),
    "a name that is not UTF-8": (beside(file(b"\xff\xfe")), INVALID),
    "a name with a zero byte": (beside(pax({b"path": b"a\0b"}), file(b"x")), INVALID),
    "a name without an end": (beside(gnu_name(b"n" * 5000), file(b"x")), INVALID),
    "a name beside another as a long one": (
        beside(pax({b"path": b"index.json"}), file(b"x", b"{}")),
        INVALID,
    ),
    # --- the same twice
    "two indexes": (beside(file(b"index.json", GOOD["index.json"])), INVALID),
    "two indexes, one spelt otherwise": (
        beside(file(b"./index.json", GOOD["index.json"])),
        INVALID,
    ),
    "two blobs of a digest": (beside(file(blob(LAYER).encode(), LAYER)), INVALID),
    "a link with a file's name": (beside(symlink(b"index.json", b"oci-layout")), INVALID),
    "a file with a folder's name": (beside(directory(b"x/"), file(b"x")), INVALID),
    "a file that is the archive": (beside(file(b".")), INVALID),
    # --- links and devices
    "a link to above it": (beside(symlink(b"x", b"../../etc/passwd")), INVALID),
    "a link from a folder to above it": (beside(symlink(b"a/x", b"../../y")), INVALID),
    "a link to an absolute path": (beside(symlink(b"x", b"/etc/shadow")), INVALID),
    "a hard link to above it": (beside(link(b"x", b"../y")), INVALID),
    "a hard link to an absolute path": (beside(link(b"x", b"/etc/shadow")), INVALID),
    "a device": (beside(device(b"x", 1, 3)), INVALID),
    "a pipe": (beside(fifo(b"x")), INVALID),
    "a file with holes": (
        beside(
            pax({b"GNU.sparse.map": b"0,4", b"GNU.sparse.size": b"1000000"}), file(b"x", b"data")
        ),
        INVALID,
    ),
    "an unknown kind of member": (beside(entry(b"x", kind=b"Z")), INVALID),
    # --- digests and sizes
    "a blob with other bytes": (
        tar({**GOOD, blob(LAYER): bytes(len(LAYER))}),
        Reason.DIGEST_MISMATCH,
    ),
    "a blob that is longer": (tar({**GOOD, blob(LAYER): LAYER + b"x"}), Reason.DIGEST_MISMATCH),
    "a blob that is no digest": (beside(file(b"blobs/sha256/abc")), INVALID),
    "a blob of an unknown algorithm": (beside(file(b"blobs/md5/" + b"0" * 32)), INVALID),
    "a blob in a folder of blobs": (beside(file(blob(LAYER).encode() + b"/x", b"x")), INVALID),
    "an index that lies about a size": (entries({**MANIFEST, "size": 5}), Reason.SIZE_MISMATCH),
    "a manifest that lies about a size": (lying(), Reason.SIZE_MISMATCH),
    "a size that is negative": (entries({**MANIFEST, "size": -1}), Reason.MANIFEST_INVALID),
    # --- documents
    "no oci-layout": (without(LAYOUT), INVALID),
    "an oci-layout of tomorrow": (
        tar({**GOOD, "oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}),
        INVALID,
    ),
    "an oci-layout that is no JSON": (tar({**GOOD, "oci-layout": b"1.0.0"}), INVALID),
    "an index that is no JSON": (with_index(b"{"), Reason.MANIFEST_INVALID),
    "an index that is a manifest": (with_index(IMAGE.document), Reason.MANIFEST_INVALID),
    "an index of nothing": (entries(), INVALID),
    "an index of what is not there": (entries(descriptor(b"gone", IMAGE.media_type)), INVALID),
    "an index of blobs alone": (entries(descriptor(LAYER, "application/x-blob")), INVALID),
    "an index of an index of nothing": (
        entries(descriptor(index_of(), OCI_INDEX), **{blob(index_of()): index_of()}),
        INVALID,
    ),
    "an index of a manifest that says it is an index": (
        entries({**MANIFEST, "mediaType": OCI_INDEX}),
        Reason.MANIFEST_INVALID,
    ),
    "an index of a layer that says it is a manifest": (
        entries(descriptor(LAYER, IMAGE.media_type)),
        Reason.MANIFEST_INVALID,
    ),
    "an index with too many images": (entries(*[MANIFEST] * 1001), INVALID),
    "an index that is too large": (tar({**GOOD, "index.json": b" " * (4 << 20) + b"{}"}), INVALID),
    "indexes that nest too deep": (nested(6), Reason.INDEX_TOO_DEEP),
    "a name that is none": (
        entries({**MANIFEST, "annotations": {FULL_NAME: "UPPER case"}}),
        INVALID,
    ),
    "a name by another digest": (
        entries({**MANIFEST, "annotations": {FULL_NAME: f"app@{digest_of(b'x')}"}}),
        INVALID,
    ),
    "a name for two images": (
        tar(layout((IMAGE, {FULL_NAME: NAME}), (layered(50, seed=9), {FULL_NAME: NAME}))),
        INVALID,
    ),
    "a missing layer": (without(LAYER), INVALID),
    "a missing config": (without(RAW_CONFIG), INVALID),
    "a missing manifest": (without(IMAGE.raw), INVALID),
    # --- docker's form
    "docker's document is no list": (docker({}, *BOTH), INVALID),
    "docker's document is no JSON": (docker(b"[", *BOTH), INVALID),
    "docker's document is empty": (docker([], *BOTH), INVALID),
    "docker's document has no config": (docker(listed(Config=None), *BOTH), INVALID),
    "docker's document lists words": (docker(["app"], *BOTH), INVALID),
    "docker's layer is missing": (docker(listed(Layers=["gone"]), *BOTH), INVALID),
    "docker's layer is above": (docker(listed(Layers=["../layer"]), *BOTH), INVALID),
    "docker's layer is absolute": (docker(listed(Layers=["/layer"]), *BOTH), INVALID),
    "docker's layer is a link to itself": (
        docker(listed(Layers=["l"]), *BOTH, symlink(b"l", b"l")),
        INVALID,
    ),
    "docker's layer is a folder": (docker(listed(Layers=["d"]), *BOTH, directory(b"d/")), INVALID),
    "docker's layers are too few": (docker(listed(Layers=[]), *BOTH), INVALID),
    "docker's layers are too many": (docker(listed(Layers=["layer"] * 2), *BOTH), INVALID),
    "docker's layer is another": (
        docker(listed(Layers=["other"]), *BOTH, file(b"other", archive(file(b"two")))),
        Reason.DIGEST_MISMATCH,
    ),
    "docker's config is a layer": (docker(listed(Config="layer"), *BOTH), Reason.CONFIG_INVALID),
    "docker's name is none": (docker(listed(RepoTags=["A b"]), *BOTH), INVALID),
    "docker's name is a digest": (
        docker(listed(RepoTags=[f"app@{digest_of(b'x')}"]), *BOTH),
        INVALID,
    ),
    "docker's archive before 1.10": (
        archive(file(b"0" * 64 + b"/layer.tar", b"one"), file(b"repositories", b"{}")),
        INVALID,
    ),
    "docker's second image is broken": (
        docker([*listed(), *listed(Layers=["gone"], RepoTags=["b:1"])], *BOTH),
        INVALID,
    ),
}


@pytest.mark.parametrize(("data", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
async def test_an_archive_is_refused_whole(lab: Lab, data: bytes, reason: Reason) -> None:
    # What the name points at stays.
    await load(lab.manager, tar(layout((layered(10, seed=77), {FULL_NAME: NAME}))))
    before = await picture(lab)
    record, loaded = await load(lab.manager, data)
    failure = outcome_of(record).failure
    assert failure is not None, "it was loaded"
    assert failure.reason is reason, failure.message
    assert failure.origin is Origin.SOURCE
    assert (record.state, loaded) == (TransferState.FAILED.name, [])
    assert str(lab.root) not in failure.message
    assert len(failure.message) < 2000
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert await picture(lab) == before
    assert not (lab.root.parent / "x").exists()


async def picture(lab: Lab) -> Any:
    """Everything that a collection leaves."""
    images = await lab.metadata.read(lambda session: session.list_images(None, 100))
    return (
        [image for _, image in images],
        {one.digest for one in lab.content.blobs()},
        [*lab.content.partials()],
        await lab.metadata.read(lambda session: session.expired_leases(now_us() + 10**15, 10)),
    )


def refused(data: bytes, **limits: int) -> Error:
    """What the reader of members alone says of an archive."""
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        position += size
        return data[position - size : position]

    with pytest.raises(Error) as caught:
        for _ in Members(read, Limits(**limits)):
            pass
    assert caught.value.reason is Reason.ARCHIVE_INVALID
    return caught.value


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(file(b"zeros", bytes(8 << 20)))
    assert "times its size" in refused(bomb, ratio_floor=1 << 20, max_ratio=100).message


def test_members_and_their_names_are_bounded() -> None:
    many = archive(*(file(b"%d" % number, b"") for number in range(10_001)))
    assert "10000 files" in refused(many).message
    folders = archive(*(directory(b"d%d/" % number) for number in range(50_001)))
    assert "50000 members" in refused(folders).message
    links = archive(*(symlink(b"l%d" % number, b"x" * 99) for number in range(50_001)))
    assert "50000 members" in refused(links).message
    names = archive(
        *(gnu_name(b"%d" % number + b"/n" * 500) + directory(b"") for number in range(9000))
    )
    assert "8388608" in refused(names).message


async def test_a_disk_that_is_full_is_told_before_a_blob_is_written(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.content, "free_bytes", lambda: (64 << 20) + 1000)
    record, _ = await load(lab.manager, tar(GOOD))
    failure = outcome_of(record).failure
    assert failure is not None
    assert (failure.reason, failure.origin) == (Reason.DISK_FULL, Origin.DESTINATION)
    assert int(failure.metadata["needed_bytes"]) > int(failure.metadata["free_bytes"])
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert [*lab.content.blobs()] == []


SMALL = tar(layout((layered(700, 300, seed=4), {FULL_NAME: NAME})))
OLD = docker_archive(CONFIG, [b"one"], ["app:1"])


@hypothesis.given(data=strategies.data())
@hypothesis.settings(
    max_examples=60, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
async def test_no_damage_loads_anything_but_what_was_meant(
    tmp_path_factory: pytest.TempPathFactory, data: strategies.DataObject
) -> None:
    """Whatever bytes change: an archive is refused, or what is loaded is what it was."""
    whole = data.draw(strategies.sampled_from([SMALL, OLD]))
    damaged = bytearray(whole)
    for _ in range(data.draw(strategies.integers(1, 4))):
        at = data.draw(strategies.integers(0, len(whole) - 1))
        length = data.draw(strategies.sampled_from([0, 1, 2, 12, 512]))
        damaged[at : at + length] = data.draw(strategies.binary(max_size=16))
    async with open_lab(tmp_path_factory.mktemp("fuzz")) as lab:
        record, loaded = await load(lab.manager, bytes(damaged))
        failure = outcome_of(record).failure
        if failure:
            assert loaded == []
            assert failure.reason is not Reason.INTERNAL, failure.message
            assert failure.reason is not Reason.STORE_CORRUPT, failure.message
            await collect(lab.metadata, lab.content, now_us, dry_run=False)
            assert [*lab.content.blobs()] == []
        for image in loaded:
            blobs = await lab.metadata.read(
                lambda session, uid=image.uid: session.image_blobs(uid)  # type: ignore[misc]
            )
            assert all(lab.content.verify(Digest(one.digest)) for one in blobs if one.stored)
