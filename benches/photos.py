#!/usr/bin/env python3
"""Measures `/predict` with photos beside FastAPI, Pillow, NumPy and ONNX Runtime: JPEGs of 640 × 480, a network of
MobileNet's size with random weights, 32 connections, ONNX Runtime on both sides.

    venv/bin/python benches/photos.py --onnxruntime LIBRARY.so [--weir FILE] [--rounds N] [--seconds S]

The Python that runs this needs `onnx numpy pillow fastapi uvicorn[standard] onnxruntime`, and also runs FastAPI, by
uvicorn with two workers. The load comes from `weir bench http`; servers take turns. Both must give the same answer to
every photo, before and after.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

from pictures import photo
from report import TARGET_HEADER, Series, Target, describe, machine, say, table, write_json
from scheduling import Load, url
from serving import BENCHES, ROOT, UVICORN_WORKERS, Failure, Server, free_port

PHOTOS = 16
CONNECTIONS = 32
MODEL_TOML = '[image]\npreset = "imagenet"\n\n[answer]\nkind = "classes"\nscores = "probabilities"\n'
# MobileNetV2 (Sandler et al. 2018, table 2): widening, channels, blocks, stride.
BLOCKS = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class Network:
    """MobileNetV2 for 1,000 classes, its norms folded into the convolutions, with random weights."""

    def __init__(self):
        self.random = numpy.random.default_rng(0)
        self.nodes, self.weights, self.last = [], [], "image"
        self.constant("zero", numpy.float32(0))
        self.constant("six", numpy.float32(6))

    def constant(self, name, values):
        self.weights.append(numpy_helper.from_array(numpy.asarray(values), name))
        return name

    def add(self, kind, inputs=(), **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *inputs], [output], **attributes))
        self.last = output

    def weight(self, shape, fan_in):
        values = self.random.normal(0, (2 / fan_in) ** 0.5, shape).astype(numpy.float32)
        return self.constant(f"w{len(self.weights)}", values)

    def convolution(self, channels_in, channels, kernel=1, stride=1, groups=1, is_clipped=True):
        fan_in = channels_in // groups * kernel * kernel
        weight = self.weight((channels, channels_in // groups, kernel, kernel), fan_in)
        bias = self.constant(f"b{len(self.weights)}", numpy.zeros(channels, numpy.float32))
        self.add("Conv", [weight, bias], strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        if is_clipped:
            self.add("Clip", ["zero", "six"])

    def block(self, channels_in, widening, channels, stride):
        before, wide = self.last, channels_in * widening
        if widening > 1:
            self.convolution(channels_in, wide)
        self.convolution(wide, wide, 3, stride, wide)
        self.convolution(wide, channels, is_clipped=False)
        if stride == 1 and channels_in == channels:
            self.add("Add", [before])

    def onnx(self):
        self.convolution(3, 32, 3, 2)
        channels = 32
        for widening, wanted, count, stride in BLOCKS:
            for index in range(count):
                self.block(channels, widening, wanted, stride if index == 0 else 1)
                channels = wanted
        self.convolution(channels, 1280)
        self.add("GlobalAveragePool")
        self.add("Flatten")
        self.add("Gemm", [self.weight((1280, 1000), 1280), self.constant("b", numpy.zeros(1000, numpy.float32))])
        self.nodes.append(helper.make_node("Softmax", [self.last], ["probabilities"], axis=1))
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])
        answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 1000])
        graph = helper.make_graph(self.nodes, "mobilenet", [image], [answer], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model.SerializeToString()


def repository(folder):
    version = folder / "models" / "mobilenet" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(Network().onnx())
    (version.parent / "model.toml").write_text(MODEL_TOML, encoding="utf-8")
    return version / "model.onnx"


def weir_server(options, folder):
    port = free_port()
    command = [options.weir, "serve", "--models", folder / "models", "--default-model", "mobilenet", "--http", f"127.0.0.1:{port}", "--grpc", "off"]
    command += ["--state-dir", folder / "state", "--log", "warn", "--engine", "onnxruntime", "--onnxruntime", options.onnxruntime]
    return Server("weir", list(map(str, command)), port, "/readyz", {"ORT_DISABLE_TELEMETRY": "1"})


def fastapi_server(model):
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "fastapi_photos:app", "--app-dir", str(BENCHES), "--port", str(port), "--workers", str(UVICORN_WORKERS)]
    command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    environment = {"WEIR_BENCH_MODEL": str(model), "PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1"}
    return Server("fastapi", command, port, "/readyz", environment)


def settle(weir):
    """Waits until the version was measured in the background; returns what was chosen."""
    for _ in range(600):
        version = json.loads(weir.ask("GET", "/models/mobilenet")[1])["versions"][0]
        if version["state"] != "AVAILABLE":
            raise Failure(f"the model does not serve: {version}")
        if version["tuning"]["stage"] != "loading":
            return version["tuning"]
        time.sleep(0.1)
    raise Failure("the model is not measured within a minute")


def check(servers, photos):
    """Refuses to measure servers that answer differently; decoders of JPEG differ by a few levels, which random weights make more of."""
    for name, body in photos.items():
        answers = []
        for server in servers:
            status, answer = server.ask("POST", "/predict", body)
            if status != 200:
                raise Failure(f"{server.name} answered {status}: {answer[:200]!r}")
            answers.append(json.loads(answer)["predictions"][0])
        confidences = [{row["class"]: row["confidence"] for row in answer["top_k"]} for answer in answers]
        shared = confidences[0].keys() & confidences[1].keys()
        if not shared or any(abs(confidences[0][row] - confidences[1][row]) > 0.1 for row in shared):
            raise Failure(f"the servers disagree on photo {name}: {confidences}")


def measure(options, folder):
    model = repository(folder)
    photos = {str(number): photo((640, 480), number) for number in range(PHOTOS)}
    bodies = []
    for name, body in photos.items():
        (folder / f"{name}.jpg").write_bytes(body)
        bodies += ["--body", str(folder / f"{name}.jpg")]
    rows = {}
    with contextlib.ExitStack() as cleanup:
        servers = [weir_server(options, folder), fastapi_server(model)]
        for server in servers:
            cleanup.callback(server.stop)
            server.start()
            rows[server.name] = []
        tuning = settle(servers[0])
        say(f"weir: {tuning['engine']}, batch up to {tuning['max_batch']}, inline {tuning['inline']}")
        check(servers, photos)
        load = Load(options.weir, folder)
        alone = ["engine", model, "--engine", "onnxruntime", "--onnxruntime", options.onnxruntime, "--batch", "1", "--threads", os.cpu_count()]
        for number in range(options.rounds):
            step = load.run(*alone, "--duration", f"{options.seconds}s")
            rows.setdefault("engine alone", []).append((step["samples_per_second"],))
            for server in servers:
                before = server.cpu_seconds()
                step = load.run("http", url(server, "/predict"), "--connections", CONNECTIONS, *bodies, "--duration", f"{options.seconds}s", "--warmup", "1s")
                rows[server.name].append((step["good_per_second"], step["latency_ms"]["p50"], step["latency_ms"]["p99"], server.cpu_seconds() - before, server.resident_mb()))
            say(f"round {number + 1} of {options.rounds}: " + ", ".join(f"{name} {row[-1][0]:.0f}/s" for name, row in rows.items()))
        check(servers, photos)
    return tuning, sum(map(len, photos.values())) / PHOTOS, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", default=ROOT / "target/release/weir", type=Path)
    parser.add_argument("--onnxruntime", required=True, metavar="LIBRARY", help="libonnxruntime.so, that of the Python that runs this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    facts = machine()
    try:
        with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
            tuning, size, rows = measure(options, Path(folder))
    except Failure as failure:
        sys.exit(f"photos.py: {failure}")
    of = lambda name, figure: Series([row[figure] for row in rows[name]])  # noqa: E731
    print(f"{describe(facts)}\n{PHOTOS} JPEGs of 640 × 480, {size / 1e3:.0f} kB each; MobileNetV2 with random weights; {CONNECTIONS} connections; engine {tuning['engine']}\n")
    cells = lambda name: [of(name, figure).text(digits) for figure, digits in enumerate((0, 1, 1, 1, 0))]  # noqa: E731
    header = ["server", "requests/s", "p50 ms", "p99 ms", "CPU s/round", "memory MB"]
    lines = [[name, *cells(name)] for name in ("weir", "fastapi")] + [["engine alone", of("engine alone", 0).text(), "", "", "", ""]]
    table(f"{options.rounds} rounds of {options.seconds} s, median (min–max)", header, lines, options.markdown)
    bounds = [[f"{name} / engine alone", of(name, 0).over(of("engine alone", 0)).text(2)] for name in ("weir", "fastapi")]
    table("Ratios", ["", "median (min–max)"], bounds, options.markdown)
    target = Target("Weir / FastAPI, requests/s", of("weir", 0).over(of("fastapi", 0)), ">=", 2)
    table("Targets", TARGET_HEADER, [target.row()], options.markdown)
    if options.json:
        write_json(options.json, {"benchmark": "photos", "machine": facts, "tuning": tuning, "rows": rows, "targets": [target.json()]})


if __name__ == "__main__":
    main()
