"""Names, states and figures in docker's words, without a daemon."""

from __future__ import annotations

import time

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from imgd.v1 import transfer_pb2
from imgd_client import ProgressState
from imgd_client.cli import _live, _render
from imgd_client.cli._command import command
from imgd_client.cli._names import (
    familiar,
    has_version,
    may_be_id,
    pulling_from,
    repository,
    short_id,
    split,
)
from imgd_client.cli._tabwriter import align
from imgd_client.cli._units import columns, ellipsis
from imgd_client.cli._words import rate, state_word
from tests.scripted import finished, heartbeat, node, snapshot, update

_D = "sha256:" + "0123456789abcdef" * 4


class TestNames:
    @pytest.mark.parametrize(
        ("full", "expected"),
        [
            ("docker.io/library/redis:7", "redis:7"),
            ("docker.io/library/redis", "redis"),
            ("docker.io/bitnami/redis:7", "bitnami/redis:7"),
            ("docker.io/library/a/b:1", "library/a/b:1"),
            (f"docker.io/library/redis@{_D}", f"redis@{_D}"),
            ("localhost:5000/library/redis:7", "localhost:5000/library/redis:7"),
            ("ghcr.io/a/b", "ghcr.io/a/b"),
        ],
    )
    def test_familiar(self, full: str, expected: str) -> None:
        assert familiar(full) == expected

    @pytest.mark.parametrize(
        ("reference", "parts"),
        [
            ("redis", ("redis", "", "")),
            ("redis:7", ("redis", "7", "")),
            ("localhost:5000/redis", ("localhost:5000/redis", "", "")),
            ("localhost:5000/a/redis:7", ("localhost:5000/a/redis", "7", "")),
            (f"redis:7@{_D}", ("redis", "7", _D)),
            (f"localhost:5000/redis@{_D}", ("localhost:5000/redis", "", _D)),
        ],
    )
    def test_split(self, reference: str, parts: tuple[str, str, str]) -> None:
        assert split(reference) == parts
        assert has_version(reference) == bool(parts[1] or parts[2])

    def test_repository(self) -> None:
        assert repository(f"docker.io/library/redis@{_D}") == "redis"
        assert repository("localhost:5000/a/redis:7") == "localhost:5000/a/redis"

    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("redis", "latest: Pulling from library/redis"),
            ("redis:7", "7: Pulling from library/redis"),
            ("bitnami/redis", "latest: Pulling from bitnami/redis"),
            ("docker.io/library/redis:7", "7: Pulling from library/redis"),
            ("localhost/redis", "latest: Pulling from redis"),
            ("localhost:5000/a/b:1", "1: Pulling from a/b"),
            ("ghcr.io/a/b:1", "1: Pulling from a/b"),
            ("Host/a:1", "1: Pulling from a"),
            (f"redis@{_D}", f"docker.io/library/redis@{_D}: Pulling from library/redis"),
            (f"a/b:1@{_D}", f"docker.io/a/b@{_D}: Pulling from a/b"),
            (f"localhost:5000/a@{_D}", f"localhost:5000/a@{_D}: Pulling from a"),
        ],
    )
    def test_pulling_from(self, reference: str, expected: str) -> None:
        assert pulling_from(reference) == expected

    def test_short_ids(self) -> None:
        assert short_id(_D) == "0123456789ab"
        assert short_id("0123456789abcdef") == "0123456789ab"
        assert short_id("<missing>") == "<missing>"


class TestColumns:
    @given(st.text(alphabet="ab é世界…", max_size=60), st.integers(2, 50))
    @settings(deadline=None)
    def test_an_ellipsis_fits(self, text: str, width: int) -> None:
        cut = ellipsis(text, width)

        assert columns(cut) <= width
        if columns(text) <= width:
            assert cut == text
        else:
            assert cut.endswith("…")
            assert text.startswith(cut[:-1])
            # Nothing more would have fitted.
            assert columns(text[: len(cut)]) >= width

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", ""),
            ("plain\nlines\n", "plain\nlines\n"),
            ("a\tb\ncc\td", "a         b\ncc        d"),
            ("0123456789\tb\nc\td", "0123456789   b\nc            d"),
            # The last cell of a line belongs to no column.
            ("a\tlonger than ten\nb\tc\td", "a         longer than ten\nb         c         d"),
            # A line without the column ends it.
            ("0123456789\tb\nplain\nc\td", "0123456789   b\nplain\nc         d"),
            ("a\t\tb", "a                   b"),
            ("a\t", "a         "),
            ("世界世界\tb", "世界世界   b"),
        ],
    )
    def test_cells_line_up(self, text: str, expected: str) -> None:
        assert align(text) == expected


