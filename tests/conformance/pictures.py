#!/usr/bin/env python3
"""Compares the pictures that a server makes its input of with those of Pillow and NumPy.

usage: pictures.py WEIR_BINARY [IMAGES]     (needs Pillow, NumPy, ONNX, ONNX Runtime and requests from PyPI)

- IMAGES (200) random pictures, for every fit and interpolation, with and without antialiasing, in PNG: the pixels that a
  graph of one Identity gets. No pixel may differ by more than 1 of 255, before scale, mean and std. Where Pillow has the
  interpolation, that is Pillow's; without antialiasing it is `pillow_reference.narrow`.
- The elements of every preset, in float32.
- Files of other kinds: what Weir decodes of them against what Pillow does.
- The most probable class of the public graphs in PyPI's `onnx` (`light_*`) by ONNX Runtime, on Pillow's input.
"""

import glob
import io
import json
import os
import sys

import numpy
import onnx
import onnxruntime
import requests
from onnx import TensorProto, helper
from PIL import Image

from pillow_reference import tensor, pixels
from served import Tally, Weir

SIZE = (48, 40)
FITS = [
    {"fit": "stretch"},
    {"fit": "crop", "crop_fraction": 0.875},
    {"fit": "crop", "shortest_side": 56},
    {"fit": "letterbox", "padding": [114, 114, 114]},
]
RGB = {"colour": "rgb"}
PRESETS = {
    "imagenet": {"fit": "crop", "crop_fraction": 0.875, "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "imagenet-tf": {"scale": 1 / 127.5, "mean": 1.0},
    "imagenet-caffe": {"colour": "bgr", "mean": [103.939, 116.779, 123.68]},
    "clip": {
        "fit": "crop", "crop_fraction": 1.0, "interpolation": "bicubic", "scale": 1 / 255,
        "mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711],
    },
    "yolo": {"fit": "letterbox", "padding": [114, 114, 114], "antialias": False, "scale": 1 / 255},
}


def identity(kind, shape):
    edge = lambda name: helper.make_tensor_value_info(name, kind, ["N", *shape])  # noqa: E731
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [edge("x")], [edge("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    return model.SerializeToString()


def toml(table):
    return "[image]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


def random_picture(random):
    width, height = (int(side) for side in random.randint(1, 260, 2))
    smooth = Image.fromarray(random.randint(0, 256, (3 + height // 20, 3 + width // 20, 3)).astype(numpy.uint8))
    array = numpy.asarray(smooth.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    array = array + random.randint(-40, 41, array.shape) * random.randint(0, 2)
    return Image.fromarray(numpy.clip(array, 0, 255).astype(numpy.uint8))


def file_of(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class Client:
    def __init__(self, base):
        self.base, self.session = base, requests.Session()

    def elements(self, model, file, dtype):
        """Returns the output of a graph that gives its input, in bytes as they are."""
        answer = self.session.post(
            f"{self.base}/v2/models/{model}/infer", data=file, headers={"inference-header-content-length": "0"}
        )
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {answer.text[:300]}")
        length = int(answer.headers["inference-header-content-length"])
        return numpy.frombuffer(answer.content[length:], dtype)

    def top(self, model, file):
        answer = self.session.post(f"{self.base}/models/{model}/predict?top_k=1", data=file)
        return answer.json()["predictions"][0] if answer.status_code == 200 else answer.text[:300]


def tables():
    """Returns the table `[image]` of each model, and the file of its graph."""
    width, height = SIZE
    for fit in FITS:
        for interpolation in ("nearest", "bilinear", "bicubic", "lanczos"):
            for antialias in (True, False):
                rule = fit["fit"] + ("-side" if "shortest_side" in fit else "")
                name = f"{rule}-{interpolation}-{'wide' if antialias else 'narrow'}"
                yield name, {"interpolation": interpolation, "antialias": antialias, **fit}, True
    for name in PRESETS:
        yield name, {"preset": name}, False


def check_pixels(tally, client, images):
    random = numpy.random.RandomState(7)
    pictures = [random_picture(random) for _ in range(images)]
    files = [file_of(picture, "PNG", compress_level=1) for picture in pictures]
    worst, differing = 0, 0
    for name, table, is_plain in tables():
        if not is_plain:
            continue
        spec = {**RGB, "width": SIZE[0], "height": SIZE[1], **table}
        largest = 0
        for picture, file in zip(pictures, files):
            expected = pixels(picture, spec).astype(int).reshape(-1)
            difference = numpy.abs(client.elements(name, file, numpy.uint8).astype(int) - expected)
            largest = max(largest, int(difference.max()))
            differing += int((difference > 0).sum())
        worst = max(worst, largest)
        tally.check(f"{name}: {images} pictures, largest difference {largest} of 255", largest <= 1, largest)
    print(f"      largest difference of all: {worst} of 255; {differing} values differ at all")
    for name, spec in PRESETS.items():
        spec = {**RGB, "width": SIZE[0], "height": SIZE[1], **spec}
        largest = 0.0
        for picture, file in zip(pictures[:40], files[:40]):
            expected = tensor(picture, spec).reshape(-1)
            largest = max(largest, float(numpy.abs(client.elements(name, file, numpy.float32) - expected).max()))
        tally.check(f"preset {name}: largest difference {largest:.1e}", largest < 1e-5, largest)


def check_files(tally, client):
    """Compares files as they are decoded: the picture has the size of the input."""
    random = numpy.random.RandomState(3)
    width, height = SIZE
    smooth = Image.fromarray(random.randint(0, 256, (5, 6, 3)).astype(numpy.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    grey, alpha = smooth.convert("L"), smooth.copy()
    alpha.putalpha(Image.fromarray(numpy.linspace(0, 255, width * height).reshape(height, width).astype(numpy.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    sideways = smooth.transpose(Image.Transpose.ROTATE_90)
    deep = Image.fromarray((numpy.asarray(grey).astype(numpy.uint16) * 256 + 77).astype(numpy.uint16))
    cases = [
        ("PNG", smooth, file_of(smooth, "PNG"), 0),
        ("PNG of a palette", None, file_of(smooth.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), 0),
        ("PNG with alpha, over white", alpha, file_of(alpha, "PNG"), 1),
        ("PNG in grey of 16 bits", grey, file_of(deep, "PNG"), 0),
        ("PNG of one bit", None, file_of(grey.convert("1"), "PNG"), 0),
        ("BMP", smooth, file_of(smooth, "BMP"), 0),
        ("GIF", None, file_of(smooth, "GIF"), 0),
        ("WebP without loss", smooth, file_of(smooth, "WEBP", lossless=True), 0),
        ("WebP with loss", None, file_of(smooth, "WEBP", quality=90), 3),
        ("JPEG", None, file_of(smooth, "JPEG", quality=90), 3),
        ("JPEG without subsampling", None, file_of(smooth, "JPEG", quality=90, subsampling=0), 2),
        ("JPEG, progressive", None, file_of(smooth, "JPEG", quality=90, progressive=True), 3),
        ("JPEG in grey", None, file_of(grey, "JPEG", quality=90), 2),
        ("JPEG of four colours", None, file_of(smooth.convert("CMYK"), "JPEG", quality=95), 3),
        ("JPEG, turned by EXIF", smooth, file_of(sideways, "JPEG", quality=100, subsampling=0, exif=turned), 6),
        ("TIFF", smooth, file_of(smooth, "TIFF"), 0),
        ("TIFF, LZW", smooth, file_of(smooth, "TIFF", compression="tiff_lzw"), 0),
        ("TIFF, deflate", smooth, file_of(smooth, "TIFF", compression="tiff_adobe_deflate"), 0),
        ("TIFF, PackBits", smooth, file_of(smooth, "TIFF", compression="packbits"), 0),
        ("TIFF in grey of 16 bits", grey, file_of(deep, "TIFF"), 0),
        ("TIFF of a palette", None, file_of(smooth.convert("P", palette=Image.Palette.ADAPTIVE), "TIFF"), 0),
        ("TIFF with alpha", alpha, file_of(alpha, "TIFF"), 1),
        ("TIFF of four colours", None, file_of(smooth.convert("CMYK"), "TIFF"), 1),
        ("TIFF of one bit", None, file_of(grey.convert("1"), "TIFF"), 0),
    ]
    spec = {**RGB, "width": width, "height": height, "fit": "stretch"}
    for name, image, file, most in cases:
        try:
            found = client.elements("stretch-bilinear-wide", file, numpy.uint8).astype(int)
        except RuntimeError as error:
            tally.check(name, False, str(error))
            continue
        expected = pixels(image if image is not None else Image.open(io.BytesIO(file)), spec).astype(int).reshape(-1)
        difference = numpy.abs(found - expected)
        got = (int(difference.max()), round(float(difference.mean()), 3))
        tally.check(f"{name}: difference at most {got[0]}, mean {got[1]}", got[0] <= most, got)


def check_graphs(tally, client, graphs):
    random = numpy.random.RandomState(11)
    spec = {**RGB, "width": 224, "height": 224, **PRESETS["imagenet"]}
    pictures = [random_picture(random) for _ in range(3)]
    for name, path in graphs.items():
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for picture in pictures:
            expected = session.run(None, {session.get_inputs()[0].name: tensor(picture, spec)[None]})[0].reshape(-1)
            found = client.top(name, file_of(picture, "PNG"))
            is_best = isinstance(found, dict) and expected[found["class"]] >= expected.max() - 1e-4
            tally.check(f"{name} names class {int(expected.argmax())}", is_best, found)


def main():
    binary, images = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
    models, settings = {}, {}
    for name, table, is_plain in tables():
        kind, shape = (TensorProto.UINT8, [SIZE[1], SIZE[0], 3]) if is_plain else (TensorProto.FLOAT, [3, SIZE[1], SIZE[0]])
        models[name], settings[name] = identity(kind, shape), toml(table)
    folder = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data", "light")
    graphs = {os.path.basename(path)[:-5]: path for path in sorted(glob.glob(folder + "/light_*.onnx"))}
    for name, path in graphs.items():
        models[name] = open(path, "rb").read()
        settings[name] = '[image]\npreset = "imagenet"\n[answer]\nkind = "classes"\n'
    weir, tally = Weir(binary, models=models, settings=settings), Tally()
    try:
        client = Client(weir.base)
        check_pixels(tally, client, images)
        check_files(tally, client)
        check_graphs(tally, client, graphs)
    finally:
        tally.check("the server stops", weir.stop() == 0)
    tally.close()


if __name__ == "__main__":
    main()
