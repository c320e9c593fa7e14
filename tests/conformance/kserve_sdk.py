#!/usr/bin/env python3
"""Tests a running weir with the client of KServe's own SDK, in both of its protocols.

    tests/conformance/kserve_sdk.py WEIR_BINARY

Needs the package kserve (about 450 MB with its dependencies).
"""

import asyncio
import base64
import sys

import httpx
import numpy
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

from served import Tally, Weir, digits, labels, png

MODEL = "mnist-mlp"


async def first_protocol(check, base, images, truth):
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    check("v1: model ready", await client.is_model_ready(base, MODEL) is True)
    try:
        await client.is_model_ready(base, "none")
        check("v1: an unknown model is not ready", False)
    except httpx.HTTPStatusError as error:
        check("v1: an unknown model is not ready", error.response.status_code == 404, str(error))
    answer = await client.infer(base, {"instances": images}, model_name=MODEL)
    best = [int(numpy.argmax(row["probabilities"])) for row in answer["predictions"]]
    check("v1: infer", best == truth, best)
    encoded = [{"image": {"b64": base64.b64encode(png(image)).decode()}} for image in images]
    answer = await client.infer(base, {"instances": encoded}, model_name=MODEL)
    best = [int(numpy.argmax(row["probabilities"])) for row in answer["predictions"]]
    check("v1: infer from images", best == truth, best)
    explained = await client.explain(base, MODEL, {"instances": images})
    check("v1: explain", len(explained["explanations"]) == len(images), str(explained)[:200])
    for what, code, call in [
        ("v1: wrong input", 400, client.infer(base, {"instances": [[1]]}, model_name=MODEL)),
        ("v1: nothing to explain", 400, client.explain(base, MODEL, {"instances": [[1]]})),
    ]:
        try:
            await call
            check(what, False)
        except httpx.HTTPStatusError as error:
            check(what, error.response.status_code == code and "error" in error.response.json(), str(error))
    await client.close()


async def second_protocol(check, base, images, truth):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    check("v2: server live", await client.is_server_live(base))
    check("v2: server ready", await client.is_server_ready(base))
    check("v2: model ready", await client.is_model_ready(base, MODEL))
    check("v2: an unknown model is not ready", not await client.is_model_ready(base, "none"))
    pixels = numpy.array(images, dtype=numpy.float32).reshape(-1, 1, 28, 28)
    for binary in (False, True):
        given = InferInput("image", list(pixels.shape), "FP32")
        given.set_data_from_numpy(pixels, binary_data=binary)
        answer = await client.infer(base, InferRequest(MODEL, [given]), model_name=MODEL)
        output = next(output for output in answer.outputs if output.name == "probabilities")
        best = [int(digit) for digit in output.as_numpy().reshape(-1, 10).argmax(axis=1)]
        check(f"v2: infer, {'binary' if binary else 'JSON'}", best == truth, best)
    await client.close()


async def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    tally, weir = Tally(), Weir(sys.argv[1])
    images, truth = digits(10), labels(10)
    try:
        listed = httpx.get(f"{weir.base}/v1/models").json()
        tally.check("v1: list of models", listed == {"models": [MODEL]}, listed)
        await first_protocol(tally.check, weir.base, images, truth)
        await second_protocol(tally.check, weir.base, images, truth)
    finally:
        code = weir.stop()
    tally.check("the server ended cleanly", code == 0, code)
    tally.close()


if __name__ == "__main__":
    asyncio.run(main())
