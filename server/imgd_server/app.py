"""The daemon put together: which store, which registry client, which server, in which order."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from imgd_server.config import Config, water
from imgd_server.content import LocalContentStore
from imgd_server.distribution import (
    Access,
    AccessConfig,
    Cache,
    CacheConfig,
    RegistryServer,
    check_listen,
    open_access,
    open_samples,
    open_tls,
)
from imgd_server.errors import Error, Reason
from imgd_server.images import (
    Collection,
    Housekeeper,
    HousekeepingConfig,
    ImageBuilder,
    LayerIndexes,
    LayerUnpacker,
    Looker,
    Problem,
    RootfsManager,
    RootfsStore,
    ViewStore,
    Water,
    check_store,
    collect,
)
from imgd_server.metadata import SqliteMetadataStore
from imgd_server.registry import (
    HttpRegistryClient,
    HttpRegistryPusher,
    Lookups,
    Proxies,
    RegistryConfig,
    RegistryPolicy,
    read_hosts_folder,
)
from imgd_server.rootfs import Limits, SnapshotStore, Unpacker, can_overlay
from imgd_server.rpc import GrpcServer, RegistryInside, check_address
from imgd_server.transfer import (
    ProofConfig,
    RangesConfig,
    TransferConfig,
    TransferManager,
    now_us,
)

__all__ = ["check", "collect_garbage", "configure_logs", "lock_root", "serve"]

_log = structlog.get_logger(__name__)

# Threads that look at files for calls and plans. asyncio's default is six on two processors, and
# they wait for the disk more than for a processor.
_IO_THREADS = 32
_FILES = 65_536
_KEY_BYTES = 32


def configure_logs(config: Config) -> None:
    """Structured lines on standard error: JSON for machines, or text for people.

    What libraries log takes the same way. A line that can't be written is lost, and nothing else.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Without the values of local variables: a secret may be among them.
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer()
    if config.log_format == "text":
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    level: int = getattr(logging, config.log_level.upper())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def lock_root(root: Path) -> int:
    """Claims a state root for this process; held until the descriptor is closed.

    Raises TOO_BUSY when another daemon has it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o711)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Error(Reason.FIELD_INVALID, f"root: {error.filename}: {error.strerror}") from None
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
    (empty when that is off). Raises Error when it can't serve all that it shall; it then leaves
    nothing behind.
    """
    stop = stop or asyncio.Event()
    _raise_file_limit()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_IO_THREADS, "io"))
    async with AsyncExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
            stack.callback(loop.remove_signal_handler, number)
        # What is wrong in the configuration is found before there is a store.
        for address in config.listen:
            check_address(address)
        housekeeping = _housekeeping(config)
        front = _front(config, stack)
        root = Path(config.root)
        stack.callback(os.close, lock_root(root))
        content = await asyncio.to_thread(LocalContentStore, root / "content")
        metadata = await SqliteMetadataStore.open(root / "metadata.db")
        stack.push_async_callback(metadata.close)
        registry = _registry_client(config)
        stack.callback(registry.close)
        unpacker = LayerUnpacker(await asyncio.to_thread(_unpacker, config, root))
        stack.push_async_callback(asyncio.to_thread, unpacker.close)
        containers = RootfsStore(root / "containers", unpacker.store, config.mount_roots)
        views = await asyncio.to_thread(
            ViewStore, root / "views", unpacker.store, config.mount_roots
        )
        rootfs = RootfsManager(metadata, content, unpacker, containers, views)
        await rootfs.restore()
        limits = _limits(config)
        indexes = await asyncio.to_thread(LayerIndexes, root / "indexes")
        looker = Looker(metadata, content, indexes, limits)
        await looker.recover()
        stack.push_async_callback(asyncio.to_thread, looker.close)
        lookups = Lookups(registry, config.search_host)
        manager = TransferManager(
            metadata,
            content,
            registry,
            _transfers(config, await asyncio.to_thread(_proof_key, root / "proof.key")),
            unpacker,
            HttpRegistryPusher(registry),
            lookups,
        )
        await manager.open()
        unpacked = [unpacker.store, *await asyncio.to_thread(_former, root, unpacker.store.kind)]
        housekeeper = Housekeeper(
            metadata, content, now_us, housekeeping, unpacked, indexes, rootfs.end_views
        )
        inside = await _registry_inside(config, front, content, metadata, manager, stack)
        server = GrpcServer(
            metadata,
            content,
            manager,
            housekeeper,
            inside,
            [inside.host] if inside.host else [],
            unpacker,
            rootfs,
            lookups,
            looker,
            ImageBuilder(metadata, content, rootfs, limits),
        )
        # From here on, the end is: health says so, transfers are interrupted and watches end with a
        # reason (gRPC alone would only cut them), then the open calls get their time.
        stack.push_async_callback(server.stop, config.drain)
        stack.push_async_callback(housekeeper.close)
        stack.push_async_callback(manager.close)
        stack.push_async_callback(server.announce_stop)
        bound = await server.start(config.listen)
        housekeeper.start()
        _log.info(
            "serving", listen=bound, registry=inside.address, samples=inside.samples, root=str(root)
        )
        # Not when it is chosen: of a start that is refused, the reason is all that is said.
        if config.snapshotter == "auto":
            _log.info("snapshotter chosen", kind=unpacker.store.kind)
        ready(inside.host)
        await stop.wait()
        _log.info("stopping")
    _log.info("stopped")


