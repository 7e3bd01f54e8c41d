"""A trained model whose weights are moved and put back, and which counts what it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.estimators.estimator import Estimator
from benchmark.models import Model
from defenses.cost import Cost, gradients
from defenses.kernel import Kernel
from defenses.labels import labels_of
from defenses.perturbation.spec import Ascent


class Adaptable:
    """One kernel for all episodes: what it compiled for the first one serves the others.

    Args:
        kernel: its weights are the ones that every episode begins with; they are moved in place.
        estimator: makes an ART estimator of the kernel's model, for attacks that need one.
        renew: makes its last layer as it was before any training; None where that isn't known.
    """

    def __init__(
        self,
        kernel: Kernel,
        estimator: Callable[[Model], Estimator],
        renew: Callable[[], None] | None = None,
    ) -> None:
        self._kernel, self._renew = kernel, renew
        self._trained = kernel.weights()
        self._make_estimator = estimator
        self._estimator: Estimator | None = None
        self._cost = Cost()

    @property
    def estimator(self) -> Estimator:
        """An estimator of `benchmark.estimators`, which sees the weights as they are."""
        if self._estimator is None:
            self._estimator = self._make_estimator(self._kernel.model)
        return self._estimator

    def spent(self) -> Cost:
        """What was asked for since this was asked last."""
        spent, self._cost = self._cost, Cost()
        if self._estimator is not None:
            passes = self._estimator.passes
            spent += Cost(**passes.counts())
            passes.forwards = passes.backwards = 0
        return spent

    @property
    def renews(self) -> bool:
        """Whether `restore` can leave the last layer untrained."""
        return self._renew is not None

    def restore(self, *, new_head: bool = False) -> None:
        """Put the trained weights back, but for the last layer where a new one is wanted."""
        self._kernel.load_weights(self._trained)
        if new_head:
            assert self._renew is not None
            self._renew()

    def descend(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        steps: int,
        rate: float,
        clean: np.ndarray | None = None,
        distance_weight: float = 0.0,
    ) -> None:
        """Plain gradient descent on the mean cross-entropy of `x` as they are.

        With `clean`, plus `distance_weight` times the squared distance to their logits.
        """
        self._kernel.descend(
            x, y, steps=steps, rate=rate, clean=clean, distance_weight=distance_weight
        )
        self._cost += gradients(len(x) * (1 if clean is None else 2)) * steps

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
        self._cost += ascent.cost(len(x))
        return self._kernel.attack(x, y, start, eps=eps, ascent=ascent, scale=scale)

    def input_gradient(self, x: np.ndarray, y: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
        """The gradient of each example's loss, of `scale` times the logits, with respect to it."""
        self._cost += gradients(len(x))
        return self._kernel.input_gradient(x, y, scale=scale)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Labels, (n,); `NO_LABEL` where the logits are not finite."""
        return labels_of(self.logits(x))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n, classes)."""
        self._cost += Cost(forwards=len(x))
        return self._kernel.predict(x)
