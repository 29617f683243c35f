"""`python -m bench`: measures imgd, its peers and the floors side by side, and writes results."""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import (
    archives,
    clients,
    collect,
    listing,
    peers,
    pull,
    registries,
    report,
    rounds,
    sharing,
    starting,
    tagging,
    unpack,
)
from bench.common import RESULTS, BenchError, default_cache, log, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.rounds import Place, Subject

SCENARIOS: dict[str, Place] = {
    **pull.SCENARIOS,
    **unpack.SCENARIOS,
    **sharing.SCENARIOS,
    **archives.SCENARIOS,
    **registries.SCENARIOS,
    **starting.SCENARIOS,
    **listing.SCENARIOS,
    **tagging.SCENARIOS,
    **collect.SCENARIOS,
    **clients.SCENARIOS,
}


def main() -> int:
    """Runs what was asked for. 1 when something of imgd's could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "scenario", nargs="*", help=f"{', '.join(SCENARIOS)} (or how they begin); default: all"
    )
    parser.add_argument("--rounds", type=int, help="by default 2 to 5, as the scenario has it")
    parser.add_argument("--only", help="measure only what has one of these words, comma-separated")
    parser.add_argument("--skip", help="leave out what has one of these words, comma-separated")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the tables go")
    parser.add_argument("--no-install", action="store_true", help="install no peer")
    options = parser.parse_args()
    names = []
    for word in options.scenario or [""]:
        found = [word] if word in SCENARIOS else [one for one in SCENARIOS if one.startswith(word)]
        if not found:
            parser.error(f"no such scenario: {word} (there are {', '.join(SCENARIOS)})")
        names += [one for one in found if one not in names]

    def wanted(subject: Subject) -> bool:
        def has(words: str) -> bool:
            return any(word in subject.name for word in words.split(","))

        return (not options.only or has(options.only)) and not (options.skip and has(options.skip))

    if not options.no_install:
        for line in peers.install():
            log(f"MISSING PEER: {line}")
    cache = prepare(options.cache)
    lock = (cache / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        log("ERROR: another benchmark uses this cache")
        return 1
    scratch = cache / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    failed = False
    try:
        for name in names:
            start = time.monotonic()
            place = cache, scratch / name, options.results
            failed = not _run(name, place, options.rounds, wanted) or failed
            log(f"{name}: took {time.monotonic() - start:.0f} s")
    finally:
        log("removing what was left ...")
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if failed else 0


def _run(
    name: str,
    place: tuple[Path, Path, Path],
    count: int | None,
    wanted: Callable[[Subject], bool],
) -> bool:
    """Measures one scenario, and prints its table. False when a row of imgd's is missing.

    `place` is the cache, the scenario's folder in it, and the folder of the results.
    """
    cache, folder, out = place
    folder.mkdir(parents=True)
    try:
        with SCENARIOS[name](cache, folder) as scenario:
            chosen = [subject for subject in scenario.subjects if wanted(subject)]
            scenario = dataclasses.replace(scenario, subjects=chosen)
            results = rounds.measure(scenario, folder, count or scenario.rounds)
    except (BenchError, subprocess.SubprocessError, OSError) as error:
        log(f"ERROR: {name}: {error}")
        return False
    print(f"\n{report.write(out / name, scenario, results).read_text()}", flush=True)
    return not any(one.failure and one.subject.kind == "imgd" for one in results)


if __name__ == "__main__":
    sys.exit(main())
