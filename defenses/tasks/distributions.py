"""What tasks are made of: their examples, their attack and budget, all drawn in NumPy.

Three distributions, after what tells one task from another:

    subsets     which examples it holds; the attack is the threat's own
    attacks     besides, its attack, any of several, and its budget
    few-way     besides, its labels: a few classes, renumbered in random order; as many examples of
                each class in the support, and in the query; the attack is the threat's own

Several of them make a mixture: each task is drawn from one, all equally likely. Label functions
that differ from task to task (few-way) leave a model's labels without meaning before adaptation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from defenses.errors import DefenseError, did_you_mean
from defenses.kernel import Arrays
from defenses.perturbation.spec import Ascent

DISTRIBUTIONS = ("subsets", "attacks", "few-way")


@dataclass(frozen=True)
class Budgeted:
    """An attack with its budget.

    Args:
        support: the attack on the support set.
        query: the attack on the query set.
        share: the query's budget, as a multiple of the threat's eps.
        support_ratio: the support's budget, as a multiple of the query's.
    """

    support: Ascent
    query: Ascent
    share: float
    support_ratio: float = 1.0


@dataclass(frozen=True)
class TaskDistribution:
    """How tasks are drawn.

    Args:
        kinds: of `DISTRIBUTIONS`.
        attacks: the threat's own attack, and behind it those of the distribution "attacks".
        least_budget: the smallest share of its budget that a task of "attacks" has.
        tasks: of a meta-batch.
        support: examples of a support set.
        query: examples of a query set.
        ways: classes of a few-way task.
        rotations: whether its images may be turned, by 90, 180 or 270 degrees: a turned class is
            another one.
    """

    kinds: tuple[str, ...]
    attacks: tuple[Budgeted, ...]
    least_budget: float
    tasks: int
    support: int
    query: int
    ways: int
    rotations: bool = False

    @property
    def size(self) -> int:
        """Examples of a task."""
        return self.support + self.query

    def check(self) -> None:
        """Refuse sets that can't be divided into the ways, with a DefenseError."""
        for name in ("support", "query"):
            if "few-way" in self.kinds and getattr(self, name) % self.ways:
                raise DefenseError(
                    f"few-way: {name} {getattr(self, name)} can't be divided into {self.ways} "
                    f"classes; give a multiple of ways"
                )

    def check_labels(self, y: np.ndarray) -> None:
        """Refuse ways or shots that the data set can't give, with a DefenseError."""
        if "few-way" not in self.kinds:
            return
        each = self.size // self.ways
        classes, counts = np.unique(y, return_counts=True)
        enough = int((counts >= each).sum())
        if enough < self.ways:
            raise DefenseError(
                f"few-way tasks of {self.ways} classes with {each} examples each: the training set "
                f"has {len(classes)} classes, {enough} of them with so many; lower ways, support "
                "or query"
            )

    def shares(self) -> np.ndarray:
        """How likely a task is under each of the attacks; sums to 1."""
        others = len(self.attacks) - 1
        named = self.kinds.count("attacks") / len(self.kinds)
        return np.array([1 - named, *[named / max(1, others)] * others])

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """A meta-batch from the examples `x` with their labels.

        Returns:
            "x" (tasks, support + query, ...) and "y" (tasks, support + query), the support first;
            "attack" (tasks,), its place in `attacks`; "share" (tasks,), the task's budget as a
            multiple of the threat's eps; "start", shaped as "x", where its attack starts.
        """
        kinds = generator.integers(len(self.kinds), size=self.tasks)
        index = np.arange(self.tasks * self.size).reshape(self.tasks, self.size)
        labels = y[index]
        attack, share = np.zeros(self.tasks, np.int64), np.ones(self.tasks)
        if "few-way" in self.kinds:  # `x` is the whole training set
            index = np.stack([_some(generator, len(y), self.size) for _ in kinds])
            labels = y[index]
        for task, kind in enumerate(self.kinds[number] for number in kinds):
            if kind == "attacks":
                attack[task] = generator.integers(1, len(self.attacks))
                least = self.attacks[attack[task]].share
                share[task] = least * generator.uniform(self.least_budget, 1)
            elif kind == "few-way":
                index[task], labels[task] = self._few_way(generator, y)
        images = x[index]  # (tasks, support + query, H, W, C)
        if self.rotations:
            images = np.asarray(images)
            for task in np.flatnonzero(kinds == self.kinds.index("few-way")).tolist():
                turns = generator.integers(4, size=self.ways)[labels[task]]
                images[task] = _turned(images[task], turns)
        starts = [self._starts(generator, int(which), x.shape[1:]) for which in attack]
        return {
            "x": images,
            "y": labels,
            "attack": attack,
            "share": share,
            "start": np.stack(starts),
        }

    def _few_way(
        self, generator: np.random.Generator, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices and new labels of a task, the support first."""
        shots, queries = self.support // self.ways, self.query // self.ways
        classes, counts = np.unique(y, return_counts=True)
        chosen = generator.permutation(classes[counts >= shots + queries])[: self.ways]
        of_class = [generator.permutation(np.flatnonzero(y == label)) for label in chosen]
        support = np.concatenate([index[:shots] for index in of_class])
        query = np.concatenate([index[shots : shots + queries] for index in of_class])
        new = np.arange(self.ways)
        labels = np.concatenate([np.repeat(new, shots), np.repeat(new, queries)])
        return np.concatenate([support, query]), labels

    def _starts(
        self, generator: np.random.Generator, which: int, shape: Sequence[int]
    ) -> np.ndarray:
        pair = self.attacks[which]
        parts = [(pair.support, self.support), (pair.query, self.query)]
        return np.concatenate(
            [attack.starts(generator, (count, *shape)) for attack, count in parts]
        )


def check_kind(name: str) -> None:
    """Refuse an unknown distribution, with a DefenseError."""
    if name not in DISTRIBUTIONS:
        raise DefenseError(f"unknown distribution {name!r}{did_you_mean(name, DISTRIBUTIONS)}")


def _turned(images: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Square images (n, H, W, C), each turned by so many quarters."""
    return np.stack([np.rot90(image, turn) for image, turn in zip(images, turns, strict=True)])


def _some(generator: np.random.Generator, total: int, count: int) -> np.ndarray:
    """`count` different numbers below `total`."""
    return generator.choice(total, count, replace=False)
