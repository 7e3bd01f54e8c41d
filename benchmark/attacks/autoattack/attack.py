"""What the attacks of AutoAttack share: checks, labels, batches, and keeping what was found."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from art.attacks.attack import EvasionAttack
from art.estimators.classification.classifier import ClassifierMixin
from art.estimators.estimator import BaseEstimator

from benchmark.attacks.autoattack.losses import fooled
from benchmark.attacks.geometry import NORMS, Region


@dataclass
class Found:
    """An attack's points so far, n rows.

    Args:
        success: which points are misclassified and in the region.
        points: the best of each example, (n, d).
        score: how good the best is; of an attack's own making, greater is better.
    """

    success: np.ndarray
    points: np.ndarray
    score: np.ndarray

    @classmethod
    def nothing(cls, x: np.ndarray) -> Found:
        """The examples themselves, as if nothing were better."""
        return cls(np.zeros(len(x), dtype=bool), x.copy(), np.full(len(x), -np.inf))

    def add(self, rows: np.ndarray, other: Found) -> None:
        """Take from another search over `rows` what is better."""
        better = other.success & ~self.success[rows] | (other.score > self.score[rows])
        self.points[rows[better]] = other.points[better]
        self.score[rows[better]] = other.score[better]
        self.success[rows] |= other.success


def keep(arrays: Any, which: np.ndarray) -> None:
    """Drop rows from every array of a dataclass."""
    for field in fields(arrays):
        value = getattr(arrays, field.name)
        if isinstance(value, np.ndarray):
            setattr(arrays, field.name, value[which])


class RegionAttack(EvasionAttack):
    """An untargeted attack within a ball and the estimator's box.

    Args:
        estimator: an ART classifier that gives logits.
        norm: numpy.inf, 2 or 1.
        eps: the budget.
        batch_size: examples at a time; memory grows with it, not with their number.
        seed: of the attack's draws; None takes one from NumPy's global generator.
        verbose: taken for ART's sake; nothing is printed.
    """

    attack_params: ClassVar[list[str]] = [
        *EvasionAttack.attack_params, "norm", "eps", "batch_size", "seed", "verbose"
    ]  # fmt: skip
    _estimator_requirements: ClassVar[tuple[type, ...]] = (BaseEstimator, ClassifierMixin)

    def __init__(
        self,
        estimator: Any,
        norm: float | str = np.inf,
        eps: float = 0.3,
        *,
        batch_size: int = 250,
        seed: int | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(estimator=estimator)
        self.norm = norm
        self.eps = eps
        self.batch_size = batch_size
        self.seed = seed
        self.verbose = verbose
        RegionAttack._check_params(self)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: Any) -> np.ndarray:
        """Adversarial examples where some were found, else the best points met.

        Args:
            x: examples in the box, (n, ...).
            y: labels as indices or one-hot; None for what the estimator predicts.
        """
        # ART's attacks draw from the global generator, which the harness seeds.
        seed = np.random.randint(2**31) if self.seed is None else self.seed  # noqa: NPY002
        generator = np.random.default_rng(seed)
        x = np.asarray(x, dtype=np.float32)
        x_adv = x.copy()
        given = None if y is None else np.asarray(y)
        if given is not None and given.ndim == 2:
            given = given.argmax(axis=1)
        for first in range(0, len(x), self.batch_size):
            part = slice(first, first + self.batch_size)
            logits = np.asarray(self.estimator.predict(x[part]))
            labels = logits.argmax(axis=1) if given is None else given[part]
            rows = first + np.flatnonzero(~fooled(logits, labels))
            if len(rows):
                found = self._search(x[rows], labels[rows - first], logits[rows - first], generator)
                x_adv[rows] = found.points.reshape(x[rows].shape)
        return x_adv

    @abstractmethod
    def _search(
        self, x: np.ndarray, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Found:
        """Attack correctly classified examples `x`, (n, ...), with their labels and logits."""

    @property
    def region(self) -> Region:
        """Where the points may lie."""
        low, high = (0.0, 1.0) if self.estimator.clip_values is None else self.estimator.clip_values
        return Region(NORMS[self.norm], self.eps, float(np.min(low)), float(np.max(high)))

    def _check_params(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm is {self.norm!r}; allowed: numpy.inf, 2, 1")
        if self.eps <= 0 or self.batch_size < 1:
            raise ValueError(
                f"eps is {self.eps!r} and batch_size {self.batch_size!r}; both must be above 0"
            )
