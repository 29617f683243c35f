"""Files that an operator may replace while the daemon serves."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from imgd_server.errors import Error, Reason

__all__ = ["WatchedFiles", "invalid"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# Files of passwords and keys; thousands of users fit.
_MAX_BYTES = 1 << 20


def invalid(key: str, why: str) -> Error:
    """The refusal of a key of the configuration."""
    return Error(Reason.FIELD_INVALID, f"{key}: {why}")


class WatchedFiles(Generic[T]):
    """What small files hold, read again when one of them changes.

    `paths` are by the configuration's key; `parse` gets their bytes, in that order, and raises
    FIELD_INVALID, which also `WatchedFiles` itself does for a file that can't be read. Later, what
    can't be read or parsed is logged once, and what was read before stays in force.
    """

    def __init__(self, paths: dict[str, str], parse: Callable[..., T]) -> None:
        self._paths = {key: Path(path) for key, path in paths.items()}
        self._parse = parse
        # Looked at before they are read: a change in between is seen the next time.
        self._seen = self._look()
        self._value = self._read()

    def current(self) -> T:
        """What the files hold now. Costs a stat(2) a file."""
        seen = self._look()
        if seen != self._seen:
            self._seen = seen
            try:
                self._value = self._read()
            except Error as error:
                _log.warning("changed file not taken; the former stays in force", why=error.message)
            else:
                _log.info("changed file taken", keys=list(self._paths))
        return self._value

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_state(path) for path in self._paths.values()]

    def _read(self) -> T:
        return self._parse(*(_bytes(key, path) for key, path in self._paths.items()))


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - half the time of Path's, for every request
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _bytes(key: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise invalid(key, f"can't read the file: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise invalid(key, f"the file has more than {_MAX_BYTES} bytes")
    return data
