"""Containers' root file systems: a writable layer over an image's snapshots, mounts, bundles.

    <root>/<key>/upper, work      overlayfs's writable directories
    <root>/<key>/tree             a copy of the whole tree, where there is no overlayfs
    <root>/<key>/volumes/<n>      what the image declares as volumes
    <root>/<key>/bundle           a bundle whose place the daemon chose
    <root>/<key>/record.json      what was made elsewhere, written before it is made

A folder whose key no container has is what a crash, or a removal, left: `sweep` takes it away, with
the mount and the bundle that it tells of.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images._bundle import BundleRequest, find_user, runtime_config
from imgd_server.images._inspect import Inspection
from imgd_server.images._places import Places
from imgd_server.rootfs import (
    Change,
    ChangeKind,
    Compression,
    FileChange,
    Limits,
    Overlay,
    PackedLayer,
    Snapshot,
    SnapshotStore,
    Tree,
    copy_tree,
    is_mount,
    is_privileged,
    mount_overlay,
    overlay_changes,
    pack_layer,
    remove,
    see_overlay,
    tree_changes,
    unmount,
)

__all__ = ["Mount", "Rootfs", "RootfsStore"]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# mount(2): options are one page, with their end.
_MAX_OPTIONS = 4095
# Each is a folder and a mount; real images declare a handful.
_MAX_VOLUMES = 64
# A field of callers', and what to do when it names no place of theirs.
_BUNDLE = ("bundle.path", "leave it out, and the daemon chooses one")

Mount = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rootfs:
    """A container's root file system.

    `kind` is `overlay` or `copy`, `chains` are the snapshots below it, lowest first; `mounts` make
    it, each with `fs_type`, `source` and `options`; `bundle` is the bundle's folder, where `rootfs`
    is mounted already; empty for none.
    """

    key: str
    kind: str
    chains: tuple[str, ...]
    mounts: tuple[Mount, ...]
    bundle: str = ""

    def to_json(self) -> str:
        """As text, for the container's record."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, text: str) -> Rootfs:
        """What `to_json` wrote."""
        facts = json.loads(text)
        return cls(**facts | {name: tuple(facts[name]) for name in ("chains", "mounts")})


