"""Whether the model is as robust at images that nobody has shown it as at the test examples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmark.trust.gradients import FEW, evenly
from benchmark.trust.search import ascend
from benchmark.trust.subject import Finding, Subject, flagged, not_applicable, passed, percent
from defenses.labels import labels_of

# Iterations at the examples and at what is made of them.
STEPS = 20
# The share of the examples that must still be right once they are changed.
RIGHT_SHARE = 0.5
# By how much more gradient ascent may break of these. Of honest models (`tests/traps/honest.py`) it
# was at most 0.1 more.
MORE = 0.5


def as_robust_elsewhere(subject: Subject) -> Finding:
    """Shifted or blended test examples are about as hard to break as the examples themselves."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    rows = evenly(subject.rows[subject.correct[subject.rows]], FEW)
    if not len(rows):
        return not_applicable("No example is right before an attack.")
    points, kept, how = _best(subject, rows)
    if kept.mean() < RIGHT_SHARE:
        return not_applicable("The model is wrong on changed examples before any attack.")
    moved = subject.at(rows[kept], points[kept])
    here, there = (
        float(
            ascend(
                one, places, eps=one.eps, steps=STEPS, generator=one.generator("elsewhere")
            ).mean()
        )
        for one, places in ((subject, rows[kept]), (moved, np.arange(int(kept.sum()))))
    )
    evidence = {"broken_here": here, "broken_elsewhere": there, "examples": int(kept.sum())}
    told = (
        f"Gradient ascent breaks {percent(here)} of the examples, and {percent(there)} once they "
        f"are {how}"
    )
    if there > here + MORE:
        return flagged(
            f"{told}: the model is robust at these very test examples and not at others like them.",
            **evidence,
        )
    return passed(f"{told}.", **evidence)


def _best(subject: Subject, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """The change that leaves most examples right and leads out of every budget around them."""
    found = []
    for how, points in _changed(subject, rows):
        labels = labels_of(np.asarray(subject.pipeline(points)))
        kept = (labels == subject.y[rows]) & _is_new(subject, points)
        found.append((points, kept, how))
    return max(found, key=lambda one: int(one[1].sum()))


def _changed(subject: Subject, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    x = subject.x[rows]
    if x.ndim == 4:
        for axis in (1, 2):
            for by in (1, -1):
                yield "shifted by a pixel", np.roll(x, by, axis=axis)
    partners = x.copy()
    flat = subject.x.reshape(len(subject.x), -1)
    for place, row in enumerate(rows):
        alike = np.flatnonzero(subject.y == subject.y[row])
        alike = alike[alike != row]
        if len(alike):
            apart = ((flat[alike] - flat[row]) ** 2).sum(axis=1)
            partners[place] = subject.x[alike[apart.argmin()]]
    yield "blended with others of their class", (x + partners) / 2


def _is_new(subject: Subject, points: np.ndarray) -> np.ndarray:
    """Which points lie outside the budgets around all examples, (k,) bool."""
    order = {"linf": np.inf, "l2": 2, "l1": 1}[subject.norm]
    flat = subject.x.reshape(len(subject.x), -1)
    apart = [np.linalg.norm(flat - point.reshape(-1), order, axis=1).min() for point in points]
    return np.array(apart) > subject.eps
