"""What a residual network costs here beside the bare passes, on the processor, in both frameworks.

    python tests/performance/network_cost.py [--model NAME] [--threads N] [--processes N]

Per framework and process, both sides of each ratio in turns, so that a machine whose speed drifts
slows both:

    update      an update of `pgd-at` (PGD-10) over its bare passes (`epoch_cost.py`): at most 1.15
    attack      PGD-20 of ART through our estimator over a hand-written loop: at most 1.05
    watch       PGD-20 with every point watched over the same unwatched: at most 1.03
    frameworks  TensorFlow's seconds of an update over PyTorch's, process by process: at most 1.3

Processes of both frameworks take turns, because what a framework chooses at its start (threads, the
layout of memory) stays with the process; what counts is the median over the processes. All are
printed. Exits with 1 where one is above its target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

import numpy as np
from epoch_cost import measure, timed

from benchmark import frameworks, models
from benchmark.attacks.creating import create
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.watch import Watch

TARGETS = {"update": 1.15, "attack": 1.05, "watch": 1.03, "frameworks": 1.3}
SHAPE, EPS, STEPS = (32, 32, 3), 8 / 255, 20


def by_hand_torch(model, x, y):
    import torch
    from torch.nn.functional import cross_entropy

    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    labels = torch.from_numpy(y)
    low, high = (images - EPS).clamp(0, 1), (images + EPS).clamp(0, 1)
    for parameter in model.eval().parameters():
        parameter.requires_grad_(False)

    def run():
        x_adv = low + torch.rand_like(low) * (high - low)
        for _ in range(STEPS):
            x_adv.requires_grad_()
            loss = cross_entropy(model(x_adv), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, x_adv)
            moved = x_adv.detach() + 0.1 * EPS * gradient.sign()
            x_adv = torch.minimum(torch.maximum(moved, low), high)

    return run


def by_hand_tensorflow(model, x, y):
    import tensorflow as tf

    images, labels = tf.constant(x), tf.constant(y)
    low, high = tf.clip_by_value(images - EPS, 0, 1), tf.clip_by_value(images + EPS, 0, 1)

    @tf.function
    def step(x_adv):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x_adv)
            logits = model(x_adv, training=False)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        moved = x_adv + 0.1 * EPS * tf.sign(tape.gradient(losses, x_adv))
        return tf.clip_by_value(moved, low, high)

    def run():
        x_adv = low + tf.random.uniform(low.shape) * (high - low)
        for _ in range(STEPS):
            x_adv = step(x_adv)
        x_adv.numpy()

    return run


def attack_seconds(framework, options):
    """Seconds of PGD-20: by hand, through the estimator, and watched; a triple a round."""
    builder = frameworks.part(frameworks.BUILDERS, framework)
    specification = models.specification(options.model, SHAPE, 10)
    weights = specification.initial_weights(0)
    estimator = frameworks.part(frameworks.ESTIMATORS, framework).wrap(
        builder.build(specification, weights), input_shape=SHAPE, classes=10, device="cpu"
    )
    x = np.random.default_rng(0).random((options.batch, *SHAPE), dtype=np.float32)
    y = estimator.predict(x).argmax(axis=1)
    by_hand = {"torch": by_hand_torch, "tensorflow": by_hand_tensorflow}[framework]
    loop = by_hand(builder.build(specification, weights), x, y)
    spec = AttackSpec(
        "pgd", "pgd", {"max_iter": STEPS, "eps_step": "0.1 eps", "num_random_init": 1}
    )
    watch = Watch(norm="linf", eps=EPS, predict=estimator.predict)

    def attack():
        create(spec, estimator, "linf", EPS).generate(x, y)

    def watched():
        watch.begin(x, y)
        estimator.observer = watch
        attack()
        estimator.observer = None

    rounds = range(1 + options.rounds)
    return [[timed(run) for run in (loop, attack, watched)] for _ in rounds][1:]


def measured(framework, options):
    """The medians of one process."""
    frameworks.prepare(framework, device="cpu", threads=options.threads)
    update, bare = measure(
        framework, options.model, batch=options.batch, rounds=options.rounds, warm_up=2
    )
    by_hand, attack, watched = zip(*attack_seconds(framework, options), strict=True)
    sides = {"update": (update, bare), "attack": (attack, by_hand), "watch": (watched, attack)}
    ratios = {
        name: statistics.median(ours) / statistics.median(others)
        for name, (ours, others) in sides.items()
    }
    return {**ratios, "seconds": statistics.median(update)}


def in_a_process(framework, options):
    words = [sys.executable, __file__, "--child", framework]
    for name in ("model", "threads", "batch", "rounds"):
        words += [f"--{name}", str(getattr(options, name))]
    found = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(found.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="preact-resnet18")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=frameworks.FRAMEWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.child, options)))
        return
    found = {framework: [] for framework in frameworks.FRAMEWORKS}
    for _ in range(options.processes):
        for framework, ratios in found.items():
            ratios.append(in_a_process(framework, options))
    print(f"{options.model}, batches of {options.batch}, {options.threads} threads")
    rows = [
        (name, framework, [one[name] for one in ratios])
        for framework, ratios in found.items()
        for name in ("update", "attack", "watch")
    ]
    pairs = zip(found["tensorflow"], found["torch"], strict=True)
    rows.append(("frameworks", "both", [one["seconds"] / other["seconds"] for one, other in pairs]))
    missed = False
    for name, framework, values in rows:
        middle = statistics.median(values)
        missed |= middle > TARGETS[name]
        every = ", ".join(f"{value:.2f}" for value in values)
        print(f"{name:10} {framework:10} {middle:.3f} (target {TARGETS[name]}): {every}")
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
