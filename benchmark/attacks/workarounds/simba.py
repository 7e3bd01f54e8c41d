"""SimBA, which knows no budget, takes its labels as one-hot rows only, and no batches."""

from __future__ import annotations

import numpy as np
from art.attacks.evasion import SimBA as ArtSimBA

from benchmark.estimators.estimator import Classifier

# Length of a step under l2, as in the paper.
STEP = 0.2


class SimBA(ArtSimBA):
    """ART's SimBA under a norm: single pixels moved by eps (linf), or frequencies by steps (l2)."""

    attack_params = (*ArtSimBA.attack_params, "norm", "eps")

    def __init__(
        self,
        classifier: Classifier,
        *,
        norm: float,
        eps: float,
        epsilon: float = STEP,
        batch_size: int = 1,
        **kwargs: object,
    ) -> None:
        by_pixels = norm == np.inf
        super().__init__(
            classifier,
            attack="px" if by_pixels else "dct",
            epsilon=eps if by_pixels else epsilon,
            batch_size=1,
            **kwargs,
        )
        if by_pixels:
            # A pixel visited twice would leave the budget.
            most = int(np.prod(classifier.input_shape))
            self.max_iter: int = min(self.max_iter, most)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """Adversarial examples for `x`, (n, H, W, C)."""
        if y is not None and y.ndim == 1:
            y = np.eye(self.estimator.nb_classes, dtype=np.float32)[y]
        return np.asarray(super().generate(x, y, **kwargs))
