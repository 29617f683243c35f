"""Pulls from registries that err, lie and stall: one exact reason each, and a store as it was."""

from __future__ import annotations

import gzip
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error, Origin, Reason
from imgd_server.metadata import SqliteMetadataStore
from imgd_server.oci import Digest
from imgd_server.registry import HttpRegistryClient, RegistryConfig
from imgd_server.transfer import (
    Outcome,
    PullResult,
    RegistryEndpoint,
    RetryPolicy,
    StoreEndpoint,
    TransferConfig,
    TransferManager,
    TransferSpec,
    TransferState,
    WatchEventKind,
)
from tests.fake_images import (
    FakeImage,
    digest_of,
    make_image,
    make_layer,
)
from tests.hostile import (
    Fault,
    HostileRegistry,
    both,
    chunked,
    header,
    html,
    raw,
    redirect,
    refuse,
    replaced,
    reset,
    truncate,
    unframed,
)

# Attempts in a row without a byte gained, as in RetryPolicy; pauses that nobody notices.
ATTEMPTS = 3
QUICK = RetryPolicy(attempts=ATTEMPTS, first=0.001, ceiling=0.002, longest=5.0)


def noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


BIG = make_layer({"noise": noise(700_000)})
IMAGE = make_image([make_layer({"etc/hello": b"hello\n"}), BIG])
BIG_BLOB = gzip.compress(BIG, 1, mtime=0)
BIG_DIGEST = digest_of(BIG_BLOB)
SIZE = sum(len(blob) for blob in IMAGE.blobs.values()) + len(IMAGE.raw)
OTHER = make_image([make_layer({"other": b"x"})])


@dataclass
class Puller:
    """A transfer manager with stores of its own."""

    manager: TransferManager
    metadata: SqliteMetadataStore
    content: LocalContentStore

    async def start(self, reference: str, **options: Any) -> str:
        credentials = options.pop("credentials", None)
        spec = TransferSpec(RegistryEndpoint(reference, credentials), StoreEndpoint(), **options)
        return (await self.manager.start(spec)).uid

    async def end(self, uid: str) -> tuple[TransferState, Outcome]:
        events = [event.kind async for event in self.manager.watch(uid)]
        assert events[-1] == WatchEventKind.FINISHED
        record = await self.manager.get(uid)
        assert record.outcome
        return TransferState[record.state], Outcome.from_json(record.outcome)

    async def pull(self, reference: str, **options: Any) -> Outcome:
        state, outcome = await self.end(await self.start(reference, **options))
        assert state is TransferState.SUCCEEDED, outcome.failure
        return outcome

    async def fail(self, reference: str, **options: Any) -> Error:
        state, outcome = await self.end(await self.start(reference, **options))
        assert state is TransferState.FAILED
        assert outcome.failure
        return outcome.failure

    async def assert_untouched(self) -> None:
        """No image and no name, and no blob that is not what its digest says."""
        assert await self.metadata.read(lambda session: session.count_images()) == 0
        assert await self.metadata.read(lambda session: session.repositories("", 10)) == []
        for blob in self.content.blobs():
            assert self.content.verify(blob.digest)

    async def assert_stored(self, outcome: Outcome, image: FakeImage, name: str) -> None:
        """The image is there under its name, with every byte of it."""
        found = await self.metadata.read(lambda session: session.image_by_name(name))
        assert found
        assert found.target.digest == image.digest
        assert found.uid == outcome.image
        for digest, data in image.blobs.items():
            assert self.content.read(Digest.parse(digest), len(data)) == data


@asynccontextmanager
async def pulling(
    root: Path, retry: RetryPolicy = QUICK, client: RegistryConfig | None = None
) -> AsyncIterator[Puller]:
    """A puller over the stores in `root`; what is there from before is kept."""
    content = LocalContentStore(root / "content")
    metadata = await SqliteMetadataStore.open(root / "metadata.db")
    registry = HttpRegistryClient(client)
    config = TransferConfig(retry=retry, min_watch_interval=0.001, default_watch_interval=0.005)
    manager = TransferManager(metadata, content, registry, config)
    await manager.open()
    try:
        yield Puller(manager, metadata, content)
    finally:
        await manager.close()
        registry.close()
        await metadata.close()


async def assert_recovers(puller: Puller, registry: HostileRegistry) -> None:
    """From the same registry, behaving now, a good image comes through."""
    registry.behave()
    reference = registry.add("library/app", IMAGE, "1")
    outcome = await puller.pull(reference)
    assert outcome.pull_result is PullResult.DOWNLOADED
    await puller.assert_stored(outcome, IMAGE, reference)


# --- bad input: each its reason, the store as it was, and the next pull completes


