"""`python -m tests.conformance`: runs the cases against the clients and prints who does what.

0 where every client did all it is asked for; 1 where one did not; 3 where an executable is missing
(`make setup-LANGUAGE` tells what it needs), which is never a pass.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from imgd.conformance.v1.case_pb2 import Case
from tests.conformance.case import MissedError, Runner, known_failures, read_cases
from tests.conformance.client import ClientProcess, executable, languages
from tests.conformance.world import world

_MARKS = {"passed": "✓", "failed": "✗", "known": "k", "unexpected": "!", "missing": "-"}


@dataclass
class Report:
    """What came of the cases of one language, by name."""

    language: str
    marks: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    """What the executable did wrong beside the cases."""

    def count(self, mark: str) -> int:
        """How many cases came out so."""
        return list(self.marks.values()).count(mark)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with this client."""
        wrong = ("failed", "unexpected", "missing")
        return not self.trouble and not any(self.count(mark) for mark in wrong)


async def check(language: str, program: Path, cases: list[Case], known: dict[str, str]) -> Report:
    """Runs cases against one client."""
    report = Report(language)
    with tempfile.TemporaryDirectory(prefix="conf-") as name:
        folder = Path(name)
        with world(folder) as place, (folder / "log").open("w+b") as log:
            client = ClientProcess(program, log)
            runner = Runner(client, place, folder)
            for case in cases:
                try:
                    await runner.run(case)
                except MissedError as error:
                    mark = "known" if case.name in known else "failed"
                    report.words[case.name] = known.get(case.name, str(error))
                else:
                    mark = "unexpected" if case.name in known else "passed"
                report.marks[case.name] = mark
            status = await client.stop()
            if status != 0:
                report.trouble = f"the executable ended with {status} after its last case"
            if not report.good:
                log.seek(0)
                sys.stderr.write(log.read()[-20_000:].decode(errors="replace"))
    return report


def table(reports: list[Report], cases: list[Case]) -> str:
    """Language × case, and how many of each."""
    width = max(len(case.name) for case in cases)
    lines = [f"{'':{width}}  " + "  ".join(report.language for report in reports)]
    for case in cases:
        marks = (
            _MARKS[report.marks.get(case.name, "missing")].ljust(len(report.language))
            for report in reports
        )
        lines.append(f"{case.name:{width}}  " + "  ".join(marks).rstrip())
    lines.append("")
    for report in reports:
        for case in cases:
            mark = report.marks.get(case.name, "missing")
            if mark in ("failed", "known"):
                lines.append(f"{report.language}: {case.name}: {mark}: {report.words[case.name]}")
            elif mark == "unexpected":
                lines.append(f"{report.language}: {case.name}: passes, but is known to fail")
        if report.trouble:
            lines.append(f"{report.language}: {report.trouble}")
    for report in reports:
        counts = ", ".join(
            f"{report.count(mark)} {word}"
            for mark, word in (
                ("passed", "passed"),
                ("failed", "failed"),
                ("known", "known to fail"),
                ("unexpected", "passed unexpectedly"),
                ("missing", "NOT RUN"),
            )
            if report.count(mark) or mark in ("passed", "failed")
        )
        lines.append(f"conformance of {report.language}: {len(cases)} cases, {counts}")
    return "\n".join(lines)


def main() -> int:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("language", nargs="*", help=f"{', '.join(languages())}; default: all")
    parser.add_argument("--case", default="*", help="only cases whose names fit this pattern")
    options = parser.parse_args()
    names = options.language or languages()
    everything = read_cases()
    cases = [case for case in everything if fnmatch.fnmatchcase(case.name, options.case)]
    if not cases:
        parser.error(f"no case is named {options.case}")
    reports = []
    for language in names:
        program = executable(language)
        if program.is_file():
            known = known_failures(language, everything)
            reports.append(asyncio.run(check(language, program, cases, known)))
        else:
            reports.append(Report(language, {case.name: "missing" for case in cases}))
    print(table(reports, cases))
    missing = [report.language for report in reports if report.count("missing")]
    if missing:
        print(f"MISSING CLIENTS: {', '.join(missing)}: `make build-LANGUAGE` tells what they need")
    if not all(report.good for report in reports if report.language not in missing):
        return 1
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
