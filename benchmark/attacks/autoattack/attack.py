"""What the attacks of AutoAttack share: checks, labels, batches, and keeping what was found."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from benchmark.attacks.arrays import Array, copied, host
from benchmark.attacks.autoattack.losses import fooled
from benchmark.attacks.autoattack.parameters import ParameterAttack, indices
from benchmark.attacks.geometry import NORMS, ORDERS, Region
from benchmark.estimators.passes import outputs_of, placed


@dataclass
class Best:
    """An attack's points so far, n rows.

    Args:
        success: which points are misclassified and in the region.
        points: the best of each example, (n, d).
        score: how good the best is; of an attack's own making, greater is better.
    """

    success: np.ndarray
    points: Array
    score: np.ndarray

    @classmethod
    def nothing(cls, x: Array) -> Best:
        """The examples themselves, as if nothing were better."""
        return cls(np.zeros(len(x), dtype=bool), copied(x), np.full(len(x), -np.inf))

    def add(self, rows: np.ndarray, other: Best) -> None:
        """Take from another search over `rows` what is better."""
        better = other.success & ~self.success[rows] | (other.score > self.score[rows])
        self.points[rows[better]] = other.points[better]
        self.score[rows[better]] = other.score[better]
        self.success[rows] |= other.success


class Open:
    """Examples that a search still works on; each of its arrays has a row for each of them."""

    def keep(self, which: np.ndarray) -> None:
        """Drop the others."""
        rows = np.flatnonzero(which)  # once: a device would look for them in each array
        for name, value in vars(self).items():
            if getattr(value, "ndim", 0):
                setattr(self, name, value[rows])


class RegionAttack(ParameterAttack):
    """An untargeted attack within a ball and the estimator's box.

    Args:
        norm: numpy.inf, 2 or 1.
        eps: the budget.
        batch_size: examples at a time; memory grows with it, not with their number.
        seed: of the attack's draws; None takes one from NumPy's global generator.
        verbose: taken for ART's sake; nothing is printed.
    """

    norm: float | str = np.inf
    eps: float = 0.3
    batch_size: int = 250
    seed: int | None = None
    verbose: bool = False
    takes_tensors = False  # whether `_search` works where the estimator keeps its points

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
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
        given = None if y is None else indices(np.asarray(y))
        for first in range(0, len(x), self.batch_size):
            part = slice(first, first + self.batch_size)
            points = placed(self.estimator, x[part]) if self.takes_tensors else x[part]
            logits = outputs_of(self.estimator, points)
            labels = logits.argmax(axis=1) if given is None else given[part]
            # With labels a random model's answer to an example, which is chance, decides nothing.
            known = self.is_random and given is not None
            rows = np.flatnonzero(~fooled(self.estimator, logits, labels) | known)
            if len(rows):
                found = self._search(points[rows], labels[rows], logits[rows], generator)
                x_adv[first + rows] = host(found.points).reshape(len(rows), *x.shape[1:])
        return x_adv

    @abstractmethod
    def _search(
        self, x: Array, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        """Attack correctly classified examples `x`, (n, ...), with their labels and logits."""

    @property
    def region(self) -> Region:
        """Where the points may lie."""
        return Region(NORMS[self.norm], float(self.eps), *self.box)

    def _check_params(self) -> None:
        if NORMS.get(self.norm) not in self.norms:
            allowed = ", ".join(str(ORDERS[norm]) for norm in self.norms)
            raise ValueError(f"norm is {self.norm!r}; allowed: {allowed}")
        if self.eps <= 0 or self.batch_size < 1:
            raise ValueError(
                f"eps is {self.eps!r} and batch_size {self.batch_size!r}; both must be above 0"
            )
