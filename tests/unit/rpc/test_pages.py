from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from google.protobuf import wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import FieldError, Reason
from imgd_server.rpc._limits import MAX_ANSWER_BYTES
from imgd_server.rpc._pages import decode_token, encode_token, fitting, page_size

QUERY = ["ListImages", ["dangling=true"]]
INTEGERS = st.integers(-(2**63), 2**63 - 1)


def refused(query: object, token: str, kinds: tuple[type, ...] = (int, str)) -> None:
    with pytest.raises(FieldError) as caught:
        decode_token(query, token, kinds)
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID
    assert caught.value.field == "page_token"
    assert len(caught.value.message) < 200


def forged(payload: bytes, query: object = QUERY) -> str:
    """A token with the right checksum: it is no secret how to make one."""
    text = json.dumps(query, sort_keys=True).encode()
    checksum = hashlib.blake2b(text + b"\0" + payload, digest_size=8).digest()
    return base64.urlsafe_b64encode(checksum + payload).decode().rstrip("=")


@given(INTEGERS, st.text())
def test_a_position_survives(number: int, text: str) -> None:
    token = encode_token(QUERY, [number, text])
    assert decode_token(QUERY, token, (int, str)) == (number, text)
    # Fit for a URL and a command line.
    assert token.isascii()
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(INTEGERS, st.integers(0, 200), st.integers(1, 255))
def test_a_changed_token_is_refused_or_means_the_same(number: int, place: int, change: int) -> None:
    token = encode_token(QUERY, [number, "U"])
    raw = bytearray(token.encode())
    raw[place % len(raw)] ^= change
    changed = raw.decode("latin-1")
    try:
        position = decode_token(QUERY, changed, (int, str))
    except FieldError as error:
        reason = error.reason
    else:
        # Only spelling differs: base64 has unused bits at the end.
        assert position == (number, "U")
        return
    assert reason is Reason.PAGE_TOKEN_INVALID


@given(st.text(max_size=60))
def test_anything_else_is_refused(token: str) -> None:
    refused(QUERY, token)


@pytest.mark.parametrize(
    "query",
    [
        ["ListTransfers", ["dangling=true"]],
        ["ListImages", []],
        ["ListImages", ["dangling=false"]],
        ["ListImages", ["dangling=true", "dangling=true"]],
    ],
)
def test_a_token_of_another_query_is_refused(query: object) -> None:
    refused(query, encode_token(QUERY, [1, "U"]))


def test_the_forgery_is_a_real_one() -> None:
    assert decode_token(QUERY, forged(b'[1,"U"]'), (int, str)) == (1, "U")


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b"{}",
        b"null",
        b'"U"',
        b"[1]",
        b'["U",1]',
        b'[1,"U",2]',
        b'[1.5,"U"]',
        b'[true,"U"]',
        b'[1,["U"]]',
        b'[9223372036854775808,"U"]',
        b'[-9223372036854775809,"U"]',
        b'[NaN,"U"]',
        b"[" * 700,
        b"\xff\xfe",
        b"",
    ],
)
def test_a_forged_position_does_not_reach_the_database(payload: bytes) -> None:
    refused(QUERY, forged(payload))


@pytest.mark.parametrize(
    ("asked", "size"), [(0, 100), (1, 1), (100, 100), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_page_size(asked: int, size: int) -> None:
    assert page_size(asked) == size


def test_a_page_holds_what_fits_and_one_at_least() -> None:
    def messages(*sizes: int) -> Any:
        return [wrappers_pb2.BytesValue(value=b"x" * size) for size in sizes]

    third = MAX_ANSWER_BYTES // 3
    assert len(fitting(messages(third - 100, third - 100, third - 100))) == 3
    assert len(fitting(messages(third, third, third, 1))) == 2
    assert len(fitting(messages(MAX_ANSWER_BYTES * 2, 1))) == 1
    assert fitting([]) == []
