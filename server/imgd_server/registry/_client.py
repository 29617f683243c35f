"""The distribution API as a client (OCI distribution 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from imgd_server.errors import Error, Reason, from_format
from imgd_server.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Reference,
    media,
    parse_manifest,
)
from imgd_server.registry._answers import (
    described,
    failure,
    header_digest,
    is_encoded,
    manifest_kind,
    mismatch,
    protocol_error,
    too_large,
)
from imgd_server.registry._asking import Asker, Call, rest_of
from imgd_server.registry._hosts import Host
from imgd_server.registry._http import Response
from imgd_server.registry._protocol import (
    BlobSize,
    BlobStream,
    Cancellation,
    Credentials,
    FetchedManifest,
    RangeStream,
    Resolved,
)
from imgd_server.registry._streams import open_stream
from imgd_server.registry._transport import Request
from imgd_server.registry._url import Url

__all__ = ["HttpRegistryClient"]

_ACCEPT_MANIFESTS: Final = {"Accept": ", ".join((*media.ACCEPT_MANIFESTS, "*/*"))}
_PERHAPS_NO_HEAD = {Reason.REMOTE_NOT_FOUND, Reason.REGISTRY_DENIED, Reason.REGISTRY_PROTOCOL}
_BLOB = {200, 206, 416}
# A manifest may list as many URLs as fit into it; each may cost a time-out.
_MAX_URLS = 4


class HttpRegistryClient(Asker):
    """A `RegistryClient` over HTTP/1.1. Safe to use from many threads.

    Raises FIELD_INVALID that names the key when what is configured can't be used.
    """

    # --- manifests

    def resolve(
        self, reference: Reference, credentials: Credentials | None, cancellation: Cancellation
    ) -> Resolved:
        """See RegistryClient."""
        name = reference.digest or reference.tag or "latest"
        call = Call.of(reference, f"manifests/{name}", credentials, cancellation)
        resolved = self._told(call, lambda call: self._look_up(call, reference.digest))
        return self._named_so(reference, resolved)

    def _look_up(self, call: Call, digest: Digest | None) -> Resolved:
        resolved = self._head_manifest(call, digest)
        if resolved is None:
            fetched = self._get_manifest(call, digest)
            resolved = Resolved(fetched.target, fetched.host, fetched.private)
        return resolved

    @staticmethod
    def _named_so(reference: Reference, resolved: Resolved) -> Resolved:
        """What was resolved, with the digest that the reference names."""
        target = resolved.target
        if reference.digest and target.digest != reference.digest:
            if target.digest.algorithm == reference.digest.algorithm:
                raise mismatch(reference.digest, target.digest, resolved.host)
            target = replace(target, digest=reference.digest)
        return replace(resolved, target=target)

    def _head_manifest(self, call: Call, digest: Digest | None) -> Resolved | None:
        """What a HEAD tells; None when a GET must."""

        def look(call: Call) -> Resolved | None:
            with self.ask(call, "HEAD", _ACCEPT_MANIFESTS) as head:
                target = described(head, digest)
                if target is None:
                    return None
                return Resolved(target, head.host, self._privacy(call, head))

        try:
            return self._from_hosts(call, look)
        except Error as error:
            # Odd registries refuse HEAD (docker and crane ask again, too), and one that refuses a
            # GET as well says why in its body.
            if error.http_status >= 400 and error.reason in _PERHAPS_NO_HEAD:
                return None
            raise

    def fetch_manifest(
        self,
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> FetchedManifest:
        """See RegistryClient."""
        if target.data is not None:
            return FetchedManifest(target, target.data, "")
        if target.size > MAX_MANIFEST_BYTES:
            raise too_large(target.digest, "")
        call = Call.of(reference, f"manifests/{target.digest}", credentials, cancellation)
        fetched = self._get_manifest(call, target.digest)
        if len(fetched.raw) != target.size:
            raise Error(
                Reason.SIZE_MISMATCH,
                f"{target.digest} has {len(fetched.raw)} bytes instead of {target.size}",
                digest=target.digest,
                host=fetched.host,
            )
        return replace(fetched, target=target)

    def _get_manifest(self, call: Call, wanted: Digest | None) -> FetchedManifest:
        """A manifest, with the digest that is wanted, if one is."""
        return self._from_hosts(call, lambda call: self._get_manifest_of_host(call, wanted))

    def _get_manifest_of_host(self, call: Call, wanted: Digest | None) -> FetchedManifest:
        with self.ask(call, "GET", _ACCEPT_MANIFESTS) as response:
            kind, host = manifest_kind(response), response.host
            if is_encoded(response):
                raise protocol_error(response, "sends a manifest in a Content-Encoding")
            raw = b""
            if (response.length or 0) <= MAX_MANIFEST_BYTES:
                raw = response.read(MAX_MANIFEST_BYTES)
            if max(response.length or 0, len(raw)) > MAX_MANIFEST_BYTES:
                raise too_large(wanted or str(call.about), host)
            if response.cut:
                raise Error(
                    Reason.REGISTRY_UNREACHABLE, f"{host} ended a manifest too early", host=host
                )
            # Where a tag was asked for, only the header tells a whole manifest from a part.
            wanted = wanted or header_digest(response)
        digest = Digest.of(raw, wanted.algorithm if wanted else "sha256")
        if wanted and digest != wanted:
            raise mismatch(wanted, digest, host)
        target = Descriptor(kind or _kind(raw, host), digest, len(raw))
        return FetchedManifest(target, raw, host, self._privacy(call, response))

    # --- blobs

    def open_blob(
        self,
        reference: Reference,
        target: Descriptor,
        offset: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> BlobStream:
        """See RegistryClient."""
        call = Call.of(reference, f"blobs/{target.digest}", credentials, cancellation)
        try:
            return self._from_hosts(
                call,
                lambda call: open_stream(
                    lambda headers: self.ask(call, "GET", headers, _BLOB),
                    target,
                    offset,
                    call.host,
                    privacy=lambda response: self._privacy(call, response),
                ),
            )
        except Error as error:
            if error.reason is not Reason.REMOTE_NOT_FOUND or not target.urls:
                raise
            failed = error
        for text in target.urls[:_MAX_URLS]:
            try:
                return self._open_foreign(text, target, offset, cancellation)
            except Error as error:
                failed = error
        raise failed

    def open_range(
        self,
        reference: Reference,
        target: Descriptor,
        start: int,
        end: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
        avoid: str = "",
    ) -> RangeStream:
        """See RegistryClient."""
        call = Call.of(reference, f"blobs/{target.digest}", credentials, cancellation)

        def open_at(host: Host) -> RangeStream:
            at = replace(call, host=host)
            return open_stream(
                lambda headers: self.ask(at, "GET", headers, _BLOB),
                target,
                start,
                host,
                end,
                lambda response: self._privacy(at, response),
            )

        return self._hosts.first(call.domain, call.needs, open_at, avoid)

    def blob_size(
        self,
        reference: Reference,
        digest: Digest,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> BlobSize:
        """See RegistryClient."""
        call = Call.of(reference, f"blobs/{digest}", credentials, cancellation)

        def look(call: Call) -> BlobSize:
            with self.ask(call, "HEAD", {"Accept": "*/*"}) as response:
                if response.length is None or is_encoded(response):
                    raise protocol_error(response, "does not say how large a blob is")
                return BlobSize(response.length, self._privacy(call, response))

        return self._told(call, lambda call: self._from_hosts(call, look))

    def _open_foreign(
        self, text: str, target: Descriptor, offset: int, cancellation: Cancellation
    ) -> BlobStream:
        try:
            url = Url.parse(text)
        except ValueError:
            raise Error(
                Reason.REGISTRY_PROTOCOL, f"{target.digest} has a URL that is none of http's"
            ) from None

        def ask(headers: Mapping[str, str]) -> Response:
            response = self._transport.send(Request("GET", url, headers), cancellation)
            if response.status in _BLOB:
                return response
            raise failure(response, rest_of(response), "the layer's URL")

        return open_stream(ask, target, offset)


def _kind(raw: bytes, host: str) -> str:
    """The type of a manifest that is served without one."""
    try:
        return parse_manifest(raw).media_type
    except FormatError as error:
        raise from_format(error, host=host) from error
