from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.oci import Digest, FormatError, Reference, ReferenceClass, is_loopback_host

D256 = "sha256:" + "0a" * 32
D512 = "sha512:" + "0a" * 64
HEX64 = "1a3f" * 16

# text, domain, path, tag, digest, familiar form
ACCEPTED = [
    ("redis", "docker.io", "library/redis", None, None, "redis"),
    ("redis:7", "docker.io", "library/redis", "7", None, "redis:7"),
    (f"redis:7@{D256}", "docker.io", "library/redis", "7", D256, f"redis:7@{D256}"),
    (f"redis@{D512}", "docker.io", "library/redis", None, D512, f"redis@{D512}"),
    ("library/redis", "docker.io", "library/redis", None, None, "redis"),
    ("docker.io/redis", "docker.io", "library/redis", None, None, "redis"),
    ("docker.io/library/redis", "docker.io", "library/redis", None, None, "redis"),
    ("index.docker.io/redis:1", "docker.io", "library/redis", "1", None, "redis:1"),
    ("index.docker.io/a/b", "docker.io", "a/b", None, None, "a/b"),
    ("index.docker.io", "docker.io", "library/index.docker.io", None, None, "index.docker.io"),
    ("library/a/b", "docker.io", "library/a/b", None, None, "library/a/b"),
    ("bitnami/redis", "docker.io", "bitnami/redis", None, None, "bitnami/redis"),
    ("localhost", "docker.io", "library/localhost", None, None, "localhost"),
    ("localhost:5000", "docker.io", "library/localhost", "5000", None, "localhost:5000"),
    ("localhost/x", "localhost", "x", None, None, "localhost/x"),
    ("localhost:5000/x:y", "localhost:5000", "x", "y", None, "localhost:5000/x:y"),
    ("test.com:5000", "docker.io", "library/test.com", "5000", None, "test.com:5000"),
    ("test_com", "docker.io", "library/test_com", None, None, "test_com"),
    ("test:5000/repo", "test:5000", "repo", None, None, "test:5000/repo"),
    ("Docker/docker", "Docker", "docker", None, None, "Docker/docker"),
    ("LOCALHOST/x", "LOCALHOST", "x", None, None, "LOCALHOST/x"),
    ("Docker.io/x", "Docker.io", "x", None, None, "Docker.io/x"),
    ("docker.io:443/x", "docker.io:443", "x", None, None, "docker.io:443/x"),
    ("[::1]:5000/x", "[::1]:5000", "x", None, None, "[::1]:5000/x"),
    ("[2001:DB8::1]/a/b:t", "[2001:DB8::1]", "a/b", "t", None, "[2001:DB8::1]/a/b:t"),
    ("a__b/c---d.e_f", "docker.io", "a__b/c---d.e_f", None, None, "a__b/c---d.e_f"),
    ("foo/foo_bar.com:8080", "docker.io", "foo/foo_bar.com", "8080", None, "foo/foo_bar.com:8080"),
    ("x:Up_per.-", "docker.io", "library/x", "Up_per.-", None, "x:Up_per.-"),
    ("x:_t", "docker.io", "library/x", "_t", None, "x:_t"),
    (f"{HEX64}:t", "docker.io", f"library/{HEX64}", "t", None, f"{HEX64}:t"),
    (f"docker.io/{HEX64}", "docker.io", f"library/{HEX64}", None, None, HEX64),
    ("x:" + "t" * 128, "docker.io", "library/x", "t" * 128, None, "x:" + "t" * 128),
    ("h.io/" + "a" * 255, "h.io", "a" * 255, None, None, "h.io/" + "a" * 255),
    ("a" * 247, "docker.io", "library/" + "a" * 247, None, None, "a" * 247),
]


@pytest.mark.parametrize(("text", "domain", "path", "tag", "digest", "familiar"), ACCEPTED)
def test_accepts(
    text: str, domain: str, path: str, tag: str | None, digest: str | None, familiar: str
) -> None:
    found = Reference.parse(text)
    assert (found.domain, found.path, found.tag, found.digest) == (domain, path, tag, digest)
    assert found.name == f"{domain}/{path}"
    assert found.familiar() == familiar
    assert Reference.parse(str(found)) == found
    assert pickle.loads(pickle.dumps(found)) == found


