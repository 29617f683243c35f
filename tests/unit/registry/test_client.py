from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, Reference, media
from imgd_server.registry import (
    Cancellation,
    Credentials,
    HttpRegistryClient,
    RegistryConfig,
    Resolved,
)
from imgd_server.registry._asking import Call
from imgd_server.registry._transport import Request
from imgd_server.registry._url import Url
from tests.unit.registry.conftest import Net

RAW = json.dumps({"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}).encode()
DIGEST = Digest.of(RAW)
TARGET = Descriptor(media.OCI_INDEX, DIGEST, len(RAW))
BLOB = Descriptor(media.OCI_LAYER, Digest.of(b"hello"), 5)
# What a TLS server says to a plain request: an alert, or Go's and nginx's words.
ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
GO = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
NOT_TLS = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")
UNTRUSTED.verify_message = "unable to get local issuer certificate"


def said(status: int, body: bytes = b"", length: int | None = None, **headers: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([f"HTTP/1.1 {status} Said", *lines, "", ""]).encode() + body


HEAD = said(200, length=len(RAW), Content_Type=media.OCI_INDEX, Docker_Content_Digest=DIGEST)
GET = said(200, RAW, Content_Type=media.OCI_INDEX, Docker_Content_Digest=DIGEST)


@pytest.fixture
def client(net: Net) -> Iterator[HttpRegistryClient]:
    client = HttpRegistryClient(RegistryConfig(plain_http={"Plain.io", "h.io:81"}))
    yield client
    client.close()
    assert all(sock.closed for sock in net.sockets)


def resolve(client: HttpRegistryClient, text: str = "h.io/app:1") -> Resolved:
    return client.resolve(Reference.parse(text), None, Cancellation())


def reason(call: Any, *arguments: Any) -> Reason:
    with pytest.raises(Error) as caught:
        call(*arguments)
    return caught.value.reason


def asked(net: Net) -> list[str]:
    """Method, host and path of every request."""
    return [
        f"{line.split()[0]} {host.removeprefix('Host: ')}{line.split()[1]}"
        for line, host in (sent.split("\r\n")[:2] for sent in net.sent)
    ]


# --- where a reference leads


@pytest.mark.parametrize(
    ("text", "path", "dialled"),
    [
        ("redis", "registry-1.docker.io/v2/library/redis/manifests/latest", "registry-1.docker.io"),
        ("docker.io/a/b:c", "registry-1.docker.io/v2/a/b/manifests/c", "registry-1.docker.io"),
        ("h.io/a/b__c/d:T.1-x", "h.io/v2/a/b__c/d/manifests/T.1-x", "h.io"),
        ("H.io:443/app:1", "h.io/v2/app/manifests/1", "h.io"),
        ("h.io:5000/app:1", "h.io:5000/v2/app/manifests/1", "h.io:5000"),
        (f"h.io/app:1@{DIGEST}", f"h.io/v2/app/manifests/{DIGEST}", "h.io"),
        ("[2001:db8::1]:5000/app", "[2001:db8::1]:5000/v2/app/manifests/latest", None),
        ("plain.io:5000/app:1", "plain.io:5000/v2/app/manifests/1", "plain.io:5000"),
        ("h.io:81/app:1", "h.io:81/v2/app/manifests/1", "h.io:81"),
        ("localhost/app:1", "localhost/v2/app/manifests/1", "localhost"),
        ("127.0.0.1:5000/app:1", "127.0.0.1:5000/v2/app/manifests/1", "127.0.0.1:5000"),
        ("[::1]:5000/app:1", "[::1]:5000/v2/app/manifests/1", "[::1]:5000"),
    ],
)
def test_where_a_reference_leads(
    text: str, path: str, dialled: str | None, net: Net, client: HttpRegistryClient
) -> None:
    net.connection([HEAD])
    found = resolve(client, text)
    assert (found.target, found.host) == (TARGET, path.partition("/")[0])
    assert asked(net) == [f"HEAD {path}"]
    assert net.dialled == [(dialled or found.host, True, False)]


@pytest.mark.parametrize(
    ("text", "tls"),
    [
        ("h.io/app", True),
        ("h.io:80/app", True),
        ("h.io:81/app", False),
        ("x.h.io:81/app", True),
        ("PLAIN.io/app", False),
        ("plain.io:443/app", False),
        ("10.0.0.1:5000/app", True),
        ("localhost.evil.io/app", True),
        ("LOCALHOST:5000/app", False),
        ("a.localhost:5000/app", False),
        ("127.9.9.9/app", False),
        ("[::ffff:7f00:1]/app", False),
    ],
)
def test_who_is_called_without_tls(
    text: str, tls: bool, net: Net, client: HttpRegistryClient
) -> None:
    net.connection([HEAD])
    resolve(client, text)
    assert bool(net.handshakes) == tls


@pytest.mark.parametrize(
    "text", ["h.io:99999/app", "localhost:70000/app", "h.io:" + "9" * 999 + "/app"]
)
def test_a_port_that_is_none(text: str, net: Net, client: HttpRegistryClient) -> None:
    assert reason(resolve, client, text) is Reason.REFERENCE_INVALID
    assert net.dialled == []


# --- registries on loopback that speak TLS


@pytest.mark.parametrize("first", [ALERT + b"\n", GO, b"", ConnectionResetError(104, "reset")])
def test_tls_on_loopback_is_found_and_remembered(
    first: bytes | Exception, net: Net, client: HttpRegistryClient
) -> None:
    net.connection([first])
    net.connection([HEAD], [HEAD])
    assert resolve(client, "localhost:5000/app").target == TARGET
    assert resolve(client, "localhost:5000/app").target == TARGET
    assert net.handshakes == [net.sockets[1]]
    assert len(net.sockets[1].sent) == 2


def test_tls_on_loopback_may_be_found_by_another_meanwhile(
    net: Net, client: HttpRegistryClient
) -> None:
    net.meanwhile.append(lambda: resolve(client, "localhost:5000/other"))
    net.connection([GO])
    net.connection([HEAD], [HEAD])
    net.connection([GO])
    assert resolve(client, "localhost:5000/app").target == TARGET
    assert len(net.sockets) == 3


def test_that_there_is_tls_on_loopback_may_be_forgotten_by_another_meanwhile(
    net: Net, client: HttpRegistryClient
) -> None:
    """Where an upload goes on is still at the registry, which is told who asks."""
    net.connection([GO])
    net.connection([HEAD])
    resolve(client, "localhost:5000/app")
    net.sockets[1].readable = True
    net.refusal(ConnectionRefusedError(111, "refused"))
    assert reason(resolve, client, "localhost:5000/other") is Reason.REGISTRY_UNREACHABLE
    token = Credentials(registry_token="T")
    reference = Reference.parse("localhost:5000/app")
    call = Call.of(reference, "blobs/uploads/", token, Cancellation())
    net.connection([said(201, length=0)])
    where = Request("PUT", Url.parse("https://localhost:5000/v2/app/blobs/uploads/1"))
    with client.ask_at(call, where, {201}):
        assert "Authorization: Bearer T" in net.sent[-1]


def test_tls_elsewhere_is_not_looked_for(net: Net, client: HttpRegistryClient) -> None:
    net.connection([GO])
    net.connection([GO])
    assert reason(resolve, client, "plain.io/app") is Reason.REGISTRY_PROTOCOL
    assert len(net.sockets) == 2  # HEAD and GET: Go's answer is a 400, and ends the connection


def test_neither_is_spoken(net: Net, client: HttpRegistryClient) -> None:
    net.connection([b"SSH-2.0-x\r\n"])
    net.connection([NOT_TLS])
    with pytest.raises(Error) as caught:
        resolve(client, "localhost:22/app")
    assert caught.value.reason is Reason.REGISTRY_PROTOCOL
    assert "HTTP/1.1" in caught.value.message


def test_an_untrusted_certificate_on_loopback_is_said(net: Net, client: HttpRegistryClient) -> None:
    net.connection([GO])
    net.connection([UNTRUSTED])
    with pytest.raises(Error) as caught:
        resolve(client, "localhost:5000/app")
    assert caught.value.reason is Reason.REGISTRY_TLS
    assert "local issuer" in caught.value.message


@pytest.mark.parametrize("end", [b"", ConnectionResetError(104, "reset"), ALERT + b"\n"])
def test_a_plain_registry_that_breaks_is_not_taken_for_tls(
    end: bytes | Exception, net: Net, client: HttpRegistryClient
) -> None:
    net.connection([HEAD])
    net.connection([end])
    resolve(client, "localhost:5000/app")
    net.sockets[0].readable = True
    reason(resolve, client, "localhost:5000/app")
    assert len(net.sockets) == 2
    # And next time, what is there now is found.
    net.connection([GO])
    net.connection([HEAD])
    assert resolve(client, "localhost:5000/app").target == TARGET


def test_a_tls_registry_that_comes_back_without_is_found(
    net: Net, client: HttpRegistryClient
) -> None:
    net.connection([GO])
    net.connection([HEAD])
    resolve(client, "localhost:5000/app")
    net.sockets[1].readable = True
    net.connection([NOT_TLS])
    assert reason(resolve, client, "localhost:5000/app") is Reason.REGISTRY_TLS
    net.connection([HEAD])
    assert resolve(client, "localhost:5000/app").target == TARGET


# --- manifests


@pytest.mark.parametrize(
    "head",
    [
        said(404),
        said(403),
        said(405),
        said(400),
        said(501 - 1),
        said(200),
        said(200, length=5, Content_Type=media.OCI_INDEX),
        said(200, length=5, Content_Type="application/json", Docker_Content_Digest=DIGEST),
    ],
)
def test_what_a_head_does_not_tell_a_get_does(
    head: bytes, net: Net, client: HttpRegistryClient
) -> None:
    net.connection([head], [GET])
    if b" 500 " in head:
        assert reason(resolve, client) is Reason.REGISTRY_UNAVAILABLE
        return
    assert resolve(client).target == TARGET
    assert [one.split()[0] for one in asked(net)] == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [401, 408, 429, 503])
def test_other_failures_of_a_head_are_failures(
    status: int, net: Net, client: HttpRegistryClient
) -> None:
    net.connection([said(status)])
    reason(resolve, client)
    assert len(net.sent) == 1


def test_the_reason_of_a_refusal_is_in_the_body_of_a_get(
    net: Net, client: HttpRegistryClient
) -> None:
    body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such tag"}]}'
    net.connection([said(404, length=len(body))], [said(404, body)])
    with pytest.raises(Error) as caught:
        resolve(client)
    assert (caught.value.reason, caught.value.registry_code) == (
        Reason.REMOTE_NOT_FOUND,
        "MANIFEST_UNKNOWN",
    )


def test_a_digest_that_was_asked_for(net: Net, client: HttpRegistryClient) -> None:
    other = Digest.of(b"other")
    net.connection([HEAD])
    assert reason(resolve, client, f"h.io/app@{other}") is Reason.DIGEST_MISMATCH
    # By another algorithm than the registry's own, only the bytes can tell.
    long = Digest.of(RAW, "sha512")
    net.sockets[-1].readable = True
    net.connection([HEAD], [GET])
    found = resolve(client, f"h.io/app@{long}")
    assert found.target == replace(TARGET, digest=long)
    fetched = client.fetch_manifest(
        Reference.parse(f"h.io/app@{long}"), found.target, None, Cancellation()
    )
    assert (fetched.raw, fetched.target) == (RAW, found.target)


def fetch(client: HttpRegistryClient, target: Descriptor = TARGET) -> bytes:
    reference = Reference.parse("h.io/app:1")
    return client.fetch_manifest(reference, target, None, Cancellation()).raw


def test_a_manifest_that_is_in_its_descriptor(net: Net, client: HttpRegistryClient) -> None:
    assert fetch(client, replace(TARGET, data=RAW)) == RAW
    assert net.dialled == []


def test_a_manifest_that_is_too_large_is_not_asked_for(
    net: Net, client: HttpRegistryClient
) -> None:
    large = replace(TARGET, size=MAX_MANIFEST_BYTES + 1)
    assert reason(fetch, client, large) is Reason.MANIFEST_TOO_LARGE
    assert net.dialled == []


def test_a_manifest_keeps_the_type_of_its_descriptor(net: Net, client: HttpRegistryClient) -> None:
    net.connection([said(200, RAW, Content_Type="application/json")])
    reference = Reference.parse("h.io/app:1")
    assert client.fetch_manifest(reference, TARGET, None, Cancellation()).target == TARGET


def test_a_body_that_no_type_describes_is_read(net: Net, client: HttpRegistryClient) -> None:
    net.connection([said(404)], [said(200, RAW)])
    assert resolve(client).target == TARGET
    net.sockets[0].readable = True
    net.connection([said(404)], [said(200, b"{}")])
    assert reason(resolve, client) is Reason.MANIFEST_INVALID


# --- blobs


def blob(client: HttpRegistryClient, target: Descriptor = BLOB, offset: int = 0) -> bytes:
    data = b""
    buffer = memoryview(bytearray(3))
    reference = Reference.parse("h.io/app:1")
    with client.open_blob(reference, target, offset, None, Cancellation()) as stream:
        assert stream.offset in (0, offset)
        assert stream.host
        while got := stream.readinto(buffer):
            data += buffer[:got]
    return data


def test_blobs(net: Net, client: HttpRegistryClient) -> None:
    net.connection(
        [said(200, b"hello")],
        [said(206, b"lo", Content_Range="bytes 3-4/5")],
        [said(206, b"l", Content_Range="bytes 3-3/5")],
    )
    # What was not read to its end is not asked again.
    net.connection([said(200, b"hello")], [said(416)], [said(200, b"hello")])
    assert blob(client) == b"hello"
    assert blob(client, offset=3) == b"lo"
    assert blob(client, offset=3) == b"hello"
    assert blob(client, offset=3) == b"hello"
    assert ["Range: bytes=3-" in sent for sent in net.sent[:1]] == [False]
    assert "Range: bytes=3-4\r\n" in net.sent[1]
    assert "Accept: */*\r\n" in net.sent[0]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([said(206, b"el", Content_Range="bytes 1-2/5", ETag='"a"')], (1, 3, '"a"', b"el")),
        ([said(200, b"hello")], (0, 5, "", b"hello")),
        ([said(206, b"ello", Content_Range="bytes 1-4/5"), said(200, b"hello")], (0, 5, "", None)),
        ([said(416), said(200, b"hello")], (0, 5, "", b"hello")),
    ],
    ids=["a part", "the whole", "another part", "none"],
)
def test_parts_of_blobs(
    net: Net,
    client: HttpRegistryClient,
    answers: list[bytes],
    expected: tuple[int, int, str, bytes | None],
) -> None:
    net.connection(*[[one] for one in answers[:1]])
    net.connection(*[[one] for one in answers[1:]])
    reference = Reference.parse("h.io/app:1")
    with client.open_range(reference, BLOB, 1, 3, None, Cancellation()) as stream:
        assert (stream.offset, stream.end, stream.etag) == expected[:3]
        data, buffer = b"", memoryview(bytearray(2))
        while got := stream.readinto(buffer):
            data += buffer[:got]
    assert expected[3] in (None, data)
    assert "Range: bytes=1-2\r\n" in net.sent[0]
    assert len(net.sent) >= len(answers)
    assert not any("Range" in sent for sent in net.sent[1:])


