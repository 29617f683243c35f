"""Places that callers name, below folders that the operator allows."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from imgd_server.errors import FieldError

__all__ = ["Places"]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Places:
    """Folders below some `allowed` ones, gone to step by step from there: no link that a caller has
    made is followed. All methods block."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = [Path(os.path.normpath(one)) for one in allowed]

    def check(self, path: str, field: str, help_: str) -> tuple[Path, Path]:
        """The allowed folder that a path is below, and the rest. Raises FIELD_INVALID."""
        place = Path(path)
        if place.is_absolute() and ".." not in place.parts:
            for allowed in self._allowed:
                if place != allowed and place.is_relative_to(allowed):
                    return allowed, place.relative_to(allowed)
        raise FieldError(
            field,
            f"{field}: is not below a folder that the daemon's mount_roots allow; {help_}",
        )

    @contextlib.contextmanager
    def opened(self, path: str, field: str, help_: str, *, create: bool = False) -> Iterator[int]:
        """A folder's descriptor; with `create` it is made, and must be empty. Raises FIELD_INVALID,
        OSError."""
        allowed, rest = self.check(path, field, help_)
        place = os.open(allowed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in rest.parts:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o711, dir_fd=place)
                inner = os.open(part, _OPEN, dir_fd=place)
                os.close(place)
                place = inner
            if create and os.listdir(place):  # noqa: PTH208 - a descriptor
                raise FieldError(field, f"{field}: the folder is not empty")
            yield place
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and create:
                raise FieldError(
                    field, f"{field}: leads through a link, or something else"
                ) from error
            raise
        finally:
            os.close(place)

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The folder that one is in, and its name there. Raises FIELD_INVALID, OSError."""
        allowed, rest = self.check(path, "path", "")
        place = os.open(allowed, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in rest.parts[:-1]:
                inner = os.open(part, _OPEN, dir_fd=place)
                os.close(place)
                place = inner
            yield place, rest.name
        finally:
            os.close(place)
