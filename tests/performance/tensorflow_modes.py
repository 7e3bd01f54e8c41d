"""Why TensorFlow's attack is fast as it was traced one time and slow the next.

    python tests/performance/tensorflow_modes.py [--traces N] [--passes a,b] [--graphs DIR]

The ascent of `pgd-at` (PGD-10, `cnn`, MNIST size) is a compiled loop. Traced anew, with one model
and inputs in the same process, it takes 1 or 2 times the processor time of its ten bare gradients;
a gradient outside the loop is always the same. Without Grappler all traces are fast. Here Grappler
runs with one of its passes off at a time, in a process each: where all traces are fast, that pass
decides. Processor time, one thread, so that a busy machine does little harm; no page faults and no
addresses go along with the modes.

`--graphs` keeps each trace's optimised graph, named by its milliseconds, to be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

EPS, STEPS, BATCH, CALLS = 0.3, 10, 128, 3

OFF = {"disable_meta_optimizer": True}
PASSES = (
    *("layout_optimizer", "constant_folding", "shape_optimization", "remapping"),
    *("arithmetic_optimization", "dependency_optimization", "loop_optimization"),
    *("function_optimization", "common_subgraph_elimination", "memory_optimization"),
)
SETTINGS = {"usual": {}, "none at all": OFF, **{name: {name: False} for name in PASSES}}


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


def traces(setting, options):
    """Milliseconds of ten gradients outside a loop, and of each trace of the ascent."""
    from benchmark import frameworks, models

    frameworks.prepare("tensorflow", device="cpu", threads=1)
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.eager import context

    import defenses
    from benchmark.models import tensorflow as builder
    from defenses.perturbation.tensorflow import perturb
    from defenses.subject import recognise

    tf.config.optimizer.set_experimental_options(SETTINGS[setting])
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
    bare = STEPS * processor_ms(lambda: gradient(x, labels).numpy())
    found = []
    for number in range(options.traces):
        attack = tf.function(
            lambda x, y, start: perturb(kernel.logits, x, y, start, eps=eps, ascent=defense.ascent)
        )
        context.context().enable_graph_collection()
        found.append(processor_ms(lambda attack=attack: attack(x, labels, start).numpy()))
        graphs = context.context().export_run_metadata().function_graphs
        context.context().disable_graph_collection()
        if options.graphs:
            name = f"{setting.replace(' ', '-')}-{number}-{found[-1]:.0f}ms.pbtxt"
            text = "\n".join(str(graph.post_optimization_graph) for graph in graphs)
            (options.graphs / name).write_text(text, encoding="utf-8")
    return bare, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=10)
    parser.add_argument("--passes", default=",".join(SETTINGS))
    parser.add_argument("--graphs", type=Path)
    parser.add_argument("--child", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.graphs:
        options.graphs.mkdir(parents=True, exist_ok=True)
    if options.child:
        print(json.dumps(traces(options.child, options)))
        return
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for setting in options.passes.split(","):
        words = [sys.executable, __file__, "--child", setting, "--traces", str(options.traces)]
        words += ["--graphs", str(options.graphs)] if options.graphs else []
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, check=True)
        bare, found = json.loads(done.stdout.splitlines()[-1])
        ratios = ", ".join(f"{value / bare:.2f}" for value in sorted(found))
        print(f"{setting + ' off' if setting in PASSES else setting:32} {ratios}", flush=True)


if __name__ == "__main__":
    main()
