"""The Python client's conformance executable; see protos/imgd/conformance/v1/client.proto.

It uses the synchronous client.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

sys.path.insert(0, str(Path(__file__).parent))

from google.protobuf.duration_pb2 import Duration
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed

import imgd_client
from imgd.conformance.v1 import client_pb2 as pb
from imgd.v1.system_service_pb2 import GetInfoResponse
from imgd_client import Client, ImgdError, Tls

_CHUNK = 256 << 10
_CLASSES: list[tuple[type[Exception], str]] = [
    (imgd_client.TransferFailed, "TRANSFER_FAILED"),
    (imgd_client.InUse, "IN_USE"),
    (imgd_client.FailedPrecondition, "FAILED_PRECONDITION"),
    (imgd_client.Cancelled, "CANCELLED"),
    (imgd_client.InvalidArgument, "INVALID_ARGUMENT"),
    (imgd_client.DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (imgd_client.NotFound, "NOT_FOUND"),
    (imgd_client.AlreadyExists, "ALREADY_EXISTS"),
    (imgd_client.PermissionDenied, "PERMISSION_DENIED"),
    (imgd_client.ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (imgd_client.Aborted, "ABORTED"),
    (imgd_client.OutOfRange, "OUT_OF_RANGE"),
    (imgd_client.Unimplemented, "UNIMPLEMENTED"),
    (imgd_client.Internal, "INTERNAL"),
    (imgd_client.Unavailable, "UNAVAILABLE"),
    (imgd_client.DataLoss, "DATA_LOSS"),
    (imgd_client.Unauthenticated, "UNAUTHENTICATED"),
    (ImgdError, "INTERNAL"),
    (ValueError, "USAGE"),
]


class _LeftError(Exception):
    """What a program raises to leave a scope."""


def error(found: Exception) -> pb.Error:
    """An error as the wrapper gave it. What it has no class for is raised again."""
    name = next((name for kind, name in _CLASSES if isinstance(found, kind)), None)
    if name is None:
        raise found
    said = pb.Error(error_class=pb.ErrorClass.Value(f"ERROR_CLASS_{name}"), message=str(found))
    if isinstance(found, ImgdError):
        said.reason = found.reason
        said.message = found.message
        said.metadata.update(found.metadata)
        said.fields.extend(one.field for one in found.field_violations)
        said.holders.extend(one.subject for one in found.preconditions)
        if found.resource:
            said.resource = f"{found.resource.type}/{found.resource.name}"
        if found.retry_delay is not None:
            said.retry_delay.FromNanoseconds(round(found.retry_delay * 1e9))
    return said


def connect(connection: pb.Connection) -> Client:
    """A client as the request wants it."""
    options: dict[str, Any] = {"token": connection.token}
    if connection.HasField("tls"):
        tls = connection.tls
        options["tls"] = Tls(
            ca=tls.ca_pem.encode() or None,
            certificate=tls.certificate_pem.encode() or None,
            key=tls.key_pem.encode() or None,
            server_name=tls.server_name,
        )
    for name in ("timeout", "patience"):
        if connection.HasField(name):
            options[name] = _seconds(getattr(connection, name))
    return Client(connection.address, **options)


def _seconds(duration: Duration) -> float:
    return float(duration.ToTimedelta().total_seconds())


class Executor:
    """Does what requests ask for, with one client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def do(self, operation: pb.Operation) -> pb.Result:
        """Does one thing. Errors of the wrapper are results."""
        arm = operation.WhichOneof("operation")
        handler: Callable[[Any], pb.Result] | None = getattr(self, f"_{arm}", None)
        if arm is None or handler is None:
            return pb.Result(unsupported=pb.Result.Unsupported())
        try:
            return handler(getattr(operation, arm))
        except (ImgdError, ValueError) as found:
            return pb.Result(error=error(found))

    # --- transfers ---------------------------------------------------------------------------

    def _pull(self, wanted: pb.PullOperation) -> pb.Result:
        request = wanted.request
        options: dict[str, Any] = {}
        if request.HasField("platforms"):
            options["platforms"] = request.platforms.platforms
            options["all_platforms"] = request.platforms.all
        for name in ("credentials", "lease", "limits"):
            if request.HasField(name):
                options[name] = getattr(request, name)
        stream = self._client.pull(
            request.reference,
            detach=request.detach,
            policy=request.policy,
            unpack=request.unpack,
            request_id=request.request_id,
            **options,
        )
        return self._follow(stream, wanted.leave)

    def _push(self, wanted: pb.PushOperation) -> pb.Result:
        request = wanted.request
        stream = self._client.transfers.push(
            request.image, request.reference, detach=request.detach, all_tags=request.all_tags
        )
        return self._follow(stream, wanted.leave)

    def _watch(self, wanted: pb.WatchOperation) -> pb.Result:
        return self._follow(self._client.watch(wanted.transfer), wanted.leave)

    def _follow(self, stream: Any, leave: pb.Leave) -> pb.Result:
        seen = pb.StreamResult(rising=True)
        last = 0
        with stream:
            try:
                for event in stream:
                    seen.events += 1
                    seen.rising = seen.rising and event.sequence > last
                    last = event.sequence
                    seen.snapshots += event.HasField("snapshot")
                    if event.HasField("finished"):
                        seen.finished += 1
                        seen.transfer.CopyFrom(event.finished.transfer)
                    if seen.events == leave.after_messages:
                        break
                    if seen.events == leave.cancel_after_messages:
                        threading.Thread(target=stream.close).start()
                else:
                    if seen.finished:
                        stream.result()
            except ImgdError as found:
                seen.error.CopyFrom(error(found))
        return pb.Result(stream=seen)

    # --- images ------------------------------------------------------------------------------

    def _list_images(self, wanted: pb.ListOperation) -> pb.Result:
        request = wanted.request
        found = self._client.images.list(filters=request.filters, page_size=request.page_size)
        return pb.Result(images=pb.Result.Images(images=_some(found, wanted.stop_after)))

    def _list_containers(self, wanted: pb.ListContainersOperation) -> pb.Result:
        request = wanted.request
        found = self._client.containers.list(image=request.image, page_size=request.page_size)
        return pb.Result(
            containers=pb.Result.Containers(containers=_some(found, wanted.stop_after))
        )

    def _get_image(self, request: Any) -> pb.Result:
        return pb.Result(image=self._client.images.get(request.image))

    def _inspect_image(self, request: Any) -> pb.Result:
        found = self._client.images.inspect(request.image, platform=request.platform)
        return pb.Result(inspected=found)

    def _tag_image(self, request: Any) -> pb.Result:
        expected = request.expected_digest if request.HasField("expected_digest") else None
        found = self._client.images.tag(request.image, request.tag, expected_digest=expected)
        return pb.Result(tagged=found)

    def _untag_image(self, request: Any) -> pb.Result:
        found = self._client.images.untag(
            request.reference, expected_digest=request.expected_digest
        )
        return pb.Result(image=found)

    def _remove_image(self, request: Any) -> pb.Result:
        found = self._client.images.remove(request.image, force=request.force)
        return pb.Result(removed=found)

    def _prune_images(self, request: Any) -> pb.Result:
        found = self._client.images.prune(
            all=request.all, filters=request.filters, dry_run=request.dry_run
        )
        return pb.Result(pruned=found)

    def _hold(self, wanted: pb.HoldOperation) -> pb.Result:
        said = pb.HoldResult()
        scope: AbstractContextManager[Any]
        if wanted.WhichOneof("hold") == "lease":
            lease = wanted.lease
            ttl = _seconds(lease.ttl) if lease.HasField("ttl") else 60.0
            scope = self._client.leases.hold(lease.images, lease_id=lease.lease_id, ttl=ttl)
        else:
            container = wanted.container
            scope = self._client.containers.hold(
                container.image,
                container_id=container.container_id,
                labels=dict(container.labels),
            )
        entered = False
        try:
            with scope as hold:
                entered = True
                said.name = hold.name
                said.inside.extend(self.do(operation) for operation in wanted.inside)
                if wanted.leave_by_error:
                    raise _LeftError
        except _LeftError:
            pass
        except ImgdError as found:
            if not entered:
                raise
            said.error.CopyFrom(error(found))
        return pb.Result(hold=said)

    # --- bytes -------------------------------------------------------------------------------

    def _save(self, wanted: pb.SaveOperation) -> pb.Result:
        request = wanted.request
        chunks = self._client.archives.save(
            request.images, platforms=request.platforms.platforms, form=request.format
        )
        return pb.Result(bytes=_drain(chunks, wanted.path, wanted.leave.after_messages))

    def _load(self, wanted: pb.LoadOperation) -> pb.Result:
        with open(wanted.path, "rb") as file:
            chunks = iter(lambda: file.read(_CHUNK), b"")
            if wanted.abandon_after_bytes:
                chunks = _failing(file, wanted.abandon_after_bytes)
            try:
                return pb.Result(
                    loaded=self._client.archives.load(chunks, tags=wanted.request.tags)
                )
            except _LeftError:
                return pb.Result(bytes=pb.BytesResult(size=wanted.abandon_after_bytes))

    def _list_files(self, request: Any) -> pb.Result:
        found = self._client.files.list(
            request.tree.image,
            request.path or "/",
            recursive=request.recursive,
            pattern=request.pattern,
            page_size=request.page_size,
        )
        return pb.Result(files=pb.Result.Files(paths=[one.path for one in found]))

    def _read_file(self, request: Any) -> pb.Result:
        chunks = self._client.files.read(request.tree.image, request.path)
        return pb.Result(bytes=_drain(chunks, "", 0))

    # --- the daemon --------------------------------------------------------------------------

    def _events(self, wanted: pb.EventsOperation) -> pb.Result:
        request = wanted.request
        with self._client.events(
            after_cursor=request.after_cursor, filters=request.filters
        ) as stream:
            if wanted.HasField("once_listening"):
                self.do(wanted.once_listening)
            found = list(islice(stream, wanted.count))
        return pb.Result(events=pb.Result.Events(events=found))

    def _get_info(self, _: Any) -> pb.Result:
        return pb.Result(info=GetInfoResponse(info=self._client.system.info()))


