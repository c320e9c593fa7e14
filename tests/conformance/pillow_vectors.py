#!/usr/bin/env python3
"""Writes tests/fixtures/pillow: small pictures, and what Pillow makes of them for every fit and interpolation.

usage: pillow_vectors.py        (needs Pillow 13 and NumPy from PyPI; the result does not depend on the machine)

The unit tests of `transform` compare every byte. `pillow_drafts.py` does the same for JPEG files at a part of their size.
"""

import base64
import json
import pathlib

import numpy
from PIL import Image

from pillow_reference import pixels

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "pillow"
FITS = [
    {"fit": "stretch"},
    {"fit": "crop", "crop_fraction": 0.875},
    {"fit": "crop", "shortest_side": 17},
    {"fit": "letterbox", "padding": [114, 110, 7]},
]
SIZES = [(11, 9), (12, 12)]


def picture(seed, width, height, mode):
    """Smooth colours with noise, so that rounding matters everywhere."""
    random = numpy.random.RandomState(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    waves = [numpy.sin(x / (2.0 + band) + band) * numpy.cos(y / (3.0 + band)) for band in range(3)]
    array = numpy.stack(waves, axis=2) * 110 + 128 + random.randint(-60, 61, (height, width, 3))
    return Image.fromarray(numpy.clip(array, 0, 255).astype(numpy.uint8)).convert(mode)


def main():
    FOLDER.mkdir(exist_ok=True)
    pictures = {
        "wide": picture(1, 61, 23, "RGB"),
        "tall": picture(2, 14, 40, "RGB"),
        "small": picture(3, 7, 5, "RGB"),
        "grey": picture(4, 33, 31, "L"),
    }
    lines = []
    for name, image in pictures.items():
        image.save(FOLDER / f"{name}.png")
        for fit in FITS:
            for interpolation in ("nearest", "bilinear", "bicubic", "lanczos"):
                for antialias in (True, False):
                    width, height = SIZES[len(lines) % 2]
                    colour = ("rgb", "bgr", "grey")[len(lines) // 3 % 3]
                    image_table = {
                        "width": width, "height": height, "colour": colour, "layout": "nhwc", "dtype": "uint8",
                        "interpolation": interpolation, "antialias": antialias, **fit,
                    }
                    expected = pixels(image, image_table).tobytes()
                    lines.append({"picture": name, "image": image_table, "pixels": base64.b64encode(expected).decode()})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (FOLDER / "vectors.jsonl").write_text(text)
    print(f"{len(lines)} vectors, {len(text)} bytes")


if __name__ == "__main__":
    main()
