#!/usr/bin/env python3
"""Says how many replicas a rate needs, and measures what grows with models, versions, requests and labels.

    benches/capacity.py [WEIR_BINARY]                                    what grows
    benches/capacity.py --rate 3000 --service-ms 1.2 --servers 2 --slo-ms 20    replicas, by formula and simulation

docs/capacity.md explains both.
"""

import argparse
import collections
import contextlib
import heapq
import http.client
import json
import math
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from report import describe, machine, say, table, write_json
from serving import ROOT, Failure, Server, free_port
from startup import running

# Requests beyond this cannot be simulated in a moment.
SIMULATED = 200_000
# Samples in one request, and labels in one piece of feedback.
SAMPLES, LABELS = 250, 1000


def waiting_share(load, servers):
    """Returns the probability that a request waits, by Erlang's formula C for `load` erlangs."""
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = load * blocked / (server + load * blocked)
    return servers * blocked / (servers - load * (1 - blocked))


def slow_share(rate, service, servers, limit):
    """Returns the share of requests that take longer than `limit`, in seconds, in a queue M/M/c."""
    load, mu = rate * service, 1 / service
    if load >= servers:
        return 1.0
    waits, drain = waiting_share(load, servers), servers * mu - rate
    if math.isclose(drain, mu):
        return math.exp(-mu * limit) * (1 + waits * mu * limit)
    mixed = (mu * math.exp(-drain * limit) - drain * math.exp(-mu * limit)) / (mu - drain)
    return (1 - waits) * math.exp(-mu * limit) + waits * mixed


def replicas(rate, service, servers, limit, share):
    """Returns the least number of replicas of which at most `share` of the requests take longer than `limit`; None if no
    number is enough."""
    if slow_share(0.0, service, servers, limit) > share:
        return None
    count = 1
    while slow_share(rate / count, service, servers, limit) > share:
        count += 1
    return count


def simulated_share(rate, service, servers, limit, seed=1):
    """Returns the same as slow_share, from random requests instead of a formula."""
    chance = random.Random(seed)
    free, now, slow = [0.0] * servers, 0.0, 0
    for _ in range(SIMULATED):
        now += chance.expovariate(rate)
        end = max(now, heapq.heappop(free)) + chance.expovariate(1 / service)
        heapq.heappush(free, end)
        slow += end - now > limit
    return slow / SIMULATED


def plan(options):
    service, limit, share = options.service_ms / 1e3, options.slo_ms / 1e3, 1 - options.percentile / 100
    least = replicas(options.rate, service, options.servers, limit, share)
    if least is None:
        alone = slow_share(0.0, service, options.servers, limit)
        raise Failure(f"without any load {alone:.1%} of the requests take longer than {options.slo_ms:g} ms; no number of replicas changes that")
    rows = []
    for count in sorted({max(1, least - 1), least, least + options.spare}):
        each = options.rate / count
        used = each * service / options.servers
        drawn = f"{simulated_share(each, service, options.servers, limit):.2%}" if used < 1 else "all"
        rows.append([str(count), f"{each:,.0f}", f"{used:.0%}", f"{slow_share(each, service, options.servers, limit):.2%}", drawn])
    title = f"{options.rate:,.0f} requests/s of {options.service_ms:g} ms, {options.servers} at a time in each replica; at most {share:.2%} longer than {options.slo_ms:g} ms"
    table(title, ["replicas", "each, 1/s", "busy", "longer", "simulated"], rows, options.markdown)
    say(f"{least} replicas, and {options.spare} more that may be missing: {least + options.spare}")


def repository(folder, copies, source):
    """Makes a repository with `copies` models that are one."""
    for number in range(copies):
        shutil.copytree(source, folder / f"m{number:04}" / "1")


def server(options, models, state):
    port = free_port()
    command = [options.weir, "serve", "--grpc", "off", "--models", models, "--state-dir", state, "--log", "error", "--tune=false"]
    command += ["--check-models=false", "--probe-interval-seconds", "0", "--http", f"127.0.0.1:{port}", "--feedback", "all"]
    return Server("weir", list(map(str, command)), port, "/readyz", {})


