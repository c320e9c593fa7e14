#!/usr/bin/env python3
"""Tests a running weir with Triton's own HTTP client, and with KServe's if it is installed.

    tests/conformance/oip_http.py WEIR_BINARY

Needs `tritonclient[http]`; if `kserve` is installed, its REST client is tested as well. Prints a line for each check,
and how many passed.
"""

import asyncio
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from mnist_accuracy import png, read_idx
from swaps import adder, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
STRING = 8
passed, failed = 0, []


def check(name, condition, shown=""):
    global passed
    if condition:
        passed += 1
        print("ok   ", name)
    else:
        failed.append(name)
        print("FAIL ", name, shown)


def refused(name, words, call):
    try:
        call()
    except InferenceServerException as error:
        check(name, words in str(error), error)
    else:
        check(name, False, "not refused")


def texts():
    """Returns an ONNX graph that copies strings of shape [N, 1]."""
    dims = field(1, field(2, "N")) + field(1, field(1, 1))
    kind = field(2, field(1, field(1, STRING) + field(2, dims)))
    node = field(1, "x") + field(2, "y") + field(4, "Identity")
    graph = field(1, node) + field(2, "texts") + field(11, field(1, "x") + kind) + field(12, field(1, "y") + kind)
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 18))


def start(binary, work):
    models = work / "models"
    for name, graph in (("add", adder(1)), ("texts", texts())):
        (models / name / "1").mkdir(parents=True)
        (models / name / "1" / "model.onnx").write_bytes(graph)
    shutil.copytree(ROOT / "models" / "mnist-mlp", models / "mnist-mlp")
    command = [binary, "serve", "--models", str(models), "--http", "127.0.0.1:0", "--grpc", "off", "--log-format", "json"]
    command += ["--state-dir", str(work / "state"), "--shared-memory", "--max-body-bytes", str(64 << 20)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log, address = [], None
    for line in server.stderr:
        entry = json.loads(line)
        log.append(entry)
        address = entry.get("address", address)
        if entry["message"].startswith("ready: open"):
            break
    else:
        raise SystemExit(f"the server did not start: exit code {server.wait()}")
    threading.Thread(target=lambda: log.extend(map(json.loads, server.stderr)), daemon=True).start()
    return server, address, log


def eventually(condition):
    """Returns whether something that the server does on its own happens within a few seconds."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def image_input(images, binary):
    tensor = triton.InferInput("image", [len(images), 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return tensor


def health_and_metadata(client):
    check("live", client.is_server_live())
    check("ready", client.is_server_ready())
    check("model ready", client.is_model_ready("mnist-mlp") and client.is_model_ready("mnist-mlp", "1"))
    check("absent model not ready", not client.is_model_ready("absent"))
    server = client.get_server_metadata()
    check("server metadata", server["name"] == "weir" and "system_shared_memory" in server["extensions"], server)
    model = client.get_model_metadata("mnist-mlp")
    check("model metadata", model["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}], model)
    check("metadata of a version", client.get_model_metadata("mnist-mlp", "1")["versions"] == ["1"])
    config = client.get_model_config("mnist-mlp")
    check("config", config["max_batch_size"] > 0 and config["input"][0]["dims"] == [1, 28, 28], config)
    refused("metadata of an absent model", "absent", lambda: client.get_model_metadata("absent"))


def inference(client, images, labels):
    for binary in (True, False):
        kind = "binary" if binary else "JSON"
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary)]
        result = client.infer("mnist-mlp", [image_input(images, binary)], outputs=outputs, request_id="seven")
        probabilities = result.as_numpy("probabilities")
        check(f"infer, {kind}", list(probabilities.argmax(axis=1)) == labels, probabilities)
        check(f"infer, {kind}: the id", result.get_response()["id"] == "seven")
    result = client.infer("mnist-mlp", [image_input(images, True)])
    check("infer, all outputs", result.as_numpy("logits").shape == (len(images), 10))
    result = client.infer("mnist-mlp", [image_input(images, True)], model_version="1", priority=1, timeout=5_000_000)
    check("infer, version, priority and timeout", result.as_numpy("logits").shape == (len(images), 10))
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
        classes = client.infer("mnist-mlp", [image_input(images, True)], outputs=outputs).as_numpy("probabilities")
        first = [text.decode().split(":")[1] if isinstance(text, bytes) else text.split(":")[1] for text in classes[:, 0]]
        check(f"classification, binary={binary}", classes.shape == (len(images), 2) and first == [str(n) for n in labels], classes)
    waiting = [client.async_infer("mnist-mlp", [image_input(images[n : n + 1], True)]) for n in range(len(images))]
    answers = [int(one.get_result().as_numpy("probabilities").argmax()) for one in waiting]
    check("async_infer", answers == labels, answers)
    many = np.repeat(images, 16, axis=0)[:256]
    plain = client.infer("mnist-mlp", [image_input(many, True)]).as_numpy("probabilities")
    for algorithm in ("gzip", "deflate"):
        result = client.infer(
            "mnist-mlp",
            [image_input(many, True)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
        check(f"compression, {algorithm}", np.allclose(result.as_numpy("probabilities"), plain, atol=1e-5))
    for binary in (True, False):
        data = np.array([["é".encode()], [b""], [b"a\nb"]], dtype=np.object_)
        tensor = triton.InferInput("x", [3, 1], "BYTES")
        tensor.set_data_from_numpy(data, binary_data=binary)
        outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
        result = client.infer("texts", [tensor], outputs=outputs).as_numpy("y")
        back = [text if isinstance(text, bytes) else text.encode() for text in result.flatten()]
        check(f"text, binary={binary}", back == list(data.flatten()), back)


def encoded_images(client, pixels, labels):
    files = np.array([png(one) for one in pixels], dtype=np.object_)
    tensor = triton.InferInput("image", [len(files)], "BYTES")
    tensor.set_data_from_numpy(files)
    result = client.infer("mnist-mlp", [tensor]).as_numpy("probabilities")
    check("PNG files as BYTES", list(result.argmax(axis=1)) == labels, result)


def errors(client, images):
    good = image_input(images, True)
    refused("absent model", "absent", lambda: client.infer("absent", [good]))
    refused("absent version", "version 7", lambda: client.infer("mnist-mlp", [good], model_version="7"))
    wrong = triton.InferInput("image", [1, 28, 28], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 28, 28), np.float32))
    refused("wrong shape", "shape", lambda: client.infer("mnist-mlp", [wrong]))
    wrong = triton.InferInput("image", [1, 1, 28, 28], "INT32")
    wrong.set_data_from_numpy(np.zeros((1, 1, 28, 28), np.int32))
    refused("wrong type", "FP32", lambda: client.infer("mnist-mlp", [wrong]))
    wrong = triton.InferInput("other", [1, 1], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 1), np.float32))
    refused("wrong name", "other", lambda: client.infer("mnist-mlp", [wrong]))
    outputs = [triton.InferRequestedOutput("other")]
    refused("wrong output", "other", lambda: client.infer("mnist-mlp", [good], outputs=outputs))
    refused("sequences", "sequence", lambda: client.infer("mnist-mlp", [good], sequence_id=5, sequence_start=True))
    check("unharmed", client.is_server_ready())


def statistics(client, images):
    before = client.get_inference_statistics("mnist-mlp", "1")["model_stats"][0]
    for _ in range(3):
        client.infer("mnist-mlp", [image_input(images[:2], True)])
    after = client.get_inference_statistics("mnist-mlp", "1")["model_stats"][0]
    grown = {
        "inference_count": after["inference_count"] - before["inference_count"],
        "success": after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"],
    }
    check("statistics grow", grown == {"inference_count": 6, "success": 3}, grown)
    parts = "success fail queue compute_input compute_infer compute_output cache_hit cache_miss".split()
    whole = all(isinstance(after["inference_stats"][part][key], int) for part in parts for key in ("count", "ns"))
    check("statistics are whole", whole and after["last_inference"] > 0, after)
    names = {one["name"] for one in client.get_inference_statistics()["model_stats"]}
    check("statistics of all", names == {"add", "mnist-mlp", "texts"}, names)


def repository(client):
    index = {one["name"]: one["state"] for one in client.get_model_repository_index()}
    check("index", index == {"add": "READY", "mnist-mlp": "READY", "texts": "READY"}, index)
    client.unload_model("add")
    check("unload", not client.is_model_ready("add"))
    client.load_model("add")
    check("load", client.is_model_ready("add"))
    client.load_model("add", config=json.dumps({"max_batch_size": 5}))
    check("load with a configuration", client.get_model_config("add")["max_batch_size"] == 5)
    client.load_model("add", config=json.dumps(client.get_model_config("add")))
    check("load with the whole configuration", client.get_model_config("add")["max_batch_size"] == 5)
    refused("load with files", "file:1/model.onnx", lambda: client.load_model("add", config="{}", files={"file:1/model.onnx": b"x"}))
    refused("load of an absent model", "absent", lambda: client.load_model("absent"))


def trace_and_log(client, images, log):
    settings = client.get_trace_settings()
    check("trace settings", settings["trace_level"] == ["OFF"] and settings["trace_rate"] == "1000", settings)
    changed = client.update_trace_settings("mnist-mlp", {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_count": "2"})
    check("trace settings of a model", changed["trace_count"] == "2", changed)
    for _ in range(4):
        client.infer("mnist-mlp", [image_input(images, True)])
    traces = lambda: [entry for entry in log if entry["message"] == "trace"]
    check("traces are in the log", eventually(lambda: len(traces()) == 2) and "compute_infer_us" in traces()[0], traces())
    client.update_trace_settings("mnist-mlp", {"trace_level": None, "trace_rate": None, "trace_count": None})
    check("trace settings taken back", client.get_trace_settings("mnist-mlp") == settings)
    refused("traces of tensors", "TENSORS", lambda: client.update_trace_settings(settings={"trace_level": ["TENSORS"]}))
    settings = client.get_log_settings()
    check("log settings", settings["log_info"] and settings["log_verbose_level"] == 0, settings)
    details = lambda: [entry for entry in log if entry["level"] == "DEBUG" and entry["message"] == "request refused"]
    client.update_log_settings({"log_verbose_level": 1})
    client.is_model_ready("absent")
    check("a verbose log says more", eventually(lambda: len(details()) > 0))
    client.update_log_settings(settings)
    check("log settings taken back", client.get_log_settings() == settings)
    refused("a log file", "log_file", lambda: client.update_log_settings({"log_file": "/tmp/x"}))


def shared_memory(client, images, labels):
    data = np.ascontiguousarray(images)
    size, result_size = data.nbytes, len(images) * 10 * 4
    region = shm.create_shared_memory_region("images", "/weir-oip-http", size + result_size)
    try:
        shm.set_shared_memory_region(region, [data])
        client.register_system_shared_memory("images", "/weir-oip-http", size + result_size)
        status = client.get_system_shared_memory_status()
        check("shared memory: status", [one["name"] for one in status] == ["images"], status)
        tensor = triton.InferInput("image", list(data.shape), "FP32")
        tensor.set_shared_memory("images", size)
        output = triton.InferRequestedOutput("probabilities")
        output.set_shared_memory("images", result_size, offset=size)
        client.infer("mnist-mlp", [tensor], outputs=[output])
        result = shm.get_contents_as_numpy(region, np.float32, [len(images), 10], offset=size)
        check("shared memory: infer", list(result.argmax(axis=1)) == labels, result)
        tensor.set_shared_memory("images", size + result_size + 4)
        refused("shared memory: too long", "inside the region", lambda: client.infer("mnist-mlp", [tensor]))
        refused("shared memory: elsewhere", "one name", lambda: client.register_system_shared_memory("x", "../../etc/passwd", 1))
        client.unregister_system_shared_memory()
        check("shared memory: unregister", client.get_system_shared_memory_status() == [])
    finally:
        shm.destroy_shared_memory_region(region)
    refused("CUDA shared memory", "CUDA", lambda: client.get_cuda_shared_memory_status())


async def aio(address, images, labels):
    async with triton_aio.InferenceServerClient(address) as client:
        check("aio: ready", await client.is_server_ready())
        asked = (client.infer("mnist-mlp", [image_input(images[n : n + 1], True)]) for n in range(len(images)))
        answers = [int(one.as_numpy("probabilities").argmax()) for one in await asyncio.gather(*asked)]
        check("aio: infer", answers == labels, answers)
        statistics = await client.get_inference_statistics("mnist-mlp")
        check("aio: statistics", statistics["model_stats"][0]["inference_stats"]["success"]["count"] > 0)
        many = np.repeat(images, 16, axis=0)[:256]
        result = await client.infer("mnist-mlp", [image_input(many, True)], response_compression_algorithm="gzip")
        check("aio: compression", result.as_numpy("probabilities").shape == (len(many), 10))


async def kserve_client(address, images, labels):
    try:
        from kserve import InferenceRESTClient, InferInput, InferRequest
        from kserve.inference_client import RESTConfig
    except ImportError as error:
        print("skip  kserve:", error)
        return
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://{address}"
    check("kserve: live", await client.is_server_live(base))
    check("kserve: ready", await client.is_server_ready(base))
    check("kserve: model ready", await client.is_model_ready(base, "mnist-mlp"))
    for binary in (False, True):
        tensor = InferInput("image", list(images.shape), "FP32")
        tensor.set_data_from_numpy(images, binary_data=binary)
        request = InferRequest(model_name="mnist-mlp", infer_inputs=[tensor])
        response = await client.infer(base, request, model_name="mnist-mlp")
        output = next(one for one in response.outputs if one.name == "probabilities")
        check(f"kserve: infer, binary={binary}", list(output.as_numpy().argmax(axis=1)) == labels)
    await client.close()


def main():
    count = 16
    raw = read_idx("t10k-images-idx3-ubyte.gz", 16)
    pixels = [raw[n * 784 : (n + 1) * 784] for n in range(count)]
    images = np.frombuffer(b"".join(pixels), np.uint8).astype(np.float32).reshape(count, 1, 28, 28)
    with tempfile.TemporaryDirectory() as work:
        server, address, log = start(sys.argv[1], pathlib.Path(work))
        try:
            client = triton.InferenceServerClient(address, concurrency=4)
            # Files that were just written are loaded at the second look.
            check("all models load", eventually(lambda: all(map(client.is_model_ready, ("add", "texts", "mnist-mlp")))))
            answer = client.infer("mnist-mlp", [image_input(images, True)]).as_numpy("probabilities")
            labels = [int(one) for one in answer.argmax(axis=1)]
            truth = list(read_idx("t10k-labels-idx1-ubyte.gz", 8)[:count])
            check("the digits are known", sum(a == b for a, b in zip(labels, truth)) >= count - 2, labels)
            health_and_metadata(client)
            inference(client, images, labels)
            encoded_images(client, pixels, labels)
            errors(client, images)
            statistics(client, images)
            repository(client)
            trace_and_log(client, images, log)
            shared_memory(client, images, labels)
            asyncio.run(aio(address, images, labels))
            asyncio.run(kserve_client(address, images, labels))
            client.close()
            check("no panic", not any(entry["message"] == "panic" for entry in log))
        finally:
            server.terminate()
            code = server.wait(60)
    check("the server ends well", code == 0, code)
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
