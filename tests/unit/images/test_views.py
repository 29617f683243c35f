"""The records of mounted views, where mounting itself is not the question."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from imgd_server.images import ViewStore
from imgd_server.oci import Digest
from imgd_server.rootfs import AppliedLayer, LayerStats, Snapshot, SnapshotStore, chain_ids

DIFF_ID = Digest.of(b"layer")


@pytest.fixture
def snapshots(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots", "copy")


@pytest.fixture
def snapshot(snapshots: SnapshotStore) -> Snapshot:
    draft = snapshots.claim(chain_ids([DIFF_ID])[0])
    assert draft is not None
    return snapshots.commit(draft, None, AppliedLayer(DIFF_ID, LayerStats()))


@pytest.fixture
def views(tmp_path: Path, snapshots: SnapshotStore, monkeypatch: pytest.MonkeyPatch) -> ViewStore:
    """A store that only thinks that it mounts."""
    (tmp_path / "allowed").mkdir()
    for name in ("mount_bind", "unmount"):
        monkeypatch.setattr(f"imgd_server.images._views.{name}", lambda *_: None)
    return ViewStore(tmp_path / "views", snapshots, [str(tmp_path / "allowed")])


def records(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "views").glob("*.json")]


def test_a_view_that_could_not_be_noted_is_taken_back(
    tmp_path: Path, views: ViewStore, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(self: Path, text: str) -> None:
        self.write_bytes(text.encode()[:10])
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Path, "write_text", half)
    target = str(tmp_path / "allowed" / "view")
    with pytest.raises(OSError, match="no room"):
        views.make("key", "lease", target, [snapshot])
    views.remove("key")
    assert records(tmp_path) == []


def test_a_view_that_does_not_go_is_tried_again(
    tmp_path: Path, views: ViewStore, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    views.make("key", "lease", str(tmp_path / "allowed" / "view"), [snapshot])
    assert views.leases() == set()  # nobody's yet

    def busy(*_: Any) -> None:
        raise OSError(errno.EBUSY, "in use")

    with monkeypatch.context() as patch:
        patch.setattr("imgd_server.images._views.unmount", busy)
        with pytest.raises(OSError, match="in use"):
            views.remove("key")
    assert views.leases() == {"lease"}
    assert views.end(()) == 1
    assert records(tmp_path) == []
    assert not (tmp_path / "allowed" / "view").exists()


def test_a_start_forgets_what_was_half_written(tmp_path: Path, views: ViewStore) -> None:
    (tmp_path / "views" / "key.json").write_text('{"key": "ke')
    assert views.restore(lambda *_: pytest.fail("there is nothing to mount")) == 0
    assert records(tmp_path) == []
