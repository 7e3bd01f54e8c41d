"""Every attack that a suite may name: an explicit list, so that a suite can't load anything else.

`tests/test_attacks.py` holds the argument names against ART's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AttackEntry:
    """An ART attack as a suite may use it.

    Args:
        target: "module:class".
        description: one line.
        norms: threat models that it serves.
        arguments: what a suite may set; norm, eps and batch size are the harness's.
        images_only: whether it needs (H, W, C) inputs.
        smallest_side: norm to the fewest pixels of a side that ART's code can work on.
    """

    target: str
    description: str
    norms: tuple[str, ...]
    arguments: tuple[str, ...]
    images_only: bool = False
    smallest_side: Mapping[str, int] = field(default_factory=dict)


ATTACKS: dict[str, AttackEntry] = {
    "fast-gradient": AttackEntry(
        target="art.attacks.evasion:FastGradientMethod",
        description="one gradient step (Goodfellow et al. 2015)",
        norms=("linf", "l2", "l1"),
        arguments=("num_random_init",),
    ),
    "pgd": AttackEntry(
        target="art.attacks.evasion:ProjectedGradientDescent",
        description="projected gradient ascent with random starts (Madry et al. 2018)",
        norms=("linf", "l2", "l1"),
        arguments=("eps_step", "max_iter", "num_random_init", "decay"),
    ),
    "apgd": AttackEntry(
        target="art.attacks.evasion:AutoProjectedGradientDescent",
        description="projected gradient ascent with its own step sizes (Croce & Hein 2020)",
        norms=("linf", "l2", "l1"),
        arguments=("eps_step", "max_iter", "nb_random_init"),
    ),
    "square": AttackEntry(
        target="art.attacks.evasion:SquareAttack",
        description="random search by squares, no gradients (Andriushchenko et al. 2020)",
        norms=("linf", "l2"),
        arguments=("max_iter", "p_init", "nb_restarts"),
        images_only=True,
        smallest_side={"linf": 2, "l2": 10},
    ),
}
