#!/usr/bin/env python3
"""Measures how long Weir takes to build: from nothing, and again after an edit of one HTTP handler.

    benches/building.py [--revision HEAD] [--handler src/api/http/predict.rs] [--keep FOLDER]

Builds a clean export of the revision in a temporary folder, with downloads done before the clock starts.
The edit adds one statement to the first handler of the file. Needs git, cargo and a C compiler.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def build(folder):
    """Builds the program; returns wall and CPU seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["cargo", "build", "--release", "--locked", "--offline", "--timings"], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def slowest(folder, count=10):
    """Returns the units that took longest in the build before, by wall time."""
    page = (folder / "target/cargo-timings/cargo-timing.html").read_text()
    units = json.loads(re.search(r"const UNIT_DATA = (\[.*?\]);\n", page, re.S).group(1))
    return sorted(((unit["duration"], unit["name"] + unit["target"]) for unit in units), reverse=True)[:count]


def edit(handler):
    """Adds a statement to the first handler of a file."""
    text, changed = re.subn(r"(\basync fn \w+\([^{]*\{\n)", r'\1    tracing::trace!("edited");' + "\n", handler.read_text(), count=1)
    if not changed:
        sys.exit(f"building.py: {handler} holds no async function")
    handler.write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--revision", default="HEAD", help="what is built [HEAD]")
    parser.add_argument("--handler", default="src/api/http/predict.rs", metavar="FILE", help="the file that is edited [src/api/http/predict.rs]")
    parser.add_argument("--keep", metavar="FOLDER", help="build in this folder and leave everything there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        # A target folder or an incremental setting of the caller would change what is measured.
        for name in ("CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "RUSTFLAGS"):
            os.environ.pop(name, None)
        archive = subprocess.run(["git", "archive", options.revision], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        subprocess.run(["cargo", "fetch", "--locked"], cwd=folder, check=True)
        cold, cold_cpu = build(folder)
        units = slowest(folder)
        size = (folder / "target/release/weir").stat().st_size
        edit(folder / options.handler)
        again, again_cpu = build(folder)
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"from nothing: {cold:.0f} s, {cold_cpu:.0f} s of CPU; program of {size / 1e6:.1f} MB")
    print(f"after an edit of {options.handler}: {again:.0f} s, {again_cpu:.0f} s of CPU")
    for seconds, name in units:
        print(f"{seconds:8.1f} s  {name}")


if __name__ == "__main__":
    main()
