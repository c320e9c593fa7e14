"""Starts a weir for a conformance script and counts its checks."""

import gzip
import json
import math
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Weir:
    """A server of one bundled model on a free port; `base` is its URL. `models` are further ones, ONNX by name, and
    `settings` their model.toml; `bundled` are further ones of the repository, and `more` adds
    others to the folder that it is given."""

    def __init__(self, binary, *arguments, models=None, settings=None, bundled=(), more=None):
        self.work = tempfile.TemporaryDirectory()
        for name, onnx in (models or {}).items():
            folder = pathlib.Path(self.work.name, "models", name, "1")
            folder.mkdir(parents=True)
            (folder / "model.onnx").write_bytes(onnx)
            # A file that has just changed would be looked at a second time before it is loaded.
            os.utime(folder / "model.onnx", (1e9, 1e9))
            if name in (settings or {}):
                (folder.parent / "model.toml").write_text(settings[name])
        # A copy of the model's first version: newer versions may have been trained since, and moving an alias
        # must not change the repository.
        for name in ("mnist-mlp", *bundled):
            shutil.copytree(ROOT / "models" / name / "1", pathlib.Path(self.work.name, "models", name, "1"))
        if more:
            more(pathlib.Path(self.work.name, "models"))
        command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "off", "--models", self.work.name + "/models", "--default-model", "mnist-mlp"]
        command += ["--state-dir", self.work.name + "/state", "--log-format", "json", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.addresses = {}
        for line in self.process.stderr:
            entry = json.loads(line)
            self.addresses.update({key: entry[key] for key in ("address", "management") if key in entry})
            if entry["message"].startswith("ready: open"):
                self.base = f"http://{self.addresses['address']}"
                # A full pipe would block the server.
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return
        raise SystemExit(f"the server did not start: exit code {self.process.wait()}")

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self.work.cleanup()
        return code


class Tally:
    """Prints a line for each check."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, what, holds, got=None):
        if holds:
            self.passed += 1
            print(f"ok    {what}")
        else:
            self.failed += 1
            print(f"FAIL  {what}" + ("" if got is None else f": {got!r}"))

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)


def alike(one, other):
    """Returns whether two answers agree. A server that has just started may switch to a faster engine between
    them, and engines differ in the last digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4)
    return one == other


def digits(count):
    """Returns the first test images of MNIST, as lists of 784 pixels."""
    data = gzip.decompress((ROOT / "data" / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    return [list(data[index * 784 : (index + 1) * 784]) for index in range(count)]


def labels(count):
    """Returns the labels of the first test images."""
    return list(gzip.decompress((ROOT / "data" / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes())[8 : 8 + count])


def png(pixels, side=28):
    """Returns grey pixels as a PNG file."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(pixels[y * side : (y + 1) * side]) for y in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