@dataclass(frozen=True)
class Case:
    """What a registry does at a path, and what comes of it."""

    pattern: str
    fault: Fault
    reason: Reason
    status: int = 0
    code: str = ""


MANIFEST = "/manifests/"
GET_MANIFEST = "GET .*/manifests/"
BLOB = f"/blobs/{BIG_DIGEST}"
HUGE = b"[" + b"0," * (5 << 19) + b"0]"

CASES = {
    "no such tag": Case(
        MANIFEST, refuse(404, "MANIFEST_UNKNOWN"), Reason.REMOTE_NOT_FOUND, 404, "MANIFEST_UNKNOWN"
    ),
    "no such repository": Case(
        MANIFEST, refuse(404, "NAME_UNKNOWN"), Reason.REMOTE_NOT_FOUND, 404, "NAME_UNKNOWN"
    ),
    "404 without a body": Case(MANIFEST, refuse(404), Reason.REMOTE_NOT_FOUND, 404),
    "404 with a page": Case(MANIFEST, html(404), Reason.REMOTE_NOT_FOUND, 404),
    "blob is gone": Case(
        BLOB, refuse(404, "BLOB_UNKNOWN"), Reason.REMOTE_NOT_FOUND, 404, "BLOB_UNKNOWN"
    ),
    "401 without a challenge": Case(MANIFEST, refuse(401), Reason.REGISTRY_UNAUTHORIZED, 401),
    "401 with an unknown challenge": Case(
        MANIFEST,
        refuse(401, WWW_Authenticate="Negotiate abc=="),
        Reason.REGISTRY_UNAUTHORIZED,
        401,
    ),
    "403": Case(MANIFEST, refuse(403, "DENIED"), Reason.REGISTRY_DENIED, 403, "DENIED"),
    "429": Case(MANIFEST, refuse(429), Reason.REGISTRY_RATE_LIMITED, 429),
    "429 for longer than anyone waits": Case(
        BLOB,
        refuse(429, "TOOMANYREQUESTS", Retry_After="3600"),
        Reason.REGISTRY_RATE_LIMITED,
        429,
        "TOOMANYREQUESTS",
    ),
    "500 for good": Case(MANIFEST, refuse(500), Reason.REGISTRY_UNAVAILABLE, 500),
    "502 with a page": Case(BLOB, html(502), Reason.REGISTRY_UNAVAILABLE, 502),
    "a web page": Case(MANIFEST, html(), Reason.REGISTRY_PROTOCOL, 200),
    "a teapot": Case(BLOB, refuse(418), Reason.REGISTRY_PROTOCOL, 418),
    "no content": Case(GET_MANIFEST, refuse(204), Reason.REGISTRY_PROTOCOL, 204),
    "a blob that is no content": Case(BLOB, refuse(204), Reason.REGISTRY_PROTOCOL, 204),
    "a range that nobody asked for": Case(
        BLOB, refuse(206, Content_Range="bytes 0-0/1"), Reason.REGISTRY_PROTOCOL, 206
    ),
    "no HTTP": Case(MANIFEST, raw(b"SSH-2.0-OpenSSH_9.2\r\n"), Reason.REGISTRY_PROTOCOL),
    "a switch of protocols": Case(
        MANIFEST, raw(b"HTTP/1.1 101 Switching\r\n\r\n"), Reason.REGISTRY_PROTOCOL, 101
    ),
    "endless informational answers": Case(
        MANIFEST, raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000), Reason.REGISTRY_PROTOCOL
    ),
    "a flood of headers": Case(
        MANIFEST, raw(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 20_000), Reason.REGISTRY_PROTOCOL
    ),
    "a header without end": Case(
        MANIFEST, raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000), Reason.REGISTRY_PROTOCOL
    ),
    "two lengths": Case(BLOB, header(Content_Length="1, 2"), Reason.REGISTRY_PROTOCOL),
    "an unknown coding": Case(
        BLOB, header(Transfer_Encoding="gzip, chunked"), Reason.REGISTRY_PROTOCOL
    ),
    "a broken chunk": Case(
        BLOB,
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nxxxxx\r\n"),
        Reason.REGISTRY_PROTOCOL,
    ),
    "a compressed manifest": Case(
        GET_MANIFEST,
        both(replaced(gzip.compress), header(Content_Encoding="gzip")),
        Reason.REGISTRY_PROTOCOL,
        200,
    ),
    "a compressed blob": Case(
        BLOB,
        both(replaced(gzip.compress), header(Content_Encoding="gzip")),
        Reason.REGISTRY_PROTOCOL,
        200,
    ),
    "a redirect loop": Case(
        BLOB, redirect(lambda request: request.path), Reason.REGISTRY_PROTOCOL, 307
    ),
    "a redirect to nowhere": Case(BLOB, redirect(""), Reason.REGISTRY_PROTOCOL, 307),
    "a redirect to what is no URL": Case(
        BLOB, redirect("http://[::1/x"), Reason.REGISTRY_PROTOCOL, 307
    ),
    "a redirect to a port that is none": Case(
        MANIFEST, redirect("http://127.0.0.1:99999/x"), Reason.REGISTRY_PROTOCOL, 307
    ),
    "a redirect to another scheme": Case(
        BLOB, redirect("file:///etc/passwd"), Reason.REGISTRY_PROTOCOL, 307
    ),
    "a redirect with user info": Case(
        BLOB, redirect("http://user:secret@127.0.0.1/x"), Reason.REGISTRY_PROTOCOL, 307
    ),
    "a redirect to another private host": Case(
        BLOB, redirect("http://127.0.0.2:1/x"), Reason.EGRESS_DENIED
    ),
    "a redirect to the metadata service": Case(
        BLOB, redirect("http://169.254.169.254/latest/meta-data"), Reason.EGRESS_DENIED
    ),
    "another manifest": Case(GET_MANIFEST, replaced(OTHER.raw), Reason.DIGEST_MISMATCH),
    "a HEAD that names what is not there": Case(
        "HEAD",
        header(Docker_Content_Digest=OTHER.digest),
        Reason.REMOTE_CHANGED,
        404,
        "MANIFEST_UNKNOWN",
    ),
    "a HEAD that names another manifest": Case(
        MANIFEST,
        both(
            header(Docker_Content_Digest=OTHER.digest),
            lambda _, answer: replace(answer, status=200),
        ),
        Reason.DIGEST_MISMATCH,
    ),
    "a GET that names another manifest": Case(
        MANIFEST,
        lambda request, answer: answer.having(
            Docker_Content_Digest=None if request.method == "HEAD" else OTHER.digest
        ),
        Reason.DIGEST_MISMATCH,
    ),
    "a manifest that is cut": Case(GET_MANIFEST, truncate(10), Reason.REGISTRY_UNREACHABLE),
    "a manifest that is cut, without a length": Case(
        GET_MANIFEST, both(unframed(), truncate(10)), Reason.DIGEST_MISMATCH
    ),
    "a length of the manifest that is too long": Case(
        "HEAD", header(Content_Length=str(len(IMAGE.raw) + 1)), Reason.SIZE_MISMATCH
    ),
    "a manifest of 5 MB": Case(GET_MANIFEST, replaced(HUGE), Reason.MANIFEST_TOO_LARGE),
    "a manifest of 5 MB in chunks": Case(
        GET_MANIFEST, both(replaced(HUGE), chunked()), Reason.MANIFEST_TOO_LARGE
    ),
    "a manifest that is announced with 100 MB": Case(
        "HEAD", header(Content_Length=str(100 << 20)), Reason.MANIFEST_TOO_LARGE
    ),
    "another blob": Case(BLOB, replaced(lambda body: noise(len(body), 8)), Reason.DIGEST_MISMATCH),
    "a blob that is too long": Case(BLOB, replaced(lambda body: body + b"!"), Reason.SIZE_MISMATCH),
    "a blob that is too short": Case(BLOB, replaced(lambda body: body[:-1]), Reason.SIZE_MISMATCH),
    "a blob that is too long, in chunks": Case(
        BLOB, both(replaced(lambda body: body + b"!"), chunked()), Reason.SIZE_MISMATCH
    ),
    "a blob that is too short, in chunks": Case(
        BLOB, both(replaced(lambda body: body[:-1]), chunked()), Reason.SIZE_MISMATCH
    ),
    "a blob that is empty": Case(BLOB, replaced(b""), Reason.SIZE_MISMATCH),
    "a blob that is cut before its first byte": Case(
        BLOB, truncate(0), Reason.REGISTRY_UNREACHABLE
    ),
    "a connection that is reset": Case(BLOB, reset(), Reason.REGISTRY_UNREACHABLE),
    "a connection that is closed": Case(MANIFEST, truncate(), Reason.REGISTRY_UNREACHABLE),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_a_registry_does_wrong_has_its_reason(case: Case, tmp_path: Path) -> None:
    with HostileRegistry() as registry:
        reference = registry.add("library/app", IMAGE, "1")
        registry.on(case.pattern, case.fault)
        async with pulling(tmp_path) as puller:
            failure = await puller.fail(reference)
            assert (failure.reason, failure.http_status, failure.registry_code) == (
                case.reason,
                case.status,
                case.code,
            ), failure.message
            assert failure.origin is Origin.SOURCE
            assert failure.reference == reference
            if case.reason is not Reason.EGRESS_DENIED:
                assert failure.host == registry.host
            assert "secret" not in failure.message
            await puller.assert_untouched()
            await assert_recovers(puller, registry)
