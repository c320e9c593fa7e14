"""Compares Weir's figures of drift and its estimated accuracy with NannyML's and Evidently's.

    python3 -m venv target/peers
    target/peers/bin/pip install -r tests/conformance/monitoring_peers.txt
    target/peers/bin/python tests/conformance/monitoring_peers.py target/release/weir

A server with mnist-mlp and a reference of 5,000 test digits is asked about the other ones, as they are and changed. What
GET /models/mnist-mlp/drift says of each stream is compared, to 1e-9, with the code of the others on the same bins:
PSI with Evidently's, the Jensen-Shannon distance with both, Kolmogorov and Smirnov's with NannyML's, Wasserstein's with
NannyML's, the p-value with SciPy's χ². The estimated accuracy is compared with NannyML's CBPE, which calibrates the
probabilities of the same reference: within half a point wherever Weir says that its estimate holds.
"""

import gzip
import json
import logging
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
# A script beside this one has the name of a module of Python, which the packages need.
FOLDER = str(pathlib.Path(__file__).resolve().parent)
sys.path = [path for path in sys.path if str(pathlib.Path(path).resolve()) != FOLDER]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from evidently.legacy.calculations.stattests.jensenshannon import _jensenshannon  # noqa: E402
from evidently.legacy.calculations.stattests.psi import _psi  # noqa: E402
from evidently.legacy.core import ColumnType  # noqa: E402
from nannyml.chunk import SizeBasedChunker  # noqa: E402
from nannyml.drift.univariate.methods import FeatureType, MethodFactory  # noqa: E402
from nannyml.performance_estimation.confidence_based import CBPE  # noqa: E402
from nannyml.thresholds import ConstantThreshold  # noqa: E402
from scipy import ndimage, stats  # noqa: E402

sys.path.append(FOLDER)
import served  # noqa: E402

SIDE = 28
CLASSES = 10
WINDOW = 3000
HALF_A_POINT = 0.005


def turned(angle):
    return lambda picture: ndimage.rotate(picture, angle, reshape=False, order=1)


def blurred(sigma):
    return lambda picture: ndimage.gaussian_filter(picture, sigma)


def noisy(sigma):
    random = np.random.default_rng(3)
    return lambda picture: picture + random.normal(0, sigma, picture.shape)


# Changes that the gate lets pass, and changes that it must not.
INSIDE = {
    "unchanged": lambda picture: picture,
    "turned by 5°": turned(5),
    "turned by -10°": turned(-10),
    "blurred a little": blurred(0.5),
    "darker": lambda picture: picture * 0.9,
}
OUTSIDE = {
    "turned by 60°": turned(60),
    "blurred": blurred(2),
    "noisy": noisy(80),
    "black and white exchanged": lambda picture: 255 - picture,
}


def idx(path, array):
    """Writes an array as MNIST's files are."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def digits():
    """The pictures and labels of the test digits, in two halves of an order that is drawn once."""
    folder = served.ROOT / "data" / "mnist"
    read = lambda name, skip: np.frombuffer(gzip.decompress((folder / name).read_bytes())[skip:], np.uint8)  # noqa: E731
    pictures = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, SIDE, SIDE)
    labels = read("t10k-labels-idx1-ubyte.gz", 8)
    order = np.random.default_rng(11).permutation(len(labels))
    pictures, labels = pictures[order], labels[order]
    half = len(labels) // 2
    return (pictures[:half], labels[:half]), (pictures[half:], labels[half:])


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def answers(base, pictures):
    """The probabilities that the model gives, asked in numbers: what it sees is what was made here."""
    shares = []
    for start in range(0, len(pictures), 200):
        rows = np.clip(np.rint(pictures[start : start + 200]), 0, 255).reshape(-1, 1, SIDE, SIDE)
        found = call(f"{base}/predict?top_k={CLASSES}", {"instances": rows.tolist()})
        for prediction in found["predictions"]:
            row = np.zeros(CLASSES)
            for scored in prediction["top_k"]:
                row[scored["class"]] = scored["confidence"]
            shares.append(row)
    return np.array(shares)


class Server:
    """A server with the reference of one half of the digits. A new one begins with an empty window."""

    def __init__(self, binary, reference):
        def refer(models):
            with tempfile.TemporaryDirectory() as folder:
                pictures, labels = reference
                # Only the test part is taken.
                for name, count in (("train", 1), ("t10k", len(labels))):
                    idx(pathlib.Path(folder, f"{name}-images-idx3-ubyte"), pictures[:count])
                    idx(pathlib.Path(folder, f"{name}-labels-idx1-ubyte"), labels[:count])
                command = [binary, "drift", "--reference", folder, "--models", str(models), "mnist-mlp/1"]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

        settings = ["--drift-window", str(WINDOW), "--drift-learning-windows", "0", "--drift-samples-per-second", "0"]
        self.weir = served.Weir(binary, *settings, more=refer)
        self.base = self.weir.base

    def drift(self, samples):
        """The report once so many samples are in it."""
        for _ in range(600):
            report = call(f"{self.base}/models/mnist-mlp/drift")
            if report["samples"] >= samples:
                return report
            time.sleep(0.05)
        raise SystemExit("the samples are not taken in")


def table(shares, labels=None):
    """Answers as NannyML takes them."""
    frame = pd.DataFrame({f"p{label}": shares[:, label] for label in range(CLASSES)})
    frame["said"] = shares.argmax(1)
    if labels is not None:
        frame["truth"] = labels.astype(int)
    return frame


def estimator(shares, labels):
    """NannyML's estimator, calibrated on the reference."""
    kind = {"y_pred_proba": {label: f"p{label}" for label in range(CLASSES)}, "y_pred": "said", "y_true": "truth"}
    made = CBPE(problem_type="classification_multiclass", metrics=["accuracy"], chunk_size=WINDOW, **kind)
    return made.fit(table(shares, labels))


