#!/usr/bin/env python3
"""Generated CSV files of many dialects, read by weir and by pandas, which is told the dialect.

    python3 -m venv venv && venv/bin/pip install pandas
    venv/bin/python tests/conformance/dialects.py target/release/weir [--count 200] [--seed 0]

A dialect is a separator, a way of quoting, a decimal mark, a header or none, an encoding, a line end and a word for missing
values. Each file is read twice: with the dialect told by flags, where what `weir data inspect --json` says of every column
(missing cells, mean, least and greatest number, texts and their counts) must be what pandas has, and with nothing told but the
word for missing values, where it must be the same or end with a message. Exits with 1 at the first silent difference.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import pandas as pd

SEPARATORS = {",": ",", ";": ";", "\t": "tab", "|": "|"}
# By how Python and pandas call it: as weir does, and texts that can be written in it.
ENCODINGS = {
    "utf-8": (None, ["größe", "naïve", "čaj", "茶"]),
    "utf-8-sig": (None, ["größe", "naïve", "čaj", "茶"]),
    "utf-16": (None, ["größe", "naïve", "čaj", "茶"]),
    "utf-16-le": ("utf-16le", ["größe", "naïve", "plain"]),
    "utf-16-be": ("utf-16be", ["größe", "naïve", "plain"]),
    "latin1": ("latin1", ["größe", "naïve", "plain"]),
    "cp1252": ("windows-1252", ["größe", "5 €", "plain"]),
    "shift_jis": ("shift_jis", ["茶", "さくら", "plain"]),
}
MISSING = ["", "NA", "NaN", "null", "None", "n/a", "#N/A", "<NA>", "-999", "n.a.", "missing", "-", "?", "0"]
WORDS = ["red", "green", "blue", 'say "hi"', "two words", "it's", "a,b", "a;b", "line\nbreak", "tab\there", "1e5x", "bar|s"]


def column(chance, texts):
    """Returns a function that makes the value of a cell; None is a missing one."""
    missing = chance.choice([0, 0, 0.05, 0.3])
    scale = 10 ** chance.randrange(-3, 6)
    few = chance.sample(texts, min(len(texts), chance.randrange(2, 7)))
    make = chance.choice(
        [
            lambda: round(chance.gauss(0, 1) * scale, 3),
            lambda: chance.randrange(-1000, 1000),
            lambda: chance.gauss(5, 1) * 1e-7,
            lambda: chance.randrange(10**6) * 1000 + 0.5,
            lambda: chance.choice(few),
            lambda: chance.choice(few),
        ]
    )
    return lambda: None if chance.random() < missing else make()


def written(value, dialect):
    if value is None:
        return dialect["missing"]
    if isinstance(value, str):
        return value
    return repr(value).replace(".", dialect["decimal"])


def quoted(text, value, dialect):
    mark, separator = dialect["quote"], dialect["separator"]
    is_needed = any(sign in text for sign in (separator, mark, "\n", "\r"))
    is_wanted = dialect["quoting"] == "all" or dialect["quoting"] == "texts" and isinstance(value, str)
    return mark + text.replace(mark, mark * 2) + mark if is_needed or is_wanted else text


def generated(seed):
    """Returns a dialect, names of columns and rows of values; the last column is the target."""
    chance = random.Random(seed)
    separator, encoding = chance.choice(list(SEPARATORS)), chance.choice(list(ENCODINGS))
    dialect = {
        "separator": separator,
        "quote": chance.choice(['"', '"', '"', "'"]),
        "quoting": chance.choice(["needed", "texts", "all"]),
        "decimal": chance.choice([".", "."] + ([","] if separator != "," else ["."])),
        "header": chance.random() < 0.7,
        "encoding": encoding,
        "end": chance.choice(["\n", "\n", "\r\n", "\r"]),
        "missing": chance.choice(MISSING),
    }
    texts = ENCODINGS[encoding][1] + WORDS
    # What stands for a missing value is never a value.
    texts = [text for text in texts if text != dialect["missing"]]
    makers = [column(chance, texts) for _ in range(chance.randrange(2, 7))]
    classes = chance.choice([["yes", "no"], ["007", "7", "9"], None])
    target = lambda: chance.choice(classes) if classes else round(chance.gauss(100, 9), 4)
    rows = [[*(make() for make in makers), target()] for _ in range(chance.randrange(30, 200))]
    if dialect["missing"] == "0":
        rows = [[None if value == 0 and place < len(makers) else value for place, value in enumerate(row)] for row in rows]
    names = [*(f"{chance.choice(['size', 'größe', 'x y', 'n'])}{place}" for place in range(len(makers))), "target"]
    if encoding == "shift_jis":
        names = [name.replace("größe", "茶") for name in names]
    return dialect, names, rows


def write(path, dialect, names, rows):
    separator, end = dialect["separator"], dialect["end"]
    lines = [[quoted(written(value, dialect), value, dialect) for value in row] for row in rows]
    if dialect["header"]:
        lines.insert(0, [quoted(name, name, dialect) for name in names])
    text = "".join(separator.join(line) + end for line in lines)
    path.write_bytes(text.encode(dialect["encoding"]))


def by_pandas(path, dialect):
    """Returns what pandas has of each column: missing cells, figures of numbers, or counts of texts."""
    frame = pd.read_csv(
        path,
        sep=dialect["separator"],
        quotechar=dialect["quote"],
        decimal=dialect["decimal"],
        header=0 if dialect["header"] else None,
        encoding=dialect["encoding"],
        na_values=[dialect["missing"], "?"],
        dtype={"target": str} if dialect["header"] else None,
        low_memory=False,
    )
    found = []
    for name in frame.columns:
        values = frame[name]
        if values.dropna().empty:
            found.append(None)
            continue
        figures = {"missing": int(values.isna().sum())}
        if pd.api.types.is_numeric_dtype(values):
            figures |= {"mean": values.mean(), "least": values.min(), "greatest": values.max()}
        else:
            # weir takes white space off the ends of a cell.
            figures["counts"] = {str(text).strip(): int(count) for text, count in values.value_counts().items()}
        found.append(figures)
    return len(frame), found


def by_weir(weir, path, flags):
    command = [weir, "data", "inspect", path, "--json", "--picture", "none", *flags]
    return subprocess.run(command, capture_output=True, text=True)


def close(ours, theirs, spread):
    return abs(ours - theirs) <= 2e-6 * max(abs(theirs), spread)


def difference(found, count, columns, names):
    """Returns what is otherwise in weir's reading, or None."""
    if sum(part["samples"] for part in found["parts"]) != count:
        return f"{[part['samples'] for part in found['parts']]} rows, pandas has {count}"
    ours = {column["name"]: column for column in found["columns"]}
    for name, expected in zip(names[:-1], columns):
        column = ours.get(name)
        if column is None:
            # Left out: it has no values, or one that all rows share; a note says so.
            if expected is None or any(name in note for note in found["notes"]):
                continue
            return f"column {name} is missing without a note"
        if expected is None:
            return f"column {name} has values, in pandas it has none"
        if column["missing"] != expected["missing"]:
            return f"column {name}: {column['missing']} missing, pandas has {expected['missing']}"
        if "counts" in expected:
            frequent = dict(map(tuple, column.get("frequent", [])))
            if column.get("categories") != len(expected["counts"]):
                return f"column {name}: {column}, pandas has {expected['counts']}"
            for text, number in frequent.items():
                if expected["counts"].get(text) != number:
                    return f"column {name}: {number} of {text!r}, pandas has {expected['counts']}"
        else:
            numbers = column.get("numbers")
            if numbers is None:
                return f"column {name}: texts {column.get('frequent')}, pandas has numbers"
            spread = expected["greatest"] - expected["least"]
            for figure in ("mean", "least", "greatest"):
                if not close(numbers[figure], expected[figure], spread):
                    return f"column {name}: {figure} {numbers[figure]}, pandas has {expected[figure]}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weir")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--all", action="store_true", help="go on after a difference")
    options = parser.parse_args()
    weir = os.path.abspath(options.weir)
    tallies = {"told": [0, 0], "untold": [0, 0]}
    differences = 0
    with tempfile.TemporaryDirectory() as work:
        for seed in range(options.seed, options.seed + options.count):
            dialect, names, rows = generated(seed)
            path = pathlib.Path(work) / f"{seed}.csv"
            write(path, dialect, names, rows)
            count, columns = by_pandas(path, dialect)
            if not dialect["header"]:
                names = [f"column{place}" for place in range(len(names))]
            missing = [] if dialect["missing"] == "" else [f"--missing={dialect['missing']}"]
            told = ["--separator", SEPARATORS[dialect["separator"]], "--decimal", dialect["decimal"]]
            told += ["--header", "yes" if dialect["header"] else "no", "--quote", dialect["quote"]]
            encoding = ENCODINGS[dialect["encoding"]][0]
            told += ["--encoding", encoding] if encoding else []
            for kind, flags in (("told", told), ("untold", [])):
                done = by_weir(weir, path, [*missing, *flags])
                if done.returncode == 0:
                    problem = difference(json.loads(done.stdout), count, columns, names)
                    tallies[kind][0] += 1
                elif done.returncode == 3 or done.returncode == 2 and kind == "untold":
                    # A message is an answer, but not to one who said everything.
                    problem = f"refused: {done.stderr or done.stdout}" if kind == "told" else None
                    tallies[kind][1] += 1
                else:
                    problem = f"exit code {done.returncode}: {done.stderr}"
                if problem:
                    differences += 1
                    print(f"dialect {seed}, {kind} {dialect}: {problem}")
                    if not options.all:
                        sys.exit(1)
    for kind, (read, refused) in tallies.items():
        print(f"{kind}: {read} read as pandas does, {refused} ended with a message")
    print(f"{options.count} dialects, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
