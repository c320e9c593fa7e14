#!/usr/bin/env python3
"""Asks the built-in engine small random graphs of operators that take values, and compares its answers with ONNX Runtime's.

    tests/conformance/engine_fuzz.py WEIR_BINARY [--graphs N] [--seed N] [--family NAME] [--engine ENGINE] [--keep FOLDER]

Each graph is one operator whose sizes, indices, lengths or axes come with the request, are computed from the request, or
stand in the file, with dimensions that are open or fixed. The inputs are edge values: nothing, less than nothing, one
beyond the end, what does not fit in 32 bits, what is empty. ONNX Runtime runs each graph in a child process beside it,
which is the reference. An outcome is one of:

    right     as the reference, type, shape and numbers
    refused   400, or not loaded, in words; the reference answers
    agreed    400, or not loaded, in words; the reference refuses as well
    wrong     another answer than the reference's
    invented  an answer where the reference has none
    broken    a status other than 200 and 400, or no answer
    leaked    refused in the private words of an engine

The script fails on `wrong`, `invented`, `broken` and `leaked`. What is refused is counted by family. It needs onnx, NumPy
and onnxruntime; nothing leaves the machine.
"""

import argparse
import collections
import http.client
import json
import multiprocessing
import pathlib
import re
import resource
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnx_backend

F, I, I32, B = np.float32, np.int64, np.int32, np.bool_
BIG = [2**31, 2**32, 2**32 + 1, 2**32 + 2, -(2**32) + 2, 2**63 - 1, -(2**63)]
LIMIT = 1 << 20
# What no reader of an answer should see: the words of the engines' authors about their own code.
PRIVATE = re.compile(
    r"Undetermined|Failed analyse|node #|\.rs\b|\.cc\b|\.h:|TDim|Fact\b|unify|inputs\[|outputs\[|Some\(|None\b|::|/root/|/tmp/"
    r"|unwrap|panick|assertion|Downcast|TValue|OutletId|Wiring|Building node|Translating|ModelBuilder|0x[0-9a-f]+|onnxruntime/"
)


