#!/usr/bin/env python3
"""Sends a server damaged and hostile picture files, and sees that it answers them, in bounded memory and time.

usage: hostile_pictures.py WEIR_BINARY [MUTATED]     (needs Pillow, NumPy, ONNX and requests from PyPI)

- MUTATED (10,000) files of every kind, each changed in a few places, the same ones in every run: none may get a 5xx.
- Bombs: files that claim or unpack to far more than they are. Each gets a 4xx, or the answer to the picture that it
  truly holds, in SECONDS of the processor; the server's peak of memory rises by no more than its pixels explain, and
  MEGABYTES.
"""

import io
import os
import random
import struct
import sys
import zlib

import numpy
import requests
from onnx import TensorProto, helper
from PIL import Image

from served import Tally, Weir

SECONDS = 3
MEGABYTES = 96
# A decoded picture, the copy that is turned or laid on a background, and the one in three channels.
COPIES = 3
SIZE = (48, 40)
TOML = '[image]\ncolour = "rgb"\nfit = "stretch"\n'


def identity():
    edge = lambda name: helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", SIZE[1], SIZE[0], 3])  # noqa: E731
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [edge("x")], [edge("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 8
    return model.SerializeToString()


class Client:
    def __init__(self, weir):
        self.weir, self.session = weir, requests.Session()

    def send(self, file, model="picture"):
        """Returns the status, the server's seconds of the processor, and the answer's text."""
        before = self.spent()
        answer = self.session.post(f"{self.weir.base}/models/{model}/predict?top_k=1", data=file, timeout=120)
        return answer.status_code, self.spent() - before, answer.text

    def spent(self):
        """Returns the seconds that the server's threads have taken, also those that ended."""
        with open(f"/proc/{self.weir.process.pid}/stat", encoding="utf-8") as line:
            fields = line.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name):
        """Returns a figure of the server's memory in MB."""
        with open(f"/proc/{self.weir.process.pid}/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith(name))

    def peak_of(self, file):
        """Sends a file, and returns by how many MB the peak of memory was above what was in use before."""
        with open(f"/proc/{self.weir.process.pid}/clear_refs", "w", encoding="utf-8") as peak:
            peak.write("5")
        before = self.memory("VmRSS")
        status, seconds, text = self.send(file)
        return status, seconds, text, self.memory("VmHWM") - before


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def kinds():
    """Returns a small file of every kind."""
    noise = numpy.random.RandomState(5)
    colour = Image.fromarray(noise.randint(0, 256, (4, 5, 3)).astype(numpy.uint8)).resize((37, 29), Image.Resampling.BICUBIC)
    grey, clear = colour.convert("L"), colour.convert("RGBA")
    clear.putalpha(grey)
    palette = colour.convert("P", palette=Image.Palette.ADAPTIVE)
    deep = Image.fromarray((numpy.asarray(grey).astype(numpy.uint16) * 257).astype(numpy.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [colour.rotate(turn) for turn in (0, 90, 180)]
    return {
        "PNG": saved(colour, "PNG"),
        "PNG, alpha": saved(clear, "PNG"),
        "PNG, palette": saved(palette, "PNG", transparency=3),
        "PNG, 16 bits": saved(deep, "PNG"),
        "JPEG": saved(colour, "JPEG"),
        "JPEG, progressive": saved(colour, "JPEG", progressive=True),
        "JPEG, CMYK": saved(colour.convert("CMYK"), "JPEG"),
        "JPEG, EXIF": saved(colour, "JPEG", exif=turned, icc_profile=b"\0" * 400),
        "WebP": saved(colour, "WEBP"),
        "WebP, lossless": saved(clear, "WEBP", lossless=True, exif=turned),
        "WebP, moving": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "GIF": saved(palette, "GIF"),
        "GIF, moving": saved(frames[0], "GIF", save_all=True, append_images=frames[1:], interlace=1),
        "BMP": saved(colour, "BMP"),
        "BMP, palette": saved(palette, "BMP"),
        "BMP, one bit": saved(grey.convert("1"), "BMP"),
        "TIFF": saved(colour, "TIFF"),
        "TIFF, LZW": saved(clear, "TIFF", compression="tiff_lzw"),
        "TIFF, deflate": saved(deep, "TIFF", compression="tiff_adobe_deflate"),
        "TIFF, palette": saved(palette, "TIFF", compression="packbits"),
    }


def mutated(file, draw):
    """Returns the file with a few changes."""
    changed = bytearray(file)
    for _ in range(draw.randint(1, 8)):
        # Headers are where lengths and sizes are.
        at = draw.randrange(min(len(changed), draw.choice((64, len(changed)))) or 1)
        how = draw.randrange(6)
        if how == 0:
            changed[at : at + 1] = bytes([draw.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))])
        elif how == 1:
            changed[at : at + 1] = bytes([draw.randrange(256)])
        elif how == 2:
            changed[at:at] = bytes([draw.randrange(256)])
        elif how == 3:
            del changed[at : at + draw.randint(1, 200)]
        elif how == 4:
            changed[at : at + 4] = struct.pack(draw.choice("<>") + "I", draw.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, draw.getrandbits(32))))
        else:
            changed[at:at] = changed[at : at + draw.randint(1, 400)]
    return bytes(changed)


