"""Pixel and threshold attacks, which know their budgets by other names and in 8 bits.

ART's default strategy for the threshold attack needs the package cma, which it doesn't install;
differential evolution needs nothing.
"""

from __future__ import annotations

from art.attacks.evasion import PixelAttack as ArtPixelAttack
from art.attacks.evasion import ThresholdAttack as ArtThresholdAttack

from benchmark.estimators.estimator import Classifier

_EVOLUTION = 1


class PixelAttack(ArtPixelAttack):
    """ART's pixel attack on as many pixels as an l0 budget has room for."""

    attack_params = (*ArtPixelAttack.attack_params, "norm", "eps")

    def __init__(
        self, classifier: Classifier, *, norm: float, eps: float, **kwargs: object
    ) -> None:
        pixels = max(1, int(eps / classifier.input_shape[-1]))
        super().__init__(classifier, th=pixels, es=_EVOLUTION, **kwargs)


class ThresholdAttack(ArtThresholdAttack):
    """ART's threshold attack within an linf budget."""

    attack_params = (*ArtThresholdAttack.attack_params, "norm", "eps")

    def __init__(
        self, classifier: Classifier, *, norm: float, eps: float, **kwargs: object
    ) -> None:
        # It rounds pixels down to whole numbers of 255, by up to one.
        super().__init__(classifier, th=max(1, int(eps * 255) - 1), es=_EVOLUTION, **kwargs)
