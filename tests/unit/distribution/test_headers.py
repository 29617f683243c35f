"""Ranges, conditions and pages, as requests ask for them."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.distribution._headers import (
    MAX_PAGE,
    byte_range,
    chunk_range,
    matches,
    next_page,
    page,
)
from imgd_server.distribution._protocol import Refusal

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=-500", (0, 100)),
        # Passed over: the whole blob is as good an answer (RFC 9110, section 14.2).
        ("", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes=a-b", None),
        ("bytes=1-2,4-5", None),
        ("bytes=１-２", None),
        ("octets=1-2", None),
        ("bytes=1-" + "9" * 5000, None),
        ("bytes=1.5-2", None),
    ],
)
def test_a_range_is_one_part_or_all(given: str, expected: tuple[int, int] | None) -> None:
    request = make_mocked_request("GET", "/", headers={"Range": given})
    assert byte_range(request, DIGEST, 100) == expected


@pytest.mark.parametrize("given", ["bytes=100-", "bytes=100-200", "bytes=5-4", "bytes=-0"])
def test_a_range_beyond_the_blob_is_refused_with_its_size(given: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Range": given})
    with pytest.raises(Refusal) as caught:
        byte_range(request, DIGEST, 100)
    assert caught.value.status == 416
    assert caught.value.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [(f'"{DIGEST}"', (1, 3)), (f'"{OTHER}"', None), (f'W/"{DIGEST}"', None), ("yesterday", None)],
)
def test_a_range_of_other_content_is_passed_over(
    condition: str, expected: tuple[int, int] | None
) -> None:
    headers = {"Range": "bytes=1-2", "If-Range": condition}
    request = make_mocked_request("GET", "/", headers=headers)
    assert byte_range(request, DIGEST, 100) == expected


@given(st.text(max_size=30), st.integers(0, 50))
def test_no_range_ever_leaves_the_blob(text: str, size: int) -> None:
    request = make_mocked_request("GET", "/", headers={"Range": f"bytes={text}"})
    try:
        part = byte_range(request, DIGEST, size)
    except Refusal:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f'"{DIGEST}"', True),
        (f'W/"{DIGEST}"', True),
        (f'"{OTHER}", "{DIGEST}"', True),
        (f'W/"{OTHER}",W/"{DIGEST}"', True),
        ("*", True),
        (f'"{OTHER}"', False),
        (DIGEST, False),
        ("", False),
    ],
)
def test_a_client_names_what_it_has(given: str, expected: bool) -> None:
    request = make_mocked_request("GET", "/", headers={"If-None-Match": given})
    assert matches(request, DIGEST) is expected


def test_a_client_that_has_nothing_says_nothing() -> None:
    assert not matches(make_mocked_request("GET", "/"), DIGEST)


@pytest.mark.parametrize(
    ("given", "length", "expected"),
    [
        (None, "5", True),
        ("100-104", "5", True),
        ("bytes 100-104/200", "5", True),
        ("bytes 100-104/*", "5", True),
        ("100-104", None, True),
        # Out of order, or no range at all: where the upload goes on is told.
        ("99-103", "5", False),
        ("101-105", "5", False),
        ("0-4", "5", False),
        ("100-99", "0", False),
        ("104-100", "5", False),
        ("100", "5", False),
        ("100-", "5", False),
        ("-104", "5", False),
        ("１００-104", "5", False),
        ("100-" + "9" * 5000, "5", False),
        ("100-104 ", "5", False),
        ("", "5", False),
    ],
)
def test_a_chunk_follows_on_the_last(given: str | None, length: str | None, expected: bool) -> None:
    headers = {}
    if given is not None:
        headers["Content-Range"] = given
    if length is not None:
        headers["Content-Length"] = length
    assert chunk_range(make_mocked_request("PATCH", "/", headers=headers), 100) is expected


@pytest.mark.parametrize("length", ["4", "6", "0"])
def test_a_chunk_is_as_long_as_its_range(length: str) -> None:
    headers = {"Content-Range": "100-104", "Content-Length": length}
    with pytest.raises(Refusal) as caught:
        chunk_range(make_mocked_request("PATCH", "/", headers=headers), 100)
    assert (caught.value.status, caught.value.errors[0]["code"]) == (400, "SIZE_INVALID")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (MAX_PAGE, "")),
        ("?n=0", (0, "")),
        ("?n=3&last=v1.0", (3, "v1.0")),
        ("?n=1000000", (MAX_PAGE, "")),
        ("?last=a%2Fb", (MAX_PAGE, "a/b")),
    ],
)
def test_a_page_has_a_size_and_a_place(query: str, expected: tuple[int, str]) -> None:
    assert page(make_mocked_request("GET", f"/{query}")) == expected


@pytest.mark.parametrize("n", ["-1", "x", "", "1.5", "%C2%B2", "%EF%BC%91", "9" * 5000, "1%0A"])
def test_a_page_without_a_number_is_refused(n: str) -> None:
    with pytest.raises(Refusal) as caught:
        page(make_mocked_request("GET", f"/?n={n}"))
    assert caught.value.status == 400


def test_the_next_page_is_a_link_whose_parameters_are_quoted() -> None:
    assert next_page("/v2/a/tags/list", n=2, last="a/b c&d") == {
        "Link": '</v2/a/tags/list?n=2&last=a/b%20c%26d>; rel="next"'
    }
