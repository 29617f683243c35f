"""Collecting beside everything else: pulls, pushes, removals, other collections; and the command.

Whatever meets, no image may lack a byte, and in the end nothing is left over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import subprocess
from pathlib import Path

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error
from imgd_server.images import check_store, collect, remove_image
from imgd_server.metadata import SqliteMetadataStore
from imgd_server.oci import Digest
from imgd_server.transfer import now_us
from tests.daemon import BIN, PATIENCE
from tests.fake_images import FakeImage, make_image
from tests.pulling import pulling
from tests.records import lease_record
from tests.registry_inside import Inside, serve_inside
from tests.unit.transfer.fakes import HOST, Lab, open_lab

PLAIN = "application/vnd.oci.image.layer.v1.tar"
DAY = 24 * 3600 * 1_000_000
ROUNDS = 12


def images(count: int) -> list[FakeImage]:
    """Images that share layers with their neighbours."""
    return [
        make_image(
            [b"%d" % (number % 3) * 3000, b"%d" % (number % 2) * 2000, b"own %d" % number],
            layer_type=PLAIN,
            labels={"number": str(number)},
        )
        for number in range(count)
    ]


async def problems(metadata: SqliteMetadataStore, content: LocalContentStore) -> list[str]:
    found = check_store(metadata, content, verify_content=True)
    return [f"{one.subject}: {one.message}" async for _, some in found for one in some]


async def test_pulls_and_removals_beside_collections(tmp_path: Path) -> None:
    chance = random.Random(11)
    shapes = images(6)
    async with open_lab(tmp_path, max_concurrent_blobs=3) as lab:
        for number, image in enumerate(shapes):
            lab.registry.push(image, f"{HOST}/app:{number}")
        for _ in range(ROUNDS):
            await asyncio.gather(
                *(pull_and_remove(lab, chance.randrange(6), chance.random()) for _ in range(6)),
                *(sweep(lab) for _ in range(3)),
            )
            assert isinstance(lab.metadata, SqliteMetadataStore)
            assert isinstance(lab.content, LocalContentStore)
            assert await problems(lab.metadata, lab.content) == []
        left = await lab.metadata.read(lambda session: session.list_images(None, 100))
        for _, one in left:
            await lab.metadata.write(
                lambda session: remove_image(session, f"images/{one.uid}", force=True, now=now_us())  # noqa: B023
            )
        # The leases of pulls that failed, if any did, are over by then.
        await collect(lab.metadata, lab.content, lambda: now_us() + 30 * DAY, dry_run=False)
        assert [*lab.content.blobs(), *lab.content.partials()] == []


async def pull_and_remove(lab: Lab, number: int, luck: float) -> None:
    reference = f"{HOST}/app:{number}"
    assert (await lab.pull(reference)).state == "SUCCEEDED"
    if luck < 0.7:
        # Another one may have removed it already.
        with contextlib.suppress(Error):
            await lab.metadata.write(
                lambda session: remove_image(session, reference, force=True, now=now_us())
            )


async def sweep(lab: Lab) -> None:
    for _ in range(4):
        await collect(lab.metadata, lab.content, now_us, dry_run=False)


async def test_pushes_beside_collections(tmp_path: Path) -> None:
    shapes = images(4)
    async with serve_inside(tmp_path) as inside:
        done = asyncio.Event()

        async def keep_collecting() -> int:
            freed = 0
            while not done.is_set():
                freed += (
                    await collect(inside.metadata, inside.content, now_us, dry_run=False)
                ).deleted_blobs
            return freed

        collecting = asyncio.create_task(keep_collecting())
        try:
            for _ in range(3):
                await asyncio.gather(*(push(inside, image, n) for n, image in enumerate(shapes)))
                assert await problems(inside.metadata, inside.content) == []
                for number, image in enumerate(shapes):
                    answer = await inside.call(
                        "DELETE", f"/v2/app{number}/manifests/{image.digest}"
                    )
                    assert answer.status == 202
        finally:
            done.set()
        await collecting


async def push(inside: Inside, image: FakeImage, number: int) -> None:
    for digest, data in image.blobs.items():
        path = f"/v2/app{number}/blobs/uploads/?digest={digest}"
        answer = await inside.call("POST", path, data=data)
        assert answer.status == 201
    answer = await inside.call(
        "PUT",
        f"/v2/app{number}/manifests/latest",
        data=image.raw,
        headers={"Content-Type": image.media_type},
    )
    assert answer.status == 201, answer.body


# --- the command


def imgd(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "imgd"), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)


async def test_gc_and_fsck_from_the_command_line(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert imgd("gc", "--root", f"{root}/none").returncode == 1
    async with pulling(tmp_path) as puller:
        with puller.content.ingest("x") as ingest:
            ingest.write(b"nobody's")
            digest = ingest.commit(Digest.of(b"nobody's")).digest
        with puller.content.ingest("upload:1") as ingest:
            ingest.write(b"half")
    dry = imgd("gc", "--dry-run", "--root", root)
    told = "1 blobs and 1 unfinished ones: 12 bytes\n"
    assert (dry.returncode, dry.stdout) == (0, f"would delete {told}")
    assert LocalContentStore(tmp_path / "content").find(digest)
    real = imgd("gc", "--root", root)
    assert (real.returncode, real.stdout) == (0, f"deleted {told}")
    assert imgd("gc", "--root", root).stdout == "deleted 0 blobs and 0 unfinished ones: 0 bytes\n"
    (tmp_path / "content" / "blobs" / "note").touch()
    assert imgd("fsck", "--root", root).returncode == 1
    mended = imgd("fsck", "--repair", "--root", root)
    assert mended.returncode == 0
    assert mended.stdout.startswith("STORE_CORRUPT blobs/note: ")
    assert imgd("fsck", "--root", root).stdout == "no problems found\n"


async def test_a_look_from_the_command_line_changes_nothing(tmp_path: Path) -> None:
    async with pulling(tmp_path) as puller:
        content = puller.content
        large = b"too large to be freed at once" * 50_000
        for data in (large, b"there"):
            with content.ingest("x") as ingest:
                ingest.write(data)
                ingest.commit(Digest.of(data))
        content.discard(Digest.of(large))
        with content.ingest(Digest.of(b"there")) as ingest:
            ingest.write(b"the")
        over = lease_record("over", 1, digests=(Digest.of(b"there"),))
        await puller.metadata.write(lambda session: session.put_lease(over))

    def look() -> tuple[list[str], list[str]]:
        files = sorted(str(path) for path in (tmp_path / "content").rglob("*"))
        with contextlib.closing(sqlite3.connect(tmp_path / "metadata.db")) as database:
            return files, [*database.iterdump()]

    before = look()
    for words, told in (
        (("fsck",), "no problems found"),
        (("gc", "--dry-run"), "would delete 1 blobs and 1 unfinished ones: 8 bytes"),
    ):
        done = imgd(*words, "--root", str(tmp_path))
        assert (done.returncode, done.stdout) == (0, f"{told}\n")
        assert look() == before
    assert imgd("gc", "--root", str(tmp_path)).returncode == 0
    assert [path for path in (tmp_path / "content").rglob("*/*/*") if path.is_file()] == []
    assert [*(tmp_path / "content" / "trash").iterdir()] == []
