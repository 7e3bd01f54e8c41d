"""A trained model as read-outs and attacks need it; it counts what it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark import frameworks
from benchmark.estimators.estimator import Estimator
from benchmark.estimators.passes import CHUNK
from defenses import Fitted
from defenses.cost import Cost, gradients
from defenses.heads.spec import Heads
from defenses.labels import labels_of
from defenses.perturbation.spec import Ascent

# A model and its number of classes to an estimator of it.
Wrap = Callable[[Any, int], Estimator]


class Adapted:
    """A copy of a trained model; what moves its weights puts them back.

    Args:
        fitted: the trained model, which stays as it is.
        wrap: makes estimators, for the attacks of libraries.
        rows: that go through the model at once, where episodes share its weights.
    """

    def __init__(self, fitted: Fitted, wrap: Wrap, rows: int = CHUNK) -> None:
        self.defense, self.wrap, self.rows = fitted.defense, wrap, rows
        self.kernel = fitted.kernel.copy()
        self.body = frameworks.part(frameworks.HEADS, fitted.subject.framework).Body(self.kernel)
        self._trained = self.kernel.weights()
        self._cost = Cost()
        self.autoattack = Cost()  # of estimators, which count by themselves

    def restore(self) -> None:
        """Put the trained weights back."""
        self.kernel.load_weights(self._trained)

    def spent(self) -> Cost:
        """What was asked for since this was asked last."""
        spent, self._cost = self._cost, Cost()
        return spent

    def features(self, x: np.ndarray) -> np.ndarray:
        """(n, d), float64, of the weights as they are."""
        self._cost += Cost(forwards=len(x))
        parts = [x[first : first + self.rows] for first in range(0, len(x), self.rows)]
        return np.concatenate([self.body.features(part) for part in parts]).astype(np.float64)

    def attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        heads: Heads,
        *,
        eps: float,
        ascent: Ascent,
    ) -> np.ndarray:
        """Adversarial examples of (n, ...) through heads, which have n / E of them each."""
        self._cost += ascent.cost(len(x))
        with np.errstate(all="ignore"):  # weights may have diverged: judged by what comes out
            found: np.ndarray = self.body.attack(x, y, start, heads, eps=eps, ascent=ascent)
        return found

    def attack_as_trained(
        self, x: np.ndarray, start: np.ndarray, *, eps: float, ascent: Ascent
    ) -> np.ndarray:
        """Adversarial examples of the trained model, away from what it says of each input."""
        self._cost += ascent.cost(len(x)) + Cost(forwards=len(x))
        said = self.kernel.predict(x).argmax(axis=1)
        return self.kernel.attack(x, said, start, eps=eps, ascent=ascent)

    def finetune(
        self, x: np.ndarray, y: np.ndarray, ways: int, *, steps: int, rate: float
    ) -> Heads:
        """Moves all weights, and a new head that it gives."""
        self._cost += gradients(len(x)) * steps
        heads: Heads = self.body.descend(x, y, ways, steps=steps, rate=rate)
        return heads

    def descend(self, x: np.ndarray, y: np.ndarray, ways: int, *, steps: int, rate: float) -> Heads:
        """Moves the weights as the model's own inner loop does; gives its own head."""
        self._cost += gradients(len(x)) * steps
        self.kernel.descend(x, y, steps=steps, rate=rate)
        return self.own(ways)

    def own(self, ways: int) -> Heads:
        """The model's own head, of its first classes."""
        heads: Heads = self.body.own(ways)
        return heads


@dataclass(frozen=True)
class Reading:
    """A model under one head, which answers and is attacked as one whose weights were moved."""

    model: Adapted
    heads: Heads

    @property
    def estimator(self) -> Estimator:
        """For the attacks of libraries."""
        return self.model.wrap(self.model.body.with_head(self.heads), self.heads.weights.shape[-1])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Labels, (n,); `NO_LABEL` where the logits are not finite."""
        return labels_of(self.logits(x))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n, ways)."""
        found: np.ndarray = self.heads.logits(self.model.features(x)[None])[0]
        return found

    def attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        *,
        eps: float,
        ascent: Ascent,
        scale: float = 1.0,
    ) -> np.ndarray:
        """Projected gradient ascent on each example's loss of `scale` times the logits."""
        heads = self.heads.scaled(scale)
        return self.model.attack(x, y, start, heads, eps=eps, ascent=ascent)
