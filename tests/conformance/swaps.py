#!/usr/bin/env python3
"""Swaps versions of a running weir under load and checks every answer.

    tests/conformance/swaps.py WEIR_BINARY [--swaps 1000] [--storm 1024] [--seconds 10] [--judge-latency]

1. steady load, for comparison; 2. the same load during random promotions, rollbacks, loads and
unloads: no request for the alias may fail, and no version may answer between its unload and its next
load; 3. 32 threads that load and unload one model: each reply is a success or a conflict, and memory
does not grow. Needs only the Python standard library.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

VERSIONS = 4
PROCESSES, CONNECTIONS = 2, 8
STORM_THREADS = 32
# Allows for noise between two runs of the same load.
LATENCY_RATIO = 2.0


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, value):
    """Returns one protobuf field: an integer, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def adder(number):
    """Returns an ONNX graph of y = x + number, for x of shape [N, 1]."""
    dims = field(1, field(2, "N")) + field(1, field(1, 1))
    kind = field(2, field(1, field(1, 1) + field(2, dims)))
    constant = field(2, 1) + field(8, "c") + field(9, struct.pack("<f", number))
    node = field(1, "x") + field(1, "c") + field(2, "y") + field(4, "Add")
    graph = field(1, node) + field(2, "swap") + field(5, constant)
    graph += field(11, field(1, "x") + kind) + field(12, field(1, "y") + kind)
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 18))


class Client:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address, timeout=60)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body))
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            # The server may refuse before it has read the body, and then closes the connection.
            self.connection.close()
        return answer.status, data

    def post(self, path, body):
        return self.ask("POST", path, body)


def load(address, seed, stop, results):
    """Runs one process of clients; puts (start, end, path kind, status, version, sound) for each request."""
    taken, lock = [], threading.Lock()

    def connection(number):
        client, choose, mine = Client(address), random.Random(seed * 100 + number), []
        while not stop.is_set():
            one = choose.random() < 0.2
            path = f"/models/m/versions/{choose.randint(1, VERSIONS) if one else 'stable'}/predict"
            begin = time.monotonic()
            try:
                status, data = client.post(path, {"instances": [[0.0]]})
            except OSError as error:
                mine.append((begin, time.monotonic(), one, repr(error), 0, False))
                client = Client(address)
                continue
            version, sound = 0, status == 503 and one
            if status == 200:
                answer = json.loads(data)
                version = answer["version"]
                sound = answer["predictions"][0]["outputs"]["y"] == [float(version)]
            mine.append((begin, time.monotonic(), one, status, version, sound))
        with lock:
            taken.extend(mine)

    threads = [threading.Thread(target=connection, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(taken)


def under_load(address, work):
    """Runs `work` while the clients send requests, and returns what they saw."""
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    clients = [multiprocessing.Process(target=load, args=(address, n, stop, results)) for n in range(PROCESSES)]
    for client in clients:
        client.start()
    try:
        done = work()
    finally:
        stop.set()
    seen = [request for _ in clients for request in results.get(timeout=60)]
    for client in clients:
        client.join()
    return done, seen


def summary(seen):
    took = sorted(end - begin for begin, end, *_ in seen)
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))] * 1e3
    span = max(end for _, end, *_ in seen) - min(begin for begin, *_ in seen)
    return len(seen) / span, at(0.5), at(0.99)


def swap(address, count):
    """Runs random actions; returns their outcomes and the times at which each version was certainly unloaded."""
    client, choose, outcomes, gone, since = Client(address), random.Random(3), {}, [], {}
    for _ in range(count):
        version, action = choose.randint(1, VERSIONS), choose.choice(["promote", "rollback", "load", "unload"])
        body = {"version": version} if action in ("load", "unload") else {"alias": "stable"}
        if action == "promote":
            body["version"] = version
        if action == "load" and version in since:
            gone.append((version, since.pop(version), time.monotonic()))
        status, data = client.post(f"/models/m/{action}", body)
        if status not in (200, 409):
            sys.exit(f"FAIL  {action} {body}: {status} {data.decode()}")
        if action == "unload" and status == 200:
            since.setdefault(version, time.monotonic())
        outcomes[action, status] = outcomes.get((action, status), 0) + 1
    gone += [(version, begin, time.monotonic()) for version, begin in since.items()]
    return outcomes, gone


