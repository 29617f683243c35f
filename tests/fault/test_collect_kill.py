"""A collection that is killed (SIGKILL) at random moments loses nothing that is held, leaves no
link to nothing, and is completed by the next one.

IMGD_KILL_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from imgd_server.app import check
from imgd_server.config import Config
from imgd_server.content import LocalContentStore
from imgd_server.images import describe
from imgd_server.metadata import SqliteMetadataStore, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform
from tests.daemon import BIN, PATIENCE
from tests.fake_images import FakeImage, make_image
from tests.records import lease_record, tag

ROUNDS = 4
SEED = int(os.environ.get("IMGD_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
GARBAGE = 2000
LINKED = 500
IMAGE = make_image([b"kept" * 1000])
FOREVER = 1 << 60


def fill(content: LocalContentStore, count: int, seed: int) -> list[Digest]:
    """Garbage, written as fast as can be."""
    found = []
    for number in range(count):
        data = f"{seed} {number}".encode()
        digest = Digest.of(data)
        path = content.partial_path("x").parent.parent / "blobs" / "sha256" / digest.hex
        path.write_bytes(data)
        path.chmod(0o444)
        found.append(digest)
    return found


async def prepare(root: Path, image: FakeImage, seed: int) -> None:
    content = LocalContentStore(root / "content")
    metadata = await SqliteMetadataStore.open(root / "metadata.db")
    raws = {digest: raw for digest, (_, raw) in image.manifests.items()}
    for digest, data in {**image.blobs, **raws}.items():
        with content.ingest(digest) as ingest:
            ingest.write(data)
            ingest.commit(Digest(digest))
    target = Descriptor(image.media_type, Digest(image.digest), len(image.raw))
    found = describe(content, target, Platform.host())
    garbage = fill(content, GARBAGE, seed)
    leased = fill(content, 100, -seed)

    def show(session: WriteSession) -> None:
        record = session.put_image(found.record, found.platforms, found.blobs)
        session.put_name(tag("registry.test/kept:1"), record.uid)
        session.put_lease(lease_record("transfer:1", FOREVER, digests=tuple(leased)))
        for digest in garbage[:LINKED]:
            session.link_blob("registry.test/app", digest)

    await metadata.write(show)
    await metadata.close()


def blobs(root: Path) -> int:
    return sum(1 for _ in (root / "content" / "blobs" / "sha256").iterdir())


@pytest.mark.timeout(300)
def test_kills(tmp_path: Path) -> None:
    print(f"IMGD_KILL_SEED={SEED}")
    chance = random.Random(SEED)
    root = tmp_path / "root"
    root.mkdir()
    config = Config(root=str(root))
    command = [str(BIN / "imgd"), "gc", "--root", str(root)]
    kept, hit = 3 + 100, 0
    for number in range(5 * ROUNDS):
        if number >= ROUNDS and hit:
            break
        asyncio.run(prepare(root, IMAGE, number + 1))
        kept = 3 + 100 * (number + 1)
        # How many blobs are to be gone; at the end come links, the sweep and the report.
        wanted = blobs(root) - chance.randint(1, GARBAGE)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                end = time.monotonic() + PATIENCE
                while process.poll() is None and blobs(root) > wanted:
                    assert time.monotonic() < end
                    time.sleep(0.001)
            finally:
                process.kill()
        hit += process.returncode == -signal.SIGKILL
        assert asyncio.run(check(config, verify_content=True)) == []
        assert blobs(root) >= kept
    # Else nothing was tried.
    assert hit
    done = subprocess.run(command, check=False, timeout=PATIENCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert blobs(root) == kept
    assert [*(root / "content" / "trash").iterdir()] == []
    assert asyncio.run(check(config, verify_content=True)) == []
