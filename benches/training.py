#!/usr/bin/env python3
"""Measures `weir train` against the same recipe in Keras, and its accuracy over seeds.

One run of each in every round, with the same data, epochs, batch size and number of samples. Needs
nothing from Python but its standard library; Keras lives in a Python of its own.
benches/README.md tells more.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from report import TARGET_HEADER, Series, Target, describe, machine, say, table, write_json

BENCHES = Path(__file__).resolve().parent
ROOT = BENCHES.parent
# For each preset that Keras is given too, the largest ratio wanted and what makes the recipes the same.
PRESETS = {"mnist-mlp": (0.25, []), "mnist-convnet": (1.0, []), "mnist-lstm": (1.0, ["--augment", "none"])}
RUN_TIMEOUT_SECONDS = 900


class Failure(Exception):
    """The benchmark cannot go on, or its figures would mean nothing."""


def run(command):
    """Runs a program to its end; returns its figures and what it printed."""
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output)
        guard = threading.Timer(RUN_TIMEOUT_SECONDS, process.kill)
        guard.start()
        try:
            # Unlike subprocess, this tells the peak memory of this very process.
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begun
        except BaseException:
            process.kill()
            raise
        finally:
            guard.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise Failure(f"{command[0]} ended with code {process.returncode}")
        output.seek(0)
        figures = {
            "process_seconds": wall,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mb": usage.ru_maxrss * 1.024 / 1000,
        }
        return figures, output.read()


def weir(options, seed, arguments):
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as runs:
        command = [options.weir, "train", options.preset, "--epochs", 5, "--data", options.data, "--runs", runs, "--seed", seed]
        figures, output = run([*command, "--no-publish", "--quiet", "--json", *arguments])
        lines = Path(runs, options.preset, "1", "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    evaluation = json.loads(output)
    epochs = [json.loads(line)["duration_seconds"] for line in lines]
    return measured(figures, sum(epochs), epochs, evaluation, seed)


def keras(options, seed):
    figures, output = run([options.keras, BENCHES / "keras_mnist.py", options.data, seed, options.preset])
    evaluation = json.loads(output.splitlines()[-1])
    return measured(figures, evaluation["fit_seconds"], evaluation["epoch_seconds"], evaluation, seed)


def measured(figures, fit_seconds, epochs, evaluation, seed):
    return {
        "seed": seed,
        **figures,
        "fit_seconds": fit_seconds,
        "epoch_seconds": epochs,
        # Without the first epoch, in which Keras compiles its graph.
        "later_epoch_seconds": statistics.median(epochs[1:] or epochs),
        "accuracy_percent": evaluation["accuracy"] * 100,
        "loss": evaluation["loss"],
    }


# What is compared, its heading, and digits after the point.
FIGURES = [
    ("fit_seconds", "5 epochs s", 2),
    ("later_epoch_seconds", "later epoch s", 3),
    ("process_seconds", "process s", 2),
    ("cpu_seconds", "CPU s", 1),
    ("peak_mb", "peak MB", 0),
    ("accuracy_percent", "test accuracy %", 2),
    ("loss", "test loss", 4),
]


def series(rounds, figure):
    return Series([one[figure] for one in rounds])


def measure_rounds(options):
    rounds = {"weir": []}
    if options.keras:
        rounds["keras"] = []
    for number in range(options.rounds):
        rounds["weir"].append(weir(options, number, ["--validation", 0, *PRESETS[options.preset][1]]))
        if options.keras:
            rounds["keras"].append(keras(options, number))
        took = ", ".join(f"{name} {done[-1]['fit_seconds']:.2f} s" for name, done in rounds.items())
        say(f"round {number + 1} of {options.rounds}: {took}")
    return rounds


def measure_seeds(options):
    variants = {"default arguments": [], "--validation 0": ["--validation", 0]}
    results = {name: [] for name in variants}
    for seed in range(options.seeds):
        for name, arguments in variants.items():
            results[name].append(weir(options, seed, arguments))
        say(f"seed {seed}: " + ", ".join(f"{name} {done[-1]['accuracy_percent']:.2f} %" for name, done in results.items()))
    return results


def seed_table(seeds, markdown):
    count = len(next(iter(seeds.values())))
    rows = []
    for name, results in seeds.items():
        accuracies = [one["accuracy_percent"] for one in results]
        mean_loss = statistics.mean(one["loss"] for one in results)
        rows.append([name, *(f"{value:.2f}" for value in accuracies), f"{statistics.mean(accuracies):.3f}", f"{mean_loss:.4f}"])
    header = ["weir, test accuracy %", *(f"seed {seed}" for seed in range(count)), "mean", "mean loss"]
    table("Seeds", header, rows, markdown)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Measures `weir train`; see benches/README.md.")
    parser.add_argument("--weir", type=Path, default=ROOT / "target/release/weir", metavar="FILE", help="the program [target/release/weir]")
    parser.add_argument("--data", type=Path, default=ROOT / "data/mnist", metavar="DIR", help="the four MNIST files [data/mnist]")
    parser.add_argument("--preset", choices=PRESETS, default="mnist-mlp", help="what is trained [mnist-mlp]")
    parser.add_argument("--keras", metavar="PYTHON", help="a python with tensorflow-cpu")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of training [3]")
    parser.add_argument("--seeds", type=int, default=0, metavar="N", help="also train weir with seeds 0 to N-1 [0]")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    options.weir, options.data = options.weir.resolve(), options.data.resolve()
    if options.rounds < 1 or options.seeds < 0:
        parser.error("--rounds must be at least 1 and --seeds at least 0")
    return options


def compare(options):
    if not options.weir.is_file():
        raise Failure(f"{options.weir} is missing; build it with `cargo build --release`")
    facts = machine()
    rounds = measure_rounds(options)
    seeds = measure_seeds(options) if options.seeds else {}

    ratios, targets = {}, []
    if options.keras:
        ratios = {heading: series(rounds["weir"], figure).over(series(rounds["keras"], figure)) for figure, heading, _ in FIGURES[:5]}
        targets.append(Target("weir/keras, 5 epochs", ratios["5 epochs s"], "<=", PRESETS[options.preset][0], 3))
    targets.append(Target("weir, peak MB", series(rounds["weir"], "peak_mb"), "<=", 400, 0))
    for name, results in seeds.items() if options.preset == "mnist-mlp" else []:
        mean = statistics.mean(one["accuracy_percent"] for one in results)
        targets.append(Target(f"weir, mean accuracy %, {name}", Series([mean]), ">=", 97.65, 3))

    print(describe(facts) + "\n")
    rows = [[name, *(series(done, figure).text(digits) for figure, _, digits in FIGURES)] for name, done in rounds.items()]
    title = f"{options.preset}, 60,000 samples, {options.rounds} rounds, median (min–max)"
    table(title, ["trainer", *(heading for _, heading, _ in FIGURES)], rows, options.markdown)
    if ratios:
        table("weir/keras", ["ratio", "median (min–max)"], [[name, ratio.text(3)] for name, ratio in ratios.items()], options.markdown)
    if seeds:
        seed_table(seeds, options.markdown)
    table("Targets", TARGET_HEADER, [target.row() for target in targets], options.markdown)
    if options.json:
        document = {
            "benchmark": "training",
            "machine": facts,
            "settings": {"rounds": options.rounds, "seeds": options.seeds, "preset": options.preset},
            "rounds": rounds,
            "ratios": {name: ratio.json() for name, ratio in ratios.items()},
            "seeds": seeds,
            "targets": [target.json() for target in targets],
        }
        write_json(options.json, document)


def main():
    # A SIGTERM must still end the run under way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        compare(parse_arguments())
    except (Failure, OSError, ValueError) as failure:
        sys.exit(f"training.py: {failure}")


if __name__ == "__main__":
    main()