@pytest.mark.parametrize(
    ("answer", "reason_"),
    [
        (said(206, b"e", Content_Range="bytes 1-2/5"), Reason.SIZE_MISMATCH),
        (said(206, b"ell", Content_Range="bytes 1-2/5"), Reason.SIZE_MISMATCH),
        (said(206, b"e", length=2, Content_Range="bytes 1-2/5"), Reason.REGISTRY_UNREACHABLE),
    ],
    ids=["short", "long", "cut"],
)
def test_a_part_of_another_length(
    net: Net, client: HttpRegistryClient, answer: bytes, reason_: Reason
) -> None:
    net.connection([answer])
    reference = Reference.parse("h.io/app:1")

    def read() -> None:
        with client.open_range(reference, BLOB, 1, 3, None, Cancellation()) as stream:
            while stream.readinto(memoryview(bytearray(9))):
                pass

    assert reason(read) is reason_


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said(200, b"hell"), Reason.SIZE_MISMATCH),
        (said(200, b"hello!"), Reason.SIZE_MISMATCH),
        (said(200, b"hell", length=5), Reason.REGISTRY_UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\n\r\nhell", Reason.REGISTRY_UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\n\r\nhello!", Reason.SIZE_MISMATCH),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n0\r\n\r\n",
         Reason.SIZE_MISMATCH),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n",
         Reason.SIZE_MISMATCH),
        (said(200, b"hello", Content_Encoding="gzip"), Reason.REGISTRY_PROTOCOL),
        (said(206, b"hello", Content_Range="bytes 0-4/5"), Reason.REGISTRY_PROTOCOL),
        (said(404), Reason.REMOTE_NOT_FOUND),
    ],
)  # fmt: skip
def test_blobs_that_are_wrong(
    answer: bytes, expected: Reason, net: Net, client: HttpRegistryClient
) -> None:
    net.connection([answer])
    assert reason(blob, client) is expected


def test_a_layer_of_its_own_urls(net: Net, client: HttpRegistryClient) -> None:
    urls = ("ftp://a.io/", "http://cdn.io/one", "https://cdn.io/two?x=y")
    target = replace(BLOB, urls=urls)
    net.connection([said(404)])
    net.connection([said(403)])
    net.connection([said(200, b"hello")])
    assert blob(client, target) == b"hello"
    assert net.dialled == [
        ("h.io", True, False),
        ("cdn.io", False, False),
        ("cdn.io", False, False),
    ]
    assert asked(net)[1:] == ["GET cdn.io/one", "GET cdn.io/two?x=y"]


def test_a_layer_of_no_usable_url(net: Net, client: HttpRegistryClient) -> None:
    net.connection([said(404)], [said(503)])
    assert reason(blob, client, replace(BLOB, urls=("x",))) is Reason.REGISTRY_PROTOCOL
    # Only what the registry does not have is looked for elsewhere.
    assert (
        reason(blob, client, replace(BLOB, urls=("http://c.io/",))) is Reason.REGISTRY_UNAVAILABLE
    )
    assert len(net.dialled) == 1
