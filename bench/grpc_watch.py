"""One pull and its watchers: whether watching slows it, and how late they learn.

`python -m bench.grpc_watch ADDRESS REFERENCE WATCHERS INTERVAL`: connects, starts a pull and
attaches the watchers, spread over one interval (seconds). Prints one JSON object: `seconds` that
the pull took by its record, `events`, `late_p99` (seconds between two events of a watcher, or from
the pull's end to the news of it), `missed` (watchers that got no end). A process of its own, as
bench.grpc_pull.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from imgd.v1 import transfer_pb2, transfer_service_pb2
from imgd.v1.transfer_service_pb2_grpc import TransferServiceStub

READY_TIMEOUT = 20.0
# How many streams share a connection.
STREAMS = 100
# How often the record is looked at, which is not watching.
POLL = 0.1


async def main(address: str, reference: str, watchers: int, interval: float) -> int:
    """Measures once."""
    # Of its own each: otherwise channels to one address share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [
        grpc.aio.insecure_channel(address, options=options)
        for _ in range(max(1, -(-watchers // STREAMS)))
    ]
    for channel in channels:
        await asyncio.wait_for(channel.channel_ready(), READY_TIMEOUT)
    stubs: list[Any] = [TransferServiceStub(channel) for channel in channels]
    answer = await stubs[0].StartTransfer(
        transfer_service_pb2.StartTransferRequest(
            source=transfer_pb2.TransferSource(
                registry=transfer_pb2.RegistryEndpoint(reference=reference)
            ),
            destination=transfer_pb2.TransferDestination(store=transfer_pb2.StoreEndpoint()),
        )
    )
    name = answer.transfer.name
    request = transfer_service_pb2.WatchTransferRequest(
        name=name, min_interval=Duration(nanos=round(interval * 1e9) % 10**9, seconds=int(interval))
    )
    gaps: list[float] = []
    ends: list[float] = []

    async def watch(number: int) -> None:
        await asyncio.sleep(interval * number / watchers)
        before = time.time()
        async for response in stubs[number % len(stubs)].WatchTransfer(request):
            now = time.time()
            gaps.append(now - before)
            before = now
            if response.event.WhichOneof("event") == "finished":
                ends.append(now)

    watching = [asyncio.create_task(watch(number)) for number in range(watchers)]
    states = (transfer_pb2.TRANSFER_STATE_PENDING, transfer_pb2.TRANSFER_STATE_RUNNING)
    while True:
        transfer = (
            await stubs[0].GetTransfer(transfer_service_pb2.GetTransferRequest(name=name))
        ).transfer
        if transfer.state not in states:
            break
        await asyncio.sleep(POLL)
    if transfer.state != transfer_pb2.TRANSFER_STATE_SUCCEEDED:
        raise SystemExit(f"the pull did not succeed: {transfer}")
    if watching:
        await asyncio.wait(watching, timeout=30)
    ended = transfer.end_time.ToNanoseconds() / 1e9
    late = sorted([*gaps, *(end - ended for end in ends)])
    found = {
        "seconds": ended - transfer.start_time.ToNanoseconds() / 1e9,
        "events": len(gaps),
        "late_p99": late[min(len(late) - 1, int(len(late) * 0.99))] if late else 0.0,
        "missed": watchers - len(ends),
    }
    print(json.dumps(found), flush=True)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    for channel in channels:
        await channel.close()
    return 0


if __name__ == "__main__":
    _, address, reference, watchers, interval = sys.argv
    sys.exit(asyncio.run(main(address, reference, int(watchers), float(interval))))
