"""The floors: what no client can be much faster than, on this machine and in this run.

As a program (`python -m bench.floors HOST:PORT REPOSITORY FOLDER SYNC DIGEST...`) it is the *fetch*
floor, in a process of its own; it prints its seconds, and its largest resident set in bytes.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# The size of a read and of a write. Measured with app, medians of 9 in one run: 0.32 s with this,
# 0.32 with 768 KiB, 0.47 with 1 MiB: with ext4 on Linux 6.18 a buffered write of 1 MiB, aligned in
# the file, costs half as much processor time again.
BUFFER = 512 << 10


def fetch(address: str, repository: str, folder: str, sync: bool, digests: Sequence[str]) -> float:
    """Fetches blobs with one bare thread each: read, hash, write, fsync. Returns the seconds."""
    failed: list[str] = []

    def one(digest: str) -> None:
        try:
            _fetch(address, f"/v2/{repository}/blobs/{digest}", f"{folder}/{digest[7:]}", sync)
        except BaseException as error:
            failed.append(f"{digest}: {error!r}")
            raise

    start = time.perf_counter()
    threads = [threading.Thread(target=one, args=(digest,)) for digest in digests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit("\n".join(failed))
    return time.perf_counter() - start


def _fetch(address: str, path: str, target: str, sync: bool) -> None:
    host, _, port = address.rpartition(":")
    view = memoryview(bytearray(BUFFER))
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        filled, end = 0, -1
        while end < 0:
            got = connection.recv_into(view[filled:])
            if got == 0:
                raise EOFError(path)
            filled += got
            end = bytes(view[:filled]).find(b"\r\n\r\n")
        head = bytes(view[:end]).decode("latin-1").lower().split("\r\n")
        if " 200" not in head[0]:
            raise ValueError(head[0])
        left = next(int(line[15:]) for line in head if line.startswith("content-length:"))
        start, digest = end + 4, hashlib.sha256()
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            while True:
                digest.update(view[start:filled])
                os.write(descriptor, view[start:filled])
                left -= filled - start
                if left == 0:
                    break
                # A full buffer at a time: fewer system calls, and fewer hand-overs of the lock.
                start, filled = 0, connection.recv_into(view, min(left, BUFFER), socket.MSG_WAITALL)
                if filled == 0:
                    raise EOFError(path)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if digest.hexdigest() != os.path.basename(target):  # noqa: PTH119
        raise ValueError(f"{path}: wrong digest")


def curl(address: str, repository: str, digests: Sequence[str]) -> list[str]:
    """Returns the arguments with which curl gets the blobs at once, and drops them."""
    arguments = ["-sSf", "--parallel", "--parallel-immediate", "--parallel-max", str(len(digests))]
    for digest in digests:
        arguments += ["-o", "/dev/null", f"http://{address}/v2/{repository}/blobs/{digest}"]
    return arguments


def curl_ranges(address: str, repository: str, digest: str, size: int, count: int) -> list[str]:
    """Returns the arguments with which curl gets so many parts of a blob at once."""
    # A range belongs to what stands between two --next.
    words: list[str] = []
    step = -(-size // count)
    for start in range(0, size, step):
        words += ["--next"] if words else []
        words += ["-sSf", "-o", "/dev/null", "-r", f"{start}-{min(start + step, size) - 1}"]
        words += [f"http://{address}/v2/{repository}/blobs/{digest}"]
    return ["--parallel", "--parallel-immediate", "--parallel-max", str(count), *words]


if __name__ == "__main__":
    _, address, repository, folder, sync, *digests = sys.argv
    seconds = fetch(address, repository, folder, sync == "1", digests)
    # The process's own peak; ru_maxrss would begin with that of the process that started it.
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    print(seconds, peak)
