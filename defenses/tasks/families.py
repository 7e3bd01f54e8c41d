"""The attacks that a task can be under, and the families that they count as.

Gradient ascent within one norm is one family, however many steps it takes and whether it carries
momentum: a model trained against one of them has seen the others. So a held-out attack holds its
whole family out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from defenses.errors import DefenseError, did_you_mean
from defenses.perturbation.spec import Ascent, default_relative_step
from defenses.threat import NORMS, Threat


@dataclass(frozen=True)
class TaskAttack:
    """One attack.

    Args:
        ascent: its norm, steps, step size and momentum.
        random_start: whether it starts anywhere in the ball, or at the example itself.
    """

    ascent: Ascent
    random_start: bool = True

    @property
    def norm(self) -> str:
        """Of its budget."""
        return self.ascent.norm

    @property
    def family(self) -> str:
        """What it counts as: gradient ascent within its norm, named by that."""
        return self.ascent.norm

    def with_steps(self, steps: int) -> TaskAttack:
        """Projected gradient ascent with so many steps; other attacks as they are."""
        if self.ascent.steps == 1 or self.ascent.momentum:
            return self
        ascent = Ascent(self.norm, steps, default_relative_step(steps))
        return dataclasses.replace(self, ascent=ascent)

    def starts(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Where it starts on examples of this shape, within the unit ball, float32."""
        if not self.random_start:
            return np.zeros(shape, np.float32)
        return Threat(self.norm, 1.0).random_starts(generator, shape)


ATTACKS: dict[str, TaskAttack] = {
    "fgsm": TaskAttack(Ascent("linf", steps=1, relative_step=1.0), random_start=False),
    "fgsm-rs": TaskAttack(Ascent("linf", steps=1, relative_step=1.25, clipped_start=False)),
    "pgd-linf": TaskAttack(Ascent("linf", steps=10, relative_step=0.25)),
    "pgd-l2": TaskAttack(Ascent("l2", steps=10, relative_step=0.25)),
    "pgd-l1": TaskAttack(Ascent("l1", steps=10, relative_step=0.25)),
    # Step and decay of Dong et al. 2018, "Boosting adversarial attacks with momentum".
    "momentum": TaskAttack(
        Ascent("linf", steps=10, relative_step=0.1, momentum=1.0), random_start=False
    ),
}
FAMILIES: tuple[str, ...] = NORMS


def attack(name: str) -> TaskAttack:
    """An attack by its name; DefenseError where there is none."""
    if name not in ATTACKS:
        raise DefenseError(f"unknown attack {name!r}{did_you_mean(name, ATTACKS)}")
    return ATTACKS[name]


def family(name: str) -> str:
    """The family of an attack; a family's own name stands for itself.

    Raises:
        DefenseError: neither an attack nor a family.
    """
    if name in FAMILIES:
        return name
    if name not in ATTACKS:
        raise DefenseError(
            f"unknown attack or family {name!r}{did_you_mean(name, [*ATTACKS, *FAMILIES])}"
        )
    return ATTACKS[name].family


def seen_attacks(held_out: Iterable[str]) -> tuple[str, ...]:
    """The attacks of every family that is not held out, in the table's order."""
    families = {family(name) for name in held_out}
    return tuple(name for name, attack in ATTACKS.items() if attack.family not in families)


def check_seen(trained_on: Sequence[str], held_out: Sequence[str]) -> None:
    """Refuse training on a held-out family.

    Args:
        trained_on: attacks, or families.
        held_out: likewise.

    Raises:
        DefenseError: an unknown name, or a family that stands on both sides.
    """
    families = {family(name): name for name in held_out}
    for name in trained_on:
        if (of := family(name)) in families:
            raise DefenseError(
                f"training on {name!r} would see the held-out {families[of]!r}: gradient attacks "
                f"within {of} are one family; leave one of the two out"
            )
