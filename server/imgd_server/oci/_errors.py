"""The one exception of this package."""

from __future__ import annotations

SUBJECT_LIMIT = 200  # an error is read by people and travels in a status of a few KiB
_SHOWN = 80


class FormatError(ValueError):
    """Some text or document breaks a rule of its format.

    Attributes:
        reason: A stable UPPER_SNAKE word that programs match: ``REFERENCE_INVALID``,
            ``DIGEST_INVALID``, ``DIGEST_UNSUPPORTED``, ``PLATFORM_INVALID``, ``MANIFEST_INVALID``,
            ``MANIFEST_UNSUPPORTED``, ``MANIFEST_SCHEMA1``, ``MANIFEST_TOO_LARGE``,
            ``CONFIG_INVALID`` or ``ARCHIVE_INVALID``.
        subject: The offending part, cut to 200 characters, always encodable as UTF-8.
    """

    reason: str
    subject: str

    def __init__(self, reason: str, message: str, subject: str = "") -> None:
        message = message.encode("utf-8", "backslashreplace").decode("utf-8")
        super().__init__(message)
        self.reason = reason
        safe = subject[:SUBJECT_LIMIT].encode("utf-8", "backslashreplace").decode("utf-8")
        self.subject = safe[:SUBJECT_LIMIT]

    def __reduce__(self) -> tuple[type[FormatError], tuple[str, str, str]]:
        return type(self), (self.reason, str(self), self.subject)


def show(text: str) -> str:
    """Quote a part for a message: control characters escaped, long ones cut."""
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}… ({len(text)} characters)"
