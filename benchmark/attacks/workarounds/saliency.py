"""JSMA, whose ART code reads `y` as the classes to reach: with true labels it does nothing."""

from __future__ import annotations

import numpy as np
from art.attacks.evasion import SaliencyMapMethod as ArtSaliencyMapMethod

from benchmark.attacks.autoattack.losses import other_classes
from benchmark.estimators.estimator import Classifier
from defenses.labels import labels_of


class SaliencyMapMethod(ArtSaliencyMapMethod):
    """ART's JSMA, untargeted: towards the likeliest wrong classes, within an l0 budget."""

    attack_params = (*ArtSaliencyMapMethod.attack_params, "norm", "eps", "targets")

    def __init__(
        self,
        classifier: Classifier,
        *,
        norm: float,
        eps: float,
        theta: float = 1.0,
        targets: int = 1,
        **kwargs: object,
    ) -> None:
        # It changes two values at a time, and stops above gamma.
        gamma = max(eps - 1.5, 0.5) / float(np.prod(classifier.input_shape))
        super().__init__(classifier, theta=theta, gamma=min(gamma, 1.0), **kwargs)
        self.targets = targets

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """Adversarial examples for `x`, (n, ...), with true labels `y`, (n,)."""
        logits = self.estimator.predict(x)
        label = logits.argmax(axis=1) if y is None else y
        x_adv = x.copy()
        left = np.arange(len(x))
        for target in other_classes(logits, label)[:, : self.targets].T:
            if not len(left):
                break
            x_adv[left] = super().generate(x[left], target[left], **kwargs)
            left = left[labels_of(self.estimator.predict(x_adv[left])) == label[left]]
        return x_adv
