#!/usr/bin/env python3
"""Restarts two running weirs in turn behind HAProxy, under load from clients that retry nothing.

    tests/conformance/replicas.py WEIR_BINARY [--restarts 5] [--database postgres://user@host/name]

The two share a folder of models and a PostgreSQL database (by default the server of WEIR_TEST_POSTGRES, in a database of
this script's own). HAProxy passes half of the load on as HTTP and half as TCP, as the Service of a cluster does.

1. rolling restarts: no request may fail, and each process ends with 0 within its grace and drain time;
2. every label is sent twice, to the replica that did not answer and to the one that did: it is counted once, and both give
   the same figures;
3. a replica that starts answers no request with 404;
4. an alias that is moved at one of them counts at the other.

Needs haproxy (Debian's package), psql, and the Python standard library.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(os.path.dirname(__file__))
from served import ROOT, Tally, digits, labels, png  # noqa: E402

CLIENTS = 4
GRACE, DRAIN = 2, 20
LABELLED = 50
JSON = {"content-type": "application/json"}
PATIENCE = 60

HAPROXY = """
defaults
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    # On a busy machine an answer may take longer than the interval; that is no failure.
    timeout check 5s
    default-server inter 200ms fall 2 rise 1
    option httpchk GET /readyz
frontend http
    mode http
    bind 127.0.0.1:{http}
    default_backend http
backend http
    mode http
    balance roundrobin
    option redispatch 1
    retry-on conn-failure empty-response
    server a 127.0.0.1:{a} check
    server b 127.0.0.1:{b} check
frontend tcp
    mode tcp
    bind 127.0.0.1:{tcp}
    default_backend tcp
backend tcp
    mode tcp
    balance roundrobin
    option redispatch 1
    server a 127.0.0.1:{a} check
    server b 127.0.0.1:{b} check
frontend state
    mode http
    bind 127.0.0.1:{state}
    stats enable
    stats uri /
"""


def free_ports(count):
    """Returns ports that nobody listens on, below those that the system gives to outgoing connections."""
    ports = set()
    while len(ports) < count:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                ports.add(port)
            except OSError:
                pass
    return sorted(ports)


def ask(port, method, path, body=None):
    """Returns the status and the JSON of one answer, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        is_picture = isinstance(body, bytes)
        connection.request(method, path, body if is_picture or body is None else json.dumps(body), {} if is_picture else JSON)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"FAIL  never: {what}")
        time.sleep(0.02)


