"""How runs end that do not succeed: their records, and of several failures the one to tell."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import new_uid
from imgd_server.metadata import TransferRecord
from imgd_server.transfer._fetch import blame
from imgd_server.transfer._outcome import Outcome, TransferState
from imgd_server.transfer._progress import now_us
from imgd_server.transfer._run import Run

__all__ = ["cause_of", "failed", "interrupted", "stopped"]

_log = structlog.get_logger(__name__)


def failed(run: Run, error: BaseException, retention: float) -> TransferRecord:
    """The record of a run that `error` ended; it is kept for `retention` seconds.

    What is no `Error` of ours is a defect: its words go to the log, and an incident to the caller.
    """
    cause = cause_of(error)
    if isinstance(cause, Error):
        return _ended(run, TransferState.FAILED, blame(cause), retention)
    incident = new_uid()[:12]
    _log.error(
        "transfer failed on a defect", transfer=run.record.uid, incident=incident, exc_info=error
    )
    failure = Error(
        Reason.INTERNAL,
        f"a defect in the daemon; its log explains incident {incident}",
        origin=Origin.DAEMON,
    )
    return _ended(run, TransferState.FAILED, failure, retention)


def stopped(run: Run, retention: float) -> TransferRecord:
    """The record of a run whose work was cancelled, by somebody or by the daemon's own stop."""
    failure = Error(Reason.CANCELLED, "the transfer was cancelled; it can be resumed")
    record = _ended(run, TransferState.CANCELLED, failure, retention)
    return interrupted(record, retention) if run.interrupted else record


def interrupted(record: TransferRecord, retention: float, sequence: int = 0) -> TransferRecord:
    """The record of a run that the daemon's end interrupted; `sequence` is the least of its end."""
    failure = Error(
        Reason.INTERRUPTED,
        f"the daemon stopped while transfers/{record.uid} ran; resume it to go on where it was",
        origin=Origin.DAEMON,
    )
    outcome = Outcome.from_json(record.outcome) if record.outcome else Outcome()
    now = now_us()
    return replace(
        record,
        state=TransferState.INTERRUPTED.name,
        ended=record.ended or now,
        expires=now + int(retention * 1_000_000),
        sequence=max(record.sequence, sequence),
        outcome=replace(outcome, failure=failure).to_json(),
    )


def cause_of(error: BaseException) -> BaseException:
    """Of several failures at once the first; those that only followed from others count last."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return min(map(cause_of, error.exceptions), key=_is_cancellation)


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError) or (
        isinstance(error, Error) and error.reason is Reason.CANCELLED
    )


def _ended(run: Run, state: TransferState, failure: Error, retention: float) -> TransferRecord:
    run.progress.settle()
    outcome = Outcome(references=tuple(run.given), failure=failure)
    if work := run.moving:
        outcome = replace(
            outcome,
            target=work.target,
            fetched_bytes=work.fetched,
            reused_bytes=work.reused,
            uploaded_bytes=work.uploaded,
        )
    return replace(run.seal(retention), state=state.name, outcome=outcome.to_json())
