"""Answers that are kept as they go over the wire."""

from __future__ import annotations

from imgd.v1.image_pb2 import Image
from imgd.v1.image_service_pb2 import ListImagesRequest, ListImagesResponse
from imgd_server.rpc._encoded import EncodedAnswers, serializer


def request(text: str) -> ListImagesRequest:
    return ListImagesRequest(page_token=text)


def answer(size: int) -> bytes:
    return ListImagesResponse(images=[Image(name="x" * size)]).SerializeToString()


def test_an_answer_is_kept_for_its_request_and_version() -> None:
    kept = EncodedAnswers()
    kept.put(request("a"), 1, answer(5))
    assert kept.get(request("a"), 1) == answer(5)
    assert kept.get(request("b"), 1) is None
    assert kept.get(request("a"), 2) is None
    kept.put(request("b"), 2, answer(5))
    assert kept.get(request("a"), 1) is None
    assert kept.get(request("a"), 2) is None


def test_without_a_version_nothing_is_kept() -> None:
    kept = EncodedAnswers()
    kept.put(request("a"), None, answer(5))
    assert kept.get(request("a"), None) is None
    kept.put(request("a"), 1, answer(5))
    assert kept.get(request("a"), None) is None


def test_the_oldest_make_room() -> None:
    kept = EncodedAnswers(3500)
    for text in ("a", "b", "a", "c", "d"):
        kept.put(request(text), 1, answer(1000))
    assert [bool(kept.get(request(text), 1)) for text in "abcd"] == [True, False, True, True]
    kept.put(request("big"), 1, answer(4000))
    assert not any(kept.get(request(text), 1) for text in ("a", "c", "d", "big"))
    kept.put(request("e"), 1, answer(1000))
    assert kept.get(request("e"), 1)


def test_what_is_encoded_passes_the_serializer() -> None:
    encode = serializer(ListImagesResponse.SerializeToString)
    assert encode(answer(3)) == encode(ListImagesResponse.FromString(answer(3))) == answer(3)
    # gRPC takes nothing but bytes themselves.
    assert type(encode(answer(3))) is bytes
