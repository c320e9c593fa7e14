#!/usr/bin/env python3
"""Measures what is answered of large photos when more come than can be: goodput at 2, 5 and 10 times capacity.

    python3 benches/overload.py [WEIR_BINARY] [--kind jpeg|png] [--seconds S] [--factors 2,5,10] [--expect] [--json FILE]

Needs NumPy and Pillow. Photos are JPEGs of 12 megapixels and PNGs of 25 megapixels, which `mnist-mlp` answers; decoding is
nearly all of the work. Capacity is what four clients get that ask one photo after the other. Then photos come at a fixed
rate, however many are under way, each on a connection of its own, from two processes. Good is an answer of 200 within the
time that the server has for it. `--expect` sends bodies only when the server asks for them (`Expect: 100-continue`), as
curl does with large ones: without it, refused bodies cost the machine their way through the loopback. `/livez` is asked
ten times a second meanwhile, on the port of `--ops`.

The load shares the cores with the server.
"""

import argparse
import asyncio
import collections
import concurrent.futures
import http.client
import io
import pathlib
import socket
import statistics
import sys
import threading
import time
import urllib.parse

import numpy
from PIL import Image

from pictures import photo
from report import describe, machine, say, table, write_json
from serving import free_port

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "conformance"))
from served import Weir  # noqa: E402

# The server's own limit to the time of an answer, and a second for the way.
LIMIT = 11
CLIENTS = 4
PROCESSES = 2
TARGET = 0.8


