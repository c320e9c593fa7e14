#!/usr/bin/env python3
"""Sends digits to a server that keeps inputs, and labels those of an export in the place of a person.

    weir serve --capture all &
    python3 examples/labelling.py send
    weir feedback export mnist-mlp --out to-label
    python3 examples/labelling.py label to-label

Needs nothing but Python. The digits are those of data/mnist; what a person would read off a picture, the script looks
up.
"""

import argparse
import csv
import json
import pathlib
import urllib.request

from drifting import digits, png


def send(server, model, count, pictures):
    """Asks about the first digits, one after the other, and says how many answers were right."""
    right = 0
    for picture, label in pictures[:count]:
        request = urllib.request.Request(f"{server}/models/{model}/predict", png(picture), {"content-type": "image/png"})
        with urllib.request.urlopen(request) as answer:
            right += json.load(answer)["predictions"][0]["label"] == str(label)
    print(f"{count} digits sent, {right / count:.1%} of the answers are right")


def label(folder, pictures):
    """Fills in the column label of labels.csv."""
    truths = {png(picture): label for picture, label in pictures}
    table = folder / "labels.csv"
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["label"] = truths[(folder / row["file"]).read_bytes()]
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} pictures labelled in {table}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    sending = actions.add_parser("send", help="ask about digits")
    sending.add_argument("--server", default="http://127.0.0.1:8080")
    sending.add_argument("--model", default="mnist-mlp")
    sending.add_argument("--count", type=int, default=1000)
    labelling = actions.add_parser("label", help="label the pictures of an export")
    labelling.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    pictures = digits(pathlib.Path("data/mnist"))
    if args.action == "send":
        send(args.server, args.model, args.count, pictures)
    else:
        label(args.folder, pictures)


if __name__ == "__main__":
    main()
