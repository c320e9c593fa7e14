#!/usr/bin/env python3
"""Measures decoding and preparing a JPEG of 1920 × 1080 for a network of 224 × 224, beside Pillow and NumPy.

usage: taskset -c 0 pictures.py WEIR_BINARY [ROUNDS]     (needs Pillow, NumPy, ONNX and requests from PyPI)

The server's time is the stage `decode` of its own answers, for a graph that does next to nothing; Pillow's is that of
torchvision's `Resize(256)`, `CenterCrop(224)`, `ToTensor` and `Normalize` on a PIL image, in this process. Both take
turns, so that a busy machine meets both alike. `taskset` gives both the same core.
"""

import io
import pathlib
import statistics
import sys
import time

import numpy
import requests
from onnx import TensorProto, helper
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "conformance"))
from served import Weir  # noqa: E402

MEAN = numpy.float32([0.485, 0.456, 0.406])[:, None, None]
STD = numpy.float32([0.229, 0.224, 0.225])[:, None, None]


def means():
    edge = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])  # noqa: E731
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    graph = helper.make_graph([node], "means", [edge("x", [3, 224, 224])], [edge("y", [3, 1, 1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    return model.SerializeToString()


def photo():
    random = numpy.random.RandomState(1)
    coarse = Image.fromarray(random.randint(0, 256, (27, 48, 3)).astype(numpy.uint8))
    array = numpy.asarray(coarse.resize((1920, 1080), Image.Resampling.BICUBIC)).astype(int)
    array = numpy.clip(array + random.randint(-12, 13, array.shape), 0, 255).astype(numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=85)
    return file.getvalue()


def pillow(file):
    start = time.perf_counter()
    image = Image.open(io.BytesIO(file)).convert("RGB")
    width, height = image.size
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    array = numpy.asarray(image.crop((left, top, left + 224, top + 224))).transpose(2, 0, 1).astype(numpy.float32)
    tensor = numpy.ascontiguousarray((array / 255 - MEAN) / STD)
    return (time.perf_counter() - start) * 1e3, tensor.mean(axis=(1, 2))


def main():
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    weir = Weir(sys.argv[1], models={"means": means()}, settings={"means": '[image]\npreset = "imagenet"\n'})
    file, session = photo(), requests.Session()
    ours, theirs = [], []
    try:
        for _ in range(rounds):
            answer = session.post(f"{weir.base}/models/means/predict", data=file).json()
            ours.append(answer["timings_ms"]["decode"])
            took, expected = pillow(file)
            theirs.append(took)
            found = answer["predictions"][0]["outputs"]["y"]
            if not numpy.allclose(found, expected, atol=0.02):
                raise SystemExit(f"another picture: {found}, {expected}")
    finally:
        weir.stop()
    ratio = statistics.median(their / our for our, their in zip(ours, theirs))
    print(f"weir {statistics.median(ours):.1f} ms, Pillow and NumPy {statistics.median(theirs):.1f} ms: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
