"""`python -m bench`: measures imgd, its peers and the floors side by side, and writes results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import images, listing, peers, pull, report, tagging
from bench.common import BenchError, default_cache, log, prepare, registry

# Fewer rounds say nothing on a noisy machine.
ROUNDS = 5


def main() -> int:
    """Runs what was asked for. 1 when imgd itself could not be measured."""
    known = (*pull.SCENARIOS, *listing.SCENARIOS, *tagging.SCENARIOS)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"{', '.join(known)}; default: pull-app")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", help="measure only what has one of these words, comma-separated")
    parser.add_argument("--skip", help="leave out what has one of these words, comma-separated")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--no-install", action="store_true", help="install no peer")
    parser.add_argument(
        "--serve", action="store_true", help="only serve the images, for trying out"
    )
    options = parser.parse_args()
    names = options.scenario or ["pull-app"]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such scenario: {', '.join(unknown)}")

    def wanted(subject: pull.Subject) -> bool:
        def has(words: str) -> bool:
            return any(word in subject.name for word in words.split(","))

        return (not options.only or has(options.only)) and not (options.skip and has(options.skip))

    missing = [] if options.no_install else peers.install()
    for line in missing:
        log(f"MISSING PEER: {line}")
    for name in (name for name in names if name in listing.SCENARIOS):
        print(f"\n{listing.run(name, options.rounds).read_text()}")
    if "tag" in names:
        print(f"\n{tagging.run(prepare(options.cache), options.rounds).read_text()}")
    names = [name for name in names if name in pull.SCENARIOS]
    return _pull(names, options, wanted) if names else 0


def _pull(
    names: Sequence[str], options: argparse.Namespace, wanted: Callable[[pull.Subject], bool]
) -> int:
    """Measures pulls."""
    subjects = [subject for subject in pull.subjects() if wanted(subject)]
    cache = prepare(options.cache)
    built = {name: images.build(pull.SCENARIOS[name], cache / "images") for name in names}
    failed = False
    with registry(cache) as address:
        for image in built.values():
            images.push(image, address, pull.REPOSITORY.format(image=image.name))
        if options.serve:
            for image in built.values():
                log(f"{address}/{pull.REPOSITORY.format(image=image.name)}:latest")
            log("serving until Enter or the end of the input ...")
            sys.stdin.read(1)
            return 0
        for name, image in built.items():
            log(f"{name}: {len(image.layers)} layers, {image.size / 1e6:.1f} MB compressed")
            results = pull.measure(
                subjects, address, image, cache / "scratch" / "run", options.rounds
            )
            path = report.write(name, image, results)
            print(f"\n{path.read_text()}")
            for result in results:
                if result.failure:
                    log(f"MISSING in {name}: {result.subject.name}: {result.failure}")
                    failed = failed or result.subject.kind == "imgd"
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        log(f"ERROR: {error}")
        sys.exit(1)
