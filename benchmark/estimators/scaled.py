"""A model as attacks see it where each feature has a budget of its own: by a change of scale.

With u = x / w, ||u' - u|| <= eps says the same as ||(x' - x) / w|| <= eps: an attack that knows
nothing of weights works on u, and is within the budgets of x. Features of weight 0 are no part of
u; the model is asked with the values that they have in the example.
"""

from __future__ import annotations

import numpy as np

from benchmark.estimators.estimator import Estimator, Label, Weights
from benchmark.estimators.passes import Passes, announce
from benchmark.estimators.probabilities import Around

# How far apart the marks of two examples are, in multiples of the largest budget that there is.
_APART = 16


class Scaled(Around):
    """An estimator of u = x / w around one of x, for an attack on some examples.

    Where many examples have values that are held, it has to know which example a point is about:
    attacks drop and reorder examples as they go. They announce it, or a point of u has a last value
    of its own, a mark, that says so. The model doesn't depend on it, so that no gradient leads
    along it.

    Args:
        inner: takes x, (n, d).
        x: the examples under attack, (n, d) in [0, 1].
        weights: of the features, (d,), at least one above 0.
        eps: the budget; infinite for none.
        marks: whether points have marks, where they need any.
    """

    def __init__(
        self, inner: Estimator, x: np.ndarray, weights: np.ndarray, eps: float, *, marks: bool
    ) -> None:
        self._inner, self._x = inner, x
        self._free = np.flatnonzero(weights)
        self._weights = weights[self._free].astype(np.float32)
        self._holds = len(self._free) < len(weights)
        self._announced: np.ndarray | None = None
        marked = marks and self._holds and len(x) > 1
        self._spacing = _APART * max(1.0, eps if np.isfinite(eps) else 1.0) if marked else 0.0
        high = np.float32(1) / self._weights
        # So that the way back doesn't leave the box.
        high = np.where(high * self._weights > 1, np.nextafter(high, np.float32(0)), high)
        self._clean = np.minimum(x[:, self._free] / self._weights, high)
        if marked:
            places = np.arange(len(x), dtype=np.float32)[:, np.newaxis] * self._spacing
            self._clean = np.concatenate([self._clean, places], axis=1)
            high = np.append(high, np.float32(len(x) * self._spacing))
        ends = np.unique(high)
        box = (0.0, float(ends[0])) if len(ends) == 1 else (np.zeros_like(high), high)
        super().__init__(inner, (len(high),), clip_values=box)

    @property
    def examples(self) -> np.ndarray:
        """The examples, as the attack is given them, (n, features of u)."""
        return self._clean.copy()

    @property
    def observer(self) -> Scaled:
        """Itself: what an attack announces is for it to know."""
        return self

    def expect(self, rows: np.ndarray) -> None:
        """The next queries of as many points are about these of the examples, (m,)."""
        self._announced = rows

    @property
    def passes(self) -> Passes:
        """What attacks asked of the model."""
        return self._inner.passes

    def back(self, points: np.ndarray) -> np.ndarray:
        """Points of u, (m, ...), as points of x, (m, d) float32."""
        return self._back(np.asarray(points, dtype=np.float32))[0]

    def predict(self, x: np.ndarray, batch_size: int = 128, **kwargs: object) -> np.ndarray:
        """Logits, (m, classes)."""
        return np.asarray(self._inner.predict(self._asked(x)))

    def compute_loss(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        """The loss of each point."""
        return np.asarray(self._inner.compute_loss(self._asked(x), y, **kwargs))

    def loss_gradient(self, x: np.ndarray, y: np.ndarray, **kwargs: object) -> np.ndarray:
        """The gradient of the mean loss with respect to u, of its shape."""
        return self._scaled(np.asarray(self._inner.loss_gradient(self._asked(x), y)))

    def class_gradient(self, x: np.ndarray, label: Label = None, **kwargs: object) -> np.ndarray:
        """The gradients of the logits with respect to u, (m, classes or fewer, ...)."""
        return self._scaled(np.asarray(self._inner.class_gradient(self._asked(x), label)))

    def logits_and_gradient(self, x: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Logits, and the gradient of a function of them with respect to u."""
        logits, gradient = self._inner.logits_and_gradient(self._asked(x), weights)
        return logits, self._scaled(np.asarray(gradient))

    def _asked(self, points: np.ndarray) -> np.ndarray:
        """The points of x that the model is asked about; an observer is told whose they are."""
        found, rows = self._back(np.asarray(points, dtype=np.float32))
        if rows is not None:
            announce(self._inner, rows)
        return found

    def _back(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        rows = self._rows(points)
        if rows is None:
            return points * self._weights, None
        found, free = self._x[rows], points[:, : len(self._free)]
        moved = free != self._clean[rows, : len(self._free)]  # others keep the very value
        found[:, self._free] = np.where(moved, free * self._weights, found[:, self._free])
        return found, rows

    def _rows(self, points: np.ndarray) -> np.ndarray | None:
        """The example that each point is about, (m,); None where it makes no difference."""
        if self._spacing:
            marks = np.nan_to_num(points[:, -1]) / self._spacing
            return np.clip(np.rint(marks), 0, len(self._x) - 1).astype(np.int64)
        if not self._holds:
            return None
        if len(self._x) == 1:
            return np.zeros(len(points), dtype=np.int64)
        rows, self._announced = self._announced, None
        rows = np.arange(len(self._x)) if rows is None else rows
        if len(rows) != len(points):
            raise ValueError(f"nothing says which examples {len(points)} points are about")
        return rows

    def _scaled(self, gradient: np.ndarray) -> np.ndarray:
        found = gradient[..., self._free] * self._weights
        if not self._spacing:
            return np.asarray(found)
        return np.concatenate([found, np.zeros_like(found[..., :1])], axis=-1)
