#!/usr/bin/env python3
"""Compares boxes and masks that a served model answers with against the post-processing that each layout's authors
publish, written down again in NumPy.

    tests/conformance/vision.py target/release/weir

The graphs tell known tables, plus zero times the mean of the picture. Pictures are of many sizes and ratios. Needs
numpy, onnx, pillow and requests.
"""

import base64
import io
import sys

import numpy as np
import onnx
import requests
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from served import Tally, Weir

SIDE = 640
BOXES = 200
CLASSES = 5
SIZES = [(640, 640), (1280, 720), (333, 500), (97, 1000), (1000, 999), (64, 48), (2000, 150), (500, 375)]
LABELS = [f"thing {index}" for index in range(CLASSES)]
RANDOM = np.random.default_rng(7)


def graph(outputs, uint8=False, batch=True):
    """Returns a model whose outputs are these tables, by name, plus nothing of the picture."""
    symbol = "N" if batch else 1
    shape = [symbol, SIDE, SIDE, 3] if uint8 else [symbol, 3, SIDE, SIDE]
    kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants = [numpy_helper.from_array(np.float32(0), "zero")]
    edges = []
    for name, table in outputs.items():
        whole = not np.issubdtype(table.dtype, np.floating)
        dims = [symbol, *table.shape] if batch else ["found", *table.shape[1:]]
        ones = [-1] + [1] * table.ndim if batch else [1] * table.ndim
        held = table[None] if batch else table
        constants.append(numpy_helper.from_array(held.astype(np.float32), f"{name}_table"))
        constants.append(numpy_helper.from_array(np.array(ones, np.int64), f"{name}_ones"))
        nodes.append(helper.make_node("Reshape", ["nothing", f"{name}_ones"], [f"{name}_each"]))
        nodes.append(helper.make_node("Add", [f"{name}_each", f"{name}_table"], [f"{name}_floats" if whole else name]))
        if whole:
            nodes.append(helper.make_node("Cast", [f"{name}_floats"], [name], to=TensorProto.INT64))
        edges.append(helper.make_tensor_value_info(name, TensorProto.INT64 if whole else TensorProto.FLOAT, dims))
    made = helper.make_graph(nodes, "vision", [helper.make_tensor_value_info("images", kind, shape)], edges, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def corners(centres):
    x, y, width, height = np.moveaxis(centres, -1, 0)
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1)


def overlaps(one, others):
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    area = lambda boxes: np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(-1)  # noqa: E731
    return shared / (area(one) + area(others) - shared)


def nms(boxes, scores, threshold):
    """torchvision.ops.nms: greedy, most confident first, with "more than" for the overlap."""
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        order = rest[overlaps(boxes[best], boxes[rest]) <= threshold]
    return np.array(kept, int)


def batched_nms(boxes, scores, classes, threshold):
    """Ultralytics' and torchvision's: classes are moved apart."""
    return nms(boxes + (classes * 7680.0)[:, None], scores, threshold)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def scale_boxes(boxes, size):
    """Ultralytics' ops.scale_boxes: from a letterboxed square to the picture."""
    width, height = size
    gain = min(SIDE / height, SIDE / width)
    pad = round((SIDE - round(width * gain)) / 2 - 0.1), round((SIDE - round(height * gain)) / 2 - 0.1)
    boxes = (boxes - [*pad, *pad]) / gain
    return np.clip(boxes, 0, [width, height, width, height])


def stretched(boxes, size):
    """Shares of the input to pixels of the picture, as target_sizes of transformers."""
    return np.clip(boxes, 0, 1) * [*size, *size]


