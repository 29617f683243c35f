"""Addresses, delays, requests, and where a transfer stands: what does no I/O."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgd.v1 import transfer_pb2, transfer_service_pb2
from imgd_client import AsyncClient, Client, ProgressState, Unavailable, Watch, default_address
from imgd_client import _requests as requests
from imgd_client._address import target
from imgd_client._backoff import Backoff
from tests.scripted import NAME, finished, heartbeat, node, snapshot, unknown_arm, update


class TestAddress:
    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("unix:/run/imgd/imgd.sock", "unix:/run/imgd/imgd.sock"),
            ("unix:///run/imgd/imgd.sock", "unix:/run/imgd/imgd.sock"),
            ("unix:relative.sock", "unix:relative.sock"),
            (f"unix:/{'x' * 106}", f"unix:/{'x' * 106}"),
            ("127.0.0.1:7070", "127.0.0.1:7070"),
            ("localhost:1", "localhost:1"),
            ("[::1]:65535", "[::1]:65535"),
        ],
    )
    def test_takes(self, address: str, expected: str) -> None:
        assert target(address) == expected

    @pytest.mark.parametrize(
        ("address", "words"),
        [
            ("unix:", "names no socket"),
            ("unix://", "unix:///PATH"),
            ("unix://host/path", "unix:///PATH"),
            (f"unix:/{'x' * 107}", "at most 107 bytes"),
            (f"unix:/{'é' * 54}", "at most 107 bytes"),
            ("/run/imgd.sock", "neither"),
            ("localhost", "neither"),
            ("localhost:", "neither"),
            (":7070", "neither"),
            ("localhost:0", "neither"),
            ("localhost:65536", "neither"),
            ("localhost:-1", "neither"),
            ("localhost:７０", "neither"),
            ("::1:7070", "neither"),
            ("http://localhost:80", "neither"),
            ("dns:///localhost:80", "neither"),
            ("localhost:80/path", "neither"),
            ("local host:80", "neither"),
            (" ", "neither"),
        ],
    )
    def test_refuses(self, address: str, words: str) -> None:
        for refuse in (target, Client, AsyncClient):
            with pytest.raises(ValueError, match=words) as caught:
                refuse(address)
            assert repr(address)[:20] in str(caught.value)

    def test_comes_from_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("IMGD_ADDRESS", "localhost:7070")
        assert default_address() == "localhost:7070"
        assert Client().address == "localhost:7070"
        assert Client("unix:/other").address == "unix:/other"

        monkeypatch.setenv("IMGD_ADDRESS", "")
        monkeypatch.setattr("os.geteuid", lambda: 0)
        assert default_address() == "unix:///run/imgd/imgd.sock"

        monkeypatch.setattr("os.geteuid", lambda: 1000)
        monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
        assert default_address() == "unix:/run/user/1000/imgd.sock"

        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setattr("imgd_client._address._FALL_BACK", f"{tmp_path}/imgd-{{}}")
        assert default_address() == f"unix:{tmp_path}/imgd-1000/imgd.sock"

    def test_is_in_no_folder_that_somebody_else_made(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Anybody can make `/tmp/imgd-UID`, and serve there in the user's name."""
        user = 4711 if os.geteuid() == 0 else os.geteuid()
        monkeypatch.setattr("os.geteuid", lambda: user)
        monkeypatch.setattr("imgd_client._address._FALL_BACK", f"{tmp_path}/imgd-{{}}")
        for name in ("IMGD_ADDRESS", "XDG_RUNTIME_DIR"):
            monkeypatch.delenv(name, raising=False)
        folder = tmp_path / f"imgd-{user}"
        folder.mkdir(mode=0o700)
        os.chown(folder, user, -1)
        assert default_address() == f"unix:{folder}/imgd.sock"
        for mode in (0o720, 0o702, 0o1777):
            folder.chmod(mode)
            with pytest.raises(ValueError, match="not this user's alone"):
                Client()
        folder.chmod(0o755)
        assert Client().address == f"unix:{folder}/imgd.sock"

        folder.rename(tmp_path / "real")
        folder.symlink_to(tmp_path / "real")
        with pytest.raises(ValueError, match=str(folder)):
            default_address()
        folder.unlink()
        (tmp_path / "real").rename(tmp_path / "imgd-815")
        monkeypatch.setattr("os.geteuid", lambda: 815)
        with pytest.raises(ValueError, match="somebody else"):
            default_address()
        # It is looked at where it is used.
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{tmp_path}")
        assert default_address() == f"unix:{tmp_path}/imgd.sock"


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestBackoff:
    def test_doubles_up_to_a_bound(self) -> None:
        backoff = Backoff(1e9, draw=lambda: 1.0)

        delays = [backoff.next_delay() for _ in range(9)]

        assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]

    def test_draws_from_the_upper_half(self) -> None:
        assert Backoff(60, draw=lambda: 0.0).next_delay() == 0.05

    def test_waits_at_least_as_long_as_asked(self) -> None:
        assert Backoff(60, draw=lambda: 1.0).next_delay(3.0) == 3.0
        assert Backoff(60, draw=lambda: 1.0).next_delay(0.01) == 0.1
        # Not for ever, whoever asks.
        assert Backoff(1e9).next_delay(1e6) == 60.0

    def test_ends_with_its_patience(self) -> None:
        clock = _Clock()
        backoff = Backoff(10, clock=clock, draw=lambda: 1.0)

        assert backoff.next_delay(4) == 4
        clock.now += 8
        # The last attempt is when the patience ends, not after.
        assert backoff.next_delay(4) == 2
        clock.now += 2
        assert backoff.next_delay() is None

    def test_begins_anew_when_something_worked(self) -> None:
        clock = _Clock()
        backoff = Backoff(10, clock=clock, draw=lambda: 1.0)
        backoff.next_delay()
        backoff.next_delay()
        clock.now += 100

        backoff.reset()

        assert backoff.next_delay() == 0.1

    @given(
        st.floats(0.1, 1000), st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0, 100)))
    )
    @settings(deadline=None)
    def test_never_waits_past_its_patience(
        self, patience: float, steps: list[tuple[float, float | None]]
    ) -> None:
        clock = _Clock()
        backoff = Backoff(patience, clock=clock)
        end = None
        for passed, asked in steps:
            delay = backoff.next_delay(asked)
            end = clock.now + patience if end is None else end
            if delay is None:
                assert clock.now >= end
                return
            assert 0 < delay <= end - clock.now + 1e-9
            clock.now += passed


