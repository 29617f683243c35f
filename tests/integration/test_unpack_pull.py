"""Pulls that unpack, against a registry that does as it is told and a daemon as it is run."""

from __future__ import annotations

import json
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd.v1 import transfer_pb2
from imgd_client import Client, TransferFailed
from tests.daemon import Daemon, imgd, run_daemon
from tests.fake_images import (
    FakeImage,
    descriptor,
    digest_of,
    make_document,
    make_image,
    make_index,
    make_layer,
)
from tests.hostile import HostileRegistry, both, ignore_range, replaced, reset, stall
from tests.overlay import need_overlay
from tests.unit.rootfs.archives import archive, directory, file, opaque, whiteout

PATIENCE = 60.0
KINDS = ["overlay", "copy"]
UNPACK = transfer_pb2.ACTIVITY_KIND_UNPACK


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


BASE = archive(
    directory(b"etc"),
    directory(b"old"),
    file(b"etc/a", b"one"),
    file(b"old/x", b"gone"),
    file(b"big", noise(1, 3 << 20), mode=0o4755),
)
MIDDLE = archive(directory(b"etc"), file(b"etc/b", b"two"), whiteout(b"etc/a"), opaque(b"old"))
TOP = archive(directory(b"top"), file(b"top/c", noise(2, 2 << 20)))
APP = make_image([BASE, MIDDLE, TOP])
BYTES = [len(BASE), len(MIDDLE), len(TOP)]
FILES = (3 << 20) + 7 + 3 + (2 << 20)


@pytest.fixture(name="registry")
def run_registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.add("app", APP, "1")
        yield registry


def daemon_of(kind: str, tmp_path: Path, *flags: str) -> Any:
    if kind == "overlay":
        need_overlay(tmp_path)
    return run_daemon(tmp_path / "state", "--snapshotter", kind, *flags)


@pytest.fixture(params=KINDS, name="daemon")
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Daemon]:
    with daemon_of(request.param, tmp_path) as daemon:
        yield daemon


def kind_of(daemon: Daemon) -> str:
    (folder,) = (daemon.root / "snapshots").iterdir()
    return folder.name


def snapshots(daemon: Daemon) -> int:
    """How many are visible."""
    return len([*(daemon.root / "snapshots").glob("*/chains/*/*")])


def folders(daemon: Daemon) -> int:
    """How many layers are on the disk, visible or not."""
    return len([*(daemon.root / "snapshots").glob("*/layers/*")])


def expected(daemon: Daemon, layers: int) -> int:
    return layers if kind_of(daemon) == "overlay" else 1


def layer_nodes(client: Client, transfer: transfer_pb2.Transfer) -> list[Any]:
    """The layers' nodes at the end of a transfer."""
    nodes: dict[str, Any] = {}
    for event in client.watch(transfer.name):
        for kind in ("snapshot", "update"):
            if event.HasField(kind):
                nodes |= {one.node_id: one for one in getattr(event, kind).nodes}
    return [one for one in nodes.values() if one.kind == transfer_pb2.NODE_KIND_LAYER]


def unpacked_bytes(node: Any) -> list[int]:
    return [one.current_bytes for one in node.activities if one.kind == UNPACK]