class Graph:
    """A graph of one operator under test, and the inputs that it is asked with."""

    def __init__(self, family, rng):
        self.family, self.rng = family, rng
        self.inputs, self.nodes, self.constants, self.sets, self.names = [], [], [], {}, {}
        self.opset = int(rng.choice([13, 17, 18]))

    def data(self, name, dtype, shape, choices, open_=None):
        """An input; `choices` are functions that draw its value. Dimensions are open at random."""
        dims = [f"{name}{axis}" if (self.rng.random() < 0.6 if open_ is None else open_) else size for axis, size in enumerate(shape)]
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dims))
        self.sets[name] = choices
        self.names[name] = dims
        return name

    def value(self, name, dtype, choices, rank=1, fixed=True):
        """A value that decides: of the file, of the request, or computed from it."""
        how = self.rng.choice(["file", "request", "computed", "computed"])
        if how == "file":
            drawn = np.asarray(self.draw(choices), dtype)
            self.constants.append(numpy_helper.from_array(drawn, name))
            return name
        example = np.asarray(choices[0], dtype)
        dims = [] if rank == 0 else [len(example) if fixed and all(np.shape(one) == example.shape for one in choices) else "K" + name]
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dims))
        self.sets[name] = [np.asarray(one, dtype) for one in choices]
        if how == "request":
            return name
        self.constants.append(numpy_helper.from_array(np.zeros((), dtype), name + "_zero"))
        self.nodes.append(helper.make_node("Add", [name, name + "_zero"], [name + "_sum"]))
        return name + "_sum"

    def draw(self, choices):
        one = choices[int(self.rng.integers(len(choices)))]
        return one() if callable(one) else one

    def op(self, op, inputs, outputs=("y",), **attributes):
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), **attributes))
        self.outputs = list(outputs)
        return self

    def model(self, types):
        outputs = [helper.make_empty_tensor_value_info(name) for name in self.outputs]
        for output, of in zip(outputs, types):
            output.type.tensor_type.elem_type = of
        graph = helper.make_graph(self.nodes, self.family, self.inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        return model

    def asked(self):
        return {name: np.asarray(self.draw(choices)) for name, choices in self.sets.items()}


def filled(rng, shape, dtype=F):
    if dtype == B:
        return rng.random(shape) < 0.5
    if np.dtype(dtype).kind == "f":
        return rng.integers(-9, 10, shape).astype(dtype)
    low = 0 if np.dtype(dtype).kind == "u" else -9
    return rng.integers(low, 10, shape).astype(dtype)


def shapes(rng, *options, dtype=F):
    return [lambda shape=shape: filled(rng, shape, dtype) for shape in options]


def family(of):
    FAMILIES[of.__name__] = of
    return of


FAMILIES = {}


@family
def tile(g, rng):
    x = g.data("x", F, (2, 3), shapes(rng, (2, 3), (2, 3), (0, 3)) if rng.random() < 0.3 else shapes(rng, (2, 3)))
    edges = [[1, 1], [2, 1], [1, 3], [0, 1], [1, 0], [-1, 1], [2, -2]] + [[1, one] for one in BIG] + [[one, 1] for one in BIG[:4]]
    return g.op("Tile", [x, g.value("n", I, edges)])


@family
def reshape(g, rng):
    x = g.data("x", F, (2, 6), shapes(rng, (2, 6), (4, 3), (1, 12)))
    edges = [[3, 4], [-1, 4], [0, -1], [0, 0], [-1, -1], [5, 3], [-2, -6], [2**32 + 3, 4], [-1, 2**32 + 4], [4, 2**32 + 3], [12, 1], [-(2**32) - 1, 4], [0, 2**32], [2**63 - 1, 2]]
    return g.op("Reshape", [x, g.value("s", I, edges)], **({"allowzero": 1} if g.opset >= 14 and rng.random() < 0.3 else {}))


@family
def slices(g, rng):
    x = g.data("x", F, (5, 4), shapes(rng, (5, 4), (3, 4), (1, 4)))
    ends = [[one] for one in [0, 1, 2, 4, 5, 6, -1, -2, -5, -6, -7, *BIG, -(2**31), -(2**31) - 1, 2**31 - 1, -(2**32) - 1, 2**40]]
    kind = I32 if rng.random() < 0.15 else I
    fit = [one for one in ends if -(2**31) <= one[0] < 2**31] if kind == I32 else ends
    args = [x, g.value("a", kind, fit), g.value("b", kind, fit), g.value("axes", kind, [[0], [-2], [1], [-1]] + ([[2], [-3], [2**32]] if kind == I else [[2]]))]
    if rng.random() < 0.6:
        steps = [[1], [2], [-1], [-2], [3], [9], [-9], [0]] + ([[one] for one in BIG] if kind == I else [])
        args.append(g.value("t", kind, steps))
    return g.op("Slice", args)


@family
def expand(g, rng):
    x = g.data("x", F, (1, 3), shapes(rng, (1, 3), (2, 3)))
    edges = [[2, 3], [1, 1], [4, 2, 3], [2, 2], [0, 3], [-1, 3], [2, -3], [1, 2**32 + 3], [2**32 + 1, 1], [2**32 + 2, 3], [1], [3]]
    return g.op("Expand", [x, g.value("s", I, edges if rng.random() < 0.5 else [one for one in edges if len(one) == 2])])


@family
def ranges(g, rng):
    kind = rng.choice([I, I, I32, F])
    edges = [0, 1, 5, -3, 7] + (BIG if kind == I else [])
    steps = [1, 2, -1, -2, 0] + ([2**32 + 1, -(2**32) - 1] if kind == I else [])
    return g.op("Range", [g.value(name, kind, some, 0) for name, some in (("a", edges), ("b", edges), ("d", steps))])


def indices(rng, shape, kind, size, columns=1):
    high = [size, size + 1] + ([2**32, 2**32 + 1, -(2**32), 2**63 - 1] if kind == I else [2**31 - 1])

    def one():
        drawn = rng.integers(-size, size, shape).astype(kind)
        if rng.random() < 0.4 and drawn.size:
            drawn.flat[int(rng.integers(drawn.size))] = rng.choice([*high, -size - 1])
        return drawn

    return [one]


@family
def gather(g, rng):
    kind, axis = rng.choice([I, I32]), int(rng.choice([0, 1, -1]))
    x = g.data("x", F, (5, 5), shapes(rng, (5, 5)))
    return g.op("Gather", [x, g.data("i", kind, (2, 3), indices(rng, (2, 3), kind, 5))], axis=axis)


@family
def embedding(g, rng):
    kind = rng.choice([I, I32])
    g.constants.append(numpy_helper.from_array(filled(rng, (7, 4)), "wte"))
    return g.op("Gather", ["wte", g.data("ids", kind, (2, 3), indices(rng, (2, 3), kind, 7))])


@family
def gather_elements(g, rng):
    kind, axis = rng.choice([I, I32]), int(rng.choice([0, 1, -1]))
    x = g.data("x", F, (4, 4), shapes(rng, (4, 4)))
    shape = [(4, 4), (2, 3), (2, 4), (4, 2)][int(rng.integers(4))]
    return g.op("GatherElements", [x, g.data("i", kind, shape, indices(rng, shape, kind, 4))], axis=axis)


@family
def gather_nd(g, rng):
    x = g.data("x", F, (3, 3, 2), shapes(rng, (3, 3, 2)))
    width = int(rng.choice([1, 2]))
    drawn = indices(rng, (4, width), I, 3)
    g.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["N", width]))
    g.sets["i"] = drawn
    return g.op("GatherND", [x, "i"])


