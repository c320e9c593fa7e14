#!/usr/bin/env python3
"""Compares `weir train` with scikit-learn on ten small tables.

    python -m venv venv && venv/bin/pip install scikit-learn pandas pillow
    venv/bin/python benches/tables/run.py --weir target/release/weir --seeds 5

For each data set and seed the same rows are trained on and tested on. scikit-learn's figures are kept in --cache, as they
do not change. The table gives means over the seeds: accuracy in per cent, or 100 R² for numbers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets, ensemble, linear_model, model_selection, neural_network, pipeline, preprocessing

warnings.filterwarnings("ignore")


def frame(bunch):
    return bunch.data, bunch.target


def data(name, seed):
    """The columns and targets of a data set, and whether the targets are classes."""
    match name:
        case "iris":
            return *frame(datasets.load_iris()), True
        case "wine":
            return *frame(datasets.load_wine()), True
        case "breast_cancer":
            return *frame(datasets.load_breast_cancer()), True
        case "digits" | "digits_png":
            return *frame(datasets.load_digits()), True
        case "diabetes":
            return *frame(datasets.load_diabetes()), False
        case "make_moons":
            return *datasets.make_moons(1000, noise=0.25, random_state=seed), True
        case "make_classification":
            return *datasets.make_classification(1000, 20, n_informative=8, n_classes=3, random_state=seed), True
        case "make_regression":
            return *datasets.make_regression(1000, 20, n_informative=10, noise=10, random_state=seed), False
        case "friedman1":
            return *datasets.make_friedman1(20_000, noise=1.0, random_state=seed), False
    raise SystemExit(f"no data set is called {name}")


NAMES = [
    "iris",
    "wine",
    "breast_cancer",
    "digits",
    "digits_png",
    "diabetes",
    "make_moons",
    "make_classification",
    "make_regression",
    "friedman1",
]


def split(name, seed):
    x, y, is_classes = data(name, seed)
    stratify = y if is_classes else None
    parts = model_selection.train_test_split(x, y, test_size=0.25, random_state=seed, stratify=stratify)
    return *parts, is_classes


def rivals(is_classes, seed):
    """scikit-learn's models with their defaults, on scaled columns where that matters."""
    scaled = lambda model: pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    if is_classes:
        return {
            "linear": scaled(linear_model.LogisticRegression(max_iter=5000)),
            "mlp": scaled(neural_network.MLPClassifier(max_iter=1000, random_state=seed)),
            "forest": ensemble.RandomForestClassifier(random_state=seed),
            "boosting": ensemble.HistGradientBoostingClassifier(random_state=seed),
        }
    from sklearn.compose import TransformedTargetRegressor

    target = lambda model: TransformedTargetRegressor(model, transformer=preprocessing.StandardScaler())
    return {
        "linear": scaled(linear_model.Ridge()),
        "mlp": target(scaled(neural_network.MLPRegressor(max_iter=1000, random_state=seed))),
        "forest": ensemble.RandomForestRegressor(random_state=seed),
        "boosting": ensemble.HistGradientBoostingRegressor(random_state=seed),
    }


def theirs(name, seed):
    train_x, test_x, train_y, test_y, is_classes = split(name, seed)
    return {kind: 100 * model.fit(train_x, train_y).score(test_x, test_y) for kind, model in rivals(is_classes, seed).items()}


def write(name, seed, folder):
    """Writes the parts of a data set as weir reads them."""
    train_x, test_x, train_y, test_y, is_classes = split(name, seed)
    for part, x, y in (("train", train_x, train_y), ("test", test_x, test_y)):
        if name == "digits_png":
            from PIL import Image

            for index, (pixels, label) in enumerate(zip(x, y)):
                (folder / part / str(label)).mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray((pixels.reshape(8, 8) * 255 / 16).round().astype(np.uint8))
                picture.save(folder / part / str(label) / f"{index}.png")
        else:
            table = pd.DataFrame(x, columns=[f"a{index}" for index in range(x.shape[1])])
            table["target"] = [f"c{label}" for label in y] if is_classes else y
            table.to_csv(folder / f"{part}.csv", index=False)


def ours(weir, name, seed, extra):
    """Trains by the default command and returns the score on the test rows and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "data").mkdir()
        write(name, seed, folder / "data")
        place = ["--models", folder / "models", "--runs", folder / "runs"]
        command = [weir, "train", *extra, "--data", folder / "data", *place, "--seed", str(seed), "--quiet", "--json"]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{name}: {done.stderr}")
        found = json.loads(done.stdout)
        figure = found["accuracy"] if "accuracy" in found else found["r_squared"]
        return 100 * figure, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--weir", default="target/release/weir")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--names", nargs="*", default=NAMES)
    parser.add_argument("--cache", type=Path, default=Path("target/tables-sklearn.json"))
    parser.add_argument("--only-theirs", action="store_true")
    parser.add_argument("command", nargs="*", default=["dense"], help="the words after weir train")
    options = parser.parse_args()
    cache = json.loads(options.cache.read_text()) if options.cache.exists() else {}
    rows, near_best, near_mlp = [], 0, 0
    for name in options.names:
        scores = {}
        for seed in range(options.seeds):
            key = f"{name}/{seed}"
            if key not in cache:
                cache[key] = theirs(name, seed)
                options.cache.write_text(json.dumps(cache))
            for kind, score in cache[key].items():
                scores.setdefault(kind, []).append(score)
        means = {kind: float(np.mean(of_kind)) for kind, of_kind in scores.items()}
        if options.only_theirs:
            print(name, {kind: round(mean, 2) for kind, mean in means.items()}, flush=True)
            continue
        runs = [ours(options.weir, name, seed, options.command) for seed in range(options.seeds)]
        mine, seconds = np.mean([run[0] for run in runs]), np.mean([run[1] for run in runs])
        allowed = 1.0 if data(name, 0)[2] else 2.0
        best = max(means, key=means.get)
        near_best += mine >= means[best] - allowed
        near_mlp += mine >= means["mlp"] - allowed
        rows.append(name)
        print(
            f"{name:20} weir {mine:6.2f} ({seconds:5.1f} s)  best {means[best]:6.2f} {best:8}"
            f"  mlp {means['mlp']:6.2f}  difference {mine - means[best]:+6.2f} {mine - means['mlp']:+6.2f}",
            flush=True,
        )
    if rows:
        print(f"within 1 point (R² 0.02) of the best: {near_best} of {len(rows)}; of the MLP: {near_mlp} of {len(rows)}")


if __name__ == "__main__":
    sys.exit(main())
