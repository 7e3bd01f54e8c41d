"""From a suite's attack to ART's object."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmark.attacks.arguments import as_art_takes_it
from benchmark.attacks.classes import Attack, attack_class, takes
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.geometry import ORDERS
from benchmark.attacks.suites import AttackSpec
from benchmark.estimators.estimator import Classifier, Estimator
from benchmark.estimators.passes import rows_at_once


def create(spec: AttackSpec, estimator: Classifier, norm: str, eps: float) -> Attack:
    """The attack on this estimator; what it doesn't know of norm, eps and batches it isn't told."""
    entry = spec.entry
    attack = attack_class(entry)
    wanted: dict[str, object] = {
        "batch_size": 1 if entry.rows == "one" else rows_at_once(),
        "verbose": False,
    }
    if norm != UNRESTRICTED:
        wanted |= {"norm": ORDERS[norm], "eps": eps}
    known = {key: value for key, value in wanted.items() if takes(attack, key)}
    # A random model's answer at such a point is chance.
    if entry.enough and not (spec.to_the_end or getattr(estimator, "is_random", False)):
        known[entry.enough] = eps
    given = {
        name: as_art_takes_it(spec.attack, name, value)
        for name, value in spec.resolved(eps).items()
    } | dict(entry.fixed)
    if entry.probabilities:
        # Its module imports ART.
        module = importlib.import_module("benchmark.estimators.probabilities")
        estimator = module.Probabilities(estimator)
    return attack(estimator, **{**known, **given})


def adversarial(
    spec: AttackSpec,
    estimator: Estimator,
    x: np.ndarray,
    y: np.ndarray,
    *,
    norm: str,
    eps: float,
    weights: np.ndarray | None,
) -> np.ndarray:
    """What the attack makes of examples `x`, (n, ...), with labels `y`, (n,).

    With `weights` of the features, (d,), it is run where they are part of the scale. It may work in
    place on what it is given.
    """
    y = y.copy()
    if weights is None:
        return _array(create(spec, estimator, norm, eps).generate(x=x.copy(), y=y))
    # Its module imports ART.
    module = importlib.import_module("benchmark.estimators.scaled")
    # Changed values are counted under l0, whatever their scale.
    scale = weights > 0 if norm == "l0" else weights
    scaled = module.Scaled(estimator, x, scale, eps, marks=spec.entry.takes_marks)
    found = create(spec, scaled, norm, eps).generate(x=scaled.examples, y=y)
    return np.asarray(scaled.back(_array(found)))


def _array(found: Any) -> np.ndarray:
    """What an attack returned; one's own may return anything, or have forgotten to."""
    if found is None:
        raise ValueError("the attack's generate returned None, not the adversarial examples")
    array = np.asarray(found)
    if not np.can_cast(array.dtype, np.float32, "same_kind"):  # as bfloat16 can
        raise ValueError(f"the attack's generate returned an array of {array.dtype}, not of floats")
    return array