def test_a_pull_unpacks(daemon: Daemon, registry: HostileRegistry) -> None:
    with Client(daemon.address) as client:
        assert client.system.capabilities().snapshotter == kind_of(daemon)
        transfer = client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        nodes = layer_nodes(client, transfer)
        assert [unpacked_bytes(node) for node in nodes] == [[size] for size in BYTES]
        assert {node.state for node in nodes} == {transfer_pb2.NODE_STATE_DONE}
        assert transfer.destination.store.unpack
        image = client.images.get(f"{registry.host}/app:1")
        assert image.unpacked_size == image.size == FILES
        assert snapshots(daemon) == folders(daemon) == expected(daemon, 3)
        sizes = [
            one.unpacked_size if one.HasField("unpacked_size") else None
            for one in client.images.history(f"{registry.host}/app:1")
        ]
        of_each = [(3 << 20) + 7, 3, 2 << 20] if kind_of(daemon) == "overlay" else [None] * 3
        assert sizes == of_each
        usage = client.system.disk_usage()
        assert (usage.snapshots.count, usage.snapshots.active_count) == (expected(daemon, 3),) * 2
        assert (usage.snapshots.total_bytes, usage.snapshots.reclaimable_bytes) == (FILES, 0)
        # Again: everything is there, and nothing is done.
        again = client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        nodes = layer_nodes(client, again)
        assert {node.state for node in nodes} == {transfer_pb2.NODE_STATE_EXISTS}
        assert [unpacked_bytes(node) for node in nodes] == [[], [], []]
        assert again.outcome.pull_result == transfer_pb2.PULL_RESULT_UP_TO_DATE
        assert folders(daemon) == expected(daemon, 3)
    tree = daemon.root / "snapshots"
    found = [*tree.glob("*/layers/*/fs/big")]
    assert [path.read_bytes() for path in found] == [noise(1, 3 << 20)]
    mode = found[0].stat().st_mode
    assert stat.S_IMODE(mode) == 0o4755
    shown = daemon.imgctl("df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}").stdout
    assert f"Unpacked Layers {expected(daemon, 3)} 5.243MB" in shown


def test_images_share_snapshots_and_let_them_go(daemon: Daemon, registry: HostileRegistry) -> None:
    other = make_image([BASE, MIDDLE, make_layer({"other": b"x" * 1000})])
    registry.add("other", other, "1")
    with Client(daemon.address) as client:
        client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        transfer = client.transfers.pull(f"{registry.host}/other:1", unpack=True).result()
        shared = kind_of(daemon) == "overlay"
        assert snapshots(daemon) == (4 if shared else 2)
        fresh = [unpacked_bytes(node) != [] for node in layer_nodes(client, transfer)]
        assert fresh == ([False, False, True] if shared else [True] * 3)
        client.images.remove(f"{registry.host}/app:1")
        client.system.collect()
        assert snapshots(daemon) == folders(daemon) == (3 if shared else 1)
        client.images.remove(f"{registry.host}/other:1")
        planned = client.system.collect(dry_run=True)
        assert snapshots(daemon) == (3 if shared else 1)
        report = client.system.collect()
        assert planned.deleted_snapshots == report.deleted_snapshots == (3 if shared else 1)
        assert planned.freed_bytes == report.freed_bytes
        assert snapshots(daemon) == folders(daemon) == 0


def test_what_is_stored_is_unpacked_without_the_registry(
    daemon: Daemon, registry: HostileRegistry
) -> None:
    with Client(daemon.address) as client:
        client.transfers.pull(f"{registry.host}/app:1").result()
        assert snapshots(daemon) == 0
        assert not client.images.get(f"{registry.host}/app:1").HasField("unpacked_size")
        asked = len(registry.matching(""))
        transfer = client.transfers.pull(
            f"{registry.host}/app:1", unpack=True, policy=transfer_pb2.PULL_POLICY_NEVER
        ).result()
        assert len(registry.matching("")) == asked
        assert [unpacked_bytes(node) for node in layer_nodes(client, transfer)] == [
            [size] for size in BYTES
        ]
        assert client.images.get(f"{registry.host}/app:1").unpacked_size == FILES
        client.system.collect()
        assert snapshots(daemon) == expected(daemon, 3)


def wrong_layer() -> FakeImage:
    """An image whose last layer is not what its diff ID says."""
    image = make_image([BASE, TOP])
    document = json.loads(image.blobs[image.image_id])
    document["rootfs"]["diff_ids"][1] = "sha256:" + "0" * 64
    return rewritten(image, document)


def rewritten(image: FakeImage, config: dict[str, Any]) -> FakeImage:
    raw = json.dumps(config).encode()
    manifest = image.document
    manifest["config"] = descriptor(raw, manifest["config"]["mediaType"])
    blobs = {**image.blobs, digest_of(raw): raw}
    return make_document(manifest, image.media_type, blobs=blobs)


