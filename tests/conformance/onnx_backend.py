#!/usr/bin/env python3
"""Asks the ONNX project's own backend tests of a running weir, and compares what comes back with a table.

    tests/conformance/onnx_backend.py WEIR_BINARY [--sample] [--write] [--engine ENGINE] [--suite SUITE] [--only TEXT]

Every graph of the suites node, simple, pytorch-converted, pytorch-operator and light goes into a repository, and its
inputs go over the Open Inference Protocol with binary tensors, which carry every element type, once for each engine.
An outcome is one of:

    right       type, shape and numbers as the test expects, at the test's own tolerance
    near        as right, but for rounding of up to a hundred-thousandth of the largest number of the output, or where
                the numbers are drawn at random
    refused     not loaded, or not answered; with the reason
    corrected   answered otherwise than the test of 1.16 expects, which later releases of ONNX corrected
    wrong       answered otherwise
    unaskable   with a sequence, an optional value or an element type that no tensor of the protocol has

The table beside this script, onnx_backend.txt, lists each test that is not right in both engines. It fails when an
outcome is worse than there, and when a test is answered wrongly that the table does not say so of. `--write` writes the
table anew; `--sample` asks every twelfth test, which takes less than a minute; `--engine`, `--suite` and `--only` (part of
a test's name) ask fewer. Without WEIR_ONNXRUNTIME only the built-in engine is asked.

Needs `onnx==1.16.*` and NumPy.
"""

import argparse
import collections
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

DATA = pathlib.Path(onnx.__file__).parent / "backend" / "test" / "data"
TABLE = pathlib.Path(__file__).with_suffix(".txt")
SUITES = ["node", "simple", "pytorch-converted", "pytorch-operator", "light"]
ENGINES = ["tract", "onnxruntime"]
# From the best outcome to the worst.
RANKS = {"right": 0, "near": 1, "corrected": 2, "unaskable": 3, "refused": 4, "wrong": 5}
# What the tests of 1.16 expect of these was wrong: windows that reach beyond the padding were divided by their whole
# size, and numbers beyond the range of int8 were wrapped around instead of saturated.
CORRECTED = {
    "node/averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
    "node/qlinearmatmul_2D_int8_float16",
    "node/qlinearmatmul_2D_int8_float32",
    "node/qlinearmatmul_3D_int8_float16",
    "node/qlinearmatmul_3D_int8_float32",
}
# What these give is drawn at random, so an answer can have no more than the expected type and shape.
RANDOM = ("bernoulli", "training_dropout")
SAMPLE = 12
MODELS_OF_A_SERVER = 150
RTOL, ATOL = 1e-3, 1e-7
# The protocol's name of each element type, and how NumPy reads its bytes.
KINDS = {
    TensorProto.BOOL: ("BOOL", np.bool_),
    TensorProto.UINT8: ("UINT8", np.uint8),
    TensorProto.UINT16: ("UINT16", np.uint16),
    TensorProto.UINT32: ("UINT32", np.uint32),
    TensorProto.UINT64: ("UINT64", np.uint64),
    TensorProto.INT8: ("INT8", np.int8),
    TensorProto.INT16: ("INT16", np.int16),
    TensorProto.INT32: ("INT32", np.int32),
    TensorProto.INT64: ("INT64", np.int64),
    TensorProto.FLOAT16: ("FP16", np.float16),
    TensorProto.BFLOAT16: ("BF16", np.uint16),
    TensorProto.FLOAT: ("FP32", np.float32),
    TensorProto.DOUBLE: ("FP64", np.float64),
    TensorProto.STRING: ("BYTES", None),
}


class Unaskable(Exception):
    """The protocol has no words for a value of the test."""