def resident(one):
    """Returns the resident memory of a server, in bytes."""
    status = Path(f"/proc/{one.process.pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024


def memory(options):
    """Returns rows of: model, bytes of its file, bytes that each further model takes."""
    rows, found = [], []
    for name in options.memory_of:
        source, at = ROOT / "models" / name / "1", {}
        for copies in options.copies:
            with tempfile.TemporaryDirectory(prefix="weir-capacity-") as work:
                repository(Path(work, "models"), copies, source)
                with running(server(options, Path(work, "models"), Path(work, "state"))) as one:
                    at[copies] = resident(one)
            say(f"{name}: {copies} copies, {at[copies] / 1e6:.1f} MB")
        low, high = min(at), max(at)
        each, size = (at[high] - at[low]) / (high - low), (source / "model.onnx").stat().st_size
        rows.append([name, f"{size / 1e6:.2f}", f"{at[low] / 1e6:.0f}", f"{at[high] / 1e6:.0f}", f"{each / 1e6:.2f}"])
        found.append({"model": name, "file_bytes": size, "resident": at, "each_bytes": each})
    title = f"Memory in MB, with {options.copies[0]} and {options.copies[-1]} copies of a model"
    return title, ["model", "file", *(str(count) for count in options.copies), "each"], rows, found


def file_bytes(state):
    """Returns the bytes of the database, once everything in its log is in the file."""
    with contextlib.closing(sqlite3.connect(state / "weir.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (state / "weir.db").stat().st_size


def count_rows(state):
    with contextlib.closing(sqlite3.connect(state / "weir.db")) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        return {name: database.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in names}


def post(one, path, document):
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(document), {"content-type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
    if answer.status != 200:
        raise Failure(f"POST {path} answered {answer.status}: {body[:200]}")
    return json.loads(body)


def ask_often(options, one, count):
    """Asks for predictions by single requests, as clients do."""
    url = f"http://127.0.0.1:{one.port}/models/m0000/predict"
    command = [options.weir, "bench", "http", url, "--requests", count, "--connections", 4]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


def processor_seconds(one):
    """Returns the processor time that a server has used."""
    ticks = Path(f"/proc/{one.process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def demand(options):
    """Returns rows of: model, processor time of one request of the default image. It says what a core can do also where
    others use the machine at the same time."""
    rows, found = [], []
    for name in options.memory_of:
        with tempfile.TemporaryDirectory(prefix="weir-capacity-") as work:
            repository(Path(work, "models"), 1, ROOT / "models" / name / "1")
            with running(server(options, Path(work, "models"), Path(work, "state"))) as one:
                ask_often(options, one, 1000)
                before = processor_seconds(one)
                ask_often(options, one, options.requests)
                each = (processor_seconds(one) - before) / options.requests
        rows.append([name, f"{each * 1e6:.0f}", f"{1 / each:,.0f}"])
        found.append({"model": name, "seconds": each})
    return "Processor time of one request with a PNG", ["model", "µs", "1/s of a core"], rows, found


def label(options, models, state):
    """Labels samples; returns how many, and the rows and bytes before and after."""
    picture = [[[0.0] * 28 for _ in range(28)]] * SAMPLES
    with running(server(options, models, state)) as one:
        asked = [post(one, "/models/m0000/predict", {"instances": picture})["request_id"] for _ in range(options.labels // SAMPLES)]
    before = file_bytes(state), count_rows(state)
    with running(server(options, models, state)) as one:
        pieces = [{"request_id": asked_for, "item": item, "label": 7} for asked_for in asked for item in range(SAMPLES)]
        for start in range(0, len(pieces), LABELS):
            answer = post(one, "/feedback", pieces[start : start + LABELS])
            if answer["joined"] != len(pieces[start : start + LABELS]):
                raise Failure(f"not all labels were joined: {json.dumps(answer)[:300]}")
    return len(pieces), before, (file_bytes(state), count_rows(state))


def store(options):
    """Returns rows of: what is kept, how many, rows and bytes of each."""
    with tempfile.TemporaryDirectory(prefix="weir-capacity-") as work:
        models, state = Path(work, "models"), Path(work, "state")
        repository(models, 1, ROOT / "models" / "mnist-mlp" / "1")
        with running(server(options, models, state)):
            pass
        empty = file_bytes(state)
        with running(server(options, models, state)) as one:
            ask_often(options, one, options.requests)
        asked, kept = file_bytes(state) - empty, count_rows(state)
        labelled, (bytes_before, rows_before), (bytes_after, rows_after) = label(options, models, state)
    grown = {name: rows_after[name] - rows_before.get(name, 0) for name in rows_after}
    per = collections.Counter({name: count for name, count in grown.items() if count > 0})
    shown = ", ".join(f"{name} {count / labelled:.3g}" for name, count in per.most_common())
    rows = [
        ["prediction", f"{options.requests:,}", f"prediction {kept['prediction'] / options.requests:.3g}", f"{asked / options.requests:.0f}"],
        ["label", f"{labelled:,}", shown, f"{(bytes_after - bytes_before) / labelled:.0f}"],
    ]
    found = {
        "predictions": options.requests, "prediction_bytes": asked / options.requests, "rows": kept,
        "labels": labelled, "label_bytes": (bytes_after - bytes_before) / labelled, "label_rows": dict(per),
    }  # fmt: skip
    return "Rows and bytes of SQLite, mnist-mlp", ["of one", "measured with", "rows", "bytes"], rows, found


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weir", nargs="?", type=Path, default=ROOT / "target/release/weir", help="program [target/release/weir]")
    parser.add_argument("--memory-of", nargs="*", default=["mnist-mlp", "mnist-cnn"], metavar="MODEL", help="[mnist-mlp mnist-cnn]")
    parser.add_argument("--copies", nargs=2, type=int, default=[1, 41], metavar="N", help="models in the repository [1 41]")
    parser.add_argument("--requests", type=int, default=50_000, metavar="N", help="predictions that are kept [50000]")
    parser.add_argument("--labels", type=int, default=5_000, metavar="N", help="[5000]")
    parser.add_argument("--rate", type=float, metavar="N", help="requests a second of all clients: plan, measure nothing")
    parser.add_argument("--service-ms", type=float, default=1.0, metavar="MS", help="time of one request that waits for nothing [1]")
    parser.add_argument("--servers", type=int, default=2, metavar="N", help="requests that a replica works on at the same time [2]")
    parser.add_argument("--slo-ms", type=float, default=20.0, metavar="MS", help="[20]")
    parser.add_argument("--percentile", type=float, default=99.0, metavar="P", help="share of requests that keep to it [99]")
    parser.add_argument("--spare", type=int, default=1, metavar="N", help="replicas that may be missing [1]")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    options.weir = options.weir.resolve()
    return options


def main():
    options = parse_arguments()
    if options.rate is not None:
        return plan(options)
    facts = machine()
    say(describe(facts))
    found = {"machine": facts}
    for name, measure in (("demand", demand), ("memory", memory), ("store", store)):
        title, header, rows, figures = measure(options)
        table(title, header, rows, options.markdown)
        found[name] = figures
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    try:
        main()
    except (Failure, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
