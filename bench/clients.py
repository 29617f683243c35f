"""What each language's client costs: calls a second and events a second, of one daemon.

Each is asked through its conformance executable, so that what is measured is the wrapper as a
program of its users calls it: a list whose pages have one image each is as many calls, one after
the other, and the history of the store as many events. Handing the result over the pipe is
part of it, the same for all.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench.common import COMMAND_TIMEOUT, ROOT, BenchError, Sample, log, need, serving
from bench.listing import python
from bench.rounds import Place, Scenario, Subject
from bench.wire import field, varint

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SCENARIOS"]

# The answer, some hundred bytes for each, stays well below a conformance answer's bound of 16 MiB.
IMAGES, EVENTS = 2000, 20_000
# Fields of imgd.conformance.v1.
_CASE, _CONNECTION, _OPERATION = 1, 2, 3
_ADDRESS, _LIST_IMAGES, _EVENTS = 1, 4, 16
_OF_IMAGES, _OF_EVENTS = 5, 15


def _request(address: str, operation: bytes) -> bytes:
    connection = field(_ADDRESS, address.encode())
    message = field(_CASE, b"bench") + field(_CONNECTION, connection) + field(_OPERATION, operation)
    return varint(len(message)) + message


def _list(page_size: int, stop_after: int) -> bytes:
    """ListOperation{request{page_size}, stop_after}."""
    return field(_LIST_IMAGES, field(1, field(1, page_size)) + field(2, stop_after))


def _history(count: int) -> bytes:
    """EventsOperation{request{after_cursor: 1}, count}."""
    return field(_EVENTS, field(1, field(1, 1)) + field(3, count))


def _read_varint(data: IO[bytes]) -> int:
    value = shift = 0
    while byte := data.read(1):
        value |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            return value
    raise BenchError("the client's executable ended")


def _kind(answer: bytes) -> int:
    """Which field ClientResponse{case_name, result{...}} has in its result."""
    data = io.BytesIO(answer)
    _read_varint(data)
    data.seek(_read_varint(data), os.SEEK_CUR)
    _read_varint(data)
    _read_varint(data)
    return _read_varint(data) >> 3


def _ask(client: subprocess.Popen[bytes], request: bytes, expected: int) -> float:
    """Sends a request; returns the seconds to its answer, which has to be of the expected kind."""
    assert client.stdin
    assert client.stdout
    start = time.perf_counter()
    client.stdin.write(request)
    client.stdin.flush()
    answer = client.stdout.read(_read_varint(client.stdout))
    spent = time.perf_counter() - start
    if _kind(answer) != expected:
        raise BenchError(f"the client answered {answer[:300]!r}")
    return spent


def _measure(language: str, address: str, _: Path) -> Sample:
    program = ROOT / "clients" / language / "build" / "conformance"
    environment = {key: value for key, value in os.environ.items() if "IMGD" not in key}
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as client:
        assert client.stdin
        # One that hangs has no answer.
        net = threading.Timer(COMMAND_TIMEOUT, client.kill)
        net.start()
        try:
            # Compilers that compile as they go have done so then.
            _ask(client, _request(address, _list(1, 200)), _OF_IMAGES)
            _ask(client, _request(address, _history(EVENTS // 10)), _OF_EVENTS)
            calls = _ask(client, _request(address, _list(1, IMAGES)), _OF_IMAGES)
            events = _ask(client, _request(address, _history(EVENTS)), _OF_EVENTS)
        finally:
            client.stdin.close()
            client.wait()
            net.cancel()
    return Sample(calls / IMAGES, more={"calls/s": IMAGES / calls, "events/s": EVENTS / events})


def _build(language: str) -> None:
    for verb in ("setup", "build"):
        done = subprocess.run(
            [ROOT / ".ci/clients", verb, language],
            capture_output=True,
            text=True,
            check=False,
            timeout=4 * COMMAND_TIMEOUT,
        )
        if done.returncode or "MISSING TOOLCHAINS" in done.stderr:
            raise BenchError(f"clients/{language}: {verb}: {done.stderr.strip()[-300:]}")


@contextlib.contextmanager
def _scenario(_: Path, folder: Path) -> Iterator[Scenario]:
    languages = []
    for tasks in sorted((ROOT / "clients").glob("*/tasks")):
        try:
            _build(tasks.parent.name)
            languages.append(tasks.parent.name)
        except BenchError as error:
            log(f"MISSING CLIENT: {error}")
    root = folder / "imgd"
    root.mkdir()
    python("bench.fill", "imgd", str(root / "metadata.db"), str(IMAGES), str(EVENTS + 1))
    socket = folder / "s.sock"
    command = [need("imgd"), "serve", "--root", str(root), "--listen", f"unix:{socket}"]
    with serving(command, socket, folder / "imgd.log"):
        yield Scenario(
            {"images": IMAGES, "events": EVENTS},
            [
                Subject(one, "imgd", functools.partial(_measure, one, f"unix:{socket}"))
                for one in languages
            ],
            note="Seconds: of a call, one after the other (1 / calls a second). Clients share the "
            "machine with the daemon, which is most of what a call costs. A message of events "
            "holds many of them. Executables are those that the conformance cases run: C++'s and "
            "Rust's are built without optimisation.",
            compare=("python",),
            warm_up=False,
        )


SCENARIOS: dict[str, Place] = {"clients": _scenario}
