#!/usr/bin/env python3
"""Classifies all 10,000 test images of MNIST with a running weir, sent as PNG files over keep-alive
connections. The answers must match what the manifest of the newest version of mnist-mlp claims: the
number of correct answers and the whole confusion matrix.

    tests/conformance/mnist_accuracy.py WEIR_BINARY

Needs nothing but Python 3. Reads data/mnist and models/mnist-mlp of this repository.
"""

import gzip
import http.client
import json
import pathlib
import struct
import subprocess
import sys
import threading
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "mnist-mlp"
CONNECTIONS = 4
CLASSES = 10


def read_idx(name, header_bytes):
    data = gzip.decompress((ROOT / "data" / "mnist" / name).read_bytes())
    return data[header_bytes:]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels, width=28, height=28):
    """Returns grey pixels as a PNG file in which every row has filter type 0 (none)."""
    rows = b"".join(b"\0" + pixels[y * width : (y + 1) * width] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def start(binary):
    """Starts the server; returns the process and its address once it is ready."""
    command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "off", "--models", str(ROOT / "models"), "--default-model", MODEL]
    server = subprocess.Popen([*command, "--log-format", "json"], stderr=subprocess.PIPE, text=True)
    address = None
    for line in server.stderr:
        entry = json.loads(line)
        address = entry.get("address", address)
        if entry["message"].startswith("ready: open"):
            # A full pipe would block the server.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, address
    raise SystemExit(f"the server did not start: exit code {server.wait()}")


def ask(address, version, images, share, answers):
    """Classifies some of the images over one connection and stores the answers by index."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.connect()
    socket = connection.sock
    for index in share:
        connection.request("POST", f"/models/{MODEL}/versions/{version}/predict", body=png(images[index * 784 : (index + 1) * 784]), headers={"Content-Type": "image/png"})
        response = connection.getresponse()
        body = json.loads(response.read())
        if response.status != 200 or body["version"] != version or connection.sock is not socket:
            answers[index] = f"{response.status}, same connection: {connection.sock is socket}, {body}"
            return
        answers[index] = body["predictions"][0]["class"]
    connection.close()


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    version = max(int(path.name) for path in (ROOT / "models" / MODEL).iterdir() if path.name.isdigit())
    manifest = json.loads((ROOT / "models" / MODEL / str(version) / "manifest.json").read_text())
    claimed = manifest["metrics"]["test"]
    images, labels = read_idx("t10k-images-idx3-ubyte.gz", 16), read_idx("t10k-labels-idx1-ubyte.gz", 8)
    samples = len(labels)
    assert samples == claimed["samples"] == 10_000 and len(images) == samples * 784

    answers = [None] * samples
    server, address = start(sys.argv[1])
    try:
        shares = [range(first, samples, CONNECTIONS) for first in range(CONNECTIONS)]
        threads = [threading.Thread(target=ask, args=(address, version, images, share, answers)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.terminate()
        code = server.wait(timeout=60)

    failed = [f"image {index}: {answer}" for index, answer in enumerate(answers) if not isinstance(answer, int)]
    if failed:
        raise SystemExit(f"{len(failed)} images got no answer; the first: {failed[0]}")
    confusion = [[0] * CLASSES for _ in range(CLASSES)]
    for label, answer in zip(labels, answers):
        confusion[label][answer] += 1
    right = sum(confusion[digit][digit] for digit in range(CLASSES))
    expected = round(claimed["accuracy"] * samples)
    print(f"{MODEL} version {version}: {right} of {samples} correct, the manifest claims {expected}")
    if right != expected:
        raise SystemExit("FAIL  the number of correct answers differs")
    if confusion != claimed["confusion"]:
        raise SystemExit(f"FAIL  the confusion matrix differs (rows are true classes): {confusion}, the manifest claims {claimed['confusion']}")
    if code != 0:
        raise SystemExit(f"FAIL  the server exited with code {code} after SIGTERM")
    print("ok    the confusion matrix matches, and the server exited cleanly")


if __name__ == "__main__":
    main()