@family
def gather_nd_batched(g, rng):
    x = g.data("x", F, (3, 3, 2), shapes(rng, (3, 3, 2), (2, 3, 2)))
    g.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["M", 1]))
    g.sets["i"] = indices(rng, (3, 1), I, 3)
    return g.op("GatherND", [x, "i"], batch_dims=1)


@family
def scatter_elements(g, rng):
    kind, axis = rng.choice([I, I32]), int(rng.choice([0, 1, -1]))
    x = g.data("x", F, (4, 4), shapes(rng, (4, 4)))
    shape = [(4, 4), (2, 3), (4, 2)][int(rng.integers(3))]
    updates = [shape, shape, shape, (shape[0], shape[1] - 1)]
    more = {"reduction": str(rng.choice(["none", "add", "mul"] + (["max", "min"] if g.opset >= 18 else [])))} if g.opset >= 16 else {}

    def distinct():
        drawn = indices(rng, shape, kind, 4)[0]()
        return drawn if more.get("reduction", "none") != "none" else np.stack([rng.permutation(4)[: shape[1]] for _ in range(shape[0])]).astype(kind) if axis != 0 else drawn * 0 + np.arange(shape[0])[:, None].astype(kind) + (drawn.max() > 3) * kind(9)

    i = g.data("i", kind, shape, [distinct])
    return g.op("ScatterElements", [x, i, g.data("u", F, shape, shapes(rng, *updates))], axis=axis, **more)


@family
def scatter_nd(g, rng):
    x = g.data("x", F, (4, 3), shapes(rng, (4, 3)))
    g.inputs.append(helper.make_tensor_value_info("i", TensorProto.INT64, ["N", 1]))

    def one():
        drawn = rng.permutation(4)[:2].reshape(2, 1).astype(I)
        if rng.random() < 0.5:
            drawn[0, 0] = rng.choice([4, -4, -5, 2**32, 2**32 + 1])
        return drawn

    g.sets["i"] = [one]
    more = {"reduction": str(rng.choice(["none", "add", "mul"]))} if g.opset >= 16 else {}
    return g.op("ScatterND", [x, "i", g.data("u", F, (2, 3), shapes(rng, (2, 3), (2, 3), (2, 2), (3, 3), (1, 3)))], **more)


@family
def pad(g, rng):
    x = g.data("x", F, (3, 4), shapes(rng, (3, 4), (1, 4)))
    mode = str(rng.choice(["constant", "reflect", "edge"]))
    edges = [[0, 0, 0, 0], [1, 2, 0, 1], [0, 1, 0, 1], [0, 5, 0, 0], [0, 4, 0, 3], [2, 0, 0, 0], [-1, 0, 0, 0], [0, -2, 0, -3], [0, -1, 0, 2], [-3, 0, -1, 0], [0, 2**32, 0, 0], [0, 2**32 + 1, 0, 0], [-(2**32), 0, 0, 0]]
    args = [x, g.value("p", I, edges)]
    if mode == "constant" and rng.random() < 0.5:
        args.append(g.value("v", F, [np.float32(2), np.float32(-1)], 0))
    return g.op("Pad", args, mode=mode)


@family
def topk(g, rng):
    x = g.data("x", F, (3, 5), shapes(rng, (3, 5), (3, 2), (0, 5)))
    k = g.value("k", I, [[1], [2], [5], [6], [3], [0], [-1], [2**32 + 1], [2**32], [2**63 - 1]])
    return g.op("TopK", [x, k], ("y", "i"), axis=int(rng.choice([-1, 0, 1])), largest=int(rng.choice([0, 1])))


@family
def onehot(g, rng):
    depth = g.value("d", I, [[3], [1], [5], [0], [-1], [2**32 + 3]]) if rng.random() < 0.5 else g.value("d", I, [3, 1, 5, 0, -1, 2**32 + 3], 0)
    i = g.data("i", I, (4,), [lambda: rng.choice([0, 1, 2, -1, -3, 3, 4, -4, 2**32, 2**32 + 1, -6], 4).astype(I)])
    return g.op("OneHot", [i, depth, g.value("v", F, [np.array([0, 1], F), np.array([2, 5], F)])], axis=int(rng.choice([-1, 0, 1])))


@family
def constant_of_shape(g, rng):
    edges = [[2, 3], [0, 3], [1, 0], [-1, 2], [2**32 + 1, 2], [1, 2**32 + 2], [2**32, 0]]
    more = {} if rng.random() < 0.3 else {"value": numpy_helper.from_array(np.array([3], rng.choice([F, I, I32])))}
    return g.op("ConstantOfShape", [g.value("s", I, edges)], **more)


