"""DeepFool, whose ART code asks about a whole batch until its last example is decided."""

from __future__ import annotations

import numpy as np
from art.attacks.evasion import DeepFool as ArtDeepFool

from benchmark.attacks.geometry import spread
from defenses.labels import labels_of

# ART's, against division by zero.
TINY = 1e-7


class DeepFool(ArtDeepFool):
    """ART's DeepFool that leaves an example alone once it is misclassified."""

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """Points just beyond the nearest boundary of each of `x`, (n, ...)."""
        x = np.asarray(x, dtype=np.float32)
        found = x.copy()
        for first in range(0, len(x), self.batch_size):
            part = slice(first, first + self.batch_size)
            found[part] = self._walk(x[part])
        return self._clipped(x + (1 + self.epsilon) * (found - x))

    def _walk(self, x: np.ndarray) -> np.ndarray:
        points, logits = x.copy(), np.asarray(self.estimator.predict(x))
        label = logits.argmax(axis=1)
        likely = np.argsort(-logits, axis=1)[:, : self.nb_grads]
        left_out = np.ones(logits.shape, dtype=bool)
        np.put_along_axis(left_out, likely, False, axis=1)
        np.put_along_axis(left_out, label[:, np.newaxis], True, axis=1)
        open_ = np.arange(len(x))
        for _ in range(self.max_iter):
            gradients = np.asarray(self.estimator.class_gradient(points[open_]))
            step = _step(logits, gradients, label[open_], left_out[open_])
            points[open_] = self._clipped(points[open_] + step)
            logits = np.asarray(self.estimator.predict(points[open_]))
            same = labels_of(logits) == label[open_]
            open_, logits = open_[same], logits[same]
            if not len(open_):
                break
        return points

    def _clipped(self, points: np.ndarray) -> np.ndarray:
        box = self.estimator.clip_values
        return points if box is None else np.clip(points, *box).astype(np.float32)


def _step(
    logits: np.ndarray, gradients: np.ndarray, label: np.ndarray, left_out: np.ndarray
) -> np.ndarray:
    """The shortest way to the nearest linearised boundary, (n, ...)."""
    rows = np.arange(len(label))
    slopes = gradients - gradients[rows, label][:, np.newaxis]  # (n, classes, ...)
    gaps = np.abs(logits - logits[rows, label][:, np.newaxis])  # (n, classes)
    lengths = np.sqrt((slopes**2).reshape(*gaps.shape, -1).sum(axis=2))
    target = np.where(left_out, np.inf, gaps / (lengths + TINY)).argmin(axis=1)
    scale = gaps[rows, target] / (lengths[rows, target] ** 2 + TINY)
    nearest = slopes[rows, target]
    return np.asarray(spread(scale, nearest) * nearest)
