from __future__ import annotations

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.oci import Digest, FormatError


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_round_trip(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()
    assert digest.algorithm == algorithm
    assert Digest.parse(digest) == digest == str(digest)
    assert type(pickle.loads(pickle.dumps(digest))) is Digest
    hasher = digest.hasher()
    hasher.update(data)
    assert hasher.hexdigest() == digest.hex


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "DIGEST_INVALID"),
        ("sha256", "DIGEST_INVALID"),
        ("sha256:", "DIGEST_INVALID"),
        (":" + "0" * 64, "DIGEST_INVALID"),
        ("sha256:" + "0" * 63, "DIGEST_INVALID"),
        ("sha256:" + "0" * 65, "DIGEST_INVALID"),
        ("sha256:" + "0" * 64 + "\n", "DIGEST_INVALID"),
        ("sha256:" + "٣" * 64, "DIGEST_INVALID"),
        ("sha256:" + "g" * 64, "DIGEST_INVALID"),
        ("sha256:" + "F" * 64, "DIGEST_INVALID"),
        ("SHA256:" + "0" * 64, "DIGEST_INVALID"),
        ("sha256 :" + "0" * 64, "DIGEST_INVALID"),
        ("sha512:" + "0" * 64, "DIGEST_INVALID"),
        ("sha1:" + "0" * 40, "DIGEST_UNSUPPORTED"),
        ("blake3:" + "0" * 64, "DIGEST_UNSUPPORTED"),
        ("multihash+base58:QmRZ", "DIGEST_UNSUPPORTED"),
    ],
)
def test_refuses(text: str, reason: str) -> None:
    with pytest.raises(FormatError) as caught:
        Digest.parse(text)
    assert caught.value.reason == reason


def test_unsupported_algorithm_is_named() -> None:
    with pytest.raises(FormatError, match="'md5'"):
        Digest.of(b"", "md5")


@given(st.text())
def test_any_text(text: str) -> None:
    with pytest.raises(FormatError):
        Digest(text)


def test_errors_survive_pickling() -> None:
    error = FormatError("DIGEST_INVALID", "no", "x" * 500)
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, str(again), again.subject) == ("DIGEST_INVALID", "no", "x" * 200)
