"""What counts as what a case expects."""

from pathlib import Path

import pytest
from google.protobuf import text_format

from imgd.conformance.v1.case_pb2 import Step
from imgd.conformance.v1.client_pb2 import Result
from tests.conformance.case import CASES, known_failures, read_cases
from tests.conformance.match import differences, fill, unmet

HAVE = """
stream {
  events: 3 finished: 1 rising: true
  transfer { name: "transfers/a" state: TRANSFER_STATE_SUCCEEDED }
  error { error_class: ERROR_CLASS_NOT_FOUND reason: "X" fields: "a" fields: "b"
          metadata { key: "k" value: "v" } retry_delay { } }
}
"""


def result(text: str) -> Result:
    return text_format.Parse(text, Result())


@pytest.mark.parametrize(
    "expected",
    [
        "",
        "stream { }",
        "stream { events: 3 finished: 1 }",
        'stream { transfer { name: "transfers/*" } }',
        'stream { error { fields: "a" fields: "*" metadata { key: "k" value: "v" } } }',
        "stream { error { retry_delay { } } }",
    ],
)
def test_what_is_set_is_equal(expected: str) -> None:
    assert [*differences(result(expected), result(HAVE))] == []


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ("stream { events: 2 }", "stream.events"),
        ('stream { transfer { name: "transfers" } }', "stream.transfer.name"),
        ("stream { transfer { state: TRANSFER_STATE_FAILED } }", "TRANSFER_STATE_SUCCEEDED"),
        ('stream { transfer { image_id: "" outcome { } } }', "stream.transfer.outcome: absent"),
        ('stream { error { fields: "a" } }', "want 1 of them, have 2"),
        ('stream { error { fields: "a" fields: "c" } }', "stream.error.fields[1]"),
        ('stream { error { metadata { key: "k" value: "w" } } }', "stream.error.metadata[k]"),
        ('stream { error { metadata { key: "l" value: "v" } } }', "stream.error.metadata[l]"),
    ],
)
def test_what_differs_is_named(expected: str, said: str) -> None:
    text = expected.replace('image_id: "" ', "")
    (difference,) = differences(result(text), result(HAVE))
    assert said in difference


def test_absence_and_lengths() -> None:
    met = Step(zero=["stream.error.resource", "images.images.7.tags", "bytes.size"])
    met.lengths.add(path="stream.error.fields", size=2)
    assert [*unmet(met, result(HAVE))] == []
    missed = Step(zero=["stream.error", "stream.error.fields", "stream.error.retry_delay"])
    missed.lengths.add(path="stream.error.fields", size=3)
    # An empty message that is there is there.
    assert len([*unmet(missed, result(HAVE))]) == 4


def test_placeholders_are_filled_at_any_depth() -> None:
    step = text_format.Parse(
        """operation { hold {
             lease { images: "${a}/x" images: "y${a}" labels { key: "k" value: "${b}" } }
             inside { save { path: "${b}/${a}" } } } }""",
        Step(),
    )
    fill(step, {"a": "1", "b": "2"})
    hold = step.operation.hold
    assert [*hold.lease.images] == ["1/x", "y1"]
    assert hold.lease.labels["k"] == "2"
    assert hold.inside[0].save.path == "2/1"
    with pytest.raises(KeyError):
        fill(text_format.Parse('operation { save { path: "${c}" } }', Step()), {})


def test_the_cases_are_read_and_enough(tmp_path: Path) -> None:
    cases = read_cases()
    assert len(cases) >= 80
    assert len({case.name for case in cases}) == len(cases)
    for name, text in {
        "twice": 'cases { name: "twice/a" daemon { } steps { operation { } } } ' * 2,
        "other": 'cases { name: "elsewhere/a" daemon { } steps { operation { } } }',
        "idle": 'cases { name: "idle/a" daemon { } }',
        "alone": 'cases { name: "alone/a" steps { operation { } } }',
        "broken": "cases { nam",
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.txtpb").write_text(text)
        with pytest.raises(ValueError, match=f"{name}.txtpb"):
            read_cases(folder)
    assert CASES.is_dir()


def test_a_known_failure_has_a_case_and_a_reason(tmp_path: Path) -> None:
    cases = read_cases()
    known = tmp_path / "known_failures.toml"
    known.write_text(f'[go]\n"{cases[0].name}" = "not yet"\n')
    assert known_failures("go", cases, known) == {cases[0].name: "not yet"}
    assert known_failures("rust", cases, known) == {}
    known.write_text('[go]\n"no/such_case" = "not yet"\n')
    with pytest.raises(ValueError, match="no/such_case"):
        known_failures("go", cases, known)
    known.write_text(f'[go]\n"{cases[0].name}" = " "\n')
    with pytest.raises(ValueError, match="has no reason"):
        known_failures("go", cases, known)
