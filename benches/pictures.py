#!/usr/bin/env python3
"""Measures decoding and preparing a JPEG of 1920 × 1080 for a network of 224 × 224, beside Pillow and NumPy.

usage: taskset -c 0 pictures.py WEIR_BINARY [--rounds N] [--json FILE]     (needs Pillow, NumPy, ONNX and requests)

Weir's time is the processor's for a whole request, HTTP included, whose graph does next to nothing; the stage `decode` of
its answers is shown, too. It is measured once with `decode = "full"` and once with `decode = "scaled"`. Pillow's is the processor's for
torchvision's `Resize(256)`, `CenterCrop(224)`, `ToTensor` and `Normalize` on a PIL image, in this process: once from the
whole picture, once from the one that libjpeg-turbo decodes at a quarter of its size (`draft`), whose pixels are others, and
those of `scaled`. Targets compare the same work: the whole picture with the whole one, the part with the part. How much
longer Pillow takes for the whole picture than `scaled` for its part is shown beside them. All take turns in every round, so that a busy machine meets all alike. `taskset` gives them one core.

Decoding alone is measured by a model that takes the nearest pixels, where next to nothing is left to do after it. Time of
the processor is what "per core" means, and on a busy machine hardly more than on a quiet one.
"""

import argparse
import io
import pathlib
import sys
import time

import numpy
import requests
from onnx import TensorProto, helper
from PIL import Image

from report import TARGET_HEADER, Series, Target, describe, machine, table, write_json

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "conformance"))
from served import Weir  # noqa: E402

SIZE = (1920, 1080)
SIDE, SHORTEST = 224, 256
MEAN = numpy.float32([0.485, 0.456, 0.406])[:, None, None]
STD = numpy.float32([0.229, 0.224, 0.225])[:, None, None]
SETTINGS = {
    "means": '[image]\npreset = "imagenet"\n',
    "scaled": '[image]\npreset = "imagenet"\ndecode = "scaled"\n',
    "nearest": '[image]\npreset = "imagenet"\ninterpolation = "nearest"\nantialias = false\n',
    "scaled-nearest": '[image]\npreset = "imagenet"\ndecode = "scaled"\ninterpolation = "nearest"\nantialias = false\n',
}


