"""Each method asks what it is told to ask, and answers what it is told, in both clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from imgd.v1 import container_pb2, image_pb2, lease_pb2, transfer_pb2
from imgd.v1 import container_service_pb2 as containers_pb2
from imgd.v1 import filesystem_service_pb2 as files_pb2
from imgd.v1 import image_service_pb2 as images_pb2
from imgd.v1 import lease_service_pb2 as leases_pb2
from imgd.v1 import system_service_pb2 as system_pb2
from imgd.v1 import transfer_service_pb2 as transfers_pb2
from imgd.v1.system_pb2 import Capabilities, CollectionReport, DiskUsage, SystemInfo
from tests.scripted import NAME, Face, ScriptedDaemon, lost

_IMAGE = image_pb2.Image(name="images/A", image_id="sha256:abc")
_CONTAINER = container_pb2.Container(name="containers/web", image="images/A")
_LEASE = lease_pb2.Lease(name="leases/mine", images=["images/A"])
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
        lambda client: client.files.mount(
            "redis", "/run/pods/a", platform="linux/arm64", lease_id="mine", ttl=1.5
        ),
        files_pb2.MountImageRequest(
            image="redis",
            target_path="/run/pods/a",
            platform="linux/arm64",
            lease_id="mine",
            ttl=Duration(seconds=1, nanos=500_000_000),
        ),
        files_pb2.MountImageResponse(lease="leases/mine"),
    ),
    _Case(
        # That nothing is said of the time differs from none.
        lambda client: client.files.mount("redis"),
        files_pb2.MountImageRequest(image="redis"),
        files_pb2.MountImageResponse(lease="leases/a", mounts=[container_pb2.Mount(source="s")]),
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
        lambda client: client.containers.create(
            "redis",
            container_id="web",
            labels={"a": "b"},
            platform="linux/arm64",
            heartbeat=1.5,
            request_id="r",
        ),
        containers_pb2.CreateContainerRequest(
            image="redis",
            container_id="web",
            labels={"a": "b"},
            platform="linux/arm64",
            heartbeat_interval=Duration(seconds=1, nanos=500_000_000),
            request_id="r",
        ),
        containers_pb2.CreateContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        lambda client: client.containers.get("web"),
        containers_pb2.GetContainerRequest(name="containers/web"),
        containers_pb2.GetContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        lambda client: client.containers.start("web"),
        containers_pb2.StartContainerRequest(name="containers/web"),
        containers_pb2.StartContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        lambda client: client.containers.pause("containers/web"),
        containers_pb2.PauseContainerRequest(name="containers/web"),
        containers_pb2.PauseContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        lambda client: client.containers.unpause("web"),
        containers_pb2.PauseContainerRequest(name="containers/web", resume=True),
        containers_pb2.PauseContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        # That it ended with 0 differs from not knowing.
        lambda client: client.containers.stop("web", exit_status=0),
        containers_pb2.StopContainerRequest(name="containers/web", exit_status=0),
        containers_pb2.StopContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        lambda client: client.containers.stop("web"),
        containers_pb2.StopContainerRequest(name="containers/web"),
        containers_pb2.StopContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        lambda client: client.containers.heartbeat("web"),
        containers_pb2.HeartbeatContainerRequest(name="containers/web"),
        containers_pb2.HeartbeatContainerResponse(container=_CONTAINER),
        _CONTAINER,
    ),
    _Case(
        lambda client: client.containers.remove("web", force=True),
        containers_pb2.RemoveContainerRequest(name="containers/web", force=True),
        containers_pb2.RemoveContainerResponse(),
        None,
    ),
    _Case(
        lambda client: client.leases.create(
            ["redis"],
            digests=["sha256:x"],
            lease_id="mine",
            ttl=90,
            labels={"a": "b"},
            request_id="r",
        ),
        leases_pb2.CreateLeaseRequest(
            images=["redis"],
            digests=["sha256:x"],
            lease_id="mine",
            ttl=Duration(seconds=90),
            labels={"a": "b"},
            request_id="r",
        ),
        leases_pb2.CreateLeaseResponse(lease=_LEASE),
        _LEASE,
    ),
    _Case(
        lambda client: client.leases.get("mine"),
        leases_pb2.GetLeaseRequest(name="leases/mine"),
        leases_pb2.GetLeaseResponse(lease=_LEASE),
        _LEASE,
    ),
    _Case(
        lambda client: client.leases.renew("leases/mine", ttl=5),
        leases_pb2.RenewLeaseRequest(name="leases/mine", ttl=Duration(seconds=5)),
        leases_pb2.RenewLeaseResponse(lease=_LEASE),
        _LEASE,
    ),
    _Case(
        lambda client: client.leases.renew("mine"),
        leases_pb2.RenewLeaseRequest(name="leases/mine"),
        leases_pb2.RenewLeaseResponse(lease=_LEASE),
        _LEASE,
    ),
    _Case(
        lambda client: client.leases.delete("mine"),
        leases_pb2.DeleteLeaseRequest(name="leases/mine"),
        leases_pb2.DeleteLeaseResponse(),
        None,
    ),
    _Case(
        lambda client: client.system.disk_usage(),
        system_pb2.GetDiskUsageRequest(),
        system_pb2.GetDiskUsageResponse(images=DiskUsage(count=3)),
    ),
    _Case(
        lambda client: client.system.collect(dry_run=True),
        system_pb2.CollectGarbageRequest(dry_run=True),
        system_pb2.CollectGarbageResponse(report=CollectionReport(freed_bytes=7)),
        CollectionReport(freed_bytes=7),
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


async def test_lists_come_page_by_page(
    daemon: ScriptedDaemon, connect: Callable[..., Face]
) -> None:
    daemon.answers["ListContainers"] = [
        containers_pb2.ListContainersResponse(containers=[_CONTAINER], next_page_token="next"),
        containers_pb2.ListContainersResponse(containers=[container_pb2.Container(name="b")]),
    ]
    daemon.answers["ListLeases"] = [
        leases_pb2.ListLeasesResponse(leases=[_LEASE], next_page_token="next"),
        leases_pb2.ListLeasesResponse(leases=[lease_pb2.Lease(name="b")]),
    ]
    face = connect()
    running = container_pb2.CONTAINER_STATE_RUNNING

    containers = await face.rest(
        face.client.containers.list(image="redis", states=[running], labels=["a=b"], page_size=1)
    )
    leases = await face.rest(face.client.leases.list(page_size=1))

    assert [one.name for one in containers] == ["containers/web", "b"]
    assert [one.name for one in leases] == ["leases/mine", "b"]
    first = containers_pb2.ListContainersRequest(
        image="redis", states=[running], labels=["a=b"], page_size=1
    )
    assert daemon.requests("ListContainers")[0] == first
    first.page_token = "next"
    assert daemon.requests("ListContainers")[1] == first
    assert [one.page_token for one in daemon.requests("ListLeases")] == ["", "next"]
    assert {one.page_size for one in daemon.requests("ListLeases")} == {1}


async def test_what_creates_is_safe_to_send_twice(
    daemon: ScriptedDaemon, connect: Callable[..., Face]
) -> None:
    daemon.answers["CreateLease"] = [lost(), leases_pb2.CreateLeaseResponse(lease=_LEASE)]
    daemon.answers["CreateContainer"] = [
        lost(),
        containers_pb2.CreateContainerResponse(container=_CONTAINER),
    ]
    face = connect()

    await face.call(face.client.leases.create, ["redis"])
    await face.call(face.client.containers.create, "redis")

    for method in ("CreateLease", "CreateContainer"):
        first, second = daemon.requests(method)
        assert first == second
        assert first.request_id


async def test_a_string_is_no_list_of_images(connect: Callable[..., Face]) -> None:
    face = connect()

    with pytest.raises(TypeError, match=r"\['redis'\]"):
        await face.call(face.client.leases.create, "redis")
    with pytest.raises(TypeError, match="filters is a list"):
        face.client.events(filters="type=image")
