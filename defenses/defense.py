"""The interface of every defense: a recipe with `fit`, whose result predicts and adapts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from defenses.checkpoints import Checkpoint
from defenses.cost import Cost
from defenses.data import checked_data
from defenses.errors import DefenseError
from defenses.extra import Extra
from defenses.fitted import Fitted
from defenses.inputs import Inputs
from defenses.kernel import Kernel
from defenses.parameters import checked_seed
from defenses.recipe import Recipe
from defenses.subject import Subject, recognise
from defenses.training import Outcome, train
from defenses.trial import told_by_cause, try_out


@dataclass(frozen=True, kw_only=True)
class Defense(Recipe):
    """A recipe that trains."""

    def fit(
        self,
        model: Any,
        x: np.ndarray | Inputs,
        y: np.ndarray,
        *,
        epochs: int | None = None,
        budget_ge: int | None = None,
        seed: int = 0,
        validation: tuple[np.ndarray | Inputs, np.ndarray] | None = None,
        extra: Extra | None = None,
        precision: str = "float32",
        progress: Callable[[float], None] = lambda done: None,
        notify: Callable[[str], None] = lambda notice: None,
        checkpoint: Checkpoint | None = None,
    ) -> Fitted:
        """Train `model` in place.

        Args:
            model: a `torch.nn.Module` (taking NCHW), a `keras.Model`, or ART's PyTorch or
                TensorFlowV2 classifier; gives logits, alone or under `logits`.
            x: inputs in [0, 1]: (n, H, W, C) or (n, d); (n, C, H, W) with an ART classifier
                whose `channels_first` is set. Or `Inputs`, which are read when they are needed.
            y: labels 0 .. classes-1, (n,).
            epochs, budget_ge: passes over the data, or gradient evaluations to spend; of these
                no more than that are expected to be spent (`Length`).
            seed: of batch order, tasks and attack starts, and of what a PyTorch model's layers
                draw, such as dropout's (those of Keras have seeds of their own in the model).
            validation: of which each epoch's accuracy is recorded; some are attacked where the
                defense is watched.
            extra: examples that a share of each batch is drawn from instead.
            precision: "float32", or "bf16" for the passes of updates; all else stays in float32.
            progress: called with the share of the training done.
            notify: called with a line when the user should know something at once.
            checkpoint: where an interrupted training is continued from.

        Raises:
            DefenseError: the model or the data can't be used.
            TrainingDivergedError: the loss is no longer finite.
        """
        seed = checked_seed(seed)
        subject = recognise(model)
        x, y = _checked(subject, x, y)
        defense = self.sized_for(len(x))
        validation = None if validation is None else _checked_pair(subject, validation)
        extra = None if extra is None else defense._checked_extra(subject, extra, x.shape[1:])
        kernel = defense._checked_kernel(subject, x, y, validation, extra)
        held_out = 0 if validation is None else len(validation[1])
        length = defense.length(len(x), epochs=epochs, budget_ge=budget_ge, validation=held_out)
        run = partial(train, defense, kernel, x, y, length=length, seed=seed, validation=validation)
        run = partial(run, extra=extra, precision=precision)
        with told_by_cause():
            outcome = run(progress=progress, notify=notify, checkpoint=checkpoint)
        return Fitted(defense, kernel, subject, outcome)

    def _checked_extra(self, subject: Subject, extra: Extra, shape: tuple[int, ...]) -> Extra:
        extra = replace(extra, x=subject.channels_last(extra.x))
        return extra.checked(shape, self.examples_per_step)

    def _checked_kernel(
        self,
        subject: Subject,
        x: np.ndarray,
        y: np.ndarray,
        validation: tuple[np.ndarray, np.ndarray] | None,
        extra: Extra | None,
    ) -> Kernel:
        """The kernel; DefenseError where model and data can't be trained with."""
        self.check_labels(y)
        self.check_inputs(x.shape[1:])
        if self.early_stopping and validation is None:
            raise DefenseError("early_stopping needs validation data; give validation=(x, y)")
        if validation is not None and validation[0].shape[1:] != x.shape[1:]:
            raise DefenseError(
                f"validation: an example is {validation[0].shape[1:]}, and one of the training "
                f"data {x.shape[1:]}; both must have the same shape"
            )
        kernel = self.kernel(subject, x)
        others = [] if validation is None else [validation[1]]
        others += [] if extra is None else [extra.y]
        try_out(kernel, x, np.concatenate([y, *others]))
        return kernel

    def resume(self, model: Any, learned: Mapping[str, list[float]] | None = None) -> Fitted:
        """A trained `model`, its weights loaded from elsewhere, as `fit` would have returned it.

        Args:
            learned: `Fitted.learned` of the training.
        """
        subject = recognise(model)
        kernel = self.kernel(subject)
        kernel.load_learned(learned or {})
        return Fitted(self, kernel, subject, Outcome([], Cost(), 0))


def _checked(
    subject: Subject, x: np.ndarray | Inputs, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return checked_data(subject.channels_last(x), y)


def _checked_pair(
    subject: Subject, given: tuple[np.ndarray | Inputs, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    if not (isinstance(given, (tuple, list)) and len(given) == 2):
        many = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
        told = f"got {type(given).__name__}{many}"
        raise DefenseError(f"validation must be inputs and labels, (x, y), {told}")
    return _checked(subject, *given)
