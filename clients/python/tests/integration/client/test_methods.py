"""Each method asks what it is told to ask, and answers what it is told, in both clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf.message import Message

from imgd.v1 import image_pb2, transfer_pb2
from imgd.v1 import image_service_pb2 as images_pb2
from imgd.v1 import system_service_pb2 as system_pb2
from imgd.v1 import transfer_service_pb2 as transfers_pb2
from imgd.v1.system_pb2 import Capabilities, SystemInfo
from tests.scripted import NAME, Face, ScriptedDaemon

_IMAGE = image_pb2.Image(name="images/A", image_id="sha256:abc")
_TRANSFER = transfer_pb2.Transfer(name=NAME, state=transfer_pb2.TRANSFER_STATE_RUNNING)
_SECRET = transfer_pb2.RegistryCredentials(registry_token="secret")
_FULL = image_pb2.IMAGE_VIEW_FULL


class _Case(NamedTuple):
    call: Callable[[Any], Any]
    request: Message
    answer: Message
    returns: Any = "answer"
    """What the method returns, where it is not the whole answer."""

    @property
    def method(self) -> str:
        """The RPC's name."""
        return type(self.request).__name__.removesuffix("Request")


_CASES = [
    _Case(
        lambda client: client.images.get("redis", view=_FULL),
        images_pb2.GetImageRequest(image="redis", view=_FULL),
        images_pb2.GetImageResponse(image=_IMAGE),
        _IMAGE,
    ),
    _Case(
        lambda client: client.images.inspect("redis", platform="linux/arm64"),
        images_pb2.InspectImageRequest(image="redis", platform="linux/arm64"),
        images_pb2.InspectImageResponse(image=_IMAGE, author="me"),
    ),
    _Case(
        lambda client: client.images.history("redis", platform="linux/arm64"),
        images_pb2.GetImageHistoryRequest(image="redis", platform="linux/arm64"),
        images_pb2.GetImageHistoryResponse(entries=[image_pb2.HistoryEntry(comment="c")]),
        [image_pb2.HistoryEntry(comment="c")],
    ),
    _Case(
        lambda client: client.images.parse_reference("redis"),
        images_pb2.ParseReferenceRequest(text="redis"),
        images_pb2.ParseReferenceResponse(reference=image_pb2.Reference(path="library/redis")),
        image_pb2.Reference(path="library/redis"),
    ),
    _Case(
        # That the tag must not exist differs from not caring.
        lambda client: client.images.tag("redis", "mine:1", expected_digest="", request_id="r"),
        images_pb2.TagImageRequest(image="redis", tag="mine:1", expected_digest="", request_id="r"),
        images_pb2.TagImageResponse(image=_IMAGE, previous_digest="sha256:old"),
    ),
    _Case(
        lambda client: client.images.tag("redis", "mine:1"),
        images_pb2.TagImageRequest(image="redis", tag="mine:1"),
        images_pb2.TagImageResponse(image=_IMAGE),
    ),
    _Case(
        lambda client: client.images.untag("mine:1", expected_digest="sha256:x", request_id="r"),
        images_pb2.UntagImageRequest(
            reference="mine:1", expected_digest="sha256:x", request_id="r"
        ),
        images_pb2.UntagImageResponse(image=_IMAGE),
        _IMAGE,
    ),
    _Case(
        lambda client: client.images.remove("redis", force=True, request_id="r"),
        images_pb2.RemoveImageRequest(image="redis", force=True, request_id="r"),
        images_pb2.RemoveImageResponse(untagged=["redis"], freed_bytes=1),
    ),
    _Case(
        lambda client: client.images.prune(
            all=True, filters=["until=1h"], dry_run=True, request_id="r"
        ),
        images_pb2.PruneImagesRequest(all=True, filters=["until=1h"], dry_run=True, request_id="r"),
        images_pb2.PruneImagesResponse(pruned_count=1),
    ),
    _Case(
        lambda client: client.images.pin("redis"),
        images_pb2.PinImageRequest(image="redis"),
        images_pb2.PinImageResponse(image=_IMAGE),
        _IMAGE,
    ),
    _Case(
        lambda client: client.images.unpin("redis"),
        images_pb2.UnpinImageRequest(image="redis"),
        images_pb2.UnpinImageResponse(image=_IMAGE),
        _IMAGE,
    ),
    _Case(
        lambda client: client.transfers.get("T1"),
        transfers_pb2.GetTransferRequest(name=NAME),
        transfers_pb2.GetTransferResponse(transfer=_TRANSFER),
        _TRANSFER,
    ),
    _Case(
        lambda client: client.transfers.cancel("T1"),
        transfers_pb2.CancelTransferRequest(name=NAME),
        transfers_pb2.CancelTransferResponse(transfer=_TRANSFER),
        _TRANSFER,
    ),
    _Case(
        lambda client: client.transfers.resume(
            "T1", source_credentials=_SECRET, destination_credentials=_SECRET
        ),
        transfers_pb2.ResumeTransferRequest(
            name=NAME, source_credentials=_SECRET, destination_credentials=_SECRET
        ),
        transfers_pb2.ResumeTransferResponse(transfer=_TRANSFER),
        _TRANSFER,
    ),
    _Case(
        lambda client: client.transfers.resume("T1"),
        transfers_pb2.ResumeTransferRequest(name=NAME),
        transfers_pb2.ResumeTransferResponse(transfer=_TRANSFER),
        _TRANSFER,
    ),
    _Case(
        lambda client: client.transfers.delete("T1"),
        transfers_pb2.DeleteTransferRequest(name=NAME),
        transfers_pb2.DeleteTransferResponse(),
        None,
    ),
    _Case(
        lambda client: client.system.info(),
        system_pb2.GetInfoRequest(),
        system_pb2.GetInfoResponse(info=SystemInfo(version="1.2")),
        SystemInfo(version="1.2"),
    ),
    _Case(
        lambda client: client.system.capabilities(),
        system_pb2.GetCapabilitiesRequest(),
        system_pb2.GetCapabilitiesResponse(capabilities=Capabilities(snapshotter="copy")),
        Capabilities(snapshotter="copy"),
    ),
    _Case(
        lambda client: client.transfers.start_pull("redis", request_id="r"),
        transfers_pb2.StartTransferRequest(
            source=transfer_pb2.TransferSource(
                registry=transfer_pb2.RegistryEndpoint(reference="redis")
            ),
            destination=transfer_pb2.TransferDestination(store=transfer_pb2.StoreEndpoint()),
            request_id="r",
        ),
        transfers_pb2.StartTransferResponse(transfer=_TRANSFER),
        _TRANSFER,
    ),
]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.method)
async def test_asks_and_answers(
    daemon: ScriptedDaemon, connect: Callable[..., Face], case: _Case
) -> None:
    daemon.answers[case.method] = [case.answer]
    face = connect()

    returned = await face.call(case.call, face.client)

    assert daemon.requests(case.method) == [case.request]
    assert returned == (case.answer if case.returns == "answer" else case.returns)
