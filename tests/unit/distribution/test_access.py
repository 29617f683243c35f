"""Users, passwords, tokens and certificates of the registry inside."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from structlog.testing import capture_logs

from imgd_server.distribution import AccessConfig, open_access, open_tls
from imgd_server.distribution import _htpasswd as htpasswd
from imgd_server.distribution._access import CATALOG, Grant
from imgd_server.distribution._htpasswd import Passwords, Throttle, parse_htpasswd
from imgd_server.distribution._protocol import Refusal
from imgd_server.distribution._tokens import TokenError, Verifier, parse_keys
from imgd_server.errors import Error, Reason
from tests.certificates import Authority
from tests.peers import require

APP = ("repository", "app")
NOW = 1_800_000_000.0


def hashed(password: bytes, cost: int = 4) -> bytes:
    return bcrypt.hashpw(password, bcrypt.gensalt(cost))


def refused(function: Callable[[], object]) -> str:
    with pytest.raises(Error) as caught:
        function()
    assert caught.value.reason is Reason.FIELD_INVALID
    return caught.value.message


# --- passwords: the file

GOOD = b"$2y$10$" + b"a" * 53


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "names no user"),
        (b"# nobody\n\n", "names no user"),
        (b"alice\n", "line 1 is no user:hash"),
        (b"\nalice:{SHA}secret\n", "line 2 is no user:hash"),
        (b"alice:$apr1$secret$x\n", "line 1 is no user:hash"),
        (b"alice:secret\n", "htpasswd -B"),
        (b":" + GOOD, "line 1 is no user:hash"),
        (b"alice:" + GOOD + b":more", "line 1 is no user:hash"),
        (b"alice:$2y$31$" + b"a" * 53, "a cost of 4 to 15"),
        (b"alice:" + GOOD + b"\nalice:" + GOOD, "line 2 names a user for the second time"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(data: bytes, says: str) -> None:
    message = refused(lambda: parse_htpasswd(data))
    assert message.startswith("registry_htpasswd: ")
    assert says in message
    assert "secret" not in message


def test_comments_blanks_and_line_ends_are_passed_over() -> None:
    data = b"# users\r\n\r\n  alice:" + GOOD + b"\r\nb\xc3\xb6b:" + GOOD.replace(b"2y", b"2a")
    assert list(parse_htpasswd(data)) == [b"alice", b"b\xc3\xb6b"]


# --- passwords: the check


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The hashes that passwords were compared with."""
    done: list[bytes] = []

    def count(password: bytes, against: bytes) -> bool:
        done.append(against)
        return bcrypt.checkpw(password, against)

    monkeypatch.setattr(htpasswd, "bcrypt", type("Counted", (), {"checkpw": staticmethod(count)}))
    return done


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_bytes(b"alice:" + hashed(b"open sesame") + b"\nbob:" + hashed(b"a" * 72, 5) + b"\n")
    return path


@pytest.fixture
async def passwords(file: Path) -> AsyncIterator[Passwords]:
    passwords = Passwords(str(file))
    yield passwords
    passwords.close()


@pytest.mark.parametrize(
    ("user", "password", "met"),
    [
        (b"alice", b"open sesame", True),
        (b"alice", b"open sesam", False),
        (b"alice", b"", False),
        (b"alice", b"open sesame\0", False),
        (b"Alice", b"open sesame", False),
        (b"", b"open sesame", False),
        (b"nobody", b"open sesame", False),
        # bcrypt's own bound, as everywhere.
        (b"bob", b"a" * 100, True),
        (b"bob", b"a" * 71, False),
    ],
)
async def test_a_pair_is_right_or_wrong(
    passwords: Passwords, checks: list[bytes], user: bytes, password: bytes, met: bool
) -> None:
    assert await passwords.check(user, password, "10.0.0.1") is met
    # Whoever it is: one hash is compared, of the file.
    assert len(checks) == 1


async def test_an_unknown_user_costs_always_the_same(
    passwords: Passwords, checks: list[bytes], file: Path
) -> None:
    for password in (b"a", b"b", b"c"):
        assert not await passwords.check(b"nobody", password, "10.0.0.1")
    assert len(checks) == 3
    (decoy,) = set(checks)
    # As much as somebody's whom the file names.
    assert decoy in parse_htpasswd(file.read_bytes()).values()