def png(size=(5000, 5000)):
    """A picture of soft colours in few levels, as of a scanner; it has less than a tenth of its pixels' bytes."""
    random = numpy.random.RandomState(2)
    width, height = size
    coarse = Image.fromarray(random.randint(0, 256, (height // 40, width // 40, 3)).astype(numpy.uint8))
    array = numpy.asarray(coarse.resize(size, Image.Resampling.BICUBIC)) & 0xF0
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=6)
    return file.getvalue()


KINDS = {"jpeg": ("JPEG of 12 megapixels", lambda: photo((4000, 3000))), "png": ("PNG of 25 megapixels", png)}


async def receive(loop, sock, ends):
    """Reads until a line ends with one of these words or with any status but 100."""
    answer = b""
    while True:
        piece = await loop.sock_recv(sock, 4096)
        if not piece:
            return 0
        answer += piece
        for line in answer.split(b"\r\n"):
            if line.startswith(b"HTTP/1.1 ") and len(line) > 11 and (ends or line[9:12] != b"100"):
                return int(line[9:12])


async def ask(address, head, body, expects):
    """Returns the status of one request on a new connection, 0 if there is none in time, and the seconds that took."""
    loop, begun = asyncio.get_running_loop(), time.monotonic()
    sending = None
    with socket.socket() as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(LIMIT):
                await loop.sock_connect(sock, address)
                await loop.sock_sendall(sock, head)
                status = await receive(loop, sock, True) if expects else 100
                if status == 100:
                    # A refusal may come before the body was sent.
                    sending = asyncio.ensure_future(loop.sock_sendall(sock, body))
                    status = await receive(loop, sock, False)
        except (OSError, TimeoutError):
            status = 0
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    return status, time.monotonic() - begun


def head_of(address, body, expects):
    expect = "Expect: 100-continue\r\n" if expects else ""
    return f"POST /predict HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nContent-Length: {len(body)}\r\n{expect}Connection: close\r\n\r\n".encode()


def closed(address, body, seconds, expects):
    """Returns the requests that a few clients had answered, per second."""
    head = head_of(address, body, expects)

    async def client(until):
        good = 0
        while time.monotonic() < until:
            status, _ = await ask(address, head, body, expects)
            good += status == 200
        return good

    async def run():
        begun = time.monotonic()
        good = sum(await asyncio.gather(*(client(begun + seconds) for _ in range(CLIENTS))))
        return good / (time.monotonic() - begun)

    return asyncio.run(run())


def opened(address, body, rate, seconds, expects):
    """Sends at a rate; returns the number of answers by status, and the seconds that the good ones took."""
    head, counts, good = head_of(address, body, expects), collections.Counter(), []

    async def one():
        status, took = await ask(address, head, body, expects)
        counts[status] += 1
        if status == 200:
            good.append(took)

    async def run():
        begun, tasks = time.monotonic(), set()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0, begun + number / rate - time.monotonic()))
            task = asyncio.ensure_future(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        offered = time.monotonic() - begun
        await asyncio.gather(*tasks)
        return offered, time.monotonic() - begun

    offered, whole = asyncio.run(run())
    return counts, good, offered, whole


class Health:
    """Asks /livez ten times a second."""

    def __init__(self, port):
        self.port, self.milliseconds, self.ends = port, [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.ends.wait(0.1):
            begun = time.perf_counter()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/livez")
                status = connection.getresponse().status
                connection.close()
            except OSError:
                status = 0
            self.milliseconds.append((time.perf_counter() - begun) * 1e3 if status == 200 else float("inf"))

    def end(self):
        self.ends.set()
        self.thread.join()
        values = sorted(self.milliseconds) or [float("nan")]
        return statistics.median(values), values[int(len(values) * 0.99)], values[-1]


def measure(options, kind, processes):
    name, make = KINDS[kind]
    body, ops = make(), free_port()
    say(f"{name}: {len(body) / 1e6:.1f} MB")
    weir = Weir(options.weir, "--ops", f"127.0.0.1:{ops}", *options.arguments)
    try:
        parsed = urllib.parse.urlsplit(weir.base)
        address = (parsed.hostname, parsed.port)
        closed(address, body, 1, options.expect)
        capacity = closed(address, body, options.seconds, options.expect)
        if capacity == 0:
            raise SystemExit("overload.py: the server answers nothing in time")
        say(f"capacity: {capacity:.1f}/s")
        rows = []
        for factor in options.factors:
            health, rate = Health(ops), capacity * factor / PROCESSES
            shares = [processes.submit(opened, address, body, rate, options.seconds, options.expect) for _ in range(PROCESSES)]
            shares = [share.result() for share in shares]
            counts = sum((share[0] for share in shares), collections.Counter())
            took = sorted(second for share in shares for second in share[1]) or [float("nan")]
            # What was still under way at the end of the load was answered after it.
            seconds = max(share[3] for share in shares)
            goodput, live = counts[200] / seconds, health.end()
            rows.append({
                "factor": factor, "offered": sum(counts.values()) / max(share[2] for share in shares), "goodput": goodput, "share": goodput / capacity,
                "p50_s": statistics.median(took), "p99_s": took[int(len(took) * 0.99)], "livez_ms": live, "answers": dict(counts),
            })
            say(f"{factor} times: {goodput:.1f}/s, {goodput / capacity:.0%} of capacity; {dict(counts)}")
            # The next rate begins with an empty queue.
            closed(address, body, 1, options.expect)
        return {"kind": kind, "bytes": len(body), "capacity": capacity, "rows": rows}
    finally:
        weir.stop()


def show(measured):
    header = ["load", "offered/s", "good/s", "of capacity", f"target {TARGET:.0%}", "p50 s", "p99 s", "/livez p50, p99, max ms", "answers"]
    rows = [[f"{row['factor']:g} ×", f"{row['offered']:.1f}", f"{row['goodput']:.1f}", f"{row['share']:.0%}", "ok" if row["share"] >= TARGET else "short",
             f"{row['p50_s']:.2f}", f"{row['p99_s']:.2f}", ", ".join(f"{value:.1f}" for value in row["livez_ms"]),
             ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(row["answers"].items()))] for row in measured["rows"]]
    table(f"{KINDS[measured['kind']][0]}, {measured['bytes'] / 1e6:.1f} MB; capacity {measured['capacity']:.1f}/s", header, rows, False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weir", nargs="?", default=ROOT / "target/release/weir", type=pathlib.Path)
    parser.add_argument("--kind", choices=KINDS, help="one kind of photo only")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--factors", type=lambda text: [float(factor) for factor in text.split(",")], default=[2.0, 5.0, 10.0])
    parser.add_argument("--expect", action="store_true", help="send bodies only when the server asks for them")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("arguments", nargs="*", help="after --: further settings of the server")
    options = parser.parse_args()
    facts = machine()
    with concurrent.futures.ProcessPoolExecutor(PROCESSES) as processes:
        measured = [measure(options, kind, processes) for kind in ([options.kind] if options.kind else KINDS)]
    print(f"{describe(facts)}\n")
    for one in measured:
        show(one)
    if options.json:
        write_json(options.json, {"machine": facts, "expect": options.expect, "measured": measured})


if __name__ == "__main__":
    main()
