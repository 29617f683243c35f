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

from bench.common import ROOT

if TYPE_CHECKING:
    from bench.rounds import Measured, Scenario, Target


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


def write(path: Path, scenario: Scenario, results: list[Measured]) -> Path:
    """Writes the three files at `path` with a suffix each, and returns the table's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()
    about: dict[str, object] = {
        "scenario": name,
        "time": now,
        "commit": commit(),
        "machine": machine(),
        "about": dict(scenario.about),
    }
    rows = [
        {
            "name": result.subject.name,
            "kind": result.subject.kind,
            "durable": result.subject.durable,
            "version": result.subject.version(),
            "failure": _first_line(result.failure),
            "seconds": [float(f"{sample.seconds:.4g}") for sample in result.samples],
            "memory_bytes": [sample.memory for sample in result.samples],
            "more": [
                {key: float(f"{value:.6g}") for key, value in sample.more.items()}
                for sample in result.samples
            ],
        }
        for result in results
    ]
    targets = [
        {
            "row": target.row,
            "target": target.text(),
            "reading": (value := target.value(results)),
            "met": None if value is None else value <= target.most,
        }
        for target in scenario.targets
    ]
    document = {**about, "rows": rows, "targets": targets}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    path.with_suffix(".md").write_text(_table(about, scenario, results))
    path.with_suffix(".svg").write_text(_plot(name, results))
    return path.with_suffix(".md")


def _first_line(failure: str) -> str:
    # The rest can name places of the machine it ran on, and is for the terminal only.
    return failure.partition("\n")[0]


def _table(about: dict[str, object], scenario: Scenario, results: list[Measured]) -> str:
    measured = {result.subject.name: result for result in results if result.samples}
    ours = [name for name, result in measured.items() if result.subject.kind == "imgd"]
    # Ratios are of medians, with the smallest and largest ratio within one round.
    bases = [measured[name] for name in scenario.compare or ours[:1] if name in measured]
    more = list(dict.fromkeys(key for one in measured.values() for key in one.samples[0].more))
    lasting = any(result.subject.durable is not None for result in results)
    memory = any(sample.memory for one in measured.values() for sample in one.samples)
    head = ["", *(["durable"] if lasting else []), "median s", "min to max"]
    head += [*(["peak MB"] if memory else []), *more]
    head += [f"{base.subject.name} is × of it" for base in bases]
    head += ["target"] if scenario.targets else []
    lines = [head, ["---"] * len(head)]
    for result in results:
        subject = result.subject
        version = subject.version()
        line = [f"{subject.name} ({version})" if version else subject.name]
        line += [{True: "yes", False: "no", None: ""}[subject.durable]] if lasting else []
        if result.samples:
            seconds = [sample.seconds for sample in result.samples]
            line += [_number(result.reading("seconds"))]
            line += [f"{_number(min(seconds))} to {_number(max(seconds))}"]
            line += [f"{result.reading('memory') / 1e6:.0f}"] if memory else []
            line += [_more(result, key) for key in more]
            line += [_ratio(base, result) for base in bases]
        else:
            line += [f"**missing**: {_first_line(result.failure)}"]
            line += [""] * (len(head) - len(line) - (1 if scenario.targets else 0))
        if scenario.targets:
            line += ["; ".join(_verdict(one, results) for one in _of(scenario, subject.name))]
        lines.append(line)
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    rounds = max((len(result.samples) for result in results), default=0)
    return (
        f"# {about['scenario']}\n\n"
        f"{about['time']}, commit {about['commit']}, {rounds} rounds"
        f"{' after a warm-up' if scenario.warm_up else ''}, all in turn; state dropped and `sync` "
        f"before each.\n\nMachine: {_words(about['machine'])}. {_words(about['about'])}.\n\n"
        f"{text}\n\n{scenario.note}{' ' if scenario.note else ''}Only ratios count: the machine "
        "is noisy; in brackets, the ratios within single rounds. Further readings are "
        f"medians; a target takes the worst.\n\n![{about['scenario']}]({about['scenario']}.svg)\n"
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if value >= 0.1 else f"{value:.3g}"


def _more(result: Measured, key: str) -> str:
    values = [sample.more[key] for sample in result.samples if key in sample.more]
    if not values:
        return ""
    value = statistics.median(values)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _ratio(base: Measured, result: Measured) -> str:
    # One that failed on the way has fewer samples.
    ratios = [
        one.seconds / other.seconds
        for one, other in zip(base.samples, result.samples, strict=False)
    ]
    ratio = base.reading("seconds") / result.reading("seconds")
    shown = [
        f"{one:.2f}" if one >= 0.1 else f"{one:.2g}" for one in (ratio, min(ratios), max(ratios))
    ]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def _of(scenario: Scenario, row: str) -> list[Target]:
    return [target for target in scenario.targets if target.row == row]


def _verdict(target: Target, results: list[Measured]) -> str:
    value = target.value(results)
    if value is None:
        return f"{target.text()}: not measured"
    shown = (
        f"{value / 1e6:.0f}" if target.reading == "memory" and not target.base else f"{value:.3g}"
    )
    return f"{target.text()}: {'met' if value <= target.most else '**not met**'} ({shown})"


def _words(value: object) -> str:
    assert isinstance(value, dict)
    return ", ".join(f"{key.replace('_', ' ')} {item}" for key, item in value.items())


# The plot's measures, in pixels.
_LEFT, _WIDTH, _ROW, _BAR = 300, 520, 26, 16
_COLOURS = {"imgd": "#2563eb", "peer": "#9ca3af", "floor": "#d1d5db"}


def _plot(scenario: str, results: list[Measured]) -> str:
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
        median = result.reading("seconds")
        low, high = _LEFT + min(seconds) * scale, _LEFT + max(seconds) * scale
        parts += [
            f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">'
            f"{escape(result.subject.name)}</text>",
            f'<rect x="{_LEFT}" y="{top}" width="{median * scale:.1f}" height="{_BAR}" '
            f'fill="{_COLOURS[result.subject.kind]}"/>',
            f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#111827"/>',
            f'<text x="{max(high, _LEFT) + 6:.1f}" y="{top + 13}">{_number(median)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