@family
def split(g, rng):
    axis = int(rng.choice([0, 1]))
    shape = (6, 4) if axis == 0 else (4, 6)
    x = g.data("x", F, shape, shapes(rng, shape, (5, 5), (6, 6), (7, 7)))
    outputs = ("y", "z") if rng.random() < 0.6 else ("y", "z", "w")
    how = rng.random()
    if how < 0.7:
        edges = [[2, 4], [3, 3], [6, 0], [2, 3], [4, 4], [-1, 7], [0, 6], [2**32 + 2, 4]] if len(outputs) == 2 else [[2, 2, 2], [1, 2, 3], [1, 1, 1], [6, -1, 1], [3, 3, 3], [6, 0, 0]]
        return g.op("Split", [x, g.value("s", I, edges)], outputs, axis=axis)
    return g.op("Split", [x], outputs, axis=axis, **({"num_outputs": len(outputs)} if g.opset >= 18 else {}))


@family
def reverse_sequence(g, rng):
    x = g.data("x", F, (4, 3), shapes(rng, (4, 3), (4, 3), (2, 3)))
    time = int(rng.choice([0, 1]))
    size = 3 if time == 0 else 4
    choices = [lambda: rng.choice([0, 1, 2, 3, 4], size).astype(I), lambda: rng.choice([-1, 1, 2, 5, 2**32 + 1], size).astype(I), lambda: rng.choice([1, 2], size + 1).astype(I)]
    return g.op("ReverseSequence", [x, g.data("n", I, (size,), choices)], time_axis=time, batch_axis=1 - time)


@family
def recurrent(g, rng):
    op, gates = [("RNN", 1), ("GRU", 3), ("LSTM", 4)][int(rng.integers(3))]
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    d = 2 if direction == "bidirectional" else 1
    x = g.data("x", F, (3, 2, 2), shapes(rng, (3, 2, 2), (3, 2, 2), (1, 2, 2)))
    for name, last in (("w", 2), ("r", 3)):
        g.constants.append(numpy_helper.from_array((filled(rng, (d, gates * 3, last)) / 20).astype(F), name))
    n = g.data("n", I32, (2,), [lambda: rng.integers(1, 4, 2).astype(I32), lambda: rng.choice([0, 1, 3, 4, -1], 2).astype(I32)])
    outputs = ("y", "h", "c") if op == "LSTM" else ("y", "h")
    return g.op(op, [x, "w", "r", "", n], outputs, hidden_size=3, direction=direction)


@family
def windows(g, rng):
    spatial = int(rng.choice([1, 1, 2]))
    op = str(rng.choice(["Conv", "Conv", "MaxPool", "AveragePool", "LpPool", "ConvTranspose"]))
    kernel = [int(rng.integers(1, 5)) for _ in range(spatial)]
    more = {"kernel_shape": kernel}
    how = rng.random()
    if how < 0.5:
        more["pads"] = [int(rng.integers(0, min(kernel) + int(rng.random() < 0.15))) for _ in range(2 * spatial)]
    elif how < 0.7:
        more["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    if rng.random() < 0.6:
        more["strides"] = [int(rng.integers(1, 4)) for _ in range(spatial)]
    if rng.random() < 0.3 and op in ("Conv", "MaxPool", "ConvTranspose") and "auto_pad" not in more:
        more["dilations"] = [int(rng.integers(1, 4)) for _ in range(spatial)]
    if op.endswith("Pool") and op != "LpPool" and rng.random() < 0.3 and "auto_pad" not in more:
        more["ceil_mode"] = 1
    if op == "AveragePool" and rng.random() < 0.4:
        more["count_include_pad"] = 1
    sizes = [tuple(int(rng.integers(0 if rng.random() < 0.1 else 1, 7)) for _ in range(spatial)) for _ in range(5)]
    channels = int(rng.choice([1, 2]))
    options = [(int(rng.choice([1, 1, 2])), channels, *size) for size in sizes]
    fixed = rng.random() < 0.25
    if fixed:
        options = options[:1]
    # A convolution's channels are fixed, as the weights are.
    x = "x"
    g.inputs.append(helper.make_tensor_value_info(x, TensorProto.FLOAT, [options[0][0] if fixed else "N", channels, *(options[0][2:] if fixed else [f"s{at}" for at in range(spatial)])]))
    g.sets[x] = shapes(rng, *options)
    if op == "Conv":
        g.constants.append(numpy_helper.from_array(filled(rng, (3, channels, *kernel)), "w"))
        return g.op(op, [x, "w"], **more)
    if op == "ConvTranspose":
        g.constants.append(numpy_helper.from_array(filled(rng, (channels, 2, *kernel)), "w"))
        return g.op(op, [x, "w"], **more)
    return g.op(op, [x], **more)


def pair(g, rng, a, b, dtype=F):
    """Two inputs of which either may have other sizes than it should."""

    def wrong(shape):
        shape = list(shape)
        if shape:
            at = int(rng.integers(len(shape)))
            shape[at] = int(rng.choice([1, shape[at] + 1, 0, 2]))
        return tuple(shape)

    kinds = [(lambda of=of: filled(rng, of if rng.random() < 0.6 else wrong(of), dtype)) for of in (a, b)]
    return [g.data(name, dtype, shape, [kind], True) for name, shape, kind in (("a", a, kinds[0]), ("b", b, kinds[1]))]


@family
def matmul(g, rng):
    options = [((2, 3), (3, 4)), ((3,), (3, 2)), ((2, 3), (3,)), ((3,), (3,)), ((2, 2, 3), (2, 3, 4)), ((2, 2, 3), (3, 4)), ((1, 2, 3), (5, 3, 4)), ((5, 2, 3), (2, 5, 3, 2))]
    a, b = options[int(rng.integers(len(options)))]
    return g.op("MatMul", pair(g, rng, a, b))


@family
def gemm(g, rng):
    ta, tb = int(rng.integers(2)), int(rng.integers(2))
    args = pair(g, rng, (3, 2) if ta else (2, 3), (4, 3) if tb else (3, 4))
    if rng.random() < 0.6:
        shape = [(4,), (2, 4), (2, 1), (1,), ()][int(rng.integers(5))]
        args.append(g.data("c", F, shape, shapes(rng, shape, shape, (3,), (2, 3))if len(shape) < 2 else shapes(rng, shape, shape, (3, 4)), True) if shape else g.value("c", F, [np.float32(2)], 0))
        if shape and len(shape) < 2:
            g.sets["c"] = shapes(rng, shape, shape, (3,))
    return g.op("Gemm", args, transA=ta, transB=tb, alpha=float(rng.choice([1, 0.5])), beta=float(rng.choice([1, 2, 0])))


@family
def einsum(g, rng):
    options = [("ij,jk->ik", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 2, 3), (2, 3, 4)), ("i,i->", (3,), (3,)), ("ij,ij->ij", (2, 3), (2, 3)), ("ij,j->i", (2, 3), (3,)), ("bid,bjd->bij", (2, 3, 4), (2, 2, 4))]
    equation, a, b = options[int(rng.integers(len(options)))]
    return g.op("Einsum", pair(g, rng, a, b), equation=equation)