def too_few_diff_ids() -> FakeImage:
    image = make_image([BASE, TOP])
    document = json.loads(image.blobs[image.image_id])
    del document["rootfs"]["diff_ids"][1]
    return rewritten(image, document)


@pytest.mark.parametrize(
    ("image", "reason", "names_layer"),
    [
        (wrong_layer(), "DIGEST_MISMATCH", True),
        (too_few_diff_ids(), "CONFIG_INVALID", False),
        (make_image([BASE, archive(file(b"../../escape", b"x"))]), "LAYER_INVALID", True),
        (make_image([BASE, archive(file(b"zeros", bytes(9 << 20)))]), "LAYER_TOO_LARGE", True),
    ],
    ids=["wrong diff ID", "too few diff IDs", "leaves its root", "a bomb"],
)
def test_a_failure_moves_no_tag_and_leaves_nothing(
    image: FakeImage, reason: str, names_layer: bool, registry: HostileRegistry, tmp_path: Path
) -> None:
    with (
        daemon_of("copy", tmp_path, "--max-layer-bytes", str(8 << 20)) as daemon,
        Client(daemon.address) as client,
    ):
        client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        before = client.images.get(f"{registry.host}/app:1")
        registry.add("app", image, "1")
        with pytest.raises(TransferFailed) as caught:
            client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        assert caught.value.reason == reason
        nodes = layer_nodes(client, caught.value.transfer)
        failed = [one for one in nodes if one.state == transfer_pb2.NODE_STATE_FAILED]
        assert bool(failed) == names_layer
        assert client.images.get(f"{registry.host}/app:1") == before
        assert snapshots(daemon) == folders(daemon) == 1
        assert not [*daemon.root.rglob("escape")]
        # Without unpacking it can be had, for nobody needs to know what is in it.
        client.transfers.pull(f"{registry.host}/app:1").result()


def test_platforms_are_unpacked_each(daemon: Daemon, registry: HostileRegistry) -> None:
    amd, arm = make_image([BASE, TOP]), make_image([BASE, MIDDLE], architecture="arm64")
    index = make_index(
        [
            (one, {"os": "linux", "architecture": name})
            for one, name in ((amd, "amd64"), (arm, "arm64"))
        ]
    )
    registry.add("multi", index, "1")
    with Client(daemon.address) as client:
        client.transfers.pull(f"{registry.host}/multi:1", unpack=True, all_platforms=True).result()
        assert snapshots(daemon) == (3 if kind_of(daemon) == "overlay" else 2)
        host = client.images.get(f"{registry.host}/multi:1")
        assert host.unpacked_size == FILES - 3


def test_many_pulls_of_one_image_unpack_it_once(daemon: Daemon, registry: HostileRegistry) -> None:
    with Client(daemon.address) as client:
        pulls = [client.transfers.pull(f"{registry.host}/app:1", unpack=True) for _ in range(5)]
        ended = [one.result() for one in pulls]
        assert {one.outcome.image_id for one in ended} == {APP.image_id}
    assert snapshots(daemon) == expected(daemon, 3)
    numbers = [int(path.name) for path in (daemon.root / "snapshots").glob("*/layers/*")]
    assert max(numbers) == expected(daemon, 3), "nothing was unpacked twice"


