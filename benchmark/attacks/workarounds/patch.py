"""Adversarial patch, whose ART code gives a patch instead of examples, and knows targets only.

It also fails where an estimator's clip values are NumPy's numbers, as those of ART's own are.
"""

from __future__ import annotations

import numpy as np
from art.attacks.evasion import AdversarialPatchNumpy

from benchmark.estimators.estimator import Classifier


class AdversarialPatch(AdversarialPatchNumpy):
    """ART's patch, untargeted: up the loss of the true labels; returns the patched examples."""

    attack_params = (*AdversarialPatchNumpy.attack_params, "scale")

    def __init__(
        self,
        classifier: Classifier,
        *,
        scale: float = 0.4,
        learning_rate: float = 5.0,
        **kwargs: object,
    ) -> None:
        super().__init__(
            classifier, scale_min=scale, scale_max=scale, learning_rate=learning_rate, **kwargs
        )
        self.scale = scale
        # Its steps go down the loss of the labels that it is given.
        self.learning_rate = -learning_rate

    def reset_patch(self, initial_patch_value: float | np.ndarray | None) -> None:
        """Start again from a patch, or from one of a single value."""
        if initial_patch_value is not None and np.ndim(initial_patch_value) == 0:
            initial_patch_value = float(initial_patch_value)
        super().reset_patch(initial_patch_value)

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """`x`, (n, H, W, C), each with the patch at a place and an angle of its own."""
        super().generate(x, y, **kwargs)
        patched = np.clip(self.apply_patch(x, self.scale), 0, 1).astype(np.float32)
        if np.array_equal(patched, x):
            height, width = x.shape[1:3]
            raise ValueError(
                f"a patch of scale {self.scale:g} covers no pixel of {height}x{width}; give a "
                "larger one"
            )
        return patched
