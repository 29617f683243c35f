"""Writing to registries: blobs mounted or uploaded, whole or in chunks, and manifests.

OCI distribution 1.1, "Push". An upload goes where the registry's last answer said, which may be
another host; after a failure the registry is asked how far it is, and the rest is sent.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, urlencode

from imgd_server.errors import Error, Origin, Reason
from imgd_server.oci import Descriptor, Digest, Reference, media
from imgd_server.registry._answers import header_digest, protocol_error
from imgd_server.registry._asking import Asker, Call
from imgd_server.registry._connection import Connection
from imgd_server.registry._http import Response
from imgd_server.registry._protocol import (
    BlobSource,
    Cancellation,
    Credentials,
    PushedBlob,
    PushedManifest,
    Upload,
)
from imgd_server.registry._transport import MAX_ERROR_BODY, Content, Request
from imgd_server.registry._url import Url

__all__ = ["HttpRegistryPusher"]

# A blob up to this size goes in one request, a larger one in chunks of it: what is lost at most
# where a registry keeps only whole chunks. Storage behind registries wants parts of 5 MiB and more.
_CHUNK: Final = 32 << 20
# Read or sent at once; a peer behind TLS must take the smaller one within the read time-out.
_PIECE: Final = 512 << 10
_TLS_PIECE: Final = 64 << 10
# Registries read a blob again before they take it: bytes a second that the slowest of them read.
_VERIFIED: Final = 10 << 20
# One for an upload that the registry forgot, one for chunks that it does not take, and the first.
_MAX_BEGINNINGS: Final = 3
_MAX_MOVES: Final = 5

_ACCEPT: Final = {"Accept": ", ".join((*media.ACCEPT_MANIFESTS, "*/*"))}
_STARTED: Final = {202}
_MOUNTED: Final = {201, 202}
_MOVED: Final = {307, 308}
_CHUNK_TAKEN: Final = {200, 201, 202, 204}
_TAKEN: Final = {200, 201, 202, 204}
_STATUS: Final = {200, 202, 204}
# Answers to a chunk that say something about chunks, not about this upload or its caller.
_NO_CHUNKS: Final = {400, 405, 411, 415, 501}
_RANGE: Final = re.compile(r"(?:bytes[= ])?0-([0-9]{1,18})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class _Begin(Exception):  # noqa: N818 - no failure: what is to be done next
    """The upload is no use; another is to be begun."""


class HttpRegistryPusher:
    """A `RegistryPusher` over the connections and authentication of a client."""

    def __init__(self, client: Asker) -> None:
        self._client = client

    def find_blob(
        self,
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> str | None:
        """See RegistryPusher."""
        call = _call(reference, f"blobs/{target.digest}", credentials, cancellation)
        try:
            with self._client.ask(call, "HEAD", {"Accept": "*/*"}) as head:
                return head.host
        except Error as error:
            # Where HEAD is not served, the upload tells.
            if error.http_status in (404, 405):
                return None
            raise

    def push_blob(
        self,
        reference: Reference,
        target: Descriptor,
        source: BlobSource,
        upload: Upload,
        mounts: Sequence[str],
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> PushedBlob:
        """See RegistryPusher."""
        call = _call(reference, "blobs/uploads/", credentials, cancellation)
        return _Sending(self._client, call, target, source, upload).run(mounts)

    def find_manifest(
        self, reference: Reference, credentials: Credentials | None, cancellation: Cancellation
    ) -> Digest | None:
        """See RegistryPusher."""
        name = reference.digest or reference.tag
        call = _call(reference, f"manifests/{name}", credentials, cancellation)
        try:
            with self._client.ask(call, "HEAD", _ACCEPT) as head:
                return header_digest(head) or reference.digest
        except Error as error:
            if 400 <= error.http_status < 500 and error.http_status not in (401, 403, 429):
                return None
            raise

    def push_manifest(
        self,
        reference: Reference,
        target: Descriptor,
        raw: bytes,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> PushedManifest:
        """See RegistryPusher."""
        name = reference.digest or reference.tag
        call = _call(reference, f"manifests/{name}", credentials, cancellation)
        headers = {"Content-Type": target.media_type}
        with self._client.ask(call, "PUT", headers, _TAKEN, body=raw) as response:
            said = header_digest(response)
            if said and said.algorithm == target.digest.algorithm and said != target.digest:
                raise protocol_error(response, f"takes {target.digest} for {said}")
            _finish(response)
            return PushedManifest(response.host, "oci-subject" in response.headers)


@dataclass(slots=True)
class _Sending:
    """One blob on its way; `minimum` is what the registry wants of a chunk, in bytes."""

    client: Asker
    call: Call
    target: Descriptor
    source: BlobSource
    upload: Upload
    minimum: int = 0
    moves: int = 0

    def run(self, mounts: Sequence[str]) -> PushedBlob:
        for _ in range(_MAX_BEGINNINGS):
            offset = self._offset() if self.upload.location else None
            if offset is None:
                if host := self._begin(mounts):
                    return PushedBlob(host, mounted=True)
                mounts, offset = (), 0
            try:
                return PushedBlob(self._send(offset), mounted=False)
            except _Begin:
                self.upload.location = ""
        raise Error(
            Reason.REGISTRY_UNAVAILABLE,
            f"{self.call.domain} forgets the uploads that it begins",
            host=self.call.domain,
            digest=self.target.digest,
        )

    def _begin(self, mounts: Sequence[str]) -> str:
        """Begins an upload, unless a mount makes that needless: then the host that mounted."""
        self.upload.location = ""
        for path in mounts:
            query = urlencode({"mount": self.target.digest, "from": path})
            call = replace(
                self.call,
                target=f"{self.call.target}?{query}",
                scope=f"{self.call.scope} repository:{path}:pull",
            )
            try:
                with self.client.ask(call, "POST", {"Content-Length": "0"}, _MOUNTED) as response:
                    _finish(response)
                    if response.status == 201:
                        return response.host
                    self._follow(response, needed=True)
                    return ""
            except Error as error:
                # The other repository may be out of reach for this caller, or gone.
                if not 400 <= error.http_status < 500 or error.http_status == 429:
                    raise
        with self.client.ask(self.call, "POST", {"Content-Length": "0"}, _STARTED) as response:
            _finish(response)
            self._follow(response, needed=True)
        return ""

    def _offset(self) -> int | None:
        """How far the upload is; None when it is gone, or nobody can tell."""
        try:
            with self._ask("GET", {"Accept": "*/*"}, _STATUS) as response:
                _finish(response)
                self._follow(response)
                return self._received(response) or None
        except Error as error:
            if 400 <= error.http_status < 500 and error.http_status not in (401, 403, 429):
                return None
            raise

    def _received(self, response: Response) -> int | None:
        """How many bytes an answer says have come; 0 where it does not tell none from one
        (docker-registry says `0-0` of both), None where it says nothing usable."""
        match = _RANGE.fullmatch(response.headers.get("range", ""))
        if match is None or int(match[1]) >= self.target.size:
            return None
        return int(match[1]) + 1 if int(match[1]) else 0

    def _send(self, offset: int) -> str:
        """Sends all from `offset` on; returns the host that took it."""
        size = self.target.size
        chunk = max(_CHUNK, self.minimum)
        while True:
            if self.upload.whole and offset:
                raise _Begin
            if offset == size or (offset == 0 and (size <= chunk or self.upload.whole)):
                if host := self._complete(offset):
                    return host
            else:
                offset = self._send_chunk(offset, min(chunk, size - offset))

    def _send_chunk(self, offset: int, length: int) -> int:
        """Sends a chunk; returns how far the upload is then."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{offset}-{offset + length - 1}",
        }
        content = _Part(self.source, self.target, offset, length)
        try:
            with self._ask("PATCH", headers, _CHUNK_TAKEN | _MOVED, content) as response:
                _finish(response)
                self._follow(response)
                if response.status in _MOVED:
                    return offset
                received = self._received(response)
        except Error as error:
            if error.http_status in _NO_CHUNKS:
                self.upload.whole = True
                raise _Begin from None
            return self._look_again(error, offset)
        if received is None:
            return offset + length
        if not offset < received <= offset + length:
            raise _Begin
        return received

    def _complete(self, offset: int) -> str:
        """Ends the upload, with the blob itself where nothing was sent; empty when it is to be
        done elsewhere."""
        size = self.target.size
        content = _Part(self.source, self.target, offset, size - offset)
        headers = {"Content-Type": "application/octet-stream"}
        try:
            with self._ask("PUT", headers, _TAKEN | _MOVED, content, whole=True) as response:
                _finish(response)
                if response.status in _MOVED:
                    self._follow(response, needed=True)
                    return ""
                self.upload.location = ""
                return response.host
        except Error as error:
            if error.registry_code in ("DIGEST_INVALID", "SIZE_INVALID"):
                self.upload.location = ""
                raise self._refused(error) from error
            self._look_again(error, offset)
            raise _Begin from None

    def _look_again(self, failed: Error, before: int) -> int:
        """How far an upload is that was refused for its offset. Raises what failed when that is
        not why."""
        if failed.http_status not in (404, 416):
            raise failed
        offset = self._offset() if failed.http_status == 416 else None
        if offset is None or offset == before:
            raise _Begin
        return offset

    def _refused(self, error: Error) -> Error:
        return Error(
            Reason.DIGEST_MISMATCH,
            f"{error.host} received other bytes than those of {self.target.digest}: "
            f"{error.message}",
            digest=self.target.digest,
            host=error.host,
            http_status=error.http_status,
            registry_code=error.registry_code,
        )

    def _follow(self, response: Response, *, needed: bool = False) -> None:
        """Takes note of where the upload goes on, and of what the registry wants of chunks."""
        if response.status in _MOVED:
            self.moves += 1
            if self.moves > _MAX_MOVES:
                raise protocol_error(response, "leads an upload from place to place")
        location = response.headers.get("location", "")
        if location:
            try:
                self.upload.location = str(Url.parse(location, response.url))
            except ValueError:
                raise protocol_error(response, "leads an upload to what is no usable URL") from None
        elif needed:
            raise protocol_error(response, "does not say where an upload goes on")
        minimum = response.headers.get("oci-chunk-min-length", "")
        if _NUMBER.fullmatch(minimum):
            self.minimum = int(minimum)

    def _ask(
        self,
        method: str,
        headers: Mapping[str, str],
        accepted: Collection[int],
        content: Content | None = None,
        *,
        whole: bool = False,
    ) -> Response:
        """A request at the upload's location; `whole` says that the blob is to be complete."""
        url = Url.parse(self.upload.location)
        if whole:
            sign = "&" if "?" in url.target else "?"
            query = urlencode({"digest": self.target.digest})
            url = Url(url.scheme, url.host, url.port, f"{url.target}{sign}{query}")
        patience = self.target.size / _VERIFIED if whole else 0.0
        request = Request(method, url, headers, content=content, patience=patience)
        return self.client.ask_at(self.call, request, accepted)


