"""Labelled series that the package aeon ships, most of them of the UCR and UEA archives, parted as there."""

import itertools
import json
import zipfile

# Series of one number a step, and of several; of one length but for JapaneseVowels.
SERIES = ["GunPoint", "ItalyPowerDemand", "ArrowHead", "OSULeaf", "BasicMotions", "JapaneseVowels"]


def read(lines):
    """The series of a .ts file, as lists of numbers or of lists of numbers, and their labels."""
    rows = itertools.dropwhile(lambda line: line.lower() != "@data", (line.strip() for line in lines))
    for row in itertools.islice(rows, 1, None):
        if row:
            *channels, label = row.split(":")
            channels = [[float(number) for number in channel.split(",")] for channel in channels]
            yield (channels[0] if len(channels) == 1 else [list(step) for step in zip(*channels)]), label


def parts(packages, name):
    """Series and labels to learn from, and to judge by."""
    wheel = zipfile.ZipFile(next(packages.glob("aeon-*.whl")))
    file = lambda part: wheel.read(f"aeon/datasets/data/{name}/{name}_{part}.ts").decode().splitlines()
    return [list(read(file(part))) for part in ("TRAIN", "TEST")]


def write(split, folder):
    """Writes both parts as JSON Lines. The labels are marked, so that digits are no numbers to learn."""
    for part, rows in zip(("train", "test"), split):
        lines = (json.dumps({"sequence": series, "label": f"class {label}"}) for series, label in rows)
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n")


def nearest(split):
    """The share of test series whose nearest training series, by the sum of squared differences, has their label; None
    where lengths differ."""
    import numpy as np

    if len({len(series) for rows in split for series, _ in rows}) > 1:
        return None
    known, asked = (np.array([np.ravel(series) for series, _ in rows]) for rows in split)
    distances = ((asked[:, None] - known[None]) ** 2).sum(axis=2).argmin(axis=1)
    return float(np.mean([split[0][near][1] == label for near, (_, label) in zip(distances, split[1])]))
