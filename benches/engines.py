#!/usr/bin/env python3
"""Measures the built-in engine beside ONNX Runtime, one thread each, in interleaved rounds: networks with depthwise
convolutions and ones by groups, with random weights, and the `light_*` networks of the package onnx that are named.

    venv/bin/python benches/engines.py --onnxruntime LIBRARY.so [--weir FILE] [--before FILE] [--rounds N]
        [--batch N] [--seconds S] [--write FOLDER] [NETWORK …]

Networks are mobilenetv2, mobilenetv3, efficientnet, shufflenet, any light_NAME, and ONNX files. `--before` is another
build of Weir, which shows what a change did. `--write` keeps the files. Needs `onnx numpy`; run it on a quiet machine.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper

import photos
from report import Series, describe, machine, say, table, write_json
from scheduling import Load
from serving import ROOT, Failure

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


class Builder(photos.Network):
    """Convolutions with an activation, and what ends a classifier of 1,000 classes."""

    activation = ("Relu",)

    def activate(self):
        for kind in self.activation:
            before = self.last
            self.add(kind)
            if kind == "Sigmoid":
                self.add("Mul", [before])

    def conv(self, channels_in, channels, kernel=1, stride=1, groups=1, active=True):
        self.convolution(channels_in, channels, kernel, stride, groups, is_clipped=False)
        if active:
            self.activate()

    def finish(self, channels):
        self.add("GlobalAveragePool")
        self.add("Flatten")
        self.add("Gemm", [self.weight((channels, 1000), channels), self.constant("b", numpy.zeros(1000, numpy.float32))])
        self.nodes.append(helper.make_node("Softmax", [self.last], ["probabilities"], axis=1))
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])
        answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 1000])
        graph = helper.make_graph(self.nodes, "network", [image], [answer], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model.SerializeToString()


class ShuffleNet(Builder):
    """ShuffleNet (Zhang et al. 2017, table 1) of three groups."""

    def shuffle(self, channels, groups, size):
        apart = numpy.array([0, groups, channels // groups, size, size], numpy.int64)
        self.add("Reshape", [self.constant(f"s{len(self.weights)}", apart)])
        self.add("Transpose", perm=[0, 2, 1, 3, 4])
        self.add("Reshape", [self.constant(f"s{len(self.weights)}", numpy.array([0, channels, size, size], numpy.int64))])

    def unit(self, channels, wanted, size, is_first):
        before, middle = self.last, wanted // 4
        self.conv(channels, middle, groups=1 if channels == 24 else 3)
        self.shuffle(middle, 3, size)
        self.conv(middle, middle, 3, 2 if is_first else 1, middle, active=False)
        self.conv(middle, wanted - channels if is_first else wanted, groups=3, active=False)
        main = self.last
        if is_first:
            self.last = before
            self.add("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
            self.add("Concat", [main], axis=1)
        else:
            self.add("Add", [before])
        self.add("Relu")

    def onnx(self):
        self.conv(3, 24, 3, 2)
        self.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        channels, size = 24, 56
        for wanted, count in [(240, 4), (480, 8), (960, 4)]:
            for index in range(count):
                self.unit(channels, wanted, size, index == 0)
                size, channels = size // 2 if index == 0 else size, wanted
        return self.finish(channels)


class EfficientNet(Builder):
    """EfficientNet-B0 (Tan and Le 2019, table 1), its norms folded into the convolutions."""

    activation = ("Sigmoid",)
    gate = "Sigmoid"
    # Widening, channels, blocks, stride, kernel.
    BLOCKS = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]

    def squeeze(self, channels, middle):
        before = self.last
        self.add("GlobalAveragePool")
        self.convolution(channels, middle, is_clipped=False)
        self.add("Relu")
        self.convolution(middle, channels, is_clipped=False)
        self.add(self.gate)
        self.add("Mul", [before])

    def onnx(self):
        self.conv(3, 32, 3, 2)
        channels = 32
        for widening, wanted, count, first_stride, kernel in self.BLOCKS:
            for index in range(count):
                before, wide = self.last, channels * widening
                stride = first_stride if index == 0 else 1
                if widening > 1:
                    self.conv(channels, wide)
                self.conv(wide, wide, kernel, stride, wide)
                self.squeeze(wide, max(channels // 4, 4))
                self.conv(wide, wanted, active=False)
                if stride == 1 and channels == wanted:
                    self.add("Add", [before])
                channels = wanted
        self.conv(channels, 1280)
        return self.finish(1280)


class MobileNetV3(EfficientNet):
    """The same with the activations of MobileNetV3 (Howard et al. 2019)."""

    activation = ("HardSwish",)
    gate = "HardSigmoid"


NETWORKS = {"mobilenetv2": photos.Network, "mobilenetv3": MobileNetV3, "efficientnet": EfficientNet, "shufflenet": ShuffleNet}


def write(name, folder):
    if Path(name).is_file():
        return Path(name)
    if name.startswith("light_"):
        return LIGHT / f"{name}.onnx"
    path = folder / f"{name}.onnx"
    path.write_bytes(NETWORKS[name]().onnx())
    return path


def measure(options, path, folder):
    programs = {"weir": (options.weir, []), "onnxruntime": (options.weir, ["--engine", "onnxruntime", "--onnxruntime", options.onnxruntime])}
    if options.before:
        programs["before"] = (options.before, [])
    times = {name: [] for name in programs}
    for number in range(options.rounds):
        order = list(programs.items())
        for name, (weir, engine) in order if number % 2 == 0 else order[::-1]:
            step = Load(weir, folder).run("engine", path, *engine, "--batch", options.batch, "--duration", f"{options.seconds}s")
            times[name].append(step["latency_ms"]["p50"])
    return {name: Series(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[*NETWORKS, "light_shufflenet"], metavar="NETWORK")
    parser.add_argument("--weir", default=ROOT / "target/release/weir", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--onnxruntime", required=True, metavar="LIBRARY")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--write", type=Path, metavar="FOLDER")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    facts, rows, document = machine(), [], {}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as scratch:
        folder = Path(scratch)
        if options.write:
            options.write.mkdir(parents=True, exist_ok=True)
        try:
            for name in options.networks:
                times = measure(options, write(name, options.write or folder), folder)
                runtime = times["onnxruntime"]
                others = [times[other] for other in ("before", "weir") if other in times]
                rows.append([Path(name).stem, *(of.text(2) for of in [*others, runtime]), *(of.over(runtime).text(2) for of in others)])
                document[name] = {other: series.json() for other, series in times.items()}
                say(" | ".join(rows[-1]))
        except Failure as failure:
            sys.exit(f"engines.py: {failure}")
    programs = [*(["before"] if options.before else []), "built in"]
    header = ["network", *(f"{name}, ms" for name in programs), "ONNX Runtime, ms", *(f"{name} ÷ ONNX Runtime" for name in programs)]
    print(f"{describe(facts)}\nbatch {options.batch}, one thread, p50 of {options.seconds} s in each of {options.rounds} rounds\n")
    table("Median (min–max)", header, rows, options.markdown)
    if options.json:
        write_json(options.json, {"benchmark": "engines", "machine": facts, "batch": options.batch, "networks": document})


if __name__ == "__main__":
    main()
