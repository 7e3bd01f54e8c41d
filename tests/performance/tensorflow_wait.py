"""Why ART's PGD may take 10.23 seconds in TensorFlow whatever it does: tf.data waits at its end.

    python tests/performance/tensorflow_wait.py [--count N]

Computes for a given time beside an iterator of `tf.data` that yields one batch, then lets the
iterator go, and prints how long that takes: as ART's PGD does, and with `autotune` off. By default
a thread tunes the iterator after 10 ms, then after twice as long each time. Letting the iterator go
wakes the thread, mostly; else it waits for the end of the sleep: 1.27 s after the start where the
computing ended after 0.64 s, 10.23 s where it ended after 5.11 s. Exits with 1 where the iterator
without tuning waits too.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import tensorflow as tf

# Within the seventh sleep of the thread, from 0.63 to 1.27 seconds after the start.
SECONDS = (0.7, 0.8, 0.9, 1.0, 1.1)
LONG = 0.05


def busy():
    """Some convolutions, compiled: what keeps the processors from the tuning thread."""
    kernel = tf.random.normal((3, 3, 64, 64))

    @tf.function
    def several(x):
        for _ in range(4):
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        return x

    points = tf.zeros((64, 32, 32, 64))
    return lambda: several(points)


def wait(compute, seconds, *, tuned):
    """Seconds that letting go of the iterator takes."""
    images = np.zeros((64, 32, 32, 3), np.float32)
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(64)
    if not tuned:
        options = tf.data.Options()
        options.autotune.enabled = False
        dataset = dataset.with_options(options)
    batches = iter(dataset)
    start = time.perf_counter()
    for _ in batches:
        while time.perf_counter() - start < seconds:
            compute()
    end = time.perf_counter()
    del batches
    return time.perf_counter() - end


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=12, help="of each time")
    options = parser.parse_args()
    # As `bench run` has it; with more the wait is rarer.
    tf.config.threading.set_inter_op_parallelism_threads(1)
    compute, long = busy(), {}
    compute()
    for tuned in (True, False):
        waits = [wait(compute, s, tuned=tuned) for s in SECONDS for _ in range(options.count)]
        long[tuned] = [one for one in waits if one > LONG]
        middle = f", {statistics.median(long[tuned]):.2f} s in the median" if long[tuned] else ""
        print(f"tuned: {tuned!s:5} {len(long[tuned])} of {len(waits)} waited{middle}", flush=True)
    raise SystemExit(bool(long[False]))


if __name__ == "__main__":
    main()