@family
def concat(g, rng):
    axis = int(rng.choice([0, 1, -1]))
    return g.op("Concat", pair(g, rng, (2, 3), (2, 3), rng.choice([F, I])), axis=axis)


@family
def broadcast(g, rng):
    op = str(rng.choice(["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Less", "Greater", "Equal", "LessOrEqual", "PRelu", "Mod"]))
    kind = rng.choice([F, I, I32]) if op in ("Add", "Sub", "Mul", "Max", "Min", "Less", "Greater", "Equal") else I if op == "Mod" else F
    options = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((4, 2, 3), (2, 1)), ((3,), ()), ((3,), (2, 3))]
    a, b = options[int(rng.integers(len(options)))]
    if op == "PRelu":
        a, b = (4, 2, 3), (2, 1)
    return g.op(op, pair(g, rng, a, b, kind))


@family
def logic(g, rng):
    op = str(rng.choice(["And", "Or", "Xor"]))
    return g.op(op, pair(g, rng, (2, 3), [(2, 3), (3,), (2, 1)][int(rng.integers(3))], B))


@family
def where(g, rng):
    c = g.data("c", B, (2, 3), shapes(rng, (2, 3), (2, 3), (1, 3), (3, 3), (2, 1), dtype=B), True)
    return g.op("Where", [c, *pair(g, rng, (2, 3), [(2, 3), (3,), (2, 1)][int(rng.integers(3))], rng.choice([F, I]))])


@family
def reduction(g, rng):
    op = "Reduce" + str(rng.choice(["Sum", "Max", "Min", "Mean", "Prod", "L1", "L2", "LogSum", "SumSquare", "LogSumExp"]))
    kind = rng.choice([F, F, I, I32, np.float64, np.uint8, np.int8]) if op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd") else F
    if kind in (np.uint8, np.int8) and op in ("ReduceSum", "ReduceProd"):
        kind = F
    x = g.data("x", kind, (2, 3), shapes(rng, (2, 3), (0, 3), (2, 0), (0, 0), dtype=kind))
    more = {"keepdims": int(rng.integers(2))}
    as_input = op == "ReduceSum" or g.opset >= 18
    edges = [[0], [1], [-1], [0, 1], [-2], [2], [-3], [2**32], [2**32 + 1]]
    if not as_input:
        more["axes"] = edges[int(rng.integers(5))]
        return g.op(op, [x], **more)
    if rng.random() < 0.2:
        more["noop_with_empty_axes"] = int(rng.integers(2))
        return g.op(op, [x], **more)
    return g.op(op, [x, g.value("axes", I, edges if rng.random() < 0.3 else [edges[0], edges[1], edges[2]])], **more)