class Replica:
    """A weir on a port that stays the same over restarts, with a state folder of its own."""

    def __init__(self, binary, work, name, port, database):
        self.port, self.log = port, open(work / f"{name}.log", "ab")
        self.command = [binary, "serve", "--http", f"127.0.0.1:{port}", "--grpc", "off", "--models", str(work / "models")]
        self.command += ["--state-dir", str(work / name), "--feedback", "all", "--log-format", "json", "--tune=false"]
        self.command += ["--grace-seconds", str(GRACE), "--drain-seconds", str(DRAIN), "--probe-interval-seconds", "0"]
        self.environment = {**os.environ, "WEIR_DATABASE": database}
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=self.log, env=self.environment)

    def is_ready(self):
        try:
            return ask(self.port, "GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def stop(self):
        """Ends it as a cluster does; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=GRACE + DRAIN + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "killed"


class Balancer:
    """HAProxy in front of the two."""

    def __init__(self, work, ports):
        self.ports = ports
        (work / "haproxy.cfg").write_text(HAPROXY.format(**ports))
        self.process = subprocess.Popen(["haproxy", "-db", "-f", str(work / "haproxy.cfg")], stderr=subprocess.DEVNULL)

    def sees_both(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["state"], timeout=PATIENCE)
        try:
            connection.request("GET", "/;csv")
            lines = connection.getresponse().read().decode().splitlines()
        except OSError:
            return False
        finally:
            connection.close()
        states = [line.split(",")[17] for line in lines if line.split(",")[1] in ("a", "b")]
        return len(states) == 4 and all(state == "UP" for state in states)


class Load:
    """Clients that keep their connections, and note every answer that is not 200."""

    def __init__(self, ports):
        self.stop, self.failures, self.answers = threading.Event(), [], collections.Counter()
        self.lock, self.begun = threading.Lock(), time.monotonic()
        body = png(digits(1)[0])
        self.threads = [threading.Thread(target=self.client, args=(port, body)) for port in ports * (CLIENTS // len(ports))]
        for thread in self.threads:
            thread.start()

    def client(self, port, body):
        connection, count, failures = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE), 0, []
        while not self.stop.is_set():
            try:
                connection.request("POST", "/models/mnist-mlp/predict", body)
                answer = connection.getresponse()
                data = answer.read()
                outcome = answer.status
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                data, outcome = b"", repr(error)
            count += 1
            if outcome != 200:
                failures.append((round(time.monotonic() - self.begun, 3), port, outcome, data[:200]))
        with self.lock:
            self.failures += failures
            self.answers[port] += count

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def first_answers(replica, seen):
    """Asks a replica that starts until it is ready, and counts the statuses."""
    while not replica.is_ready():
        try:
            seen[ask(replica.port, "POST", "/models/mnist-mlp/predict", {"instances": []})[0]] += 1
            seen[ask(replica.port, "GET", "/models/mnist-mlp")[0]] += 1
        except (OSError, http.client.HTTPException):
            time.sleep(0.001)


def restarts(replicas, balancer, count, load, tally):
    """Restarts the replicas in turn."""
    codes, seen, slowest = collections.Counter(), collections.Counter(), 0.0
    for _ in range(count):
        for replica in replicas:
            begun = time.monotonic()
            codes[replica.stop()] += 1
            slowest = max(slowest, time.monotonic() - begun)
            replica.start()
            first_answers(replica, seen)
            until("the balancer sees both", balancer.sees_both)
            # The next one goes no sooner than the balancer has given this one work.
            time.sleep(0.5)
    load.end()
    asked = sum(load.answers.values())
    for failure in load.failures[:20]:
        print("failed:", failure)
    tally.check(f"{2 * count} restarts: 0 of {asked} requests failed", asked > 0 and not load.failures, len(load.failures))
    tally.check(f"every process ended with 0, after {slowest:.2f} s at most", codes == {0: 2 * count}, dict(codes))
    tally.check(f"while they started they answered {dict(seen)}", not seen[404], dict(seen))


def label(replicas, tally):
    """Labels predictions at the replica that did not answer, and once more at the one that did."""
    pictures, truth = digits(LABELLED), labels(LABELLED)
    states, wrong = collections.Counter(), []
    answered = []
    for number, picture in enumerate(pictures):
        home, other = replicas[number % 2], replicas[1 - number % 2]
        status, answer = ask(home.port, "POST", "/models/mnist-mlp/predict", png(picture))
        answered.append((home, other, answer["request_id"], truth[number]))
        if status != 200:
            wrong.append(answer)
    for home, other, identifier, value in answered:
        for replica in (other, home):
            status, answer = ask(replica.port, "POST", "/feedback", {"request_id": identifier, "label": value})
            states[answer.get("state", status)] += 1
            if status not in (200, 202):
                wrong.append((status, answer))
    tally.check(f"{2 * LABELLED} labels were taken: {dict(states)}", not wrong, wrong[:3])

    def figures(replica):
        versions = ask(replica.port, "GET", "/models/mnist-mlp/quality")[1]["versions"]
        return [(version["samples"], version["accuracy"]["judged"], version["accuracy"]["correct"]) for version in versions]

    until("labels that came before their prediction are joined", lambda: sum(one[0] for one in figures(replicas[0])) >= LABELLED)
    both = [figures(replica) for replica in replicas]
    tally.check(f"each is counted once, by both: {both[0]}", both[0] == both[1] and [one[0] for one in both[0]] == [LABELLED], both)


def promote(replicas, tally):
    """Moves an alias at one replica; the other follows the file."""
    one, other = replicas
    status, answer = ask(one.port, "POST", "/models/mnist-mlp/promote", {"alias": "canary", "version": 1})
    begun = time.monotonic()
    until("the other replica has the alias", lambda: ask(other.port, "GET", "/models/mnist-mlp")[1]["aliases"].get("canary") == 1)
    took = time.monotonic() - begun
    tally.check(f"an alias moved at one counts at the other {took:.2f} s later", status == 200, answer)


def psql(server, statement):
    subprocess.run(["psql", "--quiet", server, "--command", statement], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--database", default=os.environ.get("WEIR_TEST_POSTGRES"))
    options = parser.parse_args()
    if not options.database:
        parser.error("needs --database, or WEIR_TEST_POSTGRES")
    tally, name = Tally(), f"weir_replicas_{os.getpid()}"
    psql(options.database, f"create database {name}")
    database = options.database.rsplit("/", 1)[0] + "/" + name
    with tempfile.TemporaryDirectory() as folder:
        work, running = pathlib.Path(folder), []
        shutil.copytree(ROOT / "models/mnist-mlp/1", work / "models/mnist-mlp/1")
        ports = dict(zip(("a", "b", "http", "tcp", "state"), free_ports(5)))
        try:
            replicas = [Replica(os.path.abspath(options.binary), work, one, ports[one], database) for one in "ab"]
            running += replicas
            balancer = Balancer(work, ports)
            running.append(balancer)
            for replica in replicas:
                until("both are ready", replica.is_ready)
            until("the balancer sees both", balancer.sees_both)
            label(replicas, tally)
            promote(replicas, tally)
            load = Load([ports["http"], ports["tcp"]])
            restarts(replicas, balancer, options.restarts, load, tally)
        finally:
            for one in running:
                one.process.kill()
                one.process.wait()
            psql(options.database, f"drop database {name} with (force)")
    tally.close()


if __name__ == "__main__":
    main()
