#!/usr/bin/env python3
"""Measures how `weir serve` schedules: what serving costs beside the engine alone, tails below
capacity, overload, fairness, and the same network beside FastAPI with ONNX Runtime.

The load comes from `weir bench`. Every comparison alternates its sides round by round. Needs Python's
standard library; the FastAPI part is left out unless --python names an interpreter that has fastapi,
uvicorn, onnxruntime and pillow. benches/README.md tells more.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import TARGET_HEADER, Series, Target, describe, machine, say, table, write_json
from serving import BENCHES, ROOT, UVICORN_WORKERS, Failure, Server

DIGIT = ROOT / "tests/container/digit-7.png"
CONNECTIONS = 32


class Load:
    """Runs `weir bench` and returns the step it measured."""

    def __init__(self, weir, folder):
        self.weir, self.folder, self.count = weir, folder, 0

    def start(self, *arguments):
        self.count += 1
        result = self.folder / f"load-{self.count}.json"
        command = [self.weir, "bench", *map(str, arguments), "--quiet", "--json", str(result)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL), result

    @staticmethod
    def wait(started):
        process, result = started
        if process.wait() not in (0, 6):
            raise Failure(f"weir bench ended with code {process.returncode}")
        return json.loads(result.read_text(encoding="utf-8"))["steps"][-1]

    def run(self, *arguments):
        return self.wait(self.start(*arguments))


def url(server, path):
    return f"http://127.0.0.1:{server.port}{path}"


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.load = Load(options.weir, folder)
        self.port = 18480
        self.targets, self.facts = [], {}

    def server(self, name, *arguments, **environment):
        self.port += 1
        state = self.folder / f"state-{name}"
        command = [self.options.weir, "serve", "--models", str(self.options.models), "--http", f"127.0.0.1:{self.port}", "--grpc", "off"]
        command += ["--state-dir", str(state), "--log", "warn", "--probe-interval-seconds", "0", *arguments]
        server = Server(name, command, self.port, "/readyz", {"ORT_DISABLE_TELEMETRY": "1", **environment})
        say(f"  {name} ready after {server.start():.0f} ms")
        return server

    def settle(self, server, *models):
        """Waits until the versions have been measured in the background."""
        for model in models:
            while True:
                version = json.loads(server.ask("GET", f"/models/{model}")[1])["versions"][0]
                if version["state"] != "AVAILABLE":
                    raise Failure(f"{model}: {version}")
                if version["tuning"]["stage"] != "loading":
                    break
                time.sleep(0.1)
            # The other engine is measured right after.
            time.sleep(1)
            tuning = json.loads(server.ask("GET", f"/models/{model}")[1])["versions"][0]["tuning"]
            self.facts[f"{server.name}: {model}"] = tuning
            say(f"  {model}: {tuning['engine']}, batch up to {tuning['max_batch']}, inline {tuning['inline']}")

    def rate(self, server, path, *arguments, duration=None):
        duration = duration or self.options.seconds
        return self.load.run("http", url(server, path), "--duration", f"{duration}s", "--warmup", "500ms", *arguments)

    def target(self, *arguments, **options):
        self.targets.append(Target(*arguments, **options))

    def rounds(self, work):
        results = [work() for _ in range(self.options.rounds)]
        return [Series(list(values)) for values in zip(*results)]

    # What serving costs beside the engine alone.
    def engine_alone(self):
        say("served against the engine alone, a model of milliseconds")
        server = self.server("tract", "--engine", "tract")
        self.settle(server, "deep")
        threads = str(os.cpu_count())
        model = self.options.models / "deep/1/model.onnx"

        def one():
            alone = self.load.run("engine", model, "--batch", "1", "--threads", threads, "--duration", f"{self.options.seconds}s")
            served = self.rate(server, "/models/deep/predict", "--connections", CONNECTIONS, "--body", DIGIT)
            return served["good_per_second"] / alone["samples_per_second"], alone["samples_per_second"]

        ratio, alone = self.rounds(one)
        server.stop()
        self.facts["deep, engine alone, samples/s"] = alone.text()
        self.target("served / engine alone", ratio, ">=", 0.95)

    # Tails, overload, fairness.
    def tails(self):
        say("tails, overload and fairness of a model of milliseconds")
        server = self.server("tract-tails", "--engine", "tract")
        self.settle(server, "deep", "deep-too")
        body = ("--body", DIGIT)

        def below_capacity():
            peak = self.rate(server, "/models/deep/predict", "--connections", CONNECTIONS, *body)
            idle = self.rate(server, "/models/deep/predict", "--connections", "1", *body)
            rate = peak["good_per_second"] * 0.7
            busy = self.rate(server, "/models/deep/predict", "--rate", f"{rate:.0f}", *body)
            return busy["latency_ms"]["p99"] / idle["latency_ms"]["p50"], peak["good_per_second"], idle["latency_ms"]["p50"]

        ratio, peak, idle = self.rounds(below_capacity)
        self.facts["deep, 32 connections, requests/s"] = peak.text()
        self.facts["deep, 1 connection, p50 ms"] = idle.text(3)
        self.target("p99 at 70 % of capacity / p50 unloaded", ratio, "<=", 3)
        self.overload(server, peak.median, idle.median, body)
        self.fairness(server, body)
        server.stop()

    def overload(self, server, peak, idle, body):
        say(f"10 times the capacity for {self.options.overload} s")
        seconds = self.options.overload
        before = server.resident_mb()
        flood = self.load.start(
            "http", url(server, "/models/deep/predict"), "--rate", f"{peak * 10:.0f}", "--connections", "1024", "--duration", f"{seconds}s", *body
        )
        health = self.load.start("http", url(server, "/livez"), "--rate", "5", "--connections", "2", "--duration", f"{seconds}s")
        most, end = before, time.monotonic() + seconds
        while time.monotonic() < end:
            most = max(most, server.resident_mb())
            time.sleep(0.5)
        flood, health = self.load.wait(flood), self.load.wait(health)
        after = self.rate(server, "/models/deep/predict", "--connections", "1", *body, duration=5)
        self.facts["overload, statuses"] = flood["statuses"]
        self.facts["overload, memory before and at the most, MB"] = [round(before), round(most)]
        self.target("goodput at 10 times capacity / peak", Series([flood["good_per_second"] / peak]), ">=", 0.8)
        self.target("health under overload, slowest, ms", Series([health["latency_ms"]["max"]]), "<=", 1000, digits=0)
        self.target("p50 in the 5 s after overload / before", Series([after["latency_ms"]["p50"] / idle]), "<=", 1.5)

    def fairness(self, server, body):
        say("one model flooded, another asked")

        def one():
            alone = self.rate(server, "/models/deep-too/predict", "--connections", "1", *body)
            flood = self.load.start(
                "http", url(server, "/models/deep/predict"), "--connections", CONNECTIONS, *body,
                "--duration", f"{self.options.seconds + 2}s",
            )
            time.sleep(1)
            beside = self.rate(server, "/models/deep-too/predict", "--connections", "1", *body)
            self.load.wait(flood)
            return (beside["latency_ms"]["p99"] / alone["latency_ms"]["p99"],)

        (ratio,) = self.rounds(one)
        self.target("p99 beside a flooded model / alone", ratio, "<=", 3)

    # The tiny model beside a server without a model.
    def decode_only(self):
        echo = self.options.echo
        if echo is None:
            say("no --echo: the comparison with PNG decoding alone is left out")
            return
        say("mnist-mlp against PNG decoding without a model")
        self.port += 1
        bare = Server("echo", [echo, str(self.port)], self.port)
        bare.start()
        self.port += 1
        command = [self.options.weir, "serve", "--http", f"127.0.0.1:{self.port}", "--grpc", "off", "--log", "warn", "--probe-interval-seconds", "0"]
        weir = Server("mlp", [*command, "--state-dir", str(self.folder / "state-mlp")], self.port, "/readyz")
        weir.start()
        time.sleep(2)
        body = ("--body", DIGIT, "--connections", CONNECTIONS)

        def one():
            return (self.rate(weir, "/models/mnist-mlp/predict", *body)["good_per_second"] / self.rate(bare, "/decode", *body)["good_per_second"],)

        (ratio,) = self.rounds(one)
        weir.stop()
        bare.stop()
        self.target("mnist-mlp / decoding alone", ratio, ">=", 0.75)

    # The same network beside the usual Python answer.
    def beside_fastapi(self):
        python, library = self.options.python, self.options.onnxruntime
        if python is None or library is None:
            say("no --python or no --onnxruntime: the comparison with FastAPI is left out")
            return
        say("the convolutional network in ONNX Runtime, beside FastAPI with ONNX Runtime")
        weir = self.server("onnxruntime", "--engine", "onnxruntime", "--onnxruntime", library)
        self.settle(weir, "cnn")
        self.port += 1
        command = [python, "-m", "uvicorn", "fastapi_app:app", "--app-dir", str(BENCHES), "--port", str(self.port)]
        command += ["--workers", str(UVICORN_WORKERS), "--log-level", "warning", "--no-access-log"]
        model = str(self.options.models / "cnn/1/model.onnx")
        fastapi = Server("fastapi", command, self.port, "/readyz", {"WEIR_BENCH_MODEL": model, "ORT_DISABLE_TELEMETRY": "1"})
        fastapi.start()
        body = ("--body", DIGIT, "--connections", CONNECTIONS)

        def one():
            mine = self.rate(weir, "/models/cnn/predict", *body)["good_per_second"]
            theirs = self.rate(fastapi, "/predict", *body)["good_per_second"]
            return mine / theirs, mine, theirs

        ratio, mine, theirs = self.rounds(one)
        fastapi.stop()
        weir.stop()
        self.facts["cnn, weir and FastAPI, requests/s"] = [mine.text(), theirs.text()]
        self.target("cnn in ONNX Runtime / FastAPI", ratio, ">=", 3.5)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="what benches/models.py made")
    parser.add_argument("--weir", default=str(ROOT / "target/release/weir"))
    parser.add_argument("--echo", help="the program that cargo build --release --bench echo made")
    parser.add_argument("--python", help="an interpreter with fastapi, uvicorn, onnxruntime and pillow")
    parser.add_argument("--onnxruntime", help="libonnxruntime.so")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement")
    parser.add_argument("--overload", type=int, default=60, help="seconds of overload")
    parser.add_argument("--only", nargs="*", default=["engine_alone", "tails", "decode_only", "beside_fastapi"])
    parser.add_argument("--markdown", action="store_true", help="tables for the documents")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def main():
    options, facts = arguments(), machine()
    folder = Path(tempfile.mkdtemp(prefix="weir-bench-"))
    bench = Bench(options, folder)
    try:
        for part in options.only:
            getattr(bench, part)()
    except Failure as failure:
        sys.exit(f"error: {failure}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(describe(facts) + "\n")
    table("what had to be shown", TARGET_HEADER, [target.row() for target in bench.targets], options.markdown)
    for name, fact in bench.facts.items():
        print(f"{name}: {fact}")
    if options.json:
        write_json(options.json, {"machine": facts, "targets": [target.json() for target in bench.targets], "facts": bench.facts})


if __name__ == "__main__":
    main()
