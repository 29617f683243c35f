"""Rounds: every subject of a scenario once a round, in turn, each reading a row of one table."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import stat
import statistics
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import BenchError, Sample, log, settle

__all__ = [
    "ROUNDS",
    "Measured",
    "Place",
    "Scenario",
    "Subject",
    "Target",
    "measure",
]

# Fewer rounds say little on a noisy machine.
ROUNDS = 5
# What is kept until the end is dropped early below so much room: one more run may need it.
ROOM = 12 << 30


@dataclass(frozen=True)
class Subject:
    """What is measured. `run` gets an empty folder of its own."""

    name: str
    kind: str  # "imgd", "peer" or "floor"
    run: Callable[[Path], Sample]
    # Whether what it leaves behind survives a power cut; None where that is no question.
    durable: bool | None = None
    version: Callable[[], str] = lambda: ""
    # It is left out of later rounds than these: where it takes long, and always as long.
    rounds: int | None = None


@dataclass(frozen=True)
class Target:
    """A bound on a reading of a row, or with `base` on its ratio to that row's.

    Of seconds the median counts, of all else the worst.
    """

    row: str
    most: float
    base: str = ""
    # "seconds", "memory" or one of Sample.more.
    reading: str = "seconds"

    def text(self) -> str:
        """The bound in words."""
        if self.base:
            return f"at most {self.most:g} × {self.base}"
        if self.reading == "memory":
            return f"at most {self.most / 1e6:g} MB"
        if self.reading == "seconds":
            return f"at most {self.most:g} s"
        return f"{self.reading} at most {self.most:g}"

    def value(self, results: list[Measured]) -> float | None:
        """What was read; None where something is missing."""
        rows = {result.subject.name: result for result in results if result.samples}
        if self.row not in rows or (self.base and self.base not in rows):
            return None
        value = rows[self.row].reading(self.reading)
        return value / rows[self.base].reading(self.reading) if self.base else value


@dataclass
class Measured:
    """What came of a subject: samples, or why there are none."""

    subject: Subject
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    def reading(self, name: str) -> float:
        """The median of the seconds, or the largest of anything else."""
        if name == "seconds":
            return statistics.median(sample.seconds for sample in self.samples)
        if name == "memory":
            return max(sample.memory for sample in self.samples)
        return max(sample.more[name] for sample in self.samples)


@dataclass(frozen=True)
class Scenario:
    """Subjects that do the same work, and what the results are held against."""

    about: Mapping[str, object]
    subjects: list[Subject]
    targets: tuple[Target, ...] = ()
    # How to read the table.
    note: str = ""
    # The rows that every other is compared with; the first of imgd's if not given.
    compare: tuple[str, ...] = ()
    rounds: int = ROUNDS
    # Whether a first round is run that does not count.
    warm_up: bool = True
    # Whether the files that a run made stay until all is over, emptied. ext4 does not reuse a
    # deleted file's number for some minutes, and looks at each such number whenever it makes a
    # file: with 40,000 files just deleted, making one took 0.7 ms instead of 0.014.
    keep: bool = False


# What a module offers: the scenario, with the servers that it needs for as long as it is measured.
# It gets the cache, and a folder of its own within it.
Place = Callable[[Path, Path], AbstractContextManager[Scenario]]


def measure(scenario: Scenario, scratch: Path, rounds: int) -> list[Measured]:
    """Runs every subject once a round, in turn; one that fails is left out from then on."""
    results = [Measured(subject) for subject in scenario.subjects]
    first = 0 if scenario.warm_up else 1
    for number in range(first, rounds + 1):
        for result in results:
            subject = result.subject
            if result.failure or number > (subject.rounds or rounds):
                continue
            # Short: the path of a Unix socket has 107 bytes.
            name = hashlib.sha256(subject.name.encode()).hexdigest()[:6]
            folder = scratch / f"{number}{name}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            settle()
            before = _processor_seconds()
            try:
                sample = subject.run(folder)
            except (BenchError, subprocess.SubprocessError, OSError, ValueError) as error:
                result.failure = str(error) or repr(error)
                log(f"MISSING: {subject.name}: {result.failure}")
                continue
            finally:
                if scenario.keep and shutil.disk_usage(scratch).free > ROOM:
                    _empty(folder)
                else:
                    shutil.rmtree(folder, ignore_errors=True)
            log(
                f"round {number}{' (warm-up)' if not number else ''}: {subject.name}:"
                f" {sample.seconds:.4g} s, {sample.memory / 1e6:.0f} MB,"
                + "".join(f" {value:.4g} {name}," for name, value in sample.more.items())
                + f" {_processor_seconds() - before:.2f} s of processor time"
                f" (load {os.getloadavg()[0]:.1f})"
            )
            if number:
                result.samples.append(sample)
    return results


def _empty(folder: Path) -> None:
    """Takes the content of all files below, and leaves the files."""
    for _, _, names, descriptor in os.fwalk(folder):
        for name in names:
            if stat.S_ISREG(os.lstat(name, dir_fd=descriptor).st_mode):
                file = os.open(name, os.O_WRONLY | os.O_TRUNC, dir_fd=descriptor)
                os.close(file)


def _processor_seconds() -> float:
    """Of all that was run so far, starts of interpreters included: on a machine that is not quiet,
    more telling than the time on the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
