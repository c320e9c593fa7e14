#!/usr/bin/env python3
"""The Open Inference Protocol over REST beside /predict, on one running server.

    python3 benches/oip.py target/release/weir [--rounds 3] [--seconds 3]

1. a digit as a binary tensor to /v2/models/mnist-mlp/infer, beside the same digit as a PNG file to
   /models/mnist-mlp/predict, on 32 connections in turn: requests/s and their ratio; 2. the slowest of the answers of
   /livez while tensors of 16 MB of JSON are read. Needs the Python standard library only.
"""

import argparse
import http.client
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "conformance"))
from mnist_accuracy import ROOT, read_idx

HEADER = "inference-header-content-length"


def start(binary):
    command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "off", "--models", str(ROOT / "models"), "--log-format", "json"]
    command += ["--max-body-bytes", str(32 << 20), "--max-samples", "100000"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = None
    for line in server.stderr:
        entry = json.loads(line)
        address = entry.get("address", address)
        if entry["message"].startswith("ready: open"):
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, address
    raise SystemExit(f"the server did not start: exit code {server.wait()}")


def tensor(pixels):
    """A request for the probabilities of one digit: JSON, and its length; then the pixels."""
    data = struct.pack(f"<{len(pixels)}f", *pixels)
    shape = {"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32"}
    inputs = [{**shape, "parameters": {"binary_data_size": len(data)}}]
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}]
    text = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    return text + data, len(text)


def processor_seconds(pid):
    """What a process has used of the processor; unlike a rate it means something on a busy machine."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench(binary, pid, url, seconds, *options):
    """Requests per second, and microseconds of the server's processor for each."""
    command = [binary, "bench", "http", url, "--duration", f"{seconds}s", "--connections", "32", "--json", "-", *options]
    command += ["--warmup", "0s"]
    before = processor_seconds(pid)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    step = json.loads(done.stdout)["steps"][0]
    return step["good_per_second"], (processor_seconds(pid) - before) * 1e6 / step["good"]


def probes(address, seconds):
    """The times of answers of /livez, sorted, while long JSON is read all the time."""
    count = 16 * 1024 * 1024 // 784 // 8
    numbers = ",".join(["0.12345"] * (count * 784))
    body = f'{{"inputs":[{{"name":"image","shape":[{count},1,28,28],"datatype":"FP32","data":[{numbers}]}}],"outputs":[{{"name":"absent"}}]}}'
    stop = threading.Event()

    def load():
        while not stop.is_set():
            connection = http.client.HTTPConnection(address, timeout=60)
            connection.request("POST", "/v2/models/mnist-mlp/infer", body)
            assert connection.getresponse().status == 400

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    took, end = [], time.monotonic() + seconds
    connection = http.client.HTTPConnection(address, timeout=60)
    while time.monotonic() < end:
        begin = time.monotonic()
        connection.request("GET", "/livez")
        connection.getresponse().read()
        took.append((time.monotonic() - begin) * 1e3)
        time.sleep(0.005)
    stop.set()
    for thread in threads:
        thread.join()
    return len(body), sorted(took)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    args = parser.parse_args()
    body, length = tensor(list(read_idx("t10k-images-idx3-ubyte.gz", 16)[:784]))
    server, address = start(args.binary)
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            rates, costs = [], []
            for _ in range(args.rounds):
                png, png_cost = bench(args.binary, server.pid, f"http://{address}/models/mnist-mlp/predict", args.seconds)
                options = ["--body", file.name, "--header", f"{HEADER}: {length}"]
                url = f"http://{address}/v2/models/mnist-mlp/infer"
                oip, oip_cost = bench(args.binary, server.pid, url, args.seconds, *options)
                rates.append(oip / png)
                costs.append(oip_cost / png_cost)
                print(
                    f"PNG to /predict {png:7.0f}/s {png_cost:5.1f} us   binary tensor to /v2 {oip:7.0f}/s {oip_cost:5.1f} us"
                    f"   ratios {rates[-1]:.2f} {costs[-1]:.2f}"
                )
        for what, ratios, wanted in (("requests/s", rates, ">= 1"), ("processor time", costs, "<= 1")):
            median, least, most = statistics.median(ratios), min(ratios), max(ratios)
            print(f"ratio of {what}, median (min-max): {median:.2f} ({least:.2f}-{most:.2f}), wanted {wanted}")
        size, took = probes(address, 2 * args.seconds)
        print(f"/livez while {size / 1e6:.0f} MB of JSON are read: p50 {took[len(took) // 2]:.2f} ms, p99 {took[int(len(took) * 0.99)]:.2f} ms")
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
