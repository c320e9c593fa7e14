#!/usr/bin/env python3
"""Tests TensorFlow Serving's REST API of a running weir with `requests`, as its users do: statuses,
headers, JSON and messages.

    tests/conformance/tfs_rest.py WEIR_BINARY

Needs the package requests.
"""

import base64
import json
import math
import sys

import requests

from served import Tally, Weir, alike, digits, labels, png

MODEL = "mnist-mlp"


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    tally, weir = Tally(), Weir(sys.argv[1], "--cors")
    check, models = tally.check, f"{weir.base}/v1/models"
    try:
        session = requests.Session()
        images, truth = digits(20), labels(20)
        encoded = [{"b64": base64.b64encode(png(image)).decode()} for image in images]

        def post(path, body):
            # As in TensorFlow Serving's documentation: a string, without a content type.
            return session.post(f"{models}/{path}", data=json.dumps(body))

        answer = session.get(f"{models}/{MODEL}")
        status = answer.json()["model_version_status"][0]
        check("model status", answer.status_code == 200 and status["state"] == "AVAILABLE", answer.text)
        check("a version is a string", status["version"] == "1" and status["status"] == {"error_code": "OK", "error_message": ""}, status)
        check("status of a version", session.get(f"{models}/{MODEL}/versions/1").json() == answer.json())
        metadata = session.get(f"{models}/{MODEL}/metadata").json()
        signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
        check("metadata: spec", metadata["model_spec"] == {"name": MODEL, "signature_name": "", "version": "1"}, metadata["model_spec"])
        check("metadata: input", signature["inputs"]["image"]["dtype"] == "DT_FLOAT", signature["inputs"])
        check("metadata: shape", [dim["size"] for dim in signature["inputs"]["image"]["tensor_shape"]["dim"]] == ["-1", "1", "28", "28"])
        check("metadata: method", signature["method_name"] == "tensorflow/serving/predict")

        def best(prediction):
            probabilities = prediction["probabilities"]
            return max(range(10), key=probabilities.__getitem__)

        rows = [[[image[y * 28 : (y + 1) * 28] for y in range(28)]] for image in images]
        by_rows = post(f"{MODEL}:predict", {"instances": rows})
        check("predict in rows", by_rows.status_code == 200 and [best(row) for row in by_rows.json()["predictions"]] == truth)
        check("content type", by_rows.headers["content-type"] == "application/json", by_rows.headers)
        check("pretty printed", by_rows.text.startswith('{\n    "predictions": [\n        {\n            "logits": ['), by_rows.text[:60])
        by_name = post(f"{MODEL}/versions/1:predict", {"signature_name": "serving_default", "instances": [{"image": row} for row in rows]})
        check("predict in rows by name, of a version", alike(by_name.json(), by_rows.json()))
        columns = post(f"{MODEL}:predict", {"inputs": {"image": rows}}).json()["outputs"]
        check("predict in columns", alike(columns["probabilities"], [row["probabilities"] for row in by_rows.json()["predictions"]]))
        check("columns without a name", alike(post(f"{MODEL}:predict", {"inputs": rows}).json()["outputs"], columns))
        check("images in base64", [best(row) for row in post(f"{MODEL}:predict", {"instances": encoded}).json()["predictions"]] == truth)
        classified = post(f"{MODEL}:classify", {"examples": [{"image": image} for image in encoded]}).json()["results"]
        check("classify images", [max(classes, key=lambda pair: pair[1])[0] for classes in classified] == [str(digit) for digit in truth])
        classified = post(f"{MODEL}:classify", {"context": {"image": images[0]}, "examples": [{}, {"image": images[1]}]}).json()["results"]
        check("classify numbers with a context", [max(classes, key=lambda pair: pair[1])[0] for classes in classified] == [str(digit) for digit in truth[:2]])
        largest = max(abs(sum(pair[1] for pair in classes) - 1) for classes in classified)
        check("scores are probabilities", largest < 1e-5, largest)

        body = json.dumps({"instances": [[float("nan")] * 784, [float("inf")] * 784]})
        check("Python writes words", "NaN" in body and "Infinity" in body)
        words = session.post(f"{models}/{MODEL}:predict", data=body)
        values = [value for row in words.json()["predictions"] for value in row["logits"]]
        check("words both ways", words.status_code == 200 and any(math.isnan(value) for value in values), words.text[:200])

        for what, path, body, code, text in [
            ("unknown model", "none:predict", {}, 404, "Servable not found for request: Latest(none)"),
            ("unknown version", f"{MODEL}/versions/9:predict", {}, 404, f"Servable not found for request: Specific({MODEL}, 9)"),
            ("unknown label", f"{MODEL}/labels/canary:predict", {}, 400, "Unrecognized servable version label: canary"),
            ("unknown verb", f"{MODEL}:forecast", {}, 400, f"Malformed request: POST /v1/models/{MODEL}:forecast"),
            ("neither rows nor columns", f"{MODEL}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
            ("no rows", f"{MODEL}:predict", {"instances": []}, 400, "No values in 'instances' array"),
            ("wrong shape", f"{MODEL}:predict", {"instances": [[1, 2]]}, 400, "got the shape [2]"),
            ("wrong type", f"{MODEL}:predict", {"instances": [["one"]]}, 400, "expected a number"),
            ("unknown signature", f"{MODEL}:predict", {"signature_name": "x", "instances": rows}, 400, 'Serving signature name: "x" not found in signature def'),
            ("no regression", f"{MODEL}:regress", {"examples": [{}]}, 400, "Expected regression signature method_name to be tensorflow/serving/regress."),
            ("no examples", f"{MODEL}:classify", {"examples": []}, 400, "'examples' value is an empty array"),
            ("nothing to explain", f"{MODEL}:explain", {}, 400, "Missing 'inputs' or 'instances' key"),
        ]:
            answer = post(path, body)
            check(f"refused: {what}", answer.status_code == code and list(answer.json()) == ["error"] and text in answer.json()["error"], answer.text)
        answer = session.get(f"{models}/none")
        check("refused: status of an unknown model", answer.status_code == 404 and answer.json() == {"error": "Could not find any versions of model none"}, answer.text)

        moved = session.post(f"{weir.base}/models/{MODEL}/promote", json={"alias": "canary", "version": 1})
        check("an alias is a label", moved.status_code == 200 and post(f"{MODEL}/labels/canary:predict", {"instances": encoded}).status_code == 200, moved.text)
        preflight = session.options(f"{models}/{MODEL}:predict", headers={"Origin": "http://example.org"})
        check("other origins", preflight.status_code == 200 and preflight.headers["access-control-allow-origin"] == "*", preflight.headers)
        metrics = session.get(f"{weir.base}/monitoring/prometheus/metrics").text
        check("metrics", 'weir_http_requests_total{outcome="200",protocol="tfserving"}' in metrics)
        check("alive after all", session.get(f"{weir.base}/livez").status_code == 200)
    finally:
        code = weir.stop()
    check("the server ended cleanly", code == 0, code)
    tally.close()


if __name__ == "__main__":
    main()
