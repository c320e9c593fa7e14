#!/usr/bin/env python3
"""Stops a running weir with SIGTERM under load, over and over, and counts what was sent and never answered.

    tests/conformance/stops.py WEIR_BINARY [--stops 100] [--clients 64] [--grace 0.5]

Each round starts the server, loads it from keep-alive connections of HTTP (half of them without a pause, half with pauses in
which their connection is idle), from unary calls of gRPC and from streams of ModelStreamInfer, and sends SIGTERM.

1. a request that was sent whole is answered, unless its connection was refused;
2. a unary call of gRPC is answered, or fails in a way that says it was not begun;
3. a stream ends with a status, and what was sent on it before the end of the grace time is answered;
4. the process ends with 0 within its grace and drain time.

Needs PyPI's "tritonclient[grpc]". The exit code is 1 if anything was lost.
"""

import argparse
import asyncio
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

sys.path.append(os.path.dirname(__file__))
from served import ROOT  # noqa: E402

MODEL = "mnist-mlp"
BODY = json.dumps({"instances": [[[[0.0] * 28 for _ in range(28)]]]}).encode()
REQUEST = (
    f"POST /models/{MODEL}/predict HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\n"
    f"content-length: {len(BODY)}\r\n\r\n"
).encode() + BODY
DRAIN = 20


class Server:
    """A weir of its own process, ready to answer."""

    def __init__(self, binary, grace, state):
        command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--models", str(ROOT / "models")]
        command += ["--state-dir", state, "--grace-seconds", str(grace), "--drain-seconds", str(DRAIN)]
        command += ["--tune=false", "--log-format", "json", "--probe-interval-seconds", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            entry = json.loads(line)
            if "grpc" in entry:
                self.http, self.grpc = entry["address"], entry["grpc"]
            if entry["message"].startswith("ready: open"):
                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return
        sys.exit(f"FAIL  the server does not start: {self.process.wait()}")


class Counts:
    def __init__(self):
        self.sent = self.answered = self.refused = 0
        self.lost = []


async def answer(reader):
    """Reads one answer; returns its status and whether the connection goes on."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    await reader.readexactly(int(fields.get("content-length", 0)))
    return int(lines[0].split()[1]), fields.get("connection") != "close"


async def client(address, counts, pause, stopped):
    """Asks over keep-alive connections until the server takes no more."""
    host, port = address.rsplit(":", 1)
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            counts.refused += 1
            return
        goes_on = True
        while goes_on:
            began = time.monotonic()
            counts.sent += 1
            try:
                writer.write(REQUEST)
                await writer.drain()
                status, goes_on = await answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                after = f"{time.monotonic() - stopped[0]:.3f} s after SIGTERM" if stopped else "before SIGTERM"
                counts.lost.append(f"HTTP, pause {pause}: {type(error).__name__} {after}")
                break
            counts.answered += 1
            if status != 200:
                counts.lost.append(f"HTTP {status} after {time.monotonic() - began:.3f} s")
            if pause and goes_on:
                await asyncio.sleep(pause)
        writer.close()


def grpc_request():
    request = service_pb2.ModelInferRequest(model_name=MODEL, raw_input_contents=[bytes(4 * 28 * 28)])
    request.inputs.add(name="image", datatype="FP32", shape=[1, 1, 28, 28])
    return request


async def unary(address, counts):
    """Asks by unary calls until the server takes no more."""
    message = grpc_request()
    async with grpc.aio.insecure_channel(address, [("grpc.enable_retries", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        while True:
            counts.sent += 1
            try:
                await stub.ModelInfer(message)
                counts.answered += 1
            except grpc.aio.AioRpcError as error:
                text = f"{error.code().name}: {error.details()}"
                is_refused = error.code() == grpc.StatusCode.UNAVAILABLE and (
                    "failed to connect" in text or "Connection refused" in text or "GOAWAY" in text or "shutting down" in text
                )
                counts.refused += is_refused
                if not is_refused:
                    counts.lost.append(f"gRPC {text}")
                return


def stream(address, counts, stopped, grace):
    """Asks on a stream, one message at a time, until it ends."""
    message, turn = grpc_request(), queue.Queue()

    def messages():
        while turn.get():
            counts.sent += 1
            yield message

    with grpc.insecure_channel(address) as channel:
        responses = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(messages())
        turn.put(True)
        try:
            for _ in responses:
                counts.answered += 1
                time.sleep(0.005)
                turn.put(True)
            code, text = responses.code(), responses.details()
        except grpc.RpcError as error:
            code, text = error.code(), error.details()
        turn.put(False)
    too_early = not stopped or time.monotonic() - stopped[0] < 0.9 * grace
    if too_early or code not in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE) or "reset" in (text or "").lower():
        counts.lost.append(f"a stream ended with {code.name}: {text}")


async def one(options, state, counts):
    server = Server(options.weir, options.grace, state)
    stopped = []
    pauses = [0 if number % 2 else 0.001 * (1 + 7 * number % 400) for number in range(options.clients)]
    http, calls, streams = counts
    tasks = [client(server.http, http, pause, stopped) for pause in pauses]
    tasks += [unary(server.grpc, calls) for _ in range(4)] + [
        asyncio.to_thread(stream, server.grpc, streams, stopped, options.grace) for _ in range(4)
    ]
    tasks = [asyncio.create_task(task) for task in tasks]
    await asyncio.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    stopped.append(time.monotonic())
    await asyncio.wait_for(asyncio.gather(*tasks), options.grace + DRAIN + 30)
    code = await asyncio.to_thread(server.process.wait, options.grace + DRAIN + 10)
    if code != 0:
        http.lost.append(f"the process ended with {code}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weir", type=pathlib.Path)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--grace", type=float, default=0.5, help="seconds")
    options = parser.parse_args()
    counts = Counts(), Counts(), Counts()
    with tempfile.TemporaryDirectory() as state:
        for _ in range(options.stops):
            asyncio.run(one(options, state, counts))
    for name, count in zip(("HTTP", "gRPC, unary", "gRPC, streams"), counts):
        print(f"{name}: {count.sent} sent, {count.answered} answered, {count.refused} refused at the door, {len(count.lost)} lost")
        for text in count.lost[:10]:
            print(f"FAIL  {text}")
    sys.exit(any(count.lost for count in counts))


if __name__ == "__main__":
    main()
