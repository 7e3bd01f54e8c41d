"""What it costs to watch an attack: PGD-10 with a `Watch` and without, in processor time.

    python tests/performance/watch_cost.py [EXAMPLES] [MODEL]

On random images of CIFAR's size and `preact-resnet18(width=16)`, untrained, whose own labels are
attacked. Prints seconds and their ratio, the median of some rounds in which both take turns; exits
with 1 where the watch costs more than 3 %.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmark import frameworks, models
from benchmark.attacks.creating import create
from benchmark.attacks.suites import AttackSpec
from benchmark.attacks.watch import Watch

EPS, ROUNDS, TARGET = 8 / 255, 5, 1.03
SHAPE, CLASSES = (32, 32, 3), 10


def main() -> None:
    frameworks.prepare("torch", device="cpu", threads=1)
    from benchmark.estimators import pytorch as estimators
    from benchmark.models import pytorch as builders

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 250
    name = sys.argv[2] if len(sys.argv) > 2 else "preact-resnet18(width=16)"
    specification = models.specification(name, SHAPE, CLASSES)
    model = builders.build(specification, specification.initial_weights(0))
    estimator = estimators.wrap(model, input_shape=SHAPE, classes=CLASSES, device="cpu")
    x = np.random.default_rng(0).random((count, *SHAPE), dtype=np.float32)
    y = estimator.predict(x).argmax(axis=1)
    spec = AttackSpec("pgd", "pgd", {"max_iter": 10, "eps_step": "0.1 eps", "num_random_init": 1})
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
    bare, watched = (float(np.median(spent)) for spent in seconds.values())
    pairs = zip(seconds["watched"], seconds["bare"], strict=True)
    ratio = float(np.median([one / other for one, other in pairs]))
    print(f"{name}: bare {bare:.3f} s, watched {watched:.3f} s, ratio {ratio:.3f}")
    raise SystemExit(ratio > TARGET)


if __name__ == "__main__":
    main()
