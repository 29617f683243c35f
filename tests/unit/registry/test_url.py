from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.registry._url import Url


@pytest.mark.parametrize(
    ("text", "expected", "label"),
    [
        ("https://h.io", "https://h.io/", "h.io"),
        ("HTTPS://H.IO:443/x?y#z", "https://h.io/x?y", "h.io"),
        ("http://h.io:080/", "http://h.io/", "h.io"),
        ("http://h.io:443/", "http://h.io:443/", "h.io:443"),
        ("https://a_b.c-d.io:5000/v2/", "https://a_b.c-d.io:5000/v2/", "a_b.c-d.io:5000"),
        ("http://[::1]:5000/x", "http://[::1]:5000/x", "[::1]:5000"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]/", "[2001:db8::1]"),
        ("http://h/a%2Fb/ü x", "http://h/a%2Fb/%C3%BC%20x", "h"),
        ("http://h/x?a=b%26c&d=e/f+g", "http://h/x?a=b%26c&d=e/f+g", "h"),
        ("http://h/\r\nX: y", "http://h/X:%20y", "h"),
    ],
)
def test_reads(text: str, expected: str, label: str) -> None:
    url = Url.parse(text)
    assert (str(url), url.label) == (expected, label)
    assert Url.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h.io/x",
        "//h.io/x",
        "ftp://h.io/",
        "file:///etc/passwd",
        "http:///x",
        "http://:80/",
        "http://h:99999/",
        "http://h:x/",
        "http://h:-1/",
        "http://[::1",
        "http://[::1%25eth0]/",
        "http://[1.2.3.4]/",
        "http://user@h/",
        "http://user:password@h/",
        "http://@h/",
        "http://a b/",
        "http://h\\@evil/",
        "http://münchen.de/",
        "http://h\x00/",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any will do
        Url.parse(text)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/y", "https://h.io:1/y"),
        ("y?z", "https://h.io:1/a/y?z"),
        ("?z", "https://h.io:1/a/b?z"),
        ("../../../y", "https://h.io:1/y"),
        ("//other/y", "https://other/y"),
        ("http://other/", "http://other/"),
    ],
)
def test_reads_what_is_relative(location: str, expected: str) -> None:
    assert str(Url.parse(location, Url.parse("https://h.io:1/a/b?c"))) == expected


@given(st.text() | st.text().map("http://{}".format) | st.text().map("https://h/{}".format))
def test_any_text(text: str) -> None:
    try:
        url = Url.parse(text)
    except ValueError:
        return
    line = f"{url.label}{url.target}"
    assert line.isascii()
    assert line.isprintable()
    assert " " not in line
    assert "@" not in url.label


def test_names_of_hosts() -> None:
    url = Url.parse("http://[::1]:5000/")
    assert all(url.names(frozenset({one})) for one in ("::1", "[::1]", "[::1]:5000"))
    assert not url.names(frozenset({"::1:5000", "[::1]:5001"}))
    plain = Url.parse("https://h.io/")
    assert plain.names(frozenset({"h.io"}))
    assert plain.names(frozenset({"h.io:443"}))
    assert not plain.names(frozenset({"io", "h.io:80", "x.h.io"}))
