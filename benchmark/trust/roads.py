"""Other roads than the suite's to adversarial examples, where gradients at the examples mislead.

Gradients near an example can be flat, or point where only ripples lie, although those further away
are not: averaged over noise, or at the decision boundary, which is found from another class.
"""

from __future__ import annotations

import numpy as np

from benchmark.trust.finding import CHANCE, Finding, flagged, not_applicable, passed, too_few
from benchmark.trust.gradients import FEW, MORE_SHARE
from benchmark.trust.search import ascend, averaged_gradient, direction, inside, judged
from benchmark.trust.subject import Subject, evenly
from defenses.labels import labels_of

# Of the ascent on averaged gradients: iterations, and noisy copies of each point.
STEPS, COPIES = 20, 6
# Of the walk along the boundary: examples of other classes to come from, iterations, halvings of a
# way, and noisy copies of each point, at this share of the budget.
STARTS, WALK, HALVINGS, NEAR_COPIES, NEAR = 2, 8, 12, 4, 0.05


def other_roads(subject: Subject) -> Finding:
    """Averaged gradients, and those at the boundary, break next to nothing more."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    if not subject.comparable:
        return not_applicable("The suite has no attack under this threat to compare with.")
    rows = subject.compared(subject.comparable)
    left = rows[~subject.broken(subject.comparable)[rows]]
    if few := too_few(len(rows), len(left), MORE_SHARE):
        return few
    looked_at = evenly(left, FEW)
    tried, whole = _left_by_gradients(subject, looked_at)
    averaged = ascend(
        subject, tried, eps=subject.eps, steps=STEPS, generator=subject.generator("averaged"),
        copies=COPIES,
    )  # fmt: skip
    open_rows = tried[~averaged]
    walked = _from_beyond(subject, open_rows, subject.generator("boundary"))
    more = int(averaged.sum() + walked.sum())
    evidence = {
        "examples": len(rows),
        "left_by_the_suite": len(left),
        "tried": len(tried),
        "by_averaged_gradients": int(averaged.sum()),
        "along_the_boundary": int(walked.sum()),
    }
    told = (
        f"Gradients averaged over noise, and those at the decision boundary, break {more} of "
        f"{len(tried)} examples that {whole} left whole"
    )
    if more * len(left) / max(1, len(looked_at)) > max(CHANCE, MORE_SHARE * len(rows)):
        return flagged(f"{told}: gradients at the examples are masked.", **evidence)
    return passed(f"{told}.", **evidence)


def _left_by_gradients(subject: Subject, rows: np.ndarray) -> tuple[np.ndarray, str]:
    """Those of `rows` that gradients at the examples don't break, and what left them whole.

    A suite that follows no gradients leaves what they would break: an ascent takes its place.
    """
    if any(attack.white_box for attack in subject.comparable):
        return rows, "the suite"
    generator = subject.generator("plain")
    broken = ascend(subject, rows, eps=subject.eps, steps=STEPS, generator=generator)
    return rows[~broken], "the suite and gradient ascent"


def _from_beyond(subject: Subject, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Which examples a walk along the decision boundary breaks, (len(rows),) bool."""
    broken = np.zeros(len(rows), dtype=bool)
    for start in range(STARTS if len(rows) else 0):
        x, y = subject.x[rows], subject.y[rows]
        beyond, found = _others(subject, rows, start)
        for _ in range(WALK):
            todo = np.flatnonzero(found & ~broken)
            if not len(todo):
                break
            edge = _halved(subject, x[todo], beyond[todo], y[todo])
            beyond[todo] = edge
            gradient = averaged_gradient(
                subject, edge, y[todo], copies=NEAR_COPIES, size=NEAR, generator=generator
            )
            eps, norm, weights = subject.eps, subject.norm, subject.weights
            step = eps * direction(gradient, x[todo], eps, norm, weights)
            points = inside(x[todo], x[todo] + step, norm, eps, weights)
            broken[todo] = judged(subject, rows[todo], points, subject.eps)
            # Along the straight way from there the boundary may be nearer.
            tangent = x[todo] + 1.5 * (edge - x[todo] + step) / 2
            nearer = np.clip(tangent, 0, 1).astype(np.float32)
            wrong = labels_of(np.asarray(subject.estimator.predict(nearer))) != y[todo]
            beyond[todo[wrong]] = nearer[wrong]
    return broken


def _others(subject: Subject, rows: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest example but `number` that has another label here, and whether there is one."""
    flat = subject.x.reshape(len(subject.x), -1)
    points, found = subject.x[rows].copy(), np.zeros(len(rows), dtype=bool)
    for place, row in enumerate(rows):
        others = np.flatnonzero(subject.clean_prediction != subject.y[row])
        if len(others) > number:
            apart = ((flat[others] - flat[row]) ** 2).sum(axis=1)
            points[place] = subject.x[others[np.argsort(apart, kind="stable")[number]]]
            found[place] = True
    return points, found


def _halved(subject: Subject, x: np.ndarray, beyond: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points on the way from examples to points of other labels, just beyond the boundary."""
    low, high = np.zeros(len(x)), np.ones(len(x))
    shape = (-1, *[1] * (x.ndim - 1))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        points = (x + middle.reshape(shape) * (beyond - x)).astype(np.float32)
        wrong = labels_of(np.asarray(subject.estimator.predict(points))) != y
        high, low = np.where(wrong, middle, high), np.where(wrong, low, middle)
    return (x + high.reshape(shape) * (beyond - x)).astype(np.float32)