REFUSED = [
    ("", "REFERENCE_INVALID", "empty"),
    (":tag", "REFERENCE_INVALID", "needs a repository"),
    (f"@{D256}", "REFERENCE_INVALID", "names no repository"),
    ("docker.io/", "REFERENCE_INVALID", "needs a repository"),
    ("docker.io/:t", "REFERENCE_INVALID", "needs a repository"),
    ("/x", "REFERENCE_INVALID", "empty component"),
    ("x/", "REFERENCE_INVALID", "empty component"),
    ("a//b", "REFERENCE_INVALID", "empty component"),
    ("redis\n", "REFERENCE_INVALID", "white space"),
    ("redis:7\n", "REFERENCE_INVALID", "white space"),
    (f"redis@{D256}\n", "REFERENCE_INVALID", "white space"),
    (" redis", "REFERENCE_INVALID", "white space"),
    ("a\x00b", "REFERENCE_INVALID", "control"),
    ("rédis", "REFERENCE_INVALID", "ASCII"),
    ("redis:٣", "REFERENCE_INVALID", "ASCII"),
    ("\ud800", "REFERENCE_INVALID", "ASCII"),
    ("https://docker.io/x", "REFERENCE_INVALID", "leave out 'https://'"),
    ("docker://x", "REFERENCE_INVALID", "scheme"),
    (HEX64, "REFERENCE_INVALID", "ID"),
    ("Redis", "REFERENCE_INVALID", "lower case"),
    ("foo/Bar", "REFERENCE_INVALID", "lower case"),
    ("Foo/Bar", "REFERENCE_INVALID", "lower case"),
    ("-x", "REFERENCE_INVALID", "starts and ends"),
    ("a___b", "REFERENCE_INVALID", "starts and ends"),
    ("a..b", "REFERENCE_INVALID", "starts and ends"),
    ("a_.b", "REFERENCE_INVALID", "starts and ends"),
    ("a$b", "REFERENCE_INVALID", "holds a-z"),
    ("x:", "REFERENCE_INVALID", "tag must not be empty"),
    ("x:-t", "REFERENCE_INVALID", "tag starts"),
    ("x:a:b", "REFERENCE_INVALID", "tag starts"),
    ("x/y:a/b", "REFERENCE_INVALID", "tag starts"),
    ("x:" + "t" * 129, "REFERENCE_INVALID", "128"),
    ("h.io/" + "a" * 256, "REFERENCE_INVALID", "255"),
    ("a" * 248, "REFERENCE_INVALID", "255"),
    ("foo:bar/baz", "REFERENCE_INVALID", "must be a number"),
    ("foo.com:/baz", "REFERENCE_INVALID", "must be a number"),
    ("foo.com:1:2/baz", "REFERENCE_INVALID", "must be a number"),
    ("a_b.com/x", "REFERENCE_INVALID", "labels"),
    ("-a.com/x", "REFERENCE_INVALID", "labels"),
    ("a..com/x", "REFERENCE_INVALID", "labels"),
    ("a.com./x", "REFERENCE_INVALID", "labels"),
    ("[::1]", "REFERENCE_INVALID", "component"),
    ("[]/x", "REFERENCE_INVALID", "component"),
    ("[]:1/x", "REFERENCE_INVALID", "IPv6"),
    ("[::1]x/x", "REFERENCE_INVALID", "IPv6"),
    ("[::1/x", "REFERENCE_INVALID", "IPv6"),
    ("[fe80::1%eth0]:5000/x", "REFERENCE_INVALID", "IPv6"),
    ("fc00::1:5000/x", "REFERENCE_INVALID", "number"),
    ("x@", "DIGEST_INVALID", "empty"),
    ("x@sha256", "DIGEST_INVALID", "no ':'"),
    ("x@md5:" + "0" * 32, "DIGEST_UNSUPPORTED", "'md5'"),
    ("x@sha384:" + "0" * 96, "DIGEST_UNSUPPORTED", "'sha384'"),
    ("x@" + D256.upper(), "DIGEST_INVALID", "lower case"),
    ("x@sha256:" + "A" * 64, "DIGEST_INVALID", "lower case"),
    ("x@sha256:" + "a" * 63, "DIGEST_INVALID", "not 63"),
    ("x@sha512:" + "a" * 64, "DIGEST_INVALID", "128"),
    (f"x@{D256}@{D256}", "DIGEST_INVALID", "hexadecimal"),
    (f"x@{D256}:t", "DIGEST_INVALID", "hexadecimal"),
]


