from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation, Credentials
from imgd_server.registry._auth import Authenticator, Challenge, parse_challenges
from imgd_server.registry._transport import Request, Transport
from imgd_server.registry._url import Url

REGISTRY = Url.parse("https://h.io/v2/app/manifests/1")
SCOPE = "repository:app:pull"
CHALLENGE = 'Bearer realm="https://auth.io/token?a=b",service="h.io"'
ALICE = Credentials("alice", "pass-word")


# --- challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [Challenge("basic", {})]),
        ('BASIC Realm="a b"', [Challenge("basic", {"realm": "a b"})]),
        (
            'Bearer realm="https://a/t",service="x",scope="repository:a:pull,push"',
            [
                Challenge(
                    "bearer",
                    {"realm": "https://a/t", "service": "x", "scope": "repository:a:pull,push"},
                )
            ],
        ),
        (
            'Negotiate, Basic realm="r", Bearer realm = "b" , x=y',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "r"}),
                Challenge("bearer", {"realm": "b", "x": "y"}),
            ],
        ),
        ('Basic realm="a\\"b\\\\c, Bearer d=e"',
         [Challenge("basic", {"realm": 'a"b\\c, Bearer d=e'})]),
        ('Negotiate abc==, Basic realm="r"',
         [Challenge("negotiate", {"abc": "="}), Challenge("basic", {"realm": "r"})]),
        (',, , Basic ,realm=r,', [Challenge("basic", {"realm": "r"})]),
        ('Basic realm="no end', [Challenge("basic", {})]),
        ('=x, Basic realm="r"', []),
        ('"Basic" realm="r"', []),
    ],
)  # fmt: skip
def test_challenges(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges(header) == expected


@given(st.text(st.sampled_from('Basic =,"\\x')) | st.text())
def test_any_header(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower() != ""


@pytest.mark.parametrize(
    "unit", [" ", ",", " ,", "a", "a=", "a ", "a=b ", '"', "\\", '\\"', "=", "\t"]
)
@pytest.mark.parametrize("start", ["", "Basic ", 'Basic x="', "Basic x=y"])
def test_long_headers_are_read_in_one_go(start: str, unit: str) -> None:
    # With a step for each pair of characters this would take minutes (the test's time-out).
    for end in ("", "!", '"'):
        parse_challenges(start + unit * (60_000 // len(unit)) + end)


# --- tokens


@dataclass
class FakeResponse:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = "auth.io"

    def read(self, limit: int) -> bytes:
        return self.body[: limit + 1]

    def __enter__(self) -> FakeResponse:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class FakeTransport:
    """Answers each request with the next answer; the last one again and again."""

    def __init__(self, *answers: FakeResponse) -> None:
        self._answers = deque(answers)
        self.requests: list[Request] = []
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()

    def send(self, request: Request, _: Cancellation) -> FakeResponse:
        self.requests.append(request)
        self.asked.set()
        assert self.gate.wait(60)
        return self._answers.popleft() if len(self._answers) > 1 else self._answers[0]


def token(value: str, **more: object) -> FakeResponse:
    return FakeResponse(200, json.dumps({"token": value, **more}).encode())


def authenticator(transport: FakeTransport) -> Authenticator:
    return Authenticator(cast(Transport, transport))


def answer(
    auth: Authenticator,
    refused: str = "",
    *,
    challenges: str = CHALLENGE,
    credentials: Credentials | None = None,
    cancellation: Cancellation | None = None,
    registry: Url = REGISTRY,
    scope: str = SCOPE,
) -> str:
    cancellation = cancellation or Cancellation()
    return auth.answer(registry, challenges, scope, credentials, refused, cancellation)


def test_a_token_is_asked_for_once_and_kept() -> None:
    transport = FakeTransport(token("one", expires_in=300), token("two"))
    auth = authenticator(transport)
    assert auth.header(REGISTRY, SCOPE, None) == ""
    assert answer(auth) == "Bearer one"
    assert auth.header(REGISTRY, SCOPE, None) == "Bearer one"
    # Another thread was refused without, or with an older one.
    assert answer(auth) == answer(auth, "Bearer older") == "Bearer one"
    assert len(transport.requests) == 1
    assert answer(auth, "Bearer one") == "Bearer two"
    [request, _] = transport.requests
    assert (request.method, request.named, request.authorization) == ("GET", "h.io", "")
    path, _, query = request.url.target.partition("?")
    assert path == "/token"
    assert parse_qs(query) == {"a": ["b"], "scope": [SCOPE], "service": ["h.io"]}


def test_tokens_are_kept_apart() -> None:
    auth = authenticator(FakeTransport(token("one")))
    answer(auth, credentials=ALICE)
    assert auth.header(REGISTRY, SCOPE, ALICE) == "Bearer one"
    for registry, scope, credentials in [
        (REGISTRY, SCOPE, None),
        (REGISTRY, SCOPE, Credentials("alice", "other")),
        (REGISTRY, "repository:other:pull", ALICE),
        (Url.parse("https://other.io"), SCOPE, ALICE),
        (Url.parse("https://h.io:5000"), SCOPE, ALICE),
        (Url.parse("http://h.io"), SCOPE, ALICE),
    ]:
        assert auth.header(registry, scope, credentials) == ""


@pytest.mark.parametrize(
    ("said", "life"),
    [(300, 295), ("300", 295), (None, 55), (0, 55), (3, 1), (-5, 1), (1e400, 1e99)],
)
def test_tokens_end(said: object, life: float, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    auth = authenticator(FakeTransport(token("one", expires_in=said)))
    answer(auth)
    now = 1000.0 + life * 0.999
    assert auth.header(REGISTRY, SCOPE, None) == "Bearer one"
    now = 1000.0 + life * 1.001
    assert auth.header(REGISTRY, SCOPE, None) == ("" if life < 1e9 else "Bearer one")


def test_no_more_tokens_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgd_server.registry._auth._MAX_GRANTS", 3)
    auth = authenticator(FakeTransport(token("one")))
    scopes = [f"repository:{name}:pull" for name in "abcd"]
    for scope in scopes:
        answer(auth, scope=scope)
    assert [auth.header(REGISTRY, one, None) for one in reversed(scopes)][:3] == ["Bearer one"] * 3
    assert len(auth._grants) == 3


def test_the_password_goes_to_the_realm_only() -> None:
    transport = FakeTransport(token("one"))
    assert answer(authenticator(transport), credentials=ALICE) == "Bearer one"
    [request] = transport.requests
    assert request.authorization == "Basic YWxpY2U6cGFzcy13b3Jk"
    assert "pass" not in str(request.url)
    assert "YWxpY2" not in repr(request)


def test_identity_tokens_are_posted() -> None:
    transport = FakeTransport(FakeResponse(200, b'{"access_token": "one"}'))
    credentials = Credentials(identity_token="refresh-me")
    assert answer(authenticator(transport), credentials=credentials) == "Bearer one"
    [request] = transport.requests
    assert (request.method, request.authorization) == ("POST", "")
    assert request.url.target == "/token?a=b"
    assert request.body
    assert parse_qs(request.body.decode()) == {
        "scope": [SCOPE],
        "service": ["h.io"],
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh-me"],
        "client_id": ["imgd"],
    }
    assert "refresh-me" not in repr(request)


def test_registry_tokens_are_all_there_is() -> None:
    transport = FakeTransport(token("one"))
    auth = authenticator(transport)
    credentials = Credentials("alice", registry_token="given")
    assert auth.header(REGISTRY, SCOPE, credentials) == "Bearer given"
    assert answer(auth, "Bearer given", credentials=credentials) == ""
    assert transport.requests == []


@pytest.mark.parametrize(
    ("asked", "scopes"),
    [
        ("repository:app:pull", [SCOPE]),
        ("repository:app:pull,push", [SCOPE]),
        ("aws", [SCOPE, "aws"]),
        ("", [SCOPE]),
    ],
)
def test_scopes(asked: str, scopes: list[str]) -> None:
    transport = FakeTransport(token("one"))
    answer(authenticator(transport), challenges=f'{CHALLENGE},scope="{asked}"')
    assert parse_qs(transport.requests[0].url.target.partition("?")[2])["scope"] == scopes


def test_basic() -> None:
    auth = authenticator(FakeTransport(token("one")))
    said = answer(auth, challenges='Basic realm="x"', credentials=ALICE)
    assert said == auth.header(REGISTRY, SCOPE, ALICE) == "Basic YWxpY2U6cGFzcy13b3Jk"
    assert answer(auth, said, challenges="Basic", credentials=ALICE) == ""
    assert answer(auth, challenges="Basic", credentials=None) == ""
    assert answer(auth, challenges="Basic", credentials=Credentials(anonymous=True)) == ""


def test_the_strongest_challenge_is_met() -> None:
    both = f'Basic realm="x", {CHALLENGE}'
    auth = authenticator(FakeTransport(token("one")))
    assert answer(auth, challenges=both, credentials=ALICE) == "Bearer one"
    assert answer(auth, challenges="Digest realm=x, Negotiate", credentials=ALICE, scope="x") == ""


def test_one_thread_asks_and_the_others_wait() -> None:
    transport = FakeTransport(token("one"))
    transport.gate.clear()
    auth = authenticator(transport)
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(answer(auth))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert transport.asked.wait(60)
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Error) as caught:
        answer(auth, cancellation=cancellation)
    assert caught.value.reason is Reason.CANCELLED
    transport.gate.set()
    for thread in threads:
        thread.join(60)
    assert said == ["Bearer one"] * 4
    assert len(transport.requests) == 1


def test_a_failed_request_leaves_the_next_one_free() -> None:
    auth = authenticator(FakeTransport(FakeResponse(503, b""), token("one")))
    with pytest.raises(Error):
        answer(auth)
    assert answer(auth) == "Bearer one"


@pytest.mark.parametrize(
    ("status", "headers", "reason", "wait"),
    [
        (400, {}, Reason.REGISTRY_UNAUTHORIZED, None),
        (401, {}, Reason.REGISTRY_UNAUTHORIZED, None),
        (403, {}, Reason.REGISTRY_UNAUTHORIZED, None),
        (404, {}, Reason.REGISTRY_PROTOCOL, None),
        (307, {}, Reason.REGISTRY_PROTOCOL, None),
        (429, {"retry-after": "7"}, Reason.REGISTRY_RATE_LIMITED, 7.0),
        (500, {}, Reason.REGISTRY_UNAVAILABLE, None),
        (503, {"retry-after": "9"}, Reason.REGISTRY_UNAVAILABLE, 9.0),
    ],
)
def test_refusals(status: int, headers: dict[str, str], reason: Reason, wait: float | None) -> None:
    auth = authenticator(FakeTransport(FakeResponse(status, b'{"token": "one"}', headers)))
    with pytest.raises(Error) as caught:
        answer(auth, credentials=ALICE)
    failure = caught.value
    assert (failure.reason, failure.http_status, failure.host, failure.retry_after) == (
        reason,
        status,
        "auth.io",
        wait,
    )
    assert "pass-word" not in str(failure)
    assert ("try again in 7 seconds" in str(failure)) is (status == 429)


def test_a_realm_without_tls_is_for_registries_without() -> None:
    transport = FakeTransport(token("one"))
    challenge = 'Bearer realm="http://auth.io/token"'
    with pytest.raises(Error) as caught:
        answer(authenticator(transport), challenges=challenge, credentials=ALICE)
    assert caught.value.reason is Reason.EGRESS_DENIED
    assert transport.requests == []
    plain = Url.parse("http://localhost:5000/")
    assert answer(authenticator(transport), challenges=challenge, registry=plain) == "Bearer one"
    assert re.fullmatch(r"/token\?scope=\S+", transport.requests[0].url.target)