class RootfsStore:
    """Root file systems in a folder, which one process uses at a time. All methods block."""

    def __init__(self, root: Path, snapshots: SnapshotStore, allowed: Sequence[str]) -> None:
        """`allowed` are folders below which callers may ask for bundles."""
        self._root, self._snapshots = root, snapshots
        self._places = Places(allowed)
        self._busy: set[str] = set()
        self._claiming = threading.Lock()

    # --- making

    def check(self, bundle: BundleRequest) -> None:
        """Refuses a place that no bundle may be at, before the work; looks at no disk. Raises
        FIELD_INVALID."""
        if bundle.path:
            self._places.check(bundle.path, *_BUNDLE)

    def make(
        self,
        key: str,
        snapshots: Sequence[Snapshot],
        image: Inspection,
        bundle: BundleRequest | None,
        hostname: str,
        check: Callable[[], None],
    ) -> Rootfs:
        """Makes one over snapshots, the lowest first. `release` it when the container's record has
        it, or `remove` it; until then no sweep does. `check` is called now and then, and may raise.

        Raises FIELD_INVALID for a bundle that can't be, UNSUPPORTED for mounts that can't be said,
        OSError.
        """
        self._busy.add(key)
        folder = self._root / key
        self._root.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700)
        chains = tuple(str(one.chain_id) for one in snapshots)
        place = bundle.path if bundle else ""
        if place:
            self._claim(folder, place)
        elif bundle:
            place = str(folder / "bundle")
            (folder / "bundle").mkdir(mode=0o700)
        overlay = None
        if self._snapshots.kind == "overlay":
            if bundle and not bundle.path:
                (folder / "bundle" / "rootfs").mkdir(mode=0o755)
            overlay = _writable(folder, snapshots)
            options = overlay.options()
            mount = {"fs_type": "overlay", "source": "overlay", "options": options}
            if bundle is None and len(",".join(options)) > _MAX_OPTIONS:
                raise Error(
                    Reason.UNSUPPORTED,
                    "the image has more layers than fit in a mount's options: ask for a bundle, "
                    "which the daemon mounts",
                )
        else:
            tree = self._copied(folder, snapshots, bundle, check)
            mount = {"fs_type": "bind", "source": str(tree), "options": ["rbind", "rw"]}
        made = Rootfs(key, self._snapshots.kind, chains, (mount,), place)
        if bundle:
            self._write_bundle(folder, made, overlay, image, bundle, hostname, check)
        return made

    def release(self, key: str) -> None:
        """Says that a container's record has it."""
        self._busy.discard(key)

    def _claim(self, folder: Path, bundle: str) -> None:
        """Takes an empty folder for a bundle, and notes it. What another has is not empty, and is
        not noted, for `remove` would take it away; and no two find the same empty.

        Raises FIELD_INVALID, OSError.
        """
        with self._claiming, self._places.opened(bundle, *_BUNDLE, create=True) as place:
            (folder / "record.json").write_text(json.dumps({"bundle": bundle}))
            if self._snapshots.kind == "overlay":
                os.mkdir("rootfs", 0o755, dir_fd=place)
            else:
                # runc takes no link for a root, so it is told where the tree is.
                os.symlink(folder / "tree", "rootfs", dir_fd=place)

    def _copied(
        self,
        folder: Path,
        snapshots: Sequence[Snapshot],
        bundle: BundleRequest | None,
        check: Callable[[], None],
    ) -> Path:
        inside = bundle is not None and not bundle.path
        tree = folder / "bundle" / "rootfs" if inside else folder / "tree"
        tree.mkdir(mode=0o755)
        for snapshot in snapshots:
            with _opened(snapshot.path) as source, _opened(tree) as target:
                copy_tree(source, target, privileged=is_privileged(), check=check)
        return tree

    def _write_bundle(
        self,
        folder: Path,
        made: Rootfs,
        overlay: Overlay | None,
        image: Inspection,
        wanted: BundleRequest,
        hostname: str,
        check: Callable[[], None],
    ) -> None:
        root = "rootfs"
        with self._opened_place(made) as place:
            if overlay is not None:
                with _opened_in(place, "rootfs") as target:
                    mount_overlay(target, overlay, self._snapshots.layers)
            elif wanted.path:
                root = made.mounts[0]["source"]
            tree = _opened(Path(root)) if os.path.isabs(root) else _opened_in(place, root)  # noqa: PTH117
            with tree as directory:
                user = find_user(directory, wanted.user or image.text("User"))
                volumes = _volumes(folder, directory, image, check)
            config = runtime_config(
                image,
                wanted,
                user,
                root=root,
                hostname=hostname,
                volumes=volumes,
                owner=None if is_privileged() else (os.geteuid(), os.getegid()),
            )
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open("config.json", flags, 0o600, dir_fd=place)
            with os.fdopen(file, "w") as opened:
                json.dump(config, opened, indent=2)

    def restore(self, rootfs: Rootfs, snapshots: Sequence[Snapshot]) -> bool:
        """Mounts a bundle's root file system again after the machine was down; says whether it had
        to. Raises OSError."""
        if rootfs.kind != "overlay" or not rootfs.bundle:
            return False
        with self._opened_place(rootfs) as place:
            if is_mount(Path(f"/proc/self/fd/{place}/rootfs")):
                return False
            folder = self._root / rootfs.key
            with _opened_in(place, "rootfs") as target:
                mount_overlay(target, _layers(folder, snapshots), self._snapshots.layers)
        return True

    # --- bundles elsewhere

    @contextlib.contextmanager
    def _opened_place(self, rootfs: Rootfs) -> Iterator[int]:
        """A bundle's folder, gone to step by step from where the operator allows it: no link that
        a caller has made is followed."""
        folder = self._root / rootfs.key
        if rootfs.bundle == str(folder / "bundle"):
            with _opened(folder / "bundle") as place:
                yield place
            return
        with self._places.opened(rootfs.bundle, *_BUNDLE) as place:
            yield place

    # --- removing

    def remove(self, key: str) -> None:
        """Unmounts and removes all that was made, as far as it is there. Raises OSError."""
        folder = self._root / key
        if (folder / "bundle" / "rootfs").exists():
            unmount(folder / "bundle" / "rootfs")
        for place in folder.glob("export-*"):
            unmount(place)  # of a daemon that was killed just then
        with contextlib.suppress(FileNotFoundError, ValueError):
            record = json.loads((folder / "record.json").read_bytes())
            self._remove_bundle(Rootfs(key, "", (), (), record["bundle"]))
        if self._root.is_dir():
            with _opened(self._root) as root:
                remove(root, key.encode())
        self._busy.discard(key)

    def _remove_bundle(self, rootfs: Rootfs) -> None:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError, FieldError),
            self._opened_place(rootfs) as place,
        ):
            unmount(Path(f"/proc/self/fd/{place}/rootfs"))
            for name, drop in (("config.json", os.unlink), ("rootfs", _unlink_or_rmdir)):
                with contextlib.suppress(FileNotFoundError):
                    drop(name, dir_fd=place)
            parent = os.open("..", _OPEN, dir_fd=place)
            try:
                # The folder goes too, unless there is something in it by now.
                with contextlib.suppress(OSError):
                    os.rmdir(Path(rootfs.bundle).name, dir_fd=parent)
            finally:
                os.close(parent)

    def sweep(self, wanted: Collection[str]) -> int:
        """Removes what no container has, whose keys are `wanted`; returns how many there were."""
        if not self._root.is_dir():
            return 0
        left = [
            path.name
            for path in self._root.iterdir()
            if path.name not in wanted and path.name not in self._busy
        ]
        for key in left:
            self.remove(key)
        return len(left)

    # --- looking

    def changes(
        self, rootfs: Rootfs, snapshots: Sequence[Snapshot]
    ) -> Generator[FileChange, None, None]:
        """What was changed in it, in the order of paths. Raises OSError."""
        for change in self._changes(rootfs, snapshots):
            yield change.told()

    def pack(
        self,
        rootfs: Rootfs,
        snapshots: Sequence[Snapshot],
        write: Callable[[bytes], None],
        compression: Compression,
        newest: int | None,
        check: Callable[[], None],
    ) -> PackedLayer:
        """What was changed in it as a layer; see `pack_layer`. Raises as it does."""
        return pack_layer(
            self._changes(rootfs, snapshots, with_root=True),
            write,
            compression,
            newest=newest,
            privileged=is_privileged(),
            check=check,
        )

    def export(
        self,
        rootfs: Rootfs,
        snapshots: Sequence[Snapshot],
        write: Callable[[bytes], None],
        check: Callable[[], None],
    ) -> None:
        """Writes all its files, of any name, as a tar archive; see `pack_layer`. Raises as it
        does."""
        with (
            self._merged(rootfs, snapshots) as tree,
            tempfile.TemporaryDirectory(dir=self._root / rootfs.key, prefix="export-") as nothing,
            _opened(Path(nothing)) as before,
        ):
            pack_layer(
                tree_changes(tree, before),
                write,
                Compression.NONE,
                newest=None,
                privileged=is_privileged(),
                check=check,
                marks=False,
            )

    @contextlib.contextmanager
    def _merged(self, rootfs: Rootfs, snapshots: Sequence[Snapshot]) -> Iterator[int]:
        """A descriptor of the root that a container sees."""
        if rootfs.kind != "overlay":
            with _opened(Path(rootfs.mounts[0]["source"])) as tree:
                yield tree
            return
        folder = self._root / rootfs.key
        shown = Overlay((*_layers(folder, snapshots).lower, folder / "upper"))
        with tempfile.TemporaryDirectory(dir=folder, prefix="export-") as place:
            tree = see_overlay(Path(place), shown, self._snapshots.layers)
        try:
            yield tree
        finally:
            os.close(tree)

    def _changes(
        self, rootfs: Rootfs, snapshots: Sequence[Snapshot], *, with_root: bool = False
    ) -> Generator[Change, None, None]:
        folder = self._root / rootfs.key
        if not snapshots:
            (folder / "empty").mkdir(mode=0o755, exist_ok=True)
        before = snapshots[-1].path if snapshots else folder / "empty"
        overlay = rootfs.kind == "overlay"
        tree = folder / "upper" if overlay else Path(rootfs.mounts[0]["source"])
        with _opened(tree) as now, _opened(before) as old:
            status = os.fstat(now)
            if with_root and _facts(status) != _facts(os.fstat(old)):
                yield Change(ChangeKind.CHANGED, b"", status, now)
            if overlay:
                yield from overlay_changes(now, [one.path for one in reversed(snapshots)])
            else:
                yield from tree_changes(now, old)

    def view(self, snapshots: Sequence[Snapshot]) -> Mount:
        """The mount that shows snapshots, the lowest first, without a container: read-only. Raises
        UNSUPPORTED where it can't be said."""
        if not snapshots:
            raise Error(Reason.UNSUPPORTED, "the image has no layers, so there is nothing to see")
        paths = [one.path for one in snapshots]
        if len(paths) == 1:
            return {"fs_type": "bind", "source": str(paths[0]), "options": ["rbind", "ro"]}
        options = Overlay(tuple(paths)).options()
        if len(",".join(options)) > _MAX_OPTIONS:
            raise Error(
                Reason.UNSUPPORTED, "the image has more layers than fit in a mount's options"
            )
        return {"fs_type": "overlay", "source": "overlay", "options": options}


