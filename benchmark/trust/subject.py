"""What trust checks look at: a model with the attacks that were run on it."""

from __future__ import annotations

import traceback
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmark.attacks.autoattack.losses import Margin
from benchmark.attacks.judging import Answers, Judge, Predict, ask
from benchmark.estimators.estimator import Estimator
from benchmark.results import Record

# Examples that the model is asked about. With so many, a share of 5 % of them is told from none.
EXAMPLES = 64

# Families of attacks that need no gradient; see `benchmark.attacks.entry`.
GRADIENT_FREE = ("score", "decision")

# ART's class to its kinds, where a record doesn't tell them.
_KINDS = {"SquareAttack": ("score",)}
_SINGLE_STEP = ("FastGradientMethod",)

# What torch and `benchmark.estimators.tensorflow` say where no path leads from outputs to inputs.
_NO_GRADIENT = (
    "does not require grad",
    "not have been used in the graph",
    "no differentiable path",
)


@dataclass(frozen=True)
class Attacked:
    """A stored attack of the suite.

    Args:
        record: its JSON.
        arrays: its outcomes, empty where it has none.
        bounded: whether it was told the budget to keep.
    """

    record: Record
    arrays: Mapping[str, np.ndarray]
    bounded: bool = True

    @property
    def name(self) -> str:
        return str(self.record["name"])

    @property
    def kinds(self) -> tuple[str, ...]:
        found = self.record.get("families")
        return tuple(found or _KINDS.get(self.record.get("attack", ""), ("gradient",)))

    @property
    def transfers(self) -> bool:
        """Whether it looked at another model than the one that is judged."""
        return bool(self.record.get("source")) or self.name.startswith("transfer")

    @property
    def white_box(self) -> bool:
        """Whether it follows gradients of the model itself."""
        asks = {"gradient", "minimal-norm"} & set(self.kinds)
        return bool(asks) and not set(GRADIENT_FREE) & set(self.kinds) and not self.transfers

    @property
    def single_step(self) -> bool:
        """Whether it takes one step along one gradient."""
        return self.record.get("attack") in _SINGLE_STEP