async def test_what_was_proven_is_not_checked_again(
    passwords: Passwords, checks: list[bytes]
) -> None:
    both = [passwords.check(b"alice", b"open sesame", "10.0.0.1") for _ in range(20)]
    assert await asyncio.gather(*both) == [True] * 20
    assert await passwords.check(b"alice", b"open sesame", "10.0.0.2")
    assert len(checks) == 1
    # What was wrong is.
    for _ in range(2):
        assert not await passwords.check(b"alice", b"close", "10.0.0.1")
    assert len(checks) == 3


async def test_a_changed_file_is_taken(passwords: Passwords, file: Path) -> None:
    assert await passwords.check(b"alice", b"open sesame", "10.0.0.1")
    file.write_bytes(b"alice:" + hashed(b"new") + b"\n")
    assert not await passwords.check(b"alice", b"open sesame", "10.0.0.1")
    assert await passwords.check(b"alice", b"new", "10.0.0.1")
    assert not await passwords.check(b"bob", b"a" * 72, "10.0.0.1")


@pytest.mark.parametrize("spoil", ["text", "gone", "large"])
async def test_a_spoilt_file_changes_nothing_and_is_logged_once(
    passwords: Passwords, file: Path, spoil: str
) -> None:
    if spoil == "gone":
        file.unlink()
    else:
        file.write_bytes(b"alice:secret" if spoil == "text" else b"#" * (2 << 20))
    with capture_logs() as logs:
        for _ in range(3):
            assert await passwords.check(b"alice", b"open sesame", "10.0.0.1")
    assert [one["log_level"] for one in logs] == ["warning"]
    assert "registry_htpasswd" in logs[0]["why"]
    assert "secret" not in str(logs)


async def test_guesses_are_bounded_and_do_not_lock_out_who_is_proven(
    passwords: Passwords, checks: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(htpasswd, "_REFILL_SECONDS", 1e6)
    assert await passwords.check(b"alice", b"open sesame", "10.0.0.1")
    guesses = [passwords.check(b"alice", b"%d" % one, "10.0.0.1") for one in range(50)]
    answers = await asyncio.gather(*guesses, return_exceptions=True)
    refusals = [one for one in answers if isinstance(one, Refusal)]
    assert answers.count(False) == len(checks) - 1 == 10
    assert {one.status for one in refusals} == {429}
    assert all(int(one.headers["Retry-After"]) > 0 for one in refusals)
    assert len(refusals) == 40
    assert await passwords.check(b"alice", b"open sesame", "10.0.0.1")
    # Others are not concerned.
    assert await passwords.check(b"bob", b"a" * 72, "10.0.0.2")


async def test_only_so_many_wait(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(*_: bytes) -> bool:
        return not go_on.wait(60)

    monkeypatch.setattr(htpasswd, "_matches", slow)
    tasks = [
        asyncio.create_task(passwords.check(b"alice", b"%d" % one, f"10.0.{one}.1"))
        for one in range(100)
    ]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    go_on.set()
    for one in done:
        assert isinstance(one.exception(), Refusal)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert answers.count(False) == 66


def test_the_bucket_leaks() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    assert [throttle.charge("10.0.0.1") for _ in range(10)] == [0.0] * 10
    assert throttle.charge("10.0.0.1") == pytest.approx(6.0)
    assert throttle.charge("10.0.0.2") == 0.0
    clock.now += 5.9
    assert throttle.charge("10.0.0.1") == pytest.approx(0.1)
    clock.now += 0.2
    assert throttle.charge("10.0.0.1") == 0.0
    assert throttle.charge("10.0.0.1") > 0.0
    throttle.refund("10.0.0.1")
    assert throttle.charge("10.0.0.1") == 0.0
    clock.now += 3600
    assert [throttle.charge("10.0.0.1") for _ in range(10)] == [0.0] * 10


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "", True),
    ],
)
def test_an_ipv6_host_has_many_addresses(one: str, other: str, same: bool) -> None:
    throttle = Throttle(Clock())
    for _ in range(10):
        throttle.charge(one)
    assert (throttle.charge(other) > 0) is same


def test_addresses_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(htpasswd, "_MAX_ADDRESSES", 3)
    throttle = Throttle(Clock())
    for _ in range(10):
        throttle.charge("10.0.0.1")
    for last in range(2, 5):
        throttle.charge(f"10.0.0.{last}")
    assert throttle.charge("10.0.0.1") == 0.0


# --- grants


