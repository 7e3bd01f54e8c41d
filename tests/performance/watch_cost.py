"""What it costs to watch an attack: PGD-40 with a `Watch` and without, in processor time.

    python tests/performance/watch_cost.py [EXAMPLES]

On `digits`, `cnn-small`, untrained: few points are adversarial at first, and all of them are
looked at. Prints seconds and their ratio.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmark import datasets, frameworks, models
from benchmark.attacks.creating import create
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.watch import Watch

EPS, ROUNDS = 0.15, 5


def main() -> None:
    frameworks.prepare("torch", device="cpu", threads=1)
    from benchmark.estimators import pytorch as estimators
    from benchmark.models import pytorch as builders

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    data = datasets.load("digits")
    specification = models.specification("cnn-small", data.input_shape, data.classes)
    model = builders.build(specification, specification.initial_weights(0))
    estimator = estimators.wrap(
        model, input_shape=data.input_shape, classes=data.classes, device="cpu"
    )
    x = data.x_train[:count]
    y = estimator.predict(x).argmax(axis=1)
    spec = AttackSpec("pgd", "pgd", {"max_iter": 40, "eps_step": "0.1 eps", "num_random_init": 1})
    watch = Watch(norm="linf", eps=EPS, predict=estimator.predict)
    seconds: dict[str, list[float]] = {"bare": [], "watched": []}
    for _ in range(ROUNDS):
        for kind, spent in seconds.items():
            frameworks.seed_everything(0)
            started = time.process_time()
            watch.begin(x, y)
            estimator.observer = watch if kind == "watched" else None
            create(spec, estimator, "linf", EPS).generate(x, y)
            spent.append(time.process_time() - started)
    bare, watched = (float(np.min(spent)) for spent in seconds.values())
    print(f"bare {bare:.3f} s, watched {watched:.3f} s, ratio {watched / bare:.2f}")


if __name__ == "__main__":
    main()
