"""DeepFool, whose ART code asks about a whole batch until its last example is decided.

And it asks for the gradients of all classes, to leave all but the `nb_grads` likeliest out.
"""

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
        lacking = (likely != label[:, np.newaxis]).all(axis=1)  # where many logits are equal
        likely[lacking, -1] = label[lacking]
        classes = np.sort(likely, axis=1)  # (n, nb_grads), in the order that decides ties
        open_ = np.arange(len(x))
        for _ in range(self.max_iter):
            some = classes[open_]
            gradients = self._gradients(points[open_], some, logits.shape[1])
            own = (some == label[open_, np.newaxis]).argmax(axis=1)
            step = _step(np.take_along_axis(logits, some, axis=1), gradients, own)
            points[open_] = self._clipped(points[open_] + step)
            logits = np.asarray(self.estimator.predict(points[open_]))
            same = labels_of(logits) == label[open_]
            open_, logits = open_[same], logits[same]
            if not len(open_):
                break
        return points

    def _gradients(self, points: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
        """Of the logits of these classes out of so many, (n, k, ...) for classes (n, k)."""
        if classes.shape[1] == count:
            return np.asarray(self.estimator.class_gradient(points))
        if hasattr(self.estimator, "logits_and_gradient"):  # one of this project's
            return np.asarray(self.estimator.class_gradient(points, classes))
        every = np.asarray(self.estimator.class_gradient(points))
        return np.asarray(every[np.arange(len(points))[:, np.newaxis], classes])

    def _clipped(self, points: np.ndarray) -> np.ndarray:
        box = self.estimator.clip_values
        return points if box is None else np.clip(points, *box).astype(np.float32)


def _step(logits: np.ndarray, gradients: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The shortest way to the nearest linearised boundary, (n, ...).

    Args:
        logits: of some classes, (n, k).
        gradients: of these, (n, k, ...).
        own: which of them is the label's, (n,).
    """
    rows = np.arange(len(own))
    slopes = gradients - gradients[rows, own][:, np.newaxis]  # (n, k, ...)
    gaps = np.abs(logits - logits[rows, own][:, np.newaxis])  # (n, k)
    lengths = np.sqrt((slopes**2).reshape(*gaps.shape, -1).sum(axis=2))
    ways = gaps / (lengths + TINY)
    ways[rows, own] = np.inf
    target = ways.argmin(axis=1)
    scale = gaps[rows, target] / (lengths[rows, target] ** 2 + TINY)
    nearest = slopes[rows, target]
    return np.asarray(spread(scale, nearest) * nearest)
