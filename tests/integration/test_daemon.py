"""The daemon as a process: how it stops, what it answers besides its API, what it logs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from imgd.v1 import (
    content_service_pb2,
    content_service_pb2_grpc,
    image_service_pb2,
    image_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    transfer_pb2,
    transfer_service_pb2,
    transfer_service_pb2_grpc,
)
from imgd_server import __main__ as command
from imgd_server.__main__ import main
from tests.daemon import BIN, PATIENCE, imgd, refused, run_daemon, serves
from tests.fake_images import make_image
from tests.hostile import HostileRegistry, stall

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
State = transfer_pb2.TransferState
LAYERS = [bytes([number]) * 400_000 for number in range(3)]
TAR = "application/vnd.oci.image.layer.v1.tar"
IMAGE = make_image(LAYERS, layer_type=TAR)
SMALL = make_image([b"z" * 500_000], layer_type=TAR)


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[grpc.Channel]:
    """A channel to a daemon of this test's own."""
    with run_daemon(tmp_path / "state") as daemon, grpc.insecure_channel(daemon.address) as channel:
        yield channel


# --- how it stops


@contextlib.contextmanager
def held_registry() -> Iterator[HostileRegistry]:
    """A registry that holds the layers of `app:1` back until it is to `behave`."""
    with HostileRegistry() as registry:
        registry.add("app", IMAGE, "1")
        registry.on("GET .*/app/blobs/", stall(after=1000))
        yield registry


def transfers(channel: grpc.Channel) -> Any:
    return transfer_service_pb2_grpc.TransferServiceStub(channel)


def start(channel: grpc.Channel, reference: str) -> str:
    """Starts a pull, and returns the transfer's name."""
    request = transfer_service_pb2.StartTransferRequest()
    request.source.registry.reference = reference
    request.destination.store.SetInParent()
    name: str = transfers(channel).StartTransfer(request).transfer.name
    return name


def watch(channel: grpc.Channel, name: str) -> Any:
    return transfers(channel).WatchTransfer(
        transfer_service_pb2.WatchTransferRequest(name=name), timeout=PATIENCE
    )


def until_moving(events: Any) -> None:
    """Reads a watch until some bytes of a layer are here."""
    for answer in events:
        part = answer.event.snapshot if answer.event.HasField("snapshot") else answer.event.update
        for node in part.nodes:
            if node.kind == transfer_pb2.NODE_KIND_LAYER and any(
                activity.current_bytes for activity in node.activities
            ):
                return
    raise AssertionError("it ended before")


def end_of(channel: grpc.Channel, name: str) -> transfer_pb2.Transfer:
    *_, last = watch(channel, name)
    ended: transfer_pb2.Transfer = last.event.finished.transfer
    return ended


