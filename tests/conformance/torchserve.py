#!/usr/bin/env python3
"""Tests TorchServe's inference and management APIs of a running weir with `requests`, as its examples
do.

    tests/conformance/torchserve.py WEIR_BINARY

Needs the package requests.
"""

import base64
import json
import sys

import requests

from served import Tally, Weir, alike, digits, labels, png

MODEL = "mnist-mlp"


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    tally, weir = Tally(), Weir(sys.argv[1], "--torchserve-management", "127.0.0.1:0")
    check, management = tally.check, f"http://{weir.addresses['management']}"
    try:
        session = requests.Session()
        images, truth = digits(20), labels(20)
        files = [png(image) for image in images]
        predictions = f"{weir.base}/predictions/{MODEL}"

        check("ping", session.get(f"{weir.base}/ping").json() == {"status": "Healthy"})
        answers = [session.post(predictions, data=file) for file in files]
        first = [next(iter(answer.json())) for answer in answers]
        check("raw images", first == [str(digit) for digit in truth], first)
        check("five labels, best first", all(len(answer.json()) == 5 and list(answer.json().values()) == sorted(answer.json().values(), reverse=True) for answer in answers))
        check("content type", answers[0].headers["content-type"] == "application/json")
        expected = answers[0].json()
        check("PUT, as curl -T does", alike(session.put(predictions, data=files[0]).json(), expected))
        check("a form", alike(session.post(predictions, files={"data": files[0]}).json(), expected))
        check("a version", alike(session.post(f"{predictions}/1.0", data=files[0]).json(), expected))
        check("base64 in JSON", alike(session.post(predictions, json={"data": base64.b64encode(files[0]).decode()}).json(), expected))
        check("numbers in JSON", alike(session.post(predictions, json=images[0]).json(), expected))
        several = session.post(predictions, json=images[:2]).json()
        check("several in JSON", [next(iter(answer)) for answer in several] == first[:2], several)
        for what, answer, code, kind in [
            ("unknown model", session.post(f"{weir.base}/predictions/none", data=b"x"), 404, "ModelNotFoundException"),
            ("unknown version", session.post(f"{predictions}/9", data=files[0]), 404, "ModelNotFoundException"),
            ("no image", session.post(predictions, data=b"text"), 415, "BadRequestException"),
            ("no part", session.post(predictions, files={"other": files[0]}), 400, "BadRequestException"),
            ("wrong method", session.patch(predictions), 405, "MethodNotAllowedException"),
            ("no explanation of an unknown model", session.post(f"{weir.base}/explanations/none", data=files[0]), 404, "ModelNotFoundException"),
        ]:
            body = answer.json()
            check(f"refused: {what}", answer.status_code == code == body["code"] and body["type"] == kind and body["message"], answer.text)
        explained = session.post(f"{weir.base}/explanations/{MODEL}", data=files[0]).json()
        check("an explanation", len(explained["attributions"]) == 49 and explained["score"]["better_than_random"], str(explained)[:200])
        description = session.options(weir.base + "/").json()
        check("description", description["openapi"].startswith("3."), json.dumps(description)[:80])
        listed = session.get(f"{management}/models").json()
        check("management: list", [model["modelName"] for model in listed["models"]] == [MODEL], listed)
        described = session.get(f"{management}/models/{MODEL}").json()
        check("management: describe", described[0]["modelVersion"] == "1" and described[0]["workers"][0]["status"] == "READY", described)
        check("management: all versions", session.get(f"{management}/models/{MODEL}/all").json() == described)
        refused = session.post(f"{management}/models?url=x.mar")
        check("management changes nothing", refused.status_code == 405 and refused.json()["type"] == "MethodNotAllowedException", refused.text)
        check("alive after all", session.get(f"{weir.base}/livez").status_code == 200)
    finally:
        code = weir.stop()
    check("the server ended cleanly", code == 0, code)
    tally.close()


if __name__ == "__main__":
    main()