@dataclass(slots=True)
class _Part:
    """Part of a blob, as the content of a request."""

    source: BlobSource
    target: Descriptor
    offset: int
    length: int

    def send(self, connection: Connection, patience: float) -> bool:
        """See Content."""
        if self.length == 0:
            return True
        descriptor = self.source.fileno()
        if descriptor is None:
            return self._send_stream(connection, patience)
        if connection.can_send_files:
            return self._send_file(connection, patience, descriptor)
        position, end = self.offset, self.offset + self.length
        while position < end:
            data = os.pread(descriptor, min(_PIECE, end - position), position)
            if not data:
                raise self._too_short()
            if not self._write(connection, patience, position, memoryview(data)):
                return False
            position += len(data)
        return True

    def _send_file(self, connection: Connection, patience: float, descriptor: int) -> bool:
        position, end = self.offset, self.offset + self.length
        while position < end:
            connection.deadline = time.monotonic() + patience
            most = self.source.portion(min(_PIECE, end - position))
            length = connection.send_file(descriptor, position, most)
            if length is None:
                return False
            if not length:
                raise self._too_short()
            self.source.sent(position, length)
            position += length
        return True

    def _send_stream(self, connection: Connection, patience: float) -> bool:
        buffer = memoryview(bytearray(min(_PIECE, self.length)))
        position, end = self.offset, self.offset + self.length
        with self.source.open(self.offset) as stream:
            while position < end:
                length = stream.readinto(buffer[: self.source.portion(end - position)])
                if not length:
                    raise self._too_short()
                if not self._write(connection, patience, position, buffer[:length]):
                    return False
                position += length
        return True

    def _write(
        self, connection: Connection, patience: float, position: int, data: memoryview
    ) -> bool:
        done = 0
        while done < len(data):
            connection.deadline = time.monotonic() + patience
            length = connection.send_some(data[done : done + self.source.portion(_TLS_PIECE)])
            if length is None:
                return False
            self.source.sent(position + done, length)
            done += length
        return True

    def _too_short(self) -> Error:
        return Error(
            Reason.SIZE_MISMATCH,
            f"{self.target.digest} has fewer than the {self.target.size} bytes that its "
            "descriptor says",
            origin=Origin.SOURCE,
            digest=self.target.digest,
        )


def _call(
    reference: Reference,
    tail: str,
    credentials: Credentials | None,
    cancellation: Cancellation,
) -> Call:
    """What is written to a reference's repository, or looked up there before."""
    path = reference.path
    target, scope = f"/v2/{quote(path)}/{tail}", f"repository:{path}:pull,push"
    return Call(reference.domain, target, scope, credentials, cancellation, reference)


def _finish(response: Response) -> None:
    """Reads what is left, so that the connection can be kept."""
    if not response.complete:
        response.read(MAX_ERROR_BODY)
