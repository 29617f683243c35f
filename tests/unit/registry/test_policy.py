from __future__ import annotations

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import HostPattern, RegistryPolicy
from imgd_server.registry._url import Url


def denied(policy: RegistryPolicy, url: str) -> str:
    """Why a URL is denied; empty where it is not."""
    try:
        policy.check(Url.parse(url))
    except Error as error:
        found = error
    else:
        return ""
    assert (found.reason, found.host) == (Reason.EGRESS_DENIED, Url.parse(url).label)
    return found.message


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("h.io", ["https://h.io", "http://H.io:5000"], ["https://x.h.io", "https://ah.io"]),
        ("h.io:443", ["https://h.io", "http://h.io:443"], ["http://h.io", "https://h.io:5000"]),
        (
            "*.Example.com",
            ["https://a.example.com", "https://a.b.example.com:5"],
            ["https://example.com", "https://aexample.com", "https://example.com.evil.io"],
        ),
        ("*.example.com:5000", ["https://a.example.com:5000"], ["https://a.example.com"]),
        ("[::1]:5000", ["http://[::1]:5000"], ["http://[::1]", "http://[::2]:5000"]),
        ("[::1]", ["http://[::1]:5000", "https://[::1]"], ["http://127.0.0.1"]),
        ("10.0.0.1", ["http://10.0.0.1:5000"], ["http://10.0.0.10"]),
        (
            "docker.io",
            ["https://registry-1.docker.io", "https://auth.docker.io", "https://index.docker.io"],
            ["https://evil.docker.io", "https://hub.docker.com", "https://docker.io.evil.io"],
        ),
    ],
)
def test_what_a_pattern_stands_for(pattern: str, fitting: list[str], others: list[str]) -> None:
    allowing = RegistryPolicy.of([pattern], [])
    denying = RegistryPolicy.of([], [pattern])
    for url in fitting:
        assert denied(allowing, url) == ""
        assert f"is denied by {pattern} in denied_registries" in denied(denying, url)
    for url in others:
        assert f"is none of allowed_registries ({pattern})" in denied(allowing, url)
        assert denied(denying, url) == ""


@pytest.mark.parametrize(
    ("pattern", "spellings"),
    [
        ("evil.io", ["https://evil.io.", "https://EVIL.io.:5000"]),
        ("*.evil.io", ["https://a.evil.io."]),
        ("docker.io", ["https://registry-1.docker.io."]),
        ("93.184.216.34", ["https://1572395042", "http://0x5db8d822", "http://93.12113954"]),
        ("93.184.216.34", ["http://0135.0270.0330.042", "http://[::ffff:5db8:d822]"]),
        ("[2001:db8::1]", ["http://[2001:0db8:0:0::1]", "http://[2001:DB8::1]:80"]),
        ("[2001:db8:0:0:0::1]:80", ["http://[2001:db8::1]"]),
    ],
)
def test_a_host_is_the_same_however_it_is_written(pattern: str, spellings: list[str]) -> None:
    for url in spellings:
        assert f"is denied by {pattern} in" in denied(RegistryPolicy.of([], [pattern]), url), url
        assert denied(RegistryPolicy.of([pattern], []), url) == "", url


def test_nothing_configured_denies_nothing_and_a_denial_comes_first() -> None:
    assert denied(RegistryPolicy(), "https://h.io") == ""
    policy = RegistryPolicy.of(["*.h.io"], ["evil.h.io"])
    assert denied(policy, "https://good.h.io") == ""
    assert "denied_registries" in denied(policy, "https://evil.h.io")


@pytest.mark.parametrize(
    ("allowed", "refused", "domain", "fine"),
    [
        (["docker.io"], [], "docker.io", True),
        (["docker.io"], [], "quay.io", False),
        ([], ["docker.io"], "docker.io", False),
        (["h.io:5000"], [], "h.io:5000", True),
        (["h.io:5000"], [], "h.io:5001", False),
        # Which port a name without one is served at is for the connection to tell.
        (["h.io:443"], [], "h.io", True),
        ([], ["h.io:443"], "h.io", True),
        (["[::1]"], [], "[::1]:5000", True),
        ([], ["*.H.io"], "A.h.io", False),
    ],
)
def test_registries_are_judged_as_references_name_them(
    allowed: list[str], refused: list[str], domain: str, fine: bool
) -> None:
    policy = RegistryPolicy.of(allowed, refused)
    if fine:
        policy.check_domain(domain)
        return
    with pytest.raises(Error) as caught:
        policy.check_domain(domain)
    assert (caught.value.reason, caught.value.host) == (Reason.EGRESS_DENIED, domain)


def test_whoever_led_there_is_named_and_a_long_list_is_cut() -> None:
    policy = RegistryPolicy.of([f"h{number}.example.com" for number in range(1000)], [])
    with pytest.raises(Error) as caught:
        policy.check(Url.parse("https://cdn.io/x"), Url.parse("https://h1.example.com/v2/"))
    message = caught.value.message
    assert message.startswith(
        "h1.example.com leads to cdn.io: cdn.io is none of allowed_registries"
    )
    assert "…)" in message
    assert len(message) < 400


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "*.*.io", "a*.io", "*a.io", "h.io:", "h.io:0", "h.io:65536", "h.io/x",
     "https://h.io", "h.io\n", "*.[::1]", "a b", ".h.io", "h.io."],
)  # fmt: skip
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST|address"):
        HostPattern.parse(text)
