"""The first answer of a daemon that is starting: `python -m bench.grpc_first SOCKET`.

Prints `ready`, waits for a line (the daemon starts now), and prints when a list of its images was
answered first, on the clock of time.perf_counter, which all processes share. Of its own process,
as bench.grpc_pull, and started before: an interpreter's start is no part of what is measured.
"""

from __future__ import annotations

import socket
import sys
import time

import grpc

from imgd.v1 import image_service_pb2, image_service_pb2_grpc

# How often the socket is tried. gRPC's own waits between tries are longer than a start.
PAUSE = 0.002
PATIENCE = 60.0


def main(path: str) -> int:
    """Asks once."""
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.perf_counter() + PATIENCE
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path) == 0:
                break
        if time.perf_counter() > end:
            print("the daemon did not begin to listen", file=sys.stderr)
            return 1
        time.sleep(PAUSE)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        service = image_service_pb2_grpc.ImageServiceStub(channel)
        request = image_service_pb2.ListImagesRequest(page_size=1)
        answer = service.ListImages(request, wait_for_ready=True, timeout=PATIENCE)
        print(time.perf_counter(), flush=True)
    return 0 if len(answer.images) == 1 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
