"""The suite autoattack on the queries of one episode, against what was adapted to it."""

from __future__ import annotations

import numpy as np

from benchmark import frameworks
from benchmark.attacks.creating import create
from benchmark.attacks.geometry import is_within
from benchmark.attacks.suites import load_suite
from benchmark.estimators.estimator import Estimator
from defenses.labels import labels_of
from defenses.threat import Threat

SUITE = "autoattack"


def autoattack(
    estimator: Estimator,
    x: np.ndarray,
    y: np.ndarray,
    right: np.ndarray,
    threat: Threat,
    *,
    seed: list[int],
) -> np.ndarray:
    """Which of the queries (n, ...) that are `right` stay so, (n,)."""
    kept = right.copy()
    frameworks.seed_everything(int(np.random.default_rng(seed).integers(2**32)))
    for spec, obstacle in load_suite(SUITE).applicable(threat.norm, x.shape[1:]):
        rows = np.flatnonzero(kept)
        if obstacle or not len(rows):
            continue
        attack = create(spec, estimator, threat.norm, float(threat.eps))
        x_adv = np.asarray(attack.generate(x=x[rows].copy(), y=y[rows]), np.float32)
        said = labels_of(np.asarray(estimator.predict(x_adv)))  # what isn't finite is wrong
        within = is_within(x_adv, x[rows], threat.norm, float(threat.eps))
        kept[rows[within & (said != y[rows])]] = False
    return kept
