"""Pulls from registries that err and lie: one exact reason each, and a store as it was."""

from __future__ import annotations

import gzip
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.transfer import PullResult
from tests.fake_images import (
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
from tests.pulling import Puller, noise, pulling

BIG = make_layer({"noise": noise(700_000)})
IMAGE = make_image([make_layer({"etc/hello": b"hello\n"}), BIG])
BIG_BLOB = gzip.compress(BIG, 1, mtime=0)
BIG_DIGEST = digest_of(BIG_BLOB)
SIZE = sum(len(blob) for blob in IMAGE.blobs.values()) + len(IMAGE.raw)
OTHER = make_image([make_layer({"other": b"x"})])


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


# --- names that lead nowhere


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPPER",
        "a//b",
        "http://h.io/x",
        "x:y:z",
        "x@sha256:0",
        "x@md5:" + "0" * 32,
        "x\n",
        "[::1",
    ],
)
async def test_bad_references_are_refused_at_the_start(text: str, tmp_path: Path) -> None:
    async with pulling(tmp_path) as puller:
        with pytest.raises(Error) as caught:
            await puller.start(text)
        assert caught.value.reason in {
            Reason.REFERENCE_INVALID,
            Reason.DIGEST_INVALID,
            Reason.DIGEST_UNSUPPORTED,
        }
        assert await puller.manager.list([], None, 10) == []


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("127.0.0.1:99999", Reason.REFERENCE_INVALID),
        ("nowhere.invalid", Reason.REGISTRY_UNREACHABLE),
        ("a" * 64 + ".invalid", Reason.REGISTRY_UNREACHABLE),
        ("169.254.169.254:80", Reason.EGRESS_DENIED),
        ("0.0.0.0:80", Reason.EGRESS_DENIED),
    ],
)
async def test_hosts_that_are_none(
    domain: str, reason: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def offline(host: str, *rest: Any, **more: Any) -> Any:
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(f"{domain}/library/app:1")
        assert failure.reason is reason, failure.message
        await puller.assert_untouched()


async def test_a_registry_that_is_down(free_port: int, tmp_path: Path) -> None:
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(f"127.0.0.1:{free_port}/library/app:1")
        assert (failure.reason, failure.host, failure.http_status) == (
            Reason.REGISTRY_UNREACHABLE,
            f"127.0.0.1:{free_port}",
            0,
        )
        await puller.assert_untouched()
