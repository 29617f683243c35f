"""The files that layers' indexes are kept in, one for each layer that was ever looked at.

<folder>/<algorithm>-<hex>.<version>   an index, named by its layer's digest
<folder>/*.tmp                         one that is being built, or was when a daemon was killed
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imgd_server.oci import Digest, FormatError
from imgd_server.rootfs import INDEX_VERSION

__all__ = ["IndexInfo", "LayerIndexes"]


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """A kept index; `size` is its file's, in bytes. One of another version is of no use."""

    digest: Digest
    size: int
    path: Path
    usable: bool


class LayerIndexes:
    """Indexes in a folder, which one process uses at a time. All methods block."""

    def __init__(self, folder: Path) -> None:
        """Opens the folder, and makes it when it is not there."""
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Where a layer's index is, or would be."""
        return self._folder / f"{digest.replace(':', '-')}.{INDEX_VERSION}"

    @contextmanager
    def draft(self, digest: Digest) -> Iterator[Path]:
        """A file to build an index in: it becomes the layer's when the block ends, and goes when it
        fails."""
        descriptor, name = tempfile.mkstemp(".tmp", dir=self._folder)
        os.close(descriptor)
        draft = Path(name)
        try:
            yield draft
            draft.rename(self.path(digest))
        finally:
            draft.unlink(missing_ok=True)

    def drop_drafts(self) -> None:
        """Removes what a killed daemon was building. Nothing may be built meanwhile."""
        for path in self._folder.glob("*.tmp*"):
            path.unlink(missing_ok=True)

    def kept(self) -> Iterator[IndexInfo]:
        """Every index, in no order."""
        with os.scandir(self._folder) as entries:
            for entry in entries:
                stem, _, version = entry.name.rpartition(".")
                # Nobody else's file, if somebody put one here.
                with suppress(FormatError, FileNotFoundError):
                    digest = Digest.parse(stem.replace("-", ":", 1))
                    size = entry.stat(follow_symlinks=False).st_size
                    yield IndexInfo(digest, size, Path(entry.path), version == str(INDEX_VERSION))

    def collect(
        self, stored: Callable[[Digest], object], gone: Collection[Digest] = (), *, dry_run: bool
    ) -> int:
        """Removes the indexes of layers that are not `stored`, or `gone` from here on; returns
        their bytes. With `dry_run` it removes nothing."""
        freed = 0
        for one in self.kept():
            if not one.usable or one.digest in gone or not stored(one.digest):
                freed += one.size
                if not dry_run:
                    one.path.unlink(missing_ok=True)
        return freed
