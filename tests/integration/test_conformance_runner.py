"""The conformance runner against executables that do not do what they should."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.conformance.__main__ import Report, check, table
from tests.conformance.case import read_cases

# Answers every request with what `Result` says.
_ANSWER = """#!{python}
import sys
sys.path.insert(0, {path!r})
from google.protobuf import text_format
from google.protobuf.proto import parse_length_prefixed, serialize_length_prefixed
from imgd.conformance.v1 import client_pb2 as pb
while (request := parse_length_prefixed(pb.ClientRequest, sys.stdin.buffer)) is not None:
    answer = pb.ClientResponse(case_name=request.case_name)
    text_format.Parse({result!r}, answer.result)
    serialize_length_prefixed(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
{last}
"""
_GENERATED = str(Path(__file__).resolve().parents[2] / "clients" / "python" / "conformance")
_CASE = "connect/nobody_there"
_RIGHT = "error { error_class: ERROR_CLASS_UNAVAILABLE }"


def run(folder: Path, script: str, known: dict[str, str] | None = None) -> Report:
    program = folder / "program"
    program.write_text(script)
    program.chmod(0o755)
    cases = [case for case in read_cases() if case.name == _CASE]
    return asyncio.run(check("test", program, cases, known or {}))


def answering(result: str, last: str = "") -> str:
    return _ANSWER.format(python=sys.executable, path=_GENERATED, result=result, last=last)


def test_the_right_answer_passes(tmp_path: Path) -> None:
    report = run(tmp_path, answering(_RIGHT))
    assert report.good
    assert report.marks == {_CASE: "passed"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\n", "the executable ended"),
        ("#!/bin/sh\nprintf '\\002xx'; cat\n", "the executable's answer is none"),
        ("#!/bin/sh\nprintf '\\377\\377\\377\\377\\377\\377'; cat\n", "answer is none"),
        (answering("info { }"), "want error, have info"),
        (answering("unsupported { }"), "want error, have unsupported"),
        (answering('broken: "oh"'), "the executable failed: oh"),
        (answering(""), "an empty result"),
        (answering('error { error_class: ERROR_CLASS_UNAVAILABLE reason: "X" }'), "error.reason"),
    ],
    ids=["ends", "garbage", "no length", "other", "unsupported", "broken", "empty", "too much"],
)
def test_a_wrong_answer_fails(tmp_path: Path, script: str, said: str) -> None:
    report = run(tmp_path, script)
    assert report.marks == {_CASE: "failed"}
    assert said in report.words[_CASE]
    assert not report.good


def test_a_known_failure_is_no_failure_and_an_unexpected_pass_is_one(tmp_path: Path) -> None:
    known = {_CASE: "a reason"}
    report = run(tmp_path, answering("info { }"), known)
    assert report.good
    assert report.marks == {_CASE: "known"}
    report = run(tmp_path, answering(_RIGHT), known)
    assert not report.good
    assert report.marks == {_CASE: "unexpected"}


def test_a_bad_end_is_told(tmp_path: Path) -> None:
    report = run(tmp_path, answering(_RIGHT, "sys.exit(7)"))
    assert not report.good
    assert "ended with 7" in table([report], [case for case in read_cases() if case.name == _CASE])