def test_a_layer_is_unpacked_while_another_downloads(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    """And a pull that is cancelled then leaves what is whole, which the next one takes."""
    last = APP.document["layers"][2]["digest"]
    registry.on(f"GET .*/blobs/{last}", stall(after=1000), times=1)
    with daemon_of("overlay", tmp_path) as daemon, Client(daemon.address) as client:
        pull = client.transfers.pull(f"{registry.host}/app:1", unpack=True)
        seen = threading.Event()
        for event in pull:
            nodes = event.update.nodes if event.HasField("update") else event.snapshot.nodes
            done = [one for one in nodes if unpacked_bytes(one) == [len(BASE)]]
            if done and done[0].state == transfer_pb2.NODE_STATE_DONE:
                seen.set()
                break
        assert seen.is_set()
        pull.close()
        registry.release()
        client.transfers.get(pull.name)
        assert snapshots(daemon) in (1, 2)
        again = client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        assert snapshots(daemon) == folders(daemon) == 3
        assert unpacked_bytes(layer_nodes(client, again)[0]) == []


LOWEST = APP.document["layers"][0]["digest"]
# Of the lowest layer's bytes: enough to unpack most of it.
MOST = (3 << 20) - 10_000


def lowest(events: Iterator[Any], wanted: Callable[[Any], object]) -> Any:
    """Reads a pull's events up to one with the lowest layer as it is wanted; returns its node."""
    for event in events:
        nodes = event.update.nodes if event.HasField("update") else event.snapshot.nodes
        for node in nodes:
            if node.node_id == LOWEST and wanted(node):
                return node
    raise AssertionError("the pull ended")


def unpacks_early(events: Iterator[Any]) -> Any:
    """Reads a pull's events until some of the lowest layer is unpacked; returns its node."""
    return lowest(events, lambda node: sum(unpacked_bytes(node)))


def test_a_layer_is_unpacked_while_it_comes(daemon: Daemon, registry: HostileRegistry) -> None:
    registry.on(f"GET .*/blobs/{LOWEST}", stall(after=MOST), times=1)
    with Client(daemon.address) as client:
        pull = client.transfers.pull(f"{registry.host}/app:1", unpack=True)
        node = unpacks_early(iter(pull))
        assert node.state == transfer_pb2.NODE_STATE_ACTIVE
        assert [one.HasField("end_time") for one in node.activities] == [False, False]
        assert snapshots(daemon) == 0
        registry.release()
        nodes = layer_nodes(client, pull.result())
        assert [unpacked_bytes(one) for one in nodes] == [[size] for size in BYTES]
        assert {one.state for one in nodes} == {transfer_pb2.NODE_STATE_DONE}
    assert snapshots(daemon) == folders(daemon) == expected(daemon, 3)


def test_bytes_that_prove_wrong_are_taken_back(daemon: Daemon, registry: HostileRegistry) -> None:
    """The layer's download begins anew, and so does its unpacking."""

    def damaged(body: bytes) -> bytes:
        middle = len(body) // 2
        return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]

    fault = both(replaced(damaged), stall(after=MOST))
    registry.on(f"GET .*/blobs/{LOWEST}", fault, times=1)
    with Client(daemon.address) as client:
        pull = client.transfers.pull(f"{registry.host}/app:1", unpack=True)
        unpacks_early(iter(pull))
        registry.release()
        ended = pull.result()
        nodes = layer_nodes(client, ended)
        assert [unpacked_bytes(one) for one in nodes] == [[size] for size in BYTES]
        assert {one.state for one in nodes} == {transfer_pb2.NODE_STATE_DONE}
    assert len(registry.matching(f"GET .*/blobs/{LOWEST}")) == 2
    assert snapshots(daemon) == folders(daemon) == expected(daemon, 3)
    (found,) = daemon.root.glob("snapshots/*/layers/*/fs/big")
    assert found.read_bytes() == noise(1, 3 << 20)


def test_a_registry_that_ignores_ranges_makes_it_begin_anew(
    daemon: Daemon, registry: HostileRegistry
) -> None:
    registry.on(f"GET .*/blobs/{LOWEST}", both(stall(after=MOST), reset(after=MOST)), times=1)
    registry.on(f"GET .*/blobs/{LOWEST}", ignore_range())
    with Client(daemon.address) as client:
        pull = client.transfers.pull(f"{registry.host}/app:1", unpack=True)
        unpacks_early(iter(pull))
        registry.release()
        pull.result()
    assert snapshots(daemon) == folders(daemon) == expected(daemon, 3)
    (found,) = daemon.root.glob("snapshots/*/layers/*/fs/big")
    assert found.read_bytes() == noise(1, 3 << 20)