class TestRequests:
    def test_a_pull_is_a_transfer_from_a_registry_to_the_store(self) -> None:
        lease = transfer_pb2.LeaseSpec(lease_id="job")
        limits = transfer_pb2.TransferLimits(max_concurrency=2)
        credentials = transfer_pb2.RegistryCredentials(registry_token="secret")

        request = requests.start_pull(
            "redis:7",
            platforms=["linux/arm64"],
            policy=transfer_pb2.PULL_POLICY_IF_NOT_PRESENT,
            credentials=credentials,
            tags=["mine:1"],
            unpack=True,
            lease=lease,
            limits=limits,
            request_id="mine",
        )

        assert request.source.registry.reference == "redis:7"
        assert request.source.registry.credentials == credentials
        store = request.destination.store
        assert (store.policy, [*store.tags], store.unpack) == (2, ["mine:1"], True)
        assert store.lease == lease
        assert request.limits == limits
        assert [*request.platforms.platforms] == ["linux/arm64"]
        assert request.request_id == "mine"

    def test_what_is_not_said_stays_absent(self) -> None:
        request = requests.start_pull("redis")

        assert not request.HasField("platforms")
        assert not request.HasField("limits")
        assert not request.source.registry.HasField("credentials")
        assert not request.destination.store.HasField("lease")
        assert request.request_id != requests.start_pull("redis").request_id

    def test_all_platforms(self) -> None:
        request = requests.start_pull("redis", all_tags=True, include_referrers=True)
        assert (request.source.registry.all_tags, request.source.registry.include_referrers) == (
            True,
            True,
        )
        request = requests.start_pull("redis", all_platforms=True)

        assert request.platforms.all

    def test_one_platform_is_no_list(self) -> None:
        # Every letter would be one.
        with pytest.raises(TypeError, match="list of strings"):
            requests.start_pull("redis", platforms="linux/arm64")

    def test_a_request_id_is_added_to_a_copy(self) -> None:
        request = transfer_service_pb2.StartTransferRequest()

        assert requests.with_request_id(request).request_id
        assert not request.request_id
        request.request_id = "mine"
        assert requests.with_request_id(request) is request

    @pytest.mark.parametrize("name", ["transfers/T1", "T1"])
    def test_a_transfer_goes_by_its_id(self, name: str) -> None:
        assert requests.transfer_name(name) == "transfers/T1"

    def test_an_interval_may_be_absent_or_zero(self) -> None:
        assert not requests.watch(NAME, 7, None).HasField("min_interval")
        assert requests.watch(NAME, 7, 0).HasField("min_interval")
        assert requests.watch(NAME, 7, 1.25).min_interval.ToMilliseconds() == 1250
        assert requests.watch(NAME, 7, 0).after_sequence == 7


