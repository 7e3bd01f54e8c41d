"""sigma-zero, FMN, DDN and Sparse-RS against the references, on the same weights.

    git clone https://github.com/Cinofix/sigma-zero-adversarial-attack sigma-zero
    git clone https://github.com/jeromerony/adversarial-library
    git clone https://github.com/fra31/sparse-rs
    python tests/performance/minimal_norms.py --weights mnist_cnn_a_adv.pth --data mnist_test_200 \\
        --sigma-zero sigma-zero --adv-lib adversarial-library --sparse-rs sparse-rs

The weights are of the small networks of the alpha-beta-CROWN benchmarks, the data two files,
NAME_x.npy (NHWC, in [0, 1]) and NAME_y.npy. Each row says the median distance over the examples
that are classified correctly, where one without an adversarial point is infinitely far, or the
share that Sparse-RS breaks, and seconds of processor time. A reference whose folder isn't given is
left out. Exits with 1 where sigma-zero's median is over 1.03 times its authors', or JSMA's less
than three times ours.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import types
from pathlib import Path

import numpy as np

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.estimators.tensorflow as on_tensorflow  # noqa: E402
from benchmark.attacks.geometry import ORDERS, distances  # noqa: E402
from benchmark.attacks.nearest.decoupled_direction_norm import (  # noqa: E402
    DecoupledDirectionNorm,
)
from benchmark.attacks.nearest.fast_minimum_norm import FastMinimumNorm  # noqa: E402
from benchmark.attacks.nearest.sigma_zero import SigmaZero  # noqa: E402
from benchmark.attacks.nearest.sparse_rs import SparseRS  # noqa: E402
from benchmark.attacks.workarounds.saliency import SaliencyMapMethod  # noqa: E402

AUTHORS_SHARE, JSMA_TIMES = 1.03, 3
# Under which the networks of three channels were trained.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.225, 0.225, 0.225)


class Scaled(nn.Module):
    def forward(self, x):
        return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


def torch_network(weights, shape):
    side, channels = shape[0], shape[2]
    flat = 32 * (side // 4) ** 2
    layers = [nn.Conv2d(channels, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(flat, 100), nn.ReLU(), nn.Linear(100, 10)]
    network = nn.Sequential(*layers)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return nn.Sequential(*([Scaled()] if channels == 3 else []), network).eval()


def keras_network(network, shape):
    """The same with the same weights."""
    layers = [keras.Input(shape)]
    if shape[2] == 3:
        layers += [keras.layers.Rescaling(1 / np.array(DEVIATION), -np.array(MEAN) / DEVIATION)]
    for filters in (16, 32):
        layers += [keras.layers.ZeroPadding2D(1)]
        layers += [keras.layers.Conv2D(filters, 4, strides=2, activation="relu")]
    layers += [keras.layers.Permute((3, 1, 2)), keras.layers.Flatten()]
    layers += [keras.layers.Dense(100, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    arrays = [value.detach().numpy() for value in network.parameters()]
    model.set_weights([a.transpose(*range(2, a.ndim), 1, 0) if a.ndim > 1 else a for a in arrays])
    return model


class Bench:
    """The examples, our estimators of the network, and the references' view of it."""

    def __init__(self, options):
        x = np.load(f"{options.data}_x.npy").astype(np.float32)
        y = np.load(f"{options.data}_y.npy").astype(np.int64)
        network = torch_network(options.weights, x.shape[1:])
        about = {"input_shape": x.shape[1:], "classes": 10, "device": "cpu"}
        self.estimators = {
            "torch": on_torch.wrap(network, **about),
            "tensorflow": on_tensorflow.wrap(keras_network(network, x.shape[1:]), **about),
        }
        right = self.estimators["torch"].predict(x).argmax(axis=1) == y
        self.x, self.y, self.network = x[right], y[right], network
        self.given = torch.tensor(self.x.transpose(0, 3, 1, 2)).contiguous(), torch.tensor(self.y)

    def broken(self, found):
        return self.estimators["torch"].predict(found).argmax(axis=1) != self.y

    def row(self, name, run, norm, eps=None):
        """Runs it, prints its row, and gives the median or the share."""
        started = time.process_time()
        found = run()
        if isinstance(found, torch.Tensor):
            found = np.ascontiguousarray(found.detach().numpy().transpose(0, 2, 3, 1))
        seconds = time.process_time() - started
        size = len(found)
        apart = distances(found.reshape(size, -1), self.x.reshape(size, -1), norm)
        apart = np.where(self.broken(found), apart, np.inf)
        value = np.median(apart) if eps is None else (apart <= eps).mean()
        told = f"median {norm} {value:.4g}" if eps is None else f"breaks {value:.1%} in {eps}"
        print(f"{name:34} {told:22} misses {np.isinf(apart).sum():3} {seconds:7.1f} s", flush=True)
        return float(value)


