"""Shadow attack, whose ART code reads `y` as the class to reach, and takes one example a call."""

from __future__ import annotations

import numpy as np
from art.attacks.evasion import ShadowAttack as ArtShadowAttack

from benchmark.estimators.estimator import Classifier

# Noisy copies of an example that a gradient is averaged over; ART's 400 are for certified models.
COPIES = 8


class ShadowAttack(ArtShadowAttack):
    """ART's shadow attack, untargeted."""

    def __init__(
        self, estimator: Classifier, *, batch_size: int = COPIES, **kwargs: object
    ) -> None:
        super().__init__(estimator, batch_size=COPIES, **kwargs)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """An adversarial example for `x`, (1, H, W, C), which is classified correctly."""
        return np.asarray(super().generate(x, None, **kwargs))
