"""The attacks that a task can be under, and the families that they count as.

Gradient ascent within one norm is one family, however many steps it takes and whether it carries
momentum: a model trained against one of them has seen the others. So a held-out attack holds its
whole family out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from defenses.errors import DefenseError, did_you_mean
from defenses.perturbation.spec import Ascent, fgsm, pgd
from defenses.threat import NORMS

ATTACKS: dict[str, Ascent] = {
    "fgsm": fgsm("linf"),
    "fgsm-rs": Ascent("linf", steps=1, relative_step=1.25, clipped_start=False),
    "pgd-linf": pgd("linf", 10),
    "pgd-l2": pgd("l2", 10),
    "pgd-l1": pgd("l1", 10),
    # Step and decay of Dong et al. 2018, "Boosting adversarial attacks with momentum".
    "momentum": Ascent("linf", steps=10, relative_step=0.1, momentum=1.0, random_start=False),
}
FAMILIES: tuple[str, ...] = NORMS


def attack(name: str) -> Ascent:
    """An attack by its name; DefenseError where there is none."""
    if name not in ATTACKS:
        raise DefenseError(f"unknown attack {name!r}{did_you_mean(name, ATTACKS)}")
    return ATTACKS[name]


def with_steps(attack: Ascent, steps: int) -> Ascent:
    """Projected gradient ascent with so many steps; other attacks as they are."""
    return attack if attack.steps == 1 or attack.momentum else pgd(attack.norm, steps)


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
    return ATTACKS[name].norm


def seen_attacks(held_out: Iterable[str]) -> tuple[str, ...]:
    """The attacks of every family that is not held out, in the table's order."""
    families = {family(name) for name in held_out}
    return tuple(name for name, attack in ATTACKS.items() if attack.norm not in families)


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