def check_mutated(tally, client, count):
    draw, files = random.Random(12), kinds()
    for name, file in files.items():
        status, _, text = client.send(file)
        tally.check(f"{name}: 200", status == 200, text[:200])
    before = client.memory("VmRSS")
    for place, (name, file) in enumerate(files.items()):
        answers, slowest, wrong = {}, 0.0, None
        for number in range(count // len(files) + (place < count % len(files))):
            hostile = mutated(file, draw)
            # Every third goes to a model of drawings, whose files are decoded to grey.
            status, seconds, text = client.send(hostile, "mnist-mlp" if number % 3 == 0 else "picture")
            answers[status] = answers.get(status, 0) + 1
            slowest = max(slowest, seconds)
            if status not in (200, 400, 413, 415, 422):
                wrong = (status, text[:200], hostile.hex()[:2000])
        counts = ", ".join(f"{status}: {answers[status]}" for status in sorted(answers))
        tally.check(f"{name}, changed: {counts}; slowest {slowest:.2f} s", wrong is None and slowest < SECONDS, wrong)
    rise = client.memory("VmRSS") - before
    tally.check(f"memory is {rise:.0f} MB above what it was", rise < MEGABYTES, rise)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, colour, depth, *before, data=None):
    """A PNG file whose pixels are all 0, row by row."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if data is None:
        row = b"\0" * (1 + (width * channels * depth + 7) // 8)
        packer, parts = zlib.compressobj(9), []
        parts = [packer.compress(row * 64) for _ in range(height // 64)] + [packer.compress(row * (height % 64)), packer.flush()]
        data = b"".join(parts)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(before) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def zeros(megabytes):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(megabytes)) + packer.flush()


def png_bombs():
    small, packed = (9, 7, 2, 8), zeros(1000)
    text = chunk(b"zTXt", b"Comment\0\0" + packed)
    international = chunk(b"iTXt", b"Comment\0\1\0\0\0" + packed)
    profile = chunk(b"iCCP", b"icc\0\0" + packed)
    yield "PNG of 60,000 × 60,000", png(60_000, 60_000, 2, 8, data=zlib.compress(b"\0" * 1000)), 0
    yield "PNG of 60,000 × 60,000, of which all is there", png(60_000, 60_000, 0, 1), 0
    yield "PNG with a GB of zTXt, four times", png(*small, text, text, text, text), 0
    yield "PNG with a GB of iTXt", png(*small, international), 0
    yield "PNG with a GB of iCCP", png(*small, profile), 0
    yield "PNG with 100,000 chunks of text", png(*small, chunk(b"tEXt", b"a\0b") * 100_000), 0
    yield "PNG with 100,000 empty chunks of data", png(*small, chunk(b"IDAT", b"") * 100_000), 0
    yield "PNG with a GB behind its pixels", png(*small, data=packed), 0
    yield "PNG of 25 million pixels, RGBA of 16 bits", png(5000, 5000, 6, 16), 5000 * 5000 * 8
    yield "PNG of 25 million pixels in one bit", png(5000, 5000, 0, 1), 5000 * 5000


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def scans(side, count):
    """A progressive JPEG in grey whose scans of high frequencies all end at once."""
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    # One code of one bit: for DC a difference of 0, for AC a run of 2^14 and more blocks that end.
    tables = segment(0xC4, bytes([0x00, 1] + [0] * 15 + [0])) + segment(0xC4, bytes([0x10, 1] + [0] * 15 + [0xE0]))
    quantisation = segment(0xDB, bytes([0] + [1] * 64))
    blocks = (-(-side // 8)) ** 2
    first = segment(0xDA, bytes([1, 1, 0x00, 0, 0, 0x00])) + b"\0" * (-(-blocks // 8))
    runs = -(-blocks // (2**14))
    bits = "".join("0" + "0" * 14 for _ in range(runs))
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    later = segment(0xDA, bytes([1, 1, 0x00, 1, 63, 0x00])) + packed
    return b"\xff\xd8" + quantisation + frame + tables + first + later * count + b"\xff\xd9"


def jpeg_bombs():
    plain = saved(Image.new("RGB", (16, 12), (9, 99, 200)), "JPEG")
    with_segments = lambda segments: plain[:2] + segments + plain[2:]  # noqa: E731
    profile = b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 255]) + b"\0" * 65_000) for number in range(1, 256))
    exif = segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 5000) + struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 8) * 5000)
    size = plain.index(b"\xff\xc0") + 5
    yield "JPEG with 9 MB of ICC", with_segments(profile[: 9 << 20]), 0
    yield "JPEG with EXIF of 5,000 lying fields", with_segments(exif), 0
    yield "JPEG with 100,000 comments", with_segments(segment(0xFE, b"a") * 100_000), 0
    yield "JPEG of 65,535 × 65,535", plain[:size] + b"\xff" * 4 + plain[size + 4 :], 0
    yield "JPEG of 5,000 scans over 25 million pixels", scans(5000, 5000), 5000 * 5000 * 3
    yield "JPEG of 10 such scans", scans(5000, 10), 5000 * 5000 * 3


def gif_bombs():
    small = saved(Image.new("P", (16, 12)), "GIF")
    yield "GIF of 65,535 × 65,535", small[:6] + b"\xff" * 4 + small[10:], 0
    yield "GIF of 3,500 × 3,500 that shows a few pixels", small[:6] + struct.pack("<HH", 3500, 3500) + small[10:], 3500 * 3500 * 4
    yield "GIF of 100,000 extensions", small[:13] + small[13:].replace(b"!", b"!", 1)[: small[13:].index(b",")] + b"\x21\xfe\x01a\0" * 100_000 + small[small.index(b",") :], 0


def tiff(fields, tail=b"", data=b""):
    """A TIFF file of one directory, whose fields are (tag, type, count, value)."""
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(fields))
    head += b"".join(struct.pack("<HHII", *field) for field in sorted(fields)) + b"\0\0\0\0"
    return head + data + tail


def tiff_bombs():
    def picture(width, height, rows, bytes_of_strip, **other):
        fields = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 200), 277: (3, 1, 1), 278: (4, 1, rows), 279: (4, 1, bytes_of_strip)}
        fields.update({int(tag[1:]): value for tag, value in other.items()})
        return tiff([(tag, *value) for tag, value in fields.items()], data=b"\0" * 4096)

    yield "TIFF of 60,000 × 60,000", picture(60_000, 60_000, 60_000, 3_600_000_000), 0
    yield "TIFF with a strip of 4 GB", picture(16, 12, 12, 0xFFFFFFFF), 0
    yield "TIFF with strips of 4 billion rows", picture(16, 12, 0xFFFFFFFF, 192), 0
    yield "TIFF with 4 billion strips", picture(16, 12, 12, 192, t273=(4, 0xFFFFFFFF, 8), t279=(4, 0xFFFFFFFF, 8)), 0
    yield "TIFF of 4 billion bits per sample", picture(16, 12, 12, 192, t258=(3, 0xFFFFFFFF, 8)), 0
    many = 4_500_000
    shorts = picture(16, 12, 12, 192, t258=(3, many, 200)) + b"\x08\0" * many
    yield "TIFF of 4 million bits per sample that are there", shorts, 0
    strips = picture(16, 12, 1, 192, t273=(4, many // 2, 200), t279=(4, many // 2, 200)) + b"\x08\0\0\0" * (many // 2)
    yield "TIFF of 2 million strips that are there", strips, 0
    tiles = picture(16, 12, 12, 192, t322=(4, 1, 1 << 16), t323=(4, 1, 1 << 16), t324=(4, 1, 200), t325=(4, 1, 192))
    yield "TIFF with a tile of 65,536 × 65,536", tiles, 0
    packed = saved(Image.new("L", (4900, 4900)), "TIFF", compression="tiff_adobe_deflate")
    yield "TIFF of 24 million pixels, deflated", packed, 4900 * 4900


class Bits:
    """Writes numbers of some bits, the lowest bit first."""

    def __init__(self):
        self.value, self.count, self.parts = 0, 0, bytearray()

    def put(self, number, bits):
        self.value |= number << self.count
        self.count += bits
        while self.count >= 8:
            self.parts.append(self.value & 255)
            self.value >>= 8
            self.count -= 8

    def bytes(self):
        return bytes(self.parts) + bytes([self.value & 255])


def riff(chunks):
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def vp8l(data):
    return riff(b"VP8L" + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2))


def groups(count):
    """A lossless WebP of 16 × 12 pixels whose entropy image asks for so many groups of prefix codes, all of length 10."""
    bits = Bits()
    bits.put(0x2F, 8)
    bits.put(15, 14), bits.put(11, 14), bits.put(0, 4)
    bits.put(0, 1)  # no transform
    bits.put(0, 1)  # no colour cache
    bits.put(1, 1), bits.put(7, 3)  # an entropy image of one pixel
    bits.put(0, 1)  # without a colour cache
    # One symbol each: green and red are the number of the last group, blue and alpha 0, distance 0.
    for symbol in ((count - 1) & 255, (count - 1) >> 8, 0, 0, 0):
        bits.put(1, 1), bits.put(0, 1), bits.put(1, 1), bits.put(symbol, 8)
    length, code = prefix_codes()
    # 64 groups end with a byte.
    some = sum(code << (length * number) for number in range(64)).to_bytes(length * 8, "little")
    value = int.from_bytes(some * (count // 64), "little") << bits.count | bits.value
    return vp8l(bytes(bits.parts) + value.to_bytes(len(some) * (count // 64) + 1, "little") + b"\0" * 256)


def prefix_codes():
    """The bits of a group of prefix codes whose longest has 10 bits, and their number."""
    bits = Bits()
    for _ in range(5):
        bits.put(0, 1)
        # The codes of the lengths 1 to 10 have 3 bits or 4; the format lists lengths in an order of its own.
        wanted = {length: 3 if length < 7 else 4 for length in range(1, 11)}
        order = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10]
        bits.put(len(order) - 4, 4)
        for length in order:
            bits.put(wanted.get(length, 0), 3)
        # Eleven symbols have a code.
        bits.put(1, 1), bits.put(1, 3), bits.put(9, 4)
        for length in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10):
            code, size = (length - 1, 3) if length < 7 else (12 + length - 7, 4)
            bits.put(int(f"{code:0{size}b}"[::-1], 2), size)
    return len(bits.parts) * 8 + bits.count, int.from_bytes(bits.parts, "little") | bits.value << (len(bits.parts) * 8)


def webp_bombs():
    lossy = saved(Image.new("RGB", (16, 12), (9, 99, 200)), "WEBP")
    lossless = saved(Image.new("RGB", (16, 12), (9, 99, 200)), "WEBP", lossless=True)
    at = lossy.index(b"\x9d\x01\x2a") + 3
    yield "WebP of 16,383 × 16,383", lossy[:at] + b"\xff\x3f\xff\x3f" + lossy[at + 4 :], 0
    yield "lossless WebP of 16,384 × 16,384", lossless[:21] + b"\xff\xff\xff\x0f" + lossless[25:], 0
    yield "canvas of 2^24 × 2^24 of a WebP", riff(b"VP8X\x0a\0\0\0\x02\0\0\0" + b"\xff" * 6 + lossy[12:]), 0
    yield "WebP with 100,000 chunks", riff(lossy[12:] + b"XXXX\0\0\0\0" * 100_000), 0
    yield "lossless WebP of 64 groups of prefix codes", groups(64), 0
    yield "lossless WebP of 65,536 groups of prefix codes", groups(65_536), 0


def bmp_bombs():
    plain = saved(Image.new("RGB", (16, 12)), "BMP")
    yield "BMP of 60,000 × 60,000", plain[:18] + struct.pack("<ii", 60_000, 60_000) + plain[26:], 0
    yield "BMP of 2^31 rows upside down", plain[:18] + struct.pack("<ii", 16, -(2**31)) + plain[26:], 0
    yield "BMP with a palette of 4 billion colours", plain[:28] + b"\x08\0" + plain[30:46] + b"\xff" * 4 + plain[50:], 0


def check_bombs(tally, client):
    client.send(kinds()["PNG"])
    for bombs in (png_bombs, jpeg_bombs, gif_bombs, tiff_bombs, webp_bombs, bmp_bombs):
        for name, file, decoded in bombs():
            if len(file) > 10_000_000:
                tally.check(f"{name} is a file that a server takes", False, len(file))
                continue
            status, seconds, text, peak = client.peak_of(file)
            most = COPIES * decoded / 1e6 + 2 * len(file) / 1e6 + MEGABYTES
            holds = status in (200, 400, 413, 415, 422) and seconds < SECONDS and peak < most
            what = f"{name} ({len(file) / 1e3:,.0f} kB): {status} in {seconds:.2f} s, {peak:.0f} MB of {most:.0f}"
            tally.check(what, holds, text[:200])


def main():
    binary, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    # The processor's time is judged; on a busy machine an answer may take longer.
    weir, tally = Weir(binary, "--request-timeout-seconds", "120", models={"picture": identity()}, settings={"picture": TOML}), Tally()
    try:
        client = Client(weir)
        check_bombs(tally, client)
        check_mutated(tally, client, count)
    finally:
        tally.check("the server stops", weir.stop() == 0)
    tally.close()


if __name__ == "__main__":
    main()