@family
def arguments_of_extremes(g, rng):
    x = g.data("x", F, (2, 3), shapes(rng, (2, 3), (2, 3), (2, 0), (0, 3)))
    return g.op(str(rng.choice(["ArgMax", "ArgMin"])), [x], axis=int(rng.choice([0, 1, -1])), keepdims=int(rng.integers(2)), select_last_index=int(rng.integers(2)))


@family
def squeeze(g, rng):
    x = g.data("x", F, (1, 3, 1), shapes(rng, (1, 3, 1), (2, 3, 1), (1, 1, 1)))
    return g.op("Squeeze", [x, g.value("axes", I, [[0], [2], [0, 2], [-1], [1], [3], [-4], [2**32], [0, 0]])])


@family
def unsqueeze(g, rng):
    x = g.data("x", F, (2, 3), shapes(rng, (2, 3)))
    return g.op("Unsqueeze", [x, g.value("axes", I, [[0], [2], [0, 3], [-1], [3], [-4], [2**32], [0, 0], [1, -3]])])


@family
def cumsum(g, rng):
    kind = rng.choice([F, I, I32])
    x = g.data("x", kind, (3, 4), shapes(rng, (3, 4), (0, 4), dtype=kind))
    return g.op("CumSum", [x, g.value("axis", I, [0, 1, -1, -2, 2, -3, 2**32], 0)], exclusive=int(rng.integers(2)), reverse=int(rng.integers(2)))


@family
def trilu(g, rng):
    g.opset = max(g.opset, 17)
    kind = rng.choice([F, I])
    x = g.data("x", kind, (3, 4), shapes(rng, (3, 4), (4, 2), (0, 2), dtype=kind))
    return g.op("Trilu", [x, g.value("k", I, [0, 1, -1, 5, -5, *BIG], 0)], upper=int(rng.integers(2)))


@family
def compress(g, rng):
    x = g.data("x", F, (3, 4), shapes(rng, (3, 4)))
    c = g.data("c", B, (3,), shapes(rng, (3,), (4,), (2,), (5,), (12,), (13,), dtype=B), True)
    more = {} if rng.random() < 0.3 else {"axis": int(rng.choice([0, 1, -1]))}
    return g.op("Compress", [x, c], **more)


@family
def nonzero(g, rng):
    return g.op("NonZero", [g.data("x", F, (3, 4), shapes(rng, (3, 4), (0, 4)))])


@family
def resize(g, rng):
    x = g.data("x", F, (1, 1, 2, 3), shapes(rng, (1, 1, 2, 3), (1, 1, 4, 4)))
    mode = str(rng.choice(["nearest", "linear"]))
    if rng.random() < 0.5:
        sizes = g.value("s", I, [[1, 1, 4, 6], [1, 1, 3, 3], [1, 1, 1, 1], [1, 1, 0, 4], [1, 1, -1, 4], [1, 1, 2**32 + 4, 6]])
        return g.op("Resize", [x, "", "", sizes], mode=mode)
    scales = g.value("s", F, [np.array(one, F) for one in ([1, 1, 2, 2], [1, 1, 0.5, 0.6], [1, 1, 1, 3], [1, 1, 0, 2], [1, 1, -1, 2], [1, 1, np.inf, 1], [1, 1, np.nan, 1])])
    return g.op("Resize", [x, "", scales], mode=mode)


@family
def integers(g, rng):
    op = str(rng.choice(["Div", "Mod", "Pow"]))
    kind = rng.choice([I, I32])
    least = np.iinfo(kind).min
    a = g.data("a", kind, (3,), [lambda: rng.choice([0, 1, -7, 9, 100] + ([] if op == "Pow" else [least, np.iinfo(kind).max]), 3).astype(kind)], True)
    b = g.data("b", kind, (3,), [lambda: rng.choice([1, 2, -3, 7], 3).astype(kind) if op != "Pow" else rng.integers(0, 4, 3).astype(kind), lambda: rng.choice([1, 0, 2] if op != "Pow" else [0, 1, 2], 3).astype(kind)], True)
    return g.op(op, [a, b])


@family
def clip(g, rng):
    kind = rng.choice([F, I, I32])
    x = g.data("x", kind, (3, 4), shapes(rng, (3, 4), (0, 4), dtype=kind))
    return g.op("Clip", [x, g.value("low", kind, [kind(-2), kind(3)], 0), g.value("high", kind, [kind(4), kind(-1)], 0)])


@family
def blocks(g, rng):
    if rng.random() < 0.5:
        x = g.data("x", F, (1, 4, 2, 2), shapes(rng, (1, 4, 2, 2), (1, 3, 2, 2), (1, 8, 1, 3)), True)
        return g.op("DepthToSpace", [x], blocksize=2, mode=str(rng.choice(["DCR", "CRD"])))
    x = g.data("x", F, (1, 2, 4, 4), shapes(rng, (1, 2, 4, 4), (1, 1, 3, 4), (1, 1, 4, 5)), True)
    return g.op("SpaceToDepth", [x], blocksize=2)


