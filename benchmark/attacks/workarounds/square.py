"""Square, whose ART code crashes where a square of `p_init` doesn't leave room in the image."""

from __future__ import annotations

import math

from art.attacks.evasion import SquareAttack as ArtSquareAttack


class SquareAttack(ArtSquareAttack):
    """ART's Square with squares that are at least a pixel smaller than the image."""

    def _get_percentage_of_elements(self, i_iter: int) -> float:
        height, width = self.estimator.input_shape[:2]
        largest = min(height, width) - 1
        # ART rounds the side: a quarter of a pixel below the next one keeps it down.
        room = (largest + 0.25) ** 2 / (height * width)
        return float(min(super()._get_percentage_of_elements(i_iter), math.nextafter(room, 0)))