def _raise_file_limit() -> None:
    """Takes as many file descriptors as it may, up to a bound: a shell's usual 1,024 are too few
    for a thousand watchers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _registry_client(config: Config) -> HttpRegistryClient:
    in_folder = read_hosts_folder(config.hosts_dir) if config.hosts_dir else {}
    return HttpRegistryClient(
        RegistryConfig(
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            plain_http=frozenset(config.plain_http),
            allowed_hosts=frozenset(config.allowed_hosts),
            policy=RegistryPolicy.of(config.allowed_registries, config.denied_registries),
            proxies=Proxies.from_environment(os.environ),
            host_requests=config.max_host_requests,
            registries={**in_folder, **config.registries},
            docker_config=config.docker_config,
        )
    )


def _unpacker(config: Config, root: Path) -> Unpacker:
    folder = root / "snapshots"
    kind, can = config.snapshotter, can_overlay(folder)
    if kind == "overlay" and not can:
        raise Error(
            Reason.FIELD_INVALID,
            "snapshotter: overlayfs can't be mounted here: that needs root, and a file system "
            'below the state root that it can be on; use "copy"',
        )
    if kind == "auto":
        kind = "overlay" if can else "copy"
    return Unpacker(
        SnapshotStore(folder, kind),
        workers=config.unpack_workers or min(max(len(os.sched_getaffinity(0)), 2), 8),
        limits=_limits(config),
    )


def _limits(config: Config) -> Limits:
    return Limits(
        max_bytes=config.max_layer_bytes,
        max_entries=config.max_layer_entries,
        max_ratio=config.max_layer_ratio,
    )


def _proof_key(path: Path) -> bytes:
    """The key of this root that credentials are hashed with, made where there is none: what was
    proven with another one is forgotten."""
    key = path.read_bytes() if path.exists() else b""
    if len(key) == _KEY_BYTES:
        return key
    key = os.urandom(_KEY_BYTES)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return key


def _transfers(config: Config, key: bytes) -> TransferConfig:
    return TransferConfig(
        max_running=config.max_running_transfers,
        max_pending=config.max_pending_transfers,
        max_concurrent_blobs=config.max_concurrent_blobs,
        max_bytes_per_second=config.max_bytes_per_second,
        ranges=RangesConfig(config.range_threshold, config.range_size, config.max_blob_streams),
        retention=config.transfer_retention,
        partial_lifetime=config.partial_lifetime,
        layout_roots=tuple(os.path.normpath(one) for one in config.layout_roots),
        proofs=ProofConfig(config.proof_lifetime, config.share_private, key),
    )


def _housekeeping(config: Config) -> HousekeepingConfig:
    high = Water(*water(config.high_water))
    low = Water(*water(config.low_water)) if config.low_water else high
    if high == Water() and config.low_water:
        raise Error(Reason.FIELD_INVALID, "low_water: needs high_water")
    if bool(high.share) != bool(low.share) or low.share > high.share or low.size > high.size:
        raise Error(
            Reason.FIELD_INVALID,
            "low_water: must be of the kind of high_water (a share or a size), and no higher",
        )
    return HousekeepingConfig(event_retention=config.event_retention, high=high, low=low)


@dataclass(frozen=True, slots=True)
class _Front:
    """How the registry inside meets its clients."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    access: Access
    cache: CacheConfig | None