def reference(folder, module, *others):
    """A module of a checkout, with what else it imports; visdom draws, and is not needed."""
    for each in (folder, *others):
        sys.path.insert(0, str(each))
    visdom = types.ModuleType("visdom")
    sys.modules.setdefault("visdom", visdom)
    return importlib.import_module(module)


def sigma_zero(bench, options):
    """Whether it is as near as its authors', and JSMA several times farther."""
    met = True
    for steps in options.steps:
        theirs = np.inf
        if options.sigma_zero:
            run = reference(options.sigma_zero, "sigma_zero_attack", options.adv_lib).sigma_zero
            theirs = bench.row(
                f"sigma-zero {steps}, authors",
                lambda run=run, steps=steps: run(bench.network, *bench.given, steps=steps),
                "l0",
            )
        for name, estimator in bench.estimators.items():
            attack = SigmaZero(estimator, max_iter=steps, seed=0)
            run = lambda attack=attack: attack.generate(bench.x, bench.y)  # noqa: E731
            ours = bench.row(f"sigma-zero {steps}, ours, {name}", run, "l0")
            met &= ours <= AUTHORS_SHARE * theirs
    attack = SaliencyMapMethod(
        bench.estimators["torch"], norm=0, eps=bench.x[0].size, targets=3,
        batch_size=len(bench.x), verbose=False,
    )  # fmt: skip
    jsma = bench.row("JSMA, 3 targets", lambda: attack.generate(bench.x, bench.y), "l0")
    return met and jsma >= JSMA_TIMES * ours


def minimal_norms(bench, options):
    steps, estimator = options.steps[0], bench.estimators["torch"]
    for norm, order in ORDERS.items():
        if options.adv_lib:
            run = reference(options.adv_lib, "adv_lib.attacks.fast_minimum_norm").fmn
            bench.row(
                f"FMN {steps}, adversarial-library",
                lambda run=run, p=order: run(bench.network, *bench.given, norm=p, steps=steps),
                norm,
            )
        attack = FastMinimumNorm(estimator, norm=order, max_iter=steps, seed=0)
        run = lambda attack=attack: attack.generate(bench.x, bench.y)  # noqa: E731
        bench.row(f"FMN {steps}, ours", run, norm)
    if options.adv_lib:
        run = reference(options.adv_lib, "adv_lib.attacks.decoupled_direction_norm").ddn
        bench.row(
            f"DDN {steps}, adversarial-library",
            lambda: run(bench.network, *bench.given, steps=steps, levels=None),
            "l2",
        )
    attack = DecoupledDirectionNorm(estimator, max_iter=steps, seed=0)
    bench.row(f"DDN {steps}, ours", lambda: attack.generate(bench.x, bench.y), "l2")


def sparse_rs(bench, options):
    """On single values: the references' pixels of an image seen as one channel."""
    estimator, queries = bench.estimators["torch"], options.queries
    for eps in options.budgets:
        if options.sparse_rs and bench.x.shape[3] == 1:
            kind = reference(options.sparse_rs, "rs_attacks").RSAttack
            attack = kind(
                bench.network, norm="L0", eps=eps, n_queries=queries, p_init=0.3, verbose=False
            )
            run = lambda attack=attack: attack.perturb(*bench.given)[1]  # noqa: E731
            bench.row(f"Sparse-RS {queries}, authors", run, "l0", eps)
        attack = SparseRS(estimator, eps=eps, max_iter=queries, seed=0)
        run = lambda attack=attack: attack.generate(bench.x, bench.y)  # noqa: E731
        bench.row(f"Sparse-RS {queries}, ours", run, "l0", eps)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="NAME of NAME_x.npy, NAME_y.npy")
    parser.add_argument("--sigma-zero", type=Path, help="checkout of its authors' repository")
    parser.add_argument("--adv-lib", type=Path, help="checkout of adversarial-library")
    parser.add_argument("--sparse-rs", type=Path, help="checkout of its authors' repository")
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--budgets", type=int, nargs="+", default=[8, 12])
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options)
    print(f"{options.weights.name}, {len(bench.x)} examples")
    met = sigma_zero(bench, options)
    minimal_norms(bench, options)
    sparse_rs(bench, options)
    raise SystemExit(not met)


if __name__ == "__main__":
    main()
