#!/usr/bin/env python3
"""Sends digits to a running server, then turned ones, and shows what monitoring makes of them.

    weir serve &
    python3 examples/drifting.py

Needs nothing but Python. The digits are those of data/mnist. First come digits as the model knows them, until the
server has learnt how much neighbouring requests resemble each other; then the same digits, turned more and more. Each
line shows the share of right answers, which the script knows since it knows the labels, beside what the server says
without them: the estimated accuracy, and the stream with the most evidence of a change.
"""

import argparse
import base64
import gzip
import json
import math
import pathlib
import struct
import sys
import time
import urllib.error
import urllib.request
import zlib

SIDE = 28
BATCH = 250


def digits(folder):
    """The pictures and labels of the test digits."""
    pixels = gzip.open(folder / "t10k-images-idx3-ubyte.gz").read()[16:]
    labels = gzip.open(folder / "t10k-labels-idx1-ubyte.gz").read()[8:]
    size = SIDE * SIDE
    return [(pixels[at * size : (at + 1) * size], label) for at, label in enumerate(labels)]


def png(picture):
    """Grey pixels as a PNG file."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + picture[at : at + SIDE] for at in range(0, SIDE * SIDE, SIDE))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def turn(degrees):
    """A function that turns a picture about its middle."""
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    middle = (SIDE - 1) / 2
    sources = []
    for y in range(SIDE):
        for x in range(SIDE):
            u = cos * (x - middle) - sin * (y - middle) + middle
            v = sin * (x - middle) + cos * (y - middle) + middle
            left, top = math.floor(u), math.floor(v)
            corners = []
            for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
                weight = (1 - abs(u - left - dx)) * (1 - abs(v - top - dy))
                if 0 <= left + dx < SIDE and 0 <= top + dy < SIDE and weight > 0:
                    corners.append(((top + dy) * SIDE + left + dx, weight))
            sources.append(corners)
    return lambda picture: bytes(round(sum(picture[at] * weight for at, weight in corners)) for corners in sources)


def ask(url, body=None):
    """The JSON that a path answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{url}: {error.code} {json.load(error).get('detail')}")
    except urllib.error.URLError as error:
        sys.exit(f"{url}: {error.reason}; start a server with: weir serve")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the server [default: %(default)s]")
    parser.add_argument("--model", default="mnist-mlp", help="the model [default: %(default)s]")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data/mnist"), help="the digits")
    args = parser.parse_args()
    model = f"{args.url}/models/{args.model}"
    samples = digits(args.data)
    sent = 0

    def send(degrees):
        nonlocal sent
        change = turn(degrees) if degrees else bytes
        before = ask(f"{model}/drift")["samples"]
        # A step without a common factor, so that every digit comes before one comes again.
        batch = [samples[(sent + at) * 1009 % len(samples)] for at in range(BATCH)]
        sent += BATCH
        images = [base64.b64encode(png(change(picture))).decode() for picture, _ in batch]
        predictions = ask(f"{model}/predict", {"images": images})["predictions"]
        right = sum(found["class"] == label for found, (_, label) in zip(predictions, batch))
        drift = ask(f"{model}/drift")
        # Records are taken in every 50 ms; those of a server that cannot keep up are dropped.
        patience = time.monotonic() + 5
        while drift["samples"] < before + BATCH and time.monotonic() < patience:
            time.sleep(0.02)
            drift = ask(f"{model}/drift")
        worst = max(drift["streams"], key=lambda stream: (stream["state"] != "quiet", stream["evidence"]))
        estimate = drift.get("estimate")
        said = "-" if estimate is None else f"{estimate['accuracy']:.1%}" if estimate["valid"] else "void"
        print(
            f"{sent:>7} {degrees:>6}° {right / BATCH:>8.1%} {said:>10} {worst['evidence']:>9.2f}"
            f"  {worst['stream']:<16} {drift['state']}",
            flush=True,
        )
        return drift

    print("   sent   turned    right  estimated  evidence  stream           state")
    drift = send(0)
    while drift["learning_windows"] > 0:
        drift = send(0)
    for degrees in (0, 0, 5, 5, 15, 15, 30, 30, 30, 45, 45, 45):
        drift = send(degrees)
    print(f"\nThe server says: {drift['state']}. What it compares: {model}/drift")


if __name__ == "__main__":
    main()
