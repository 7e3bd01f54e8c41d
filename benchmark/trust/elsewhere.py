"""Whether the model is as robust at images that nobody has shown it as at the test examples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from benchmark.attacks.geometry import distances, limit
from benchmark.trust.finding import Finding, flagged, not_applicable, passed
from benchmark.trust.search import ascend
from benchmark.trust.subject import Subject
from defenses.labels import labels_of

# Iterations at the examples and at what is made of them.
STEPS = 20
# A change is harmless where it leaves this share of the examples right; of others nothing is said.
HARMLESS = 0.9
# By how much more gradient ascent may break of these, beyond chance by Fisher's exact test at this
# level: of honest models (`tests/traps/honest.py`) it broke at most 0.1 more.
MORE, LEVEL = 0.1, 1e-3


def as_robust_elsewhere(subject: Subject) -> Finding:
    """Shifted or blended test examples are about as hard to break as the examples themselves."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    rows = subject.rows[subject.correct[subject.rows]]
    if not len(rows):
        return not_applicable("No example is right before an attack.")
    found = _harmless(subject, rows)
    if found is None:
        return not_applicable("Shifted and blended examples are not those that the model knows.")
    points, kept, how = found
    moved = subject.at(rows[kept], points[kept])
    count = int(kept.sum())
    here, there = _broken(subject, rows[kept]), _broken(moved, np.arange(count))
    evidence = {"broken_here": here, "broken_elsewhere": there, "examples": count}
    told = f"Gradient ascent breaks {here} of {count} examples, and {there} once they are {how}"
    by_chance = stats.hypergeom.cdf(here, 2 * count, here + there, count)
    if there > here + MORE * count and by_chance <= LEVEL:
        return flagged(
            f"{told}: the model is robust at these very test examples and not at others like them.",
            **evidence,
        )
    return passed(f"{told}.", **evidence)


def _broken(subject: Subject, rows: np.ndarray) -> int:
    generator = subject.generator("elsewhere")
    return int(ascend(subject, rows, eps=subject.eps, steps=STEPS, generator=generator).sum())


def _harmless(subject: Subject, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str] | None:
    """The examples after a harmless change, where they are right and out of every budget, and how.

    None where no change that is tried is harmless.
    """
    for how, points in _changed(subject, rows):
        labels = labels_of(np.asarray(subject.pipeline(points)))
        kept = (labels == subject.y[rows]) & _is_new(subject, points)
        if kept.mean() >= HARMLESS:
            return points, kept, how
    return None


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
    norm, weights = subject.norm, subject.weights
    flat = subject.x.reshape(len(subject.x), -1)
    nearest = [distances(flat, point.reshape(-1), norm, weights).min() for point in points]
    return np.array(nearest) > limit(norm, subject.eps, flat.shape[1])
