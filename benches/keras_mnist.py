"""Presets of Weir in Keras on the MNIST files, timed: `keras_mnist.py DATA SEED PRESET`. mnist-mlp is the
TensorFlow quickstart's recipe.

Prints one line of JSON. Pixels are scaled and cast once, before the clock starts.
"""

import gzip
import json
import os
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy
import tensorflow

EPOCHS = 5
BATCH = {"mnist-mlp": 32, "mnist-convnet": 128, "mnist-lstm": 128}


def read(path, header_bytes):
    with gzip.open(path) as file:
        return numpy.frombuffer(file.read(), numpy.uint8)[header_bytes:]


def samples(folder, part):
    images = read(folder / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    return (images / 255.0).astype(numpy.float32), read(folder / f"{part}-labels-idx1-ubyte.gz", 8).astype(numpy.int64)


class EpochClock(tensorflow.keras.callbacks.Callback):
    """Seconds of each epoch; the first one also compiles the graph."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begun)


def network(preset):
    layers = tensorflow.keras.layers
    if preset == "mnist-mlp":
        middle = [layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.2)]
    elif preset == "mnist-convnet":
        middle = [
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
        ]
    else:
        middle = [layers.LSTM(128)]
    return tensorflow.keras.Sequential([tensorflow.keras.Input((28, 28)), *middle, layers.Dense(10)])


def main():
    folder, seed, preset = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    images, labels = samples(folder, "train")
    test_images, test_labels = samples(folder, "t10k")
    tensorflow.keras.utils.set_random_seed(seed)
    model = network(preset)
    loss = tensorflow.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    clock = EpochClock()
    begun = time.perf_counter()
    model.fit(images, labels, batch_size=BATCH[preset], epochs=EPOCHS, verbose=0, callbacks=[clock])
    fit_seconds = time.perf_counter() - begun
    test_loss, accuracy = model.evaluate(test_images, test_labels, verbose=0)
    print(json.dumps({"fit_seconds": fit_seconds, "epoch_seconds": clock.seconds, "accuracy": accuracy, "loss": test_loss}))


if __name__ == "__main__":
    main()
