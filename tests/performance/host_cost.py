"""Host time of a query: what APGD, FAB, Square and the watch take beside the model.

    python tests/performance/host_cost.py [--size 32] [--images 250] [--norms linf,l2,l1]
        [--homes numpy,torch] [--device cuda]

The model costs nothing: it gives the same logits and the same gradient whatever it is asked, and
never errs, so that every image is attacked to the end. Prints milliseconds of processor time a
query, the least of several runs, by the home of the points: arrays of NumPy, and tensors of torch,
on the CPU unless `--device` says otherwise. `--check FILE` stores the points that the attacks end
at in NumPy, or compares them, to the last bit, with those of another version; exits with 1 where
they differ.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402

from benchmark.attacks.arrays import Array, as_type, beside, host  # noqa: E402
from benchmark.attacks.autoattack.apgd import APGDCrossEntropy  # noqa: E402
from benchmark.attacks.autoattack.fab import FABTargeted  # noqa: E402
from benchmark.attacks.autoattack.square import Square  # noqa: E402
from benchmark.attacks.geometry import ORDERS  # noqa: E402
from benchmark.attacks.watch import Watch  # noqa: E402
from benchmark.estimators.estimator import Weights  # noqa: E402
from benchmark.estimators.probabilities import Around  # noqa: E402

CLASSES, QUERIES, ROUNDS = 10, 10, 5
EPS = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0}
ATTACKS = {"apgd": APGDCrossEntropy, "fab": FABTargeted, "square": Square}
FEW = {"fab": {"targets": 1}, "square": {"rescaled": True}, "apgd": {"nb_random_init": 1}}


class Free(Around):
    """Answers from memory, and counts what it is asked."""

    def __init__(self, images: int, size: int, home: str, device: str) -> None:
        super().__init__(SimpleNamespace(model=None, nb_classes=CLASSES), (size, size, 3))
        self.home, self.device, self.asked = home, device, 0
        generator = np.random.default_rng(0)
        self.logits = generator.standard_normal((images, CLASSES), dtype=np.float32)
        self.logits[:, 0] = 9
        gradient = generator.standard_normal((images, size, size, 3), dtype=np.float32)
        gradient[generator.random(gradient.shape) < 0.05] = 0
        self.gradient = self.placed(gradient)

    def placed(self, x: np.ndarray) -> Array:
        return x if self.home == "numpy" else torch.asarray(x, device=self.device)

    def predict(self, x: np.ndarray, batch_size: int = 128, **kwargs: object) -> np.ndarray:
        return self.outputs(x)

    def outputs(self, x: Array) -> np.ndarray:
        self.asked += 1
        # Square learns of the last bits of what it asks, as of a real model.
        outputs = self.logits[: len(x)].copy()
        outputs[:, 0] -= host(x[:, 0, 0, 0])
        return outputs

    def logits_and_gradient(self, x: Array, weights: Weights) -> tuple[np.ndarray, Array]:
        sign = 2 * as_type(x[:, :1, :1, :1] > 0.5, "float32") - 1
        return self.outputs(x), beside(self.gradient, x)[: len(x)] * sign

    def loss_gradient(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        raise NotImplementedError

    def class_gradient(self, x: np.ndarray, label: object = None, **kwargs: object) -> np.ndarray:
        raise NotImplementedError


def cost(name: str, norm: str, model: Free) -> tuple[float, np.ndarray]:
    """Milliseconds a query, and where the attack ended."""
    x = examples(model)
    y = np.zeros(len(x), dtype=np.int64)
    given = {"norm": ORDERS[norm], "eps": EPS[norm], "seed": 0, "max_iter": QUERIES}
    attack = ATTACKS[name](model, **given, **FEW[name])
    seconds = []
    for _ in range(ROUNDS):
        model.asked = 0
        started = time.process_time()
        found = attack.generate(x, y)
        seconds.append((time.process_time() - started) / model.asked)
    return min(seconds) * 1e3, found


def watch_cost(norm: str, model: Free, *, left_out: int) -> float:
    """Milliseconds of a query that finds nothing; about whom it is, is guessed if some are out."""
    x = examples(model)
    watch = Watch(norm=norm, eps=EPS[norm], predict=model.predict)
    watch.begin(x, np.zeros(len(x), dtype=np.int64))
    points = model.placed(x[left_out:])
    outputs = model.outputs(points)
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        watch(points, outputs)
        seconds.append(time.process_time() - started)
    return min(seconds) * 1e3


def examples(model: Free) -> np.ndarray:
    return np.random.default_rng(1).random(tuple(model.gradient.shape), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--norms", default="linf,l2,l1")
    parser.add_argument("--homes", default="numpy,torch")
    parser.add_argument("--device", default="cpu", help="of the tensors: cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--check", type=Path, help="an .npz of the points; written where missing")
    options = parser.parse_args()
    frameworks.prepare("torch", device=options.device, threads=options.threads)
    homes = options.homes.split(",")
    models = [Free(options.images, options.size, home, options.device) for home in homes]
    points = {}
    for norm in options.norms.split(","):
        for name in ATTACKS:
            costs = {}
            for model in models:
                costs[model.home], found = cost(name, norm, model)
                points |= {f"{name}-{norm}": found} if model.home == "numpy" else {}
            show(norm, name, costs)
        for name, left_out in {"watch": 0, "guessing": 1}.items():
            costs = {model.home: watch_cost(norm, model, left_out=left_out) for model in models}
            show(norm, name, costs)
    raise SystemExit(bool(options.check) and differ(options.check, points))


def show(norm: str, name: str, costs: dict[str, float]) -> None:
    each = ", ".join(f"{home} {spent:.2f}" for home, spent in costs.items())
    print(f"{norm:5}{name:9} ms a query: {each}", flush=True)


def differ(path: Path, points: dict[str, np.ndarray]) -> bool:
    """Whether points are others than those of a file, which is written where there is none."""
    if not path.exists():
        np.savez(path, **points)
        return False
    with np.load(path) as before:
        names = [name for name in before.files if name in points]
        changed = [name for name in names if before[name].tobytes() != points[name].tobytes()]
    print(f"points that differ: {', '.join(changed) or 'none'}")
    return bool(changed)


if __name__ == "__main__":
    main()
