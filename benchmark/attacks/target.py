"""What a cell's attacks work on: a model, and the input and output defenses around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from benchmark.attacks.judging import Answers, Judge
from benchmark.attacks.suites import AttackSpec
from benchmark.estimators.estimator import Estimator


class Pipeline(Protocol):
    """What success is judged on."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Scores, (n, classes)."""


class OtherModels(Protocol):
    """Models of other cells that adversarial examples are made on."""

    def estimator(self, defense: str) -> Estimator:
        """Of the model that this defense trained; raises `CellError` where it isn't there."""

    def made_on(self, defense: str) -> str:
        """The id of the cell whose model that is."""


@dataclass(frozen=True)
class Target:
    """What is attacked: an estimator, and the examples with what it says of them.

    Args:
        estimator: what attacks see: an estimator of `benchmark.estimators`.
        x: clean examples, NHWC or (n, d), float32 in [0, 1].
        y: their labels, int64.
        clean_prediction: the pipeline's labels of `x`.
        index: where the examples stand in the data set's test part.
        pipeline: what success is judged on, where that is more than the estimator.
        bare: the model alone, where the estimator is more and takes the same inputs.
        defense: of the cell.
        framework: of the model; any that an attack runs in where it isn't told.
        surrogates: models of other cells.
        judge: who says what success is judged on; the pipeline as it is where there is none.
        clean: what a random model says of `x`.
        redrawn: the estimator whose answers are the mean of so many draws, of a random model.
        weights: of features whose budgets differ, (d,): the budget of each is that times eps.
    """

    estimator: Estimator
    x: np.ndarray
    y: np.ndarray
    clean_prediction: np.ndarray
    index: np.ndarray
    pipeline: Pipeline | None = None
    bare: Estimator | None = None
    defense: str = ""
    framework: str = ""
    surrogates: OtherModels | None = None
    judge: Judge | None = None
    clean: Answers | None = None
    redrawn: Callable[[int], Estimator] | None = None
    weights: np.ndarray | None = None

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Scores of the whole pipeline as it is judged, (n, classes).

        By a copy that was asked nothing before; of a random one, the mean over its draws.
        """
        return self._judge.answers(x).outputs

    def once(self, x: np.ndarray) -> np.ndarray:
        """Scores of the whole pipeline as it is now, (n, classes); one draw of a random one."""
        return np.asarray(self._judge.predict(x))

    def verdict(self, x: np.ndarray) -> tuple[Answers, int]:
        """What the whole pipeline says of points in place of the examples; see `Judge.verdict`."""
        return self._judge.verdict(x, self.y)

    def some(self, examples: int | None) -> np.ndarray:
        """So many of the rows, the same for every cell, (n,) bool; all of them for None."""
        count = len(self.x)
        if examples is None or examples >= count:
            return np.ones(count, dtype=bool)
        chosen = np.zeros(count, dtype=bool)
        chosen[np.random.default_rng(count).permutation(count)[:examples]] = True
        return chosen

    def part(self, rows: np.ndarray) -> Target:
        """The same of some of the examples."""
        return replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            clean_prediction=self.clean_prediction[rows],
            index=self.index[rows],
            clean=None if self.clean is None else self.clean.take(rows),
        )

    @property
    def decides_beyond(self) -> bool:
        """Whether a point where its estimator's outputs cross may be judged to be right."""
        return self.clean is not None or self.estimator.scores is not None

    @property
    def _judge(self) -> Judge:
        return self.judge or Judge((self.pipeline or self.estimator).predict)

    def obstacle(self, spec: AttackSpec, norm: str) -> str:
        """Why this attack can't be run here under `norm`; empty where it can."""
        if spec.source is not None:
            if self.surrogates is None:
                return "transfers from another cell, this model has none beside it"
            if spec.source == self.defense:
                return "transfers from this very cell"
        elif spec.transfers and self.bare is None:
            return "the model below takes encoded inputs, not these"
        if spec.entry.bare_only and self.pipeline is not None and not spec.transfers:
            return "needs a model without input or output defenses"
        if self.framework and self.framework not in spec.entry.frameworks:
            return f"runs on models of {' and '.join(spec.entry.frameworks)}, not {self.framework}"
        return spec.obstacle(norm, self.x.shape[1:], features=self.weights is not None)

    def attacked_by(self, spec: AttackSpec) -> Estimator:
        """The estimator that an attack without an obstacle works on.

        Raises `CellError` where the other cell, whose model it is, isn't done.
        """
        if spec.source is not None:
            return self.others.estimator(spec.source)
        if spec.draws is not None and self.redrawn is not None:
            return self.redrawn(spec.draws)
        found = self.bare if spec.transfers else self.estimator
        assert found is not None
        return found

    @property
    def others(self) -> OtherModels:
        """The models of other cells, where an attack has no obstacle that is made on one."""
        assert self.surrogates is not None
        return self.surrogates
