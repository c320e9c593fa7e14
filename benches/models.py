#!/usr/bin/env python3
"""Makes the model repository that benches/scheduling.py serves: a convolutional network with random
weights, twice, and one of the `light_*` graphs of PyPI's `onnx`, which take milliseconds.

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


def cnn():
    """32c3-pool-64c3-pool-128-10 on `image: [N, 1, 28, 28]`, grey from 0 to 255."""
    random = numpy.random.default_rng(0)
    weights = []

    def weight(name, *shape, fan_in):
        values = random.normal(0, (2 / fan_in) ** 0.5, shape).astype(numpy.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def node(op, inputs, output, **attributes):
        return helper.make_node(op, inputs, [output], **attributes)

    weights.append(numpy_helper.from_array(numpy.float32(1 / 255), "scale"))
    nodes = [
        node("Mul", ["image", "scale"], "scaled"),
        node("Conv", ["scaled", weight("w1", 32, 1, 3, 3, fan_in=9), weight("b1", 32, fan_in=9)], "c1"),
        node("Relu", ["c1"], "r1"),
        node("MaxPool", ["r1"], "p1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", weight("w2", 64, 32, 3, 3, fan_in=288), weight("b2", 64, fan_in=288)], "c2"),
        node("Relu", ["c2"], "r2"),
        node("MaxPool", ["r2"], "p2", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p2"], "flat"),
        node("Gemm", ["flat", weight("w3", 1600, 128, fan_in=1600), weight("b3", 128, fan_in=1600)], "g3"),
        node("Relu", ["g3"], "r3"),
        node("Gemm", ["r3", weight("w4", 128, 10, fan_in=128), weight("b4", 10, fan_in=128)], "logits"),
        node("Softmax", ["logits"], "probabilities", axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "cnn", [image], [answer], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def light(name):
    folder = Path(onnx.__file__).parent / "backend/test/data/light"
    return (folder / f"light_{name}.onnx").read_bytes()


def main(root):
    network = cnn()
    for name, model, settings in [
        ("cnn", network, MODEL_TOML),
        ("cnn-too", network, MODEL_TOML),
        ("light", light("squeezenet"), None),
    ]:
        folder = root / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(model)
        if settings:
            (root / name / "model.toml").write_text(settings, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