@pytest.mark.parametrize(("text", "reason", "words"), REFUSED)
def test_refuses(text: str, reason: str, words: str) -> None:
    with pytest.raises(FormatError) as caught:
        Reference.parse(text)
    assert caught.value.reason == reason
    assert words in str(caught.value)
    assert len(caught.value.subject) <= 200
    f"{caught.value}{caught.value.subject}".encode()


@pytest.mark.parametrize("unit", ["a", "a/", "A", "a.", "-", "_", "a:", "[", ":", "@", "1", "é"])
def test_very_long_text_fails_with_a_short_message(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    with pytest.raises(FormatError) as caught:
        Reference.parse(text)
    assert len(str(caught.value)) < 1000


def test_made_directly_is_checked_and_normalised() -> None:
    assert Reference("index.docker.io", "redis") == Reference.parse("redis")
    for domain, path, tag in [("host", "x", None), ("h.io", "X", None), ("h.io", "x", "")]:
        with pytest.raises(FormatError):
            Reference(domain, path, tag)


def test_changes() -> None:
    plain = Reference.parse("redis")
    assert str(plain.with_default_tag()) == "docker.io/library/redis:latest"
    assert plain.with_tag("7").with_default_tag().tag == "7"
    by_digest = Reference.parse(f"redis@{D256}")
    assert by_digest.with_default_tag().tag is None
    assert by_digest.with_tag("7").familiar() == f"redis:7@{D256}"
    with pytest.raises(FormatError):
        plain.with_tag("a\n")


@pytest.mark.parametrize(
    ("text", "own", "expected"),
    [
        ("redis", (), ReferenceClass.OFFICIAL),
        ("bitnami/redis", (), ReferenceClass.COMMUNITY),
        ("quay.io/x/y", (), ReferenceClass.THIRD_PARTY),
        ("localhost/x", (), ReferenceClass.LOCAL),
        ("LOCALHOST/x", (), ReferenceClass.LOCAL),
        ("localhost:5000/x", (), ReferenceClass.LOCAL),
        ("a.localhost:1/x", (), ReferenceClass.LOCAL),
        ("127.9.9.9:1/x", (), ReferenceClass.LOCAL),
        ("[::1]:1/x", (), ReferenceClass.LOCAL),
        ("[::ffff:7f00:1]/x", (), ReferenceClass.LOCAL),
        ("[2001:db8::1]/x", (), ReferenceClass.THIRD_PARTY),
        ("10.0.0.1/x", (), ReferenceClass.THIRD_PARTY),
        ("localhost.evil.com/x", (), ReferenceClass.THIRD_PARTY),
        ("Hub.corp:5000/x", ("hub.corp:5000",), ReferenceClass.LOCAL),
        ("hub.corp/x", ("hub.corp:5000",), ReferenceClass.THIRD_PARTY),
    ],
)
def test_classes(text: str, own: tuple[str, ...], expected: ReferenceClass) -> None:
    assert Reference.parse(text).classify(own) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("a.b.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.255", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.", False),
        ("alocalhost", False),
        ("localhost.io", False),
        ("128.0.0.1", False),
        ("127.1", False),
        ("::2", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_hosts(host: str, expected: bool) -> None:
    assert is_loopback_host(host) is expected


LABEL = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,8}[a-zA-Z0-9])?", fullmatch=True)
DOMAIN = st.one_of(
    st.just("localhost"),
    st.builds("{}.{}".format, LABEL, LABEL),
    st.builds("{}:{}".format, LABEL, st.integers(0, 65535)),
)
PATH = st.from_regex(
    r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,5}){0,3}", fullmatch=True
)
TAG = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
DIGEST = st.none() | st.binary(max_size=4).map(Digest.of)


@given(DOMAIN, PATH, TAG, DIGEST)
def test_round_trip(domain: str, path: str, tag: str | None, digest: Digest | None) -> None:
    made = Reference(domain, path, tag, digest)
    assert Reference.parse(str(made)) == made


@given(st.text() | st.text(alphabet="aA0.:/@-_[]\n", max_size=40))
def test_any_text_parses_or_fails_cleanly(text: str) -> None:
    try:
        found = Reference.parse(text)
    except FormatError as error:
        f"{error}{error.subject}".encode()
    else:
        assert Reference.parse(str(found)) == found