@pytest.mark.parametrize(
    ("grant", "may"),
    [
        (Grant(), ""),
        (Grant(writes=True), "pull push delete catalog other"),
        (Grant(reads=True), "pull catalog other"),
        (Grant(access={APP: frozenset({"pull"})}), "pull"),
        (Grant(access={APP: frozenset({"push"})}), "push"),
        (Grant(access={APP: frozenset({"*"})}), "pull push delete"),
        (Grant(access={CATALOG: frozenset({"*"})}), "catalog"),
        (Grant(access={CATALOG: frozenset({"pull"})}), ""),
        (Grant(access={("registry", "app"): frozenset({"*"})}), ""),
    ],
)
def test_a_grant(grant: Grant, may: str) -> None:
    asked = {
        "pull": (APP, "pull"),
        "push": (APP, "push"),
        "delete": (APP, "delete"),
        "catalog": (CATALOG, "*"),
        "other": (("repository", "other"), "pull"),
    }
    assert [name for name, one in asked.items() if grant.may(*one)] == may.split()
    everything = grant.reads or grant.writes
    assert grant.readable == (None if everything else ["app"] if "pull" in may else [])


# --- tokens

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
OTHER = rsa.generate_private_key(65537, 2048)
DIGESTS: dict[str, Any] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CLAIMS: dict[str, Any] = {
    "iss": "auth.example",
    "aud": "images",
    "exp": NOW + 300,
    "nbf": NOW - 10,
    "access": [{"type": "repository", "name": "app", "actions": ["pull", "push"]}],
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(key: Any, algorithm: str, message: bytes) -> bytes:
    digest: Any = DIGESTS.get(algorithm[2:])
    if isinstance(key, rsa.RSAPrivateKey):
        if algorithm.startswith("PS"):
            scheme: Any = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        else:
            scheme = padding.PKCS1v15()
        return key.sign(message, scheme, digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        half = (key.key_size + 7) // 8
        parts = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return b"".join(one.to_bytes(half, "big") for one in parts)
    return bytes(key.sign(message))


def make_token(
    key: Any, algorithm: str, claims: object = None, header: Mapping[str, Any] | None = None
) -> str:
    parts = ({"typ": "JWT", "alg": algorithm, **(header or {})}, claims or CLAIMS)
    signed = ".".join(b64(json.dumps(one).encode()) for one in parts)
    return f"{signed}.{b64(sign(key, algorithm, signed.encode()))}"


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def jwk(key: Any, **more: str) -> dict[str, str]:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), **more}
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        curve = f"P-{public.curve.key_size}"
        return {"kty": "EC", "crv": curve, "x": number(point.x), "y": number(point.y), **more}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw()), **more}


def jwks(*keys: dict[str, str]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def public_pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))


def certificate(key: Any, until: float) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
    end = datetime.fromtimestamp(until, UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def verifier(tmp_path: Path) -> Callable[..., Verifier]:
    def make(keys: bytes, clock: Callable[[], float] = lambda: NOW) -> Verifier:
        (tmp_path / "keys").write_bytes(keys)
        return Verifier(str(tmp_path / "keys"), "auth.example", "images", clock)

    return make


def says(verifier: Verifier, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        verifier.access(token)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        *((RSA, f"{family}{bits}") for family in ("RS", "PS") for bits in (256, 384, 512)),
        (P256, "ES256"),
        (P521, "ES512"),
        (ED25519, "EdDSA"),
    ],
)
@pytest.mark.parametrize("form", ["jwks", "pem"])
def test_a_token_allows_what_it_says(
    verifier: Callable[..., Verifier], key: Any, algorithm: str, form: str
) -> None:
    keys = jwks(jwk(OTHER), jwk(key)) if form == "jwks" else public_pem(OTHER) + public_pem(key)
    one = verifier(keys)
    token = make_token(key, algorithm)
    assert one.access(token) == {APP: frozenset({"pull", "push"})}
    head, body, signature = token.split(".")
    spoilt = bytearray(base64.urlsafe_b64decode(signature + "=="))
    spoilt[-1] ^= 1
    assert says(one, f"{head}.{body}.{b64(bytes(spoilt))}") == "none of the keys signed it"
    other = b64(json.dumps({**CLAIMS, "iss": "x"}).encode())
    assert says(one, f"{head}.{other}.{signature}") == "none of the keys signed it"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"iss": "elsewhere"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "other"}, "another service"),
        ({"aud": ["other"]}, "another service"),
        ({"aud": None}, "another service"),
        ({"aud": {"images": 1}}, "another service"),
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "9999999999"}, "expired"),
        ({"exp": True}, "expired"),
        ({"exp": float("inf")}, "expired"),
        ({"nbf": NOW + 61}, "not good yet"),
        ({"nbf": "soon"}, "not good yet"),
        ({"access": {}}, ""),
        ({"access": "everything"}, "no list"),
        ({"access": [{"type": "repository", "name": "app", "actions": ["pull"]}] * 101}, "100"),
        ({"access": ["app"]}, "names no resource"),
        ({"access": [{"type": "repository"}]}, "names no resource"),
        ({"access": [{"type": ["x"], "name": "app", "actions": ["pull"]}]}, "names no resource"),
        ({"access": [{"type": "repository", "name": "app", "actions": [[]]}]}, "no resource"),
    ],
)
def test_a_token_that_is_not_for_us(
    verifier: Callable[..., Verifier], change: dict[str, Any], why: str
) -> None:
    one = verifier(jwks(jwk(RSA)))
    token = make_token(RSA, "RS256", {**CLAIMS, **change})
    if why:
        assert why in says(one, token)
    else:
        assert one.access(token) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"exp": NOW - 59},
        {"nbf": NOW + 59},
        {"nbf": 0},
        {"aud": ["other", "images"]},
    ],
)
def test_clocks_may_differ_by_a_minute(
    verifier: Callable[..., Verifier], change: dict[str, Any]
) -> None:
    assert APP in verifier(jwks(jwk(RSA))).access(make_token(RSA, "RS256", {**CLAIMS, **change}))


