"""The usual Python answer to photos, tuned: FastAPI, Pillow, NumPy, ONNX Runtime.

One compute thread in each worker process, since the workers already share the cores. WEIR_BENCH_MODEL names an ONNX file
with an input [N, 3, 224, 224] and an output of probabilities. The transform is torchvision's for ImageNet.
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


SIDE, SHORTEST, TOP_K = 224, 256, 3
MEAN = numpy.float32([0.485, 0.456, 0.406])[:, None, None]
STD = numpy.float32([0.229, 0.224, 0.225])[:, None, None]

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
session = onnxruntime.InferenceSession(os.environ["WEIR_BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
INPUT, OUTPUT = session.get_inputs()[0].name, session.get_outputs()[0].name

app = FastAPI(openapi_url=None)


def tensor(file):
    image = Image.open(io.BytesIO(file), formats=("PNG", "JPEG")).convert("RGB")
    width, height = image.size
    size = (SHORTEST, SHORTEST * height // width) if width <= height else (SHORTEST * width // height, SHORTEST)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((image.width - SIDE) / 2), round((image.height - SIDE) / 2)
    pixels = numpy.asarray(image.crop((left, top, left + SIDE, top + SIDE)), dtype=numpy.float32)
    return ((pixels.transpose(2, 0, 1) / 255 - MEAN) / STD)[None]


@app.get("/readyz")
async def readyz():
    return Response(b"{}", media_type="application/json")


@app.post("/predict")
async def predict(request: Request):
    try:
        pixels = tensor(await request.body())
    except (OSError, ValueError) as error:
        return Response(dumps({"detail": str(error)}), status_code=422, media_type="application/json")
    values = session.run([OUTPUT], {INPUT: pixels})[0][0]
    best = numpy.argsort(values)[: -TOP_K - 1 : -1].tolist()
    top_k = [{"class": index, "label": str(index), "confidence": float(values[index])} for index in best]
    return Response(dumps({"predictions": [{**top_k[0], "top_k": top_k}]}), media_type="application/json")
