"""What a task of `meta-adv` costs: passes of single examples, and memory."""

from __future__ import annotations

from defenses.cost import Cost, gradients
from defenses.meta.chunk.sizes import attacked_at_once, chunk_size
from defenses.meta.heads.spec import head_cost
from defenses.meta.parameters import MetaParameters
from defenses.recipe import GRAPH, NUMBER
from defenses.tasks.distributions import Budgeted


def task_cost(defense: MetaParameters, attack: Budgeted) -> Cost:
    """Attacks, inner steps with what differentiates them, and outer losses of a task."""
    if defense.head != "linear":
        return head_cost(defense)
    cost = _inner_cost(defense)
    if defense.inner_loss != "clean":
        cost += attack.support.cost(defense.inner_examples)
    if defense.algorithm == "reptile":
        return cost
    if defense.outer_is_attacked:
        cost += attack.query.cost(defense.query)
    if defense.outer_loss == "trades":
        # What the divergence is taken from
        cost += Cost(forwards=defense.query)
    losses = defense.outer_is_clean + defense.outer_is_attacked
    times = defense.inner_steps if defense.multi_step else 1
    return cost + gradients(defense.query * losses) * times


def task_memory(defense: MetaParameters, weights: int, activations: int) -> float:
    """The bytes that a meta-step takes at its largest, beside the framework and the data."""
    shots, steps = defense.inner_examples, defense.inner_steps
    chunk = chunk_size(
        defense.chunk,
        tasks=defense.tasks,
        weights=weights,
        activations=activations,
        examples=defense.support + defense.query,
    )
    graph = GRAPH * activations
    # An inner step's weights, gradients and their differences; in first order its weights alone.
    held = 3 * weights + graph * shots if defense.second_order else weights
    loops = 2 if defense.inner_loss == "crossed" else 1
    inner = loops * steps * held + 3 * weights + graph * shots
    outer = 2 * graph * defense.query * (steps if defense.multi_step else 1)
    at_once = max(chunk, min(defense.tasks, attacked_at_once(shots)))
    numbers = 6 * weights + graph * shots * at_once + chunk * (inner + outer)
    return float(NUMBER * numbers)


def _inner_cost(defense: MetaParameters) -> Cost:
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
