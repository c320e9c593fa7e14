#!/usr/bin/env python3
"""Takes labels through Label Studio's own code: what weir exports is valid there, and what it exports is read here.

    python3 -m venv target/label-studio
    target/label-studio/bin/pip install label-studio-sdk
    target/label-studio/bin/python tests/conformance/label_studio.py target/release/weir

A server that keeps its inputs is asked about digits, and one about the rows of a table of prices. `weir feedback export
--format label-studio` makes a labelling interface and tasks of them: the SDK's LabelInterface validates both, the
predictions among them. They are annotated as Label Studio does, some twice, one skipped, one as ground truth, and its
converter writes JSON, JSON-MIN and CSV. `weir feedback import` must take each and count the same labels. It is run by hand:
the SDK brings some forty packages.
"""

import csv
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
# A script beside this one has the name of a module of Python, which the packages need.
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != FOLDER]

from label_studio_sdk.converter import Converter  # noqa: E402
from label_studio_sdk.label_interface import LabelInterface  # noqa: E402

sys.path.append(FOLDER)
import http.client  # noqa: E402

from served import Tally, Weir, digits, labels, png  # noqa: E402

COUNT = 12


def ask(server, method, path, body=None, media="application/json"):
    connection = http.client.HTTPConnection(server.addresses["address"], timeout=60)
    connection.request(method, path, body, {"content-type": media})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def weir(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def annotation(number, result, annotator=1, **more):
    """An annotation with every field that Label Studio gives one."""
    moment = f"2026-11-28T10:00:{number % 60:02}.123456Z"
    return {
        "id": number, "completed_by": annotator, "result": result, "was_cancelled": False, "ground_truth": False,
        "created_at": moment, "updated_at": moment, "draft_created_at": None, "lead_time": 2.5, "prediction": {},
        "result_count": len(result), "unique_id": f"u{number}", "import_id": None, "last_action": None, "bulk_created": False,
        "task": number, "project": 1, "updated_by": annotator, "parent_prediction": None, "parent_annotation": None,
        "last_created_by": None, **more,
    }


def annotated(tasks, region):
    """The tasks as Label Studio exports them once they are labelled: skipped, ground truth, and by two annotators."""
    for number, task in enumerate(tasks, 1):
        task["annotations"] = [annotation(number, [region(task)])]
        if number == 2:
            task["annotations"][0]["was_cancelled"] = True
        if number == 3:
            task["annotations"][0]["ground_truth"] = True
        if number == 4:
            task["annotations"].append(annotation(100 + number, [region(task)], annotator=2))
        task.update({"id": number, "drafts": [], "meta": {}, "project": 1, "inner_id": number, "total_annotations": 1})
    return tasks


def through(tally, binary, server, model, what, region, folder):
    """Exports, validates, annotates, converts and imports."""
    out = folder / what
    code, said = weir(binary, "feedback", "export", model, "--count", COUNT, "--format", "label-studio", "--out", out, "--server", server.base)
    tally.check(f"{what}: exported", code == 0, said)
    config, tasks = (out / "interface.xml").read_text(), json.loads((out / "tasks.json").read_text())
    interface = LabelInterface(config)
    try:
        interface.validate()
        tally.check(f"{what}: the interface is valid", True)
    except Exception as error:  # noqa: BLE001
        tally.check(f"{what}: the interface is valid", False, error)
    # With predictions its check of a task fails in itself; they are checked by themselves.
    bad = [task for task in tasks if not interface.validate_task({"data": task["data"]})]
    tally.check(f"{what}: {len(tasks)} tasks are valid", len(tasks) == COUNT and not bad, bad[:1])
    errors = [error for task in tasks for prediction in task["predictions"] for error in interface.validate_prediction(prediction, return_errors=True)]
    tally.check(f"{what}: so are their predictions", not errors, errors[:3])
    done = annotated(tasks, region)
    tally.check(f"{what}: and our annotations", all(interface.validate_annotation(one) for task in done for one in task["annotations"]))
    raw = folder / f"{what}.json"
    raw.write_text(json.dumps(done))
    converter = Converter(config, str(folder), download_resources=False)
    for form in ("JSON", "JSON_MIN", "CSV"):
        target = folder / f"{what}-{form}"
        converter.convert(str(raw), str(target), form, is_dir=False)
        file = next(path for path in sorted(target.rglob("*")) if path.is_file())
        # Everything is there after the first; JSON alone says what is ground truth.
        code, said = weir(binary, "feedback", "import", file, "--server", server.base, "--json")
        counts = json.loads(said) if code == 0 else {}
        taken = sum(counts.get(state, 0) for state in ("joined", "duplicate", "outvoted", "superseded"))
        tally.check(f"{what}: {form} is imported", code == 0 and taken == COUNT and counts.get("rejected") == 0, said[:500])
    quality = ask(server, "GET", f"/models/{model}/quality")[1]["versions"][0]
    tally.check(f"{what}: {COUNT - 1} samples have a truth", quality["samples"] == COUNT - 1, quality["samples"])
    gold = ask(server, "GET", f"/models/{model}/quality?source=gold")[1]["versions"][0]
    tally.check(f"{what}: one of them by ground truth", gold["samples"] == 1, gold["samples"])
    return quality


def prices(binary, folder):
    """A model of numbers, and rows to ask it about."""
    chance = random.Random(3)
    rows = [(round(chance.uniform(20, 200)), chance.choice(["flat", "house"])) for _ in range(400)]
    table = folder / "prices.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "kind", "price"])
        writer.writerows((size, kind, size * (3.0 if kind == "house" else 2.0)) for size, kind in rows)
    models = folder / "models"
    code, said = weir(binary, "train", "dense", "--data", table, "--target", "price", "--task", "regression", "--epochs", 3, "--model", "prices", "--models", models, "--runs", folder / "runs")
    if code:
        raise SystemExit(f"the model of prices cannot be trained: {said}")
    return models / "prices", rows


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    tally = Tally()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        folder, rows = prices(binary, work)
        server = Weir(binary, "--capture", "all", "--check-models=false", "--tune=false", more=lambda models: subprocess.run(["cp", "-r", str(folder), str(models)], check=True))
        try:
            pictures, truths = [png(pixels) for pixels in digits(40)], labels(40)
            known = {}
            for picture, truth in zip(pictures, truths):
                status, answer = ask(server, "POST", "/models/mnist-mlp/predict", picture, "image/png")
                assert status == 200, answer
                known[answer["request_id"]] = str(truth)
            of_picture = lambda task: {"id": "a", "from_name": "label", "to_name": "image", "type": "choices", "origin": "manual", "value": {"choices": [known[task["data"]["weir_request_id"]]]}}  # noqa: E731
            quality = through(tally, binary, server, "mnist-mlp", "digits", of_picture, work)
            tally.check("digits: an accuracy", "value" in quality["accuracy"], quality)
            for size, kind in rows[:40]:
                status, answer = ask(server, "POST", "/models/prices/predict", json.dumps({"instances": [{"size": size, "kind": kind}]}))
                assert status == 200, answer
            of_row = lambda task: {"id": "b", "from_name": "label", "to_name": "text", "type": "number", "origin": "manual", "value": {"number": 250.5}}  # noqa: E731
            quality = through(tally, binary, server, "prices", "prices", of_row, work)
            errors = quality.get("errors") or {}
            tally.check("prices: errors of the numbers", errors.get("mean_absolute_error", 0) > 0 and "bias" in errors, quality)
        finally:
            server.stop()
    tally.close()


if __name__ == "__main__":
    main()
