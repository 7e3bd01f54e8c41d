"""Why a gradient within a compiled loop of TensorFlow has a graph of its own here.

    python tests/performance/tensorflow_modes.py [--traces N]

The ascent of `pgd-at` (PGD-10, `cnn`, MNIST size) is a compiled loop. With its gradient written
into the loop's graph, traces in the same process, of one model and the same inputs, take 1 or 2
times the processor time of ten bare gradients. The profiler says why: in the slow ones the
gradient of max pooling is TensorFlow's own kernel in place of oneDNN's. With the gradient in a
graph of its own (`defenses.perturbation.tensorflow.own_graph`) all traces are fast. Each way in
a process, each trace with its ratio and its kernel; exits with 1 where one of ours is slow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

EPS, STEPS, BATCH, CALLS, SLOW = 0.3, 10, 128, 3, 1.4
WAYS = {"in the loop's graph": False, "in its own graph": True}


def processor_ms(run):
    """The least of a few calls after the first, which compiles."""
    run()
    found = []
    for _ in range(CALLS):
        before = resource.getrusage(resource.RUSAGE_SELF)
        run()
        after = resource.getrusage(resource.RUSAGE_SELF)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found) * 1e3


def pooling_kernels(run):
    """The kernels that a run gives the gradient of max pooling to."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        run()
        tf.profiler.experimental.stop()
        (written,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(written.read_bytes())
    names = (data.name for plane in space.planes for data in plane.event_metadata.values())
    kernels = {name.rpartition(":")[2] for name in names if "MaxPoolGrad" in name}
    return ", ".join(sorted(kernels))


def traces(way, count):
    """The ratio to the bare gradients and the kernels, a pair a trace."""
    from benchmark import frameworks, models

    frameworks.prepare("tensorflow", device="cpu", threads=1)
    import numpy as np
    import tensorflow as tf

    import defenses
    from benchmark.models import tensorflow as builder
    from defenses.perturbation import tensorflow as perturbation
    from defenses.subject import recognise

    if not WAYS[way]:
        perturbation.own_graph = lambda function: function
    specification = models.specification("cnn", (28, 28, 1), 10)
    model = builder.build(specification, specification.initial_weights(0))
    defense = defenses.create("pgd-at", defenses.Threat("linf", EPS), {"attack_steps": STEPS})
    kernel = defense.kernel(recognise(model))
    generator = np.random.default_rng(0)
    x = generator.random((BATCH, 28, 28, 1), dtype=np.float32)
    start = kernel.images(generator.uniform(-1, 1, x.shape))
    labels = kernel.labels(generator.integers(0, 10, BATCH))
    x, eps = kernel.images(x), kernel.scalar(EPS)
    gradient = tf.function(kernel._graph_input_gradient)
    one = kernel.scalar(1)
    bare = STEPS * processor_ms(lambda: gradient(x, labels, one).numpy())
    found = []
    for _ in range(count):
        attack = tf.function(
            lambda x, y, start: perturbation.perturb(
                kernel.logits, x, y, start, eps=eps, ascent=defense.ascent
            )
        )

        def run(attack=attack):
            attack(x, labels, start).numpy()

        found.append((processor_ms(run) / bare, pooling_kernels(run)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=10)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(traces(options.child, options.traces)))
        return
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    slow = 0
    for way, ours in WAYS.items():
        words = [sys.executable, __file__, "--child", way, "--traces", str(options.traces)]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(way)
        for ratio, kernels in sorted(found):
            slow += ours and ratio > SLOW
            print(f"    {ratio:.2f}  {kernels}")
    raise SystemExit(bool(slow))


if __name__ == "__main__":
    main()
