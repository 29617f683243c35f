"""Changes that a caller may send twice: one transaction, and one answer for a request ID."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from imgd_server.errors import Error, Reason
from imgd_server.metadata import KeptAnswer, MetadataStore, WriteSession
from imgd_server.transfer import now_us

__all__ = ["change"]

_Answer = TypeVar("_Answer")

# As TagImageRequest promises.
_KEPT_US = 24 * 3600 * 1_000_000


async def change(
    metadata: MetadataStore,
    request: Any,
    function: Callable[[WriteSession, int], _Answer],
    *,
    undo: bool = False,
) -> _Answer:
    """Runs a function of a session and the time (microseconds) in a transaction; with `undo` takes
    it back, and answers what it would have.

    A request with a `request_id` that was answered before gets that answer again, and nothing
    changes. Raises REQUEST_ID_REUSED when it was another request.
    """
    request_id = getattr(request, "request_id", "")
    fingerprint = _fingerprint(request) if request_id else ""

    def run(session: WriteSession) -> _Answer:
        now = now_us()
        if not request_id:
            return function(session, now)
        known = session.kept_answer(request_id)
        if known and known.expires > now:
            if known.fingerprint != fingerprint:
                raise Error(
                    Reason.REQUEST_ID_REUSED,
                    f"request_id {request_id} was used before with another request",
                )
            again: _Answer = _parse_answer(request, known.answer)
            return again
        made = function(session, now)
        raw = cast(Message, made).SerializeToString()
        session.keep_answer(KeptAnswer(request_id, fingerprint, raw, now + _KEPT_US))
        return made

    def run_dry(session: WriteSession) -> None:
        raise _Undo(run(session))

    if not undo:
        return await metadata.write(run)
    try:
        await metadata.write(run_dry)
    except _Undo as undone:
        answer: _Answer = undone.answer
        return answer
    raise AssertionError("a dry run ends with its answer")


class _Undo(Exception):  # noqa: N818 - no error: it takes a dry run back
    def __init__(self, answer: Any) -> None:
        self.answer = answer


def _parse_answer(request: Message, raw: bytes) -> Any:
    # buf's STANDARD rules: a method's messages are named after it.
    name = request.DESCRIPTOR.full_name.removesuffix("Request") + "Response"
    found = cast(Descriptor, request.DESCRIPTOR.file.pool.FindMessageTypeByName(name))
    return message_factory.GetMessageClass(found).FromString(raw)


def _fingerprint(request: Message) -> str:
    raw = request.SerializeToString(deterministic=True)
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.blake2b(name + b"\0" + raw, digest_size=16).hexdigest()
