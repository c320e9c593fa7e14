#!/usr/bin/env python3
"""Trains a small network and reads its event files with the real TensorBoard.

    tests/conformance/tensorboard_events.py target/release/weir
"""

import csv
import glob
import os
import subprocess
import sys
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.util import tensor_util

EPOCHS = 2
BATCH = 500


def check(what, holds):
    print(f"{'ok   ' if holds else 'FAIL '} {what}", flush=True)
    if not holds:
        sys.exit(1)


def scalars(events, tag):
    """Returns steps and values, whether TensorBoard kept them as scalars or as tensors."""
    if tag in events.Tags()["scalars"]:
        return [(event.step, event.value) for event in events.Scalars(tag)]
    return [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]


def main():
    weir = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        command = [weir, "train", "mnist-mlp", "--epochs", str(EPOCHS), "--batch-size", str(BATCH), "--no-publish"]
        subprocess.run(command + ["--quiet", "--runs", folder], check=True)
        run = os.path.join(folder, "mnist-mlp", "1")
        files = glob.glob(os.path.join(run, "events.out.tfevents.*"))
        check("one event file", len(files) == 1)
        print(f"      {os.path.getsize(files[0])} bytes")

        events = EventAccumulator(run, size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
        events.Reload()
        check("every record passes its checksum and the file says its version", events.file_version == 2.0)
        steps = -(-59000 // BATCH)
        with open(os.path.join(run, "metrics.csv"), encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for tag, column in [("loss/training", "loss"), ("accuracy/training", "accuracy"),
                            ("loss/validation", "validation_loss"), ("accuracy/validation", "validation_accuracy")]:
            found = scalars(events, tag)
            expected = [(steps * int(row["epoch"]), float(row[column])) for row in rows]
            close = len(found) == EPOCHS and all(
                a[0] == b[0] and abs(a[1] - b[1]) < 1e-6 for a, b in zip(found, expected))
            check(f"{tag} is that of metrics.csv", close)
        running = scalars(events, "loss/training, epoch so far")
        check("the loss by step", [step for step, _ in running][:3] == [10, 20, 30] and running[-1][0] == EPOCHS * steps)
        check("the test accuracy", 0.85 < scalars(events, "accuracy/test")[0][1] < 1)

        tags = events.Tags()
        weights = [tag for tag in tags["histograms"] if tag.startswith("weights/")]
        check("a histogram for each parameter", sorted(weights) == [
            "weights/dense_1.bias", "weights/dense_1.weight", "weights/dense_2.bias", "weights/dense_2.weight"])
        histogram = events.Histograms("weights/dense_1.weight")
        check("of all its numbers after every epoch", [event.histogram_value.num for event in histogram] == [784 * 128] * EPOCHS)
        check("pictures", sorted(tags["images"]) == ["test/confusion matrix", "test/worst mistakes"])
        image = events.Images("test/confusion matrix")[0]
        check("which are PNG files", image.encoded_image_string.startswith(b"\x89PNG") and image.width == image.height)

        start = hparams.parse_session_start_info_plugin_data(
            events.SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content)
        end = hparams.parse_session_end_info_plugin_data(
            events.SummaryMetadata(hparams.SESSION_END_INFO_TAG).plugin_data.content)
        check("hyperparameters", start.hparams["batch size"].number_value == BATCH
              and start.hparams["preset"].string_value == "mnist-mlp")
        check("that the run succeeded", end.status == 1 and end.end_time_secs >= start.start_time_secs)

        # This is how the web page reads them: everything is converted to its newer form.
        multiplexer = EventMultiplexer().AddRunsFromDirectory(folder).Reload()
        check("the web page finds the run and its plugins", all(
            multiplexer.PluginRunToTagToContent(plugin) for plugin in ["scalars", "histograms", "images", "hparams"]))
    print("ok    event files")


if __name__ == "__main__":
    main()
