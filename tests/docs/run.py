#!/usr/bin/env python3
"""Runs every command of a Markdown file, as a reader would, from the root of the repository.

Fenced blocks marked `sh` run one after the other, each with `bash -eu`. Blocks marked
`sh background` start a server, which is awaited until it is ready and stopped at the end. Blocks
marked `sh container` run only with --container. Blocks marked `python run` run with the `python3`
of the PATH; the first one is prepended to all others. The script stops at the first failure.

    tests/docs/run.py README.md [--container] [--skip TEXT]...
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

READY = "http://127.0.0.1:8080/readyz"
PATIENCE_SECONDS = 2400


def blocks(text):
    """Returns the fenced blocks as (info string, body)."""
    return re.findall(r"^```(sh[^\n]*|python run)\n(.*?)^```", text, re.M | re.S)


def fail_on_http_errors(folder):
    """Puts a curl into the folder that fails on a 4xx or 5xx answer, which a reader would notice."""
    real, shim = shutil.which("curl"), os.path.join(folder, "curl")
    with open(shim, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {real} --fail-with-body --silent --show-error "$@"\n')
    os.chmod(shim, 0o755)


def wait_until_ready(process):
    for _ in range(PATIENCE_SECONDS):
        if process.poll() is not None:
            sys.exit(f"FAIL  the background command ended with {process.returncode}")
        try:
            with urllib.request.urlopen(READY, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(1)
    sys.exit("FAIL  the background command never became ready")


def wait_until_gone():
    """Waits until nothing listens: a server that drains keeps its port after its command has ended."""
    for _ in range(60):
        try:
            socket.create_connection(("127.0.0.1", 8080), timeout=1).close()
        except OSError:
            return
        time.sleep(1)
    sys.exit("FAIL  the server does not release its port")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--container", action="store_true")
    parser.add_argument("--skip", action="append", default=[], help="leave out blocks that contain this")
    args = parser.parse_args()
    tools = tempfile.TemporaryDirectory()
    environment = dict(os.environ, PATH=f"{tools.name}:{os.getcwd()}/target/release:{os.environ['PATH']}")
    fail_on_http_errors(tools.name)
    with open(args.file, encoding="utf-8") as file:
        found = blocks(file.read())
    background, ran, preamble = [], 0, ""
    try:
        for info, body in found:
            kind = info.removeprefix("sh").strip()
            if (kind == "container") != args.container or any(skip in body for skip in args.skip):
                continue
            print(f"== {args.file}: {body.strip()}", flush=True)
            command = ["bash", "-euo", "pipefail", "-c", body]
            if info == "python run":
                command = ["python3", "-c", preamble + body]
                preamble = preamble or body
            if kind == "background":
                process = subprocess.Popen(command, env=environment, start_new_session=True)
                background.append(process)
                wait_until_ready(process)
            elif subprocess.run(command, env=environment, check=False).returncode != 0:
                sys.exit(f"FAIL  {body.strip()}")
            print(flush=True)
            ran += 1
    finally:
        for process in background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)
            wait_until_gone()
    if ran == 0:
        sys.exit(f"FAIL  {args.file} holds no blocks to run")
    print(f"ok    {ran} blocks of {args.file}")


if __name__ == "__main__":
    main()