@family
def norms(g, rng):
    x = g.data("x", F, (2, 4, 3), shapes(rng, (2, 4, 3), (2, 3, 3), (2, 4, 5), (0, 4, 3)), True)
    op = str(rng.choice(["LayerNormalization", "InstanceNormalization", "BatchNormalization"]))
    g.opset = max(g.opset, 17)
    size = 3 if op == "LayerNormalization" else 4
    names = ["scale", "bias", "mean", "var"][: 4 if op == "BatchNormalization" else 2]
    for name in names:
        g.constants.append(numpy_helper.from_array(np.abs(filled(rng, (size,))) + 1, name))
    return g.op(op, [x, *names])


@family
def softmax(g, rng):
    x = g.data("x", F, (2, 3), shapes(rng, (2, 3), (0, 3), (2, 0)))
    return g.op(str(rng.choice(["Softmax", "LogSoftmax", "Hardmax"])), [x], axis=int(rng.choice([0, 1, -1])))


@family
def chained(g, rng):
    """Sizes of the shape of one input with values of another, as exporters write them."""
    x = g.data("x", F, (4, 6), shapes(rng, (4, 6), (2, 6), (3, 4)))
    g.constants.append(numpy_helper.from_array(np.array([0], I), "zero"))
    g.nodes.append(helper.make_node("Shape", [x], ["shape"]))
    g.nodes.append(helper.make_node("Gather", ["shape", "zero"], ["rows"]))
    n = g.value("n", I, [[-1], [2], [3], [6], [0], [2**32 + 6]])
    g.nodes.append(helper.make_node("Concat", ["rows", n], ["sizes"], axis=0))
    return g.op("Reshape", [x, "sizes"])


@family
def suppression(g, rng):
    def boxes():
        corners = rng.random((1, 4, 2)).astype(F)
        return np.concatenate([corners, corners + 0.2 + rng.random((1, 4, 2)).astype(F)], 2)

    b = g.data("b", F, (1, 4, 4), [boxes], False)
    s = g.data("s", F, (1, 2, 4), [lambda: rng.permutation(8).reshape(1, 2, 4).astype(F) / 10], False)
    most = g.value("k", I, [[1], [3], [0], [-1], [2**32 + 1]])
    return g.op("NonMaxSuppression", [b, s, most, g.value("iou", F, [np.array([0.5], F), np.array([0.0], F), np.array([1.5], F)]), g.value("least", F, [np.array([0.1], F), np.array([0.45], F)])])


def reference(pipe):
    """Loads and runs graphs until none come. A crash of the library ends the process, and it alone."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = None
    while True:
        what, given = pipe.recv()
        try:
            if what == "load":
                session = None
                session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
                pipe.send((True, [one.type for one in session.get_outputs()]))
            else:
                pipe.send((True, session.run(None, given)))
        except Exception as error:
            pipe.send((False, " ".join(str(error).split())[:300]))


class Reference:
    def __init__(self):
        self.start()

    def start(self):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=reference, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def call(self, what, given):
        try:
            self.pipe.send((what, given))
            if self.pipe.poll(30):
                return self.pipe.recv()
        except EOFError:
            pass
        self.process.kill()
        self.start()
        return False, "the library crashed"

    def ask(self, model, inputs):
        loaded, why = self.call("load", model)
        return self.call("run", inputs) if loaded else (False, why)


TYPES = {"float": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "double": 11, "float16": 10}


class Given:
    """An input as onnx_backend's Server asks it."""

    def __init__(self, array):
        self.kind = next(kind for kind, read in onnx_backend.KINDS.values() if read is not None and np.dtype(read) == array.dtype and kind != "BF16")
        self.shape, self.array = list(array.shape), array

    def bytes(self):
        return np.ascontiguousarray(self.array).tobytes()


class File:
    """A model as onnx_backend's Server serves it."""

    def __init__(self, model):
        self.onnx = model.SerializeToString()


def same(got, want):
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    if want.dtype.kind != "f":
        return np.array_equal(got, want)
    return np.allclose(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)


def judged(status, answer, names, expected):
    """Returns the outcome of an answer of the server."""
    answers, wanted = expected
    if status != 200:
        said = onnx_backend.reason(answer)
        if status != 400:
            return "broken", f"{status} {said}"
        if PRIVATE.search(answer):
            return "leaked", answer[:400]
        return ("refused" if answers else "agreed"), said
    got = []
    for name in names:
        output, body = answer[name]
        read = next(read for kind, read in onnx_backend.KINDS.values() if kind == output["datatype"])
        got.append(np.frombuffer(body, read).reshape(output["shape"]))
    if not answers:
        return "invented", f"{[one.tolist() if one.size < 20 else one.shape for one in got]}; the reference: {wanted}"
    for name, one, other in zip(names, got, wanted):
        if not same(one, np.asarray(other)):
            return "wrong", f"{name} is {one.dtype} {one.shape} {one.flatten()[:16].tolist()}, expected {other.dtype} {other.shape} {other.flatten()[:16].tolist()}"
    return "right", ""


