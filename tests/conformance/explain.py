#!/usr/bin/env python3
"""Tries explanations: against chance, against the package `shap`, against the maps that ONNX Runtime gives, and against a
model that learnt nothing.

    tests/conformance/explain.py WEIR [--digits 200]

Needs numpy and onnx, and shap and onnxruntime for their comparisons, which are left out without them.
"""

import argparse
import gzip
import json
import urllib.request

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import served

# A one of which a part is hidden is a one still. The last maps of the convolutional network have 2 × 2 places, which are too
# few to tell a stroke from its background: of these no share is asked.
LEAST = {"occlusion": 0.75, "rise": 0.8, "shap": 0.9, "cam": 0.0}


def post(base, path, body):
    request = urllib.request.Request(base + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def digits(count):
    """Returns the first test digits, as rows of pixels."""
    raw = gzip.decompress((served.ROOT / "data/mnist/t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784)[:count].astype(float)


def graph_of(name):
    return (served.ROOT / "models" / name / "1/model.onnx").read_bytes()


def shuffled():
    """Returns the dense network with shuffled weights: it learnt nothing."""
    model = onnx.load_from_string(graph_of("mnist-mlp"))
    random = np.random.default_rng(0)
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.ndim >= 2:
            mixed = random.permutation(values.ravel()).reshape(values.shape)
            initializer.CopyFrom(numpy_helper.from_array(mixed, initializer.name))
    return model.SerializeToString()


def quadratic():
    """Returns the graph of y = (x · w)² + x · v for 14 numbers, with w and v."""
    random = np.random.default_rng(3)
    w, v = random.normal(size=(14, 1)).astype(np.float32), random.normal(size=(14, 1)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("MatMul", ["x", "v"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    edge = lambda name, size: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
    weights = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(v, "v")]
    graph = helper.make_graph(nodes, "quadratic", [edge("x", 14)], [edge("y", 1)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), w.ravel().astype(float), v.ravel().astype(float)


def exact_shapley(w, v, x):
    """Returns the Shapley values of (x · w)² + x · v against zero: each pair's product is shared evenly."""
    parts = w * x
    return parts * parts.sum() + v * x


def shares(base, count):
    missed = []
    for model in ["mnist-mlp", "cnn"]:
        # The dense network has no maps.
        for method in ["occlusion", "rise", "shap", "cam"][: 3 if model == "mnist-mlp" else 4]:
            path = f"/models/{model}/explain?method={method}&samples=500"
            answers = [post(base, path, {"instances": [pixels.tolist()]}) for pixels in digits(count)]
            share = sum(answer["score"]["better_than_random"] for answer in answers) / count
            time = sorted(answer["total_ms"] for answer in answers)[count // 2]
            runs = answers[0]["evaluations"]
            print(f"{model} {method}: {100 * share:.1f} % of {count} digits better than chance, {runs} runs in {time:.0f} ms")
            if share < LEAST[method]:
                missed.append((model, method, share))
    return missed


def nothing(base, count):
    """Returns the share of digits of which shuffled weights give the trained network's class more than a half."""
    gained = 0
    for pixels in digits(count):
        body = {"instances": [pixels.tolist()]}
        label = post(base, "/models/mnist-mlp/explain?score=false", body)["label"]
        mixed = post(base, f"/models/shuffled/explain?method=shap&score=false&class={label}", body)
        gained += abs(mixed["value"] - mixed["baseline_value"]) > 0.5
    print(f"shuffled weights: the digit moves its class by more than a half in {gained} of {count}")
    return gained / count


def shapley(base, w, v):
    random = np.random.default_rng(5)
    errors = []
    for _ in range(20):
        x = random.normal(size=14).astype(np.float32).astype(float)
        path = "/models/quadratic/explain?method=shap&samples=4000&score=false"
        found = np.array(post(base, path, {"instances": [x.tolist()]})["attributions"])
        right = exact_shapley(w, v, x)
        errors.append(np.abs(found - right).max() / np.abs(right).max())
    print(f"Shapley values of 14 numbers by 4000 coalitions: largest relative error {max(errors):.1e}")
    return max(errors)


def against_package(base, w, v):
    try:
        import shap
    except ImportError:
        print("the package shap is not installed: no comparison with it")
        return 0.0
    x = np.random.default_rng(5).normal(size=14).astype(np.float32).astype(float)
    explainer = shap.KernelExplainer(lambda rows: (rows @ w) ** 2 + rows @ v, np.zeros((1, 14)))
    theirs = np.asarray(explainer.shap_values(x, nsamples=4000, silent=True)).ravel()
    path = "/models/quadratic/explain?method=shap&samples=4000&score=false"
    ours = np.array(post(base, path, {"instances": [x.tolist()]})["attributions"])
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"against the package shap: largest relative difference {error:.1e}")
    return error


def against_onnxruntime(base, count):
    """Returns the largest difference between class-activation maps and those of the last maps of ONNX Runtime, by the size
    of the logit."""
    try:
        import onnxruntime
    except ImportError:
        print("onnxruntime is not installed: no comparison with it")
        return 0.0
    model = onnx.load_from_string(graph_of("mnist-cnn"))
    pool = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    last = next(node for node in model.graph.node if node.op_type == "Gemm")
    model.graph.output.append(helper.make_tensor_value_info(pool.input[0], TensorProto.FLOAT, None))
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    transposed = any(each.name == "transB" and each.i for each in last.attribute)
    matrix, bias = weights[last.input[1]], weights[last.input[2]].ravel()
    matrix = matrix.T if transposed else matrix
    session = onnxruntime.InferenceSession(model.SerializeToString())
    shape = [1 if isinstance(size, str) else size for size in session.get_inputs()[0].shape]
    errors = []
    for pixels in digits(count):
        maps = session.run([pool.input[0]], {session.get_inputs()[0].name: pixels.reshape(shape).astype(np.float32)})[0][0]
        found = post(base, "/models/cnn/explain?method=cam&score=false", {"instances": [pixels.tolist()]})
        theirs = np.tensordot(matrix[:, found["class"]].astype(float), maps.astype(float), 1) / maps[0].size
        logit = theirs.sum() + bias[found["class"]]
        ours = np.array(found["attributions"]).reshape(found["shape"])
        errors.append(max(np.abs(ours - theirs).max(), abs(found["logit"] - logit), found["completeness_error"]) / abs(logit))
    print(f"class-activation maps against ONNX Runtime: largest relative difference {max(errors):.1e}")
    return max(errors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weir")
    parser.add_argument("--digits", type=int, default=200)
    arguments = parser.parse_args()
    graph, w, v = quadratic()
    labels = ", ".join(f'"{digit}"' for digit in range(10))
    classes = f'labels = [{labels}]\n[transform.output]\nkind = "classification"\nprobabilities = "probabilities"\n'
    drawing = '[transform.image]\nwidth = 28\nheight = 28\npolarity = "light_on_dark"\nfit = "centre_of_mass"\n'
    number = '[transform.output]\nkind = "regression"\nvalue = "y"\n'
    weir = served.Weir(
        arguments.weir,
        models={"cnn": graph_of("mnist-cnn"), "shuffled": shuffled(), "quadratic": graph},
        settings={"cnn": classes + drawing, "shuffled": classes, "quadratic": number},
    )
    tally = served.Tally()
    missed = shares(weir.base, arguments.digits)
    tally.check("the methods are better than chance", not missed, missed)
    share = nothing(weir.base, min(arguments.digits, 50))
    tally.check("a network that learnt nothing is not explained as the trained one", share <= 0.5, share)
    error = shapley(weir.base, w, v)
    tally.check("Shapley values of a quadratic function are right", error < 0.05, error)
    error = against_package(weir.base, w, v)
    tally.check("they are those of the package shap", error < 0.05, error)
    error = against_onnxruntime(weir.base, min(arguments.digits, 50))
    tally.check("class-activation maps are those of ONNX Runtime's maps", error < 1e-4, error)
    tally.check("it stops cleanly", weir.stop() == 0)
    tally.close()


if __name__ == "__main__":
    main()
