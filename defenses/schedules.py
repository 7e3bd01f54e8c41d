"""How a rate moves over a training; neutral, so that both frameworks follow the same one."""

from __future__ import annotations

import math
from collections.abc import Callable

# Each maps the share of the training that is done, in [0, 1), to a factor of the base rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    # Up to the base rate over the first 40 %, then down to zero (Wong et al. 2020).
    "cyclic": lambda done: min(done / 0.4, (1 - done) / 0.6),
    # A tenth after half of the training, a hundredth after three quarters.
    "piecewise": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
}


def ramp(done: float, share: float) -> float:
    """A factor that rises linearly from near 0 to 1 over the first `share` of the training."""
    return 1.0 if share == 0 else min(1.0, done / share)


def averaging_decay(decay: float, step: int) -> float:
    """The averaged weights' decay after update `step`, counted from 0.

    It rises to `decay`, so that the first weights are forgotten soon.
    """
    return min(decay, (1 + step) / (10 + step))
