"""Square Attack: random search by squares, without gradients (Andriushchenko et al. 2020).

Under l1 as in Croce & Hein 2021. Each example has squares and signs of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.attacks.arrays import Array, copied, namespace
from benchmark.attacks.autoattack.attack import Best, RegionAttack
from benchmark.attacks.autoattack.losses import closeness, fooled
from benchmark.attacks.autoattack.squares import propose, start
from benchmark.estimators.passes import outputs_of

# The share of an image that a square covers is `p_init` divided by 2, 4, ... after these queries.
HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
# To what the schedule above belongs.
SCHEDULED_QUERIES = 10_000

Ask = Callable[[Array], np.ndarray]


class Square(RegionAttack):
    """Square Attack on the margin between the label's logit and the greatest other.

    Args:
        estimator: any classifier of images; only its predictions are asked for.
        max_iter: queries an example; such as would change nothing are counted here, and saved.
        p_init: share of the image that the first squares cover.
        nb_restarts: searches.
        rescaled: whether squares shrink as fast as `max_iter` is short of 10,000.
    """

    max_iter: int = 5000
    p_init: float = 0.8
    nb_restarts: int = 1
    rescaled: bool = False
    takes_tensors = True

    def _search(
        self, x: Array, y: np.ndarray, logits: np.ndarray, generator: np.random.Generator
    ) -> Best:
        if x.ndim != 4:
            raise ValueError(f"Square works on images, (n, H, W, C); these are {x.shape}")
        first = getattr(self.estimator, "channels_first", False)
        xp = namespace(x)
        images = xp.moveaxis(x, 1, -1) if first else x  # (n, H, W, C)

        def ask(points: Array) -> np.ndarray:
            points = copied(xp.moveaxis(points, -1, 1)) if first else points
            return outputs_of(self.estimator, points)

        found = Best.nothing(images)
        for _ in range(self.nb_restarts):
            rows = np.flatnonzero(~found.success | self.is_random)
            if len(rows):
                found.add(rows, self._run(images[rows], y[rows], ask, generator))
        found.points = xp.moveaxis(found.points, -1, 1) if first else found.points
        return found

    def _run(self, x: Array, y: np.ndarray, ask: Ask, generator: np.random.Generator) -> Best:
        """One search over images (n, H, W, C)."""
        region = self.region
        found = Best.nothing(x)
        found.points = start(x, region, generator)
        logits = ask(found.points)
        found.success, found.score = fooled(self.estimator, logits, y), closeness(logits, y)
        for query in range(self.max_iter):
            rows = np.flatnonzero(~found.success | self.is_random)
            if not len(rows):
                break
            side = self._side(query, tuple(x.shape))
            new, changed = propose(x[rows], found.points[rows], side, region, generator)
            rows, new = rows[changed], new[changed]
            if len(rows):
                logits = ask(new)
                across = fooled(self.estimator, logits, y[rows])
                here = Best(across, new, closeness(logits, y[rows]))
                found.add(rows, here)
        return found

    def _side(self, query: int, shape: tuple[int, ...]) -> int:
        """How wide a square is."""
        place = query * SCHEDULED_QUERIES // self.max_iter if self.rescaled else query
        share = self.p_init / 2 ** sum(place > after for after in HALVED_AFTER)
        side = round(float(np.sqrt(share * shape[1] * shape[2])))
        if self.region.norm == "linf":
            side = max(side, 1)
        else:
            side = max(side, 3) + (max(side, 3) % 2 == 0)
        return min(side, *shape[1:3])