def nannyml(key, kind, reference, live):
    """NannyML's distance of two samples."""
    chunker, threshold = SizeBasedChunker(chunk_size=1000), ConstantThreshold(upper=0.1)
    return MethodFactory.create(key, kind, chunker=chunker, threshold=threshold).fit(reference).calculate(live)


def places(edges):
    """A place for each bin, as Weir has it."""
    half = [0.5 * (edges[1] - edges[0]), 0.5 * (edges[-1] - edges[-2])] if len(edges) > 1 else [0.5, 0.5]
    middles = [0.5 * (low + high) for low, high in zip(edges, edges[1:])]
    return np.array([edges[0] - half[0], *middles, edges[-1] + half[1]])


def compare(tally, name, report):
    """Compares the figures of every stream."""
    for stream in report["streams"]:
        reference, live = np.array(stream["reference"]), np.array(stream["window"])
        effect = stream.get("effect")
        if effect is None or live.sum() == 0:
            continue
        found = {}
        bins, known, seen = len(live), reference.sum(), live.sum()
        index = lambda counts: pd.Series(np.repeat(np.arange(bins), counts), name="bin")  # noqa: E731
        # Half a count in every bin is one in every bin of counts that are doubled.
        smooth = [index(2 * counts + 1) for counts in (reference, live)]
        raw = _psi(*smooth, ColumnType.Categorical, 0.1)[0]
        k = max(report["dependence"], 1.0) / seen + 1.0 / known
        found["psi"] = (effect["psi"], raw - (bins - 1) * k)
        found["p_value"] = (effect["p_value"], stats.chi2.sf(raw / k, bins - 1))
        both = [index(counts) for counts in (reference, live)]
        base_e = _jensenshannon(*both, ColumnType.Categorical, 0.1)[0]
        found["jensen_shannon (Evidently)"] = (effect["jensen_shannon"] * np.sqrt(np.log(2)), base_e)
        if (reference > 0).all():
            theirs = nannyml("jensen_shannon", FeatureType.CATEGORICAL, *both)
            found["jensen_shannon (NannyML)"] = (effect["jensen_shannon"], theirs)
        if stream.get("edges"):
            numbers = [pd.Series(np.repeat(places(stream["edges"]), counts), name="number") for counts in (reference, live)]
            distance = lambda key: nannyml(key, FeatureType.CONTINUOUS, *numbers)  # noqa: E731
            found["kolmogorov_smirnov"] = (effect["kolmogorov_smirnov"], distance("kolmogorov_smirnov"))
            found["wasserstein"] = (effect["wasserstein"], distance("wasserstein") / numbers[0].std(ddof=0))
        apart = {what: pair for what, pair in found.items() if not np.isclose(*pair, rtol=1e-9, atol=1e-9)}
        tally.check(f"{name}: {stream['stream']}: {len(found)} figures", not apart, apart)


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    tally = served.Tally()
    reference, (pictures, labels) = digits()
    server = Server(binary, reference)
    model = estimator(answers(server.base, reference[0]), reference[1])
    server.weir.stop()
    for name, change in {**INSIDE, **OUTSIDE}.items():
        changed = np.array([change(picture.astype(float)) for picture in pictures[:WINDOW]])
        server = Server(binary, reference)
        shares = answers(server.base, changed)
        report = server.drift(WINDOW)
        server.weir.stop()
        compare(tally, name, report)
        theirs = model.estimate(table(shares)).filter(period="analysis").to_df()["accuracy"]["value"].iloc[0]
        truth = float((shares.argmax(1) == labels[:WINDOW]).mean())
        ours, holds = report["estimate"]["accuracy"], report["estimate"]["valid"]
        print(f"      {name}: {truth:.4f} right, {ours:.4f} by Weir ({'holds' if holds else 'void'}), {theirs:.4f} by NannyML")
        if name in INSIDE:
            tally.check(f"{name}: the estimate holds and is NannyML's", holds and abs(ours - theirs) <= HALF_A_POINT, (ours, theirs))
        else:
            tally.check(f"{name}: the estimate is void", not holds, ours)
    tally.close()


if __name__ == "__main__":
    main()
