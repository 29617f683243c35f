"""A blob's bytes as a registry sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from imgd_server.errors import Error, Reason
from imgd_server.oci import Descriptor
from imgd_server.registry._answers import blob_offset, is_encoded, protocol_error
from imgd_server.registry._hosts import Host
from imgd_server.registry._http import Response
from imgd_server.registry._protocol import Privacy, RangeStream

__all__ = ["open_stream"]


class _Body:
    """A blob's bytes (`RangeStream`), and what they tell of the host that was asked for them."""

    def __init__(
        self,
        response: Response,
        offset: int,
        end: int,
        target: Descriptor,
        asked: Host | None,
        private: Privacy,
    ) -> None:
        self._response = response
        self._target = target
        self._asked = asked
        self._left = end - offset
        self.offset, self.end = offset, end
        self.etag = response.headers.get("etag", "")
        self.host = response.host
        self.private = private
        if response.length is not None and response.length != self._left:
            raise self._wrong_size()

    def readinto(self, buffer: memoryview) -> int:
        try:
            got = self._readinto(buffer)
        except Error as error:
            if self._asked and error.reason is not Reason.CANCELLED:
                self._asked.fail(error)
            raise
        if not got and self._asked:
            self._asked.health.proved()
        return got

    def _readinto(self, buffer: memoryview) -> int:
        got = self._response.readinto(buffer)
        self._left -= got
        if self._left < 0 or (got == 0 and self._left > 0 and self._response.complete):
            raise self._wrong_size()
        if got == 0 and self._left > 0:
            raise Error(
                Reason.REGISTRY_UNREACHABLE,
                f"{self.host} ended {self._target.digest} {self._left} bytes too early",
                host=self.host,
                digest=self._target.digest,
            )
        return got

    def distrust(self) -> None:
        if self._asked:
            self._asked.distrust()

    def _wrong_size(self) -> Error:
        return Error(
            Reason.SIZE_MISMATCH,
            f"{self.host} sends another length for {self._target.digest} than the "
            f"{self._target.size} bytes that its descriptor says",
            host=self.host,
            digest=self._target.digest,
        )

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()


def open_stream(
    ask: Callable[[Mapping[str, str]], Response],
    target: Descriptor,
    offset: int,
    asked: Host | None = None,
    end: int | None = None,
    privacy: Callable[[Response], Privacy] = lambda _: Privacy.NONE,
) -> RangeStream:
    """A blob's bytes from `offset` on, or as far as `end`; the whole blob where the range is not
    understood.

    `ask` sends the request with more headers; `asked` is the host whose health the bytes tell of;
    `privacy` tells of an answer whether it is given for credentials.
    Raises SIZE_MISMATCH, REGISTRY_PROTOCOL, and what `ask` raises.
    """
    end = target.size if end is None else end
    whole = offset == 0 and end == target.size
    # With its end: go-containerregistry's registry understands no other range.
    headers = {"Accept": "*/*", **({} if whole else {"Range": f"bytes={offset}-{end - 1}"})}
    response = ask(headers)
    try:
        begins = blob_offset(response, offset, end, target.size)
        if begins is not None:
            if is_encoded(response):
                raise protocol_error(response, "sends a blob in a Content-Encoding")
            whole = whole or response.status == 200
            end = target.size if whole else end
            return _Body(response, begins, end, target, asked, privacy(response))
    except BaseException:
        response.close()
        raise
    response.close()
    return open_stream(ask, target, 0, asked, privacy=privacy)
