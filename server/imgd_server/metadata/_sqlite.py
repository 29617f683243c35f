"""The embedded metadata store: one SQLite file, one writer that groups commits, a few readers.

Every write is durable when it is answered (WAL, `synchronous=FULL`: https://sqlite.org/wal.html).
A sync to disk is what a commit costs, so the writer takes all functions that wait, runs each in a
savepoint of its own, and commits once.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from imgd_server.errors import Error, Reason
from imgd_server.metadata._protocol import ReadSession, WriteSession
from imgd_server.metadata._schema import migrate
from imgd_server.metadata._session import Session

__all__ = ["SqliteMetadataStore"]

T = TypeVar("T")

# Reads are short and Python runs one at a time; a few keep a slow one from holding up the rest.
_READERS = 3
# So many functions share a commit at the most, so that the first does not wait for ever.
_GROUP = 256

_Job = tuple[Callable[[WriteSession], Any], "Future[Any]"]


class SqliteMetadataStore:
    """A `MetadataStore` in a file. Use `open`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._writer = self._connect()
        with _translated():
            migrate(self._writer)
        self._readers = ThreadPoolExecutor(_READERS, "metadata-read")
        self._thread = threading.Thread(target=self._write_all, name="metadata-write", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Opens or creates the file. Raises STORE_CORRUPT, DISK_FULL."""
        return await asyncio.to_thread(cls, path)

    async def read(self, function: Callable[[ReadSession], T]) -> T:
        """See MetadataStore."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, function)

    async def write(self, function: Callable[[WriteSession], T]) -> T:
        """See MetadataStore."""
        future: Future[T] = Future()
        self._jobs.put((function, future))
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """See MetadataStore."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._connections:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        with _translated():
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=30.0
            )
            self._connections.append(connection)
            connection.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
            )
        return connection

    def _read(self, function: Callable[[ReadSession], T]) -> T:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        with _translated():
            connection.execute("BEGIN")
            try:
                return function(Session(connection))
            finally:
                connection.execute("ROLLBACK")

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs: list[_Job] = [job]
            last = False
            while len(jobs) < _GROUP and not self._jobs.empty():
                if (another := self._jobs.get()) is None:
                    last = True
                    break
                jobs.append(another)
            self._write_group(jobs)
            if last:
                return

    def _write_group(self, jobs: list[_Job]) -> None:
        """Runs functions, each undone alone when it fails, and answers after the one commit."""
        jobs = [job for job in jobs if job[1].set_running_or_notify_cancel()]
        answers: list[Callable[[], None]] = []
        try:
            with _translated():
                self._writer.execute("BEGIN IMMEDIATE")
                for function, future in jobs:
                    answers.append(self._run_one(function, future))
                self._writer.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - it belongs to the callers
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            for _, future in jobs:
                future.set_exception(error)
            return
        for answer in answers:
            answer()

    def _run_one(
        self, function: Callable[[WriteSession], Any], future: Future[Any]
    ) -> Callable[[], None]:
        self._writer.execute("SAVEPOINT one")
        try:
            result = function(Session(self._writer))
        except sqlite3.OperationalError:
            raise  # the disk's or the file's fault, so everybody's
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            self._writer.execute("ROLLBACK TO one")
            self._writer.execute("RELEASE one")
            failure = error
            return lambda: future.set_exception(failure)
        self._writer.execute("RELEASE one")
        return lambda: future.set_result(result)


class _translated:  # noqa: N801 - reads as a statement
    """Turns SQLite's errors into ours."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, sqlite3.DatabaseError):
            return
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise Error(Reason.DISK_FULL, "no room to write the metadata; free some") from error
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise Error(
                Reason.STORE_CORRUPT, "the metadata file is damaged, or belongs to another program"
            ) from error
