"""What both benchmarks share: series of figures, targets, tables, the description of the machine."""

import json
import os
import platform
import statistics
import sys
from dataclasses import dataclass
from datetime import datetime, timezone


@dataclass
class Series:
    """One figure over several rounds."""

    values: list

    @property
    def median(self):
        return statistics.median(self.values)

    def text(self, digits=0):
        middle, low, high = (f"{value:,.{digits}f}" for value in (self.median, min(self.values), max(self.values)))
        return f"{middle} ({low}–{high})"

    def over(self, other):
        """The ratio round by round: both sides of a round saw the same machine."""
        return Series([mine / theirs for mine, theirs in zip(self.values, other.values)])

    def json(self):
        return {"median": self.median, "min": min(self.values), "max": max(self.values), "values": self.values}


@dataclass
class Target:
    """A figure beside what it has to reach."""

    figure: str
    series: Series
    relation: str
    bound: float
    digits: int = 2

    @property
    def met(self):
        return self.series.median >= self.bound if self.relation == ">=" else self.series.median <= self.bound

    def row(self):
        return [self.figure, self.series.text(self.digits), f"{self.relation} {self.bound:g}", "ok" if self.met else "short"]

    def json(self):
        return {"figure": self.figure, "relation": self.relation, "target": self.bound, "met": self.met, **self.series.json()}


TARGET_HEADER = ["figure", "median (min–max)", "target", ""]


def say(text):
    """Progress; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def table(title, header, rows, markdown):
    """Prints one table: the first column to the left, figures to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    cells = lambda row: [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
    if markdown:
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [f"**{title}**", ""] + ["| " + " | ".join(row) + " |" for row in [cells(header), rule, *map(cells, rows)]]
    else:
        lines = [title, *("  " + "  ".join(cells(row)).rstrip() for row in [header, *rows])]
    print("\n".join(lines) + "\n", flush=True)


def machine():
    """Where and when the figures were made; the load average tells whether the machine was quiet."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
        "started": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def describe(facts):
    return f"{facts['cpu']}, {facts['cores']} cores, load {facts['load_average']:.2f} at the start, {facts['started']}"


def write_json(path, document):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.write("\n")