@dataclass(frozen=True)
class Subject:
    """A model with its attacks, as trust checks see it.

    Args:
        estimator: what the attacks saw.
        pipeline: `predict` of what success was judged on, inputs to scores (n, classes).
        x: all attacked examples, (n, ...), in [0, 1].
        y: their labels.
        clean_prediction: the pipeline's labels of `x`.
        norm: of the threat.
        eps: the budget.
        seed: of all draws.
        attacks: every attack of the suite.
        twin: share of the undefended twin's correct examples that the same attacks leave right.
        is_twin: whether this is the undefended twin itself.
        trained_here: whether it was trained on inputs as these are.
        judge: who judged the attacks; the pipeline as it is where there was none.
        clean: what a random model says of `x`.
        weights: of features whose budgets differ, (d,).
    """

    estimator: Estimator
    pipeline: Predict
    x: np.ndarray
    y: np.ndarray
    clean_prediction: np.ndarray
    norm: str
    eps: float
    seed: int
    attacks: Sequence[Attacked]
    twin: float | None = None
    is_twin: bool = False
    trained_here: bool = False
    judge: Judge | None = None
    clean: Answers | None = None
    weights: np.ndarray | None = None

    @cached_property
    def rows(self) -> np.ndarray:
        """The examples that the model is asked about: correct ones, evenly from all."""
        known = np.flatnonzero(self.correct)
        return evenly(known if len(known) else np.arange(len(self.x)), EXAMPLES)

    @property
    def is_random(self) -> bool:
        """Whether it was judged by many draws."""
        return self.clean is not None

    def unasked(self) -> Predict:
        """`pipeline` of a copy that was asked nothing before; itself where there is none."""
        if self.judge is None or self.judge.fresh is None:
            return self.pipeline
        return self.judge.fresh()

    @property
    def probe(self) -> np.ndarray:
        """The examples themselves, (k, ...)."""
        return self.x[self.rows]

    @property
    def labels(self) -> np.ndarray:
        """Their labels, (k,)."""
        return self.y[self.rows]

    @property
    def correct(self) -> np.ndarray:
        """Which of all examples are right before any attack, (n,) bool."""
        return np.asarray(self.clean_prediction == self.y)

    def broken(self, attacks: Sequence[Attacked]) -> np.ndarray:
        """Which of all examples any of these attacks broke within the budget, (n,) bool."""
        found = [attack.arrays["success"] for attack in attacks]
        return np.any(found, axis=0) if found else np.zeros(len(self.x), dtype=bool)

    def attacked(self, attacks: Sequence[Attacked]) -> np.ndarray:
        """Which of all examples any of these attacks was run on, (n,) bool."""
        all_of_them = np.ones(len(self.x), dtype=bool)
        found = [attack.arrays.get("attacked", all_of_them) for attack in attacks]
        return np.any(found, axis=0) if found else ~all_of_them

    def compared(self, attacks: Sequence[Attacked]) -> np.ndarray:
        """Of the correct examples that any of these attacks was run on, some, evenly from all."""
        return evenly(np.flatnonzero(self.correct & self.attacked(attacks)), EXAMPLES)

    @cached_property
    def comparable(self) -> list[Attacked]:
        """The attacks that ran under the cell's own threat."""
        return [
            attack
            for attack in self.attacks
            if attack.record["status"] == "ok"
            and (attack.record["norm"], attack.record["eps"]) == (self.norm, self.eps)
        ]

    def generator(self, name: str) -> np.random.Generator:
        """A check's own draws."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    @cached_property
    def scores(self) -> np.ndarray:
        """The pipeline's scores of the probe, (k, classes)."""
        return np.asarray(self.pipeline(self.probe))

    def at(self, rows: np.ndarray, points: np.ndarray) -> Subject:
        """The same model at other points, (k, ...), that have the labels of `rows`, (k,)."""
        before = None
        if self.clean is not None:
            before = ask(self.pipeline, points, self.y[rows], draws=self.clean.draws)
        labels = self.y[rows]
        return replace(self, x=points, y=labels, clean_prediction=labels, attacks=(), clean=before)

    def margin_gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far the label's logit lies above all others, (k,), and the gradient of that down.

        Unlike the cross-entropy's, this gradient doesn't vanish where the model is very sure.
        """
        logits, gradient = self.logits_and_margin_gradient(x, y)
        return -Margin(y).values(logits), gradient

    def logits_and_margin_gradient(
        self, x: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The logits as they are where a gradient is asked for, (k, classes), and that gradient."""
        margin = Margin(y)
        return self.estimator.logits_and_gradient(
            x, lambda logits, part: margin.take(part).weights(logits)
        )

    @cached_property
    def loss_gradients(self) -> np.ndarray | Exception:
        """The gradient of each probed example's own cross-entropy, or what the model raised."""
        try:
            mean = np.asarray(self.estimator.loss_gradient(self.probe, self.labels))
        except Exception as error:  # a model without gradients is for a check to tell
            traceback.print_exc()
            return error
        return mean * len(mean)

    @property
    def lacks_gradients(self) -> str:
        """Why there are none to follow, as a sentence; empty where there are."""
        error = self.loss_gradients
        if not isinstance(error, Exception):
            return ""
        if any(phrase in str(error) for phrase in _NO_GRADIENT):
            return "The model gives no gradients to follow."
        # TensorFlow tells where in its graph first, and what happened last.
        last = (str(error).strip().splitlines() or [""])[-1].strip()[:200]
        return (
            f"Asking for a gradient raised {type(error).__name__} ({last}): gradient attacks can't "
            "be run, and nothing is known of the model's gradients."
        )


def evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly from all."""
    if not len(rows):
        return rows
    chosen: np.ndarray = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64)]
    return chosen


def largest(values: np.ndarray) -> np.ndarray:
    """The largest absolute value of each row, (k,)."""
    return np.asarray(np.abs(values.reshape(len(values), -1)).max(axis=1))
