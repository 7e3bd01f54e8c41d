"""What attacks of this project share as ART's: parameters, the box, and labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from art.attacks.attack import EvasionAttack
from art.estimators.classification.classifier import ClassifierMixin
from art.estimators.estimator import BaseEstimator

from benchmark.attacks.geometry import Bound
from benchmark.estimators.estimator import Classifier


class ParameterAttack(EvasionAttack):
    """An attack whose parameters are its class's annotated attributes, with their defaults.

    Args:
        estimator: an ART classifier that gives logits.
        parameters: those that are to be others.
    """

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2", "l1")  # that it serves, where it has a norm
    _estimator_requirements: ClassVar[tuple[type, ...]] = (BaseEstimator, ClassifierMixin)

    def __init_subclass__(cls) -> None:
        cls.attack_params = [*super(cls, cls).attack_params, *cls.__annotations__]

    def __init__(self, estimator: Classifier, **parameters: object) -> None:
        super().__init__(estimator=estimator)
        self.set_params(**parameters)

    @property
    def is_random(self) -> bool:
        """Whether a misclassified point may be so by chance, so that the search goes on from it."""
        return bool(getattr(self.estimator, "is_random", False))

    @property
    def goes_beyond(self) -> bool:
        """Whether a point where logits cross may be judged to be right, which lies beyond them."""
        return self.is_random or getattr(self.estimator, "scores", None) is not None

    @property
    def box(self) -> tuple[Bound, Bound]:
        """The least and the greatest values of an input."""
        low, high = (0.0, 1.0) if self.estimator.clip_values is None else self.estimator.clip_values
        return _bound(low), _bound(high)


def _bound(values: Bound) -> Bound:
    """One number where all values have the same."""
    least, most = float(np.min(values)), float(np.max(values))
    return least if least == most else np.asarray(values, dtype=np.float32).reshape(-1)


def indices(labels: np.ndarray) -> np.ndarray:
    """Labels as classes, (n,), whether they are that or one-hot rows."""
    return np.asarray(labels.argmax(axis=1) if labels.ndim == 2 else labels)