def status_of(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, set[str]]:
    """The code, the reason, and the kinds of details."""
    call: Any = error
    raw = dict(call.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    status = status_pb2.Status.FromString(raw)
    info = error_details_pb2.ErrorInfo()
    assert not status.details or status.details[0].Unpack(info)
    return call.code(), info.reason, {one.type_url.rpartition(".")[2] for one in status.details}


class HealthWatch:
    """A health watch, read behind the test's back."""

    def __init__(self, channel: grpc.Channel) -> None:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        self._call = stub.Watch(
            health_pb2.HealthCheckRequest(service="imgd.v1.TransferService"), timeout=PATIENCE
        )
        self._seen: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for answer in self._call:
                self._seen.put(answer.status)

    def next(self) -> int:
        """The next status that is told."""
        return self._seen.get(timeout=PATIENCE)

    def close(self) -> None:
        """Ends it."""
        self._call.cancel()


def slow_channel(address: str) -> grpc.Channel:
    """A channel that takes little before it is read, so that a large answer stays open."""
    options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    return grpc.insecure_channel(address, options=options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_drains_and_the_next_daemon_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    root = tmp_path / "state"
    layer: str = SMALL.document["layers"][0]["digest"]
    with held_registry() as registry:
        registry.add("small", SMALL, "1")
        with (
            run_daemon(root, "--drain", "60") as first,
            grpc.insecure_channel(first.address) as channel,
            slow_channel(first.address) as slow,
        ):
            health = HealthWatch(channel)
            assert health.next() == SERVING
            small = end_of(channel, start(channel, f"{registry.host}/small:1"))
            assert small.state == State.TRANSFER_STATE_SUCCEEDED
            open_call: Any = content_service_pb2_grpc.ContentServiceStub(slow).ReadBlob(
                content_service_pb2.ReadBlobRequest(digest=layer), timeout=PATIENCE
            )
            open_call.initial_metadata()
            name = start(channel, f"{registry.host}/app:1")
            events = watch(channel, name)
            until_moving(events)
            first.process.send_signal(number)
            # Another one, while it drains, harms nothing.
            first.process.send_signal(number)
            assert health.next() == NOT_SERVING
            for call in (
                lambda: list(events),
                lambda: start(channel, f"{registry.host}/app:1"),
                lambda: list(watch(channel, name)),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    call()
                code, reason, details = status_of(caught.value)
                assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
                assert "RetryInfo" in details
            # What was asked for before is answered to its end.
            assert first.process.poll() is None
            assert b"".join(one.data for one in open_call) == SMALL.blobs[layer]
            assert first.process.wait(PATIENCE) == 0
            assert [entry["event"] for entry in first.log][-1] == "stopped"
        assert imgd("fsck", "--root", str(root), "--verify-content").returncode == 0
        registry.behave()
        with run_daemon(root) as second, grpc.insecure_channel(second.address) as channel:
            request = transfer_service_pb2.GetTransferRequest(name=name)
            record = transfers(channel).GetTransfer(request).transfer
            assert record.state == State.TRANSFER_STATE_INTERRUPTED
            assert record.outcome.failure.code == grpc.StatusCode.ABORTED.value[0]
            # Watching one that was interrupted shows how far it got, and its end.
            first_event, *_, last_event = watch(channel, name)
            assert first_event.event.snapshot.progress.current_bytes > 0
            assert last_event.event.finished.transfer == record
            transfers(channel).ResumeTransfer(transfer_service_pb2.ResumeTransferRequest(name=name))
            ended = end_of(channel, name)
            assert ended.state == State.TRANSFER_STATE_SUCCEEDED
            # It went on where it was.
            assert ended.outcome.fetched_bytes < sum(map(len, LAYERS))


def test_a_call_that_outlasts_the_drain_is_cut(tmp_path: Path) -> None:
    layer: str = SMALL.document["layers"][0]["digest"]
    with (
        held_registry() as registry,
        run_daemon(tmp_path / "state", "--drain", "0") as daemon,
        slow_channel(daemon.address) as channel,
    ):
        registry.add("small", SMALL, "1")
        end_of(channel, start(channel, f"{registry.host}/small:1"))
        call: Any = content_service_pb2_grpc.ContentServiceStub(channel).ReadBlob(
            content_service_pb2.ReadBlobRequest(digest=layer), timeout=PATIENCE
        )
        call.initial_metadata()
        assert daemon.stop() == 0
        with pytest.raises(grpc.RpcError):
            list(call)


def test_an_idle_daemon_stops_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with run_daemon(tmp_path / "state") as daemon:
        assert daemon.stop() == 0
        assert not Path(daemon.address.removeprefix("unix:")).exists()


def test_a_stop_while_it_starts_is_a_stop(tmp_path: Path) -> None:
    flags = ("--registry-listen", "127.0.0.1:0", "--samples")
    words = [str(BIN / "imgd"), "serve", "--root", f"{tmp_path}/state"]
    words += ["--listen", f"unix:{tmp_path}/imgd.sock", *flags]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            # It holds its lock: it has begun, and makes samples for a while.
            lock = tmp_path / "state" / "lock"
            deadline = time.monotonic() + PATIENCE
            while not lock.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode in (0, -signal.SIGTERM), said
    with run_daemon(tmp_path / "state", *flags) as daemon:
        assert serves(daemon.address)


# --- gRPC's own services


def test_health(channel: grpc.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", "imgd.v1.ImageService", "imgd.v1.TransferService", "imgd.v1.SystemService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="imgd.v1.NoService"))
    assert status_of(caught.value)[0] is grpc.StatusCode.NOT_FOUND


def test_reflection(channel: grpc.Channel) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    request: Any = reflection_pb2.ServerReflectionRequest

    def ask(**question: str) -> Any:
        (answer,) = stub.ServerReflectionInfo(iter([request(**question)]), timeout=PATIENCE)
        return answer

    listed = {one.name for one in ask(list_services="*").list_services_response.service}
    assert listed >= {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "imgd.v1.ContentService",
        "imgd.v1.ImageService",
        "imgd.v1.SystemService",
        "imgd.v1.TransferService",
    }
    found = ask(file_containing_symbol="imgd.v1.TransferService")
    assert found.file_descriptor_response.file_descriptor_proto


def test_channelz(channel: grpc.Channel) -> None:
    stub = channelz_pb2_grpc.ChannelzStub(channel)
    (server,) = stub.GetServers(channelz_pb2.GetServersRequest()).server
    assert server.data.calls_started > 0
    assert len(server.listen_socket) == 1


def test_a_caller_who_pings_too_often_is_cut_off(channel: grpc.Channel, tmp_path: Path) -> None:
    limits = (
        system_service_pb2_grpc.SystemServiceStub(channel)
        .GetCapabilities(system_service_pb2.GetCapabilitiesRequest())
        .capabilities.limits
    )
    assert limits.min_keepalive_interval.seconds == 10
    options = [
        ("grpc.keepalive_time_ms", 100),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    with grpc.insecure_channel(f"unix:{tmp_path}/state.sock", options=options) as hasty:
        stub: Any = health_pb2_grpc.HealthStub(hasty)
        call = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    assert status_of(caught.value)[0] is grpc.StatusCode.UNAVAILABLE
    assert "too_many_pings" in call.details().lower().replace(" ", "_")


# --- what it logs


def test_every_line_is_json_and_no_line_holds_a_secret(tmp_path: Path) -> None:
    secret = "hunter2-s3cr3t"
    with (
        held_registry() as registry,
        run_daemon(tmp_path / "state", "--log-level", "debug") as daemon,
        grpc.insecure_channel(daemon.address) as channel,
    ):
        registry.behave()
        registry.require_basic("user", "another")
        request = transfer_service_pb2.PullRequest(reference=f"{registry.host}/app:1")
        request.credentials.user_password.user = "user"
        request.credentials.user_password.password = secret
        answers = list(transfers(channel).Pull(request))
        assert answers[-1].event.finished.transfer.state == State.TRANSFER_STATE_FAILED
        # A secret in a place where none belongs.
        with pytest.raises(grpc.RpcError):
            list(transfers(channel).Pull(transfer_service_pb2.PullRequest(reference=f"{secret} x")))
        request.credentials.registry_token = secret
        list(transfers(channel).Pull(request))
        assert secret not in "".join(map(str, answers))
        assert daemon.stop() == 0
    assert [entry["event"] for entry in daemon.log if "level" not in entry] == []
    for entry in daemon.log:
        assert secret not in json.dumps(entry)
        assert entry["timestamp"].endswith("Z")
        assert entry["level"] in ("debug", "info", "warning", "error")
    events = [entry["event"] for entry in daemon.log]
    assert events.count("serving") == 1
    assert events.count("transfer ended") == 2
    assert events[-2:] == ["stopping", "stopped"]
    (ended, _) = [entry for entry in daemon.log if entry["event"] == "transfer ended"]
    assert ended["state"] == "FAILED"
    assert ended["reference"] == f"{registry.host}/app:1"


def test_a_log_that_nobody_reads_harms_nothing(tmp_path: Path) -> None:
    words = [str(BIN / "imgd"), "serve", "--root", f"{tmp_path}/state"]
    process = subprocess.Popen(
        [*words, "--listen", f"unix:{tmp_path}/imgd.sock"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    while json.loads(process.stderr.readline())["event"] != "serving":
        pass
    process.stderr.close()
    with (
        held_registry() as registry,
        grpc.insecure_channel(f"unix:{tmp_path}/imgd.sock") as channel,
    ):
        registry.behave()
        # Its end is logged, into nowhere.
        ended = end_of(channel, start(channel, f"{registry.host}/app:1"))
        assert ended.state == State.TRANSFER_STATE_SUCCEEDED
        assert serves(f"unix:{tmp_path}/imgd.sock")
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)
    assert not (tmp_path / "imgd.sock").exists()
    assert imgd("fsck", "--root", f"{tmp_path}/state").returncode == 0


def test_text_for_people_has_no_colours_in_a_pipe(tmp_path: Path) -> None:
    words = [str(BIN / "imgd"), "serve", "--root", f"{tmp_path}/state", "--log-format", "text"]
    process = subprocess.Popen(
        [*words, "--listen", f"unix:{tmp_path}/imgd.sock"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    first = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=PATIENCE)
    assert "serving" in first
    assert "\x1b" not in first + rest


# --- the command


@pytest.mark.parametrize(
    "words", [[], ["nope"], ["serve", "--nope"], ["serve", "more"], ["fsck", "--listen", "x"]]
)
def test_a_mistake_in_the_command_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 125
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_a_mistake_in_the_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--drain", "soon"]) == 1
    monkeypatch.setenv("IMGD_READ_TIMEOUT", "later")
    assert main(["serve"]) == 1
    flag, variable = capsys.readouterr().err.splitlines()
    assert flag.startswith("imgd: drain (from the flag --drain): ")
    assert variable.startswith("imgd: read_timeout (from the environment's IMGD_READ_TIMEOUT): ")


def test_what_the_system_refuses_is_a_line_and_ctrl_c_is_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise PermissionError(13, "Permission denied", "/var/lib/imgd/metadata.db")

    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_run", fail)
    assert main(["version"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("imgd: ")
    assert "/var/lib/imgd/metadata.db" in line
    monkeypatch.setattr(command, "_run", interrupt)
    assert main(["version"]) == 130


def test_a_mistake_that_only_shows_when_it_starts(tmp_path: Path) -> None:
    address = ("--listen", f"unix:{tmp_path}/imgd.sock")
    assert "/dev/null" in refused("--root", "/dev/null/state", *address)
    line = refused("--root", f"{tmp_path}/state", *address, "--samples")
    assert "samples: needs registry_listen" in line


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert imgd("version").stdout == f"imgd {importlib.metadata.version('imgd')}\n"
    for words in (["--help"], ["serve", "--help"], ["fsck", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "IMGD_REGISTRY_LISTEN" in text
    assert "--verify-content" in text


def test_fsck(tmp_path: Path) -> None:
    root = tmp_path / "state"
    done = imgd("fsck", "--root", str(root))
    assert done.returncode == 1
    assert "there is no store" in done.stderr
    # It did not make one.
    assert not root.exists()
    with held_registry() as registry, run_daemon(root) as daemon:
        registry.behave()
        assert daemon.imgctl("pull", f"{registry.host}/app:1").returncode == 0
        with grpc.insecure_channel(daemon.address) as channel:
            images = image_service_pb2_grpc.ImageServiceStub(channel)
            (image,) = images.ListImages(image_service_pb2.ListImagesRequest()).images
    clean = imgd("fsck", "--root", str(root), "--verify-content")
    assert (clean.returncode, clean.stdout, clean.stderr) == (0, "no problems found\n", "")
    layer: str = IMAGE.document["layers"][0]["digest"]
    blob = root / "content" / "blobs" / "sha256" / layer.removeprefix("sha256:")
    blob.chmod(0o600)
    blob.write_bytes(b"y" * blob.stat().st_size)
    quick = imgd("fsck", "--root", str(root))
    assert quick.returncode == 0
    thorough = imgd("fsck", "--root", str(root), "--verify-content")
    assert thorough.returncode == 1
    assert thorough.stdout.startswith(f"DIGEST_MISMATCH {layer}: ")
    blob.unlink()
    lost = imgd("fsck", "--root", str(root))
    assert lost.returncode == 1
    assert image.name in lost.stdout
    assert layer in lost.stdout
