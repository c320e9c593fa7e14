#!/usr/bin/env python3
"""Measures `weir serve` against a bare axum application and, if given, a FastAPI one.

wrk posts MNIST digits as PNG files over loopback, one server after the other in every round, so
that a change of the machine's mood meets all of them. Needs wrk, and nothing from Python but its
standard library. benches/README.md tells more.
"""

import argparse
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from report import TARGET_HEADER, Series, Target, describe, machine, say, table, write_json

BENCHES = Path(__file__).resolve().parent
ROOT = BENCHES.parent
DIGITS = 100
CONNECTIONS = 32
UVICORN_WORKERS = 2
START_TIMEOUT_SECONDS = 60
REST_SECONDS = 1
# The model is right about 97 of 100 digits; a server that breaks pixels or labels is far below.
LEAST_RIGHT = 0.9
TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """The benchmark cannot go on, or its figures would mean nothing."""


@dataclass
class Server:
    """A process that serves on its own port of 127.0.0.1."""

    name: str
    command: list
    port: int
    ready_path: str | None = None
    environment: dict = field(default_factory=dict)
    process: subprocess.Popen | None = None

    def start(self):
        """Starts it and waits until it answers; returns the milliseconds that took."""
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            self.command, cwd=ROOT, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        while not self.answers():
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended at once with code {self.process.returncode}")
            if time.perf_counter() - begun > START_TIMEOUT_SECONDS:
                raise Failure(f"{self.name} did not get ready")
            time.sleep(0.0005)
        return (time.perf_counter() - begun) * 1e3

    def answers(self):
        try:
            if self.ready_path is None:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            return self.ask("GET", self.ready_path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "image/png"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        # As by Ctrl-C; after SIGTERM weir would go on for its grace time.
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu_seconds(self):
        """Of the process and its children, exited threads included."""
        spent = 0
        for pid in family(self.process.pid):
            fields = stat_fields(pid)
            spent += (int(fields[11]) + int(fields[12])) / TICKS
        return spent

    def resident_mb(self):
        """Proportional, so that pages shared by worker processes count once."""
        return sum(memory_kb(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in family(self.process.pid)) / 1000


def stat_fields(pid):
    # The second field is the program's name in parentheses and may hold spaces.
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def family(pid):
    """The process, its children and theirs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int(stat_fields(entry.name)[1])
    found = [pid]
    for member in found:
        found.extend(child for child, parent in parents.items() if parent == member)
    return found


def memory_kb(path, name):
    """A figure of a /proc file in units of 1000 bytes."""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1.024
    raise Failure(f"{path} has no {name}")


@dataclass
class Contender:
    """An endpoint under load, and what was measured."""

    name: str
    server: Server
    path: str
    rounds: list = field(default_factory=list)

    def series(self, figure):
        return Series([measured[figure] for measured in self.rounds])

    def row(self):
        figures = [("requests_per_second", 0), ("p50_ms", 2), ("p99_ms", 2), ("cpu_microseconds_per_request", 1), ("cpu_seconds", 2)]
        return [self.name, *(self.series(name).text(digits) for name, digits in figures), self.series("resident_mb").text(1)]


ROW_HEADER = ["server", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "CPU s/round", "memory MB"]


def load(contender, folder, seconds):
    """One run of wrk."""
    server = contender.server
    url = f"http://127.0.0.1:{server.port}{contender.path}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(BENCHES / "post_png.lua"), url, "--", folder, str(DIGITS)]
    before = server.cpu_seconds()
    finished = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    spent = server.cpu_seconds() - before
    lines = [line for line in finished.stdout.splitlines() if line.startswith("RESULT ")]
    if finished.returncode != 0 or not lines:
        raise Failure(f"wrk failed on {contender.name}: {finished.stderr or finished.stdout}")
    result = json.loads(lines[0].removeprefix("RESULT "))
    if result["bad_status"] or result["socket_errors"] or not result["requests"]:
        raise Failure(f"{contender.name} did not answer every request with success: {result}")
    return {
        **result,
        "requests_per_second": result["requests"] / result["seconds"],
        "cpu_seconds": spent,
        "cpu_microseconds_per_request": spent / result["requests"] * 1e6,
        "resident_mb": server.resident_mb(),
    }


def answers(contender, digits):
    """The class of every digit, checked against the labels."""
    classes = []
    for png, _ in digits:
        status, body = contender.server.ask("POST", contender.path, png)
        if status != 200:
            raise Failure(f"{contender.name} answered {status}: {body[:200]!r}")
        classes.append(json.loads(body)["predictions"][0]["class"])
    right = sum(answer == label for answer, (_, label) in zip(classes, digits))
    say(f"{contender.name}: {right} of {len(digits)} digits right")
    if right < LEAST_RIGHT * len(digits):
        raise Failure(f"{contender.name} answers wrongly")
    return classes


def check(contenders, digits):
    """Refuses to measure servers that do not do the work."""
    for contender in contenders:
        if contender.name in ("echo", "decode"):
            status, body = contender.server.ask("POST", contender.path, digits[0][0])
            expected = digits[0][0] if contender.name == "echo" else b'{"decoded":true}'
            if (status, body) != (200, expected):
                raise Failure(f"{contender.name} answered {status}: {body[:200]!r}")
    given = {contender.name: answers(contender, digits) for contender in contenders if contender.name in ("weir", "fastapi")}
    if len({tuple(classes) for classes in given.values()}) > 1:
        raise Failure(f"the servers disagree on the same model: {given}")


def read_digits(version):
    with open(version / "probe.jsonl", encoding="utf-8") as lines:
        samples = [json.loads(line) for _, line in zip(range(DIGITS), lines)]
    if len(samples) < DIGITS:
        raise Failure(f"{version}/probe.jsonl has fewer than {DIGITS} samples")
    return [(base64.b64decode(sample["image"]), sample["label"]) for sample in samples]


def newest_version(models, model):
    versions = [path for path in (models / model).glob("*/") if path.name.isdigit()]
    if not versions:
        raise Failure(f"{models}/{model} holds no version; train one with `weir train {model}`, or say --models")
    return max(versions, key=lambda path: int(path.name))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def echo_program():
    """The path of the bench program, built if need be."""
    say("building benches/echo.rs")
    command = ["cargo", "build", "--release", "--bench", "echo", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["target"]["name"] == "echo":
            return message["executable"]
    raise Failure("cargo named no program called echo")


def weir_server(options):
    port = free_port()
    command = [options.weir, "serve", "--grpc", "off", "--models", options.models, "--default-model", options.model]
    command += ["--http", f"127.0.0.1:{port}", "--log", "error"]
    return Server("weir", list(map(str, command)), port, "/readyz")


def echo_server(options):
    port = free_port()
    return Server("echo", [options.echo or echo_program(), str(port)], port)


def fastapi_server(options, version):
    port = free_port()
    command = [options.fastapi, "-m", "uvicorn", "fastapi_app:app", "--app-dir", str(BENCHES), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(UVICORN_WORKERS), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    environment = {"WEIR_BENCH_MODEL": str(version / "model.onnx"), "PYTHONDONTWRITEBYTECODE": "1"}
    return Server("fastapi", command, port, "/readyz", environment)


def measure_starts(options):
    """Milliseconds to the first 200 of /readyz, and resident memory a moment later."""
    ready, resident = [], []
    for _ in range(options.starts):
        server = weir_server(options)
        try:
            ready.append(server.start())
            time.sleep(REST_SECONDS)
            resident.append(memory_kb(f"/proc/{server.process.pid}/status", "VmRSS:") / 1000)
        finally:
            server.stop()
    say(f"weir: {options.starts} starts")
    return Series(ready), Series(resident)


def measure_load(options, version, digits):
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="weir-bench-"))
        for number, (png, _) in enumerate(digits, 1):
            Path(folder, f"{number}.png").write_bytes(png)
        echo, weir = echo_server(options), weir_server(options)
        contenders = [Contender("echo", echo, "/predict"), Contender("decode", echo, "/decode"), Contender("weir", weir, "/predict")]
        if options.fastapi:
            contenders.append(Contender("fastapi", fastapi_server(options, version), "/predict"))
        for server in {id(contender.server): contender.server for contender in contenders}.values():
            cleanup.callback(server.stop)
            server.start()
        check(contenders, digits)
        for contender in contenders:
            load(contender, folder, 1)
        for number in range(1, options.rounds + 1):
            for contender in contenders:
                contender.rounds.append(load(contender, folder, options.seconds))
            rates = ", ".join(f"{contender.name} {contender.rounds[-1]['requests_per_second']:,.0f}/s" for contender in contenders)
            say(f"round {number} of {options.rounds}: {rates}")
        check(contenders, digits)
    return {contender.name: contender for contender in contenders}


def parse_arguments():
    parser = argparse.ArgumentParser(description="Measures `weir serve`; see benches/README.md.")
    parser.add_argument("--weir", type=Path, default=ROOT / "target/release/weir", metavar="FILE", help="the program [target/release/weir]")
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="DIR", help="model repository [models]")
    parser.add_argument("--model", default="mnist-mlp", metavar="NAME", help="a model of 28×28 digits [mnist-mlp]")
    parser.add_argument("--echo", metavar="FILE", help="the built bench program [built by cargo]")
    parser.add_argument("--fastapi", metavar="PYTHON", help="a python with fastapi, uvicorn[standard], onnxruntime, pillow, numpy")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of load [5]")
    parser.add_argument("--seconds", type=int, default=5, metavar="S", help="length of one load [5]")
    parser.add_argument("--starts", type=int, default=10, metavar="N", help="starts of weir that are timed [10]")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    options.weir, options.models = options.weir.resolve(), options.models.resolve()
    if min(options.rounds, options.seconds, options.starts) < 1:
        parser.error("--rounds, --seconds and --starts must be at least 1")
    return options


def run(options):
    if shutil.which("wrk") is None:
        raise Failure("wrk is not installed")
    if not options.weir.is_file():
        raise Failure(f"{options.weir} is missing; build it with `cargo build --release`")
    facts = machine()
    version = newest_version(options.models, options.model)
    digits = read_digits(version)
    ready, resident = measure_starts(options)
    contenders = measure_load(options, version, digits)

    rate = {name: contender.series("requests_per_second") for name, contender in contenders.items()}
    ratios = {f"weir/{name}": rate["weir"].over(rate[name]) for name in contenders if name != "weir"}
    targets = [Target("weir/echo requests/s", ratios["weir/echo"], ">=", 0.5)]
    if options.fastapi:
        targets.append(Target("weir/fastapi requests/s", ratios["weir/fastapi"], ">=", 7))
    targets.append(Target("start to ready, ms", ready, "<=", 100, 1))
    targets.append(Target("memory at rest, MB", resident, "<=", 60, 1))

    print(describe(facts) + "\n")
    load_title = f"Load: {CONNECTIONS} connections, {options.rounds} rounds of {options.seconds} s, median (min–max)"
    table(load_title, ROW_HEADER, [contender.row() for contender in contenders.values()], options.markdown)
    table("Ratios of requests/s", ["ratio", "median (min–max)"], [[name, ratio.text(2)] for name, ratio in ratios.items()], options.markdown)
    table("Targets", TARGET_HEADER, [target.row() for target in targets], options.markdown)
    if options.json:
        document = {
            "benchmark": "serving",
            "machine": facts,
            "settings": {"rounds": options.rounds, "seconds": options.seconds, "connections": CONNECTIONS, "model": options.model},
            "servers": {name: contender.rounds for name, contender in contenders.items()},
            "ratios": {name: ratio.json() for name, ratio in ratios.items()},
            "start_ms": ready.json(),
            "rest_mb": resident.json(),
            "targets": [target.json() for target in targets],
        }
        write_json(options.json, document)


def main():
    # A SIGTERM must still stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(parse_arguments())
    except (Failure, OSError, subprocess.SubprocessError) as failure:
        sys.exit(f"serving.py: {failure}")


if __name__ == "__main__":
    main()
