"""What a model says of points when they are judged: by a fresh copy, and by many draws if random.

A point counts for what a model answers that was asked nothing before: one that remembers its
queries could repeat, near a clean example, what it said of that. And it counts for what a model
answers on the whole: one that draws at random is asked many times, and its mean output decides.
Clean and attacked points are judged from one seed. Where a model draws from the generators that a
seed reaches, they meet the same draws, so that a point which an attack left as it was has the label
that it had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from defenses.labels import labels_of

# Of a random model's answer to a point, clean or attacked.
DRAWS = 50
# Of which the mean is what attacks follow (expectation over transformation, Athalye et al. 2018).
DRAWS_OF_ATTACKS = 10
# Where a check says that points are wrong more often than the clean ones, by Fisher's exact test:
# of 1,000 examples that chance decides, one passes.
LEVEL = 1e-3
# Examples that are asked about before any attack, and how far towards others.
_ASKED_FIRST, _SHARES = 64, (0.02, 0.1, 0.5)
# Of the draws that have to give a finite answer, for a point to have a label.
_ANSWERED = 0.5

# How far outputs of one input may lie apart by rounding, as a share of the largest; and that is no
# more than so many times what the first usually leads the second by: a number that is added to
# all outputs, or -1e9 for a class that is ruled out, would make any difference a small one.
ROUNDING, MOST_LEADS = 1e-3, 30
# Of float32's spacings at an output, which it is rounded by in any case.
_SPACINGS = 8

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Answers:
    """What a model says of n points with labels.

    Args:
        outputs: (n, classes), the mean over the draws that are finite; not finite where fewer than
            half of them are.
        right: in how many of all the label was given, (n,).
        draws: their number.
    """

    outputs: np.ndarray
    right: np.ndarray
    draws: int

    def take(self, rows: np.ndarray) -> Answers:
        """The same of some of the points."""
        return Answers(self.outputs[rows], self.right[rows], self.draws)

    def worse_than(self, before: Answers) -> np.ndarray | None:
        """Where these are wrong more often, by more than chance explains, (n,); None of one draw.

        Fisher's exact test, one-sided, at `LEVEL`: for checks that accuse a model. What attacks
        broke isn't judged by it, since an undecided point would count as robust.
        """
        if self.draws == 1:
            return None
        both = self.right + before.right
        found = stats.hypergeom.cdf(self.right, self.draws + before.draws, both, self.draws)
        return np.asarray(found <= LEVEL)


@dataclass(frozen=True)
class Judge:
    """Answers for the record.

    Args:
        predict: outputs of the model that is attacked, of one draw.
        fresh: gives the same of a copy that was asked nothing before; None where there is none.
        obstacle: why there is none.
        draws: of each answer; 1 for a model that isn't random.
        rebuilt: gives `predict` of the model built again by its builder, which is slow; None where
            there is no builder, or it builds another one each time.
        beginning: points, and what a copy said of them before any attack; None where there is no
            copy, and of a random model.
    """

    predict: Predict
    fresh: Callable[[], Predict] | None = None
    obstacle: str = ""
    draws: int = 1
    rebuilt: Callable[[], Predict] | None = None
    beginning: tuple[np.ndarray, np.ndarray] | None = None

    def answers(self, x: np.ndarray, y: np.ndarray | None = None) -> Answers:
        """Of one fresh copy to all of `x`, (n, ...), with labels `y`, if any count."""
        return ask(self.fresh() if self.fresh else self.predict, x, y, draws=self.draws)

    def verdict(self, x: np.ndarray, y: np.ndarray) -> tuple[Answers, int]:
        """The answers, and how many labels the attacked model gives otherwise than the fresh copy.

        Labels that rounding can turn don't count; a random model's can't be compared.
        """
        if self.fresh is None or self.draws > 1:
            return self.answers(x, y), 0
        # First, because a copy may be the same model with its memory put back.
        told = np.asarray(self.predict(x))
        answers = self.answers(x, y)
        return answers, int(turned(told, answers.outputs).sum())


def judge_of(
    predict: Predict,
    fresh: Callable[[], Predict] | None,
    x: np.ndarray,
    *,
    obstacle: str = "",
    rebuilt: Callable[[], Predict] | None = None,
) -> tuple[Judge, np.ndarray]:
    """A judge that has found out whether the model is random, and its first outputs of `x`.

    Args:
        predict: outputs of a model that was asked nothing yet.
        fresh: gives `predict` of copies of it.
        x: is asked about twice.
        obstacle: why `fresh` is None; a model built again takes its place where there is one.
        rebuilt: gives `predict` of the model built again.
    """
    first, again = np.asarray(predict(x)), np.asarray(predict(x))
    if rebuilt is not None and differ(first, np.asarray(rebuilt()(x))).any():
        rebuilt = None
    fresh = fresh or rebuilt
    draws = 1
    if differ(first, again).any():
        # A model that counts its queries answers otherwise too, but each fresh copy does the same.
        one, other = (np.asarray(fresh()(x)) if fresh else answer for answer in (first, again))
        draws = DRAWS if differ(one, other).any() else 1
    beginning = None
    if fresh is not None and draws == 1:
        points = _around(x[:_ASKED_FIRST])
        beginning = points, np.asarray(fresh()(points))
    return Judge(predict, fresh, obstacle, draws, rebuilt, beginning), first


def _around(x: np.ndarray) -> np.ndarray:
    """Examples, (n, ...), and points on the way from each to another, (4 n, ...)."""
    way = np.roll(x, 1, axis=0) - x
    return np.concatenate([(x + share * way).astype(np.float32) for share in (0, *_SHARES)])


def ask(predict: Predict, x: np.ndarray, y: np.ndarray | None = None, *, draws: int) -> Answers:
    """The answers of a model to `x`, (n, ...), drawn so often; `y` are the labels to count."""
    y = np.zeros(len(x), dtype=np.int64) if y is None else y
    outputs = np.asarray(predict(x))
    right = (labels_of(outputs) == y).astype(np.int64)
    if draws == 1:
        return Answers(outputs, right, 1)
    total, answered = np.zeros(outputs.shape), np.zeros((len(x), 1), dtype=np.int64)
    for drawn in range(draws):
        if drawn:
            outputs = np.asarray(predict(x))
            right += labels_of(outputs) == y
        finite = np.isfinite(outputs).all(axis=1, keepdims=True)
        total += np.where(finite, outputs, 0)
        answered += finite
    mean = np.where(answered >= _ANSWERED * draws, total / np.maximum(answered, 1), np.nan)
    return Answers(mean, right, draws)


def differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which rows of outputs (n, classes) differ by more than rounding, (n,) bool."""
    one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    finite = np.isfinite(one) & np.isfinite(other)
    spacing = np.finfo(np.float32).eps * np.maximum(np.abs(one), np.abs(other))
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other) > np.maximum(ROUNDING * _scale(one), _SPACINGS * spacing)
    changed = (np.isfinite(one) != np.isfinite(other)).any(axis=1)
    found: np.ndarray = (apart & finite).any(axis=1) | changed
    return found


def _scale(outputs: np.ndarray) -> float:
    """What rounding is a share of: the largest output, where answers don't hang on far less."""
    largest = float(np.abs(outputs[np.isfinite(outputs)]).max(initial=0))
    rows = outputs[np.isfinite(outputs).all(axis=1)]
    if len(rows) and rows.shape[1] > 1:
        second, first = np.partition(rows, -2, axis=1)[:, -2:].T
        lead = float(np.median(first - second))
        largest = min(largest, MOST_LEADS * lead) if lead > 0 else largest
    return max(largest, 1e-30)


def turned(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which rows have other labels, with outputs that differ by more than rounding, (n,) bool."""
    found: np.ndarray = (labels_of(one) != labels_of(other)) & differ(one, other)
    return found
