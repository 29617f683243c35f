"""The daemon put together: which store, which registry client, which server, in which order."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from imgd_server.config import Config
from imgd_server.content import LocalContentStore
from imgd_server.distribution import RegistryServer, open_samples
from imgd_server.errors import Error, Reason
from imgd_server.images import check_store
from imgd_server.metadata import SqliteMetadataStore
from imgd_server.registry import HttpRegistryClient, RegistryConfig
from imgd_server.rpc import GrpcServer, RegistryInside
from imgd_server.transfer import TransferConfig, TransferManager

__all__ = ["check", "configure_logs", "lock_root", "serve"]

_log = structlog.get_logger(__name__)


def configure_logs(config: Config) -> None:
    """Structured lines on standard error: JSON for machines, or text for people."""
    renderer = (
        structlog.processors.JSONRenderer()
        if config.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            getattr(logging, config.log_level.upper())
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def lock_root(root: Path) -> int:
    """Claims a state root for this process; held until the descriptor is closed.

    Raises TOO_BUSY when another daemon has it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o711)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Error(Reason.FIELD_INVALID, f"root: {error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Error(Reason.TOO_BUSY, f"another imgd uses the state in {root}") from None
    return lock


async def serve(
    config: Config,
    stop: asyncio.Event | None = None,
    ready: Callable[[str], None] = lambda _host: None,
) -> None:
    """Runs the daemon until SIGTERM, SIGINT or `stop`, then drains it.

    `ready` is called when it serves, with the host that names the images of the registry inside
    (empty when that is off).
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    root = Path(config.root)
    async with AsyncExitStack() as stack:
        stack.callback(os.close, lock_root(root))
        content = await asyncio.to_thread(LocalContentStore, root / "content")
        metadata = await SqliteMetadataStore.open(root / "metadata.db")
        stack.push_async_callback(metadata.close)
        registry = HttpRegistryClient(
            RegistryConfig(
                connect_timeout=config.connect_timeout,
                read_timeout=config.read_timeout,
                plain_http=frozenset(config.plain_http),
                allowed_hosts=frozenset(config.allowed_hosts),
            )
        )
        stack.callback(registry.close)
        manager = TransferManager(
            metadata,
            content,
            registry,
            TransferConfig(
                max_running=config.max_running_transfers,
                max_concurrent_blobs=config.max_concurrent_blobs,
                retention=config.transfer_retention,
            ),
        )
        await manager.open()
        inside = await _registry_inside(config, root, content, metadata, stack)
        server = GrpcServer(
            metadata, content, manager, inside, [inside.host] if inside.host else []
        )
        bound = await server.start(config.listen)
        _log.info(
            "serving", listen=bound, registry=inside.address, samples=inside.samples, root=str(root)
        )
        ready(inside.host)
        await stop.wait()
        _log.info("stopping")
        # Watches end before the server does, with a reason: gRPC alone would only cut them.
        await server.announce_stop()
        await manager.close()
        await server.stop(config.drain)
    _log.info("stopped")


async def _registry_inside(
    config: Config,
    root: Path,
    content: LocalContentStore,
    metadata: SqliteMetadataStore,
    stack: AsyncExitStack,
) -> RegistryInside:
    if not config.registry_listen:
        if config.samples:
            raise Error(Reason.FIELD_INVALID, "samples: needs registry_listen to serve them")
        return RegistryInside()
    samples = None
    if config.samples:
        samples = await open_samples(root / "samples")
        stack.push_async_callback(samples.close)
    server = RegistryServer(
        content, metadata, own_host=config.registry_host or None, samples=samples
    )
    host, _, port = config.registry_listen.rpartition(":")
    if not host or not port.isdigit():
        raise Error(Reason.FIELD_INVALID, "registry_listen: wants HOST:PORT")
    bound_host, bound_port = await server.start(host.strip("[]"), int(port))
    stack.push_async_callback(server.stop)
    repositories = [f"{server.own_host}/{one}" for one in samples.repositories] if samples else []
    return RegistryInside(f"{bound_host}:{bound_port}", server.own_host, repositories)


async def check(config: Config, *, verify_content: bool) -> list[str]:
    """Checks a store that no daemon uses; returns a line for each problem."""
    root = Path(config.root)
    lock = lock_root(root)
    try:
        content = LocalContentStore(root / "content")
        metadata = await SqliteMetadataStore.open(root / "metadata.db")
        try:
            return [
                f"{problem.reason.name} {problem.subject}: {problem.message}"
                async for _, problems in check_store(
                    metadata, content, verify_content=verify_content
                )
                for problem in problems
            ]
        finally:
            await metadata.close()
    finally:
        os.close(lock)
