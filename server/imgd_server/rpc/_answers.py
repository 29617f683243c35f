"""Changes that a caller may send twice: one transaction, and one answer for a request ID."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from imgd_server.errors import Error, Reason
from imgd_server.metadata import KeptAnswer, MetadataStore, ReadSession, WriteSession
from imgd_server.transfer import now_us

__all__ = ["change", "change_in_steps", "known_answer"]

_Answer = TypeVar("_Answer", bound=Message)

# As TagImageRequest promises.
_KEPT_US = 24 * 3600 * 1_000_000


async def change(
    metadata: MetadataStore, request: Any, function: Callable[[WriteSession, int], _Answer]
) -> _Answer:
    """Runs a function of a session and the time (microseconds) in a transaction.

    A request with a `request_id` that was answered before gets that answer again, and nothing
    changes. Raises REQUEST_ID_REUSED when it was another request.
    """

    def run(session: WriteSession) -> _Answer:
        now = now_us()
        known: _Answer | None = _known(session, request, now)
        if known is not None:
            return known
        made = function(session, now)
        _keep(session, request, made, now)
        return made

    return await metadata.write(run)


async def change_in_steps(
    metadata: MetadataStore, request: Any, work: Callable[[], Awaitable[_Answer]]
) -> _Answer:
    """Like `change`, for work of several transactions. When it fails, or the daemon dies, between
    them, the request can be sent again, and then does, and tells of, the rest."""
    known: _Answer | None = await known_answer(metadata, request)
    if known is not None:
        return known
    made = await work()
    if getattr(request, "request_id", ""):
        await metadata.write(lambda session: _keep(session, request, made, now_us()))
    return made


async def known_answer(metadata: MetadataStore, request: Any) -> Any:
    """The answer that a request with this ID was given before; None when there is none.

    Raises REQUEST_ID_REUSED when it was another request."""
    return await metadata.read(lambda session: _known(session, request, now_us()))


def _known(session: ReadSession, request: Any, now: int) -> Any:
    """The answer that was given before; None when there is none."""
    request_id = getattr(request, "request_id", "")
    known = session.kept_answer(request_id) if request_id else None
    if known is None or known.expires <= now:
        return None
    if known.fingerprint != _fingerprint(request):
        raise Error(
            Reason.REQUEST_ID_REUSED,
            f"request_id {request_id} was used before with another request",
        )
    return _parse_answer(request, known.answer)


def _keep(session: WriteSession, request: Any, answer: Message, now: int) -> None:
    if request_id := getattr(request, "request_id", ""):
        raw = answer.SerializeToString()
        session.keep_answer(KeptAnswer(request_id, _fingerprint(request), raw, now + _KEPT_US))


def _parse_answer(request: Message, raw: bytes) -> Any:
    # buf's STANDARD rules: a method's messages are named after it.
    name = request.DESCRIPTOR.full_name.removesuffix("Request") + "Response"
    found = cast(Descriptor, request.DESCRIPTOR.file.pool.FindMessageTypeByName(name))
    return message_factory.GetMessageClass(found).FromString(raw)


def _fingerprint(request: Message) -> str:
    raw = request.SerializeToString(deterministic=True)
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.blake2b(name + b"\0" + raw, digest_size=16).hexdigest()
