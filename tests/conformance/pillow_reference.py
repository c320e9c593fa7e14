"""The image transforms of `model.toml` by Pillow and NumPy, as torchvision's pipelines of PIL images compute them.

Pillow rounds to 8 bits between its two passes, and so does everything here (version 13 chooses which goes first). It widens its kernels
when a picture shrinks; for `antialias = false` there is no Pillow, and `narrow` does its arithmetic with kernels that
keep their size. `nearest` with antialiasing is Pillow's BOX.
"""

import math

import numpy
from PIL import Image

FILTERS = {
    "nearest": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
BITS = 22


def sinc(x):
    return 1.0 if x == 0 else math.sin(x * math.pi) / (x * math.pi)


def bilinear(x):
    return max(0.0, 1.0 - abs(x))


def bicubic(x, a=-0.5):
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def lanczos(x):
    return sinc(x) * sinc(x / 3) if -3 <= x < 3 else 0.0


KERNELS = {"bilinear": (bilinear, 1.0), "bicubic": (bicubic, 2.0), "lanczos": (lanczos, 3.0)}


def narrow_axis(pixels, size, kernel, support):
    """Resamples the first axis of an array of integers, in Pillow's fixed point."""
    length = pixels.shape[0]
    scale = length / size
    rows = []
    for at in range(size):
        centre = (at + 0.5) * scale
        start = max(0, int(centre - support + 0.5))
        end = min(length, int(centre + support + 0.5))
        taps = [kernel(pixel - centre + 0.5) for pixel in range(start, end)]
        total = sum(taps)
        fixed = [int((tap / total) * (1 << BITS) + math.copysign(0.5, tap)) for tap in taps]
        total = sum((pixels[start + index].astype(numpy.int64) * tap for index, tap in enumerate(fixed)), 1 << (BITS - 1))
        rows.append(numpy.clip(total >> BITS, 0, 255))
    return numpy.stack(rows)


def narrow(image, size, name):
    kernel, support = KERNELS[name]
    pixels = numpy.asarray(image).astype(numpy.int64)
    # As Pillow 13 does, the columns go first where many more rows are lost; earlier ones begin with the rows.
    rows = image.height - size[1]
    for axis in (0, 1) if rows > 0 and 2 * (image.width - size[0]) < rows else (1, 0):
        if pixels.shape[axis] != size[1 - axis]:
            pixels = narrow_axis(pixels.swapaxes(0, axis), size[1 - axis], kernel, support).swapaxes(0, axis)
    return Image.fromarray(pixels.astype(numpy.uint8))


def resize(image, size, name, antialias):
    if name == "nearest" and not antialias:
        return image.resize(size, Image.Resampling.NEAREST)
    if antialias:
        return image.resize(size, FILTERS[name])
    return narrow(image, size, name)


def cropped(image, spec, name, antialias):
    """torchvision's `Resize` of the shorter side and `CenterCrop`; timm's `crop_pct`."""
    width, height = spec["width"], spec["height"]
    if "shortest_side" in spec:
        covered = (spec["shortest_side"],) * 2
    else:
        covered = tuple(math.floor(side / spec["crop_fraction"]) for side in (width, height))
    if covered[0] == covered[1]:
        short, long = sorted(image.size)
        longer = int(covered[0] * long / short)
        size = (covered[0], longer) if image.width <= image.height else (longer, covered[0])
    else:
        ratio = min(image.width / covered[0], image.height / covered[1])
        size = tuple(round(side / ratio) for side in image.size)
    if size != image.size:
        image = resize(image, size, name, antialias)
    left, top = int(round((image.width - width) / 2.0)), int(round((image.height - height) / 2.0))
    return image.crop((left, top, left + width, top + height))


def letterboxed(image, spec, name, antialias):
    """Ultralytics' `LetterBox` with `auto=False` and its resize in place of OpenCV's."""
    width, height = spec["width"], spec["height"]
    ratio = min(width / image.width, height / image.height)
    size = tuple(max(1, round(side * ratio)) for side in image.size)
    left, top = round((width - size[0]) / 2 - 0.1), round((height - size[1]) / 2 - 0.1)
    padding = tuple(spec.get("padding", (0, 0, 0)))
    if image.mode == "L":
        padding = Image.new("RGB", (1, 1), padding).convert("L").getpixel((0, 0))
    frame = Image.new(image.mode, (width, height), padding)
    frame.paste(resize(image, size, name, antialias) if size != image.size else image, (left, top))
    return frame


def pixels(image, spec):
    """Returns the pixels of the input, rows first, before scale, mean and std."""
    colour = spec.get("colour", "rgb")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        ground = Image.new("RGBA", image.size, tuple(spec.get("background", (255, 255, 255))) + (255,))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    image = image.convert("L" if colour == "grey" else "RGB")
    name = spec.get("interpolation", "bilinear")
    antialias = spec.get("antialias", name != "nearest")
    fit = spec.get("fit", "stretch")
    if fit == "stretch":
        size = (spec["width"], spec["height"])
        image = image if image.size == size else resize(image, size, name, antialias)
    else:
        image = (cropped if fit == "crop" else letterboxed)(image, spec, name, antialias)
    array = numpy.asarray(image)
    if colour == "grey":
        return array[:, :, None]
    return array[:, :, ::-1] if colour == "bgr" else array


def tensor(image, spec):
    """Returns the elements of the input, in its layout."""
    array = pixels(image, spec).astype(numpy.float64) * spec.get("scale", 1.0)
    array = ((array - numpy.array(spec.get("mean", 0.0))) / numpy.array(spec.get("std", 1.0))).astype(numpy.float32)
    return array if spec.get("layout", "nchw") == "nhwc" else array.transpose(2, 0, 1)
