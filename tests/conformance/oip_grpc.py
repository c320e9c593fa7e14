#!/usr/bin/env python3
"""Tests a running weir over gRPC with tritonclient, NVIDIA's client of the Open Inference Protocol:
every call it has, synchronous, with callbacks, with asyncio and as a stream; and requests that must be
refused.

    tests/conformance/oip_grpc.py WEIR_BINARY

Needs PyPI's "tritonclient[grpc]", grpcio-health-checking and grpcio-reflection. Prints one line for each
check; the exit code is 1 if one failed. Reads data/mnist and models/ of this repository.
"""

import asyncio
import gzip
import json
import os
import pathlib
import queue
import struct
import subprocess
import sys
import tempfile
import threading
import traceback

import grpc
import numpy
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.utils import InferenceServerException

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "mnist-mlp"
PASSED, FAILED = [], []


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


def start(binary, *settings):
    """Starts the server; returns the process and its gRPC address once it is ready."""
    command = [binary, "serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--models", str(ROOT / "models")]
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


IMAGES = numpy.frombuffer(read_idx("t10k-images-idx3-ubyte.gz", 16), numpy.uint8).reshape(-1, 1, 28, 28)
LABELS = list(read_idx("t10k-labels-idx1-ubyte.gz", 8))


def digits(begin, end):
    """Returns test images as the input of the model."""
    tensor = triton.InferInput("image", [end - begin, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(IMAGES[begin:end].astype(numpy.float32))
    return [tensor]


def classes(result):
    return list(result.as_numpy("probabilities").argmax(axis=1))


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except InferenceServerException as error:
        assert code in str(error.status()), f"expected {code}, got {error.status()}: {error.message()}"
        assert error.message(), "an error says what is wrong"
    else:
        raise AssertionError(f"was not refused; expected {code}")


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as state:
        server, address = start(sys.argv[1], "--shared-memory", "--state-dir", state)
        try:
            checks(address)
        finally:
            server.terminate()
            code = server.wait()
        check("the server stops cleanly")(lambda: code == 0 or (_ for _ in ()).throw(AssertionError(code)))
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    raise SystemExit(bool(FAILED))


def checks(address):
    client = triton.InferenceServerClient(address)

    @check("live, ready, and ready for a model")
    def _():
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready(MODEL) and client.is_model_ready(MODEL, "1")

    @check("server metadata")
    def _():
        metadata = client.get_server_metadata(as_json=True)
        assert metadata["name"] == "weir" and "statistics" in metadata["extensions"]

    @check("model metadata")
    def _():
        metadata = client.get_model_metadata(MODEL, as_json=True)
        assert metadata["inputs"][0] == {"name": "image", "datatype": "FP32", "shape": ["-1", "1", "28", "28"]}, metadata

    @check("model configuration")
    def _():
        config = client.get_model_config(MODEL, as_json=True)["config"]
        assert config["input"][0]["data_type"] == "TYPE_FP32" and config["max_batch_size"] > 0, config

    @check("infer: 1,000 digits, as the trainer's report claims to within a percent")
    def _():
        right = 0
        for begin in range(0, 1000, 50):
            answer = classes(client.infer(MODEL, digits(begin, begin + 50)))
            right += sum(int(a == b) for a, b in zip(answer, LABELS[begin : begin + 50]))
        assert right > 950, right

    @check("infer: a version, an identifier, requested outputs")
    def _():
        outputs = [triton.InferRequestedOutput("logits")]
        result = client.infer(MODEL, digits(0, 2), model_version="1", request_id="mine", outputs=outputs)
        response = result.get_response()
        assert response.id == "mine" and response.model_version == "1"
        assert [output.name for output in response.outputs] == ["logits"] and result.as_numpy("probabilities") is None

    @check("infer: classification")
    def _():
        outputs = [triton.InferRequestedOutput("probabilities", class_count=3)]
        result = client.infer(MODEL, digits(0, 2), outputs=outputs).as_numpy("probabilities")
        assert result.shape == (2, 3) and result[0][0].decode().split(":")[1:] == ["7", "7"], result

    @check("infer: an encoded image as BYTES")
    def _():
        image = triton.InferInput("image", [1], "BYTES")
        image.set_data_from_numpy(numpy.array([(ROOT / "data" / "seven.png").read_bytes()], dtype=object))
        assert classes(client.infer(MODEL, [image])) == [7]

    @check("infer: gzip")
    def _():
        assert classes(client.infer(MODEL, digits(0, 4), compression_algorithm="gzip")) == LABELS[:4]

    @check("infer: priority, timeout and parameters of the caller's own")
    def _():
        client.infer(MODEL, digits(0, 1), priority=1, timeout=5_000_000, parameters={"mine": 1})

    @check("infer with a callback")
    def _():
        answers = queue.Queue()
        for begin in range(8):
            client.async_infer(MODEL, digits(begin, begin + 1), lambda result, error: answers.put((result, error)))
        found = sorted(int(classes(result)[0]) for result, error in (answers.get(timeout=30) for _ in range(8)))
        assert found == sorted(LABELS[:8]), found

    @check("a call that is cancelled")
    def _():
        answers = queue.Queue()
        for _ in range(20):
            call = client.async_infer(MODEL, digits(0, 200), lambda result, error: answers.put(error))
            call.cancel()
        for _ in range(20):
            error = answers.get(timeout=30)
            assert error is None or "cancel" in str(error).lower(), error
        assert classes(client.infer(MODEL, digits(0, 1))) == [7]

    @check("a deadline, of the call and of the request's parameters")
    def _():
        refused("DEADLINE_EXCEEDED", client.infer, MODEL, digits(0, 250), timeout=1)

        # A fast machine may meet the deadline, so ask until one request misses it.
        def late():
            for _ in range(1000):
                client.infer(MODEL, digits(0, 250), client_timeout=1e-4)

        refused("DEADLINE_EXCEEDED", late)

    @check("a stream answers in order, and a refusal does not end it")
    def _():
        answers = queue.Queue()
        stream = triton.InferenceServerClient(address)
        stream.start_stream(lambda result, error: answers.put((result, error)))
        for begin in range(10):
            name = MODEL if begin != 5 else "nobody"
            stream.async_stream_infer(name, digits(begin, begin + 1), request_id=str(begin))
        for begin in range(10):
            result, error = answers.get(timeout=30)
            if begin == 5:
                assert "nobody" in str(error), error
            else:
                assert error is None and classes(result) == [LABELS[begin]], (begin, error)
                assert result.get_response().id == str(begin)
        stream.stop_stream()
        stream.close()

    @check("asyncio: calls at once, and a stream")
    def _():
        async def run():
            async with triton_aio.InferenceServerClient(address) as client:
                assert await client.is_server_live() and await client.is_model_ready(MODEL)
                calls = [client.infer(MODEL, digits(begin, begin + 1)) for begin in range(32)]
                answers = [classes(result)[0] for result in await asyncio.gather(*calls)]
                assert answers == LABELS[:32], answers

                async def requests():
                    for begin in range(5):
                        yield {"model_name": MODEL, "inputs": digits(begin, begin + 1), "request_id": str(begin)}

                seen = []
                async for result, error in client.stream_infer(requests()):
                    assert error is None, error
                    seen.append(classes(result)[0])
                assert seen == LABELS[:5], seen

        asyncio.run(run())

    @check("statistics")
    def _():
        count = lambda: int(client.get_inference_statistics(MODEL, as_json=True)["model_stats"][0]["inference_count"])
        before = count()
        client.infer(MODEL, digits(0, 7))
        assert count() == before + 7
        assert client.get_inference_statistics(as_json=True)["model_stats"]

    @check("repository: index, unload, load, load with a configuration")
    def _():
        ready = lambda: {model.name for model in client.get_model_repository_index().models if model.state == "READY"}
        assert MODEL in ready()
        client.unload_model(MODEL)
        assert MODEL not in ready() and not client.is_model_ready(MODEL)
        client.load_model(MODEL)
        assert MODEL in ready() and classes(client.infer(MODEL, digits(0, 1))) == [7]
        client.load_model(MODEL, config=json.dumps({"max_batch_size": 16}))
        assert client.get_model_config(MODEL).config.max_batch_size == 16
        client.load_model(MODEL)
        refused("INVALID_ARGUMENT", client.load_model, MODEL, config="{}", files={"file:1/model.onnx": b"x"})
        refused("NOT_FOUND", client.load_model, "nobody")

    @check("trace settings")
    def _():
        assert client.get_trace_settings(as_json=True)["settings"]["trace_level"]["value"] == ["OFF"]
        changed = client.update_trace_settings(MODEL, {"trace_level": ["TIMESTAMPS"], "trace_rate": "1"}, as_json=True)
        assert changed["settings"]["trace_level"]["value"] == ["TIMESTAMPS"], changed
        client.infer(MODEL, digits(0, 1))
        cleared = client.update_trace_settings(MODEL, {"trace_level": None, "trace_rate": None}, as_json=True)
        assert cleared["settings"]["trace_level"]["value"] == ["OFF"], cleared
        refused("INVALID_ARGUMENT", client.update_trace_settings, MODEL, {"trace_level": ["LOUD"]})

    @check("log settings")
    def _():
        settings = client.get_log_settings(as_json=True)["settings"]
        assert settings["log_info"]["bool_param"] is True, settings
        changed = client.update_log_settings({"log_info": False}, as_json=True)["settings"]
        assert not changed["log_info"].get("bool_param"), changed
        client.update_log_settings({"log_info": True})
        refused("INVALID_ARGUMENT", client.update_log_settings, {"log_file": "/tmp/x"})

    @check("system shared memory: input and output")
    def _():
        key = f"weir-conformance-{os.getpid()}"
        path = pathlib.Path("/dev/shm") / key
        pixels = IMAGES[0:2].astype(numpy.float32).tobytes()
        path.write_bytes(pixels + bytes(1000))
        try:
            client.register_system_shared_memory("region", "/" + key, len(pixels) + 1000)
            assert "region" in client.get_system_shared_memory_status().regions
            image = triton.InferInput("image", [2, 1, 28, 28], "FP32")
            image.set_shared_memory("region", len(pixels))
            output = triton.InferRequestedOutput("probabilities")
            output.set_shared_memory("region", 80, offset=len(pixels))
            result = client.infer(MODEL, [image], outputs=[output])
            parameters = result.get_output("probabilities").parameters
            assert parameters["shared_memory_byte_size"].uint64_param == 80, result.get_response()
            answer = numpy.frombuffer(path.read_bytes()[len(pixels) : len(pixels) + 80], numpy.float32)
            assert list(answer.reshape(2, 10).argmax(axis=1)) == LABELS[:2]
            output.set_shared_memory("region", 2000, offset=0)
            refused("INVALID_ARGUMENT", client.infer, MODEL, digits(0, 2), outputs=[output])
            refused("INVALID_ARGUMENT", client.register_system_shared_memory, "other", "/../etc/passwd", 8)
            client.unregister_system_shared_memory("region")
            assert not client.get_system_shared_memory_status().regions
        finally:
            path.unlink()

    @check("CUDA shared memory is refused")
    def _():
        refused("UNIMPLEMENTED", client.get_cuda_shared_memory_status)

    @check("what is wrong is refused by its own code")
    def _():
        wrong = triton.InferInput("image", [1, 784], "FP32")
        wrong.set_data_from_numpy(numpy.zeros((1, 784), numpy.float32))
        other = triton.InferInput("nothing", [1, 1, 28, 28], "FP32")
        other.set_data_from_numpy(numpy.zeros((1, 1, 28, 28), numpy.float32))
        integer = triton.InferInput("image", [1, 1, 28, 28], "INT32")
        integer.set_data_from_numpy(numpy.zeros((1, 1, 28, 28), numpy.int32))
        for inputs in ([wrong], [other], [integer], [], digits(0, 1) + digits(0, 1)):
            refused("INVALID_ARGUMENT", client.infer, MODEL, inputs)
        refused("NOT_FOUND", client.infer, "nobody", digits(0, 1))
        refused("NOT_FOUND", client.infer, MODEL, digits(0, 1), model_version="99")
        refused("INVALID_ARGUMENT", client.infer, MODEL, digits(0, 1), sequence_id=7)
        refused("INVALID_ARGUMENT", client.infer, MODEL, digits(0, 1), outputs=[triton.InferRequestedOutput("x")])
        refused("INVALID_ARGUMENT", client.infer, MODEL, digits(0, 300))

    @check("a message larger than the limit")
    def _():
        large = triton.InferInput("image", [4000, 1, 28, 28], "FP32")
        large.set_data_from_numpy(numpy.zeros((4000, 1, 28, 28), numpy.float32))
        refused("RESOURCE_EXHAUSTED", client.infer, MODEL, [large])
        assert client.is_server_live()

    @check("health, watched until a model goes")
    def _():
        with grpc.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            serving = health_pb2.HealthCheckResponse.SERVING
            for service in ("", "inference.GRPCInferenceService", MODEL):
                assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
            watched = health.Watch(health_pb2.HealthCheckRequest(service=MODEL))
            assert next(watched).status == serving
            client.unload_model(MODEL)
            assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
            client.load_model(MODEL)
            while next(watched).status != serving:
                pass
            watched.cancel()

    @check("reflection")
    def _():
        with grpc.insecure_channel(address) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            ask = reflection_pb2.ServerReflectionRequest(list_services="")
            answer = next(stub.ServerReflectionInfo(iter([ask])))
            names = {service.name for service in answer.list_services_response.service}
            assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names, names

    @check("32 clients at once")
    def _():
        wrong = []

        def ask(begin):
            own = triton.InferenceServerClient(address)
            for index in range(begin, begin + 20):
                if classes(own.infer(MODEL, digits(index, index + 1)))[0] not in range(10):
                    wrong.append(index)
            own.close()

        threads = [threading.Thread(target=ask, args=(20 * number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong

    client.close()


if __name__ == "__main__":
    main()