def storm(address, each):
    counts, lock = {}, threading.Lock()

    def side(number):
        client, mine = Client(address), {}
        for turn in range(each):
            action = "load" if (number + turn) % 2 == 0 else "unload"
            status, _ = client.post(f"/models/n/{action}", {})
            mine[action, status] = mine.get((action, status), 0) + 1
        with lock:
            for key, value in mine.items():
                counts[key] = counts.get(key, 0) + value

    threads = [threading.Thread(target=side, args=(n,)) for n in range(STORM_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def start(binary, work):
    models = os.path.join(work, "models")
    for version in range(1, VERSIONS + 1):
        os.makedirs(os.path.join(models, "m", str(version)))
        with open(os.path.join(models, "m", str(version), "model.onnx"), "wb") as file:
            file.write(adder(version))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    bundled = os.path.join(root, "models", "mnist-mlp", "1")
    shutil.copytree(bundled, os.path.join(models, "n", "1"), ignore=shutil.ignore_patterns("manifest.json"))
    command = [binary, "serve", "--models", models, "--http", "127.0.0.1:0", "--grpc", "off", "--log-format", "json"]
    command += ["--state-dir", os.path.join(work, "state"), "--load-threads", "2", "--log", "warn,weir::cli=info"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = None
    for line in server.stderr:
        entry = json.loads(line)
        address = entry.get("fields", entry).get("address", address)
        if "ready: open" in line:
            break
    threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
    if address is None:
        sys.exit("FAIL  the server did not start")
    return server, address


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--storm", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--judge-latency", action="store_true", help="also fail when the p99 during swaps is too large")
    args = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as work:
        server, address = start(args.binary, work)
        try:
            client = Client(address)
            for _ in range(100):
                # Files that were just written are loaded at the second look.
                status, data = client.post("/models/m/promote", {"alias": "stable", "version": 1})
                if status == 200:
                    break
                time.sleep(0.1)
            else:
                sys.exit(f"FAIL  promote: {status} {data.decode()}")
            _, steady = under_load(address, lambda: time.sleep(args.seconds))
            (outcomes, gone), swapped = under_load(address, lambda: swap(address, args.swaps))
            for name, seen in (("steady", steady), ("during swaps", swapped)):
                rate, p50, p99 = summary(seen)
                print(f"{name:13} {len(seen):7} requests  {rate:7.0f}/s  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms")
            ratio = summary(swapped)[2] / summary(steady)[2]
            print(f"p99 during swaps / steady: {ratio:.2f} (allowed: {LATENCY_RATIO})")
            print("actions:", ", ".join(f"{a} {s}: {n}" for (a, s), n in sorted(outcomes.items())))
            failed = [request for request in steady + swapped if not request[5]]
            late = [
                (version, begin)
                for begin, end, _, status, version, _ in swapped
                for other, left, back in gone
                if status == 200 and other == version and begin > left and end < back
            ]
            print(f"failed or unsound: {len(failed)}; answered while unloaded: {len(late)}")
            if failed or late:
                faults.append(f"{failed[:3]} {late[:3]}")
            if args.judge_latency and ratio > LATENCY_RATIO:
                faults.append(f"p99 rose by {ratio:.2f}")
            storm(address, max(1, args.storm // 8))
            Client(address).post("/models/n/load", {})
            before = resident(server.pid)
            begin = time.monotonic()
            counts = storm(address, args.storm)
            took = time.monotonic() - begin
            client = Client(address)
            status, data = client.post("/models/n/load", {})
            after = resident(server.pid)
            total = sum(counts.values())
            print(f"storm: {total} replies in {took:.0f} s:", ", ".join(f"{a} {s}: {n}" for (a, s), n in sorted(counts.items())))
            print(f"memory: {before:.0f} MB before, {after:.0f} MB after")
            if status != 200 or any(code not in (200, 409) for _, code in counts):
                faults.append(f"the storm left {status} {data.decode()} {counts}")
            if after > before * 1.1 + 8:
                faults.append(f"memory grew from {before:.0f} to {after:.0f} MB")
        finally:
            server.terminate()
            code = server.wait(60)
    if code != 0:
        faults.append(f"the server ended with {code}")
    for fault in faults:
        print("FAIL ", fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
