"""Pulls by a client that is connected already: the daemon's own speed, without a start-up.

`python -m bench.grpc_pull ADDRESS REFERENCE [--unpack] [--times N] [--callers N]`: connects, prints
`ready`, waits for a line, pulls, prints the seconds of each time. A process of its own, so that the
benchmark itself never loads gRPC and forks.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.duration_pb2 import Duration

from imgd.v1 import transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc

# How long the daemon may take until it answers at all.
READY_TIMEOUT = 20
# As a person watches: what imgctl asks for as well.
INTERVAL_MS = 100


def main() -> int:
    """Pulls as often as asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("reference")
    parser.add_argument("--unpack", action="store_true")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--callers", type=int, default=1)
    options = parser.parse_args()
    request = transfer_service_pb2.PullRequest(
        reference=options.reference,
        unpack=options.unpack,
        min_interval=Duration(nanos=INTERVAL_MS * 1_000_000),
    )
    with (
        grpc.insecure_channel(options.address) as channel,
        ThreadPoolExecutor(options.callers) as pool,
    ):
        grpc.channel_ready_future(channel).result(READY_TIMEOUT)
        service = transfer_service_pb2_grpc.TransferServiceStub(channel)

        def pull(_: int) -> None:
            finished = None
            for response in service.Pull(request):
                if response.event.WhichOneof("event") == "finished":
                    finished = response.event.finished.transfer
            if finished is None or finished.state != transfer_pb2.TRANSFER_STATE_SUCCEEDED:
                raise SystemExit(f"the pull did not succeed: {finished}")

        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(options.times):
            start = time.perf_counter()
            list(pool.map(pull, range(options.callers)))
            print(time.perf_counter() - start, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