def make(name, rng):
    """Returns a graph and the model of it, with the types of its outputs."""
    graph = Graph(name, rng)
    FAMILIES[name](graph, rng)
    try:
        model = onnx.shape_inference.infer_shapes(graph.model([0] * len(graph.outputs)))
    except Exception:
        return graph, None
    return graph, model


def typed(graph, reference):
    """Returns the model with the types of its outputs, which the inference of onnx or the reference knows."""
    for guess in (TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT8):
        types = [guess] + [TensorProto.FLOAT if graph.nodes[-1].op_type != "TopK" else TensorProto.INT64] * 3
        if graph.nodes[-1].op_type in ("Split",):
            types = [guess] * 4
        model = graph.model(types)
        loaded, why = reference.call("load", model.SerializeToString())
        if loaded or "does not match" not in str(why) and "Type Error" not in str(why):
            return model
    return graph.model([TensorProto.FLOAT] * 4)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--graphs", type=int, default=300)
    parser.add_argument("--asks", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family")
    parser.add_argument("--engine", choices=onnx_backend.ENGINES, default="tract")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the graphs and inputs of what went wrong")
    parser.add_argument("--show", type=int, default=4, help="findings that are shown of each family and outcome")
    asked = parser.parse_args()
    names = [name for name in FAMILIES if asked.family in (None, name)]
    # What asks for more memory ends the process that asked, and not the machine's others.
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    ref = Reference()
    graphs = []
    for at in range(asked.graphs):
        name = names[at % len(names)]
        rng = np.random.default_rng([asked.seed, at])
        graph = Graph(name, rng)
        FAMILIES[name](graph, rng)
        graphs.append((graph, typed(graph, ref)))
    table, found = collections.defaultdict(collections.Counter), collections.Counter()
    for first in range(0, len(graphs), onnx_backend.MODELS_OF_A_SERVER):
        some = graphs[first : first + onnx_backend.MODELS_OF_A_SERVER]
        server = onnx_backend.Server(asked.binary, asked.engine, [File(model) for _, model in some])
        try:
            states = server.states()
            for at, (graph, model) in enumerate(some):
                refused = states.get(f"m{at}", "not in the index")
                onnx_bytes = model.SerializeToString()
                for turn in range(asked.asks if graph.sets else 1):
                    inputs = graph.asked()
                    expected = ref.ask(onnx_bytes, inputs)
                    if expected[0] and any(np.asarray(one).nbytes > LIMIT for one in expected[1]):
                        expected = (False, "a large tensor")
                    if refused is not None:
                        status, answer = 400, json.dumps({"error": refused})
                    else:
                        try:
                            status, answer = server.ask(f"m{at}", [(name, Given(array)) for name, array in inputs.items()], graph.outputs)
                        except (OSError, http.client.HTTPException) as error:
                            status, answer = 0, f"the server is gone: {error!r}"
                    outcome, why = judged(status, answer, graph.outputs, expected)
                    table[graph.family][outcome] += 1
                    found[graph.family, outcome] += 1
                    is_bad = outcome in ("wrong", "invented", "broken", "leaked")
                    if (is_bad or asked.show > 20 and outcome == "refused") and found[graph.family, outcome] <= asked.show:
                        shown = {name: (array.shape, array.flatten()[:12].tolist()) for name, array in inputs.items()}
                        node = graph.nodes[-1]
                        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
                        constants = {one.name: numpy_helper.to_array(one).flatten()[:8].tolist() for one in graph.constants if not one.name.endswith("_zero")}
                        print(f"{outcome:9}{graph.family} graph {first + at}: {node.op_type} {attributes} {shown} {constants}: {why}")
                        if asked.keep:
                            asked.keep.mkdir(parents=True, exist_ok=True)
                            (asked.keep / f"{graph.family}-{first + at}.onnx").write_bytes(onnx_bytes)
                    if status == 0:
                        server = onnx_backend.Server(asked.binary, asked.engine, [File(model) for _, model in some])
                        server.states()
                    if refused is not None and turn >= 2 or status == 0:
                        break
        finally:
            server.stop()
    outcomes = ["right", "agreed", "refused", "wrong", "invented", "broken", "leaked"]
    print(f"{'family':24}" + "".join(f"{one:>10}" for one in outcomes))
    for name, counts in table.items():
        print(f"{name:24}" + "".join(f"{counts[one]:10}" for one in outcomes))
    total = sum(table.values(), collections.Counter())
    print(f"{'all':24}" + "".join(f"{total[one]:10}" for one in outcomes))
    sys.exit(1 if sum(total[one] for one in ("wrong", "invented", "broken", "leaked")) else 0)


if __name__ == "__main__":
    main()
