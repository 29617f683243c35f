"""One pull by a client that is connected already: the daemon's own speed, without a start-up.

`python -m bench.grpc_pull ADDRESS REFERENCE`: connects, prints `ready`, waits for a line, pulls,
prints the seconds. A process of its own, so that the benchmark itself never loads gRPC and forks.
"""

from __future__ import annotations

import sys
import time

import grpc
from google.protobuf.duration_pb2 import Duration

from imgd.v1 import transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc

# How long the daemon may take until it answers at all.
READY_TIMEOUT = 20
# As a person watches: what imgctl asks for as well.
INTERVAL_MS = 100


def main(address: str, reference: str) -> int:
    """Pulls once."""
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(READY_TIMEOUT)
        service = transfer_service_pb2_grpc.TransferServiceStub(channel)
        print("ready", flush=True)
        sys.stdin.readline()
        request = transfer_service_pb2.PullRequest(
            reference=reference, min_interval=Duration(nanos=INTERVAL_MS * 1_000_000)
        )
        start = time.perf_counter()
        finished = None
        for response in service.Pull(request):
            if response.event.WhichOneof("event") == "finished":
                finished = response.event.finished.transfer
        seconds = time.perf_counter() - start
    if finished is None or finished.state != transfer_pb2.TRANSFER_STATE_SUCCEEDED:
        print(f"the pull did not succeed: {finished}", file=sys.stderr)
        return 1
    print(seconds, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
