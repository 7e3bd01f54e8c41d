"""An update of `pgd-at` (PGD-10) against the bare passes that it consists of.

    python tests/performance/epoch_cost.py [torch|tensorflow] [--threads N] [--model NAME]

On MNIST-sized images and the model `cnn`, or on CIFAR-sized ones and another. Both sides take
turns, batch by batch, so that a machine whose speed drifts slows both. The bare side is ten
gradients by the input with frozen weights and one by the weights, of a batch that is a tensor
already: no attack step, no projection, no random numbers, no optimiser. Exits with 1 when the ratio
of the medians is above 1.3.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from benchmark import frameworks, models

TARGET = 1.3
STEPS, BATCH, ROUNDS, WARM_UP = 10, 128, 40, 5


def bare_torch(model, x, y):
    import torch
    from torch.nn.functional import cross_entropy

    images = torch.from_numpy(x).permute(0, 3, 1, 2)
    labels = torch.from_numpy(y)
    parameters = list(model.parameters())

    def run():
        model.eval()
        for parameter in parameters:
            parameter.requires_grad_(False)
        for _ in range(STEPS):
            inputs = images.detach().requires_grad_()
            loss = cross_entropy(model(inputs), labels, reduction="sum")
            torch.autograd.grad(loss, inputs)
        for parameter in parameters:
            parameter.requires_grad_(True)
        model.train()
        torch.autograd.grad(cross_entropy(model(images), labels), parameters)

    return run


def bare_tensorflow(model, x, y):
    import tensorflow as tf

    images, labels = tf.constant(x), tf.constant(y)
    parameters = [variable.value for variable in model.trainable_variables]

    def loss_of(inputs, training):
        logits = model(inputs, training=training)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses)

    @tf.function
    def by_input(inputs):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            loss = loss_of(inputs, training=False)
        return tape.gradient(loss, inputs)

    @tf.function
    def by_weights(inputs):
        with tf.GradientTape() as tape:
            loss = loss_of(inputs, training=True)
        return tape.gradient(loss, parameters)

    def run():
        for _ in range(STEPS):
            by_input(images)
        by_weights(images)[0].numpy()

    return run


def measure(framework, model="cnn", *, batch=BATCH, rounds=ROUNDS, warm_up=WARM_UP):
    """Seconds of an update and of its bare passes, one pair a round."""
    import importlib

    import defenses
    from defenses.subject import recognise

    module = {"torch": "pytorch", "tensorflow": "tensorflow"}[framework]
    builder = importlib.import_module(f"benchmark.models.{module}")
    shape = (28, 28, 1) if model == "cnn" else (32, 32, 3)
    specification = models.specification(model, shape, 10)
    weights = specification.initial_weights(0)
    generator = np.random.default_rng(0)
    x = generator.random((batch, *shape), dtype=np.float32)
    y = generator.integers(0, 10, batch)

    defense = defenses.create(
        "pgd-at", defenses.Threat("linf", 0.3), {"attack_steps": STEPS, "batch_size": batch}
    )
    kernel = defense.kernel(recognise(builder.build(specification, weights)))
    bare = {"torch": bare_torch, "tensorflow": bare_tensorflow}[framework]
    run_bare = bare(builder.build(specification, weights), x, y)

    def run_update():
        kernel.step(defense.draw(generator, x, y), learning_rate=1e-3, eps=0.3)

    pairs = [(timed(run_update), timed(run_bare)) for _ in range(warm_up + rounds)]
    return zip(*pairs[warm_up:], strict=True)


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("framework", nargs="?", default="torch", choices=frameworks.FRAMEWORKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="cnn")
    options = parser.parse_args()
    frameworks.prepare(options.framework, device="cpu", threads=options.threads)
    update, bare = (
        statistics.median(seconds) for seconds in measure(options.framework, options.model)
    )
    ratio = update / bare
    print(
        f"{options.framework}, {options.threads} threads: update {update * 1e3:.0f} ms, "
        f"bare passes {bare * 1e3:.0f} ms, ratio {ratio:.2f} (target at most {TARGET})"
    )
    raise SystemExit(ratio > TARGET)


if __name__ == "__main__":
    main()
