"""A real daemon before registries that limit, in bursts and for good: it waits, and does not storm.

What counts is how often a registry was asked; how long that took is nobody's matter.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from imgd.v1 import errors_pb2, transfer_pb2
from imgd_client import Client
from tests.daemon import Daemon, run_daemon
from tests.fake_images import make_image
from tests.hostile import Answer, Fault, HostileRegistry, Request, refuse
from tests.pulling import noise
from tests.taking import TakingRegistry

PLAIN = "application/vnd.oci.image.layer.v1.tar"
LAYERS = 16
IMAGE = make_image([noise(3000, seed) for seed in range(LAYERS)], layer_type=PLAIN)
SIZE = sum(map(len, IMAGE.blobs.values())) + len(IMAGE.raw)
# Blobs that move at once, and requests that a host gets at once.
AT_ONCE = 4
SUCCEEDED = transfer_pb2.TransferState.TRANSFER_STATE_SUCCEEDED
RETRYING = transfer_pb2.NodeState.NODE_STATE_RETRYING
LIMITED = errors_pb2.ErrorReason.ERROR_REASON_REGISTRY_RATE_LIMITED


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    flags = ("--max-concurrent-blobs", str(AT_ONCE), "--max-host-requests", str(AT_ONCE))
    with run_daemon(tmp_path / "root", *flags) as one:
        yield one


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as one:
        yield one


class Window:
    """A registry's limit: after `most` answers it gives none until a time, and says so or not.

    `form` is that of Retry-After: `seconds`, `date`, or empty for none.
    """

    def __init__(self, form: str, most: int) -> None:
        self._form, self._most = form, most
        self._lock = threading.Lock()
        self._left, self._end = most, 0.0
        self.closings = 0
        """How often it ran out."""
        self.refused = 0
        """Requests that came meanwhile."""

    def __call__(self, request: Request, answer: Answer) -> Answer:
        now = time.time()
        with self._lock:
            if self._left == 0 and now >= self._end > 0:
                self._left, self._end = self._most, 0.0
            if self._left > 0:
                self._left -= 1
                quota = {"RateLimit_Limit": f"{self._most};w=2"}
                return answer.having(**quota, RateLimit_Remaining=f"{self._left};w=2")
            if not self._end:
                # A date has whole seconds.
                self._end = float(int(now) + 2)
                self.closings += 1
            self.refused += 1
        left = int(self._end - now) + 1
        dated = formatdate(self._end, usegmt=True)
        wait = {"seconds": str(left), "date": dated}.get(self._form)
        return refuse(429, "TOOMANYREQUESTS", Retry_After=wait)(request, answer)


def watched(
    client: Client, name: str
) -> tuple[transfer_pb2.Transfer, list[transfer_pb2.NodeRetry]]:
    """A transfer's record at its end, and the retries that were shown."""
    retries: list[transfer_pb2.NodeRetry] = []
    for event in client.watch(name, min_interval=0.0):
        part = event.snapshot if event.HasField("snapshot") else event.update
        retries += [node.retry for node in part.nodes if node.state == RETRYING]
    return event.finished.transfer, retries


def check_retries(record: transfer_pb2.Transfer, retries: list[transfer_pb2.NodeRetry]) -> None:
    """Each told when it is made again, which attempt that is, and why it waits."""
    assert retries
    for retry in retries:
        assert retry.attempt >= 2
        assert retry.next_time.ToDatetime() > record.start_time.ToDatetime()
        assert retry.failure.reason == LIMITED
        assert retry.failure.http_status in (0, 429)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_pull_keeps_to_the_times_that_a_registry_names(
    daemon: Daemon, client: Client, form: str
) -> None:
    window = Window(form, most=8)
    with HostileRegistry() as registry:
        reference = registry.add("library/app", IMAGE, "1")
        registry.on("", window)
        name = client.transfers.start_pull(reference).name
        record, retries = watched(client, name)
        assert record.state == SUCCEEDED, record.outcome.failure
        check_retries(record, retries)
        # Only what was under way when the window closed is refused; the rest waits here.
        assert window.closings >= 2
        assert window.refused <= window.closings * AT_ONCE
        wanted = len(IMAGE.blobs) + 2
        assert len(registry.requests) == wanted + window.refused
        assert record.outcome.fetched_bytes == SIZE
        (budget,) = client.registry.rate_budgets(registry.host)
        assert (budget.limit, budget.window.seconds) == (8, 2)
        (shown,) = json.loads(daemon.imgctl("info", "--format", "json").stdout)["RateBudgets"]
        assert (shown["host"], shown["limit"]) == (registry.host, "8")


