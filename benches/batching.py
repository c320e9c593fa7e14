#!/usr/bin/env python3
"""Measures what it is worth that requests of several callers share runs: ten graphs whose first dimension is a batch.

    path/to/venv/bin/python benches/batching.py [target/release/weir] [--before OTHER_WEIR] [--rounds 7] [--seconds 2]

Two servers of the same graphs stand beside each other: one as it is by default, one whose models say
`across_requests = false`, or, with --before, another build as it is by default. Each graph is asked on 32 connections by
`weir bench http`, one sample in a request, as a binary tensor of the Open Inference Protocol. The sides of a round are
asked one after the other, in an order that changes with every round; the ratio is that of a round. Beside the rates stand
the microseconds of the server's processor for each request, which mean something on a busy machine, too.

Needs onnx and NumPy; --onnxruntime names the library for a server of that engine.
"""

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

from oip import HEADER, processor_seconds
from report import TARGET_HEADER, Series, Target, describe, machine, say, table, write_json

ROOT = Path(__file__).resolve().parents[1]
CONNECTIONS = "32"
# A run of several samples may cost a caller this much of the rate without it, and no more.
BOUND = 0.98
BUNDLED = {"mnist-mlp": [1, 28, 28], "mnist-cnn": [1, 28, 28], "mnist-lstm": [1, 28, 28]}
TYPES = {TensorProto.FLOAT: ("FP32", numpy.float32), TensorProto.INT64: ("INT64", numpy.int64)}


