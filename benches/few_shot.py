#!/usr/bin/env python3
"""Measures what ten pictures a class of Fashion-MNIST teach: a head on a network for digits, and networks from scratch.

usage: few_shot.py [--weir BINARY] [--seeds N] [--only 'NAME;…'] [--json FILE] [--markdown]

It needs Debian's `dataset-fashion-mnist`.

Every seed draws its pictures, and all ways learn from the same ones: no others are there, none are held out, and all 10,000
test pictures judge. Networks from scratch take 600 steps of 20 pictures, as many as in low_data.py.
"""

import argparse
import gzip
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import describe, machine, say, table, write_json

ROOT = Path(__file__).resolve().parent.parent
DATA = Path("/usr/share/datasets/fashion-mnist")
EACH, CLASSES = 10, 10
RUN_TIMEOUT_SECONDS = 900
SCRATCH = ["--epochs", 120, "--batch-size", 20]
WAYS = {
    "head": ["head", "--backbone", "mnist-cnn"],
    "head, in steps": ["head", "--backbone", "mnist-cnn", "--solver", "steps"],
    "head, vector alone": ["head", "--backbone", "mnist-cnn", "--pool", "none"],
    "head, vector alone, in steps": ["head", "--backbone", "mnist-cnn", "--pool", "none", "--solver", "steps"],
    "mnist-cnn from scratch, moved": ["mnist-cnn", *SCRATCH, "--augment", "12,2,0.1"],
    "mnist-cnn from scratch": ["mnist-cnn", *SCRATCH, "--augment", "none"],
    "cnn from scratch": ["cnn", "--epochs", 120],
}


def read(name, header):
    with gzip.open(DATA / name) as file:
        return file.read()[header:]


def write(folder, part, pictures, labels):
    """Writes pictures and labels as IDX files."""
    count = len(labels).to_bytes(4, "big")
    sides = (28).to_bytes(4, "big") * 2
    (folder / f"{part}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + count + sides + pictures)
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + count + labels)


def draw(folder, seed):
    """Writes so many pictures of each class to learn from, and all that judge."""
    pictures, labels = read("train-images-idx3-ubyte.gz", 16), read("train-labels-idx1-ubyte.gz", 8)
    generator = random.Random(seed)
    places = [place for wanted in range(CLASSES) for place in sorted(generator.sample([place for place, label in enumerate(labels) if label == wanted], EACH))]
    write(folder, "train", b"".join(pictures[784 * place : 784 * (place + 1)] for place in places), bytes(labels[place] for place in places))
    write(folder, "t10k", read("t10k-images-idx3-ubyte.gz", 16), read("t10k-labels-idx1-ubyte.gz", 8))


def train(weir, way, folder, seed):
    """Returns the test accuracy in per cent and the seconds of a whole run."""
    own = ["--data", folder, "--runs", folder / "runs", "--seed", seed, "--validation", 0, "--json", "--quiet", "--no-tensorboard", "--no-publish"]
    if way[0] == "head":
        own += ["--models", ROOT / "models", "--feature-cache", folder / "features"]
    begun = time.perf_counter()
    command = list(map(str, [weir, "train", *way, *own]))
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=RUN_TIMEOUT_SECONDS, check=False)
    if done.returncode != 0:
        sys.exit(f"few_shot.py: {' '.join(command)} ended with code {done.returncode}")
    return 100 * json.loads(done.stdout)["accuracy"], time.perf_counter() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", default=ROOT / "target/release/weir", help="the program")
    parser.add_argument("--seeds", type=int, default=5, help="draws of pictures, from 0")
    parser.add_argument("--only", help="names of ways, with semicolons between")
    parser.add_argument("--json", metavar="FILE", help="keep every figure")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    ways = {name: WAYS[name] for name in (options.only.split(";") if options.only else WAYS)}
    facts, figures = machine(), {name: [] for name in ways}
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder), seed)
            for name, way in ways.items():
                figures[name].append(train(options.weir, way, Path(folder), seed))
                say(f"seed {seed}, {name}: {figures[name][-1][0]:.2f} % in {figures[name][-1][1]:.1f} s")
    rows = []
    for name, runs in figures.items():
        accuracies, seconds = zip(*runs)
        spread = f"{min(accuracies):.1f}–{max(accuracies):.1f}"
        rows.append([name, f"{statistics.mean(accuracies):.1f}", spread, f"{statistics.median(seconds):.1f}"])
    print(describe(facts))
    table(f"{EACH} pictures a class, {options.seeds} seeds", ["way", "test accuracy %", "range", "seconds"], rows, options.markdown)
    if options.json:
        write_json(options.json, {"benchmark": "few_shot", "machine": facts, "figures": figures})


if __name__ == "__main__":
    main()
