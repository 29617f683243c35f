"""Unpacked layers by chain ID (OCI image 1.1, config.md, "Layer ChainID").

    <root>/<kind>/layers/<number>/fs/            a layer's directory (overlay), a whole tree (copy)
    <root>/<kind>/layers/<number>/snapshot.json  what it is
    <root>/<kind>/chains/<algorithm>/<hex>       a symbolic link whose text is number and parent
    <root>/<kind>/unsynced                       the boot, and which numbers are not durable yet

A snapshot is there when its chain link is: made by one call, after all else. A number without a
link is half done, or half deleted; `collect` removes it. Numbers keep overlayfs's options short:
mount(2) takes one page of them, and 100 digests fill two.

Durability is in batches, for syncfs(2) writes everything anyway: snapshots show at once, and
`unsynced` says which are to be thrown away if the machine went down before `sync`: what was
unpacked can be unpacked again. Its first number and all after it are, and those that follow are one
by one. After a crash of the process alone nothing is lost, for the boot is the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs._protocol import AppliedLayer, Cancellation, LayerStats, no_room
from imgd_server.rootfs._tree import remove

__all__ = ["Draft", "Kind", "Snapshot", "SnapshotStore", "chain_ids"]

Kind = str
"""`overlay` (a directory for each layer) or `copy` (a whole tree for each image)."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