def test_who_unpacks_may_leave_while_a_layer_comes(
    daemon: Daemon, registry: HostileRegistry
) -> None:
    registry.on(f"GET .*/blobs/{LOWEST}", stall(after=MOST), times=1)
    with Client(daemon.address) as client:
        first = client.transfers.pull(f"{registry.host}/app:1", unpack=True)
        unpacks_early(iter(first))
        second = client.transfers.pull(f"{registry.host}/app:1", unpack=True)
        # It shares the download, and waits for the snapshots.
        lowest(iter(second), lambda node: node.activities)
        client.transfers.cancel(first.name)
        registry.release()
        assert second.result().state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
    assert len(registry.matching(f"GET .*/blobs/{LOWEST}")) == 1
    assert snapshots(daemon) == folders(daemon) == expected(daemon, 3)


@pytest.mark.parametrize("after", [1000, MOST])
def test_kill_in_the_middle_leaves_nothing_visible(
    after: int, registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(f"GET .*/blobs/{LOWEST}", stall(after=after), times=1)
    with daemon_of("overlay", tmp_path) as daemon, Client(daemon.address) as client:
        pull = client.transfers.pull(f"{registry.host}/app:1", unpack=True, detach=True)
        # Upper layers may be whole as files, and none may be seen without the lowest.
        registry.wait_for(f"GET .*/blobs/{LOWEST}")
        if after == MOST:
            unpacks_early(client.watch(pull.name))
        end = time.monotonic() + PATIENCE
        while folders(daemon) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        assert folders(daemon) == 3
        daemon.kill()
        assert snapshots(daemon) == 0
    registry.release()
    assert imgd("fsck", "--root", str(daemon.root)).stdout == "no problems found\n"
    with run_daemon(tmp_path / "state") as daemon, Client(daemon.address) as client:
        assert [*client.images.list()] == []
        client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        client.system.collect()
        assert snapshots(daemon) == folders(daemon) == 3


def test_fsck_finds_broken_snapshots_and_repairs(registry: HostileRegistry, tmp_path: Path) -> None:
    with daemon_of("overlay", tmp_path) as daemon, Client(daemon.address) as client:
        client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
    base = next(path for path in daemon.root.glob("snapshots/*/layers/*/fs/big")).parent.parent
    (base / "snapshot.json").write_text("{")
    found = imgd("fsck", "--root", str(daemon.root))
    assert found.returncode == 1
    assert "STORE_CORRUPT sha256:" in found.stdout
    assert imgd("fsck", "--repair", "--root", str(daemon.root)).returncode == 0
    assert imgd("fsck", "--root", str(daemon.root)).stdout == "no problems found\n"
    with daemon_of("overlay", tmp_path) as daemon, Client(daemon.address) as client:
        client.transfers.pull(f"{registry.host}/app:1", unpack=True).result()
        assert snapshots(daemon) == 3


def test_what_another_snapshotter_made_is_counted_and_collected(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/app:1"
    for kind in KINDS:
        with daemon_of(kind, tmp_path) as daemon, Client(daemon.address) as client:
            client.transfers.pull(name, unpack=True).result()
    with run_daemon(tmp_path / "state", "--snapshotter", "copy") as daemon:
        with Client(daemon.address) as client:
            usage = client.system.disk_usage().snapshots
            assert (usage.count, usage.total_bytes, usage.reclaimable_bytes) == (4, 2 * FILES, 0)
            client.images.remove(name)
            assert client.system.collect(dry_run=True).deleted_snapshots == 4
            client.system.collect()
        assert snapshots(daemon) == folders(daemon) == 0


def test_the_command_line(daemon: Daemon, registry: HostileRegistry) -> None:
    done = daemon.imgctl("pull", "--unpack", f"{registry.host}/app:1")
    assert done.returncode == 0, done
    assert snapshots(daemon) == expected(daemon, 3)
    size = daemon.imgctl("images", "--format", "{{.Size}}").stdout
    assert size == "5.24MB\n"