def _some(items: Iterable[Any], count: int) -> list[Any]:
    return list(islice(items, count or None))


def _drain(chunks: Iterator[bytes], path: str, count: int) -> pb.BytesResult:
    """Reads bytes, all of them or so many chunks, into a file or nowhere."""
    hashed = hashlib.sha256()
    found = pb.BytesResult()
    with open(path or os.devnull, "wb") as file:
        for chunk in islice(chunks, count or None):
            hashed.update(chunk)
            found.size += len(chunk)
            file.write(chunk)
    found.sha256 = hashed.hexdigest()
    return found


def _failing(file: BinaryIO, after: int) -> Iterator[bytes]:
    """A source that fails after so many bytes."""
    while after > 0:
        chunk = file.read(min(_CHUNK, after))
        after -= len(chunk)
        yield chunk
    raise _LeftError


def respond(request: pb.ClientRequest) -> pb.ClientResponse:
    """Does what a request asks for."""
    response = pb.ClientResponse(case_name=request.case_name)
    try:
        with connect(request.connection) as client:
            response.result.CopyFrom(Executor(client).do(request.operation))
    except (ImgdError, ValueError) as found:
        response.result.error.CopyFrom(error(found))
    except Exception as found:  # noqa: BLE001 - the runner reports it
        response.result.broken = repr(found)
    return response


def main() -> None:
    """Answers requests until the input ends."""
    # Any readable and writable bytes do; the types of both functions say BytesIO.
    source: Any = sys.stdin.buffer
    sink: Any = sys.stdout.buffer
    while (request := parse_length_prefixed(pb.ClientRequest, source)) is not None:
        serialize_length_prefixed(respond(request), sink)
        sink.flush()


if __name__ == "__main__":
    main()
