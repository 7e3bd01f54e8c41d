"""What a task of `meta-adv` costs, in passes of single examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from defenses.cost import Cost, gradients
from defenses.tasks.distributions import Budgeted

if TYPE_CHECKING:
    from defenses.meta.spec import MetaAdversarial


def task_cost(defense: MetaAdversarial, attack: Budgeted) -> Cost:
    """Attacks, inner steps with what differentiates them, and outer losses of a task."""
    cost = _inner_cost(defense)
    if defense.inner_loss != "clean":
        cost += attack.support.ascent.cost(defense.inner_examples)
    if defense.algorithm == "reptile":
        return cost
    if defense.outer_is_attacked:
        cost += attack.query.ascent.cost(defense.query)
    if defense.outer_loss == "trades":
        # What the divergence is taken from
        cost += Cost(forwards=defense.query)
    losses = defense.outer_is_clean + defense.outer_is_attacked
    times = defense.inner_steps if defense.multi_step else 1
    return cost + gradients(defense.query * losses) * times


def _inner_cost(defense: MetaAdversarial) -> Cost:
    """The inner steps, and going back through them once for each optimiser's part of the loss."""
    loops = 2 if defense.inner_loss == "crossed" else 1
    inner = defense.inner_examples * defense.inner_steps * loops
    # Each part of a crossed loss goes back through one of the two loops.
    times = 2 if defense.adversarial_rate is not None and loops == 1 else 1
    cost = gradients(inner)
    if defense.algorithm == "maml":
        return cost + Cost(second_order=inner * times)
    if defense.algorithm == "anil":
        # A step goes back through the last layer alone, differentiating it through all of them:
        # the first time stands for the backward pass that the step itself does not take.
        return cost + Cost(backwards=inner * (times - 1))
    return cost