def _front(config: Config, stack: AsyncExitStack) -> _Front | None:
    if not config.registry_listen:
        if config.samples:
            raise Error(Reason.FIELD_INVALID, "samples: needs registry_listen to serve them")
        return None
    tls = open_tls(config.registry_tls_certificate, config.registry_tls_key)
    if tls and config.registry_token_realm.startswith("http:"):
        raise Error(
            Reason.FIELD_INVALID,
            "registry_token_realm: wants https, for with registry_tls_certificate clients refuse "
            "to send a password without TLS",
        )
    cache = _cache(config)
    access = open_access(_access(config))
    stack.callback(access.close)
    host, _, port = config.registry_listen.rpartition(":")
    front = _Front(host.strip("[]"), int(port), tls, access, cache)
    check_listen(
        front.host,
        front.port,
        own_host=config.registry_host,
        access=access,
        tls=tls,
        upstreams=cache.upstreams if cache else (),
    )
    return front


async def _registry_inside(
    config: Config,
    front: _Front | None,
    content: LocalContentStore,
    metadata: SqliteMetadataStore,
    manager: TransferManager,
    stack: AsyncExitStack,
) -> RegistryInside:
    if front is None:
        return RegistryInside()
    samples = None
    if config.samples:
        samples = await open_samples(Path(config.root) / "samples")
        stack.push_async_callback(samples.close)
    cache = None
    if front.cache:
        cache = Cache(manager.fetcher, front.cache)
        stack.push_async_callback(cache.close)
    server = RegistryServer(
        content,
        metadata,
        own_host=config.registry_host or None,
        samples=samples,
        read_only=config.registry_read_only,
        access=front.access,
        tls=front.tls,
        cache=cache,
    )
    bound_host, bound_port = await server.start(front.host, front.port)
    stack.push_async_callback(server.stop)
    repositories = [f"{server.own_host}/{one}" for one in samples.repositories] if samples else []
    return RegistryInside(f"{bound_host}:{bound_port}", server.own_host, repositories)


def _cache(config: Config) -> CacheConfig | None:
    upstreams, default = frozenset(config.registry_cache), config.registry_cache_default
    if default and default not in upstreams:
        raise Error(
            Reason.FIELD_INVALID, f"registry_cache_default: {default} is not in registry_cache"
        )
    return CacheConfig(upstreams, default, config.registry_cache_fresh) if upstreams else None


def _access(config: Config) -> AccessConfig:
    return AccessConfig(
        htpasswd=config.registry_htpasswd,
        anonymous_read=config.registry_anonymous_read,
        token_realm=config.registry_token_realm,
        token_service=config.registry_token_service,
        token_issuer=config.registry_token_issuer,
        token_keys=config.registry_token_keys,
    )


async def check(config: Config, *, verify_content: bool, repair: bool = False) -> list[Problem]:
    """Checks a store that no daemon uses, and repairs what is safe if so wanted.

    Raises FIELD_INVALID where there is no store, TOO_BUSY while a daemon uses it.
    """
    async with _unused_store(config) as (metadata, content):
        found = check_store(
            metadata,
            content,
            verify_content=verify_content,
            repair=repair,
            snapshots=_snapshots(config),
        )
        return [problem async for _, problems in found for problem in problems]


async def collect_garbage(config: Config, *, dry_run: bool) -> Collection:
    """Collects in a store that no daemon uses. Raises as `check`."""
    async with _unused_store(config) as (metadata, content):
        return await collect(
            metadata,
            content,
            now_us,
            dry_run=dry_run,
            snapshots=_former(Path(config.root), ""),
            indexes=LayerIndexes(Path(config.root) / "indexes"),
        )


def _former(root: Path, kind: str) -> list[SnapshotStore]:
    """The snapshots that there are of other kinds than this one."""
    folder = root / "snapshots"
    others = [one for one in ("overlay", "copy") if one != kind]
    return [SnapshotStore(folder, one) for one in others if (folder / one / "layers").is_dir()]


def _snapshots(config: Config) -> SnapshotStore | None:
    """The snapshots that a daemon has left, of the kind that it had last."""
    root = Path(config.root) / "snapshots"
    found = [root / kind / "layers" for kind in ("overlay", "copy")]
    there = [folder for folder in found if folder.is_dir()]
    if not there:
        return None
    newest = max(there, key=lambda folder: folder.stat().st_mtime)
    return SnapshotStore(root, newest.parent.name)


@asynccontextmanager
async def _unused_store(
    config: Config,
) -> AsyncIterator[tuple[SqliteMetadataStore, LocalContentStore]]:
    root = Path(config.root)
    if not (root / "metadata.db").exists():
        raise Error(Reason.FIELD_INVALID, f"root: there is no store in {root}")
    lock = lock_root(root)
    try:
        content = LocalContentStore(root / "content")
        metadata = await SqliteMetadataStore.open(root / "metadata.db")
        try:
            yield metadata, content
        finally:
            await metadata.close()
    finally:
        os.close(lock)
