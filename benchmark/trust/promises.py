"""Whether gradients are those of the answers: what they promise, small steps have to keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.attacks.autoattack.losses import Margin
from benchmark.attacks.judging import differ
from benchmark.trust.finding import Finding, flagged, not_applicable, passed, percent
from benchmark.trust.outputs import stable_outputs
from benchmark.trust.search import probe_noise
from benchmark.trust.subject import Subject

# A step is so long that the margin is promised to fall by this share, and at most that of the
# budget: smooth models are nearly linear along it.
SHARE = 0.1
# What honest models keep of a promise, in the middle, was 1.00 to 1.06 (`tests/traps/honest.py`).
LEAST, MOST = 0.5, 2.0

# Random directions along which the margin is looked at too, and how far there and back, in budgets.
# Rounding isn't taken for a slope: it is not the same at both distances.
DIRECTIONS, DISTANCES = 4, (0.03, 0.06)
# Of the squared slopes there, gradients of honest models left out 0.03 at most, and of a median
# filter 0.12. And by how many standard errors it has to be more than nothing.
LEFT_OUT, SURE = 0.3, 5.0


def keeps_its_promise(subject: Subject) -> Finding:
    """Small steps, along the gradient and any other way, move the margin by what it says."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    if stable_outputs(subject).status != "passed":
        return not_applicable("Outputs change by themselves, so small steps tell nothing.")
    generator = subject.generator("promise")
    away = probe_noise(subject, generator) / 2
    start = _Start.at(subject, np.clip(subject.probe + away, 0.05, 0.95).astype(np.float32))
    promised, kept = _along(subject, start)
    told = promised > 0
    if not told.any():
        return not_applicable("No gradient promises anything.")
    share = float(np.median(kept[told] / promised[told]))
    left_out, is_sure = _left_out(subject, start, generator)
    evidence = {"share_kept": share, "examples": int(told.sum()), "share_left_out": left_out}
    if not LEAST <= share <= MOST:
        return flagged(
            f"A small step along the gradient moves the margin by {percent(share)} of what the "
            "gradient says: it is the gradient of something else, or of a ripple on the outputs, "
            "and attacks that follow it go astray.",
            **evidence,
        )
    if is_sure and left_out > LEFT_OUT:
        return flagged(
            f"Gradients leave out {percent(left_out)} of the squared slopes that small random "
            "steps meet: attacks that follow them see a part of the ways there are.",
            **evidence,
        )
    return passed(
        f"A small step along the gradient moves the margin by {percent(share)} of what it says.",
        **evidence,
    )


def same_with_gradients(subject: Subject) -> Finding:
    """Whoever asks for a gradient sees the same answers as who doesn't."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    if stable_outputs(subject).status != "passed":
        return not_applicable("Outputs change by themselves, so they can't be compared.")
    plain = np.asarray(subject.estimator.predict(subject.probe))
    seen = subject.logits_and_margin_gradient(subject.probe, subject.labels)[0]
    share = float(differ(plain, seen).mean())
    if share:
        return flagged(
            f"{percent(share)} of the answers are others where a gradient is asked for: the model "
            "knows when it is attacked, and shows attacks another model.",
            share_of_answers=share,
        )
    return passed("Answers are the same where a gradient is asked for.", share_of_answers=share)


@dataclass(frozen=True)
class _Start:
    """Points, (k, ...), with what the margin and its gradient down are there.

    Args:
        points: float32.
        margin: of the label's logit over its rival's, (k,).
        gradient: finite, of the points' shape, float64.
        label: its class, (k,), and that of its `rival`, the likeliest other one.
        rounding: of the margin in float32, or more, (k,).
    """

    points: np.ndarray
    margin: np.ndarray
    gradient: np.ndarray
    label: np.ndarray
    rival: np.ndarray
    rounding: np.ndarray

    @classmethod
    def at(cls, subject: Subject, points: np.ndarray) -> _Start:
        """At points in place of the probed examples."""
        logits, gradient = subject.logits_and_margin_gradient(points, subject.labels)
        gradient = np.nan_to_num(gradient, posinf=0, neginf=0).astype(np.float64)
        row, label = np.arange(len(points)), subject.labels
        rival = Margin(label).rival(logits)
        margin = logits[row, label] - logits[row, rival]
        rounding = 64 * np.finfo(np.float32).eps * np.abs(logits).max(axis=1)
        return cls(points, margin, gradient, label, rival, rounding)

    def margin_at(self, subject: Subject, points: np.ndarray) -> np.ndarray:
        """The margin over the same rival at other points, (k,)."""
        outputs, row = np.asarray(subject.estimator.predict(points)), np.arange(len(points))
        return np.asarray(outputs[row, self.label] - outputs[row, self.rival])

    def promised(self, way: np.ndarray) -> np.ndarray:
        """By how much the margin should fall on a way, (k, ...), (k,)."""
        return np.asarray((self.gradient * way).reshape(len(way), -1).sum(axis=1))


def _along(subject: Subject, start: _Start) -> tuple[np.ndarray, np.ndarray]:
    """By how much a step should lower each margin, and does, (k,) each."""
    # A feature with a budget of its own goes as far as that says.
    reach = 1.0 if subject.weights is None else subject.weights
    points, gradient = start.points, start.gradient
    slope = np.abs(gradient * reach).reshape(len(points), -1).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.minimum(SHARE * np.abs(start.margin) / slope, SHARE * pixel_budget(subject))
    steps = size.reshape(-1, *[1] * (points.ndim - 1)) * np.sign(gradient) * reach
    moved = (points + np.nan_to_num(steps)).astype(np.float32)
    promised = start.promised(moved - points)
    kept = start.margin - start.margin_at(subject, moved)
    # Of a promise that float32 can't show nothing has to be kept.
    return np.where(promised > start.rounding, promised, 0.0), kept


def _left_out(
    subject: Subject, start: _Start, generator: np.random.Generator
) -> tuple[float, bool]:
    """The share of squared slopes in random directions that gradients lack, and if that is sure."""
    reach = 1.0 if subject.weights is None else subject.weights
    lacking, squares, told = [], 0.0, 0.0
    for _ in range(DIRECTIONS):
        signs = np.sign(generator.uniform(-1, 1, start.points.shape))
        slopes, promises = [], []
        for distance in DISTANCES:
            way = distance * pixel_budget(subject) * signs * reach
            there, back = ((start.points + one).astype(np.float32) for one in (way, -way))
            fall = start.margin_at(subject, back) - start.margin_at(subject, there)
            slopes.append(np.nan_to_num(fall.astype(np.float64)) / distance)
            promises.append(start.promised(there.astype(np.float64) - back) / distance)
        near, far = slopes
        lacking.append((near - promises[0]) * (far - promises[1]))
        squares += float((near * far).sum())
        told += float((promises[0] * promises[1]).sum())
    found = np.concatenate(lacking)
    is_sure = bool(found.mean() > SURE * found.std() / len(found) ** 0.5)
    whole = max(squares, told)
    return max(float(found.sum()) / whole, 0.0) if whole > 0 else 0.0, is_sure


def pixel_budget(subject: Subject) -> float:
    """By how much each pixel can change where all do by one share of their own budgets."""
    size = subject.x[0].size
    return subject.eps / {"linf": 1.0, "l2": size**0.5, "l1": size}[subject.norm]
