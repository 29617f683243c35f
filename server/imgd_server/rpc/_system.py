"""SystemService."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import platform
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc.aio

from imgd.v1 import errors_pb2, system_pb2, system_service_pb2, system_service_pb2_grpc
from imgd_server import __version__
from imgd_server.content import ContentStore
from imgd_server.images import (
    FILTER_KEYS,
    MAX_INDEX_DEPTH,
    MAX_MANIFESTS,
    Housekeeper,
    Usage,
    check_store,
    usage_of,
)
from imgd_server.metadata import MetadataStore
from imgd_server.oci import MAX_MANIFEST_BYTES, Platform
from imgd_server.rootfs import SnapshotStore
from imgd_server.rpc import _convert
from imgd_server.rpc._limits import MAX_MESSAGE_BYTES, MAX_OPEN_CALLS, MIN_KEEPALIVE_SECONDS
from imgd_server.rpc._transfers import TRANSFERS
from imgd_server.transfer import TransferManager, now_us

__all__ = ["RegistryInside", "SystemServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


# How long a check that finds nothing is silent: it may read a disk for hours.
_PROGRESS_SECONDS = 1.0


class RegistryInside:
    """What the daemon tells of the registry inside; empty when it is off."""

    def __init__(self, address: str = "", host: str = "", samples: Sequence[str] = ()) -> None:
        self.address = address
        self.host = host
        self.samples = list(samples)


class SystemServicer(system_service_pb2_grpc.SystemServiceServicer):
    """The daemon itself. `methods` are those that it implements, each `Service/Method`, sorted."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        manager: TransferManager,
        housekeeper: Housekeeper,
        inside: RegistryInside,
        snapshots: SnapshotStore | None = None,
    ) -> None:
        self.methods: Sequence[str] = ()
        self._snapshots = snapshots
        self._metadata = metadata
        self._content = content
        self._manager = manager
        self._housekeeper = housekeeper
        self._inside = inside
        self._commit = _commit()
        self._started = now_us()

    async def GetCapabilities(
        self, request: system_service_pb2.GetCapabilitiesRequest, context: Context
    ) -> system_service_pb2.GetCapabilitiesResponse:
        """Returns what is implemented."""
        config = self._manager.config
        capabilities = system_pb2.Capabilities(
            methods=self.methods,
            image_filters=FILTER_KEYS,
            transfers=TRANSFERS,
            snapshotter=self._snapshots.kind if self._snapshots else "",
            limits=system_pb2.Limits(
                max_message_bytes=MAX_MESSAGE_BYTES,
                max_manifest_bytes=MAX_MANIFEST_BYTES,
                max_index_depth=MAX_INDEX_DEPTH,
                max_manifests=MAX_MANIFESTS,
                min_watch_interval=_convert.duration(config.min_watch_interval),
                heartbeat_interval=_convert.duration(config.heartbeat),
                min_keepalive_interval=_convert.duration(MIN_KEEPALIVE_SECONDS),
                transfer_retention=_convert.duration(config.retention),
                max_running_transfers=config.max_running,
                max_concurrent_blobs=config.max_concurrent_blobs,
                max_pending_transfers=config.max_pending,
                max_open_calls=MAX_OPEN_CALLS,
                max_bytes_per_second=config.max_bytes_per_second,
            ),
        )
        return system_service_pb2.GetCapabilitiesResponse(capabilities=capabilities)

    async def GetInfo(
        self, request: system_service_pb2.GetInfoRequest, context: Context
    ) -> system_service_pb2.GetInfoResponse:
        """Returns the daemon's state."""
        count = await self._metadata.read(lambda session: session.count_images())
        free = await asyncio.to_thread(self._content.free_bytes)
        return system_service_pb2.GetInfoResponse(
            info=system_pb2.SystemInfo(
                version=__version__,
                commit=self._commit,
                api_versions=["imgd.v1"],
                runtime_version=f"{platform.python_implementation()} {platform.python_version()}",
                default_platform=_convert.platform(Platform.host()),
                start_time=_convert.timestamp(self._started),
                image_count=count,
                running_transfer_count=self._manager.running,
                registry_inside=system_pb2.RegistryInside(
                    address=self._inside.address,
                    host=self._inside.host,
                    samples=self._inside.samples,
                ),
                disk_free_bytes=free,
            )
        )

    async def GetDiskUsage(
        self, request: system_service_pb2.GetDiskUsageRequest, context: Context
    ) -> system_service_pb2.GetDiskUsageResponse:
        """Returns the space used."""
        found = await usage_of(
            self._metadata,
            self._content,
            now_us(),
            self._housekeeper.snapshots,
            self._housekeeper.indexes,
        )
        return system_service_pb2.GetDiskUsageResponse(
            images=_usage(found.images),
            containers=_usage(found.containers),
            blobs=_usage(found.blobs),
            snapshots=_usage(found.snapshots),
            partials=_usage(found.partials),
            indexes=_usage(found.indexes),
        )

    async def CollectGarbage(
        self, request: system_service_pb2.CollectGarbageRequest, context: Context
    ) -> system_service_pb2.CollectGarbageResponse:
        """Frees what nothing refers to."""
        report = await self._housekeeper.collect(dry_run=request.dry_run)
        return system_service_pb2.CollectGarbageResponse(
            report=system_pb2.CollectionReport(
                start_time=_convert.timestamp(report.started),
                duration=_convert.duration((report.ended - report.started) / 1e6),
                examined_blobs=report.examined_blobs,
                deleted_blobs=report.deleted_blobs,
                deleted_snapshots=report.deleted_snapshots,
                deleted_partials=report.deleted_partials,
                freed_bytes=report.freed_bytes,
            )
        )

    async def CheckStore(
        self, request: system_service_pb2.CheckStoreRequest, context: Context
    ) -> AsyncIterator[system_service_pb2.CheckStoreResponse]:
        """Streams what a check finds."""
        checked, told = 0, time.monotonic()
        async for checked, problems in check_store(
            self._metadata,
            self._content,
            verify_content=request.verify_content,
            repair=request.repair,
            snapshots=self._snapshots,
        ):
            if problems or time.monotonic() >= told + _PROGRESS_SECONDS:
                yield system_service_pb2.CheckStoreResponse(
                    checked_blobs=checked,
                    problems=[
                        system_pb2.StoreProblem(
                            reason=errors_pb2.ErrorReason.Value(f"ERROR_REASON_{one.reason.name}"),
                            subject=one.subject,
                            message=one.message,
                            repaired=one.repaired,
                        )
                        for one in problems
                    ],
                )
                told = time.monotonic()
        yield system_service_pb2.CheckStoreResponse(checked_blobs=checked, total_blobs=checked)


def _usage(value: Usage) -> system_pb2.DiskUsage:
    return system_pb2.DiskUsage(
        count=value.count,
        active_count=value.active,
        total_bytes=value.total,
        reclaimable_bytes=value.reclaimable,
    )


def _commit() -> str:
    """The commit that the installed package was built from, as its installer recorded it (PEP 610);
    empty where it was not built from a repository."""
    try:
        origin = importlib.metadata.distribution("imgd").read_text("direct_url.json")
        commit = json.loads(origin or "{}").get("vcs_info", {}).get("commit_id", "")
    except (importlib.metadata.PackageNotFoundError, ValueError, AttributeError):
        return ""
    return commit if isinstance(commit, str) else ""
