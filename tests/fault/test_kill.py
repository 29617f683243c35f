"""A real daemon killed (SIGKILL) at random moments of its pulls.

After each kill the store must be whole, show the tag as it was before or after the pull and nothing
between, and have whatever was acknowledged; and the next pull must go on at the very byte where the
killed one stopped. IMGD_KILL_ROUNDS sets how many rounds there are, IMGD_KILL_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgd.v1 import transfer_pb2
from imgd_client import Client, ImgdError
from imgd_server.app import check
from imgd_server.config import Config
from imgd_server.content import LocalContentStore
from imgd_server.metadata import ImageRecord, ReadSession, SqliteMetadataStore
from tests.daemon import BIN, Daemon, run_daemon
from tests.fake_images import FakeImage, make_image
from tests.hostile import HostileRegistry, stall

ROUNDS = int(os.environ.get("IMGD_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("IMGD_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)

# A net for a moment that never comes.
PATIENCE = 60.0
LAYER = 3 << 20
# What a kill may cost: bytes that were sent and not yet written, of the layers that move at once.
# The daemon reads up to 512 KiB before it writes; the rest is the sockets'.
IN_FLIGHT = 3 * (1 << 20)


def version(number: int) -> FakeImage:
    """An image of four layers, one of which all versions have."""
    chance = random.Random(number)
    layers = [random.Random(0).randbytes(LAYER), *(chance.randbytes(LAYER) for _ in range(3))]
    return make_image(
        layers,
        layer_type="application/vnd.oci.image.layer.v1.tar",
        labels={"version": str(number)},
    )


@dataclass
class Stored:
    """What a killed daemon left."""

    tags: dict[str, ImageRecord]
    partials: dict[str, int]
    blobs: set[str]
    state: str
    """That of the last transfer."""


async def look(root: Path, uid: str) -> Stored:
    """Opens the store as a daemon would."""
    content = LocalContentStore(root / "content")
    metadata = await SqliteMetadataStore.open(root / "metadata.db")

    def read(session: ReadSession) -> tuple[dict[str, ImageRecord], str]:
        images = [one for _, one in session.list_images(None, 1000)]
        record = session.transfer(uid)
        tags = {name.name: one for one in images for name in one.names}
        return tags, record.state if record else ""

    try:
        tags, state = await metadata.read(read)
    finally:
        await metadata.close()
    return Stored(
        tags,
        {one.key: one.size for one in content.partials() if one.size},
        {one.digest for one in content.blobs()},
        state,
    )


@dataclass
class Pulling:
    """A pull that is watched until it ends, or the daemon does."""

    name: str
    acknowledged: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self, address: str) -> None:
        try:
            with Client(address, patience=0.01) as client:
                for event in client.watch(self.name, min_interval=0.0):
                    if event.HasField("finished"):
                        state = event.finished.transfer.state
                        self.acknowledged = state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
        except ImgdError:
            pass  # it was killed
        finally:
            self.over.set()


class Moment:
    """When to kill, chosen at random; `come` waits for it."""

    def __init__(
        self, chance: random.Random, registry: HostileRegistry, left: dict[str, int], root: Path
    ) -> None:
        """`left` says how many bytes of each blob are still to come."""
        self.registry = registry
        self.before = len(registry.requests)
        blobs = root / "content" / "blobs" / "sha256"
        had = sum(1 for _ in blobs.iterdir())
        missing = chance.randint(1, len(left) or 1)
        moments: dict[str, tuple[int, Callable[[Daemon, Pulling], bool]]] = {
            "at once": (1, lambda _daemon, _pulling: True),
            f"{missing} blobs are here": (
                4,
                lambda _daemon, _pulling: sum(1 for _ in blobs.iterdir()) >= had + missing,
            ),
            "it says that it ended": (
                2,
                lambda daemon, _: any(one.get("event") == "transfer ended" for one in daemon.log),
            ),
            "its caller was told": (2, lambda _, pulling: pulling.over.is_set()),
        }
        digest, place = "", 0
        if coming := [one for one, size in left.items() if size]:
            digest = chance.choice(coming)
            place, some = chance.randrange(left[digest]), chance.randrange(sum(left.values()))
            moments |= {
                f"{digest} stands at {place}": (5, lambda *_: self.sent(digest) >= place),
                f"{some} bytes are sent": (5, lambda *_: self.sent() >= some),
                "the last byte is sent": (4, lambda *_: self.sent() >= sum(left.values())),
            }
        (self.name,) = chance.choices(list(moments), [weight for weight, _ in moments.values()])
        self._is_come = moments[self.name][1]
        registry.behave()
        if "stands at" in self.name:
            registry.on(f"GET .*/blobs/{digest}", stall(place))

    def sent(self, digest: str = "") -> int:
        """Bytes that were sent since this was made, of a blob or of all."""
        return sum(
            one.sent
            for one in self.registry.requests[self.before :]
            if "/blobs/" in one.path and one.path.endswith(digest)
        )

    def come(self, daemon: Daemon, pulling: Pulling) -> None:
        """Waits for it, or for the end of the pull."""
        end = time.monotonic() + PATIENCE
        while not self._is_come(daemon, pulling) and not pulling.over.is_set():
            assert time.monotonic() < end, f"it never came to this: {self.name}"
            pulling.over.wait(0.0005)


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_kills(tmp_path: Path) -> None:
    print(f"IMGD_KILL_SEED={SEED} IMGD_KILL_ROUNDS={ROUNDS}")
    chance = random.Random(SEED)
    root = tmp_path / "root"
    with HostileRegistry() as registry:
        play(chance, registry, root)


def play(chance: random.Random, registry: HostileRegistry, root: Path) -> None:
    """All rounds, and the pull that completes."""
    number, acknowledged, kills = 1, "", 0
    image = version(number)
    reference = registry.add("library/app", image, "1")
    total = {digest: len(data) for digest, data in image.blobs.items()}
    last = Pulling("")
    stored = Stored({}, {}, set(), "")
    for _ in range(ROUNDS):
        before = stored
        with run_daemon(root, "--max-concurrent-blobs", "3") as daemon:
            last, moment = kill_one(chance, registry, daemon, reference, image, last, before)
        kills += 1
        stored = prove_whole(root, last)
        if last.acknowledged:
            acknowledged = image.digest
        told = f"after {moment.name}, with seed {SEED}: "
        tagged = stored.tags[reference].target.digest if reference in stored.tags else ""
        assert tagged in (before.tags[reference].target.digest if before.tags else "", image.digest)
        assert (stored.state == "SUCCEEDED") == (tagged == image.digest), told
        if acknowledged == image.digest:
            assert tagged == image.digest, told
        prove_resumed(moment, before)
        if tagged == image.digest:
            # The next version, while the tag of this one stays until that is whole.
            number += 1
            image, last = version(number), Pulling("")
            registry.add("library/app", image, "1")
            total |= {digest: len(data) for digest, data in image.blobs.items()}
    registry.behave()
    with run_daemon(root) as daemon:
        assert daemon.imgctl("pull", reference).returncode == 0
        listed = daemon.imgctl("images", "--no-trunc", "--digests").stdout
        assert image.digest in listed
        assert daemon.stop() == 0
    fsck = [str(BIN / "imgd"), "fsck", "--root", str(root), "--verify-content"]
    assert subprocess.run(fsck, check=False, timeout=PATIENCE).returncode == 0
    assert registry.served("GET .*/blobs/") <= sum(total.values()) + kills * IN_FLIGHT


def kill_one(
    chance: random.Random,
    registry: HostileRegistry,
    daemon: Daemon,
    reference: str,
    image: FakeImage,
    last: Pulling,
    stored: Stored,
) -> tuple[Pulling, Moment]:
    """Starts a pull, or resumes the last one, and kills the daemon at some moment of it."""
    left = {
        digest: len(data) - stored.partials.get(digest, 0)
        for digest, data in image.blobs.items()
        if digest not in stored.blobs
    }
    moment = Moment(chance, registry, left, daemon.root)
    with Client(daemon.address) as client:
        if last.name:
            known = client.transfers.get(last.name)
            assert known.state == transfer_pb2.TRANSFER_STATE_INTERRUPTED
        if last.name and chance.random() < 0.5:
            pulling = Pulling(client.transfers.resume(last.name).name)
        else:
            pulling = Pulling(client.transfers.start_pull(reference).name)
        watcher = threading.Thread(target=pulling.watch, args=(daemon.address,))
        watcher.start()
        moment.come(daemon, pulling)
        daemon.kill()
        watcher.join(PATIENCE)
    return pulling, moment


def prove_whole(root: Path, last: Pulling) -> Stored:
    """What `imgd fsck --verify-content` proves, and that no tag points at a part of an image."""
    config = Config(root=str(root))
    assert asyncio.run(check(config, verify_content=True)) == []
    stored = asyncio.run(look(root, last.name.removeprefix("transfers/")))
    assert all(record.complete for record in stored.tags.values())
    return stored


def prove_resumed(moment: Moment, before: Stored) -> None:
    """Each blob was asked for from where it stood, and none that was here."""
    first: dict[str, str] = {}
    for one in moment.registry.requests[moment.before :]:
        if one.method == "GET" and "/blobs/" in one.path:
            first.setdefault(one.path.rpartition("/")[2], one.headers.get("range", ""))
    for digest, wanted in first.items():
        assert digest not in before.blobs
        offset = before.partials.get(digest, 0)
        assert wanted.rpartition("-")[0] == (f"bytes={offset}" if offset else "")
