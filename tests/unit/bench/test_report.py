"""The benchmark's table: what is missing or missed must not look measured or met."""

import json
from pathlib import Path

import pytest

from bench import report
from bench.common import BenchError, Sample
from bench.rounds import Measured, Scenario, Subject, Target, measure


def measured(name: str, kind: str, *samples: Sample, failure: str = "") -> Measured:
    return Measured(Subject(name, kind, lambda _: Sample(0.0)), list(samples), failure)


TARGETS = (
    Target("imgd", 0.5, "peer"),
    Target("imgd", 0.4, "peer"),
    Target("imgd", 0.5, "gone"),
    Target("imgd", 200e6, reading="memory"),
    Target("imgd", 2, reading="requests"),
)


@pytest.fixture
def results() -> list[Measured]:
    return [
        measured(
            "imgd",
            "imgd",
            Sample(1.0, 100_000_000, {"requests": 1}),
            Sample(9.0, 300_000_000, {"requests": 3}),
            Sample(1.1, 100_000_000, {"requests": 1}),
        ),
        # It failed in the third round.
        measured("peer", "peer", Sample(2.2), Sample(2.2), failure="no\n/a/folder"),
        measured("gone", "peer", failure="gone is missing"),
    ]


def test_targets_take_the_median_of_seconds_and_the_worst_of_all_else(
    results: list[Measured],
) -> None:
    assert [target.value(results) for target in TARGETS] == [0.5, 0.5, None, 300e6, 3]


def test_the_table_says_what_was_met_and_what_is_missing(
    results: list[Measured], tmp_path: Path
) -> None:
    scenario = Scenario({}, [one.subject for one in results], TARGETS)
    table = report.write(tmp_path / "out" / "try", scenario, results).read_text()
    ours, peer, gone = (
        line for line in table.splitlines() if line.startswith(("| imgd", "| peer", "| gone"))
    )
    assert "at most 0.5 × peer: met (0.5)" in ours
    assert "at most 0.4 × peer: **not met** (0.5)" in ours
    assert "at most 0.5 × gone: not measured" in ours
    assert "at most 200 MB: **not met** (300)" in ours
    assert "requests at most 2: **not met** (3)" in ours
    assert "0.50 (0.45 to 4.09)" in peer
    assert "**missing**: gone is missing" in gone
    assert len({line.count(" | ") for line in (ours, peer, gone)}) == 1
    assert "/a/folder" not in table

    document = json.loads((tmp_path / "out" / "try.json").read_text())
    assert [one["met"] for one in document["targets"]] == [True, False, None, False, False]
    assert "/a/folder" not in json.dumps(document)


def test_rounds_go_on_without_what_fails_and_what_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.rounds.settle", lambda: None)
    order: list[str] = []

    def subject(name: str, fails: bool = False, rounds: int | None = None) -> Subject:
        def run(folder: Path) -> Sample:
            order.append(name)
            assert not [*folder.iterdir()]
            (folder / "left").write_text(name)
            if fails:
                raise BenchError(f"{name} failed")
            return Sample(1.0)

        return Subject(name, "peer", run, rounds=rounds)

    subjects = [subject("a"), subject("b", fails=True), subject("c", rounds=1)]
    found = measure(Scenario({}, subjects), tmp_path, 2)
    assert order == ["a", "b", "c", "a", "c", "a"]
    assert [(len(one.samples), one.failure) for one in found] == [
        (2, ""), (0, "b failed"), (1, ""),
    ]  # fmt: skip
    assert not [*tmp_path.iterdir()]


def test_what_is_kept_is_emptied_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.rounds.settle", lambda: None)
    monkeypatch.setattr("bench.rounds.ROOM", 0)
    outside = tmp_path / "outside"
    outside.write_text("stays")

    def run(folder: Path) -> Sample:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("goes")
        (folder / "deep" / "link").symlink_to(outside)
        return Sample(1.0)

    scratch = tmp_path / "scratch"
    scenario = Scenario({}, [Subject("a", "peer", run)], keep=True, warm_up=False)
    measure(scenario, scratch, 2)
    assert [path.stat().st_size for path in scratch.rglob("file")] == [0, 0]
    assert outside.read_text() == "stays"