def _layers(folder: Path, snapshots: Sequence[Snapshot]) -> Overlay:
    lower = tuple(one.path for one in snapshots) or (folder / "empty",)
    return Overlay(lower, folder / "upper", folder / "work")


def _writable(folder: Path, snapshots: Sequence[Snapshot]) -> Overlay:
    """A fresh writable directory over snapshots. What shows as the root is its own."""
    for name in ("upper", "work", "empty"):
        (folder / name).mkdir(mode=0o755)
    if snapshots:
        status = snapshots[-1].path.stat()
        upper = folder / "upper"
        os.chown(upper, status.st_uid, status.st_gid)
        upper.chmod(stat.S_IMODE(status.st_mode))
        os.utime(upper, ns=(status.st_atime_ns, status.st_mtime_ns))
    return _layers(folder, snapshots)


def _volumes(
    folder: Path, root: int, image: Inspection, check: Callable[[], None]
) -> dict[str, str]:
    """A folder for each volume that the image declares, with what the image has there."""
    wanted = {os.path.normpath(f"/{one.lstrip('/')}") for one in image.keys("Volumes")} - {"/"}
    if len(wanted) > _MAX_VOLUMES:
        raise Error(Reason.CONFIG_INVALID, f"the image declares more than {_MAX_VOLUMES} volumes")
    found: dict[str, str] = {}
    for number, destination in enumerate(sorted(wanted)):
        volume = folder / "volumes" / str(number)
        volume.mkdir(mode=0o755, parents=True)
        tree = Tree(root, Limits())
        directory = tree.find(destination.encode("utf-8", "surrogateescape"))
        if directory is not None:
            with _opened(volume) as target:
                copy_tree(directory.fd, target, privileged=is_privileged(), check=check)
        found[destination] = str(volume)
    return found


def _facts(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mode, status.st_uid, status.st_gid


def _unlink_or_rmdir(name: str, *, dir_fd: int) -> None:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=dir_fd)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """A folder of ours."""
    descriptor = os.open(folder, _OPEN)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened_in(folder: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, _OPEN, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