def test_a_token_without_access_proves_somebody(verifier: Callable[..., Verifier]) -> None:
    claims = {key: value for key, value in CLAIMS.items() if key != "access"}
    assert verifier(jwks(jwk(RSA))).access(make_token(RSA, "RS256", claims)) == {}


def test_only_the_algorithms_of_the_key_are_taken(verifier: Callable[..., Verifier]) -> None:
    one = verifier(jwks(jwk(RSA), jwk(P256)))
    _, body, signature = make_token(RSA, "RS256").split(".")
    none = b64(json.dumps({"alg": "none"}).encode())
    assert says(one, f"{none}.{body}.") == "none of the keys signed it"
    # The public key as the secret of an HMAC.
    for secret in (public_pem(RSA), public_pem(RSA).strip(), number(65537).encode()):
        hs = b64(json.dumps({"alg": "HS256"}).encode())
        mac = hmac.digest(secret, f"{hs}.{body}".encode(), hashlib.sha256)
        assert says(one, f"{hs}.{body}.{b64(mac)}") == "none of the keys signed it"
    for algorithm in ("ES256", "EdDSA", "rs256", "RS1", "RS", "", "RS512", 256, None, ["RS256"]):
        claimed = b64(json.dumps({"alg": algorithm}).encode())
        assert says(one, f"{claimed}.{body}.{signature}") == "none of the keys signed it"
    # Each curve has one hash.
    assert says(one, make_token(P256, "ES512")) == "none of the keys signed it"


def test_a_named_key_is_meant_alone(verifier: Callable[..., Verifier]) -> None:
    one = verifier(jwks(jwk(RSA, kid="a"), jwk(OTHER, kid="b", alg="RS256")))
    assert one.access(make_token(RSA, "RS256", header={"kid": "a"}))
    assert says(one, make_token(RSA, "RS256", header={"kid": "b"}))
    # Names of other kinds are in certificates' tokens.
    assert one.access(make_token(RSA, "RS256", header={"kid": "LIBT:RUST"}))
    assert one.access(make_token(OTHER, "RS256"))
    assert says(one, make_token(OTHER, "RS512"))


def test_a_certificate_ends(verifier: Callable[..., Verifier]) -> None:
    clock = Clock(NOW)
    one = verifier(certificate(RSA, NOW + 100), clock)
    assert one.access(make_token(RSA, "RS256"))
    clock.now = NOW + 101
    assert says(one, make_token(RSA, "RS256")) == "none of the keys signed it"


def test_a_new_key_is_taken(verifier: Callable[..., Verifier], tmp_path: Path) -> None:
    one = verifier(jwks(jwk(RSA)))
    assert says(one, make_token(P256, "ES256"))
    (tmp_path / "keys").write_bytes(jwks(jwk(P256)))
    assert one.access(make_token(P256, "ES256"))
    assert says(one, make_token(RSA, "RS256"))