class Tensor:
    """A value of a test: the protocol's name of its type, its shape, and its elements."""

    def __init__(self, proto, declared):
        if declared not in KINDS:
            raise Unaskable(f"elements of {TensorProto.DataType.Name(declared)}")
        self.kind = KINDS[declared][0]
        self.elements = numpy_helper.to_array(proto)
        self.shape = list(self.elements.shape)
        if (declared, proto.data_type) == (TensorProto.BFLOAT16, TensorProto.UINT16):
            # The files of bfloat16 hold its bits.
            self.elements = (self.elements.astype(np.uint32) << 16).view(np.float32)

    def bytes(self):
        if self.kind == "BYTES":
            texts = [text if isinstance(text, bytes) else str(text).encode() for text in self.elements.flatten()]
            return b"".join(struct.pack("<I", len(text)) + text for text in texts)
        if self.kind == "BF16":
            # The upper halves of numbers that bfloat16 represents exactly.
            return (np.ascontiguousarray(self.elements, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        return np.ascontiguousarray(self.elements).tobytes()

    def answered_by(self, output, body):
        """Returns the outcome of an answer, and what is wrong with it."""
        if (output["datatype"], output["shape"]) != (self.kind, self.shape):
            return "wrong", f"{output['datatype']} {output['shape']}, expected {self.kind} {self.shape}"
        if self.kind == "BYTES":
            same = body == self.bytes()
            return ("right", "") if same else ("wrong", "other texts")
        got = np.frombuffer(body, next(read for kind, read in KINDS.values() if kind == self.kind)).reshape(self.shape)
        if self.kind == "BF16":
            got = (got.astype(np.uint32) << 16).view(np.float32)
        want = self.elements
        if want.dtype.kind == "f":
            got, want = got.astype(np.float64), want.astype(np.float64)
        if np.allclose(got, want, rtol=RTOL, atol=ATOL, equal_nan=True):
            return "right", ""
        if want.dtype.kind == "f":
            largest = np.abs(want[np.isfinite(want)]).max(initial=0)
            if np.allclose(got, want, rtol=RTOL, atol=1e-5 * largest, equal_nan=True):
                return "near", ""
        at = int(np.flatnonzero(~np.isclose(got, want, rtol=RTOL, atol=ATOL, equal_nan=True))[0])
        return "wrong", f"element {at} is {got.flat[at]}, expected {want.flat[at]}"


class Test:
    """A graph, what it is asked, and what it answers."""

    def __init__(self, suite, path):
        self.suite, self.path = suite, path
        self.name = path.name.removesuffix(".onnx").removeprefix("test_")
        self.key = f"{suite}/{self.name}"
        file = path if suite == "light" else path / "model.onnx"
        self.onnx = file.read_bytes()
        self.graph = onnx.load_model_from_string(self.onnx).graph

    def inputs(self):
        given = {tensor.name for tensor in self.graph.initializer}
        inputs = [one for one in self.graph.input if one.name not in given]
        if self.suite == "light":
            return [(one.name, Tensor(self.ramp(one), TensorProto.FLOAT)) for one in inputs]
        return [(one.name, self.read(one, f"input_{at}")) for at, one in enumerate(inputs)]

    def outputs(self):
        return [(one.name, self.read(one, f"output_{at}")) for at, one in enumerate(self.graph.output)]

    @staticmethod
    def ramp(value):
        """The input that the ONNX project's runner gives to its light models."""
        shape = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in value.type.tensor_type.shape.dim]
        count = int(np.prod(shape))
        return numpy_helper.from_array((np.arange(count).reshape(shape) / count).astype(np.float32))

    def read(self, value, file):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise Unaskable(f"\"{value.name}\" is a {kind.removesuffix('_type')}")
        proto = TensorProto()
        folder = self.path.parent if self.suite == "light" else self.path / "test_data_set_0"
        prefix = self.path.name.removesuffix(".onnx") + "_" if self.suite == "light" else ""
        proto.ParseFromString((folder / f"{prefix}{file}.pb").read_bytes())
        return Tensor(proto, value.type.tensor_type.elem_type)


class Server:
    """A weir that serves some tests with one engine."""

    def __init__(self, binary, engine, tests):
        self.folder = tempfile.TemporaryDirectory()
        models = pathlib.Path(self.folder.name, "models")
        past = time.time() - 3600
        for at, test in enumerate(tests):
            file = models / f"m{at}" / "1" / "model.onnx"
            file.parent.mkdir(parents=True)
            file.write_bytes(test.onnx)
            # A file that was just written waits for a second look.
            for path in (file, file.parent, file.parent.parent):
                os.utime(path, (past, past))
        command = [binary, "serve", "--models", models, "--http", "127.0.0.1:0", "--grpc", "off", "--engine", engine]
        command += ["--state-dir", self.folder.name + "/state", "--log-format", "json", "--tune", "false", "--grace-seconds", "0"]
        command += ["--max-samples", "100000", "--max-body-bytes", str(64 << 20)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            entry = json.loads(line)
            self.address = entry.get("address", getattr(self, "address", None))
            if entry["message"].startswith("ready: open"):
                break
        else:
            raise SystemExit(f"the server did not start: exit code {self.process.wait()}")
        self.panics = []
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        for line in self.process.stderr:
            if '"message":"panic"' in line:
                self.panics.append(line)

    def call(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection(self.address, timeout=120)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def states(self):
        """Returns the reason for which each model is not ready, once all have a state."""
        for _ in range(1200):
            index = json.loads(self.call("POST", "/v2/repository/index", b"{}")[2])
            states = {one["name"]: one for one in index}
            if all(one["state"] in ("READY", "UNAVAILABLE") and (one["state"] == "READY" or one.get("reason")) for one in states.values()):
                return {name: None if one["state"] == "READY" else one["reason"] for name, one in states.items()}
            time.sleep(0.1)
        raise SystemExit(f"models are still being loaded: {states}")

    def ask(self, model, inputs, names):
        """Returns status and outputs: their descriptions and bytes by name."""
        head = {
            "inputs": [
                {"name": name, "shape": tensor.shape, "datatype": tensor.kind, "parameters": {"binary_data_size": len(tensor.bytes())}}
                for name, tensor in inputs
            ],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in names],
        }
        head = json.dumps(head).encode()
        body = head + b"".join(tensor.bytes() for _, tensor in inputs)
        length = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
        status, headers, answer = self.call("POST", f"/v2/models/{model}/infer", body, length)
        if status != 200:
            return status, answer.decode(errors="replace")
        end = int(headers.get("Inference-Header-Content-Length") or len(answer))
        outputs = {}
        for output in json.loads(answer[:end])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            outputs[output["name"]] = (output, answer[end : end + size])
            end += size
        return status, outputs

    def stop(self):
        self.process.terminate()
        code = self.process.wait(60)
        self.folder.cleanup()
        if code != 0:
            raise SystemExit(f"the server exited with code {code}")


def reason(text):
    """Returns the words of an error, short enough for a line of the table."""
    try:
        text = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        pass
    text = re.sub(r"[m]\d+ version 1: ", "", " ".join(str(text).split())).removeprefix("model.onnx: ")
    return text if len(text) <= 160 else text[:100] + " … " + text[-57:]


def outcome(server, model, refused, test):
    try:
        inputs, expected = test.inputs(), test.outputs()
    except Unaskable as why:
        return "unaskable", str(why)
    if refused is not None:
        return "refused", reason(refused)
    status, answer = server.ask(model, inputs, [name for name, _ in expected])
    if status != 200:
        return "refused", f"asked: {status} {reason(answer)}"
    worst = ("right", "")
    for name, tensor in expected:
        if name not in answer:
            return "wrong", f"no output \"{name}\""
        worst = max(worst, tensor.answered_by(*answer[name]), key=lambda one: RANKS[one[0]])
    if worst[0] == "wrong" and test.key in CORRECTED:
        return "corrected", worst[1]
    if worst[0] == "wrong" and test.name.startswith(RANDOM) and worst[1].startswith("element"):
        return "near", "random"
    return worst


def run(binary, engine, tests):
    """Returns the outcome and reason of every test with one engine."""
    outcomes = {}
    for first in range(0, len(tests), MODELS_OF_A_SERVER):
        some = tests[first : first + MODELS_OF_A_SERVER]
        server = Server(binary, engine, some)
        try:
            states = server.states()
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                one = lambda at: outcome(server, f"m{at}", states.get(f"m{at}", "not in the index"), some[at])
                outcomes.update(zip((test.key for test in some), pool.map(one, range(len(some)))))
        finally:
            server.stop()
    return outcomes


def read_table():
    """Returns the outcome of each test and engine that is not right."""
    table = {}
    for line in TABLE.read_text().splitlines() if TABLE.exists() else []:
        if line and not line.startswith("#"):
            key, engine, what = line.split(" ", 3)[:3]
            table[key, engine] = what
    return table


def write_table(results, tests):
    lines = [f"# Written by onnx_backend.py --write with onnx {onnx.__version__}: every test that is not right, by engine. Counts:"]
    lines += ["# " + line for line in counts(results)]
    order = [(test.key, engine) for test in tests for engine in results]
    for key, engine in order:
        what, why = results[engine][key]
        if what != "right":
            lines.append(" ".join(filter(None, [key, engine, what, why])))
    TABLE.write_text("\n".join(lines) + "\n")


def counts(results):
    for engine, outcomes in results.items():
        for suite in SUITES:
            found = collections.Counter(what for key, (what, _) in outcomes.items() if key.startswith(suite + "/"))
            if found:
                yield f"{suite}, {engine}: {sum(found.values())} tests, " + ", ".join(f"{found[what]} {what}" for what in RANKS if found[what])


def judge(results):
    """Prints what differs from the table; returns how many outcomes are worse."""
    table, worse = read_table(), 0
    for engine, outcomes in results.items():
        for key, (what, why) in outcomes.items():
            before = table.get((key, engine), "right")
            if RANKS[what] > RANKS[before]:
                worse += 1
                print(f"FAIL  {key}, {engine}: {what}, {before} in the table: {why}")
            elif what != before:
                print(f"note  {key}, {engine}: {what}, {before} in the table; write it anew")
    return worse


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--suite", choices=SUITES)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    if not onnx.__version__.startswith("1.16."):
        raise SystemExit(f"the table is of onnx 1.16, this is {onnx.__version__}")
    paths = [(suite, path) for suite in SUITES if asked.suite in (None, suite) for path in sorted((DATA / suite).iterdir())]
    tests = [Test(suite, path) for suite, path in paths if path.is_dir() or path.suffix == ".onnx"]
    tests = [test for test in tests if asked.only in test.name][:: SAMPLE if asked.sample else 1]
    engines = [asked.engine] if asked.engine else ENGINES
    if not os.environ.get("WEIR_ONNXRUNTIME"):
        print("skip  onnxruntime: WEIR_ONNXRUNTIME is not set")
        engines = ["tract"]
    results = {engine: run(asked.binary, engine, tests) for engine in engines}
    if asked.write:
        write_table(results, tests)
    worse = judge(results)
    for line in counts(results):
        print(line)
    print(f"{len(tests)} tests, {worse} worse than the table")
    sys.exit(1 if worse or not tests else 0)


if __name__ == "__main__":
    main()
