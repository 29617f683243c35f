"""Results as JSON, a markdown table and a plot (SVG, by hand: no library is worth it)."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bench.common import RESULTS, ROOT

if TYPE_CHECKING:
    from bench.images import Image
    from bench.pull import Measured


def machine() -> dict[str, object]:
    """Describes the machine; nothing that identifies it."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that is measured, with a + when the tree differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "none"
    # Results are no part of what is measured.
    return head + ("+" if git("status", "--porcelain", "--", ":!bench/results") else "")


def write(scenario: str, image: Image, results: list[Measured]) -> Path:
    """Writes the three files, and returns the table's path."""
    RESULTS.mkdir(exist_ok=True)
    medians = {
        result.subject.name: statistics.median(sample.seconds for sample in result.samples)
        for result in results
        if result.samples
    }
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()
    about: dict[str, object] = {
        "scenario": scenario,
        "time": now,
        "commit": commit(),
        "machine": machine(),
        "image": {
            "layers": len(image.layers),
            "compressed_bytes": image.size,
        },
    }
    rows = [
        {
            "name": result.subject.name,
            "kind": result.subject.kind,
            "durable": result.subject.durable,
            "version": result.subject.version(),
            "failure": _first_line(result.failure),
            "seconds": [round(sample.seconds, 4) for sample in result.samples],
            "memory_bytes": [sample.memory for sample in result.samples],
        }
        for result in results
    ]
    path = RESULTS / scenario
    path.with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    path.with_suffix(".md").write_text(_table(about, results, medians))
    path.with_suffix(".svg").write_text(_plot(scenario, results, medians))
    return path.with_suffix(".md")


def _first_line(failure: str) -> str:
    # The rest can name places of the machine it ran on, and is for the terminal only.
    return failure.partition("\n")[0]


def _table(about: dict[str, object], results: list[Measured], medians: dict[str, float]) -> str:
    # Ratios are of medians, with the smallest and largest ratio within one round.
    bases = [
        result
        for result in results
        if result.samples
        and (result.subject.kind == "imgd" or result.subject.durable)
        and (result.subject.kind == "imgd" or result.subject.name == "floor: fetch")
    ]
    head = ["", "durable", "median s", "min to max", "peak MB"]
    head += [f"{result.subject.name.replace('floor: ', '')} is × of it" for result in bases]
    lines = [head, ["---"] * len(head)]
    for result in results:
        name = result.subject.name
        if version := result.subject.version():
            name += f" ({version})"
        durable = "yes" if result.subject.durable else "no"
        if not result.samples:
            why = _first_line(result.failure)
            lines.append([name, durable, f"**missing**: {why}", *[""] * (len(head) - 3)])
            continue
        seconds = [sample.seconds for sample in result.samples]
        line = [name, durable, f"{medians[result.subject.name]:.3f}"]
        line.append(f"{min(seconds):.3f} to {max(seconds):.3f}")
        line.append(f"{max(sample.memory for sample in result.samples) / 1e6:.0f}")
        for base in bases:
            ratios = [
                one.seconds / other.seconds
                for one, other in zip(base.samples, result.samples, strict=True)
            ]
            ratio = medians[base.subject.name] / medians[result.subject.name]
            line.append(f"{ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        lines.append(line)
    facts = about["machine"], about["image"]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    rounds = max((len(result.samples) for result in results), default=0)
    return (
        f"# {about['scenario']}\n\n"
        f"{about['time']}, commit {about['commit']}, {rounds} rounds after a warm-up, all in turn; "
        "state dropped and `sync` before each.\n\n"
        f"Machine: {_words(facts[0])}. Image: {_words(facts[1])}.\n\n"
        f"{text}\n\n"
        "Only ratios count: the machine is noisy; in brackets, the ratios within single rounds. "
        "Durable: whether the layers were fsynced. Memory: the largest PSS seen of all processes, "
        "page cache apart (containerd: with ctr; imgd: the daemon). ctr looks for its end every "
        "100 ms.\n\n"
        f"![{about['scenario']}]({about['scenario']}.svg)\n"
    )


def _words(value: object) -> str:
    assert isinstance(value, dict)
    return ", ".join(f"{key.replace('_', ' ')} {item}" for key, item in value.items())


# The plot's measures, in pixels.
_LEFT, _WIDTH, _ROW, _BAR = 210, 520, 26, 16
_COLOURS = {"imgd": "#2563eb", "peer": "#9ca3af", "floor": "#d1d5db"}


def _plot(scenario: str, results: list[Measured], medians: dict[str, float]) -> str:
    shown = [result for result in results if result.samples]
    longest = max((sample.seconds for result in shown for sample in result.samples), default=1)
    scale = _WIDTH / longest
    height = _ROW * (len(shown) + 1) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 90}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="18" font-weight="bold">{escape(scenario)}: seconds, median, '
        "min to max</text>",
    ]
    for number, result in enumerate(shown, 1):
        top = number * _ROW + 2
        middle = top + _BAR / 2
        seconds = [sample.seconds for sample in result.samples]
        median = medians[result.subject.name]
        low, high = _LEFT + min(seconds) * scale, _LEFT + max(seconds) * scale
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">'
            f"{escape(result.subject.name)}</text>",
            f'<rect x="{_LEFT}" y="{top}" width="{median * scale:.1f}" height="{_BAR}" '
            f'fill="{_COLOURS[result.subject.kind]}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#111827"/>',
            f'<text x="{max(high, _LEFT) + 6:.1f}" y="{top + 13}">{median:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
