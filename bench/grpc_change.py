"""Many callers that change something at once: calls a second.

`python -m bench.grpc_change`: reads one JSON object from its input (`target`, `metadata`,
`seconds`, and `callers`: for each the calls that it makes in turn, each a method and a request in
hex), prints one (`calls`, `seconds`, `latencies`). Of its own process, as bench.grpc_list.
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
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(job["target"]) as channel:
        await asyncio.wait_for(channel.channel_ready(), READY_TIMEOUT)
        metadata = [tuple(pair) for pair in job["metadata"]]

        async def change(steps: list[tuple[str, str]]) -> None:
            calls: list[tuple[Any, bytes]] = [
                (channel.unary_unary(method), bytes.fromhex(request)) for method, request in steps
            ]
            while time.perf_counter() < end:
                for call, request in calls:
                    start = time.perf_counter()
                    await call(request, metadata=metadata)
                    latencies.append(time.perf_counter() - start)

        begun = time.perf_counter()
        end = begun + job["seconds"]
        await asyncio.gather(*(change(steps) for steps in job["callers"]))
        seconds = time.perf_counter() - begun
    print(json.dumps({"calls": len(latencies), "seconds": seconds, "latencies": latencies}))
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
