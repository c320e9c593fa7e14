#!/usr/bin/env python3
"""Lets a running weir meet a full disk at every step of writing, over and over, and sees that it recovers by itself.

    tests/conformance/full_disk.py WEIR_BINARY [--steps 120] [--seed 1]

The system refuses to let a file grow beyond a limit, which is moved while the server runs: in steps of a part of a page
from what the database and its log of changes have now, and to random places below that. At each place the server is asked
for predictions and told labels. No prediction may fail; a label is taken, waits, or is refused with 507 or 503; and once
the limit is gone, labels are taken within seconds, without a restart. In the end every label that was acknowledged is
there, and `weir database check` finds the database whole. Some limits are above all that is written under them; a run that
met fewer than a third of them shows too little, and fails.

Needs Linux (prlimit) and the Python standard library.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(os.path.dirname(__file__))
from served import ROOT, Tally  # noqa: E402

PICTURE = json.dumps({"instances": [[[[0.0] * 28 for _ in range(28)]]]})
JSON = {"content-type": "application/json"}
LABELS = 8
PATIENCE = 20


class Server:
    """A weir whose files may be limited while it runs."""

    def __init__(self, binary, work):
        shutil.copytree(ROOT / "models" / "mnist-mlp" / "1", work / "models" / "m" / "1")
        self.state = work / "state"
        command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "off", "--models", str(work / "models")]
        command += ["--state-dir", str(self.state), "--check-models=false", "--tune=false", "--log-format", "json"]
        command += ["--probe-interval-seconds", "0"]
        # A write beyond the limit is to fail, as on a full disk, and not to end the process.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, restore_signals=False)
        for line in self.process.stderr:
            entry = json.loads(line)
            if "address" in entry:
                self.address = entry["address"]
            if entry["message"].startswith("ready: open"):
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.connection = http.client.HTTPConnection(self.address, timeout=60)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body, JSON)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def limit(self, most):
        """Lets files grow up to this size; to any without one."""
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if most is None else most, hard))

    def sizes(self):
        """The sizes of the database and of its log of changes."""
        size = lambda name: (self.state / name).stat().st_size if (self.state / name).exists() else 0  # noqa: E731
        return size("weir.db"), size("weir.db-wal")


def places(steps, chance, server):
    """Limits at which the next writes fail: each step of the next transactions, and anywhere."""
    for step in range(steps):
        # A frame of the log is a head of 24 bytes and a page.
        yield max(server.sizes()) + step % 60 * 1030
        if step % 2:
            yield chance.randrange(max(server.sizes()) + 4096)


def at_a_limit(server, tally, seen, acknowledged):
    """Asks and labels; notes what is acknowledged."""
    for _ in range(LABELS):
        status, answer = server.ask("POST", "/predict", PICTURE)
        if status != 200:
            tally.check("a prediction is answered", False, (status, answer))
            return
        identifier = answer["request_id"]
        status, answer = server.ask("POST", "/feedback", json.dumps({"request_id": identifier, "label": 0}))
        seen[status] += 1
        if status in (200, 202):
            acknowledged.append((identifier, status))
        elif status not in (503, 507) or "nothing was kept" not in answer["detail"]:
            tally.check("a label is taken, waits or is refused", False, (status, answer))


def recovers(server):
    """Returns whether labels are taken again."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        identifier = server.ask("POST", "/predict", PICTURE)[1]["request_id"]
        if server.ask("POST", "/feedback", json.dumps({"request_id": identifier, "label": 0}))[0] == 200:
            return True
        time.sleep(0.05)
    return False


def is_there(server, identifier, status):
    """Returns whether a label that was acknowledged counts; one that waited may wait for a prediction that was dropped."""
    found, body = server.ask("GET", f"/predictions/{identifier}")
    if found != 200:
        return status == 202
    return sum(label["counts"] for label in body["items"][0]["labels"]) == 1


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--steps", type=int, default=120)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    tally, seen, acknowledged = Tally(), collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(options.binary, pathlib.Path(folder))
        met = 0
        for place in places(options.steps, random.Random(options.seed), server):
            refused = seen[503] + seen[507]
            server.limit(place)
            at_a_limit(server, tally, seen, acknowledged)
            server.limit(None)
            met += seen[503] + seen[507] > refused
            if not recovers(server):
                tally.check(f"it recovers from a limit of {place} bytes", False)
                break
        print(f"      {met} limits were met; answers to labels: {dict(sorted(seen.items()))}")
        tally.check("at least a third of the limits were met", met * 3 >= options.steps, met)
        lost = [identifier for identifier, status in acknowledged if not is_there(server, identifier, status)]
        tally.check(f"{len(acknowledged)} labels that were acknowledged are there", not lost, lost[:3])
        server.process.terminate()
        tally.check("it ends with 0", server.process.wait(timeout=60) == 0)
        check = subprocess.run([options.binary, "database", "check", "--state-dir", str(server.state)], capture_output=True, text=True, check=False)
        tally.check("the database is whole", check.returncode == 0, check.stdout + check.stderr)
    tally.close()


if __name__ == "__main__":
    main()
