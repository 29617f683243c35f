"""Many callers that list at once: calls a second, and how long each took.

`python -m bench.grpc_list`: reads one JSON object from its input (`target`, `method`, `request` in
hex, `metadata`, `callers`, `seconds`), prints one (`calls`, `seconds`, `latencies`, `bytes`). No
answer is decoded, so that every server is asked by the same client. A process of its own, so that
the benchmark itself never loads gRPC and forks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import grpc.aio

READY_TIMEOUT = 20.0


async def main() -> int:
    """Measures once."""
    job = json.loads(sys.stdin.read())
    options = [("grpc.max_receive_message_length", -1)]
    latencies: list[float] = []
    size = 0
    async with grpc.aio.insecure_channel(job["target"], options=options) as channel:
        await asyncio.wait_for(channel.channel_ready(), READY_TIMEOUT)
        call: Any = channel.unary_unary(job["method"])
        request = bytes.fromhex(job["request"])
        metadata = [tuple(pair) for pair in job["metadata"]]

        async def ask() -> None:
            nonlocal size
            while (begun := time.perf_counter()) < end:
                size = len(await call(request, metadata=metadata))
                latencies.append(time.perf_counter() - begun)

        # What is kept, or read from a disk, is so by now.
        await call(request, metadata=metadata)
        begun = time.perf_counter()
        end = begun + job["seconds"]
        await asyncio.gather(*(ask() for _ in range(job["callers"])))
        seconds = time.perf_counter() - begun
    found = {"calls": len(latencies), "seconds": seconds, "latencies": latencies, "bytes": size}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