def centres_of(count):
    """Returns boxes in clusters, so that many overlap: centre and size in pixels of the input."""
    clusters = RANDOM.uniform(150, SIDE - 150, (count // 8 + 1, 2))
    centre = np.repeat(clusters, 8, 0)[:count] + RANDOM.normal(0, 12, (count, 2))
    return np.concatenate([centre, RANDOM.uniform(140, 280, (count, 2))], 1).astype(np.float32)


def distinct(*shape):
    """Returns scores of which no two are equal, so that every order of them is the same."""
    count = int(np.prod(shape))
    return ((RANDOM.permutation(count) + 0.5) / count).astype(np.float32).reshape(shape)


# Each returns the model, its [answer] and [image], and the reference: size -> boxes, scores, classes.


def yolo_v5():
    centres, objectness, scores = centres_of(BOXES), distinct(BOXES), distinct(BOXES, CLASSES)
    table = np.concatenate([centres, objectness[:, None], scores], 1)

    def reference(size):
        rows = table[table[:, 4] > 0.25]
        confidence = rows[:, 5:] * rows[:, 4:5]
        best, classes = confidence.max(1), confidence.argmax(1)
        chosen = best > 0.25
        boxes, best, classes = corners(rows[chosen, :4]), best[chosen], classes[chosen]
        kept = batched_nms(boxes, best, classes, 0.45)[:1000]
        return scale_boxes(boxes[kept], size), best[kept], classes[kept]

    return graph({"output0": table}), "yolo", "", reference


def yolo_v8():
    centres, scores = centres_of(BOXES), distinct(BOXES, CLASSES)
    table = np.concatenate([centres, scores], 1)

    def reference(size):
        best, classes = scores.max(1), scores.argmax(1)
        chosen = best > 0.25
        boxes, best, classes = corners(centres[chosen]), best[chosen], classes[chosen]
        kept = batched_nms(boxes, best, classes, 0.7)[:300]
        return scale_boxes(boxes[kept], size), best[kept], classes[kept]

    return graph({"output0": np.ascontiguousarray(table.T)}), "yolo", "", reference


def yolo_v10():
    boxes, scores = corners(centres_of(BOXES)), distinct(BOXES)
    classes = RANDOM.integers(0, CLASSES, BOXES)
    table = np.concatenate([boxes, scores[:, None], classes[:, None]], 1).astype(np.float32)

    def reference(size):
        order = np.argsort(-scores)
        order = order[scores[order] > 0.25][:300]
        return scale_boxes(boxes[order], size), scores[order], classes[order]

    return graph({"output0": table}), "yolo", "", reference


def ssd():
    boxes = corners(centres_of(BOXES)) / SIDE
    scores = softmax(RANDOM.normal(0, 3, (BOXES, CLASSES + 1))).astype(np.float32)

    def reference(size):
        found = []
        for label in range(1, CLASSES + 1):
            chosen = np.flatnonzero(scores[:, label] > 0.5)
            kept = chosen[nms(boxes[chosen], scores[chosen, label], 0.45)]
            found += [(scores[index, label], index, label) for index in kept]
        found.sort(key=lambda one: -one[0])
        found = found[:200]
        index = [one[1] for one in found]
        return stretched(boxes[index], size), np.array([one[0] for one in found]), np.array([one[2] for one in found])

    return graph({"scores": scores, "boxes": boxes.astype(np.float32)}), "stretch", "", reference


def tensorflow():
    x1, y1, x2, y2 = np.moveaxis(corners(centres_of(100)) / SIDE, -1, 0)
    scores = np.sort(distinct(100))[::-1].copy()
    classes = RANDOM.integers(1, CLASSES + 1, 100)
    tables = {
        "detection_boxes": np.stack([y1, x1, y2, x2], -1).astype(np.float32),
        "detection_classes": classes.astype(np.float32),
        "detection_scores": scores,
        "num_detections": np.float32(40).reshape(()),
    }

    def reference(size):
        chosen = np.flatnonzero(scores[:40] > 0.5)
        return stretched(np.stack([x1, y1, x2, y2], -1)[chosen], size), scores[chosen], classes[chosen]

    return graph(tables, uint8=True), "stretch", "", reference


def torchvision():
    boxes, scores = corners(centres_of(BOXES)), np.sort(distinct(BOXES))[::-1].copy()
    classes = RANDOM.integers(0, CLASSES, BOXES)

    def reference(size):
        chosen = scores > 0.5
        return stretched(boxes[chosen] / SIDE, size)[:300], scores[chosen][:300], classes[chosen][:300]

    tables = {"boxes": boxes.astype(np.float32), "labels": classes, "scores": scores}
    return graph(tables, batch=False), "stretch", "", reference


def detr():
    centres = centres_of(100) / SIDE
    logits = RANDOM.normal(0, 4, (100, CLASSES + 1)).astype(np.float32)

    def reference(size):
        shares = softmax(logits)[:, :-1]
        scores, classes = shares.max(-1), shares.argmax(-1)
        order = np.argsort(-scores)
        order = order[scores[order] > 0.5]
        return stretched(corners(centres[order]), size), scores[order], classes[order]

    return graph({"logits": logits, "pred_boxes": centres.astype(np.float32)}), "stretch", "", reference


def rt_detr():
    centres = centres_of(300) / SIDE
    logits = np.log(distinct(300, CLASSES) / (1 - distinct(300, CLASSES))).astype(np.float32)

    def reference(size):
        shares = 1 / (1 + np.exp(-logits.astype(np.float64)))
        order = np.argsort(-shares.ravel())[:300]
        scores, classes, index = shares.ravel()[order], order % CLASSES, order // CLASSES
        chosen = scores > 0.5
        return stretched(corners(centres[index[chosen]]), size), scores[chosen], classes[chosen]

    return graph({"logits": logits, "pred_boxes": centres.astype(np.float32)}), "stretch", "", reference


LAYOUTS = {made.__name__.replace("yolo_v", "yolov"): made for made in (yolo_v5, yolo_v8, yolo_v10, ssd, tensorflow, torchvision, detr, rt_detr)}
FITS = {"yolo": '[image]\npreset = "yolo"\n', "stretch": '[image]\nfit = "stretch"\n'}


def picture(size):
    file = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def ask(server, model, size, query=""):
    answer = requests.post(f"{server.base}/models/{model}/predict{query}", data=picture(size), timeout=120)
    answer.raise_for_status()
    return answer.json()["predictions"][0]


def check_boxes(server, tally, layout, reference):
    said = requests.get(f"{server.base}/models/{layout}", timeout=60).json()["versions"][0]["answer"]
    tally.check(f"{layout}: the layout is told", said.startswith(f"layout {layout} ("), said)
    first = 1 if layout in ("ssd", "tensorflow") else 0
    for size in SIZES:
        found = ask(server, layout, size)["detections"]
        boxes, scores, classes = reference(size)
        # Boxes that lie in the padding alone are not told.
        seen = (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, scores, classes = boxes[seen], scores[seen], classes[seen]
        tally.check(f"{layout}: {size} has {len(boxes)} boxes", len(found) == len(boxes) > 0, len(found))
        least = worst = 1.0
        for one, box, score, label in zip(found, boxes, scores, classes):
            least = min(least, overlaps(np.array(one["box"]), box[None])[0])
            worst = min(worst, 1 - abs(one["confidence"] - score))
            if (one["class"], one["label"]) != (label, LABELS[label - first]):
                worst = 0.0
        tally.check(f"{layout}: {size} IoU >= 0.99 (least {least:.4f}), same classes and scores", least >= 0.99 and worst > 1 - 1e-4, (least, worst))


def bilinear(scores, size):
    """torch.nn.functional.interpolate(mode="bilinear", align_corners=False)."""
    _, rows, columns = scores.shape

    def axis(count, source):
        at = np.clip((np.arange(count) + 0.5) * source / count - 0.5, 0, None)
        low = np.minimum(at.astype(int), source - 1)
        return low, np.minimum(low + 1, source - 1), at - low

    x0, x1, x = axis(size[0], columns)
    y0, y1, y = axis(size[1], rows)
    above, below = scores[:, y0], scores[:, y1]
    blend = lambda part: part[:, :, x0] * (1 - x) + part[:, :, x1] * x  # noqa: E731
    return blend(above) * (1 - y)[None, :, None] + blend(below) * y[None, :, None]


def check_masks(server, tally, scores):
    for size in SIZES:
        answer = ask(server, "masks", size)
        expected = bilinear(scores.astype(np.float64), size).argmax(0)
        mask = np.array(Image.open(io.BytesIO(base64.b64decode(answer["mask"]))))
        same = (mask == expected).mean() if mask.shape == expected.shape else 0
        tally.check(f"masks: {size} agree with the reference ({same:.6f})", same > 0.9999, mask.shape)
        runs = ask(server, "masks", size, "?mask=run_lengths")["run_lengths"]
        rolled = np.repeat([run[0] for run in runs], [run[1] for run in runs]).reshape(mask.shape)
        tally.check(f"masks: {size} run lengths are the same map", (rolled == mask).all())
        areas = {area["class"]: area["pixels"] for area in answer["classes"]}
        tally.check(f"masks: {size} areas", areas == {int(c): int((mask == c).sum()) for c in np.unique(mask)}, areas)


def main():
    models, settings, references = {}, {}, {}
    labels = f"labels = {LABELS!r}\n".replace("'", '"')
    for name, made in LAYOUTS.items():
        models[name], fit, more, references[name] = made()
        settings[name] = f'{labels}{FITS[fit]}[answer]\nkind = "detections"\n{more}'
    scores = RANDOM.normal(0, 1, (CLASSES, 40, 40)).astype(np.float32)
    models["masks"] = graph({"logits": scores})
    settings["masks"] = f'{labels}{FITS["stretch"]}[answer]\nkind = "segmentation"\n'
    server, tally = Weir(sys.argv[1], models=models, settings=settings), Tally()
    try:
        for name, reference in references.items():
            check_boxes(server, tally, name, reference)
        check_masks(server, tally, scores)
    finally:
        server.stop()
    tally.close()


if __name__ == "__main__":
    main()
