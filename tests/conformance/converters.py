#!/usr/bin/env python3
"""Serves pipelines of scikit-learn, xgboost and lightgbm, converted to ONNX by the usual converters, and
compares every answer with that of the Python library.

    tests/conformance/converters.py WEIR_BINARY [--onnxruntime LIBRARY] [--only NAME]...

Each pipeline is asked through /v2, through /v1 in columns and rows, and through /predict, in rows and by name
where it has several inputs. With the built-in engine all but a few must be served, and those say why not;
with ONNX Runtime, whose library is that of the package unless another is named, all of them.

Needs the packages skl2onnx, xgboost, lightgbm, onnxmltools, onnxruntime, pandas and requests.
"""

import argparse
import base64
import json
import pathlib

import numpy as np
import onnxruntime
import requests

import pipelines
from served import Tally, Weir

# The pipelines that the built-in engine refuses, with what it must say; the list only shrinks.
REFUSED = {}
KINDS = {"f": "FP32", "i": "INT64", "U": "BYTES"}


def columns(case):
    return {name: values.tolist() for name, values in case.inputs.items()}


def rows(case):
    """Returns the samples one by one: bare for a model of one input, else by name."""
    given = columns(case)
    if len(given) == 1:
        return next(iter(given.values()))
    return [{name: given[name][row] for name in given} for row in range(pipelines.ROWS)]


def differs(case, answers):
    """Returns how answers by name differ from the right ones, or None."""
    if set(answers) != set(case.outputs):
        return f"outputs {sorted(answers)}, expected {sorted(case.outputs)}"
    for name, want in case.outputs.items():
        got = np.asarray(answers[name])
        if want.dtype.kind in "fiub":
            got = got.reshape(want.shape) if got.size == want.size else got
            if got.shape != want.shape or not np.allclose(got.astype(float), want.astype(float), rtol=1e-4, atol=case.tolerance):
                return f"{name} is {got.tolist()}, expected {want.tolist()}"
        elif [str(text) for text in got.ravel()] != [str(text) for text in want.ravel()]:
            return f"{name} is {got.tolist()}, expected {want.tolist()}"
    return None


def texts(values):
    """Returns TensorFlow Serving's values, in which texts of some names are in base64."""
    if isinstance(values, list):
        return [texts(value) for value in values]
    if isinstance(values, dict) and list(values) == ["b64"]:
        return base64.b64decode(values["b64"]).decode()
    return values


def post(url, body):
    """Posts JSON with Python's words for missing numbers, which `requests` would refuse."""
    return requests.post(url, data=json.dumps(body), headers={"content-type": "application/json"}, timeout=30)


def by_oip(url, name, case):
    inputs = [
        {"name": key, "shape": list(values.shape), "datatype": KINDS[values.dtype.kind], "data": values.ravel().tolist()}
        for key, values in case.inputs.items()
    ]
    answer = post(f"{url}/v2/models/{name}/infer", {"inputs": inputs})
    if answer.status_code != 200:
        return answer.text
    return differs(case, {output["name"]: np.asarray(output["data"]).reshape(output["shape"]) for output in answer.json()["outputs"]})


def by_columns(url, name, case):
    answer = post(f"{url}/v1/models/{name}:predict", {"inputs": columns(case)})
    if answer.status_code != 200:
        return answer.text
    outputs = answer.json()["outputs"]
    if len(case.outputs) == 1:
        outputs = {next(iter(case.outputs)): outputs}
    return differs(case, {key: texts(values) for key, values in outputs.items()})


def by_rows(url, name, case):
    answer = post(f"{url}/v1/models/{name}:predict", {"instances": rows(case)})
    if answer.status_code != 200:
        return answer.text
    predictions = answer.json()["predictions"]
    if len(case.outputs) == 1:
        predictions = [{next(iter(case.outputs)): row} for row in predictions]
    return differs(case, {key: [texts(row[key]) for row in predictions] for key in predictions[0]})


def by_predict(url, name, case, body):
    answer = post(f"{url}/models/{name}/predict", body)
    if answer.status_code != 200:
        return answer.text
    predictions = answer.json()["predictions"]
    if len(predictions) != pipelines.ROWS:
        return f"{len(predictions)} predictions"
    if "outputs" in predictions[0]:
        return differs(case, {key: [row["outputs"][key] for row in predictions] for key in predictions[0]["outputs"]})
    # Of a classifier with labels: the best class and its probability.
    label, shares = case.outputs.values()
    for row, want, share in zip(predictions, label, shares.max(axis=1)):
        if row["label"] != str(want) or abs(row["confidence"] - share) > case.tolerance:
            return f"{row}, expected {want} with {share}"
    return None


def ask(url, name, case):
    """Returns what went wrong in any protocol, or None."""
    ways = {
        "/v2": lambda: by_oip(url, name, case),
        "/v1 in columns": lambda: by_columns(url, name, case),
        "/v1 in rows": lambda: by_rows(url, name, case),
        "/predict in rows": lambda: by_predict(url, name, case, {"instances": rows(case)}),
        "/predict in columns": lambda: by_predict(url, name, case, {"inputs": columns(case)}),
    }
    has_gaps = any(values.dtype.kind == "f" and np.isnan(values).any() for values in case.inputs.values())
    for way, asked in ways.items():
        if has_gaps and way.startswith("/predict"):
            # It takes no words for missing numbers.
            continue
        problem = asked()
        if problem is not None:
            return f"{way}: {problem}"
    return None


def serve(tally, binary, engine, cases, *arguments):
    weir = Weir(binary, "--engine", engine, *arguments, models={name: case.onnx for name, case in cases.items()})
    served = 0
    try:
        for name, case in cases.items():
            version = requests.get(f"{weir.base}/models/{name}", timeout=30).json()["versions"][0]
            if version["state"] == "AVAILABLE":
                served += 1
                problem = ask(weir.base, name, case)
                tally.check(f"{engine}: {name}", problem is None, problem)
            else:
                reason = version.get("reason", "")
                is_meant = engine == "tract" and name in REFUSED and REFUSED[name] in reason
                tally.check(f"{engine}: {name} is refused: {reason}", is_meant)
        check_labels(tally, weir, engine, cases)
    finally:
        code = weir.stop()
    tally.check(f"{engine}: the server ended cleanly", code == 0, code)
    print(f"      {engine}: {served} of {len(cases)} pipelines served")


def check_labels(tally, weir, engine, cases):
    """Checks that the classes of a ZipMap are the labels of its output."""
    name = "logistic-words-zipmap"
    if name not in cases:
        return
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": cases[name].inputs["x"][0].tolist()}]}
    body["outputs"] = [{"name": "output_probability", "parameters": {"classification": 1}}]
    answer = post(f"{weir.base}/v2/models/{name}/infer", body)
    data = answer.json().get("outputs", [{}])[0].get("data", [""])
    tally.check(f"{engine}: classes have their names", data[0].endswith(":setosa"), answer.text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--onnxruntime", help="the library of ONNX Runtime")
    parser.add_argument("--only", action="append", help="a pipeline, instead of all of them")
    arguments = parser.parse_args()
    library = arguments.onnxruntime
    if library is None:
        library = str(next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")))
    tally = Tally()
    cases = {name: pipelines.make(name) for name in arguments.only or pipelines.CASES}
    serve(tally, arguments.binary, "tract", cases)
    serve(tally, arguments.binary, "onnxruntime", cases, "--onnxruntime", library)
    tally.close()


if __name__ == "__main__":
    main()
