"""imgctl as people use it: a process of its own, against a real daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from imgd.v1 import transfer_pb2
from imgd_client import Client, ProgressState
from tests.daemon import BIN, PATIENCE, Daemon, run_daemon
from tests.gate import Gate, gate
from tests.terminal import Terminal

IMGCTL = str(BIN / "imgctl")
RUNNING = transfer_pb2.TRANSFER_STATE_RUNNING
_DIGEST = r"sha256:[0-9a-f]{64}"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose registry has the sample images; its own store stays empty."""
    root = tmp_path_factory.mktemp("samples") / "root"
    with run_daemon(root, "--registry-listen", "127.0.0.1:0", "--samples") as daemon:
        yield daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon with nothing in it."""
    with run_daemon(tmp_path / "root") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, samples: Daemon) -> Iterator[Daemon]:
    """A daemon that has pulled both samples, for tests that only look."""
    with run_daemon(tmp_path_factory.mktemp("stocked") / "root") as daemon:
        for name in ("python", "hello"):
            pulled = daemon.imgctl("pull", "-q", f"{samples.registry}/samples/{name}")
            assert not pulled.returncode, pulled.stderr
        yield daemon


@pytest.fixture
def front(samples: Daemon) -> Iterator[Gate]:
    """A front before the samples' registry, closed: large layers stop before their last byte."""
    with gate(samples.registry) as front:
        front.close()
        yield front