def means():
    """A graph that gives the mean of each channel."""
    edge = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])  # noqa: E731
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"])
    graph = helper.make_graph([node], "means", [edge("x", [3, SIDE, SIDE])], [edge("y", [3, 1, 1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    return model.SerializeToString()


def photo(size=SIZE, seed=1):
    """A JPEG of soft colours and noise, about as large as a photo of a camera at this quality."""
    random = numpy.random.RandomState(seed)
    width, height = size
    coarse = Image.fromarray(random.randint(0, 256, (height // 40, width // 40, 3)).astype(numpy.uint8))
    array = numpy.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
    array = numpy.clip(array + random.randint(-12, 13, array.shape), 0, 255).astype(numpy.uint8)
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=85)
    return file.getvalue()


def resized_to(width, height):
    """The size of a picture whose shorter side is met, as torchvision rounds it."""
    return (SHORTEST, SHORTEST * height // width) if width <= height else (SHORTEST * width // height, SHORTEST)


def prepare(image):
    """The tensor of a decoded picture, and the milliseconds of scaling and of NumPy's part."""
    begun = time.thread_time()
    image = image.resize(resized_to(*image.size), Image.Resampling.BILINEAR)
    scaled = time.thread_time()
    left, top = round((image.width - SIDE) / 2), round((image.height - SIDE) / 2)
    array = numpy.asarray(image.crop((left, top, left + SIDE, top + SIDE))).transpose(2, 0, 1).astype(numpy.float32)
    tensor = numpy.ascontiguousarray((array / 255 - MEAN) / STD)
    return tensor, (scaled - begun) * 1e3, (time.thread_time() - scaled) * 1e3


def pillow(file, is_draft=False):
    """The means of the tensor, and milliseconds: in all, and of decoding, scaling and NumPy's part."""
    begun = time.thread_time()
    image = Image.open(io.BytesIO(file))
    if is_draft:
        image.draft("RGB", resized_to(*image.size))
    image = image.convert("RGB")
    decoded = (time.thread_time() - begun) * 1e3
    tensor, scaled, made = prepare(image)
    return tensor.mean(axis=(1, 2)), (decoded + scaled + made, decoded, scaled, made)


class Weirs:
    def __init__(self, binary):
        self.server = Weir(binary, models={name: means() for name in SETTINGS}, settings=SETTINGS)
        self.session = requests.Session()

    def spent(self):
        """Milliseconds of processor time of all threads so far."""
        threads = pathlib.Path(f"/proc/{self.server.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6

    def ask(self, model, file):
        """The means of the tensor, the milliseconds that the processor took, and those that decoding and preparing did."""
        before = self.spent()
        answer = self.session.post(f"{self.server.base}/models/{model}/predict", data=file).json()
        return answer["predictions"][0]["outputs"]["y"], (self.spent() - before, answer["timings_ms"]["decode"])


def measure(binary, rounds):
    weir, file = Weirs(binary), photo()
    times = {name: [] for name in ("weir", "weir, nearest", "scaled", "scaled, nearest", "pillow", "draft")}
    try:
        for turn in range(rounds + 2):
            found, took = weir.ask("means", file)
            _, of_nearest = weir.ask("nearest", file)
            found_scaled, scaled = weir.ask("scaled", file)
            _, scaled_nearest = weir.ask("scaled-nearest", file)
            expected, of_pillow = pillow(file)
            drafted, of_draft = pillow(file, is_draft=True)
            for ours, theirs, most in ((found, expected, 0.02), (found_scaled, drafted, 1e-4)):
                if not numpy.allclose(numpy.ravel(ours), theirs, atol=most):
                    raise SystemExit(f"another picture: {ours}, {theirs}")
            # The first turns find memory that nobody has touched yet.
            if turn >= 2:
                for name, value in zip(times, (took, of_nearest, scaled, scaled_nearest, of_pillow, of_draft)):
                    times[name].append(value)
    finally:
        weir.server.stop()
    return len(file), times


def series(times, name, part=0):
    return Series([values[part] for values in times[name]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weir")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    facts = machine()
    size, times = measure(options.weir, options.rounds)
    print(f"{describe(facts)}\n1920 × 1080 JPEG of {size / 1e3:.0f} kB to 224 × 224, {options.rounds} rounds, ms, median (min–max)\n")
    rows = []
    for name, label in (("weir", "Weir"), ("scaled", "Weir (scaled)")):
        whole, nearest = series(times, name), series(times, f"{name}, nearest")
        rest = Series([whole - part for whole, part in zip(whole.values, nearest.values)])
        rows.append([label, whole.text(2), nearest.text(2), rest.text(2), "–"])
    stages = [series(times, name, 1).text(2) for name in ("weir", "scaled")]
    stage = f"the stage decode of Weir's answers: {stages[0]}, scaled {stages[1]}"
    scaled = series(times, "scaled")
    for name, label in (("pillow", "Pillow and NumPy"), ("draft", "Pillow (draft) and NumPy")):
        rows.append([label, *(series(times, name, part).text(2) for part in range(4))])
    table("Processor time", ["", "all", "decoding", "scaling", "NumPy"], rows, options.markdown)
    print(f"{stage}\n")
    saved = series(times, "pillow").over(scaled)
    print(f"Pillow and NumPy (the whole picture) / Weir (scaled), which is other work: {saved.text(2)}\n")
    targets = [
        Target("Pillow and NumPy / Weir", series(times, "pillow").over(series(times, "weir")), ">=", 3),
        Target("Weir (scaled) / Pillow (draft) and NumPy", scaled.over(series(times, "draft")), "<=", 1.3),
    ]
    table("Targets", TARGET_HEADER, [target.row() for target in targets], options.markdown)
    if options.json:
        document = {
            "benchmark": "pictures",
            "machine": facts,
            "bytes": size,
            "times_ms": times,
            "pillow_over_scaled": saved.json(),
            "targets": [target.json() for target in targets],
        }
        write_json(options.json, document)


if __name__ == "__main__":
    main()