def _active(kind: int, current: int = 0, total: int | None = None) -> transfer_pb2.TransferNode:
    found = node(0)
    one = found.activities.add(current_bytes=current, total_bytes=total)
    one.kind = transfer_pb2.ActivityKind.ValueType(kind)
    one.start_time.GetCurrentTime()
    return found


class TestStates:
    @pytest.mark.parametrize(
        ("state", "word"),
        [
            (transfer_pb2.NODE_STATE_WAITING, "Waiting"),
            (transfer_pb2.NODE_STATE_EXISTS, "Already exists"),
            (transfer_pb2.NODE_STATE_MOUNTED, "Mounted"),
            (transfer_pb2.NODE_STATE_DONE, "Pull complete"),
            (transfer_pb2.NODE_STATE_FAILED, "Failed"),
            # Newer than this client, or nothing known.
            (99, "Pulling fs layer"),
            (transfer_pb2.NODE_STATE_ACTIVE, "Pulling fs layer"),
        ],
    )
    def test_of_nodes(self, state: int, word: str) -> None:
        assert state_word(node(0, state), 0) == word

    @pytest.mark.parametrize(
        ("kind", "word"),
        [
            (transfer_pb2.ACTIVITY_KIND_DOWNLOAD, "Downloading"),
            (transfer_pb2.ACTIVITY_KIND_UNPACK, "Extracting"),
            (transfer_pb2.ACTIVITY_KIND_UPLOAD, "Pushing"),
            (transfer_pb2.ACTIVITY_KIND_COMMIT, "Download complete"),
            (transfer_pb2.ACTIVITY_KIND_RESOLVE, "Pulling fs layer"),
        ],
    )
    def test_of_activities(self, kind: int, word: str) -> None:
        assert state_word(_active(kind), 0) == word

    def test_the_download_is_told_of_before_what_overlaps_it(self) -> None:
        both = _active(transfer_pb2.ACTIVITY_KIND_UNPACK)
        both.activities.add(kind=transfer_pb2.ACTIVITY_KIND_DOWNLOAD)
        assert state_word(both, 0) == "Downloading"

        both.activities[1].end_time.GetCurrentTime()
        assert state_word(both, 0) == "Extracting"

        both.activities[0].end_time.GetCurrentTime()
        assert state_word(both, 0) == "Download complete"

    @pytest.mark.parametrize(
        ("left", "word"),
        [
            (5.2, "5 seconds"),
            (1, "1 second"),
            (-3, "1 second"),
        ],
    )
    def test_of_a_retry(self, left: float, word: str) -> None:
        waiting = node(0, transfer_pb2.NODE_STATE_RETRYING)
        waiting.retry.next_time.FromNanoseconds(int((1000 + left) * 1e9))

        assert state_word(waiting, 1000) == f"Retrying in {word}"

    def test_a_rate_counts_what_this_attempt_moved(self) -> None:
        running = transfer_pb2.Activity(current_bytes=3000, resumed_bytes=1000)
        running.start_time.seconds = 1000

        assert rate(running, 1004) == 500
        # Too early to tell, or nothing moved.
        assert rate(running, 1000.01) == 0
        running.current_bytes = 500
        assert rate(running, 1004) == 0