def chain_ids(diff_ids: Sequence[Digest]) -> list[Digest]:
    """The chain ID of each layer: of it and all layers below it."""
    chains: list[Digest] = []
    for diff_id in diff_ids:
        chains.append(Digest.of(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    return chains


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An unpacked layer, complete and verified.

    Attributes:
        chain_id: Of it and all layers below.
        parent: The chain ID of the layers below; None for the lowest, and for a whole tree.
        diff_id: Of its layer.
        path: Its directory. Not to be changed: others share it.
        stats: What the layer held; of a whole tree, the sum of its layers.
    """

    chain_id: Digest
    parent: Digest | None
    diff_id: Digest
    path: Path
    stats: LayerStats = field(hash=False)


class Draft:
    """A snapshot that is being made. Ends with `SnapshotStore.commit` or `discard`."""

    def __init__(self, chain_id: Digest, number: int, path: Path) -> None:
        self.chain_id, self.number, self.path = chain_id, number, path

    def open(self) -> int:
        """A descriptor of its directory, to be closed by the caller."""
        return os.open(self.path, _FLAGS)


class SnapshotStore:
    """Snapshots in a folder, which one process uses at a time (the daemon locks its root).

    All methods may be called from any thread.
    """

    def __init__(self, root: Path, kind: Kind) -> None:
        """Opens the folder, and makes it when it is not there. What an interrupted run left is not
        shown; `collect` frees it."""
        self.kind = kind
        self._root = root / kind
        self._layers = self._root / "layers"
        self._chains = self._root / "chains"
        self._mark = self._root / "unsynced"
        self._condition = threading.Condition()
        for folder in (root, self._root, self._layers, self._chains):
            # Nobody else gets in: there are setuid programs below, of anybody's making.
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(OSError):
                os.removexattr(folder, "system.posix_acl_default")  # files below would get it
        for algorithm in ("sha256", "sha512"):
            (self._chains / algorithm).mkdir(exist_ok=True, mode=0o700)
        # Chain ID to number and parent.
        self._shown: dict[Digest, tuple[int, Digest | None]] = {}
        self._drafts: dict[Digest, Draft] = {}
        self._unsynced: set[int] = set()
        # What a disk that failed may have lost, with all above: no later sync says so again.
        self._suspect: set[int] = set()
        self._next = 0
        self._boot = _BOOT.read_text().strip()
        self._load()

    @property
    def layers(self) -> Path:
        """The folder that all snapshots are in."""
        return self._layers

    # --- looking

    def find(self, chain_id: Digest) -> Snapshot | None:
        """The snapshot of a chain, None when there is none."""
        with self._condition:
            entry = self._shown.get(chain_id)
        if entry is None:
            return None
        number, parent = entry
        folder = self._layers / str(number)
        try:
            record = json.loads((folder / "snapshot.json").read_bytes())
        except (FileNotFoundError, ValueError):
            with self._condition:
                now = self._shown.get(chain_id)
            if now != entry:  # hidden meanwhile, and perhaps made again
                return self.find(chain_id)
            raise Error(
                Reason.STORE_CORRUPT,
                f"the snapshot {chain_id} is damaged; remove it, and unpack again",
            ) from None
        stats = LayerStats(**record["stats"])
        return Snapshot(chain_id, parent, Digest(record["diff_id"]), folder / "fs", stats)

    def snapshots(self) -> list[Digest]:
        """The chain IDs of all snapshots."""
        with self._condition:
            return list(self._shown)

    def has(self, chain_id: Digest) -> bool:
        """Whether there is a snapshot of a chain."""
        with self._condition:
            return chain_id in self._shown

    def above(self, chain_ids: Iterable[Digest]) -> set[Digest]:
        """These, and all that stand on them."""
        found = set(chain_ids)
        with self._condition:
            while True:
                more = {one for one, (_, parent) in self._shown.items() if parent in found}
                if more <= found:
                    return found
                found |= more

    # --- making

    def claim(self, chain_id: Digest) -> Draft | None:
        """Begins a snapshot, unless it is there or somebody else is making it: then None."""
        with self._condition:
            if chain_id in self._shown or chain_id in self._drafts:
                return None
            number = self._next + 1
            if not self._unsynced and not self._drafts:
                # Before there is anything to write, which this would wait for.
                self._write_mark(number, ())
            self._next = number
            folder = self._layers / str(number)
            draft = self._drafts[chain_id] = Draft(chain_id, number, folder / "fs")
        try:
            folder.mkdir(mode=0o700)
            _make(draft)
        except BaseException:
            self.discard(draft)
            raise
        return draft

    def wait(self, chain_id: Digest, cancellation: Cancellation) -> Snapshot | None:
        """Waits while somebody is making a snapshot; returns it, None when that came to nothing."""

        def wake() -> None:
            with self._condition:
                self._condition.notify_all()

        take_back = cancellation.on_cancel(wake)
        try:
            with self._condition:
                while chain_id in self._drafts:
                    cancellation.check()
                    self._condition.wait()
        finally:
            take_back()
        return self.find(chain_id)

    def commit(self, draft: Draft, parent: Digest | None, applied: AppliedLayer) -> Snapshot:
        """Shows a snapshot whose directory is complete. Its parent must be shown already."""
        record = {
            "chain_id": draft.chain_id,
            "diff_id": applied.diff_id,
            "parent": parent,
            "stats": asdict(applied.stats),
        }
        (draft.path.parent / "snapshot.json").write_text(json.dumps(record))
        with self._condition:
            if parent is not None and parent not in self._shown:
                raise ValueError(f"the parent of {draft.chain_id} is not there")
            self._unsynced.add(draft.number)
            text = f"{draft.number}/{parent}" if parent else str(draft.number)
            self._link(draft.chain_id).symlink_to(text)
            self._shown[draft.chain_id] = (draft.number, parent)
            del self._drafts[draft.chain_id]
            self._condition.notify_all()
        return Snapshot(draft.chain_id, parent, applied.diff_id, draft.path, applied.stats)

    def clear(self, draft: Draft) -> None:
        """Makes a draft as empty as it was."""
        with _opened(draft.path.parent) as folder:
            remove(folder, draft.path.name.encode())
        _make(draft)

    def discard(self, draft: Draft) -> None:
        """Gives a draft up, and removes what there is of it."""
        self._remove(draft.number)
        with self._condition:
            self._drafts.pop(draft.chain_id, None)
            self._condition.notify_all()

    def sync(self, chain_ids: Iterable[Digest] | None = None) -> None:
        """Makes every snapshot durable that is shown now; does nothing where these are already.

        Raises DISK_FULL, OSError, and STORE_CORRUPT for these where an earlier failure may have
        lost some.
        """
        with self._condition:
            shown, written = self._shown, set(self._unsynced)
            lost = self.above(one for one, (number, _) in shown.items() if number in self._suspect)
            self._suspect.update(shown[one][0] for one in lost)
            wanted = written
            if chain_ids is not None:
                wanted = {shown[one][0] for one in chain_ids if one in shown}
                if wanted & self._suspect:
                    raise Error(
                        Reason.STORE_CORRUPT,
                        "the disk failed while this was unpacked: remove the image, look at the "
                        "disk, and pull it again",
                    )
        if not written & wanted:
            return
        with _opened(self._root) as folder:
            if _libc.syncfs(folder):
                code = ctypes.get_errno()
                with self._condition:
                    self._suspect |= written
                error = OSError(code, os.strerror(code))
                raise no_room(error) or error
        with self._condition:
            self._unsynced -= written - self._suspect
            left = self._unsynced | {draft.number for draft in self._drafts.values()}
            if left:
                self._write_mark(self._next + 1, left)
            else:
                self._drop_mark()

    # --- removing

    def hide(self, chain_ids: Iterable[Digest]) -> list[Digest]:
        """Takes snapshots out of sight, durably and at once however large they are, and returns
        which: not those that others stand on. `collect` frees their bytes."""
        wanted = set(chain_ids)
        hidden: list[Digest] = []
        try:
            with self._condition:
                standing = Counter(parent for _, parent in self._shown.values() if parent)
                free = [one for one in wanted if one in self._shown and not standing[one]]
                while free:
                    chain_id = free.pop()
                    self._link(chain_id).unlink(missing_ok=True)
                    _, parent = self._shown.pop(chain_id)
                    hidden.append(chain_id)
                    if parent is not None:
                        standing[parent] -= 1
                        if parent in wanted and not standing[parent]:
                            free.append(parent)
        finally:
            # Or a link could be back after a power cut, and lead to half a layer.
            for folder in {self._link(chain_id).parent for chain_id in hidden}:
                _sync(folder)
        return hidden

    def collect(self, most: int | None = None) -> int:
        """Removes what interrupted runs left, and what was hidden; of so many layers at the most.
        Returns of how many. It may take seconds, so the daemon does it beside its work."""
        with self._condition:
            wanted = {number for number, _ in self._shown.values()}
            wanted |= {draft.number for draft in self._drafts.values()}
            left = [number for number in self._numbers() if number not in wanted][:most]
        for number in left:
            self._remove(number)
        return len(left)

    # ---

    def _load(self) -> None:
        lost = self._lost()
        for algorithm in ("sha256", "sha512"):
            dropped = False
            with os.scandir(self._chains / algorithm) as entries:
                for entry in entries:
                    link = Path(entry.path)
                    number, _, parent = str(link.readlink()).partition("/")
                    if lost(int(number)):
                        link.unlink()
                        dropped = True
                        continue
                    chain_id = Digest(f"{algorithm}:{entry.name}")
                    self._shown[chain_id] = (int(number), Digest(parent) if parent else None)
            if dropped:
                _sync(self._chains / algorithm)  # before the mark goes
        self._next = max(self._numbers(), default=0)
        if not self._unsynced:
            self._drop_mark()

    def _lost(self) -> Callable[[int], bool]:
        """Tells of which numbers nothing is trusted, for the machine went down unsynced."""
        try:
            boot, *texts = self._mark.read_text().split()
            lowest, *others = map(int, texts)
        except FileNotFoundError:
            return lambda _: False
        except ValueError:
            return lambda _: True  # damaged: nobody knows what may be trusted
        among = frozenset(others)

        def told(number: int) -> bool:
            return number >= lowest or number in among

        if boot == self._boot:
            self._unsynced = {*filter(told, self._numbers())}
            return lambda _: False
        return told

    def _numbers(self) -> Iterator[int]:
        with os.scandir(self._layers) as entries:
            for entry in entries:
                if entry.name.isdecimal():
                    yield int(entry.name)

    def _write_mark(self, lowest: int, others: Iterable[int]) -> None:
        temporary = self._mark.with_suffix(".new")
        with temporary.open("w") as file:
            file.write(" ".join(map(str, (self._boot, lowest, *sorted(others)))))
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._mark)
        _sync(self._root)

    def _drop_mark(self) -> None:
        """Durably: a later boot would throw away all that has been made since."""
        try:
            self._mark.unlink()
        except FileNotFoundError:
            return
        _sync(self._root)

    def _link(self, chain_id: Digest) -> Path:
        return self._chains / chain_id.algorithm / chain_id.hex

    def _remove(self, number: int) -> None:
        with _opened(self._layers) as folder:
            remove(folder, str(number).encode())


def _make(draft: Draft) -> None:
    draft.path.mkdir()
    draft.path.chmod(0o755)  # whatever the umask


def _sync(folder: Path) -> None:
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, _FLAGS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
