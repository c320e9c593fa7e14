#!/usr/bin/env python3
"""Measures what watching predictions costs: the load on `/predict` of one program with and without `--monitoring`.

Two servers of mnist-mlp are asked in turn, each first in every other round, by `weir bench http` on the same machine.
benches/README.md tells more.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from report import TARGET_HEADER, Series, Target, describe, machine, say, table, write_json
from serving import ROOT, Failure, Server, free_port
from startup import running

PATH = "/models/mnist-mlp/predict"
THROUGHPUT, P99 = 0.9, 1.1


def server(options, state, monitoring):
    port = free_port()
    command = [options.weir, "serve", "--grpc", "off", "--models", options.models, "--state-dir", state, "--log", "error"]
    command += ["--http", f"127.0.0.1:{port}", f"--monitoring={str(monitoring).lower()}"]
    return Server("on" if monitoring else "off", list(map(str, command)), port, "/readyz", {})


def load(options, port, file):
    """Returns the requests per second and the p99 in milliseconds."""
    command = [options.weir, "bench", "http", f"http://127.0.0.1:{port}{PATH}", "--connections", options.connections]
    command += ["--duration", f"{options.seconds}s", "--json", file]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    [step] = json.loads(Path(file).read_text(encoding="utf-8"))["steps"]
    if step["good"] != step["requests"]:
        raise Failure(f"{step['requests'] - step['good']} of {step['requests']} requests failed")
    return step["requests_per_second"], step["latency_ms"]["p99"]


def parse_arguments():
    parser = argparse.ArgumentParser(description="Measures what watching costs; see benches/README.md.")
    parser.add_argument("weir", nargs="?", type=Path, default=ROOT / "target/release/weir", help="program [target/release/weir]")
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="DIR", help="model repository [models]")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="[10]")
    parser.add_argument("--seconds", type=int, default=3, metavar="S", help="of each load [3]")
    parser.add_argument("--connections", type=int, default=16, metavar="N", help="[16]")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    options.weir, options.models = options.weir.resolve(), options.models.resolve()
    return options


def run(options):
    facts, measured = machine(), {True: [], False: []}
    with tempfile.TemporaryDirectory(prefix="weir-watching-") as folder, contextlib.ExitStack() as stack:
        servers = {on: server(options, Path(folder, f"state-{on}"), on) for on in (True, False)}
        for one in servers.values():
            stack.enter_context(running(one))
        for one in servers.values():
            load(options, one.port, Path(folder, "warm-up.json"))
        for number in range(1, options.rounds + 1):
            for on in (True, False) if number % 2 else (False, True):
                measured[on].append(load(options, servers[on].port, Path(folder, "load.json")))
            say(f"round {number} of {options.rounds}: " + ", ".join(f"{rate:.0f}/s p99 {p99:.2f} ms" for rate, p99 in (measured[True][-1], measured[False][-1])))
    ratios = [[on[figure] / off[figure] for on, off in zip(measured[True], measured[False])] for figure in (0, 1)]
    throughput, p99 = map(Series, ratios)
    print(describe(facts) + "\n")
    targets = [
        Target("requests per second, on ÷ off", throughput, ">=", THROUGHPUT, 2),
        Target("p99, on ÷ off", p99, "<=", P99, 2),
    ]
    table("What watching costs", TARGET_HEADER, [target.row() for target in targets], options.markdown)
    if options.json:
        figures = {"throughput_ratio": throughput.json(), "p99_ratio": p99.json()}
        write_json(options.json, {"benchmark": "watching", "machine": facts, **figures})


def main():
    try:
        run(parse_arguments())
    except (Failure, subprocess.CalledProcessError) as failure:
        sys.exit(f"watching.py: {failure}")


if __name__ == "__main__":
    main()