class TestPlainLines:
    def _lines(
        self, capsys: pytest.CaptureFixture[str], *events: transfer_pb2.TransferEvent
    ) -> list[str]:
        state, shown = ProgressState(), _render.Plain()
        for event in events:
            shown.show(event, state, state.apply(event))
        shown.close()
        return [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines()]

    def test_tell_of_a_layer_from_its_first_word(self, capsys: pytest.CaptureFixture[str]) -> None:
        downloading = _active(transfer_pb2.ACTIVITY_KIND_DOWNLOAD, 1, 10)
        more = _active(transfer_pb2.ACTIVITY_KIND_DOWNLOAD, 9, 10)
        committing = _active(transfer_pb2.ACTIVITY_KIND_COMMIT)
        done = node(0, transfer_pb2.NODE_STATE_DONE)

        told = self._lines(
            capsys,
            snapshot(1, node(0, transfer_pb2.NODE_STATE_WAITING)),
            update(2, downloading),
            update(3, more),
            heartbeat(3),
            update(4, committing),
            update(5, done),
            snapshot(6, done),
            finished(7),
        )

        # As docker does where it can't write over a line.
        assert told == ["Pulling fs layer", "Download complete", "Pull complete"]

    def test_miss_nothing_that_went_by_at_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        told = self._lines(
            capsys,
            snapshot(
                1,
                node(0, transfer_pb2.NODE_STATE_DONE),
                node(1, transfer_pb2.NODE_STATE_EXISTS),
            ),
            finished(2),
        )

        assert told == ["Pulling fs layer", "Pull complete", "Already exists"]

    def test_say_nothing_of_layers_when_there_was_nothing_to_do(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        layers = snapshot(1, node(0, transfer_pb2.NODE_STATE_EXISTS))
        end = finished(2)
        end.finished.transfer.outcome.pull_result = transfer_pb2.PULL_RESULT_UP_TO_DATE
        assert self._lines(capsys, layers, end) == []

        end.finished.transfer.outcome.pull_result = transfer_pb2.PULL_RESULT_DOWNLOADED
        assert self._lines(capsys, layers, end) == ["Already exists"]

    def test_say_what_exists_before_what_comes(self, capsys: pytest.CaptureFixture[str]) -> None:
        told = self._lines(
            capsys,
            snapshot(1, node(0, transfer_pb2.NODE_STATE_EXISTS), node(1)),
            update(2, node(2, transfer_pb2.NODE_STATE_EXISTS)),
            update(3, node(1, transfer_pb2.NODE_STATE_DONE)),
        )

        assert told == ["Already exists", "Pulling fs layer", "Already exists", "Pull complete"]

    def test_count_attempts_not_seconds(self, capsys: pytest.CaptureFixture[str]) -> None:
        def waiting(attempt: int, seconds: float) -> transfer_pb2.TransferNode:
            found = node(0, transfer_pb2.NODE_STATE_RETRYING)
            found.retry.attempt = attempt
            found.retry.next_time.FromNanoseconds(int((time.time() + seconds) * 1e9))
            return found

        told = self._lines(
            capsys,
            snapshot(1, node(0)),
            update(2, waiting(2, 100)),
            update(3, waiting(2, 50)),
            update(4, _active(transfer_pb2.ACTIVITY_KIND_DOWNLOAD)),
            update(5, waiting(3, 100)),
            update(6, node(0, transfer_pb2.NODE_STATE_FAILED)),
        )

        words = [line.split(" in ")[0] for line in told]
        assert words == ["Pulling fs layer", "Retrying", "Retrying", "Failed"]

    def test_tell_what_holds_the_layers_up(self, capsys: pytest.CaptureFixture[str]) -> None:
        def root(
            state: transfer_pb2.NodeState.ValueType, attempt: int = 0
        ) -> transfer_pb2.TransferNode:
            kind = transfer_pb2.NODE_KIND_MANIFEST
            found = transfer_pb2.TransferNode(node_id="r", kind=kind, state=state, label="app:1")
            if attempt:
                found.retry.attempt = attempt
                found.retry.next_time.FromNanoseconds(int((time.time() + 20) * 1e9))
            return found

        told = self._lines(
            capsys,
            snapshot(1, root(transfer_pb2.NODE_STATE_ACTIVE)),
            update(2, root(transfer_pb2.NODE_STATE_RETRYING, 2)),
            update(3, root(transfer_pb2.NODE_STATE_RETRYING, 2)),
            update(4, root(transfer_pb2.NODE_STATE_ACTIVE)),
            update(5, root(transfer_pb2.NODE_STATE_RETRYING, 3)),
            update(6, root(transfer_pb2.NODE_STATE_DONE)),
        )

        assert [line.partition(" in ")[0] for line in told] == ["Retrying"] * 2

    def test_tell_of_layers_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        config = transfer_pb2.TransferNode(node_id="c", kind=transfer_pb2.NODE_KIND_CONFIG)

        assert self._lines(capsys, snapshot(1, config)) == []


class TestBars:
    def _drawn(self, state: ProgressState, width: int) -> list[str]:
        console = Console(width=width, height=50, color_system=None, force_terminal=True)
        with console.capture() as capture:
            console.print(_live.render(state, time.time(), width))
        return [line.rstrip() for line in capture.get().splitlines()]

    @pytest.mark.parametrize("width", [1, 10, 24, 49, 50, 67, 68, 77, 78, 80, 120, 300])
    def test_each_layer_has_one_line_at_any_width(self, width: int) -> None:
        state = ProgressState()
        nodes = [
            _active(transfer_pb2.ACTIVITY_KIND_DOWNLOAD, 923_456_789, 987_654_321),
            _active(transfer_pb2.ACTIVITY_KIND_DOWNLOAD, 5),
            node(2, transfer_pb2.NODE_STATE_EXISTS),
        ]
        for number, one in enumerate(nodes):
            one.node_id = str(number)
        event = snapshot(1, *nodes)
        event.snapshot.progress.total_bytes = 1 << 60
        event.snapshot.progress.current_bytes = 1 << 59
        event.snapshot.progress.bytes_per_second = 999_999_999
        event.snapshot.progress.estimated_remaining.seconds = 99_999
        state.apply(event)

        lines = self._drawn(state, width)

        assert len(lines) == 4
        assert all(columns(line) <= width for line in lines)
        assert (width < 50) == ("923.5MB/987.7MB" not in lines[0])
        assert (width < 78) == ("━" not in lines[0])
        assert (width < 68) == ("1e+03MB/s 27h left" not in lines[3])

    def test_the_end_shows_no_sum(self) -> None:
        state = ProgressState()
        event = snapshot(1, node(0, transfer_pb2.NODE_STATE_DONE))
        event.snapshot.progress.total_bytes = 10
        state.apply(event)
        assert self._drawn(state, 80)[-1].startswith("Total")

        state.apply(finished(2))

        (line,) = self._drawn(state, 80)
        assert line.endswith("Pull complete")
        assert state.transfer
        state.transfer.outcome.pull_result = transfer_pb2.PULL_RESULT_UP_TO_DATE
        assert self._drawn(state, 80) == []


class TestFlags:
    @pytest.mark.parametrize(
        ("words", "printed"),
        [
            ([], "False True ()"),
            (["--all"], "True True ()"),
            (["--all=true", "x"], "True True ('x',)"),
            (["-a=1"], "True True ()"),
            (["--all=false"], "False True ()"),
            (["--human=false"], "False False ()"),
            (["-H=F", "--all=T"], "True False ()"),
            (["--human=true"], "False True ()"),
            (["--", "--all=true"], "False True ('--all=true',)"),
        ],
    )
    def test_take_values_as_dockers_do(self, words: list[str], printed: str) -> None:
        @command()
        @click.option("-a", "--all", "everything", is_flag=True)
        @click.option("-H", "--human/--no-human", default=True)
        @click.argument("rest", nargs=-1)
        def try_it(everything: bool, human: bool, rest: tuple[str, ...]) -> None:
            click.echo(f"{everything} {human} {rest}")

        assert CliRunner().invoke(try_it, words).output == f"{printed}\n"

    def test_refuse_what_is_no_value(self) -> None:
        @command()
        @click.option("--all", "everything", is_flag=True)
        def try_it(everything: bool) -> None:
            click.echo(everything)

        assert (
            "'maybe' is not a value for --all" in CliRunner().invoke(try_it, ["--all=maybe"]).output
        )


@pytest.mark.parametrize(
    ("image", "may"),
    [
        ("sha256:" + "a" * 64, True),
        ("sha256:ab12", True),
        ("deadbeef", True),
        ("images/01ABC", True),
        ("redis", False),
        ("deadbeef:1", False),
        ("h.io/deadbeef", False),
        (f"redis@sha256:{'a' * 64}", False),
    ],
)
def test_what_may_be_an_id(image: str, may: bool) -> None:
    """Its registry is not said, so no credentials are shown for it."""
    assert may_be_id(image) is may
