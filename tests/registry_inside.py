"""The registry inside, in this process, over stores of its own and a real loopback connection."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from imgd_server.content import LocalContentStore
from imgd_server.distribution import Access, Cache, CacheConfig, RegistryServer, SampleStore
from imgd_server.metadata import SqliteMetadataStore
from imgd_server.oci import Digest
from imgd_server.registry import HttpRegistryClient, RegistryConfig
from imgd_server.transfer import Fetcher, Lanes, RetryPolicy
from tests.fake_images import FakeImage

__all__ = ["Answer", "Inside", "serve_inside"]

# A net for what hangs, far above what anything here takes.
PATIENCE = 90.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The first error's code; empty when the body is no error."""
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            return ""
        errors = self.json.get("errors") or [{}]
        return str(errors[0].get("code", ""))


class Inside:
    """A running registry, and a client for it."""

    def __init__(
        self,
        server: RegistryServer,
        content: LocalContentStore,
        metadata: SqliteMetadataStore,
        http: aiohttp.ClientSession,
        address: tuple[str, int],
        scheme: str = "http",
    ) -> None:
        self.server = server
        self.content = content
        self.metadata = metadata
        self.http = http
        self.address = address
        self.scheme = scheme

    @property
    def host(self) -> str:
        """`HOST:PORT`."""
        return f"{self.address[0]}:{self.address[1]}"

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        """One request; `more` are the client's keyword arguments. `path` is sent as it stands."""
        url = URL(f"{self.scheme}://{self.host}{path}", encoded=True)
        async with self.http.request(method, url, **more) as response:
            return Answer(response.status, response.headers, await response.read())

    async def send(self, raw: bytes) -> Answer:
        """Sends bytes as they are, and reads one answer."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(raw)
            async with asyncio.timeout(PATIENCE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                headers = {
                    key.title(): value for key, _, value in (one.partition(": ") for one in lines)
                }
                body = await reader.readexactly(int(headers.get("Content-Length", "0")))
        finally:
            writer.close()
            await writer.wait_closed()
        return Answer(int(first.split()[1]), headers, body)

    async def start(self, repository: str) -> str:
        """Starts an upload; returns its URL's path."""
        answer = await self.call("POST", f"/v2/{repository}/blobs/uploads/")
        assert answer.status == 202
        return answer.headers["Location"]

    async def push_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> Digest:
        """Pushes a blob in one request."""
        digest = Digest.of(data, algorithm)
        path = f"/v2/{repository}/blobs/uploads/?digest={digest}"
        answer = await self.call("POST", path, data=io.BytesIO(data))
        assert answer.status == 201, answer
        return digest

    async def put_manifest(self, repository: str, reference: str, image: FakeImage) -> Answer:
        """Pushes the manifest alone."""
        return await self.call(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            data=io.BytesIO(image.raw),
            headers={"Content-Type": image.media_type},
        )

    async def push(self, repository: str, reference: str, image: FakeImage) -> Answer:
        """Pushes an image whole: blobs, child manifests by digest, then its own."""
        for data in image.blobs.values():
            await self.push_blob(repository, data)
        for digest, (media_type, raw) in image.manifests.items():
            if digest != image.digest:
                child = FakeImage(raw, media_type)
                assert (await self.put_manifest(repository, digest, child)).status == 201
        return await self.put_manifest(repository, reference, image)


@asynccontextmanager
async def serve_inside(
    root: Path,
    *,
    samples: SampleStore | None = None,
    read_only: bool = False,
    access: Access | None = None,
    tls: ssl.SSLContext | None = None,
    cache: CacheConfig | None = None,
    retry: RetryPolicy | None = None,
    read_timeout: float = PATIENCE,
) -> AsyncIterator[Inside]:
    """Serves on a free port until the end; what is in `root` stays for the next time.

    Its own images are of the host `registry.test`. With `cache`, what is not here comes from there:
    tried as `retry` says, with so much patience.
    """
    content = LocalContentStore(root / "content")
    metadata = await SqliteMetadataStore.open(root / "metadata.db")
    registry = HttpRegistryClient(
        RegistryConfig(connect_timeout=PATIENCE, read_timeout=read_timeout)
    )
    engine = None
    if cache:
        # Its threads are the cache's own; these are never begun.
        fetcher = Fetcher(registry, content, metadata, Lanes(1, 1), retry or RetryPolicy())
        engine = Cache(fetcher, cache)
    server = RegistryServer(
        content,
        metadata,
        own_host="registry.test",
        samples=samples,
        read_only=read_only,
        access=access,
        tls=tls,
        cache=engine,
    )
    try:
        address = await server.start("127.0.0.1", 0)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as http:
            scheme = "https" if tls else "http"
            yield Inside(server, content, metadata, http, address, scheme)
    finally:
        await server.stop()
        if access:
            access.close()
        if engine:
            await engine.close()
        registry.close()
        await metadata.close()
