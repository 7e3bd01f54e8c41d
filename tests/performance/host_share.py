"""What APGD, FAB and Square take beside the model, with a watch that looks on; for `gpu.py`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmark.attacks.autoattack.apgd import APGDCrossEntropy
from benchmark.attacks.autoattack.fab import FABTargeted
from benchmark.attacks.autoattack.square import Square
from benchmark.attacks.watch import Watch
from benchmark.estimators.passes import outputs_of
from benchmark.estimators.pytorch import FastPyTorchClassifier

ATTACKS = {
    "APGD": (APGDCrossEntropy, {}),
    "FAB": (FABTargeted, {"targets": 1}),
    "Square": (Square, {"rescaled": True}),
}
EPS = 1e-6  # breaks nothing, so that every query is about all examples


def host_shares(
    estimator: FastPyTorchClassifier, x: np.ndarray, synchronise: Callable[[], None], *, steps: int
) -> None:
    """Prints, by the home of the points, milliseconds a query, and the share beside the model.

    Args:
        estimator: of the model.
        x: examples of one batch, (n, H, W, C).
        synchronise: waits for the device.
        steps: of each attack.
    """

    def seconds(run: Callable[[], object]) -> float:
        run()  # warm
        synchronise()
        started = time.perf_counter()
        run()
        synchronise()
        return time.perf_counter() - started

    y = estimator.predict(x).argmax(axis=1)
    points, weights = estimator.placed(x), np.eye(estimator.nb_classes, dtype=np.float32)[y]
    forward = seconds(lambda: [outputs_of(estimator, points) for _ in range(steps)]) / steps
    pull = [points, lambda logits, rows: weights[rows]]
    both = seconds(lambda: [estimator.logits_and_gradient(*pull) for _ in range(steps)]) / steps
    watch = Watch(norm="linf", eps=EPS, predict=partial(outputs_of, estimator))
    kept, estimator.observer = estimator.keeps_tensors, watch
    for name, (kind, arguments) in ATTACKS.items():
        for home in ("tensors", "NumPy"):
            estimator.keeps_tensors = home == "tensors"
            watch.begin(x, y)
            attack = kind(estimator, eps=EPS, seed=0, max_iter=steps, **arguments)
            before = estimator.passes.counts()
            spent = seconds(lambda attack=attack: attack.generate(x, y))
            asked, back = (  # once; it ran twice
                (estimator.passes.counts()[one] - before[one]) / 2 / len(x)
                for one in ("forwards", "backwards")
            )
            beside = 1 - (back * both + (asked - back) * forward) / spent
            print(
                f"{name}, points in {home}: {1e3 * spent / asked:.1f} ms a query of {len(x)}, "
                f"{beside:.0%} beside the model",
                flush=True,
            )
    estimator.keeps_tensors, estimator.observer = kept, None
