#!/usr/bin/env python3
"""Kills a running weir with SIGKILL while labels are on their way, over and over, and looks for lost ones.

    tests/conformance/kill_9.py WEIR_BINARY [--rounds 200] [--seed 1] [--database postgres://…]

Each round starts the server on the same state folder, asks for predictions, labels them from four connections, and
kills it at a random moment. After the next start every label that was acknowledged must be there, and the live sums must
be those of the labels that are there: none half applied. Needs only the Python standard library.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

CLIENTS = 4
PREDICTIONS = 60
PICTURE = json.dumps({"instances": [[[[0.0] * 28 for _ in range(28)]]]})
JSON = {"content-type": "application/json"}


class Server:
    """A weir of its own process, ready to answer."""

    def __init__(self, binary, models, state, database):
        command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "off", "--models", models, "--state-dir", state]
        command += ["--check-models=false", "--tune=false", "--log-format", "json", "--probe-interval-seconds", "0"]
        command += ["--database", database] if database else []
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.address = None
        for line in self.process.stderr:
            log = json.loads(line)
            self.address = log.get("address") or log.get("fields", {}).get("address")
            if self.address:
                break
        if not self.address:
            sys.exit(f"FAIL  the server does not start: {self.process.wait()}")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        while self.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.01)

    def connection(self):
        return http.client.HTTPConnection(self.address, timeout=60)

    def ask(self, method, path, body=None):
        connection = self.connection()
        connection.request(method, path, body, JSON)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def kill(self):
        self.process.kill()
        self.process.wait()


def label_all(server, ids, acknowledged, problems):
    """Labels predictions until the server is gone; notes which labels it has acknowledged."""
    connection = server.connection()
    for identifier in ids:
        try:
            connection.request("POST", "/feedback", json.dumps({"request_id": identifier, "label": 0}), JSON)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return
        if answer.status == 200:
            acknowledged.append(identifier)
        else:
            problems.append(f"{identifier}: {answer.status} {body[:200]}")


def one_round(server, chance):
    """Returns the predictions of a round, and those whose label was acknowledged before the server was killed."""
    connection, ids = server.connection(), []
    for _ in range(PREDICTIONS):
        connection.request("POST", "/predict", PICTURE, JSON)
        ids.append(json.loads(connection.getresponse().read())["request_id"])
    acknowledged, problems = [], []
    begun = time.monotonic()
    clients = [
        threading.Thread(target=label_all, args=(server, ids[number::CLIENTS], acknowledged, problems))
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    # A commit takes about a millisecond: every moment of one is met.
    moment = chance.uniform(0, 0.03)
    while time.monotonic() - begun < moment:
        pass
    server.kill()
    for client in clients:
        client.join()
    return ids, acknowledged, problems


def labels_of(server, identifier):
    """Returns how many labels of a prediction count, and whether they have decided what is true of it."""
    status, body = server.ask("GET", f"/predictions/{identifier}")
    if status == 404:
        # The server died before the record of the prediction was written, and nobody has labelled it.
        return 0, False
    item = body["items"][0]
    return sum(label["counts"] for label in item["labels"]), "outcome" in item


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--rounds", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--database", help="an empty PostgreSQL database, instead of a file")
    options = arguments.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        models, state = os.path.join(folder, "models"), os.path.join(folder, "state")
        shutil.copytree(os.path.join(os.path.dirname(__file__), "../../models/mnist-mlp"), os.path.join(models, "m"))
        asked, acknowledged, present = 0, 0, 0
        for number in range(options.rounds):
            server = Server(options.binary, models, state, options.database)
            ids, known, problems = one_round(server, chance)
            if problems:
                sys.exit(f"FAIL  round {number}: {problems[0]}")
            server = Server(options.binary, models, state, options.database)
            known = set(known)
            for identifier in ids:
                labels, is_decided = labels_of(server, identifier)
                if identifier in known and labels != 1:
                    sys.exit(f"FAIL  round {number}: the acknowledged label of {identifier} is lost ({labels} are there)")
                if (labels == 1) != is_decided:
                    sys.exit(f"FAIL  round {number}: the label of {identifier} is half applied")
                present += labels
            asked, acknowledged = asked + len(ids), acknowledged + len(known)
            # A server that died at once has kept nothing, and knows of no version.
            versions = server.ask("GET", "/models/m/quality")[1]["versions"]
            judged = versions[0].get("accuracy", {}).get("judged", 0) if versions else 0
            if judged != present:
                sys.exit(f"FAIL  round {number}: {present} labels are there, the sums say {judged}")
            server.kill()
    print(f"ok    {options.rounds} kills: {asked} predictions, {acknowledged} labels acknowledged, all of them there; "
          f"{present - acknowledged} more were kept before their answer was sent; sums equal what is there")


if __name__ == "__main__":
    main()
