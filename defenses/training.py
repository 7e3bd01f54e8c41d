"""The only epoch loop: batches, schedules, random draws, cost and checkpoints, in NumPy.

Everything random comes from one generator, in this order at each step: the epoch's permutation
(first step only), then what the defense draws. A kernel draws nothing, so that both frameworks see
the same examples, tasks and attack starts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from defenses.cost import Cost
from defenses.errors import TrainingDivergedError
from defenses.schedules import SCHEDULES, ramp

if TYPE_CHECKING:
    from defenses.checkpoints import Checkpoint
    from defenses.defense import Defense

# Keeps the training's draws apart from other uses of the same seed.
TRAINING_STREAM = 0x7124

Arrays = Mapping[str, np.ndarray]


class Kernel(Protocol):
    """The differentiable part of a defense in one framework."""

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update of the weights; returns the loss before it."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits of NHWC or (n, d) inputs, in evaluation mode; (n, classes)."""

    def adapt(self, x: np.ndarray, y: np.ndarray, start: np.ndarray, **settings: Any) -> None:
        """Adapt the weights to a support set, in place."""

    def state(self) -> dict[str, np.ndarray]:
        """Weights and optimiser state, by name."""

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""

    def copy(self) -> Kernel:
        """An independent kernel with the same weights."""

    @property
    def model(self) -> Any:
        """The framework's model."""


@dataclass(frozen=True)
class Plan:
    """How long a training runs.

    Args:
        epochs: passes over the data, the last one possibly cut short.
        steps: updates of the weights in all.
        steps_per_epoch: updates in a whole epoch.
        gradient_evaluations: what the steps cost.
    """

    epochs: int
    steps: int
    steps_per_epoch: int
    gradient_evaluations: float


@dataclass(frozen=True)
class Outcome:
    """What a training leaves beside the weights: an entry an epoch, its cost and its steps."""

    history: list[dict[str, float]]
    cost: Cost
    steps: int


def train(
    defense: Defense,
    kernel: Kernel,
    x: np.ndarray,
    y: np.ndarray,
    *,
    plan: Plan,
    seed: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    progress: Callable[[float], None] = lambda done: None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Run `plan` and return its history; the kernel's model is trained in place.

    Args:
        defense: gives batch size, schedules and draws.
        x: training inputs, NHWC or (n, d), float32 in [0, 1].
        y: labels, int64, (n,).
        seed: of the generator that everything is drawn from.
        validation: inputs and labels whose clean accuracy is recorded after each epoch; the
            passes that this takes are no part of the cost.
        progress: called with the share of the steps done.
        checkpoint: where to save after each epoch and to continue from.

    Raises:
        TrainingDivergedError: the loss is no longer finite.
    """
    generator = np.random.default_rng([seed, TRAINING_STREAM])
    history: list[dict[str, float]] = []
    if checkpoint is not None:
        history = checkpoint.resume(kernel, generator)
    for epoch in range(len(history), plan.epochs):
        first = epoch * plan.steps_per_epoch
        steps = range(first, min(first + plan.steps_per_epoch, plan.steps))
        order = generator.permutation(len(x))
        losses = []
        for step in steps:
            index = order[(step - first) * defense.examples_per_step :][: defense.examples_per_step]
            draws = defense.draw(generator, x[index], y[index])
            losses.append(_checked_step(defense, kernel, draws, step, plan))
            progress((step + 1) / plan.steps)
        entry = {"epoch": epoch + 1, "loss": float(np.mean(losses))}
        if validation is not None:
            entry["validation_accuracy"] = accuracy(kernel, *validation)
        history.append(entry)
        if checkpoint is not None:
            checkpoint.save(kernel, generator, history)
    return Outcome(history, defense.step_cost() * plan.steps, plan.steps)


def accuracy(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> float:
    """The share of `x` that the model gives the label `y`."""
    return float(np.mean(kernel.predict(x).argmax(axis=1) == y))


def _checked_step(defense: Defense, kernel: Kernel, draws: Arrays, step: int, plan: Plan) -> float:
    done = step / plan.steps
    loss = kernel.step(
        draws,
        # The middle of the step, so that no step has a rate of zero.
        learning_rate=defense.learning_rate * SCHEDULES[defense.schedule](done + 0.5 / plan.steps),
        eps=defense.threat.eps * ramp((step + 1) / plan.steps, defense.eps_warmup),
    )
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"the loss became {loss} at step {step + 1} of {plan.steps}; "
            f"try a learning_rate below {defense.learning_rate:g}"
        )
    return loss