@pytest.fixture
def terminal(daemon: Daemon) -> Iterator[Callable[..., Terminal]]:
    """Runs imgctl on a terminal."""
    opened: list[Terminal] = []

    def run(*words: str, **options: Any) -> Terminal:
        opened.append(Terminal([IMGCTL, "--address", daemon.address, *words], **options))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def _start(daemon: Daemon, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [IMGCTL, "--address", daemon.address, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _begin(daemon: Daemon, reference: str) -> str:
    """Begins a pull that stays behind a closed gate, and waits until its layers are known."""
    name = daemon.imgctl("pull", "--detach", reference).stdout.strip()
    with Client(daemon.address) as client, client.watch(name) as watch:
        state = ProgressState()
        for event in watch:
            state.apply(event)
            if len(state.layers) == 4:
                return name
    raise AssertionError(f"{name} ended: {state.transfer}")


def _transfer(daemon: Daemon, name: str) -> transfer_pb2.Transfer:
    with Client(daemon.address) as client:
        return client.transfers.get(name)


class TestPull:
    def test_says_what_docker_says(self, daemon: Daemon, samples: Daemon) -> None:
        name = f"{samples.registry}/samples/hello"

        first = daemon.imgctl("pull", name)
        again = daemon.imgctl("pull", f"{name}:latest")

        lines = first.stdout.splitlines()
        layer = lines[2].partition(":")[0]
        assert re.fullmatch("[0-9a-f]{12}", layer)
        digest = lines[4].removeprefix("Digest: ")
        assert re.fullmatch(_DIGEST, digest)
        assert lines == [
            "Using default tag: latest",
            "latest: Pulling from samples/hello",
            f"{layer}: Pulling fs layer",
            f"{layer}: Pull complete",
            f"Digest: {digest}",
            f"Status: Downloaded newer image for {name}:latest",
            f"{name}:latest",
        ]
        assert again.stdout.splitlines() == [
            "latest: Pulling from samples/hello",
            f"Digest: {digest}",
            f"Status: Image is up to date for {name}:latest",
            f"{name}:latest",
        ]
        assert (first.returncode, first.stderr, again.returncode, again.stderr) == (0, "", 0, "")

        by_digest = daemon.imgctl("pull", f"{name}@{digest}").stdout.splitlines()
        assert by_digest == [
            f"{name}@{digest}: Pulling from samples/hello",
            f"{layer}: Already exists",
            f"Digest: {digest}",
            # The name is new, though the image is not.
            f"Status: Downloaded newer image for {name}@{digest}",
            f"{name}@{digest}",
        ]

    def test_quietly(self, stocked: Daemon, samples: Daemon) -> None:
        done = stocked.imgctl("image", "pull", "-q", f"{samples.registry}/samples/hello")

        assert done.stdout == f"{samples.registry}/samples/hello:latest\n"
        assert (done.stderr, done.returncode) == ("", 0)

    def test_prints_each_event_as_json(self, daemon: Daemon, samples: Daemon) -> None:
        done = daemon.imgctl("pull", "--json", f"{samples.registry}/samples/python")

        events = [
            json_format.Parse(line, transfer_pb2.TransferEvent())
            for line in done.stdout.splitlines()
        ]
        kinds = [event.WhichOneof("event") for event in events]
        assert kinds[0] == "snapshot"
        assert kinds.count("finished") == 1
        assert kinds[-1] == "finished"
        assert [event.sequence for event in events] == sorted({event.sequence for event in events})
        state = ProgressState()
        for event in events:
            state.apply(event)
        assert state.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
        assert {node.state for node in state.layers} == {transfer_pb2.NODE_STATE_DONE}

    def test_within_bounds(self, daemon: Daemon, samples: Daemon) -> None:
        """Those of a pull, a push and a copy stand in their records, whatever becomes of them."""
        name = f"{samples.registry}/samples/hello"
        bounds = ["--limit-rate", "1.5GB", "--max-concurrency", "2"]
        asked = transfer_pb2.TransferLimits(max_bytes_per_second=1_500_000_000, max_concurrency=2)
        for words in (["pull", name], ["push", name], ["copy", name, f"{name}:2"]):
            done = daemon.imgctl(*words, "--detach", *bounds)
            assert not done.returncode, done.stderr
            assert _transfer(daemon, done.stdout.strip()).limits == asked
            failed = daemon.imgctl("watch", done.stdout.strip()).returncode
            assert bool(failed) == (words[0] != "pull")  # the samples are read-only

        refused = daemon.imgctl("pull", name, "--limit-rate", "1kB")
        assert refused.returncode == 1
        assert "max_bytes_per_second" in refused.stderr
        refused = daemon.imgctl("pull", name, "--limit-rate", "fast")
        assert refused.returncode == 125
        assert "--limit-rate" in refused.stderr

    @pytest.mark.parametrize("options", [[], ["-q"], ["--json"]], ids=["plain", "quiet", "json"])
    def test_a_failure_is_one_line(
        self, stocked: Daemon, samples: Daemon, options: list[str]
    ) -> None:
        done = stocked.imgctl("pull", *options, f"{samples.registry}/nothing/here:1")

        assert done.returncode == 1
        assert re.fullmatch(r"imgctl: .*nothing/here.* \(REMOTE_NOT_FOUND\)\n", done.stderr)

    def test_a_bad_reference_is_told_before_anything_else(self, stocked: Daemon) -> None:
        done = stocked.imgctl("pull", "app//twice:1")

        assert (done.stdout, done.returncode) == ("", 1)
        assert re.fullmatch(r"imgctl: .*app//twice.* \(REFERENCE_INVALID\)\n", done.stderr)

    def test_leaves_a_transfer_to_itself(self, daemon: Daemon, front: Gate) -> None:
        name = _begin(daemon, f"{front.address}/samples/python")

        assert re.fullmatch(r"transfers/[0-9A-Z]+", name)
        assert _transfer(daemon, name).state == RUNNING


class TestOnATerminal:
    @pytest.mark.parametrize("width", [120, 80, 60, 24])
    def test_draws_a_line_for_each_layer(
        self, terminal: Callable[..., Terminal], front: Gate, width: int
    ) -> None:
        name = f"{front.address}/samples/python:latest"
        screen = terminal("pull", name, width=width)

        # The four layers, and the whole; figures are drawn last.
        whole = r"\nTotal +\d/\d" + (r".*MB/.*MB" if width >= 60 else "")
        screen.wait_for(
            lambda: screen.text.count("  Down") == 4 and bool(re.search(whole, screen.text))
        )
        *title, first, second, third, fourth, total = screen.text.splitlines()
        assert "".join(title) == "latest: Pulling from samples/python"
        for line in (first, second, third, fourth):
            assert re.match(r"[0-9a-f]{9}(…|[0-9a-f]{3})  Down", line)
        assert ("MB" in total) == (width >= 60)
        assert ("━" in total) == (width >= 80)

        front.open()
        assert screen.wait() == 0

        lines = screen.text.splitlines()
        done = [line for line in lines if re.match(r"[0-9a-f…]{10,12}  Pull comple(te|…)$", line)]
        assert len(done) == 4
        assert not [line for line in lines if line.startswith("Total") or "━" in line]
        # What comes after begins on a line of its own, and the cursor is back.
        after = "".join(lines[lines.index(done[-1]) + 1 :])
        assert re.fullmatch(rf"Digest: {_DIGEST}Status: Downloaded newer image for (.*)\1", after)
        assert screen.raw.rindex("\x1b[?25h") > screen.raw.rindex("\x1b[?25l")

    def test_shows_no_layers_when_there_was_nothing_to_do(
        self, stocked: Daemon, samples: Daemon
    ) -> None:
        name = f"{samples.registry}/samples/hello:latest"
        screen = Terminal([IMGCTL, "--address", stocked.address, "pull", name], width=200)

        status = screen.wait()
        screen.close()

        assert status == 0
        assert re.fullmatch(
            "latest: Pulling from samples/hello\n"
            rf"Digest: {_DIGEST}\n"
            f"Status: Image is up to date for {name}\n"
            f"{name}",
            screen.text,
        )

    def test_draws_without_colours_where_none_are_wanted(
        self, terminal: Callable[..., Terminal], front: Gate
    ) -> None:
        screen = terminal("pull", f"{front.address}/samples/python", environment={"NO_COLOR": "1"})

        screen.wait_for(lambda: "Total" in screen.text)
        front.open()

        assert screen.wait() == 0
        assert "━" in screen.raw
        assert not re.search(r"\x1b\[[0-9;]*[34]8;|\x1b\[[0-9;]*3[0-7]m", screen.raw)

    def test_prints_plain_lines_on_one_that_cannot_draw(
        self, terminal: Callable[..., Terminal], front: Gate
    ) -> None:
        front.open()

        screen = terminal("pull", f"{front.address}/samples/hello", environment={"TERM": "dumb"})

        assert screen.wait() == 0
        assert "\x1b" not in screen.raw
        assert "Pulling fs layer" in screen.raw

    def test_ctrl_c_leaves_the_terminal_as_it_was(
        self, terminal: Callable[..., Terminal], daemon: Daemon, front: Gate
    ) -> None:
        screen = terminal("pull", f"{front.address}/samples/python")
        screen.wait_for(lambda: "Total" in screen.text)

        screen.type("\x03")

        assert screen.wait() == 130
        assert "Traceback" not in screen.raw
        assert screen.raw.rindex("\x1b[?25h") > screen.raw.rindex("\x1b[?25l")
        with Client(daemon.address) as client:
            (transfer,) = client.transfers.list()
        assert transfer.state == transfer_pb2.TRANSFER_STATE_CANCELLED


class TestInterrupting:
    @pytest.mark.parametrize(
        ("number", "status"),
        [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
        ids=lambda value: getattr(value, "name", None),
    )
    def test_a_pull_cancels_it(
        self, daemon: Daemon, front: Gate, number: signal.Signals, status: int
    ) -> None:
        process = _start(daemon, "pull", "--json", f"{front.address}/samples/python")
        assert process.stdout
        snapshot = json.loads(process.stdout.readline())

        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE)

        assert (process.returncode, told) == (status, "")
        name = snapshot["snapshot"]["transfer"]["name"]
        assert _transfer(daemon, name).state == transfer_pb2.TRANSFER_STATE_CANCELLED

    def test_a_watch_leaves_the_transfer_alone(self, daemon: Daemon, front: Gate) -> None:
        name = _begin(daemon, f"{front.address}/samples/python")
        process = _start(daemon, "watch", "--json", name)
        assert process.stdout
        process.stdout.readline()

        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)

        assert (process.returncode, told) == (130, "")
        assert _transfer(daemon, name).state == RUNNING


class TestTransfers:
    def test_a_watch_from_the_middle_sees_a_snapshot_and_the_end(
        self, daemon: Daemon, front: Gate
    ) -> None:
        name = _begin(daemon, f"{front.address}/samples/python")
        process = _start(daemon, "watch", "--json", name.removeprefix("transfers/"))
        assert process.stdout
        first = json_format.Parse(process.stdout.readline(), transfer_pb2.TransferEvent())

        front.open()
        rest, told = process.communicate(timeout=PATIENCE)

        assert first.snapshot.transfer.state == RUNNING
        layers = [
            node for node in first.snapshot.nodes if node.kind == transfer_pb2.NODE_KIND_LAYER
        ]
        assert len(layers) == 4
        last = json_format.Parse(rest.splitlines()[-1], transfer_pb2.TransferEvent())
        assert last.finished.transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
        assert (process.returncode, told) == (0, "")

    def test_a_watch_of_one_that_has_ended_says_how(self, stocked: Daemon, samples: Daemon) -> None:
        reference = f"{samples.registry}/samples/hello:latest"
        name = stocked.imgctl("pull", "--detach", reference).stdout.strip()
        stocked.imgctl("watch", name)

        done = stocked.imgctl("watch", name)

        assert done.stdout.splitlines()[-2:] == [
            f"Status: Image is up to date for {reference}",
            reference,
        ]

    def test_are_listed_cancelled_and_resumed(self, daemon: Daemon, front: Gate) -> None:
        reference = f"{front.address}/samples/python:latest"
        name = _begin(daemon, reference)
        short = name.removeprefix("transfers/")

        header, row = daemon.imgctl("transfers").stdout.splitlines()
        titles = ["TRANSFER", "KIND", "IMAGE", "STATE", "CREATED", "TOOK", "MOVED"]
        assert header.split() == titles
        assert row.split()[:4] == [short, "pull", reference, "running"]
        assert row.index(reference) == header.index("IMAGE")
        record = json.loads(daemon.imgctl("transfers", "--format", "json").stdout)
        assert record["name"] == name
        shown = daemon.imgctl("transfers", "--format", "{{.ID}} {{.Kind}} {{.Image}} {{.State}}")
        assert shown.stdout == f"{short} pull {reference} running\n"

        assert daemon.imgctl("cancel", short).stdout == f"{name}\n"
        assert daemon.imgctl("transfers", "-q", "--state", "cancelled").stdout == f"{name}\n"
        assert daemon.imgctl("transfers", "-q", "--state", "running").stdout == ""

        front.open()
        resumed = daemon.imgctl("resume", name)
        assert resumed.stdout.splitlines()[-1] == reference
        assert resumed.returncode == 0
        assert _transfer(daemon, name).attempt == 2

    def test_those_that_ended_are_forgotten_with_what_they_left(
        self, daemon: Daemon, front: Gate
    ) -> None:
        name = _begin(daemon, f"{front.address}/samples/python")
        running = daemon.imgctl("transfers", "rm", name)
        assert (running.returncode, running.stdout) == (1, "")
        assert running.stderr.endswith("is running: cancel it first (TRANSFER_STATE)\n")
        daemon.imgctl("cancel", name)
        assert re.match(r"Deleted blobs: 0 of [1-9]", daemon.imgctl("gc").stdout)

        done = daemon.imgctl("transfers", "rm", "NOSUCH", name)

        assert (done.returncode, done.stdout) == (1, f"{name}\n")
        assert "no such transfer: transfers/NOSUCH" in done.stderr
        daemon.imgctl("gc")
        assert daemon.imgctl("gc").stdout.startswith("Deleted blobs: 0 of 0\n")
        assert daemon.imgctl("transfers", "--quiet=true").stdout == ""
        assert daemon.imgctl("transfers", "nonsense").returncode == 125

    def test_one_argument_does_not_stop_the_others(self, daemon: Daemon, front: Gate) -> None:
        name = _begin(daemon, f"{front.address}/samples/python")

        done = daemon.imgctl("cancel", "NOSUCH", name)

        assert (done.stdout, done.returncode) == (f"{name}\n", 1)
        assert re.fullmatch(r"imgctl: .*NOSUCH.* \(TRANSFER_NOT_FOUND\)\n", done.stderr)

    def test_resuming_and_leaving_prints_the_name(self, daemon: Daemon, front: Gate) -> None:
        name = _begin(daemon, f"{front.address}/samples/python")
        daemon.imgctl("cancel", name)

        assert daemon.imgctl("resume", "--detach", name).stdout == f"{name}\n"
        assert _transfer(daemon, name).attempt == 2


class TestLooking:
    def test_an_empty_store_lists_only_its_header(self, daemon: Daemon) -> None:
        header = "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
        assert daemon.imgctl("images").stdout == header
        assert daemon.imgctl("image", "ls", "-q").stdout == ""
        assert daemon.imgctl("images", "--format", "table {{.ID}}").stdout == "IMAGE ID\n"
        assert daemon.imgctl("images", "--format", "json").stdout == ""

    def test_two_pulls_list_two_rows(self, stocked: Daemon, samples: Daemon) -> None:
        listed = stocked.imgctl("images", "--format", "{{.Repository}}: {{.Tag}}: {{.Size}}")

        rows = [line.rsplit(": ", 2) for line in listed.stdout.splitlines()]
        expected = [f"{samples.registry}/samples/{name}" for name in ("hello", "python")]
        assert sorted(row[0] for row in rows) == expected
        assert {row[1] for row in rows} == {"latest"}
        assert all(re.fullmatch(r"[\d.]+(kB|MB)", row[2]) for row in rows)

        table = stocked.imgctl("images").stdout.splitlines()
        assert table[0].split("  ")[0] == "REPOSITORY"
        assert [line.split()[0] for line in table[1:]] == [row[0] for row in rows]
        assert len({line.index("latest") for line in table[1:]} | {table[0].index("TAG")}) == 1

    def test_ids_agree_wherever_they_are_shown(self, stocked: Daemon, samples: Daemon) -> None:
        name = f"{samples.registry}/samples/python"
        full = stocked.imgctl("inspect", "-f", "{{.Id}}", name).stdout.strip()
        assert re.fullmatch(_DIGEST, full)

        assert stocked.imgctl("inspect", "-f", "{{.ID}}", full[7:19]).stdout.strip() == full
        assert full in stocked.imgctl("images", "-q", "--no-trunc").stdout.split()
        assert full[7:19] in stocked.imgctl("images", "-q").stdout.split()
        newest = stocked.imgctl("history", "--no-trunc", "-q", name).stdout.splitlines()
        assert newest == [full, *["<missing>"] * 3]

    def test_inspect_has_dockers_keys(self, stocked: Daemon, samples: Daemon) -> None:
        names = [f"{samples.registry}/samples/{name}" for name in ("hello", "python")]

        done = stocked.imgctl("inspect", *names)

        found = json.loads(done.stdout)
        assert done.stdout.startswith('[\n    {\n        "Id": "sha256:')
        # docker 28.2, API 1.50; in its order.
        keys = (
            "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Config "
            "Architecture Os Size GraphDriver RootFS Metadata Descriptor"
        )
        assert [*found[0]] == keys.split()
        assert [one["RepoTags"] for one in found] == [[f"{name}:latest"] for name in names]
        assert {*found[0]["Config"]} <= {"Env", "Cmd", "Labels"}
        assert found[0]["RootFS"].keys() == {"Type", "Layers"}
        assert found[0]["Descriptor"].keys() == {"mediaType", "digest", "size"}
        assert found[0]["RepoDigests"] == [f"{names[0]}@{found[0]['Descriptor']['digest']}"]
        assert "LastTagTime" in found[0]["Metadata"]
        one_line = stocked.imgctl("inspect", "--format", "json", *names).stdout
        assert json.loads(one_line) == found
        assert one_line.count("\n") == 1

    def test_inspect_shows_what_is_there_and_tells_what_is_not(
        self, stocked: Daemon, samples: Daemon
    ) -> None:
        name = f"{samples.registry}/samples/hello"

        done = stocked.imgctl("inspect", "no/such:image", name)

        assert len(json.loads(done.stdout)) == 1
        assert done.returncode == 1
        assert re.fullmatch(r"imgctl: .*no/such:image.* \(IMAGE_NOT_FOUND\)\n", done.stderr)

    def test_history_sums_up_to_the_size(self, stocked: Daemon, samples: Daemon) -> None:
        name = f"{samples.registry}/samples/python"

        sizes = stocked.imgctl("history", "--human=false", "--format", "{{.Size}}", name)
        shown = stocked.imgctl("history", name).stdout.splitlines()

        layers = [int(line) for line in sizes.stdout.splitlines()]
        assert len(layers) == 4
        whole = json.loads(stocked.imgctl("inspect", name).stdout)[0]["Size"]
        # The manifest and config come on top, where layers are not unpacked.
        assert 0 <= whole - sum(layers) < 10_000
        titles = ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
        assert re.split(r" {2,}", shown[0]) == titles

    def test_costly_fields_are_asked_for_only_when_they_are_shown(self, stocked: Daemon) -> None:
        rows = stocked.imgctl("images", "--format", "{{.Containers}} {{.UniqueSize}}").stdout
        listed = [
            json.loads(line)
            for line in stocked.imgctl("images", "--format", "json").stdout.splitlines()
        ]

        assert {row.split()[0] for row in rows.splitlines()} == {"0"}
        assert {row["Containers"] for row in listed} == {"N/A"}

    def test_version_tells_of_both_sides(self, stocked: Daemon) -> None:
        done = stocked.imgctl("version")

        client, server = done.stdout.split("\n\n")
        assert re.match(r"Client:\n Version: +\d+\.\d+", client)
        assert re.match(r"Server:\n Version: +\d+\.\d+", server)
        assert "API version:" in client
        assert "API version:" in server
        shown = stocked.imgctl("version", "-f", "{{.Client.Version}}/{{.Server.ApiVersion}}")
        assert re.fullmatch(r"\d+\.\d+\S*/imgd.v1\n", shown.stdout)
        found = json.loads(stocked.imgctl("version", "-f", "json").stdout)
        assert found["Server"]["Os"] == "linux"

    def test_info_tells_what_the_daemon_is(self, stocked: Daemon) -> None:
        assert " Images: " in stocked.imgctl("info").stdout
        assert stocked.imgctl("info", "-f", "{{.Images}} {{.OSType}}").stdout == "2 linux\n"
        found = json.loads(stocked.imgctl("info", "--format", "json").stdout)
        assert "ImageService/ListImages" in found["Capabilities"]["methods"]


class TestFailing:
    """Every failure is one readable line on stderr, and docker's exit code."""

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["images", "--nonsense"], "nonsense"),
            (["images", "a", "b"], "unexpected extra argument"),
            (["images", "--digests=maybe"], "'maybe' is not a value for --digests"),
            (["nonsense"], "nonsense"),
            (["inspect"], "Missing argument"),
            (["pull", "--policy", "often", "x"], "often"),
            (["pull", "--platform", "linux/arm64", "--all-platforms", "x"], "exclude each other"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_usage(self, stocked: Daemon, words: list[str], told: str) -> None:
        done = stocked.imgctl(*words)

        assert (done.stdout, done.returncode) == ("", 125)
        assert re.fullmatch(rf"imgctl: .*{told}.* See 'imgctl.* --help'\.\n", done.stderr)

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["inspect", "--format", "{{.Nope}}", "IMAGE"], 'map has no entry for key "Nope"'),
            (["images", "--format", "{{.Nope}}"], "can't evaluate field Nope in type image"),
            (["images", "--format", "{{nope .ID}}"], 'function "nope" not defined'),
            (["history", "--format", "{{.ID", "IMAGE"], "unclosed action"),
            (["version", "--format", "{{range 100000000000}}{{end}}"], "too many steps"),
            (["transfers", "--format", "{{.Nope}}"], "Nope in type transfer"),
        ],
        ids=lambda value: " ".join(value[:1]) if isinstance(value, list) else "",
    )
    def test_templates(self, stocked: Daemon, samples: Daemon, words: list[str], told: str) -> None:
        image = f"{samples.registry}/samples/hello"

        done = stocked.imgctl(*[word.replace("IMAGE", image) for word in words])

        assert (done.stdout, done.returncode) == ("", 1)
        pattern = rf"imgctl: template parsing error: template: :1.*{re.escape(told)}.*\n"
        assert re.fullmatch(pattern, done.stderr)

    def test_a_filter_that_is_none(self, stocked: Daemon) -> None:
        done = stocked.imgctl("images", "--filter", "nonsense=1")

        assert (done.stdout, done.returncode) == ("", 1)
        assert re.fullmatch(r"imgctl: .*nonsense.* \(FILTER_INVALID\)\n", done.stderr)

    @pytest.mark.parametrize("words", [["images"], ["pull", "redis"], ["watch", "T"], ["info"]])
    def test_a_daemon_that_is_not_there(self, tmp_path: Path, words: list[str]) -> None:
        address = f"unix:{tmp_path}/nobody.sock"

        done = _imgctl("--address", address, *words)

        assert (done.stdout, done.returncode) == ("", 1)
        assert done.stderr == (
            f"imgctl: can't reach the daemon at {address}: start it with "
            f"`imgd serve --listen {address}`, or name another with --address or IMGD_ADDRESS\n"
        )

    def test_version_tells_of_the_client_all_the_same(self, tmp_path: Path) -> None:
        address = f"unix:{tmp_path}/nobody.sock"

        done = _imgctl("--address", address, "version")
        shown = _imgctl("--address", address, "version", "-f", "{{.Client.Os}}")
        missing = _imgctl("--address", address, "version", "-f", "{{.Server.Os}}")

        assert done.stdout.startswith("Client:\n Version:")
        assert shown.stdout == "linux\n"
        for one in (done, shown, missing):
            assert one.returncode == 1
            assert re.fullmatch(r"imgctl: can't reach the daemon at .*\n", one.stderr)

    @pytest.mark.parametrize("address", ["nonsense", "unix:", "http://localhost:80", "unix://a/b"])
    def test_a_bad_address(self, address: str) -> None:
        done = _imgctl("--address", address, "images")
        told = _imgctl("images", env={**os.environ, "IMGD_ADDRESS": address})

        assert done.returncode == told.returncode == 125
        assert re.fullmatch(rf"imgctl: address '{re.escape(address)}'.*\n", done.stderr)
        assert done.stderr == told.stderr

    def test_something_else_listens_there(self, samples: Daemon) -> None:
        # The registry speaks HTTP/1.1.
        done = _imgctl("--address", samples.registry, "images")

        assert (done.stdout, done.returncode) == ("", 1)
        assert done.stderr.startswith("imgctl: ")
        assert done.stderr.count("\n") == 1

    def test_a_daemon_that_dies_and_comes_back(
        self, tmp_path: Path, front: Gate, samples: Daemon
    ) -> None:
        root, address = tmp_path / "root", f"unix:{tmp_path}/imgd.sock"
        with run_daemon(root, address=address) as first:
            process = _start(first, "pull", "--json", f"{front.address}/samples/python")
            assert process.stdout
            process.stdout.readline()
            first.kill()
        with run_daemon(root, address=address) as second:
            rest, told = process.communicate(timeout=PATIENCE)

            last = json_format.Parse(rest.splitlines()[-1], transfer_pb2.TransferEvent())
            assert last.finished.transfer.state == transfer_pb2.TRANSFER_STATE_INTERRUPTED
            assert process.returncode == 1
            name = last.finished.transfer.name
            assert re.fullmatch(rf"imgctl: .* while {name} ran; resume it .*\n", told)
            row = second.imgctl("transfers", "--format", "{{.State}} {{.Moved}}").stdout
            assert row == "interrupted \n"

            front.open()
            resumed = second.imgctl("resume", name)
            assert resumed.stdout.splitlines()[-1] == f"{front.address}/samples/python:latest"


