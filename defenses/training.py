"""The only epoch loop: updates with their schedules, validation, cost and checkpoints.

What updates are made on is drawn in `drawing`. Validation draws from a generator of its own, so
that watching a training does not change it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from defenses.cost import Cost
from defenses.drawing import Drawing
from defenses.errors import DefenseError, did_you_mean
from defenses.extra import Extra
from defenses.fetching import Losses
from defenses.kernel import Arrays, Kernel
from defenses.length import Length
from defenses.recipe import Recipe
from defenses.schedules import averaging_decay, ramp
from defenses.states import divided, joined
from defenses.validation import (
    Overfitting,
    accuracy,
    best_epoch,
    overfitting,
    robust_accuracies,
    validation_cost,
    watched_examples,
)

if TYPE_CHECKING:
    from defenses.checkpoints import Checkpoint

PRECISIONS = ("float32", "bf16")

# Keeps what a model's layers draw apart from other uses of the same seed.
LAYERS_STREAM = 0x1A7E5


@dataclass(frozen=True)
class Outcome:
    """What a training leaves beside the weights.

    Args:
        history: an entry an epoch.
        cost: of the steps, and of robust validation where it was measured.
        steps: updates of the weights that ran.
        overfitting: catastrophic overfitting, where it was seen.
        restored_epoch: the epoch whose weights the model has, where they are not the last ones.
        notices: what the user should know, one line each.
    """

    history: list[dict[str, float]]
    cost: Cost
    steps: int
    overfitting: Overfitting | None = None
    restored_epoch: int | None = None
    notices: tuple[str, ...] = ()


def train(
    defense: Recipe,
    kernel: Kernel,
    x: np.ndarray,
    y: np.ndarray,
    *,
    length: Length,
    seed: int,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    extra: Extra | None = None,
    precision: str = "float32",
    progress: Callable[[float], None] = lambda done: None,
    notify: Callable[[str], None] = lambda notice: None,
    checkpoint: Checkpoint | None = None,
) -> Outcome:
    """Train for `length`, or stop early, and return what came of it; the model is trained in place.

    Args:
        defense: gives batch size, schedules and draws.
        x: training inputs, NHWC or (n, d), float32 in [0, 1].
        y: labels, int64, (n,).
        seed: of the generator that everything is drawn from.
        validation: inputs and labels whose clean accuracy is recorded after each epoch; the
            passes that this takes are no part of the cost. Where the defense is watched, some of
            them are attacked too, and these passes are part of it.
        extra: what a share of each batch is drawn from instead of `x`.
        precision: of `PRECISIONS`; that of the updates, while validation is in float32.
        progress: called with the share of the steps done.
        notify: called with a line when there is something that the user should know at once.
        checkpoint: where to save after each epoch and to continue from.

    Raises:
        DefenseError: the precision is none of `PRECISIONS`.
        TrainingDivergedError: the loss is no longer finite.
    """
    lowered = _is_lowered(precision)
    drawing = Drawing(defense, kernel, x, y, length=length, seed=seed, extra=extra)
    course = _Course(defense, kernel, drawing, length, seed, validation, len(x))
    course.lowered = lowered
    if checkpoint is not None:
        course.resume(checkpoint)
    while not course.is_over():
        with kernel.drawing_from(course.layers_seed()):
            entry = course.epoch(progress)
            course.validate(entry)
        if (found := course.overfitting()) and found.epoch == entry["epoch"]:
            notify(course.overfitting_notice(found))
        if checkpoint is not None:
            course.save(checkpoint)
    progress(1.0)
    return course.finish()


def _is_lowered(precision: str) -> bool:
    if precision not in PRECISIONS:
        raise DefenseError(f"unknown precision {precision!r}{did_you_mean(precision, PRECISIONS)}")
    return precision == "bf16"


class _Course:
    """A training between its epochs."""

    def __init__(
        self,
        defense: Recipe,
        kernel: Kernel,
        drawing: Drawing,
        length: Length,
        seed: int,
        validation: tuple[np.ndarray, np.ndarray] | None,
        examples: int,
    ) -> None:
        self.defense, self.kernel, self.length, self.seed = defense, kernel, length, seed
        self.drawing, self.validation = drawing, validation
        self.lowered = False  # whether updates are in bfloat16
        # Validation examples that are attacked after each epoch.
        self.watched = 0
        if validation is not None and defense.watched:
            self.watched = watched_examples(examples, len(validation[1]))
        self.history: list[dict[str, float]] = []
        self.cost = Cost()  # of the steps
        self.best: dict[str, np.ndarray] = {}  # weights of the best epoch, where they may be needed

    def epoch(self, progress: Callable[[float], None]) -> dict[str, float]:
        """Train for one epoch; returns its entry in the history."""
        defense, kernel, length = self.defense, self.kernel, self.length
        first = len(self.history) * length.steps_per_epoch
        losses = Losses(first, self._diverged)
        steps = range(first, min(first + length.steps_per_epoch, length.steps))
        # Closed, so that no thread outlives what ends a training early
        with closing(self.drawing.epoch(steps)) as drawn:
            for step, draws in drawn:
                self.cost += defense.cost_of(draws)
                with kernel.in_bfloat16() if self.lowered else nullcontext():
                    losses.add(self._step(draws, step))
                if defense.weight_averaging:
                    kernel.average(averaging_decay(defense.weight_averaging, step))
                progress((step + 1) / length.steps)
        self.history.append(
            {"epoch": len(self.history) + 1, "loss": float(np.mean(losses.values()))}
        )
        return self.history[-1]

    def layers_seed(self) -> int:
        """Of what layers draw in the next epoch; one an epoch, so that no checkpoint keeps it."""
        sequence = np.random.SeedSequence([self.seed, LAYERS_STREAM, len(self.history)])
        return int(sequence.generate_state(1, np.uint64)[0])

    def _step(self, draws: Arrays, step: int) -> Any:
        """An update; gives the loss before it, which may still be on its way."""
        defense, steps = self.defense, self.length.steps
        return self.kernel.step(
            draws,
            # The middle of the step, so that no step has a rate of zero.
            learning_rate=defense.rate(step / steps + 0.5 / steps),
            eps=defense.threat.eps * ramp((step + 1) / steps, defense.eps_warmup),
        )

    def _diverged(self, loss: float, number: int) -> str:
        return (
            f"the loss became {loss} at step {number} of {self.length.steps}; "
            f"try a learning_rate below {self.defense.learning_rate:g}"
        )

    def validate(self, entry: dict[str, float]) -> None:
        """Add to the epoch's entry how the weights do that would be returned now."""
        if self.validation is None:
            return
        x, y = self.validation
        with self._averaged():
            entry["validation_accuracy"] = accuracy(self.kernel, x, y)
            if self.watched:
                part = x[: self.watched], y[: self.watched]
                entry |= robust_accuracies(self.kernel, self.defense.threats, *part, seed=self.seed)
                if self.defense.keeps_best and best_epoch(self.history) == entry["epoch"]:
                    self.best = self.kernel.weights()

    def overfitting(self) -> Overfitting | None:
        """Catastrophic overfitting, where it was seen."""
        if not self.watched:
            return None
        epochs = self.length.epochs
        after = math.ceil(self.defense.eps_warmup * epochs)
        return overfitting(self.history, after=after, epochs=epochs)

    def overfitting_notice(self, found: Overfitting) -> str:
        """What the user is told about it."""
        if self.defense.on_overfit == "restore" and found.collapsed:
            return f"{found}; the weights of epoch {found.good_epoch} were restored"
        if self.defense.on_overfit == "restore":
            return f"{found}; no earlier epoch was robust, so the training went on"
        return f"{found}; the training went on (on_overfit 'restore' goes back to the good weights)"

    def is_over(self) -> bool:
        """Whether no epoch follows; told by the history alone, so that it outlasts interruption."""
        if len(self.history) == self.length.epochs:
            return True
        if not (self.watched and self.history):
            return False
        waited = len(self.history) - best_epoch(self.history)
        return self._undoes_overfitting() or 0 < self.defense.early_stopping <= waited

    def finish(self) -> Outcome:
        """Give the model the weights that are to be returned, and account for the training."""
        if self.defense.weight_averaging:
            self.kernel.swap_average()
        restored = None
        if self.watched and (self.defense.early_stopping or self._undoes_overfitting()):
            restored = best_epoch(self.history)
            self.kernel.load_weights(self.best)
        found = self.overfitting()
        notices = [self.overfitting_notice(found)] if found else []
        if self.defense.watched and not self.watched:
            notices.append(
                "not watched for catastrophic overfitting: no validation data were given"
            )
        steps = min(len(self.history) * self.length.steps_per_epoch, self.length.steps)
        validation = validation_cost(self.defense.threats, self.watched) * len(self.history)
        return Outcome(self.history, self.cost + validation, steps, found, restored, tuple(notices))

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint by where the training is now."""
        arrays = joined({"kernel": self.kernel.state(), "best": self.best})
        state = self.drawing.generator.bit_generator.state
        cost = dataclasses.asdict(self.cost)
        checkpoint.save(arrays, {"generator": state, "history": self.history, "cost": cost})

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on where the checkpoint is, if there is one."""
        saved = checkpoint.read()
        if saved is None:
            return
        arrays, meta = saved
        parts = divided(arrays)
        self.kernel.load_state(parts["kernel"])
        self.best = parts.get("best", {})
        self.drawing.generator.bit_generator.state = meta["generator"]
        self.history = meta["history"]
        self.cost = Cost(**meta["cost"])

    def _undoes_overfitting(self) -> bool:
        found = self.overfitting()
        return self.defense.on_overfit == "restore" and found is not None and found.collapsed

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in the model, where the defense averages them."""
        if self.defense.weight_averaging:
            self.kernel.swap_average()
        try:
            yield
        finally:
            if self.defense.weight_averaging:
                self.kernel.swap_average()
