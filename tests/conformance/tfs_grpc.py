#!/usr/bin/env python3
"""Tests a running weir over gRPC with the stubs of PyPI's tensorflow-serving-api: PredictionService and
ModelService, and requests that must be refused.

    tests/conformance/tfs_grpc.py WEIR_BINARY

Needs grpcio, grpcio-tools and `pip install --no-deps tensorflow-serving-api`, which holds the stubs and the
messages of TensorFlow Serving. The messages of TensorFlow itself, a package of half a gigabyte, are generated
here from Weir's proto files. Prints one line for each check; the exit code is 1 if one failed.
"""

import gzip
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import traceback

import grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTOS = ROOT / "src" / "api" / "grpc" / "proto"
MODEL = "mnist-mlp"
PASSED, FAILED = [], []

generated = tempfile.TemporaryDirectory()
tensorflow = [str(path.relative_to(PROTOS)) for part in ("tensorflow", "xla") for path in (PROTOS / part).rglob("*.proto")]
if protoc.main(["protoc", f"-I{PROTOS}", f"--python_out={generated.name}", *tensorflow]) != 0:
    raise SystemExit("the proto files of TensorFlow cannot be compiled")
sys.path.insert(0, generated.name)

from tensorflow.core.example import example_pb2  # noqa: E402
from tensorflow.core.framework import tensor_pb2, types_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)


def check(name):
    """Runs a function as a check."""

    def run(function):
        try:
            function()
        except Exception:
            FAILED.append(name)
            print(f"FAIL  {name}")
            traceback.print_exc(file=sys.stdout)
        else:
            PASSED.append(name)
            print(f"ok    {name}")

    return run


def start(binary, models, *settings):
    """Starts the server; returns the process and its gRPC address once it is ready."""
    command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--models", str(models)]
    command += ["--default-model", MODEL, "--log-format", "json", *settings]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = None
    for line in server.stderr:
        entry = json.loads(line)
        address = entry.get("grpc", address)
        if entry["message"].startswith("ready: open"):
            # A full pipe would block the server.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, address
    raise SystemExit(f"the server did not start: exit code {server.wait()}")


def read_idx(name, header_bytes):
    return gzip.decompress((ROOT / "data" / "mnist" / name).read_bytes())[header_bytes:]


IMAGES = read_idx("t10k-images-idx3-ubyte.gz", 16)
LABELS = list(read_idx("t10k-labels-idx1-ubyte.gz", 8))


def pixels(index):
    return [float(pixel) for pixel in IMAGES[784 * index : 784 * (index + 1)]]


def tensor(dtype, dims, **values):
    message = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in dims:
        message.tensor_shape.dim.add(size=size)
    return message


