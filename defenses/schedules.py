"""How a rate moves over a training; neutral, so that both frameworks follow the same one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def piecewise(done: float, milestones: Sequence[float] = (0.5, 0.75)) -> float:
    """A tenth of the factor before after each milestone, a share of the training."""
    return 1 / 10 ** sum(done >= milestone for milestone in milestones)


def one_cycle(done: float) -> float:
    """From 1/25 up to 1 over the first 30 %, then down to 1/250,000, each along a cosine.

    The rates of `torch.optim.lr_scheduler.OneCycleLR` (Smith & Topin 2019); momentum stays.
    """
    if done < 0.3:
        return 1 + (1 / 25 - 1) * 0.5 * (1 + math.cos(math.pi * done / 0.3))
    return 4e-6 + (1 - 4e-6) * 0.5 * (1 + math.cos(math.pi * (done - 0.3) / 0.7))


# Each maps the share of the training that is done, in [0, 1), to a factor of the base rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    # Up to the base rate over the first 40 %, then down to zero (Wong et al. 2020).
    "cyclic": lambda done: min(done / 0.4, (1 - done) / 0.6),
    # The same with its peak in the middle, as these authors have it for CIFAR-10.
    "triangular": lambda done: min(done / 0.5, (1 - done) / 0.5),
    "one-cycle": one_cycle,
    "piecewise": piecewise,
}


def ramp(done: float, share: float) -> float:
    """A factor that rises linearly from near 0 to 1 over the first `share` of the training."""
    return 1.0 if share == 0 else min(1.0, done / share)


def averaging_decay(decay: float, step: int) -> float:
    """The averaged weights' decay after update `step`, counted from 0.

    It rises to `decay`, so that the first weights are forgotten soon.
    """
    return min(decay, (1 + step) / (10 + step))
