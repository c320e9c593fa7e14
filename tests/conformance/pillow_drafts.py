#!/usr/bin/env python3
"""Writes tests/fixtures/pillow/drafts.jsonl: JPEG files of many kinds, and what Pillow makes of them by `Image.draft`.

usage: pillow_drafts.py        (needs Pillow 13, NumPy and simplejpeg from PyPI; the result does not depend on the machine)

Each line has a file, its pixels at a half, a quarter and an eighth, and the pixels of inputs that it is brought to with
`decode = "scaled"`: `draft` with the size that is wanted, `exif_transpose`, and the resizing of `pillow_reference`. The unit
tests of `transform` compare every byte.
"""

import base64
import io
import json

import numpy
import simplejpeg
from PIL import Image, ImageOps

from pillow_reference import FILTERS
from pillow_vectors import FOLDER, picture

# Name, width, height, mode and what the file is written with; a name of simplejpeg's for subsamplings that Pillow does not write.
KINDS = [
    ("444", 45, 38, "RGB", {"quality": 90, "subsampling": "4:4:4"}),
    ("422", 45, 38, "RGB", {"quality": 85, "subsampling": "4:2:2"}),
    ("420", 53, 41, "RGB", {"quality": 85, "subsampling": "4:2:0"}),
    ("440", 38, 45, "RGB", "440"),
    ("411", 45, 38, "RGB", "411"),
    ("420 of the worst quality", 48, 48, "RGB", {"quality": 2, "subsampling": "4:2:0"}),
    ("420 of the best quality", 49, 39, "RGB", {"quality": 100, "subsampling": "4:2:0"}),
    ("420 with restarts", 70, 37, "RGB", {"quality": 80, "subsampling": "4:2:0", "restart_marker_blocks": 3}),
    ("420 progressive", 53, 41, "RGB", {"quality": 85, "subsampling": "4:2:0", "progressive": True}),
    ("422 progressive", 43, 40, "RGB", {"quality": 60, "subsampling": "4:2:2", "progressive": True}),
    ("grey", 47, 39, "L", {"quality": 85}),
    ("grey progressive", 47, 39, "L", {"quality": 85, "progressive": True}),
    ("colours as they are", 41, 39, "RGB", {"quality": 85, "keep_rgb": True}),
    ("turned", 53, 41, "RGB", {"quality": 85, "subsampling": "4:2:0", "orientation": 6}),
]
INPUTS = [
    {"width": 18, "height": 12, "fit": "stretch", "interpolation": "bilinear"},
    {"width": 8, "height": 8, "fit": "crop", "crop_fraction": 0.875, "interpolation": "bicubic"},
]


def written(image, options):
    if isinstance(options, str):
        return simplejpeg.encode_jpeg(numpy.ascontiguousarray(image), quality=85, colorspace="RGB", colorsubsampling=options)
    options, file = dict(options), io.BytesIO()
    if orientation := options.pop("orientation", None):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    image.save(file, "JPEG", **options)
    return file.getvalue()


def drafted(file, size):
    image = Image.open(io.BytesIO(file))
    image.draft(None, size)
    image.load()
    return image


def resized(file, table):
    """The input's pixels: sizes are those of the whole picture, upright, whatever is decoded."""
    stored = Image.open(io.BytesIO(file))
    is_turned = stored.getexif().get(0x0112, 1) >= 5
    width, height = stored.size[::-1] if is_turned else stored.size
    input_size = (table["width"], table["height"])
    size = input_size
    if table["fit"] == "crop":
        covered = int(table["width"] / table["crop_fraction"])
        longer = int(covered * max(width, height) / min(width, height))
        size = (covered, longer) if width <= height else (longer, covered)
    image = ImageOps.exif_transpose(drafted(file, size[::-1] if is_turned else size)).convert("RGB")
    image = image.resize(size, FILTERS[table["interpolation"]])
    left, top = (round((size[axis] - input_size[axis]) / 2) for axis in (0, 1))
    return image.crop((left, top, left + input_size[0], top + input_size[1])).tobytes()


def text(data):
    return base64.b64encode(data).decode()


def main():
    lines = []
    for seed, (name, width, height, mode, options) in enumerate(KINDS):
        file = written(picture(seed, width, height, mode), options)
        drafts = []
        for scale in (2, 4, 8):
            image = drafted(file, (width // scale, height // scale))
            drafts.append({"scale": scale, "size": image.size, "pixels": text(image.tobytes())})
        inputs = [{"image": {**table, "layout": "nhwc", "dtype": "uint8", "colour": "rgb", "decode": "scaled"},
                   "pixels": text(resized(file, table))} for table in INPUTS]
        lines.append({"name": name, "file": text(file), "drafts": drafts, "inputs": inputs})
    written_text = "".join(json.dumps(line) + "\n" for line in lines)
    (FOLDER / "drafts.jsonl").write_text(written_text)
    print(f"{len(lines)} files, {len(written_text)} bytes")


if __name__ == "__main__":
    main()