HEAD = b64(json.dumps({"alg": "RS256"}).encode())


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c.d",
        "....",
        f"{HEAD}.{b64(b'[1]')}.AAAA",
        f"{HEAD}.{b64(b'{')}.AAAA",
        f"{HEAD}.{b64(b'[' * 100_000)}.AAAA",
        f"{HEAD}.{b64(b'{}')}=.AAAA",
        f"{HEAD}.{b64(b'{}')}.A",
        f"{HEAD}.{b64(b'{}')}.\u00e4\u00e4\u00e4\u00e4",
        f"{HEAD}.{b64(bytes([255, 254]))}.AAAA",
        f"{b64(json.dumps({'alg': 'RS256', 'crit': ['exp']}).encode())}.{b64(b'{}')}.AAAA",
    ],
)
def test_what_is_no_token_is_refused(verifier: Callable[..., Verifier], token: str) -> None:
    assert says(verifier(jwks(jwk(RSA))), token)


WEAK = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (b"", "0 keys"),
        (b"no keys", "0 keys"),
        (b'{"keys": []}', "0 keys"),
        (jwks(*[jwk(RSA)] * 33), "33 keys"),
        (b"{}", "can't be read"),
        (b"{", "can't be read"),
        (b'{"keys": [1]}', "can't be read"),
        (b'{"keys": [{}]}', "can't be read"),
        (b'{"keys": ' + b"[" * 100_000, "can't be read"),
        (jwks({"kty": "oct", "k": "c2VjcmV0"}), "keys are of RSA"),
        (jwks({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}), "keys are of RSA"),
        (jwks({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "can't be read"),
        (jwks(jwk(WEAK)), "at least 2048 bits"),
        (public_pem(WEAK), "at least 2048 bits"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can't be read"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private ones"),
        (jwks(jwk(RSA, use="enc")), "0 keys"),
    ],
)
def test_a_file_without_usable_keys_is_refused(keys: bytes, why: str) -> None:
    message = refused(lambda: parse_keys(keys))
    assert message.startswith("registry_token_keys: ")
    assert why in message


# --- the configuration


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (AccessConfig(htpasswd="/nowhere"), "registry_htpasswd"),
        (AccessConfig(anonymous_read=True), "registry_anonymous_read"),
        (AccessConfig(token_realm="https://a/"), "registry_token_service"),
        (AccessConfig(token_issuer="a"), "registry_token_realm"),
        (
            AccessConfig(token_realm="https://a/", token_service="b", token_issuer="c"),
            "registry_token_keys",
        ),
        (AccessConfig("", False, "https://a/", "b", "c", "/nowhere"), "registry_token_keys"),
        (AccessConfig("/h", False, "https://a/", "b", "c", "/k"), "registry_htpasswd"),
        (AccessConfig("", True, "https://a/", "b", "c", "/k"), "registry_anonymous_read"),
    ],
)
def test_a_configuration_that_does_not_fit_together(config: AccessConfig, key: str) -> None:
    assert refused(lambda: open_access(config)).startswith(f"{key}: ")


def test_without_a_word_everybody_may_everything() -> None:
    assert not open_access(AccessConfig()).controlled


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_no_files_are_no_tls() -> None:
    assert open_tls("", "") is None


def test_tls_is_of_today(authority: Authority) -> None:
    issued = authority.issue("localhost")
    context = open_tls(str(issued.chain), str(issued.key))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("spoil", "key"),
    [
        ("no certificate", "registry_tls_certificate"),
        ("no key", "registry_tls_key"),
        ("missing certificate", "registry_tls_certificate"),
        ("missing key", "registry_tls_key"),
        ("text for certificate", "registry_tls_certificate"),
        ("text for key", "registry_tls_key"),
        ("another's key", "registry_tls_key"),
        ("password", "registry_tls_key"),
    ],
)
def test_files_that_do_not_do_are_refused_with_their_key(
    authority: Authority, tmp_path: Path, spoil: str, key: str
) -> None:
    issued, other = authority.issue("localhost"), authority.issue("other.test")
    text, secret = tmp_path / "text", tmp_path / "secret"
    text.write_text("no PEM")
    subprocess.run(
        [str(require("openssl")), "pkey", "-in", str(issued.key), "-aes256", "-passout",
         "pass:open sesame", "-out", str(secret)],
        check=True,
    )  # fmt: skip
    chain, private = {
        "no certificate": ("", issued.key),
        "no key": (issued.chain, ""),
        "missing certificate": (tmp_path / "nowhere", issued.key),
        "missing key": (issued.chain, tmp_path / "nowhere"),
        "text for certificate": (text, issued.key),
        "text for key": (issued.chain, text),
        "another's key": (issued.chain, other.key),
        "password": (issued.chain, secret),
    }[spoil]
    message = refused(lambda: open_tls(str(chain), str(private)))
    assert message.startswith(f"{key}: ")
    assert os.fspath(tmp_path) not in message
