"""A real daemon killed (SIGKILL) in the middle of a load: nothing of it shows, and all goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgd.v1 import transfer_pb2
from imgd_client import Client, ImgdError
from tests.daemon import PATIENCE, run_daemon
from tests.unit.transfer.fakes import layered
from tests.unit.transfer.image_archives import FULL_NAME, layout, tar

NAME = "registry.test/team/app:1"
IMAGE = layered(3 << 20, 2 << 20)
OTHER = layered(1000, seed=8)
ARCHIVE = tar(layout((IMAGE, {FULL_NAME: NAME})))
PIECE = 64 << 10
RUNNING = transfer_pb2.TRANSFER_STATE_RUNNING


# In the middle of a blob, behind some of them, and before the documents at the end.
@pytest.mark.parametrize("share", [0.3, 0.75, 0.999])
def test_a_killed_load_leaves_nothing(tmp_path: Path, share: float) -> None:
    sent, killed = threading.Event(), threading.Event()
    end = int(len(ARCHIVE) * share)

    def half() -> Iterator[bytes]:
        for start in range(0, end, PIECE):
            yield ARCHIVE[start : min(start + PIECE, end)]
        sent.set()
        assert killed.wait(PATIENCE)

    with run_daemon(tmp_path / "state") as daemon, Client(daemon.address, patience=0) as client:
        client.archives.load([tar(layout((OTHER, {FULL_NAME: NAME})))])

        def kill() -> None:
            assert sent.wait(PATIENCE)
            # What was sent may still be on its way.
            with Client(daemon.address) as other:
                deadline = time.monotonic() + PATIENCE
                while not any(one.state == RUNNING for one in other.transfers.list()):
                    assert time.monotonic() < deadline
            daemon.kill()
            killed.set()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(ImgdError):
            client.archives.load(half())
        killer.join(PATIENCE)
    with run_daemon(tmp_path / "state") as daemon, Client(daemon.address) as client:
        (image,) = client.images.list()
        assert (image.target.digest, [*image.tags]) == (OTHER.digest, [NAME])
        newest, _ = client.transfers.list()
        assert newest.state == transfer_pb2.TRANSFER_STATE_INTERRUPTED
        client.system.collect()
        stored = {path.name for path in (daemon.root / "content" / "blobs").rglob("*/*")}
        own = {*OTHER.blobs, OTHER.digest}
        assert stored == {digest.partition(":")[2] for digest in own}
        assert [*(daemon.root / "content" / "ingest").iterdir()] == []
        # And the same archive loads whole.
        client.archives.load([ARCHIVE])
        assert client.images.get(NAME).target.digest == IMAGE.digest
