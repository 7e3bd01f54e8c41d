"""Combinations of `meta-adv`'s parameters that mean nothing, each refused with a reason."""

from __future__ import annotations

from defenses.errors import DefenseError
from defenses.meta.parameters import MetaParameters
from defenses.tasks import families


def check_combination(defense: MetaParameters) -> None:
    """Raises DefenseError where one parameter leaves another without meaning."""
    crossed, trades = defense.inner_loss == "crossed", defense.outer_loss == "trades"
    separate = defense.adversarial_rate is not None
    refused = {
        "reptile has no outer loss; leave learn_rates out": defense.learn_rates,
        "reptile has no outer loss; leave multi_step out": defense.multi_step > 0,
        "reptile has no outer loss; leave adversarial_rate out": separate,
        "reptile has no outer loss; leave outer_loss out": trades,
        "reptile has one inner loop; give inner_loss adversarial or clean": crossed,
    }
    for reason, wrong in refused.items():
        if defense.algorithm == "reptile" and wrong:
            raise DefenseError(reason)
    if trades and (crossed or separate):
        raise DefenseError(
            "outer_loss trades is one loss; leave adversarial_rate and inner_loss crossed out"
        )
    if separate and not defense.learning_rate:
        raise DefenseError(
            "adversarial_rate follows the schedule of learning_rate, which is 0; give a higher one"
        )
    if defense.rotations and "few-way" not in defense.distribution:
        raise DefenseError(
            "rotations makes other classes of few-way tasks; give distribution few-way"
        )
    if defense.distribution == ("few-way",) and defense.keeps_best:
        fix = "leave early_stopping out" if defense.early_stopping else "give on_overfit warn"
        raise DefenseError(
            "few-way tasks leave the last layer without a meaning before it is adapted, so that "
            f"validation has nothing to judge an epoch by; {fix}"
        )
    if defense.support_family == "other":
        _check_other_family(defense)
    if not defense.distribution:
        raise DefenseError("distribution names nothing; give subsets, attacks or few-way")


def _check_other_family(defense: MetaParameters) -> None:
    refused = {
        'give distribution "attacks", the others know one family': (
            "attacks" not in defense.distribution
        ),
        "reptile has no query": defense.algorithm == "reptile",
        "inner_loss clean does not attack the support": defense.inner_loss == "clean",
        "give attacks of two families": (
            len({families.ATTACKS[name].norm for name in defense.task_attacks}) < 2
        ),
    }
    for reason, wrong in refused.items():
        if wrong:
            raise DefenseError(
                f'support_family "other" attacks support and query under two families; {reason}'
            )


def check_held_out(defense: MetaParameters) -> None:
    """Raises DefenseError where the tasks' attacks are held out, or have no budget."""
    trained_on = []
    if set(defense.distribution) - {"attacks"}:
        trained_on.append(defense.threat.norm)
    if "attacks" in defense.distribution:
        trained_on += defense.task_attacks
        if not defense.task_attacks:
            raise DefenseError(
                f"no attack is left to train on: held out are {', '.join(defense.held_out)}"
            )
        for name in defense.task_attacks:
            norm = families.ATTACKS[name].norm
            if norm not in defense.budgets:
                raise DefenseError(f"attack {name!r} has no {norm} budget; give eps_{norm}")
    families.check_seen(trained_on, defense.held_out)
