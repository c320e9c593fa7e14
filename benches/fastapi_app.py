"""The usual Python answer to the same task, tuned: FastAPI, ONNX Runtime and Pillow.

One compute thread in each worker process, since the workers already share the cores; the handler
runs on the event loop, because this model is cheaper than a hop to a thread; the answer is written
without response models. WEIR_BENCH_MODEL names the ONNX file.
"""

import io
import json
import os

import numpy
import onnxruntime
from fastapi import FastAPI, Request, Response
from PIL import Image

try:
    from orjson import dumps
except ImportError:

    def dumps(value):
        return json.dumps(value, separators=(",", ":")).encode()


TOP_K = 3

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
session = onnxruntime.InferenceSession(os.environ["WEIR_BENCH_MODEL"], options, providers=["CPUExecutionProvider"])

app = FastAPI(openapi_url=None)


@app.get("/readyz")
async def readyz():
    return Response(b"{}", media_type="application/json")


@app.post("/predict")
async def predict(request: Request):
    try:
        image = Image.open(io.BytesIO(await request.body()), formats=("PNG", "JPEG"))
        if image.mode != "L":
            image = image.convert("L")
        pixels = numpy.asarray(image, dtype=numpy.float32).reshape(1, 1, 28, 28)
    except (OSError, ValueError) as error:
        return Response(dumps({"detail": str(error)}), status_code=422, media_type="application/json")
    probabilities = session.run(["probabilities"], {"image": pixels})[0][0]
    best = numpy.argsort(probabilities)[: -TOP_K - 1 : -1].tolist()
    values = probabilities.tolist()
    top_k = [{"class": index, "label": str(index), "confidence": values[index]} for index in best]
    return Response(dumps({"predictions": [{**top_k[0], "top_k": top_k}]}), media_type="application/json")
