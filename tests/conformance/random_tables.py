#!/usr/bin/env python3
"""Small random tables through train → serve → POST: what is published loads, and answers rows as an evaluation does.

    python3 tests/conformance/random_tables.py target/release/weir [--count 1000] [--seed 0]

Columns are of mixed kinds (numbers, skewed and huge ones, some far from zero, categories, texts, dates with times and
without, missing cells, constants), the target is of classes or numbers, some of them far from zero, and the test rows have
categories that training never saw. Every table is trained for a moment into one repository, one server loads them all,
and every test row is posted by column name; the answers are compared with those of `weir predict` for the same file. Data that training refuses must be refused with a message (exit code 3) and publish
nothing. Prints how many were served and how many were refused, and exits with 1 at the first difference.
"""

import argparse
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import urllib.request


def column(chance):
    """Returns a name's kind and a function that makes its cells: the text in the file and the value in JSON."""
    kind = chance.choice(["normal", "whole", "skewed", "huge", "near", "far", "category", "flag", "text", "date", "time", "constant"])
    missing = chance.choice([0, 0, 0.1, 0.5])
    scale = 10 ** chance.uniform(-6, 6)

    def cell(row, is_test):
        if chance.random() < missing:
            return "", None
        number = {
            "normal": lambda: chance.gauss(0, 1) * scale,
            "whole": lambda: chance.randrange(-50, 50),
            "skewed": lambda: math.exp(chance.gauss(0, 2)),
            "huge": lambda: 1_700_000_000 + chance.randrange(100_000),
            "near": lambda: 5_800_000 + chance.randrange(100_000) / 100,
            "far": lambda: 1e30 if chance.random() < 0.02 else chance.gauss(5, 1),
            "constant": lambda: 7,
        }.get(kind)
        if number:
            number = number()
            return repr(number), number
        if kind in ("date", "time"):
            text = f"20{chance.randrange(10, 30)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
            if kind == "time":
                text += f"T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}Z"
        elif kind == "flag":
            text = chance.choice(["yes", "no"])
        elif kind == "text":
            words = ["red", "Grüße", "don't", "no.", "7", "12a", "茶", "well-known", "x,y", '"so"']
            text = " ".join(chance.choice(words) for _ in range(chance.randrange(0, 9)))
        else:
            known = ["red", "green", "blue", "größe", "a b", 'say "hi"', "x,y"]
            text = chance.choice(known + (["never seen"] if is_test else []))
        return '"' + text.replace('"', '""') + '"', text

    return kind, cell


def table(folder, seed):
    """Writes train.csv and test.csv; returns the test rows as JSON objects."""
    chance = random.Random(seed)
    columns = {f"{column(random.Random(seed * 97 + place))[0]}{place}": None for place in range(chance.randrange(1, 9))}
    columns = {name: column(random.Random(seed * 97 + place))[1] for place, name in enumerate(columns)}
    is_classes = chance.random() < 0.6
    classes = ["007", "7", "true", "1e5", "größe", "no"][: chance.randrange(1, 7)]
    offset = 1e9 if chance.random() < 0.3 else 0
    number = lambda: repr(offset + chance.gauss(0, 3) if offset else chance.gauss(1000, 3) * 10 ** (seed % 4))
    target = lambda: '"' + chance.choice(classes) + '"' if is_classes else number()
    rows = []
    for part, count in (("train", chance.randrange(12, 120)), ("test", 12)):
        lines = [",".join([*columns, "target"])]
        for row in range(count):
            cells = {name: cell(row, part == "test") for name, cell in columns.items()}
            lines.append(",".join([*(text for text, _ in cells.values()), target()]))
            if part == "test":
                rows.append({name: value for name, (_, value) in cells.items()})
        (folder / f"{part}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows


def post(base, model, rows):
    body = json.dumps({"instances": rows}).encode()
    request = urllib.request.Request(f"{base}/models/{model}/predict", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def serve(weir, models, state):
    command = [weir, "serve", "--http", "127.0.0.1:0", "--grpc", "off", "--models", models, "--state-dir", state]
    process = subprocess.Popen([*command, "--log-format", "json"], stderr=subprocess.PIPE, text=True)
    address = None
    for line in process.stderr:
        entry = json.loads(line)
        address = entry.get("address", address)
        if entry["message"].startswith("ready: open"):
            # A full pipe would block the server.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return process, f"http://{address}"
    sys.exit("the server did not start")


def same(expected, got):
    if "label" in got:
        return str(expected["prediction"]) == str(got["label"]) and abs(expected["confidence"] - got["confidence"]) < 1e-5
    size = max(abs(expected["prediction"]), 1)
    # What is near 10⁹ is answered in 64 bits.
    return abs(expected["prediction"] - got["value"]) <= (1e-3 if size > 1e8 else 1e-5 * size)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weir")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    weir = os.path.abspath(options.weir)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        published, refused = {}, 0
        for seed in range(options.seed, options.seed + options.count):
            folder = work / f"data{seed}"
            folder.mkdir()
            rows = table(folder, seed)
            name = f"t{seed}"
            place = ["--models", work / "models", "--runs", work / "runs", "--model", name, "--no-tensorboard"]
            brief = ["--epochs", "1", "--set", "min_epoch_steps=3", "--quiet", "--seed", str(seed)]
            # Small tables have no columns of texts unless it is said.
            texts = [name for name in rows[0] if name.startswith("text") or name.startswith("flag") and seed % 5 == 0]
            brief += ["--texts", ",".join(texts)] if texts else []
            command = [weir, "train", "dense", "--data", folder, *place, *brief]
            done = subprocess.run(command, capture_output=True, text=True)
            is_there = (work / "models" / name / "1" / "manifest.json").exists()
            if done.returncode == 3 and done.stderr.startswith("error:") and not is_there:
                refused += 1
            elif done.returncode != 0 or not is_there:
                sys.exit(f"table {seed}: exit code {done.returncode}: {done.stderr}")
            else:
                published[name] = (folder, rows)
        process, base = serve(weir, work / "models", work / "state")
        try:
            for name, (folder, rows) in published.items():
                out = folder / "answers.jsonl"
                command = [weir, "predict", name, "--models", work / "models", "--data", folder / "test.csv", "--out", out]
                subprocess.run(command, check=True, capture_output=True)
                expected = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
                got = post(base, name, rows)
                for row, (one, other) in enumerate(zip(expected, got, strict=True)):
                    if not same(one, other):
                        sys.exit(f"{name}, row {row} {rows[row]}: predict says {one}, the server {other}")
        finally:
            process.terminate()
            process.wait()
        print(f"{len(published)} passed, 0 failed; {refused} refused by training with a message")


if __name__ == "__main__":
    main()
