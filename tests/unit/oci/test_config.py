from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    Digest,
    FormatError,
    HistoryEntry,
    ImageConfig,
    Platform,
    parse_config,
    parse_rfc3339,
)


def config(**members: object) -> ImageConfig:
    return parse_config(json.dumps(members).encode())


def test_everything_is_read() -> None:
    layer = Digest.of(b"x")
    found = config(
        created="2024-05-06T07:08:09.123456789+02:00",
        author="me",
        os="linux",
        architecture="arm64",
        variant="v8",
        config={"Env": ["A=b"], "Labels": {"k": "v", "empty": None}},
        rootfs={"type": "layers", "diff_ids": [layer]},
        history=[{"created_by": "RUN x", "created": None}, {"empty_layer": True, "comment": "c"}],
    )
    assert found.created == datetime(2024, 5, 6, 5, 8, 9, 123456, UTC)
    assert found.platform == Platform("linux", "arm64", "v8")
    assert found.labels == {"k": "v", "empty": ""}
    assert found.config["Env"] == ["A=b"]
    assert found.diff_ids == (layer,)
    assert found.history == (
        HistoryEntry(created_by="RUN x"),
        HistoryEntry(empty_layer=True, comment="c"),
    )
    assert found.author == "me"


def test_null_and_absent_are_empty() -> None:
    keys = ("created", "author", "os", "architecture", "config", "rootfs", "history", "variant")
    empty = ImageConfig(None, Platform("", ""), ())
    assert config() == config(**dict.fromkeys(keys)) == empty
    assert config(config={"Labels": None}, rootfs={"type": "layers", "diff_ids": None}).labels == {}
    assert config(created="").created is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"])
def test_zero_time_is_none(text: str) -> None:
    assert config(created=text, history=[{"created": text}]).created is None
    assert config(history=[{"created": text}]).history[0].created is None


@pytest.mark.parametrize(
    "members",
    [
        {"created": 1},
        {"created": "yesterday"},
        {"created": "0001-01-01T00:00:00+01:00"},
        {"os": 1},
        {"config": []},
        {"config": {"Labels": []}},
        {"config": {"Labels": {"a": 1}}},
        {"rootfs": []},
        {"rootfs": {"type": "other"}},
        {"rootfs": {"diff_ids": "x"}},
        {"rootfs": {"diff_ids": [1]}},
        {"rootfs": {"diff_ids": ["sha256:x"]}},
        {"rootfs": {"diff_ids": ["md5:" + "0" * 32]}},
        {"rootfs": {"diff_ids": [Digest.of(b"")] * 5000}},
        {"history": {}},
        {"history": [None]},
        {"history": [{"empty_layer": 1}]},
        {"history": [{"created": "x"}]},
        {"author": {}},
    ],
)
def test_refuses(members: dict[str, object]) -> None:
    with pytest.raises(FormatError) as caught:
        config(**members)
    assert caught.value.reason == "CONFIG_INVALID"


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"null", b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b" " * (MAX_CONFIG_BYTES + 1)],
)
def test_refuses_bytes(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_config(data)
    assert caught.value.reason == "CONFIG_INVALID"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29t00:00:00.5z", datetime(2024, 2, 29, 0, 0, 0, 500000, UTC)),
        ("2024-01-01T00:00:00.9999999Z", datetime(2024, 1, 1, 0, 0, 0, 999999, UTC)),
        ("2024-01-01T00:30:00-01:30", datetime(2024, 1, 1, 2, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert parse_rfc3339(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00Z\n",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00,5Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T00:00:00+24:00",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٤-01-01T00:00:00Z",
    ],
)
def test_bad_times(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_rfc3339(text)
    assert caught.value.reason == "CONFIG_INVALID"


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_round_trip(when: datetime) -> None:
    assert parse_rfc3339(when.isoformat()) == when


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z"))
def test_any_text(text: str) -> None:
    try:
        assert parse_rfc3339(text).tzinfo is UTC
    except FormatError:
        pass


KEYS = st.sampled_from(["created", "os", "config", "rootfs", "history", "Labels", "diff_ids"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(data: bytes) -> None:
    reason = "CONFIG_INVALID"
    try:
        parse_config(data)
    except FormatError as error:
        reason = error.reason
    assert reason == "CONFIG_INVALID"