def _imgctl(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PATIENCE}
    return subprocess.run([IMGCTL, *words], check=False, **{**settings, **options})


class TestOutput:
    def _shell(self, daemon: Daemon, script: str) -> subprocess.CompletedProcess[str]:
        # Python that does not buffer loses the error of a write that was cut short.
        environment = {key: os.environ[key] for key in os.environ if key != "PYTHONUNBUFFERED"}
        return subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={**environment, "IMGCTL": IMGCTL, "IMGD_ADDRESS": daemon.address},
        )

    def test_a_reader_that_has_enough_is_no_error(self, stocked: Daemon) -> None:
        # More than a pipe holds, so that the write must fail.
        script = """
            "$IMGCTL" images --format '{{printf "%200000s" .ID}}' | head -c 10
            echo "${PIPESTATUS[0]}"
        """
        done = self._shell(stocked, script)

        assert done.stdout.strip() == "141"
        assert done.stderr == ""

    def test_no_output_at_all(self, stocked: Daemon) -> None:
        done = self._shell(stocked, '"$IMGCTL" images >&-; echo $?; "$IMGCTL" -h >&- 2>&-; echo $?')

        assert done.stdout == "0\n0\n"
        assert done.stderr == ""

    def test_a_full_disk(self, stocked: Daemon) -> None:
        done = self._shell(stocked, '"$IMGCTL" images >/dev/full; echo $?')

        assert done.stdout == "1\n"
        assert done.stderr == "imgctl: can't write the output: No space left on device\n"

    @pytest.mark.parametrize(
        "locale",
        [
            {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
            {"LC_ALL": "xx_YY.nonsense"},
            {"PYTHONIOENCODING": "ascii"},
        ],
        ids=["C", "unknown", "ascii"],
    )
    def test_any_locale(self, stocked: Daemon, samples: Daemon, locale: dict[str, str]) -> None:
        template = "{{.Os}} … é 世界"

        done = subprocess.run(
            [IMGCTL, "inspect", "-f", template, f"{samples.registry}/samples/hello"],
            capture_output=True,
            check=False,
            timeout=PATIENCE,
            env={"PATH": os.environ["PATH"], "IMGD_ADDRESS": stocked.address, **locale},
        )

        assert done.stdout.decode() == "linux … é 世界\n"
        assert (done.returncode, done.stderr) == (0, b"")

    def test_times_are_in_the_zone_of_the_reader(self, stocked: Daemon) -> None:
        done = stocked.imgctl(
            "images",
            "--format",
            "{{.CreatedAt}}",
            env={**os.environ, "TZ": "Asia/Kolkata"},
        )

        assert {line.split(" ", 2)[2] for line in done.stdout.splitlines()} == {"+0530 IST"}


class TestCompletion:
    def _bash(self, daemon: Daemon, line: str) -> list[str]:
        """What bash offers where the line ends."""
        script = """
            source <("$IMGCTL" completion bash)
            COMP_LINE=$LINE COMP_POINT=${#LINE}
            _imgctl_completion "$IMGCTL"
            printf '%s\n' "${COMPREPLY[@]}"
        """
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={
                **os.environ,
                "IMGCTL": IMGCTL,
                "LINE": line,
                "IMGD_ADDRESS": daemon.address,
            },
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    def test_of_words(self, stocked: Daemon) -> None:
        assert self._bash(stocked, "imgctl his") == ["history"]
        assert "--no-trunc" in self._bash(stocked, "imgctl images --no")
        assert self._bash(stocked, "imgctl image r") == ["remove", "rm"]

    def test_of_images(self, stocked: Daemon, samples: Daemon) -> None:
        host, port = samples.registry.split(":")
        names = [f"{port}/samples/{name}:latest" for name in ("hello", "python")]

        # Bash takes what follows the colon for a word of its own.
        assert sorted(self._bash(stocked, f"imgctl inspect {host}:")) == names
        assert self._bash(stocked, f"imgctl inspect {host}:{port}/samples/py") == [names[1]]
        assert sorted(self._bash(stocked, f"imgctl history {host}")) == [
            f"{host}:{name}" for name in names
        ]
        assert self._bash(stocked, "imgctl rmi zzz") == []
        second = self._bash(stocked, f"imgctl inspect {samples.registry}/samples/hello {host}:")
        assert sorted(second) == names

    def test_of_transfers(self, daemon: Daemon, front: Gate) -> None:
        name = _begin(daemon, f"{front.address}/samples/python")

        assert self._bash(daemon, "imgctl cancel ") == [name]
        assert self._bash(daemon, f"imgctl watch {name[:14]}") == [name]
        short = name.removeprefix("transfers/")
        assert self._bash(daemon, f"imgctl watch {short[:5]}") == [short]
        assert self._bash(daemon, "imgctl resume ") == []
        assert self._bash(daemon, "imgctl transfers rm ") == []
        daemon.imgctl("cancel", name)
        assert self._bash(daemon, "imgctl resume ") == [name]
        assert self._bash(daemon, "imgctl cancel ") == []
        assert self._bash(daemon, "imgctl transfers rm ") == [name]

    def test_without_a_daemon_there_is_nothing_to_offer(self, tmp_path: Path) -> None:
        nobody = f"unix:{tmp_path}/nobody.sock"
        for address in (nobody, "nonsense"):
            done = _imgctl(
                env={
                    **os.environ,
                    "_IMGCTL_COMPLETE": "bash_complete",
                    "COMP_LINE": f"imgctl --address {address} inspect a",
                    "COMP_POINT": str(len(f"imgctl --address {address} inspect a")),
                    "IMGD_ADDRESS": nobody,
                }
            )
            assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)

    @pytest.mark.parametrize("shell", ["zsh", "fish"])
    def test_in_other_shells(self, stocked: Daemon, samples: Daemon, shell: str) -> None:
        script = stocked.imgctl("completion", shell)
        done = stocked.imgctl(
            env={
                **os.environ,
                "_IMGCTL_COMPLETE": f"{shell}_complete",
                "COMP_WORDS": f"imgctl inspect {samples.registry}/samples/py",
                "COMP_CWORD": "2" if shell == "zsh" else f"{samples.registry}/samples/py",
                "IMGD_ADDRESS": stocked.address,
            }
        )

        assert f"_IMGCTL_COMPLETE={shell}_complete" in script.stdout
        assert "compdef" in script.stdout or "complete --no-files" in script.stdout
        assert f"{samples.registry}/samples/python:latest" in re.split(r"[\n,]", done.stdout)

    def test_at_a_prompt(self, stocked: Daemon, samples: Daemon) -> None:
        folder = Path(IMGCTL).parent
        screen = Terminal(
            ["bash", "--norc", "--noprofile", "-i"],
            environment={
                "PATH": f"{folder}:{os.environ['PATH']}",
                "IMGD_ADDRESS": stocked.address,
                "PS1": "> ",
                "TERM": "dumb",
            },
        )
        try:
            screen.type("source <(imgctl completion bash); echo rea''dy\n")
            screen.wait_for(lambda: "\nready" in screen.text)
            screen.type(f"imgctl inspect -f '{{{{.Os}}}}' {samples.registry}/samples/py\t\n")
            screen.wait_for(lambda: "\nlinux" in screen.text)
        finally:
            screen.close()
        assert f"{samples.registry}/samples/python:latest" in screen.text.replace("\n", "")
