#!/usr/bin/env python3
"""Measures how well a network learns from few images: test accuracy by training samples, with the
images as they are and moved, bent and mixed.

Small sets are drawn by `--train-samples`, every class in proportion. As many steps are taken for
each size as make a fair run, so epochs grow as samples shrink. benches/README.md tells more.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import describe, machine, say, table, write_json

ROOT = Path(__file__).resolve().parent.parent
# Samples and the epochs they are given.
SIZES = {100: 120, 1000: 40, 10000: 8}
# What is added to the preset; the first is the yardstick.
RECIPES = {
    "plain": ["--augment", "none"],
    "moved": ["--augment", "12,2,0.1"],
    "moved, slanted, bent": [
        "--augment", "12,2,0.1",
        "--set", "augment.shear_degrees=10",
        "--set", "augment.elastic_alpha=34",
        "--set", "augment.elastic_sigma=5",
    ],
}
BATCH = {100: 20, 1000: 50, 10000: 128}
RUN_TIMEOUT_SECONDS = 600


def train(args, samples, extra, seed, runs):
    """Trains once; returns the evaluation on the test images and the seconds it took."""
    command = [
        args.weir, "train", args.preset, "--no-publish", "--no-tensorboard", "--json", "--quiet",
        "--train-samples", samples, "--epochs", SIZES[samples], "--batch-size", BATCH[samples],
        # No more labels than that: no epoch is chosen by others.
        "--validation", 0, "--seed", seed, "--runs", runs, *extra,
    ]
    begun = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=RUN_TIMEOUT_SECONDS, check=False
    )
    if done.returncode != 0:
        sys.exit(f"weir ended with code {done.returncode}")
    return json.loads(done.stdout), time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", default=ROOT / "target/release/weir", help="the program")
    parser.add_argument("--preset", default="mnist-cnn")
    parser.add_argument("--samples", type=int, nargs="+", choices=SIZES, default=list(SIZES), help="training samples")
    parser.add_argument("--seeds", type=int, default=1, help="seeds for each, from 0")
    parser.add_argument("--json", metavar="FILE", help="keep every figure")
    parser.add_argument("--markdown", action="store_true", help="print the table for benches/README.md")
    args = parser.parse_args()
    facts, figures = machine(), []
    with tempfile.TemporaryDirectory() as runs:
        for samples in args.samples:
            for name, extra in RECIPES.items():
                for seed in range(args.seeds):
                    evaluation, seconds = train(args, samples, extra, seed, runs)
                    accuracy = 100 * evaluation["accuracy"]
                    figures.append({"samples": samples, "recipe": name, "seed": seed, "accuracy": accuracy,
                                    "loss": evaluation["loss"], "seconds": seconds})
                    say(f"{samples} samples, {name}, seed {seed}: {accuracy:.2f} % in {seconds:.1f} s")

    def cell(samples, name):
        of = [figure["accuracy"] for figure in figures if (figure["samples"], figure["recipe"]) == (samples, name)]
        return f"{statistics.mean(of):.2f}" + (f" ({min(of):.2f}–{max(of):.2f})" if len(of) > 1 else "")

    rows = [[f"{samples:,}", *(cell(samples, name) for name in RECIPES)] for samples in args.samples]
    say(describe(facts))
    table(f"{args.preset}, test accuracy %", ["training samples", *RECIPES], rows, args.markdown)
    if args.json:
        write_json(args.json, {"machine": facts, "figures": figures})


if __name__ == "__main__":
    main()
