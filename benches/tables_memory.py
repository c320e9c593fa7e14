#!/usr/bin/env python3
"""Measures the memory that weir takes for a large CSV, and how fast it reads it beside pandas' C reader.

    python3 -m venv venv && venv/bin/pip install pandas
    venv/bin/python benches/tables_memory.py --size 5G --data-memory 512M
    venv/bin/python benches/tables_memory.py --size 200M --data-memory 50M --numbers --columns 5

A CSV of the size is made: half of its columns are numbers with six digits, a quarter whole numbers, a quarter words of twenty;
the last column is a class of three, or with --numbers a number. `weir data inspect` reads it, `weir train --epochs 1` learns
from it and `weir evaluate` judges the model by the rows that it held out, or by all with --all. Peak memory is what of the
process lay in memory at once (VmHWM less the largest part that was of files); pandas' is that of a process of its own.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
PANDAS = "import sys, pandas; print(len(pandas.read_csv(sys.argv[1], engine='c')))"


def size(text):
    """The bytes of a size such as 200M."""
    return int(float(text[:-1]) * UNITS[text[-1].upper()]) if text[-1].upper() in UNITS else int(text)


def make(path, wanted, columns, numbers):
    """Writes a CSV of a size, and returns its rows. Blocks of rows are written again, each with a number of its own."""
    draw = random.Random(1)
    words = ["w" + "".join(draw.choices("abcdefghij", k=5)) for _ in range(20)]
    kinds = ["number"] * (columns - columns // 2) + ["whole", "word"] * columns
    kinds = kinds[:columns]

    def cell(kind):
        if kind == "number":
            return f"{draw.gauss(0, 3):.6f}"
        return str(draw.randrange(100_000)) if kind == "whole" else draw.choice(words)

    def row():
        cells = [cell(kind) for kind in kinds]
        first = float(cells[0])
        return ",".join([*cells, f"{first * 2 + draw.random():.4f}" if numbers else "abc"[(first > -1) + (first > 1)]])

    block = [row() for _ in range(20_000)]
    written = rows = 0
    with path.open("w") as file:
        written += file.write(",".join([f"c{index}" for index in range(columns)] + ["label"]) + "\n")
        while written < wanted:
            written += file.write("\n".join(block) + "\n")
            rows += len(block)
    return rows


def run(command, environment):
    """Runs a command, and returns its seconds and the most MiB of anonymous memory that it had."""
    started, most = time.monotonic(), [0]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def watch():
        while process.poll() is None:
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            of = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if "VmHWM" in of:
                most[0] = max(most[0], (int(of["VmHWM"].split()[0]) - int(of["RssFile"].split()[0])) / 1024)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output = process.communicate()[0]
    watcher.join()
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{output.decode()}")
    return time.monotonic() - started, most[0]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weir", default="target/release/weir")
    arguments.add_argument("--size", default="1G", type=size)
    arguments.add_argument("--data-memory", default="512M", type=size)
    arguments.add_argument("--columns", default=20, type=int)
    arguments.add_argument("--numbers", action="store_true", help="learn a number instead of a class")
    arguments.add_argument("--all", action="store_true", help="evaluate every row")
    arguments.add_argument("--without-pandas", action="store_true")
    arguments.add_argument("--only", choices=["inspect", "train", "evaluate"], action="append")
    arguments.add_argument("--keep", type=pathlib.Path, help="the CSV, which is made unless it is there")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.keep and asked.keep.parent) as folder:
        folder = pathlib.Path(folder)
        csv = asked.keep or folder / "rows.csv"
        if not csv.exists():
            print(f"{make(csv, asked.size, asked.columns, asked.numbers):,} rows of {asked.columns} columns", flush=True)
        megabytes = csv.stat().st_size / 1e6
        allowed = (2 * asked.data_memory >> 20) + 60
        memory = ["--data-memory", str(asked.data_memory)]
        data = ["--data", str(csv), *memory]
        model = ["--models", str(folder / "models"), "--runs", str(folder / "runs"), "--model", "rows"]
        commands = {
            "inspect": ["data", "inspect", str(csv), *memory],
            "train": ["train", "dense", *data, *model, "--epochs", "1"],
            "evaluate": ["evaluate", "rows", *data, "--models", str(folder / "models")],
        }
        commands["evaluate"] += ["--split", "all"] if asked.all else []
        environment = {**os.environ, "TMPDIR": str(folder)}
        print(f"{megabytes:,.0f} MB, --data-memory {asked.data_memory >> 20} MiB, at most {allowed} MiB are wanted")
        for name, command in commands.items():
            if asked.only and name not in asked.only:
                continue
            seconds, most = run([asked.weir, *command], environment)
            verdict = "ok" if most <= allowed else "short"
            print(f"{name:<9} {most:7.0f} MiB  {verdict:<5}  {seconds:7.1f} s  {megabytes / seconds:7.1f} MB/s", flush=True)
        if not asked.without_pandas:
            seconds, most = run([sys.executable, "-c", PANDAS, str(csv)], environment)
            print(f"{'pandas':<9} {most:7.0f} MiB         {seconds:7.1f} s  {megabytes / seconds:7.1f} MB/s")


if __name__ == "__main__":
    main()