def predict(message, name="image", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.pop("model", MODEL)
    if spec.get("version") is not None:
        request.model_spec.version.value = spec["version"]
    request.inputs[name].CopyFrom(message)
    return request


def largest(values):
    return max(range(len(values)), key=lambda index: values[index])


def example(index):
    message = example_pb2.Example()
    message.features.feature["image"].float_list.value.extend(pixels(index))
    return message


def refused(code, call, request, **named):
    try:
        call(request, **named)
    except grpc.RpcError as error:
        assert error.code() == code, f"expected {code}, got {error.code()}: {error.details()}"
        assert error.details(), "an error says what is wrong"
    else:
        raise AssertionError(f"was not refused; expected {code}")


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as state:
        # A copy: an alias is a file of the repository.
        models = shutil.copytree(ROOT / "models", pathlib.Path(state) / "models")
        server, address = start(sys.argv[1], models, "--state-dir", state)
        try:
            with grpc.insecure_channel(address) as channel:
                checks(channel)
        finally:
            server.terminate()
            code = server.wait()
    if code != 0:
        FAILED.append(f"the server ended with {code}")
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    raise SystemExit(bool(FAILED))


def checks(channel):
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    invalid = grpc.StatusCode.INVALID_ARGUMENT

    @check("Predict: 200 digits in float_val")
    def _():
        right = 0
        for begin in range(0, 200, 50):
            values = [value for index in range(begin, begin + 50) for value in pixels(index)]
            answer = predictions.Predict(predict(tensor(types_pb2.DT_FLOAT, [50, 1, 28, 28], float_val=values)))
            output = answer.outputs["probabilities"]
            assert [dim.size for dim in output.tensor_shape.dim] == [50, 10] and output.dtype == types_pb2.DT_FLOAT
            rows = [output.float_val[10 * row : 10 * (row + 1)] for row in range(50)]
            right += sum(largest(row) == label for row, label in zip(rows, LABELS[begin:]))
        assert right > 190, right
        assert answer.model_spec.name == MODEL and answer.model_spec.version.value == 1
        assert answer.model_spec.signature_name == "serving_default"

    @check("Predict: tensor_content, a version and an output_filter")
    def _():
        content = struct.pack("<784f", *pixels(0))
        request = predict(tensor(types_pb2.DT_FLOAT, [1, 1, 28, 28], tensor_content=content), version=1)
        request.output_filter.append("logits")
        answer = predictions.Predict(request)
        assert list(answer.outputs) == ["logits"] and largest(answer.outputs["logits"].float_val) == LABELS[0]

    @check("Predict: the last value stands for those that are missing")
    def _():
        short = predictions.Predict(predict(tensor(types_pb2.DT_FLOAT, [1, 1, 28, 28], float_val=[0.0])))
        full = predictions.Predict(predict(tensor(types_pb2.DT_FLOAT, [1, 1, 28, 28], float_val=[0.0] * 784)))
        assert short.outputs["logits"] == full.outputs["logits"]

    @check("Predict: encoded images in string_val")
    def _():
        image = (ROOT / "data" / "seven.png").read_bytes()
        answer = predictions.Predict(predict(tensor(types_pb2.DT_STRING, [1], string_val=[image])))
        assert largest(answer.outputs["probabilities"].float_val) == 7

    @check("Predict: a deadline, and gzip")
    def _():
        request = predict(tensor(types_pb2.DT_FLOAT, [1, 1, 28, 28], float_val=pixels(0)))
        assert predictions.Predict(request, timeout=10, compression=grpc.Compression.Gzip).outputs
        many = predict(tensor(types_pb2.DT_FLOAT, [250, 1, 28, 28], float_val=[0.0]))

        # A fast machine may meet the deadline, so ask until one request misses it.
        def late(request):
            for _ in range(1000):
                predictions.Predict(request, timeout=1e-4)

        refused(grpc.StatusCode.DEADLINE_EXCEEDED, late, many)

    @check("Classify")
    def _():
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = MODEL
        request.input.example_list.examples.extend(example(index) for index in range(5))
        result = predictions.Classify(request).result
        best = [max(each.classes, key=lambda one: one.score).label for each in result.classifications]
        assert best == [str(label) for label in LABELS[:5]], best

    @check("Classify: a context that all examples share")
    def _():
        request = classification_pb2.ClassificationRequest()
        request.model_spec.name = MODEL
        request.input.example_list_with_context.examples.add()
        request.input.example_list_with_context.context.CopyFrom(example(0))
        best = max(predictions.Classify(request).result.classifications[0].classes, key=lambda one: one.score)
        assert best.label == str(LABELS[0])

    @check("MultiInference")
    def _():
        request = inference_pb2.MultiInferenceRequest()
        task = request.tasks.add(method_name="tensorflow/serving/classify")
        task.model_spec.name = MODEL
        request.input.example_list.examples.append(example(0))
        results = predictions.MultiInference(request).results
        best = max(results[0].classification_result.classifications[0].classes, key=lambda one: one.score)
        assert best.label == str(LABELS[0])

    @check("Regress of a classifier is refused")
    def _():
        request = regression_pb2.RegressionRequest()
        request.model_spec.name = MODEL
        request.input.example_list.examples.append(example(0))
        refused(invalid, predictions.Regress, request)

    @check("GetModelMetadata")
    def _():
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = MODEL
        answer = predictions.GetModelMetadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert answer.metadata["signature_def"].Unpack(signatures)
        signature = signatures.signature_def["serving_default"]
        assert signature.inputs["image"].dtype == types_pb2.DT_FLOAT
        assert [dim.size for dim in signature.inputs["image"].tensor_shape.dim] == [-1, 1, 28, 28]
        assert signature.method_name == "tensorflow/serving/predict"

    @check("GetModelStatus")
    def _():
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = MODEL
        status = models.GetModelStatus(request).model_version_status[0]
        assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE and status.status.error_code == 0
        request.model_spec.name = "nobody"
        refused(grpc.StatusCode.NOT_FOUND, models.GetModelStatus, request)

    @check("HandleReloadConfigRequest: labels")
    def _():
        request = model_management_pb2.ReloadConfigRequest()
        for folder in sorted((ROOT / "models").iterdir()):
            config = request.config.model_config_list.config.add(name=folder.name, base_path=f"/models/{folder.name}")
            if folder.name == MODEL:
                config.version_labels["canary"] = 1
        assert models.HandleReloadConfigRequest(request).status.error_code == 0
        labelled = predict(tensor(types_pb2.DT_FLOAT, [1, 1, 28, 28], float_val=pixels(0)))
        labelled.model_spec.version_label = "canary"
        assert largest(predictions.Predict(labelled).outputs["probabilities"].float_val) == LABELS[0]
        labelled.model_spec.version_label = "nowhere"
        refused(invalid, predictions.Predict, labelled)
        request.config.model_config_list.config[0].base_path = "/etc"
        refused(invalid, models.HandleReloadConfigRequest, request)

    @check("what is wrong is refused by its own code")
    def _():
        good = [1, 1, 28, 28]
        for message in (
            tensor(types_pb2.DT_FLOAT, [1, 784], float_val=pixels(0)),
            tensor(types_pb2.DT_INT32, good, int_val=[0]),
            tensor(types_pb2.DT_COMPLEX64, good),
            tensor(types_pb2.DT_FLOAT, good, float_val=pixels(0) + [0.0]),
            tensor(types_pb2.DT_FLOAT, [1 << 60, 1 << 60]),
            tensor(types_pb2.DT_FLOAT, [1 << 40]),
            tensor(types_pb2.DT_FLOAT, [-1, 1, 28, 28]),
            tensor(types_pb2.DT_FLOAT, good, tensor_content=b"\0" * 7),
            tensor(types_pb2.DT_STRING, [1], string_val=[b"no image"]),
        ):
            refused(invalid, predictions.Predict, predict(message))
        fine = tensor(types_pb2.DT_FLOAT, good, float_val=pixels(0))
        refused(invalid, predictions.Predict, predict(fine, name="nothing"))
        refused(grpc.StatusCode.NOT_FOUND, predictions.Predict, predict(fine, model="nobody"))
        refused(grpc.StatusCode.NOT_FOUND, predictions.Predict, predict(fine, version=99))
        refused(invalid, predictions.Predict, predict_pb2.PredictRequest())


if __name__ == "__main__":
    main()