BURSTS: dict[str, tuple[str, int, Fault]] = {
    # Fewer than how often one request is tried: the first of all meets most of them.
    "429": ("", 4, refuse(429)),
    "429 on layers": ("GET .*/blobs/", 12, refuse(429, "TOOMANYREQUESTS")),
    "429 with a time": ("GET .*/blobs/", 5, refuse(429, Retry_After="1")),
    "503 with a time": ("GET .*/blobs/", 5, refuse(503, Retry_After="1")),
    "500": ("GET .*/blobs/", 12, refuse(500)),
}


@pytest.mark.parametrize(("pattern", "times", "fault"), BURSTS.values(), ids=BURSTS)
def test_a_burst_to_many_layers_is_outlived(
    client: Client, pattern: str, times: int, fault: Fault
) -> None:
    with HostileRegistry() as registry:
        reference = registry.add("library/app", IMAGE, "1")
        burst = registry.on(pattern, fault, times=times)
        record, retries = watched(client, client.transfers.start_pull(reference).name)
        assert record.state == SUCCEEDED, record.outcome.failure
        assert retries
        assert len(registry.requests) == len(IMAGE.blobs) + 2 + burst.hits
        assert record.outcome.fetched_bytes == SIZE


@pytest.mark.parametrize("wait", [None, "0", "3600"])
def test_a_registry_that_limits_for_good_is_given_up(client: Client, wait: str | None) -> None:
    """Without a storm: however many layers are wanted, each is asked for a few times at most."""
    with HostileRegistry() as registry:
        reference = registry.add("library/app", IMAGE, "1")
        registry.on("GET .*/blobs/", refuse(429, "TOOMANYREQUESTS", Retry_After=wait))
        record, _ = watched(client, client.transfers.start_pull(reference).name)
        assert record.state == transfer_pb2.TransferState.TRANSFER_STATE_FAILED
        failure = record.outcome.failure
        assert (failure.reason, failure.host) == (LIMITED, registry.host)
        assert failure.http_status in (0, 429)
        tried = len(registry.matching("GET .*/blobs/"))
        assert tried <= (AT_ONCE if wait == "3600" else 5 * len(IMAGE.blobs))
        budgets = client.registry.rate_budgets(registry.host)
        assert [one.HasField("blocked_until") for one in budgets] == (
            [] if wait is None else [wait == "3600"]
        )
        # The registry is well again, and the pull can be resumed at once.
        if wait != "3600":
            registry.behave()
            client.transfers.resume(record.name)
            again, _ = watched(client, record.name)
            assert again.state == SUCCEEDED


@pytest.mark.parametrize("wait", ["1", None])
def test_a_push_keeps_to_the_limits_of_its_registry(
    daemon: Daemon, client: Client, wait: str | None
) -> None:
    with HostileRegistry() as source, TakingRegistry() as registry:
        from_there = source.add("library/app", IMAGE, "1")
        client.pull(from_there).result()
        name = f"{registry.host}/team/app:1"
        assert daemon.imgctl("tag", from_there, name).returncode == 0
        more = {"Retry_After": wait} if wait else {}
        registry.refuse("(POST|PUT|PATCH|HEAD) ", 429, "TOOMANYREQUESTS", times=6, **more)
        record, retries = watched(client, client.transfers.push(name, detach=True).name)
        assert record.state == SUCCEEDED, record.outcome.failure
        check_retries(record, retries)
        assert registry.holds("team/app", IMAGE, "1")
        assert registry.received == sum(map(len, IMAGE.blobs.values()))


def test_imgctl_says_what_it_waits_for_before_there_are_layers(daemon: Daemon) -> None:
    with HostileRegistry() as registry:
        reference = registry.add("library/app", IMAGE, "1")
        registry.on(".*/manifests/1", refuse(429, Retry_After="2"), times=1)
        done = daemon.imgctl("pull", reference)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^{reference}: Retrying in [1-3] seconds?$", done.stdout, re.MULTILINE)


def test_imgctl_says_when_it_tries_again(daemon: Daemon) -> None:
    with HostileRegistry() as registry:
        reference = registry.add("library/app", IMAGE, "1")
        layer = str(IMAGE.document["layers"][0]["digest"])
        registry.on(f"GET .*/blobs/{layer}", refuse(429, Retry_After="2"), times=1)
        done = daemon.imgctl("pull", reference)
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stdout.splitlines() if layer[7:19] in line]
        waits = [re.fullmatch(rf"{layer[7:19]}: Retrying in [0-3] seconds?", one) for one in said]
        assert any(waits), said
        assert said[-1] == f"{layer[7:19]}: Pull complete"
