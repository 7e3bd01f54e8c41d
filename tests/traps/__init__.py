"""Models that look more robust than they are, each with what gives it away.

A trap is a function of `Base`, an undefended network and what else it may use, that returns a
`Trap`: the model to attack, and the model *below*: one that answers alike (nearly) and has useful
gradients. What fools the one below within the budget and is tried on the trap gives its true
robustness, or an upper bound of it; so it is known by construction, whatever the attacks find.

A new one is a function with the decorator `trap` in `torch_traps.py` or `keras_traps.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Base:
    """What traps are built around.

    Args:
        undefended: a network that any attack breaks.
        robust: one that was trained adversarially.
        keras: an undefended network in Keras.
        fit: trains a network of the trap's own, without a defense.
        x: the test examples, NHWC, which only a trap that cheats looks at.
        y: their labels.
    """

    undefended: Any
    robust: Any
    keras: Any
    fit: Callable[[Any], Any]
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Trap:
    """A model to attack, and what its true robustness follows from.

    Args:
        model: takes NCHW (torch) or NHWC (Keras), gives logits.
        below: has nearly the same answers, and gradients that lead somewhere.
        unseen: whether the model cheats on the test examples alone, so that its robustness on
            others, which is that of `below`, is the true one.
    """

    model: Any
    below: Any
    unseen: bool = False


TRAPS: dict[str, Callable[[Base], Trap]] = {}


def trap(name: str) -> Callable[[Callable[[Base], Trap]], Callable[[Base], Trap]]:
    """Adds a function to `TRAPS` under this name."""

    def added(make: Callable[[Base], Trap]) -> Callable[[Base], Trap]:
        TRAPS[name] = make
        return make

    return added
