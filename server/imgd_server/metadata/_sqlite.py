"""The embedded metadata store: one SQLite file, one writer that groups commits, a few readers.

Every write is durable when it is answered (WAL, `synchronous=FULL`: https://sqlite.org/wal.html).
A sync to disk is what a commit costs, so the writer takes all functions that wait, runs each in a
savepoint of its own, and commits once.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import structlog

from imgd_server.errors import Error, Reason
from imgd_server.metadata._protocol import ReadSession, WriteSession
from imgd_server.metadata._schema import migrate
from imgd_server.metadata._session import Session

__all__ = ["SqliteMetadataStore"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# Reads are short and Python runs one at a time; a few keep a slow one from holding up the rest.
_READERS = 3
# So many functions share a commit at the most, so that the first does not wait for ever.
_GROUP = 256
# How long a lock of another program (a backup, somebody's shell) is waited for; seconds.
_LOCK_TIMEOUT = 30.0
# So many faults are told at the most: one is enough to know.
_MAX_FAULTS = 100


class _Job(NamedTuple):
    """A function that waits for the writer."""

    function: Callable[[WriteSession], Any]
    future: asyncio.Future[Any]
    alone: bool


class _Answer(NamedTuple):
    """What came of one."""

    future: asyncio.Future[Any]
    result: Any = None
    failure: BaseException | None = None


class SqliteMetadataStore:
    """A `MetadataStore` in a file. Use `open`. Its methods belong to one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._change: asyncio.Future[None] | None = None
        self._versions = itertools.count()
        self._listing_version: int | None = next(self._versions)
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._writer_is_lost = False
        _create(path)
        try:
            with _translated():
                self._writer = self._connect()
                migrate(self._writer)
        except BaseException:
            self._disconnect()
            raise
        self._readers = ThreadPoolExecutor(_READERS, "metadata-read")
        self._thread = threading.Thread(target=self._write_all, name="metadata-write", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Opens or creates the file. Raises STORE_CORRUPT, DISK_FULL, FIELD_INVALID (of the
        state's root) for a path that can't be opened."""
        return await asyncio.to_thread(cls, path)

    async def read(self, function: Callable[[ReadSession], T]) -> T:
        """See MetadataStore."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, function)

    async def write(self, function: Callable[[WriteSession], T]) -> T:
        """See MetadataStore."""
        return await self._submit(function, alone=False)

    async def write_alone(self, function: Callable[[WriteSession], T]) -> T:
        """See MetadataStore."""
        return await self._submit(function, alone=True)

    async def _submit(self, function: Callable[[WriteSession], T], *, alone: bool) -> T:
        self._check_open()
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(function, future, alone))
        return await future

    def next_change(self) -> Awaitable[None]:
        """See MetadataStore."""
        if self._change is None:
            self._change = asyncio.get_running_loop().create_future()
        # Several wait for the same: who leaves must not end it.
        return asyncio.shield(self._change)

    def listing_version(self) -> int | None:
        """See MetadataStore."""
        return self._listing_version

    def _answer(self, answers: Sequence[_Answer]) -> None:
        """In the event loop: tells a group's callers, those that still wait."""
        for future, result, failure in answers:
            if future.done():
                continue
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)
        change, self._change = self._change, None
        if change is not None and not change.done():
            change.set_result(None)

    async def verify(self) -> list[str]:
        """See MetadataStore."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._verify)

    async def close(self) -> None:
        """See MetadataStore."""
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._readers.shutdown)
        self._disconnect()

    def _check_open(self) -> None:
        if self._closed:
            raise Error(Reason.SHUTTING_DOWN, "the metadata are closed: the daemon shuts down")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=_LOCK_TIMEOUT
        )
        try:
            connection.executescript("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        except BaseException:
            connection.close()
            raise
        self._connections.append(connection)
        return connection

    def _disconnect(self) -> None:
        for connection in self._connections:
            connection.close()

    # --- in the readers' threads

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
        return connection

    def _read(self, function: Callable[[ReadSession], T]) -> T:
        with _translated():
            connection = self._reader()
            connection.execute("BEGIN")
            try:
                return function(Session(connection))
            finally:
                # Some failures have ended the transaction already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _verify(self) -> list[str]:
        try:
            connection = self._reader()
            rows = connection.execute(f"PRAGMA integrity_check({_MAX_FAULTS})").fetchall()
            faults = [fault for (fault,) in rows if fault != "ok"]
            for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchall():
                faults.append(f"a row of {table} refers to a row of {parent} that is not there")
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return faults[:_MAX_FAULTS]

    # --- in the writer's thread

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            groups: list[list[_Job]] = [[job]]
            last = False
            # A group ends before and behind one that wants to be alone.
            while sum(map(len, groups)) < _GROUP and not self._jobs.empty():
                if (another := self._jobs.get()) is None:
                    last = True
                    break
                if another.alone or groups[-1][0].alone:
                    groups.append([another])
                else:
                    groups[-1].append(another)
            for jobs in groups:
                self._write_group([one for one in jobs if not one.future.cancelled()])
            if last:
                return

    def _write_group(self, jobs: list[_Job]) -> None:
        """Runs functions in one transaction; if that fails as a whole, each in one of its own."""
        failure = self._attempt(jobs) if jobs else None
        if failure is None:
            return
        if len(jobs) == 1:
            self._send([_Answer(jobs[0].future, failure=failure)])
            return
        # One may have wanted more room than there is: the others don't pay for it.
        for job in jobs:
            self._write_group([job])

    def _attempt(self, jobs: list[_Job]) -> BaseException | None:
        """Runs functions, each undone alone when it fails, and answers after the one commit.

        Returns why nothing of it was done, or None.
        """
        try:
            if self._writer_is_lost:
                self._reopen_writer()
            self._writer.execute("BEGIN IMMEDIATE")
            answers = [self._run_one(job) for job in jobs]
            self._writer.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - it belongs to the callers
            self._roll_back()
            return _translate(error)
        finally:
            if self._listing_version is None:
                self._listing_version = next(self._versions)
        self._send(answers)
        return None

    def _send(self, answers: Sequence[_Answer]) -> None:
        # One call for a group: each wakes the loop, and lets go of the interpreter's lock.
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            answers[0].future.get_loop().call_soon_threadsafe(self._answer, answers)

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error as error:
            # Closing the connection undoes it too, and lets go of the lock.
            _log.error("the metadata could not be rolled back", error=str(error))
            self._writer_is_lost = True

    def _reopen_writer(self) -> None:
        """Raises STORE_CORRUPT; the next group then tries again."""
        try:
            self._writer.close()
            with suppress(ValueError):  # it went with an earlier try
                self._connections.remove(self._writer)
            self._writer = self._connect()
        except sqlite3.Error as error:
            raise Error(
                Reason.STORE_CORRUPT, "the disk failed, and the metadata can't be opened again"
            ) from error
        self._writer_is_lost = False
        _log.warning("the metadata are open again, after the disk failed")

    def _run_one(self, job: _Job) -> _Answer:
        self._writer.execute("SAVEPOINT one")
        try:
            session = Session(self._writer)
            result = job.function(session)
        except BaseException as error:
            if not self._writer.in_transaction:
                raise  # a full disk, say, undoes all functions at once
            self._writer.execute("ROLLBACK TO one")
            self._writer.execute("RELEASE one")
            return _Answer(job.future, failure=_translate(error))
        self._writer.execute("RELEASE one")
        if session.lists_changed:
            # Nobody can tell whether a reader is before or after the commit.
            self._listing_version = None
        return _Answer(job.future, result)


def _create(path: Path) -> None:
    """Makes the file, so that only the daemon can read what was pulled by whom."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Error(Reason.DISK_FULL, "no room to write the metadata; free some") from error
        why = os.strerror(error.errno or 0)
        raise Error(
            Reason.FIELD_INVALID, f"root: the metadata in it can't be opened: {why}"
        ) from error


# SQLite tells a full disk from a quota that is used up, and from a file that may not grow.
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}


def _translate(error: BaseException) -> BaseException:
    """SQLite's error in our words, where it is nobody's defect; any other as it is."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    found: Error | None = None
    if code in _NO_ROOM:
        found = Error(Reason.DISK_FULL, "no room to write the metadata; free some")
    elif code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        found = Error(
            Reason.STORE_CORRUPT, "the metadata file is damaged, or belongs to another program"
        )
    elif code & 0xFF == sqlite3.SQLITE_IOERR:
        found = Error(Reason.STORE_CORRUPT, "the disk fails to read or write the metadata")
    elif code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        found = Error(Reason.TOO_BUSY, "another program holds the metadata file; try again")
    if found is None:
        return error
    found.__cause__ = error
    return found


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        found = _translate(error)
        if found is error:
            raise
        raise found from error
