"""The distribution API as a client (OCI distribution 1.1)."""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from imgd_server.errors import Error, Reason, from_format
from imgd_server.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Reference,
    media,
)
from imgd_server.registry._auth import Authenticator
from imgd_server.registry._egress import is_loopback_host
from imgd_server.registry._protocol import (
    BlobStream,
    Cancellation,
    Credentials,
    FetchedManifest,
    Resolved,
)
from imgd_server.registry._transport import Response, Transport, TransportConfig

__all__ = ["HttpRegistryClient", "RegistryConfig"]

_MAX_ERROR_BODY = 64 << 10
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
# Where names on Docker Hub are served.
_SERVED_BY = {"docker.io": "registry-1.docker.io"}
_VAGUE = {"", "text/plain", "application/json", "application/octet-stream"}
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class RegistryConfig(TransportConfig):
    """Adds which registries are called without TLS. Loopback ones always are."""

    plain_http: Collection[str] = frozenset()


class _Body:
    """A blob's bytes (`BlobStream`)."""

    def __init__(self, response: Response, offset: int, target: Descriptor) -> None:
        self._response = response
        self._target = target
        self._left = target.size - offset
        self.offset = offset
        self.host = response.host

    def readinto(self, buffer: memoryview) -> int:
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


class HttpRegistryClient:
    """A `RegistryClient` over HTTP/1.1. Safe to use from many threads."""

    def __init__(self, config: RegistryConfig | None = None) -> None:
        self._config = config or RegistryConfig()
        self._transport = Transport(self._config)
        self._auth = Authenticator(self._transport)

    def close(self) -> None:
        """See RegistryClient."""
        self._transport.close()

    # --- manifests

    def resolve(
        self, reference: Reference, credentials: Credentials | None, cancellation: Cancellation
    ) -> Resolved:
        """See RegistryClient."""
        name = reference.digest or reference.tag or "latest"
        url = self._url(reference, f"manifests/{name}")
        with self._call("HEAD", url, reference, credentials, cancellation) as head:
            target = _described(head)
        host = head.host
        if target is None:
            fetched = self._get_manifest(reference, url, credentials, cancellation)
            target, host = fetched.target, fetched.host
        if reference.digest and target.digest != reference.digest:
            if target.digest.algorithm == reference.digest.algorithm:
                raise _mismatch(reference.digest, target.digest, host)
            target = replace(target, digest=reference.digest)
        return Resolved(target, host)

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
            raise _too_large(target.digest, "")
        url = self._url(reference, f"manifests/{target.digest}")
        fetched = self._get_manifest(reference, url, credentials, cancellation, target)
        if len(fetched.raw) != target.size:
            raise Error(
                Reason.SIZE_MISMATCH,
                f"{target.digest} has {len(fetched.raw)} bytes instead of {target.size}",
                digest=target.digest,
                host=fetched.host,
            )
        return fetched

    def _get_manifest(
        self,
        reference: Reference,
        url: SplitResult,
        credentials: Credentials | None,
        cancellation: Cancellation,
        target: Descriptor | None = None,
    ) -> FetchedManifest:
        with self._call("GET", url, reference, credentials, cancellation) as response:
            kind = media.essence(response.headers.get("Content-Type", ""))
            if kind == "text/html":
                raise _protocol(response, "answers a web page instead of a manifest")
            raw = response.read(MAX_MANIFEST_BYTES)
        wanted = target.digest if target else None
        if len(raw) > MAX_MANIFEST_BYTES:
            raise _too_large(wanted or Digest.of(raw), response.host)
        if not response.complete:
            raise Error(
                Reason.REGISTRY_UNREACHABLE,
                f"{response.host} ended a manifest too early",
                host=response.host,
            )
        wanted = wanted or reference.digest
        digest = Digest.of(raw, wanted.algorithm if wanted else "sha256")
        if wanted and digest != wanted:
            raise _mismatch(wanted, digest, response.host)
        if target is None or target.media_type in _VAGUE:
            target = Descriptor("" if kind in _VAGUE else kind, digest, len(raw))
        return FetchedManifest(target, raw, response.host)

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
        url = self._url(reference, f"blobs/{target.digest}")
        try:
            return self._open(url, reference, target, offset, credentials, cancellation)
        except Error as error:
            if error.reason is not Reason.REMOTE_NOT_FOUND or not target.urls:
                raise
            failure = error
        for text in target.urls:
            foreign = urlsplit(text)
            if foreign.scheme not in ("http", "https") or not foreign.hostname:
                continue
            try:
                return self._open(foreign, None, target, offset, None, cancellation)
            except Error as error:
                failure = error
        raise failure

    def _open(
        self,
        url: SplitResult,
        reference: Reference | None,
        target: Descriptor,
        offset: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> BlobStream:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        response = self._call("GET", url, reference, credentials, cancellation, headers, {416})
        try:
            start = _start(response, offset, target)
            if start is None:
                response.close()
                return self._open(url, reference, target, 0, credentials, cancellation)
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise _protocol(response, "sends a blob in a Content-Encoding")
            body = _Body(response, start, target)
            if response.length is not None and response.length != target.size - start:
                raise body._wrong_size()  # noqa: SLF001 - the same refusal, before the first byte
        except BaseException:
            response.close()
            raise
        return body

    # --- requests

    def _url(self, reference: Reference, tail: str) -> SplitResult:
        host = _SERVED_BY.get(reference.domain, reference.domain)
        bare = urlsplit(f"//{host}").hostname or ""
        plain = is_loopback_host(bare) or bool({host, bare} & set(self._config.plain_http))
        path = f"/v2/{quote(reference.path)}/{quote(tail, safe='/:@')}"
        return SplitResult("http" if plain else "https", host, path, "", "")

    def _call(
        self,
        method: str,
        url: SplitResult,
        reference: Reference | None,
        credentials: Credentials | None,
        cancellation: Cancellation,
        headers: dict[str, str] | None = None,
        accepted: Iterable[int] = (),
    ) -> Response:
        """A request with its authentication and redirects; answers a success or `accepted`."""
        headers = {"Accept": ", ".join((*media.ACCEPT_MANIFESTS, "*/*")), **(headers or {})}
        home = url
        scope = f"repository:{reference.path}:pull" if reference else ""
        sent = self._auth.header(home.netloc, scope, credentials) if reference else ""
        challenged = redirects = 0
        while True:
            at_home = (url.scheme, url.netloc) == (home.scheme, home.netloc)
            own = {"Authorization": sent} if sent and at_home else {}
            response = self._transport.send(
                method,
                url,
                {**headers, **own},
                None,
                named=reference is not None and url.hostname == home.hostname,
                cancellation=cancellation,
            )
            if response.status in _REDIRECTS and redirects < _MAX_REDIRECTS:
                redirects += 1
                url = _next(response, url)
                continue
            if response.status == 401 and at_home and reference and challenged < 2:
                challenged += 1
                challenge = response.headers.get("WWW-Authenticate", "")
                response.read(_MAX_ERROR_BODY)
                response.close()
                if answer := self._auth.answer(
                    home, challenge, scope, credentials, sent, cancellation
                ):
                    sent = answer
                    continue
                raise _failure(response, b"", reference)
            if response.status // 100 == 2 or response.status in accepted:
                return response
            with response:
                body = response.read(_MAX_ERROR_BODY) if method != "HEAD" else b""
            raise _failure(response, body, reference)


def _next(response: Response, url: SplitResult) -> SplitResult:
    """Where a redirect leads. Where it may lead is for the transport to say, by address."""
    with response:
        location = response.headers.get("Location", "")
        found = urlsplit(urljoin(url.geturl(), location))
        if not location or found.scheme not in ("http", "https") or not found.hostname:
            raise _protocol(response, "redirects to nowhere")
        if url.scheme == "https" and found.scheme == "http":
            raise Error(
                Reason.EGRESS_DENIED,
                f"{response.host} redirects to a connection without TLS",
                host=response.host,
            )
    return found._replace(fragment="")


def _described(head: Response) -> Descriptor | None:
    """The descriptor that a HEAD's headers give; None where they do not suffice."""
    kind = media.essence(head.headers.get("Content-Type", ""))
    digest = head.headers.get("Docker-Content-Digest", "")
    length = head.headers.get("Content-Length", "")
    if kind in _VAGUE or kind == "text/html" or not digest or not length.isascii():
        return None
    if not length.isdigit() or int(length) == 0:
        return None
    try:
        parsed = Digest.parse(digest)
    except FormatError as error:
        raise from_format(error, host=head.host) from error
    if int(length) > MAX_MANIFEST_BYTES:
        raise _too_large(parsed, head.host)
    return Descriptor(kind, parsed, int(length))


def _start(response: Response, offset: int, target: Descriptor) -> int | None:
    """Where a blob's answer begins; None when it must be asked for anew, from the beginning."""
    if response.status == 200:
        return 0
    if response.status == 206 and offset:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match and int(match[1]) == offset and match[3] in ("*", str(target.size)):
            return offset
    if offset:
        return None
    raise _protocol(response, f"answers a blob with HTTP {response.status}")


def _failure(response: Response, body: bytes, reference: Reference | None) -> Error:
    """The error for an answer that is no success."""
    code, said = _registry_error(body)
    status, host = response.status, response.host
    what = reference.familiar() if reference else "the layer's URL"
    reason, text = {
        401: (Reason.REGISTRY_UNAUTHORIZED, f"{host} wants credentials for {what}, or others"),
        403: (Reason.REGISTRY_DENIED, f"{host} refuses access to {what}"),
        404: (
            Reason.REMOTE_NOT_FOUND,
            f"{host} has no {what}, or does not show it without a login",
        ),
        429: (Reason.REGISTRY_RATE_LIMITED, f"{host} limits requests; try later or log in"),
    }.get(
        status,
        (Reason.REGISTRY_UNAVAILABLE, f"{host} fails with HTTP {status}")
        if status >= 500
        else (Reason.REGISTRY_PROTOCOL, f"{host} answers HTTP {status} for {what}"),
    )
    return Error(
        reason,
        f"{text} ({said})" if said else text,
        host=host,
        http_status=status,
        registry_code=code,
        reference=str(reference) if reference else "",
        retry_after=_retry_after(response.headers.get("Retry-After", "")),
    )


def _registry_error(body: bytes) -> tuple[str, str]:
    """The code and message of a registry's JSON error, fit to be shown."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = first.get("code", ""), first.get("message", "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
    return _shown(code, 64), _shown(message, 200)


def _shown(value: object, length: int) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else "?" for char in text[:length])


def _retry_after(value: str) -> float | None:
    """Seconds to wait (RFC 9110, 10.2.3: a number or a date)."""
    if value.isascii() and value.isdigit():
        return min(float(value), 86400.0)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return min(max(moment.timestamp() - time.time(), 0.0), 86400.0)


def _protocol(response: Response, what: str) -> Error:
    return Error(
        Reason.REGISTRY_PROTOCOL,
        f"{response.host} {what}; is it a registry?",
        host=response.host,
        http_status=response.status,
    )


def _mismatch(wanted: Digest, digest: Digest, host: str) -> Error:
    return Error(
        Reason.DIGEST_MISMATCH,
        f"{host} sends a manifest with the digest {digest} for {wanted}",
        digest=wanted,
        host=host,
    )


def _too_large(digest: Digest, host: str) -> Error:
    return Error(
        Reason.MANIFEST_TOO_LARGE,
        f"the manifest {digest} is larger than {MAX_MANIFEST_BYTES} bytes",
        digest=digest,
        host=host,
    )
