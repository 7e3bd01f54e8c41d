"""The interface of every defense: parameters, a plan with its cost, `fit`, and `adapt`."""

from __future__ import annotations

import dataclasses
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from defenses.adaptation.spec import Adaptation
from defenses.checkpoints import Checkpoint
from defenses.cost import Cost
from defenses.errors import DefenseError, did_you_mean
from defenses.parameters import check_parameters, parameter
from defenses.schedules import SCHEDULES
from defenses.subject import Subject, recognise
from defenses.threat import Threat
from defenses.training import Arrays, Kernel, Outcome, Plan, train

OPTIMIZERS = ("adam", "sgd")

# Keeps the draws of an adaptation apart from those of the training under the same seed.
ADAPTATION_STREAM = 0xADA7


@dataclass(frozen=True, kw_only=True)
class Defense(ABC):
    """What all defenses share.

    Args:
        threat: norm and budget that the training defends against.
        batch_size: examples of an update.
        learning_rate: base rate of the optimiser, before the schedule.
        optimizer: "adam" or "sgd" (momentum 0.9).
        schedule: how the rate moves: "constant", "cosine", "cyclic" or "piecewise".
        eps_warmup: share of the training over which the attack's eps rises to its full value.
    """

    threat: Threat
    batch_size: int = parameter(128, low=1)
    learning_rate: float = parameter(3e-3, low=0)
    optimizer: str = parameter("adam", choices=OPTIMIZERS)
    schedule: str = parameter("cyclic", choices=tuple(SCHEDULES))
    eps_warmup: float = parameter(0.3, low=0, high=1)

    # Framework to "module:class" of the kernel.
    kernels: ClassVar[Mapping[str, str]]
    # Whether the defense is meant to be adapted after training, before it is measured.
    adapts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_parameters(self)

    @classmethod
    def from_parameters(cls, threat: Threat, parameters: Mapping[str, Any]) -> Self:
        """The defense with `parameters` on top of its defaults; DefenseError where they're off."""
        allowed = [field.name for field in dataclasses.fields(cls) if field.name != "threat"]
        for name in parameters:
            if name not in allowed:
                raise DefenseError(
                    f"{cls.__name__} has no parameter {name!r}{did_you_mean(name, allowed)}"
                )
        return cls(threat=threat, **parameters)

    def parameters(self) -> dict[str, Any]:
        """Every parameter but the threat, as JSON values."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "threat"
        }

    @property
    def examples_per_step(self) -> int:
        """Training examples that one update takes."""
        return self.batch_size

    @abstractmethod
    def step_cost(self) -> Cost:
        """What one update costs."""

    @abstractmethod
    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The inputs of one update: examples, and everything random about them."""

    @property
    def adaptation(self) -> Adaptation:
        """How this defense adapts to a support set."""
        return Adaptation(norm=self.threat.norm)

    def sized_for(self, examples: int) -> Self:
        """The same defense with updates no larger than the data set."""
        return dataclasses.replace(self, batch_size=min(self.batch_size, examples))

    def plan(
        self, examples: int, *, epochs: int | None = None, budget_ge: int | None = None
    ) -> Plan:
        """The training's length on `examples` examples, from either epochs or a compute budget.

        Raises:
            DefenseError: neither or both are given, or nothing can be trained with that.
        """
        if (epochs is None) == (budget_ge is None):
            raise DefenseError("give either epochs or a budget of gradient evaluations")
        sized = self.sized_for(examples)
        per_epoch = examples // sized.examples_per_step
        per_step = sized.step_cost().gradient_evaluations
        steps = epochs * per_epoch if epochs is not None else int((budget_ge or 0) // per_step)
        if steps < 1:
            given = f"epochs {epochs}" if epochs is not None else f"a budget of {budget_ge}"
            raise DefenseError(
                f"{given} trains nothing: one update costs {per_step:g} gradient evaluations and "
                f"an epoch has {per_epoch} updates; give more"
            )
        return Plan(-(-steps // per_epoch), steps, per_epoch, steps * per_step)

    def fit(
        self,
        model: Any,
        x: np.ndarray,
        y: np.ndarray,
        *,
        epochs: int | None = None,
        budget_ge: int | None = None,
        seed: int = 0,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        progress: Callable[[float], None] = lambda done: None,
        checkpoint: Checkpoint | None = None,
    ) -> Fitted:
        """Train `model` in place.

        Args:
            model: a `torch.nn.Module` (taking NCHW), a `keras.Model`, or ART's PyTorch or
                TensorFlowV2 classifier; gives logits.
            x: inputs in [0, 1]: (n, H, W, C) or (n, d); (n, C, H, W) with an ART classifier
                whose `channels_first` is set.
            y: labels 0 .. classes-1, (n,).
            epochs: passes over the data; or
            budget_ge: gradient evaluations to spend.
            seed: of batch order, tasks and attack starts.
            validation: inputs and labels whose accuracy is recorded each epoch.
            progress: called with the share of the training done.
            checkpoint: where an interrupted training is continued from.

        Raises:
            DefenseError: the model or the data can't be used.
            TrainingDivergedError: the loss is no longer finite.
        """
        subject = recognise(model)
        x, y = checked_data(subject.channels_last(x), y)
        defense = self.sized_for(len(x))
        kernel = defense.kernel(subject)
        outcome = train(
            defense,
            kernel,
            x,
            y,
            plan=defense.plan(len(x), epochs=epochs, budget_ge=budget_ge),
            seed=seed,
            validation=validation and (subject.channels_last(validation[0]), validation[1]),
            progress=progress,
            checkpoint=checkpoint,
        )
        return Fitted(defense=defense, kernel=kernel, subject=subject, outcome=outcome)

    def resume(self, model: Any) -> Fitted:
        """A trained `model`, its weights loaded from elsewhere, as `fit` would have returned it."""
        subject = recognise(model)
        return Fitted(self, self.kernel(subject), subject, Outcome([], Cost(), 0))

    def kernel(self, subject: Subject) -> Kernel:
        """The kernel of the subject's framework, which is imported here."""
        module, _, attribute = self.kernels[subject.framework].partition(":")
        kernel: Kernel = getattr(importlib.import_module(module), attribute)(subject.model, self)
        return kernel


@dataclass(frozen=True)
class Fitted:
    """A trained model with its history and cost.

    Args:
        defense: the defense that trained it.
        kernel: its differentiable part, which holds the model.
        subject: what `fit` was given.
        outcome: history, cost and steps.
    """

    defense: Defense
    kernel: Kernel
    subject: Subject
    outcome: Outcome

    @property
    def model(self) -> Any:
        """The trained `torch.nn.Module` or `keras.Model`."""
        return self.kernel.model

    @property
    def history(self) -> list[dict[str, float]]:
        """One entry an epoch: epoch, loss, and validation_accuracy where one was asked for."""
        return self.outcome.history

    @property
    def cost(self) -> Cost:
        """The passes that the training, or the adaptation, took."""
        return self.outcome.cost

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits, (n, classes), in evaluation mode."""
        return self.kernel.predict(self.subject.channels_last(x))

    def adapt(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        steps: int | None = None,
        rate: float | None = None,
        seed: int = 0,
    ) -> Fitted:
        """A copy of the model, adapted to a support set under the defense's threat.

        Args:
            x: support inputs, laid out as in `fit`.
            y: their labels; the defender spends them.
            steps: gradient steps, by default those of the defense.
            rate: their rate, by default that of the defense.
            seed: of the attack's start on the support.
        """
        x, y = checked_data(self.subject.channels_last(x), y)
        adaptation = self.defense.adaptation
        adaptation = dataclasses.replace(
            adaptation,
            steps=adaptation.steps if steps is None else steps,
            rate=adaptation.rate if rate is None else rate,
        )
        generator = np.random.default_rng([seed, ADAPTATION_STREAM])
        start = self.defense.threat.random_starts(generator, x.shape)
        kernel = self.kernel.copy()
        kernel.adapt(x, y, start, eps=self.defense.threat.eps, adaptation=adaptation)
        outcome = Outcome([], adaptation.cost(len(x)), adaptation.steps)
        return Fitted(self.defense, kernel, self.subject, outcome)


def checked_data(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs as float32 and labels as int64; DefenseError where they can't be trained on."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim not in (2, 4):
        raise DefenseError(f"inputs must be (n, H, W, C) or (n, d), got shape {x.shape}")
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise DefenseError(
            f"labels must be whole numbers of shape ({len(x)},), got {y.dtype} of shape {y.shape}"
        )
    if len(x) == 0 or not (x.min() >= 0 and x.max() <= 1):
        found = f"[{x.min()}, {x.max()}]" if len(x) else "no examples"
        raise DefenseError(f"inputs must lie in [0, 1], got {found}; scale them first")
    return x.astype(np.float32, copy=False), y.astype(np.int64, copy=False)
