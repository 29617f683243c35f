"""The bounds of the gRPC side that clients can meet."""

from google.protobuf.message import Message

from imgd_server.errors import Error, Reason

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_OPEN_CALLS",
    "MIN_KEEPALIVE_SECONDS",
    "check_answer",
]

# gRPC's own default for received messages; no request of ours comes near it.
MAX_MESSAGE_BYTES = 4 << 20

# The content of an answer: with its framing it stays below 1 MiB, so that no client needs a larger
# limit than its library's default, and none has to hold much.
MAX_ANSWER_BYTES = 1_000_000

# Far above what the daemon is measured with (a thousand watchers), and little memory all the same.
MAX_OPEN_CALLS = 8192

# Clients behind address translation ping to keep a quiet watch alive. gRPC's default permits one
# ping in five minutes and then closes the connection (`too_many_pings`); ours are cheap.
MIN_KEEPALIVE_SECONDS = 10.0


def check_answer(answer: Message, *digests: str) -> None:
    """Raises MANIFEST_TOO_LARGE for an answer that shows too much; `digests` hold it whole."""
    if answer.ByteSize() > MAX_ANSWER_BYTES:
        raise Error(
            Reason.MANIFEST_TOO_LARGE,
            "the image's manifest and config hold more than one answer can; "
            f"ContentService.ReadBlob streams them: {', '.join(digests)}",
        )
