"""Peak memory of a second-order meta-step: 100 tasks of 10 + 10 MNIST-sized images, model `cnn`.

    python tests/performance/meta_memory.py [torch|tensorflow]

For several numbers of inner steps, each in a process of its own: how far the resident set grows
above what it was before the step, beside the estimate of `bench run --dry-run`. Exits with 1 when
it grows by more than 2 GB, when it grows faster than linearly, or when the estimate is off by more
than a factor of 2.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

import numpy as np

from benchmark import frameworks, models

LIMIT = 2e9
TASKS, SHOTS, QUERIES, IMAGE = 100, 10, 10, (28, 28, 1)
# Far apart: below some steps, the memory of what came before them serves again.
INNER_STEPS = (1, 8, 16, 24)


def peak():
    """The largest resident set so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def defense_of(inner_steps):
    import defenses

    settings = {"tasks": TASKS, "support": SHOTS, "query": QUERIES, "inner_steps": inner_steps}
    return defenses.create(
        "meta-adv", defenses.Threat("linf", 0.3), {**settings, "query_attack_steps": 1}
    )


def measure(framework, inner_steps):
    """Bytes that two meta-steps add to the resident set; in a fresh process."""
    import importlib

    from defenses.subject import recognise

    frameworks.prepare(framework, device="cpu", threads=1)
    module = {"torch": "pytorch", "tensorflow": "tensorflow"}[framework]
    builder = importlib.import_module(f"benchmark.models.{module}")
    specification = models.specification("cnn", IMAGE, 10)
    model = builder.build(specification, specification.initial_weights(0))
    defense = defense_of(inner_steps)
    kernel = defense.kernel(recognise(model))
    generator = np.random.default_rng(0)
    x = generator.random((defense.examples_per_step, *IMAGE), dtype=np.float32)
    y = generator.integers(0, 10, len(x))
    kernel.predict(x[:1])
    before = peak()
    for _ in range(2):
        kernel.step(defense.draw(generator, x, y), learning_rate=1e-3, eps=0.3)
    return peak() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("framework", nargs="?", default="torch", choices=frameworks.FRAMEWORKS)
    parser.add_argument("--inner-steps", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inner_steps:
        print(measure(options.framework, options.inner_steps))
        return
    specification = models.specification("cnn", IMAGE, 10)
    found, wrong = [], False
    for steps in INNER_STEPS:
        command = [sys.executable, __file__, options.framework, "--inner-steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(float(done.stdout.split()[-1]))
        estimate = defense_of(steps).memory(
            weights=specification.weights, activations=specification.activations
        )
        wrong |= not 0.5 < estimate / found[-1] < 2
        print(
            f"{options.framework}, {steps} inner steps: {found[-1] / 1e6:.0f} MB above the start, "
            f"estimated {estimate / 1e6:.0f} MB (at most {LIMIT / 1e6:.0f})"
        )
    growth = np.diff(found) / np.diff(INNER_STEPS)
    print("MB an inner step: " + ", ".join(f"{value / 1e6:.1f}" for value in growth))
    wrong |= max(found) > LIMIT or growth[-1] > 1.5 * max(growth[:-1])
    raise SystemExit(int(wrong))


if __name__ == "__main__":
    main()
