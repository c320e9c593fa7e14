#!/usr/bin/env python3
"""Measures how long `weir serve` takes to be ready, its memory at rest, and its first requests.

Every start finds a warm state directory: the models are checked and tuned before. Several programs
take turns, so that a busy machine meets all of them alike. benches/README.md tells more.
"""

import argparse
import base64
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from report import TARGET_HEADER, Series, Target, describe, machine, say, table, write_json
from serving import ROOT, Failure, Server, free_port, memory_kb

REST_SECONDS = 1
WARM_UP_SECONDS = 60
READY_MS = 60
REST_MB = 70


@dataclass
class Program:
    """A build of weir, and what was measured of it."""

    path: Path
    state: Path
    ready: list = field(default_factory=list)
    resident: list = field(default_factory=list)
    first: dict = field(default_factory=dict)
    later: dict = field(default_factory=dict)

    def server(self, options):
        port = free_port()
        command = [self.path, "serve", "--grpc", "off", "--models", options.models, "--state-dir", self.state]
        command += ["--http", f"127.0.0.1:{port}", "--log", "error"]
        # A developer's shell may ask for the call stack of every error inside the engine, which nobody else pays for.
        return Server(str(self.path), list(map(str, command)), port, "/readyz", {"RUST_BACKTRACE": "0"})

    def warm_up(self, options, models):
        """Has every model checked and tuned, so that later starts remember both."""
        with running(self.server(options)) as server:
            deadline = time.monotonic() + WARM_UP_SECONDS
            while any(tuning_stage(server, model) == "loading" for model in models):
                if time.monotonic() > deadline:
                    raise Failure(f"{self.path}: the models were not tuned within {WARM_UP_SECONDS} s")
                time.sleep(0.1)

    def measure(self, options, samples):
        server = self.server(options)
        with running(server, self.ready):
            time.sleep(REST_SECONDS)
            self.resident.append(memory_kb(f"/proc/{server.process.pid}/status", "VmRSS:") / 1000)
            for model, png in samples.items():
                self.first.setdefault(model, []).append(request_ms(server, model, png))
                self.later.setdefault(model, []).append(min(request_ms(server, model, png) for _ in range(10)))


@contextlib.contextmanager
def running(server, times=None):
    try:
        ready = server.start()
        if times is not None:
            times.append(ready)
        yield server
    finally:
        server.stop()


def tuning_stage(server, model):
    status, body = server.ask("GET", f"/models/{model}")
    if status != 200:
        raise Failure(f"GET /models/{model} answered {status}")
    stages = [version.get("tuning", {}).get("stage") for version in json.loads(body)["versions"]]
    return "loading" if "loading" in stages else "known"


def request_ms(server, model, png):
    begun = time.perf_counter()
    status, body = server.ask("POST", f"/models/{model}/predict", png)
    if status != 200:
        raise Failure(f"{model} answered {status}: {body[:200]}")
    return (time.perf_counter() - begun) * 1e3


def samples(models):
    """A PNG file of the probe set of each model."""
    found = {}
    for probe in sorted(models.glob("*/*/probe.jsonl")):
        sample = json.loads(probe.read_text(encoding="utf-8").splitlines()[0])
        if "image" in sample:
            found[probe.parent.parent.name] = base64.b64decode(sample["image"])
    if not found:
        raise Failure(f"{models} holds no model with a probe set of images")
    return found


def parse_arguments():
    parser = argparse.ArgumentParser(description="Measures the start of `weir serve`; see benches/README.md.")
    parser.add_argument("weir", nargs="*", type=Path, default=[ROOT / "target/release/weir"], help="programs to compare [target/release/weir]")
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="DIR", help="model repository [models]")
    parser.add_argument("--starts", type=int, default=10, metavar="N", help="timed starts of each program [10]")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    options.weir, options.models = [path.resolve() for path in options.weir], options.models.resolve()
    if options.starts < 1:
        parser.error("--starts must be at least 1")
    return options


def run(options):
    for path in options.weir:
        if not path.is_file():
            raise Failure(f"{path} is missing; build it with `cargo build --release`")
    facts = machine()
    pngs = samples(options.models)
    with tempfile.TemporaryDirectory(prefix="weir-startup-") as folder:
        programs = [Program(path, Path(folder, f"state-{number}")) for number, path in enumerate(options.weir)]
        for program in programs:
            program.warm_up(options, pngs)
        for number in range(1, options.starts + 1):
            for program in programs:
                program.measure(options, pngs)
            say(f"start {number} of {options.starts}: " + ", ".join(f"{p.ready[-1]:.0f} ms {p.resident[-1]:.0f} MB" for p in programs))

    print(describe(facts) + "\n")
    for program in programs:
        rows = [["start to ready, ms", Series(program.ready).text(1)], ["memory at rest, MB", Series(program.resident).text(1)]]
        for model in pngs:
            rows.append([f"first request to {model}, ms", Series(program.first[model]).text(2)])
            rows.append([f"later request to {model}, ms", Series(program.later[model]).text(2)])
        table(str(program.path), ["figure", "median (min–max)"], rows, options.markdown)
        targets = [
            Target("start to ready, ms", Series(program.ready), "<=", READY_MS, 1),
            Target("memory at rest, MB", Series(program.resident), "<=", REST_MB, 1),
        ]
        table("Targets", TARGET_HEADER, [target.row() for target in targets], options.markdown)
    if options.json:
        figures = lambda program: {
            "ready_ms": Series(program.ready).json(),
            "rest_mb": Series(program.resident).json(),
            "first_request_ms": {model: Series(values).json() for model, values in program.first.items()},
            "later_request_ms": {model: Series(values).json() for model, values in program.later.items()},
        }
        document = {"benchmark": "startup", "machine": facts, "programs": {str(p.path): figures(p) for p in programs}}
        write_json(options.json, document)


def main():
    try:
        run(parse_arguments())
    except (Failure, subprocess.CalledProcessError) as failure:
        sys.exit(f"startup.py: {failure}")


if __name__ == "__main__":
    main()
