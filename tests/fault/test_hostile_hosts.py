"""Registries that ask for credentials, and that lead elsewhere: by redirects, realms and URLs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgd_server.errors import Origin, Reason
from imgd_server.oci.media import DOCKER_FOREIGN_LAYER
from imgd_server.registry import Credentials, RegistryConfig
from tests.fake_images import FakeImage, digest_of, make_document, make_image, make_layer
from tests.hostile import (
    Answer,
    Fault,
    HostileRegistry,
    Request,
    both,
    html,
    raw,
    redirect,
    refuse,
    replaced,
    stall,
    truncate,
)
from tests.pulling import ATTEMPTS, Puller, noise, pulling

LAYER = make_layer({"noise": noise(300_000)})
IMAGE = make_image([LAYER])
DIGEST = IMAGE.document["layers"][0]["digest"]
BLOB = IMAGE.blobs[DIGEST]
CUT = 100_000
ELSEWHERE = "127.0.0.2"
# What a caller's words may be led to.
TRUSTING = RegistryConfig(allowed_hosts={ELSEWHERE})
ALICE = Credentials("alice", "open sesame")


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.add("library/app", IMAGE, "1")
        yield registry


@pytest.fixture
def elsewhere() -> Iterator[HostileRegistry]:
    """Another host, on the loopback interface too: private, and named by no caller."""
    with HostileRegistry(address=ELSEWHERE) as elsewhere:
        elsewhere.add("library/app", IMAGE, "1")
        yield elsewhere


@pytest.fixture
def reference(registry: HostileRegistry) -> str:
    return f"{registry.host}/library/app:1"


async def assert_pulls(puller: Puller, reference: str, who: Credentials | None = None) -> None:
    outcome = await puller.pull(reference, credentials=who)
    await puller.assert_stored(outcome, IMAGE, reference)


def secrets_seen(registry: HostileRegistry) -> set[str]:
    return {value for one in registry.requests if (value := one.headers.get("authorization"))}


# --- redirects


async def test_blobs_may_be_elsewhere_and_ranges_go_along_but_no_credentials(
    registry: HostileRegistry, elsewhere: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_basic(ALICE.user, ALICE.password)
    registry.on("/blobs/", redirect(lambda asked: f"{elsewhere.url}{asked.path}?sig=a%2Fb&x=1"))
    elsewhere.on(f"/blobs/{DIGEST}", truncate(CUT), times=1)
    async with pulling(tmp_path, TRUSTING) as puller:
        await assert_pulls(puller, reference, ALICE)
    assert secrets_seen(registry)
    assert not secrets_seen(elsewhere)
    layer = elsewhere.matching(DIGEST)
    assert [one.headers.get("range") for one in layer] == [None, f"bytes={CUT}-{len(BLOB) - 1}"]
    assert all(one.path.endswith("?sig=a%2Fb&x=1") for one in layer)


async def test_a_redirect_on_the_same_host_keeps_the_connection_and_the_credentials(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_basic(ALICE.user, ALICE.password)
    registry.on(f"/blobs/{DIGEST}$", redirect(f"../blobs/{DIGEST}?again"))
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, reference, ALICE)
    [moved] = registry.matching(r"\?again")
    assert "authorization" in moved.headers


async def test_another_port_of_the_named_host_is_no_stranger_and_sees_no_credentials(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_basic(ALICE.user, ALICE.password)
    with HostileRegistry() as neighbour:
        neighbour.add("library/app", IMAGE, "1")
        registry.on("/blobs/", redirect(lambda asked: neighbour.url + asked.path))
        async with pulling(tmp_path) as puller:
            await assert_pulls(puller, reference, ALICE)
        assert neighbour.served(DIGEST) == len(BLOB)
        assert not secrets_seen(neighbour)


@pytest.mark.parametrize("pattern", ["HEAD", "GET .*/manifests/", "/blobs/"])
async def test_no_redirect_leads_to_a_private_host(
    pattern: str,
    registry: HostileRegistry,
    elsewhere: HostileRegistry,
    reference: str,
    tmp_path: Path,
) -> None:
    registry.on(pattern, redirect(lambda asked: elsewhere.url + asked.path))
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.origin) == (Reason.EGRESS_DENIED, Origin.SOURCE)
        assert failure.host == elsewhere.host
        await puller.assert_untouched()
    assert elsewhere.requests == []


async def test_what_is_served_elsewhere_is_said_to_be(
    registry: HostileRegistry, elsewhere: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.on("/blobs/", redirect(lambda asked: elsewhere.url + asked.path))
    elsewhere.on("/blobs/", refuse(403, "AccessDenied"))
    async with pulling(tmp_path, TRUSTING) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.host, failure.http_status, failure.registry_code) == (
            Reason.REGISTRY_DENIED,
            elsewhere.host,
            403,
            "AccessDenied",
        )


async def test_a_challenge_from_elsewhere_gets_no_credentials(
    registry: HostileRegistry, elsewhere: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_basic(ALICE.user, ALICE.password)
    elsewhere.require_basic(ALICE.user, ALICE.password)
    registry.on("/blobs/", redirect(lambda asked: elsewhere.url + asked.path))
    async with pulling(tmp_path, TRUSTING) as puller:
        failure = await puller.fail(reference, credentials=ALICE)
        assert (failure.reason, failure.host) == (Reason.REGISTRY_UNAUTHORIZED, elsewhere.host)
    assert not secrets_seen(elsewhere)


# --- credentials


async def test_basic(registry: HostileRegistry, reference: str, tmp_path: Path) -> None:
    registry.require_basic(ALICE.user, ALICE.password)
    async with pulling(tmp_path) as puller:
        for who in (None, Credentials("alice", "wrong"), Credentials(anonymous=True)):
            failure = await puller.fail(reference, credentials=who)
            assert (failure.reason, failure.http_status) == (Reason.REGISTRY_UNAUTHORIZED, 401)
            assert failure.registry_code == ""
            assert "wrong" not in failure.message
        await puller.assert_untouched()
        before = len(registry.requests)
        await assert_pulls(puller, reference, ALICE)
    # Once refused, then known.
    assert [one.status for one in registry.requests[before:]].count(401) == 1


async def test_one_token_does_for_a_pull_and_the_next(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer()
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, reference)
        await assert_pulls(puller, reference)
    [asked] = registry.matching("/token")
    assert asked.path == "/token?scope=repository%3Alibrary%2Fapp%3Apull&service=tests"
    assert "authorization" not in asked.headers
    # The re-pull: one HEAD and nothing else.
    assert [one.method for one in registry.requests[-1:]] == ["HEAD"]
    assert [one.status for one in registry.requests].count(401) == 1


async def test_a_token_for_a_password(
    registry: HostileRegistry, elsewhere: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer(issuer=elsewhere, user=ALICE.user, password=ALICE.password)
    async with pulling(tmp_path, TRUSTING) as puller:
        for who in (None, Credentials("alice", "wrong")):
            failure = await puller.fail(reference, credentials=who)
            assert (failure.reason, failure.host, failure.http_status) == (
                Reason.REGISTRY_UNAUTHORIZED,
                elsewhere.host,
                401,
            )
        await assert_pulls(puller, reference, ALICE)
    # The registry itself never sees the password.
    assert all(value.startswith("Bearer token-") for value in secrets_seen(registry))


async def test_identity_and_registry_tokens(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer(user=ALICE.user, password=ALICE.password)
    async with pulling(tmp_path / "identity") as puller:
        failure = await puller.fail(reference, credentials=Credentials(identity_token="wrong"))
        assert failure.reason is Reason.REGISTRY_UNAUTHORIZED
        await assert_pulls(puller, reference, Credentials(identity_token="refresh"))
    [_, asked] = registry.matching("/token")
    assert (asked.method, asked.path) == ("POST", "/token")
    registry.tokens.add("given")
    async with pulling(tmp_path / "registry") as puller:
        for token in ("wrong", "not\r\na: header", "nöt"):
            failure = await puller.fail(reference, credentials=Credentials(registry_token=token))
            assert failure.reason is Reason.REGISTRY_UNAUTHORIZED
            assert token not in failure.message
        await assert_pulls(puller, reference, Credentials(registry_token="given"))
    # A token is asked for once more, by nobody: whether it takes credentials at all.
    [_, _, anonymous] = registry.matching("/token")
    assert (anonymous.method, anonymous.status) == ("GET", 401)
    assert "authorization" not in anonymous.headers


@pytest.mark.parametrize("life", [300, 0, -1, "300", None, 1e400, float("nan")])
async def test_tokens_that_expire_in_the_middle(
    life: object, registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer()
    registry.token_life = life

    def expire(_: Request, answer: Answer) -> Answer:
        registry.tokens.clear()
        return answer

    registry.on("GET .*/manifests/", expire, times=1)
    registry.on(f"/blobs/{DIGEST}", both(truncate(CUT), expire), times=1)
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, reference)
    assert registry.issued >= 2


async def test_a_token_that_is_never_good_ends(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer()
    registry.on("/token", replaced(b'{"token": "forged"}'))
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.http_status) == (Reason.REGISTRY_UNAUTHORIZED, 401)
    assert len(registry.requests) <= 5


TOKEN_FAULTS: dict[str, tuple[Fault, Reason, int]] = {
    "a page": (html(), Reason.REGISTRY_PROTOCOL, 200),
    "not found": (refuse(404), Reason.REGISTRY_PROTOCOL, 404),
    "forbidden": (refuse(403), Reason.REGISTRY_UNAUTHORIZED, 403),
    "down": (refuse(503), Reason.REGISTRY_UNAVAILABLE, 503),
    "limited": (refuse(429, Retry_After="9999"), Reason.REGISTRY_RATE_LIMITED, 429),
    "no token": (replaced(b"{}"), Reason.REGISTRY_PROTOCOL, 200),
    "an empty token": (replaced(b'{"token": ""}'), Reason.REGISTRY_PROTOCOL, 200),
    "a token with a line": (replaced(b'{"token": "a\\r\\nb: c"}'), Reason.REGISTRY_PROTOCOL, 200),
    "a token of a number": (replaced(b'{"token": 5}'), Reason.REGISTRY_PROTOCOL, 200),
    "a life of words": (
        replaced(b'{"token": "a", "expires_in": "x"}'),
        Reason.REGISTRY_PROTOCOL,
        200,
    ),
    "a life of ages": (
        replaced(b'{"token": "a", "expires_in": 1' + b"0" * 400 + b"}"),
        Reason.REGISTRY_PROTOCOL,
        200,
    ),
    "a list": (replaced(b"[]"), Reason.REGISTRY_PROTOCOL, 200),
    "a bomb": (replaced(b"[" * 60_000), Reason.REGISTRY_PROTOCOL, 200),
    "a large token": (
        replaced(b'{"token": "' + b"x" * 1_000_000 + b'"}'),
        Reason.REGISTRY_PROTOCOL,
        200,
    ),
    "a cut": (truncate(3), Reason.REGISTRY_PROTOCOL, 200),
    "no HTTP": (raw(b"\x00\n"), Reason.REGISTRY_PROTOCOL, 0),
}


@pytest.mark.parametrize(
    ("fault", "reason", "status"), TOKEN_FAULTS.values(), ids=TOKEN_FAULTS.keys()
)
async def test_a_token_server_that_errs(
    fault: Fault,
    reason: Reason,
    status: int,
    registry: HostileRegistry,
    elsewhere: HostileRegistry,
    reference: str,
    tmp_path: Path,
) -> None:
    registry.require_bearer(issuer=elsewhere)
    elsewhere.on("/token", fault)
    async with pulling(tmp_path, TRUSTING) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.host, failure.http_status) == (
            reason,
            elsewhere.host,
            status,
        )
        assert len(elsewhere.requests) <= ATTEMPTS
        await puller.assert_untouched()


async def test_a_token_server_may_move(
    registry: HostileRegistry, elsewhere: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer(user=ALICE.user, password=ALICE.password)
    registry.on(r"/token\?", redirect(lambda asked: elsewhere.url + asked.path))
    elsewhere.tokens = registry.tokens
    async with pulling(tmp_path, TRUSTING) as puller:
        # The password does not go along, and so no more than an anonymous token is given.
        await assert_pulls(puller, reference, ALICE)
    assert not secrets_seen(elsewhere)


@pytest.mark.parametrize(
    ("realm", "reason"),
    [
        ("", Reason.REGISTRY_PROTOCOL),
        ("/token", Reason.REGISTRY_PROTOCOL),
        ("file:///etc/passwd", Reason.REGISTRY_PROTOCOL),
        ("http://[::1/", Reason.REGISTRY_PROTOCOL),
        ("http://127.0.0.1:0x50/", Reason.REGISTRY_PROTOCOL),
        ("http://user:secret@127.0.0.1/", Reason.REGISTRY_PROTOCOL),
        ("http://169.254.169.254/latest/api/token", Reason.EGRESS_DENIED),
        ("http://127.0.0.2:1/token", Reason.EGRESS_DENIED),
        ("http://[::ffff:127.0.0.1]:1/token", Reason.EGRESS_DENIED),
        ("http://0x7f000002:1/token", Reason.EGRESS_DENIED),
    ],
)
async def test_realms_lead_nowhere(
    realm: str, reason: Reason, registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.on("", refuse(401, WWW_Authenticate=f'Bearer realm="{realm}",service="x"'))
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(reference, credentials=ALICE)
        assert failure.reason is reason, failure.message
        assert "secret" not in failure.message
        await puller.assert_untouched()
    assert not secrets_seen(registry)


async def test_a_realm_on_a_private_host_sees_no_password(
    registry: HostileRegistry, elsewhere: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer(issuer=elsewhere, user=ALICE.user, password=ALICE.password)
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(reference, credentials=ALICE)
        assert failure.reason is Reason.EGRESS_DENIED
    assert elsewhere.requests == []


async def test_a_refusal_without_end_is_a_refusal(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    registry.require_bearer()
    challenge = f'Bearer realm="{registry.url}/token"'
    registry.on("HEAD", refuse(405))
    registry.on(
        "GET .*/manifests/1",
        both(refuse(401, "UNAUTHORIZED", WWW_Authenticate=challenge), stall(5)),
        times=1,
    )
    async with pulling(tmp_path, RegistryConfig(read_timeout=3.0)) as puller:
        await assert_pulls(puller, reference)
    registry.behave()
    registry.on("", both(refuse(403, "DENIED", "x" * 1_000_000), stall(200_000)))
    async with pulling(tmp_path, RegistryConfig(read_timeout=3.0)) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.http_status) == (Reason.REGISTRY_DENIED, 403)


# --- layers' own URLs


def foreign(*urls: str) -> FakeImage:
    """The image, with its layer at these URLs."""
    document = IMAGE.document
    document["layers"][0]["mediaType"] = DOCKER_FOREIGN_LAYER
    document["layers"][0]["urls"] = list(urls)
    return make_document(document, blobs=IMAGE.blobs)


async def test_a_foreign_layer_comes_from_its_urls(
    registry: HostileRegistry, elsewhere: HostileRegistry, tmp_path: Path
) -> None:
    urls = [f"{elsewhere.url}/files/{digest_of(b'gone')}", f"{elsewhere.url}/files/{DIGEST}"]
    image = foreign("ftp://127.0.0.2/layer", "http://[::1", *urls)
    reference = registry.add("library/app", image, "1")
    registry.require_basic(ALICE.user, ALICE.password)
    registry.on(f"/blobs/{DIGEST}", refuse(404, "BLOB_UNKNOWN"))
    elsewhere.on(DIGEST, truncate(CUT), times=1)
    async with pulling(tmp_path, TRUSTING) as puller:
        outcome = await puller.pull(reference, credentials=ALICE)
        await puller.assert_stored(outcome, image, reference)
    ranges = [one.headers.get("range") for one in elsewhere.matching(DIGEST)]
    assert ranges == [None, f"bytes={CUT}-{len(BLOB) - 1}"]
    assert not secrets_seen(elsewhere)


async def test_a_foreign_layer_leads_to_no_private_host(
    registry: HostileRegistry, elsewhere: HostileRegistry, tmp_path: Path
) -> None:
    image = foreign(f"{elsewhere.url}/files/{DIGEST}")
    reference = registry.add("library/app", image, "1")
    registry.on(f"/blobs/{DIGEST}", refuse(404, "BLOB_UNKNOWN"))
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.origin) == (Reason.EGRESS_DENIED, Origin.SOURCE)
        await puller.assert_untouched()
    assert elsewhere.requests == []


async def test_not_every_url_of_thousands_is_tried(
    registry: HostileRegistry, elsewhere: HostileRegistry, tmp_path: Path
) -> None:
    urls = [f"{elsewhere.url}/files/{number}" for number in range(5000)]
    reference = registry.add("library/app", foreign(*urls), "1")
    registry.on(f"/blobs/{DIGEST}", refuse(404, "BLOB_UNKNOWN"))
    async with pulling(tmp_path, TRUSTING) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.host) == (Reason.REMOTE_NOT_FOUND, elsewhere.host)
    assert 0 < len(elsewhere.requests) < 10