class TestProgressState:
    def test_folds_events(self) -> None:
        state = ProgressState()
        waiting = transfer_pb2.NODE_STATE_WAITING

        changed = state.apply(snapshot(1, node(0, waiting), node(1, waiting)))
        assert changed == [node(0, waiting), node(1, waiting)]
        assert state.state == transfer_pb2.TRANSFER_STATE_RUNNING

        changed = state.apply(update(2, node(1), node(2)))
        assert changed == [node(1), node(2)]
        assert [*state.nodes.values()] == [node(0, waiting), node(1), node(2)]
        assert state.progress.current_bytes == 2

        assert state.apply(update(3, node(1))) == []

        assert state.apply(finished(4)) == []
        assert state.finished
        assert state.sequence == 4
        assert state.transfer is not None
        assert state.state == state.transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
        # What was drawn is still there to be drawn.
        assert len(state.nodes) == 3

    def test_a_snapshot_replaces_everything_and_tells_what_differs(self) -> None:
        state = ProgressState()
        state.apply(snapshot(1, node(0), node(1)))

        changed = state.apply(snapshot(2, node(1), node(2)))

        assert changed == [node(2)]
        assert [*state.nodes.values()] == [node(1), node(2)]

    @pytest.mark.parametrize("event", [heartbeat(9), unknown_arm(9)], ids=["heartbeat", "unknown"])
    def test_some_events_only_count(self, event: transfer_pb2.TransferEvent) -> None:
        state = ProgressState()
        state.apply(snapshot(1, node()))

        assert state.apply(event) == []
        assert state.sequence == 9
        assert state.nodes == {node().node_id: node()}

    def test_knows_which_nodes_people_wait_for(self) -> None:
        state = ProgressState()
        nodes = [
            transfer_pb2.TransferNode(node_id=str(kind), kind=kind)
            for kind in transfer_pb2.NodeKind.values()
        ]

        state.apply(snapshot(1, *nodes))

        layers = [transfer_pb2.NODE_KIND_LAYER, transfer_pb2.NODE_KIND_BLOB]
        assert [one.kind for one in state.layers] == layers


class _Call:
    """A WatchTransfer call that waits until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    def __next__(self) -> transfer_service_pb2.WatchTransferResponse:
        assert self.cancelled, "it would wait for ever"
        raise _Cancelled

    def __iter__(self) -> Iterator[Any]:
        return self

    def cancel(self) -> None:
        self.cancelled = True


class _Cancelled(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return "Locally cancelled"

    def trailing_metadata(self) -> Any:
        return ()


def test_a_watch_closed_while_it_attaches_does_not_wait() -> None:
    call = _Call()

    def attach(after: int) -> _Call:
        # As if another thread closed it now.
        watch.close()
        return call

    watch = Watch(attach, patience=0)

    assert next(watch, None) is None
    assert call.cancelled


def test_a_watch_whose_daemon_never_was_there_fails_at_once() -> None:
    def attach(after: int) -> _Call:
        raise _Unreachable

    with pytest.raises(Unavailable):
        next(Watch(attach, patience=60))


class _Unreachable(_Cancelled):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE
