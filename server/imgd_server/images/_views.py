"""Views of images that the daemon mounts, read-only, at places that callers name.

    <root>/<key>.json   a view: its lease, its place, what it shows; written before it is mounted

A view goes with its lease. `end` takes away those whose leases are over; after a start `restore`
mounts again what the machine has lost.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images._places import Places
from imgd_server.oci import Digest
from imgd_server.rootfs import (
    Overlay,
    Snapshot,
    SnapshotStore,
    is_mount,
    mount_bind,
    mount_overlay,
    unmount,
)

__all__ = ["MountedView", "ViewStore"]

_TARGET = ("target_path", "leave it out, and mount what the answer says")


@dataclass(frozen=True, slots=True)
class MountedView:
    """A view: what it shows (`kind` and `chains` of snapshots, the lowest first), and where."""

    key: str
    lease_id: str
    target: str
    kind: str
    chains: tuple[str, ...]


class ViewStore:
    """Mounted views, kept in a folder that one process uses at a time. All methods block."""

    def __init__(self, root: Path, snapshots: SnapshotStore, allowed: Sequence[str]) -> None:
        """`allowed` are folders below which callers may ask for views."""
        self._root, self._snapshots, self._places = root, snapshots, Places(allowed)
        self._busy: set[str] = set()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / "nothing").mkdir(mode=0o755, exist_ok=True)

    def check(self, target: str) -> None:
        """Refuses a place that no view may be at, before the work; looks at no disk. Raises
        FIELD_INVALID."""
        self._places.check(target, *_TARGET)

    def make(self, key: str, lease_id: str, target: str, snapshots: Sequence[Snapshot]) -> None:
        """Mounts snapshots. `release` it when its lease is recorded, or `remove` it; until then
        `end` does not.

        Raises FIELD_INVALID for a place that can't be, UNSUPPORTED where there is nothing to see or
        the daemon may not mount, OSError.
        """
        if not snapshots:
            raise Error(Reason.UNSUPPORTED, "the image has no layers, so there is nothing to see")
        self._busy.add(key)
        chains = tuple(str(one.chain_id) for one in snapshots)
        view = MountedView(key, lease_id, target, self._snapshots.kind, chains)
        with self._places.opened(target, *_TARGET, create=True):
            pass
        if self._is_mounted(target):
            raise FieldError("target_path", "target_path: something is mounted there already")
        self._path(key).write_text(json.dumps(asdict(view)))
        try:
            self._mount(target, snapshots)
        except PermissionError as error:
            raise Error(
                Reason.UNSUPPORTED,
                "this daemon may not mount: leave target_path out, and mount what the answer says",
            ) from error

    def release(self, key: str) -> None:
        """Says that a view's lease is recorded."""
        self._busy.discard(key)

    def remove(self, key: str) -> None:
        """Unmounts a view, as far as it is there. Raises OSError; then `end` tries again."""
        path = self._path(key)
        try:
            # One that is half written was never mounted; and a place that is no more allowed, or
            # gone, is nobody's business any more.
            with suppress(ValueError, FieldError, FileNotFoundError, NotADirectoryError):
                self._unmount(self._read(path).target)
            path.unlink(missing_ok=True)
        finally:
            self._busy.discard(key)

    def leases(self) -> set[str]:
        """The leases of all views."""
        return {one.lease_id for one in self._views()}

    def end(self, alive: Collection[str]) -> int:
        """Removes the views whose leases are not among these; returns how many."""
        over = [one for one in self._views() if one.lease_id not in alive]
        for view in over:
            self.remove(view.key)
        return len(over)

    def restore(self, failed: Callable[[MountedView, Exception], object]) -> int:
        """After a start: mounts again what is not mounted any more; returns how many, and tells of
        what can't be."""
        for path in self._root.glob("*.json"):
            try:
                self._read(path)
            except ValueError:
                path.unlink()  # half written
        mounted = 0
        for view in self._views():
            try:
                if not self._is_mounted(view.target):
                    with self._places.opened(view.target, *_TARGET, create=True):
                        pass
                    self._mount(view.target, self._found(view))
                    mounted += 1
            except (Error, OSError) as error:
                failed(view, error)
        return mounted

    # ---

    def _path(self, key: str) -> Path:
        return self._root / f"{key}.json"

    def _read(self, path: Path) -> MountedView:
        facts = json.loads(path.read_bytes())
        return MountedView(**facts | {"chains": tuple(facts["chains"])})

    def _views(self) -> list[MountedView]:
        found = []
        for path in self._root.glob("*.json"):
            # One that is half written was never mounted.
            with suppress(FileNotFoundError, ValueError):
                found.append(self._read(path))
        return [one for one in found if one.key not in self._busy]

    def _found(self, view: MountedView) -> list[Snapshot]:
        found = [self._snapshots.find(Digest(one)) for one in view.chains]
        snapshots = [one for one in found if one is not None]
        if view.kind != self._snapshots.kind or len(snapshots) < len(found):
            raise Error(Reason.STORE_CORRUPT, "the snapshots that the view shows are not there")
        return snapshots

    def _is_mounted(self, target: str) -> bool:
        try:
            with self._places.parent(target) as (folder, name):
                return is_mount(Path(f"/proc/self/fd/{folder}/{name}"))
        except FileNotFoundError:
            return False

    def _mount(self, target: str, snapshots: Sequence[Snapshot]) -> None:
        if self._snapshots.kind == "copy":
            with self._places.parent(target) as (folder, name):
                mount_bind(folder, name, snapshots[-1].path)
            return
        # Without an upper directory overlayfs wants two.
        lower = (self._root / "nothing", *(one.path for one in snapshots))
        with self._places.opened(target, *_TARGET) as place:
            mount_overlay(place, Overlay(lower), self._snapshots.layers)

    def _unmount(self, target: str) -> None:
        with self._places.parent(target) as (folder, name):
            unmount(Path(f"/proc/self/fd/{folder}/{name}"))
            try:
                # The folder goes too, unless there is something in it by now.
                os.rmdir(name, dir_fd=folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.ENOENT):
                    raise
