"""A second-order meta-step against its bare passes, and TensorFlow against PyTorch.

    python tests/performance/meta_step.py [--model cnn] [--tasks 100] [--threads N]

100 tasks of 10 + 10 MNIST-sized images, one inner step, FGSM with a random start on support and
query. The bare side is, task by task in PyTorch, the passes that a meta-step consists of, through
the plain model: two gradients by the input with frozen weights, the inner gradient with its graph,
the gradient of the clean and the attacked query, and the inner gradient differentiated. No attack
steps, no fast weights, no random numbers, no optimiser, no `higher`. All sides take turns, so that
a machine whose speed drifts slows all of them. Exits with 1 when PyTorch takes more than 1.3 times
the bare passes, or TensorFlow more than 1.5 times PyTorch.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from benchmark import frameworks, models

TO_BARE, TO_TORCH = 1.3, 1.5
SHOTS, QUERIES, IMAGE, CLASSES = 10, 10, (28, 28, 1), 10


def bare(model, x, y):
    """The passes of a meta-step, as a function without arguments."""
    import torch
    from torch.nn.functional import cross_entropy

    images = torch.from_numpy(x.reshape(-1, *IMAGE)).permute(0, 3, 1, 2).unflatten(0, x.shape[:2])
    labels = torch.from_numpy(y)
    weights = list(model.parameters())

    def by_input(inputs, of_inputs):
        inputs = inputs.detach().requires_grad_()
        torch.autograd.grad(cross_entropy(model(inputs), of_inputs, reduction="sum"), inputs)

    def task(inputs, of_inputs):
        support, query = inputs.split([SHOTS, QUERIES])
        of_support, of_query = of_inputs.split([SHOTS, QUERIES])
        for weight in weights:
            weight.requires_grad_(False)
        by_input(support, of_support)
        by_input(query, of_query)
        for weight in weights:
            weight.requires_grad_(True)
        inner = torch.autograd.grad(
            cross_entropy(model(support), of_support), weights, create_graph=True
        )
        clean, attacked = (cross_entropy(model(query), of_query) for _ in range(2))
        outer = torch.autograd.grad(clean + attacked, weights)
        torch.autograd.grad(inner, weights, outer)

    def run():
        for inputs, of_inputs in zip(images, labels, strict=True):
            task(inputs, of_inputs)

    return run


def meta_step(module, specification, x, y):
    """A meta-step in one framework, as a function without arguments."""
    import importlib

    import defenses
    from defenses.subject import recognise

    settings = {"tasks": len(x), "support": SHOTS, "query": QUERIES, "query_attack_steps": 1}
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.3), settings)
    builder = importlib.import_module(f"benchmark.models.{module}")
    kernel = defense.kernel(
        recognise(builder.build(specification, specification.initial_weights(0)))
    )
    flat = x.reshape(-1, *IMAGE), y.reshape(-1)
    draws = defense.draw(np.random.default_rng(1), *flat)
    return lambda: kernel.step(draws, learning_rate=1e-3, eps=0.3)


def measure(options):
    """Median seconds of each side."""
    import torch

    import benchmark.models.pytorch as in_torch

    frameworks.prepare("tensorflow", device="cpu", threads=options.threads)
    torch.set_num_threads(options.threads)
    specification = models.specification(options.model, IMAGE, CLASSES)
    generator = np.random.default_rng(0)
    x = generator.random((options.tasks, SHOTS + QUERIES, *IMAGE), dtype=np.float32)
    y = generator.integers(0, CLASSES, x.shape[:2])
    plain = in_torch.build(specification, specification.initial_weights(0))
    sides = {
        "bare": bare(plain, x, y),
        "torch": meta_step("pytorch", specification, x, y),
        "tensorflow": meta_step("tensorflow", specification, x, y),
    }
    seconds = {name: [] for name in sides}
    for turn in range(1 + options.rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            if turn:  # the first is for compilation
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cnn", choices=models.names())
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    frameworks.import_torch_first()
    found = measure(options)
    to_bare = found["torch"] / found["bare"]
    to_torch = found["tensorflow"] / found["torch"]
    per_task = {name: f"{1e3 * value / options.tasks:.1f}" for name, value in found.items()}
    print(
        f"{options.model}, {options.tasks} tasks, {options.threads} threads, ms a task: "
        f"bare {per_task['bare']}, torch {per_task['torch']} (ratio {to_bare:.2f}, at most "
        f"{TO_BARE}), tensorflow {per_task['tensorflow']} ({to_torch:.2f} times torch, at most "
        f"{TO_TORCH})"
    )
    raise SystemExit(to_bare > TO_BARE or to_torch > TO_TORCH)


if __name__ == "__main__":
    main()
