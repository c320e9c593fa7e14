#!/usr/bin/env python3
"""Makes the model repository that benches/scheduling.py serves, with random weights: a small
convolutional network, and a deep one, twice, that takes milliseconds.

    python3 benches/models.py DIR
"""

import sys
from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

MODEL_TOML = """\
[transform.image]
width = 28
height = 28
polarity = "light_on_dark"
fit = "centre_of_mass"

[transform.output]
kind = "classification"
probabilities = "probabilities"
"""


class Graph:
    """A graph on `image: [N, 1, 28, 28]`, grey from 0 to 255, built node by node."""

    def __init__(self):
        self.random = numpy.random.default_rng(0)
        self.weights = [numpy_helper.from_array(numpy.float32(1 / 255), "scale")]
        self.nodes = []
        self.last = "image"
        self.add("Mul", ["scale"])

    def add(self, op, inputs=(), **attributes):
        output = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.last, *inputs], [output], **attributes))
        self.last = output
        return self

    def weight(self, *shape, fan_in):
        name = f"w{len(self.weights)}"
        values = self.random.normal(0, (2 / fan_in) ** 0.5, shape).astype(numpy.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, channels_in, channels, pads=0):
        fan_in = channels_in * 9
        inputs = [self.weight(channels, channels_in, 3, 3, fan_in=fan_in), self.weight(channels, fan_in=fan_in)]
        return self.add("Conv", inputs, pads=[pads] * 4).add("Relu")

    def pool(self):
        return self.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])

    def dense(self, size_in, size):
        return self.add("Gemm", [self.weight(size_in, size, fan_in=size_in), self.weight(size, fan_in=size_in)])

    def model(self):
        self.nodes.append(helper.make_node("Softmax", [self.last], ["probabilities"], axis=1))
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])
        answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])
        graph = helper.make_graph(self.nodes, "bench", [image], [answer], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model.SerializeToString()


def cnn():
    """32c3-pool-64c3-pool-128-10."""
    graph = Graph().conv(1, 32).pool().conv(32, 64).pool().add("Flatten").dense(1600, 128).add("Relu")
    return graph.dense(128, 10).model()


def deep():
    """Twelve convolutions of 64 channels on the whole picture."""
    graph = Graph().conv(1, 64, pads=1)
    for _ in range(12):
        graph.conv(64, 64, pads=1)
    return graph.pool().pool().add("Flatten").dense(64 * 49, 10).model()


def main(root):
    network = deep()
    for name, model in [("cnn", cnn()), ("deep", network), ("deep-too", network)]:
        folder = root / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model)
        (root / name / "model.toml").write_text(MODEL_TOML, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