class Graph:
    """A graph on one input `x: [N, …]`, built node by node, with random weights."""

    def __init__(self, *shape, kind=TensorProto.FLOAT):
        self.random = numpy.random.default_rng(0)
        self.shape, self.kind, self.last = shape, kind, "x"
        self.nodes, self.weights = [], []

    def weight(self, *shape):
        values = self.random.normal(0, (2 / max(1, numpy.prod(shape[1:]))) ** 0.5, shape).astype(numpy.float32)
        return self.constant(values)

    def constant(self, values):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, op, *inputs, **attributes):
        """Appends a node that takes what the last one gave, before the other inputs."""
        output = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *inputs], [output], **attributes))
        self.last = output
        return self

    def dense(self, width_in, width):
        return self.add("Gemm", self.weight(width_in, width), self.weight(width))

    def model(self, output):
        self.add("Identity")
        x = helper.make_tensor_value_info("x", self.kind, ["N", *self.shape])
        y = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, ["N", *output])
        graph = helper.make_graph(self.nodes, "bench", [x], [y], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def half_plus_two():
    graph = Graph(1)
    graph.add("Mul", graph.constant(numpy.float32(0.5))).add("Add", graph.constant(numpy.float32(2)))
    return graph.model([1])


def wide():
    graph = Graph(256).dense(256, 1024).add("Relu").dense(1024, 1024).add("Relu").dense(1024, 16)
    return graph.add("Softmax", axis=1).model([16])


def narrow():
    graph = Graph(32)
    for _ in range(8):
        graph.dense(32, 32).add("Tanh")
    return graph.dense(32, 2).model([2])


def normalised():
    graph = Graph(512)
    graph.add("LayerNormalization", graph.weight(512), graph.weight(512)).dense(512, 64).add("Sigmoid")
    return graph.model([64])


def images():
    graph = Graph(3, 32, 32)
    for channels_in, channels in [(3, 16), (16, 32), (32, 32)]:
        graph.add("Conv", graph.weight(channels, channels_in, 3, 3), pads=[1] * 4).add("Relu")
        graph.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    return graph.add("Flatten").dense(512, 10).model([10])


def signals():
    graph = Graph(4, 256)
    graph.add("Conv", graph.weight(16, 4, 7), strides=[2], pads=[3, 3]).add("Relu")
    graph.add("Conv", graph.weight(16, 16, 5), strides=[2], pads=[2, 2]).add("Relu")
    return graph.add("GlobalAveragePool").add("Flatten").dense(16, 4).model([4])


def attention():
    """Ids of 16 words, embedded in 64 dimensions, that attend to each other once."""
    graph = Graph(16, kind=TensorProto.INT64)
    graph.nodes.append(helper.make_node("Gather", [graph.weight(1000, 64), "x"], ["words"]))
    graph.last = "words"
    graph.add("MatMul", graph.weight(64, 64)).add("Transpose", perm=[0, 2, 1])
    keys, graph.last = graph.last, "words"
    graph.add("MatMul", keys).add("Softmax", axis=2).add("MatMul", "words")
    return graph.add("ReduceMean", axes=[1], keepdims=0).dense(64, 8).model([8])


GRAPHS = {
    "half-plus-two": half_plus_two,
    "wide": wide,
    "narrow": narrow,
    "normalised": normalised,
    "images": images,
    "signals": signals,
    "attention": attention,
}


def request(name, shape, kind):
    """Returns the body of a request for one sample, and the length of its JSON."""
    random = numpy.random.default_rng(1)
    datatype, of = TYPES[kind]
    values = random.integers(0, 1000, [1, *shape]) if kind == TensorProto.INT64 else random.random([1, *shape])
    data = values.astype(of).tobytes()
    one = {"name": name, "shape": [1, *shape], "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
    text = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    return text + data, len(text)


def write_models(folder, settings):
    """Writes the repository and returns the request for each model."""
    requests = {}
    for name, shape in BUNDLED.items():
        shutil.copytree(ROOT / "models" / name / "1", folder / name / "1")
        graph = onnx.load(str(folder / name / "1" / "model.onnx")).graph
        requests[name] = request(graph.input[0].name, shape, TensorProto.FLOAT)
    for name, build in GRAPHS.items():
        model = build()
        (folder / name / "1").mkdir(parents=True)
        onnx.save(model, str(folder / name / "1" / "model.onnx"))
        x = model.graph.input[0].type.tensor_type
        requests[name] = request("x", [dim.dim_value for dim in x.shape.dim[1:]], x.elem_type)
    if settings:
        for name in requests:
            (folder / name / "model.toml").write_text(settings, encoding="utf-8")
    return requests


class Server:
    """A weir with a repository of its own."""

    def __init__(self, binary, folder, settings, arguments):
        self.binary = binary
        self.requests = write_models(folder / "models", settings)
        command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "off", "--models", str(folder / "models")]
        command += ["--state-dir", str(folder / "state"), "--log-format", "json", "--probe-interval-seconds", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"})
        for line in self.process.stderr:
            entry = json.loads(line)
            self.address = entry.get("address", getattr(self, "address", None))
            if entry["message"].startswith("ready: open"):
                break
        else:
            raise SystemExit(f"the server did not start: exit code {self.process.wait()}")
        # A full pipe would block the server.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def version(self, name):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request("GET", f"/models/{name}")
        version = json.loads(connection.getresponse().read())["versions"][0]
        connection.close()
        return version

    def settle(self):
        """Waits until every version has been measured; returns what was chosen for each."""
        chosen = {}
        for name in self.requests:
            while (version := self.version(name)).get("tuning", {}).get("stage") in (None, "loading"):
                if version["state"] == "END":
                    raise SystemExit(f"{name}: {version}")
                time.sleep(0.1)
            tuning = version["tuning"]
            chosen[name] = {key: tuning[key] for key in ("engine", "inline", "gather", "max_batch") if key in tuning}
        return chosen

    def rate(self, client, name, folder, seconds):
        """Returns good answers per second, and microseconds of the server's processor for each."""
        body, length = self.requests[name]
        file = folder / f"{name}.bin"
        file.write_bytes(body)
        url = f"http://{self.address}/v2/models/{name}/infer"
        command = [client, "bench", "http", url, "--duration", f"{seconds}s", "--warmup", "200ms", "--connections", CONNECTIONS]
        command += ["--json", "-", "--body", str(file), "--header", f"{HEADER}: {length}"]
        before = processor_seconds(self.process.pid)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr}")
        step = json.loads(done.stdout)["steps"][0]
        if step["good"] != step["requests"]:
            raise SystemExit(f"{name}: {step['statuses']} {step['first_problem']}")
        spent = (processor_seconds(self.process.pid) - before) * 1e6
        # The warm-up is in the processor's time and not in the count.
        return step["good_per_second"], spent / step["good"] * seconds / (seconds + 0.2)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", nargs="?", default=str(ROOT / "target/release/weir"))
    parser.add_argument("--before", help="another weir, instead of the same one without shared runs")
    parser.add_argument("--onnxruntime", help="the library of ONNX Runtime, which then runs the graphs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--only", nargs="*", help="graphs, instead of all of them")
    parser.add_argument("--markdown", action="store_true", help="tables for the documents")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options, facts = parser.parse_args(), machine()
    arguments = ["--grace-seconds", "0", "--engine", "onnxruntime" if options.onnxruntime else "tract"]
    if options.onnxruntime:
        arguments += ["--onnxruntime", options.onnxruntime]
    alone = "" if options.before else "[batching]\nacross_requests = false\n"
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        folder = Path(folder)
        sides = [Server(options.binary, folder / "shared", "", arguments), Server(options.before or options.binary, folder / "other", alone, arguments)]
        try:
            targets, rows, chosen = measure(sides, folder, options)
        finally:
            for side in sides:
                side.stop()
    print(describe(facts) + "\n")
    other = "before" if options.before else "alone"
    header = ["graph", "requests/s", f"requests/s {other}", "CPU µs", f"CPU µs {other}", "chosen"]
    table("32 connections, one sample in a request", header, rows, options.markdown)
    table("what had to be shown", TARGET_HEADER, [target.row() for target in targets], options.markdown)
    if options.json:
        write_json(options.json, {"machine": facts, "chosen": chosen, "targets": [target.json() for target in targets]})


def measure(sides, folder, options):
    """Returns the ratio of rates for each graph, a row of figures for each, and what the first side chose."""
    chosen = sides[0].settle()
    sides[1].settle()
    names = [name for name in chosen if not options.only or name in options.only]
    figures = {name: ([], []) for name in names}
    for round_ in range(options.rounds):
        for name in names:
            for at in ([0, 1], [1, 0])[round_ % 2]:
                # The load comes from one program, so that only the servers differ.
                figures[name][at].append(sides[at].rate(options.binary, name, folder, options.seconds))
        say(f"  round {round_ + 1} of {options.rounds}")
    targets, rows = [], []
    for name in names:
        mine, theirs = ([Series(list(values)) for values in zip(*side)] for side in figures[name])
        targets.append(Target(name, mine[0].over(theirs[0]), ">=", BOUND))
        choice = f"{'inline' if chosen[name]['inline'] else 'pool'}{', gathers' if chosen[name].get('gather') else ''}, batch {chosen[name]['max_batch']}"
        rows.append([name, mine[0].text(), theirs[0].text(), mine[1].text(1), theirs[1].text(1), choice])
    return targets, rows, chosen


if __name__ == "__main__":
    main()
