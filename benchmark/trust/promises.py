"""Whether gradients are those of the answers: what they promise, small steps have to keep."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.judging import differ
from benchmark.trust.outputs import stable_outputs
from benchmark.trust.search import probe_noise
from benchmark.trust.subject import Finding, Subject, flagged, not_applicable, passed, percent

# A step is so long that the margin is promised to fall by this share, and at most that of the
# budget: smooth models are nearly linear along it.
SHARE = 0.1
# What honest models keep of a promise, in the middle, was 1.00 to 1.06 (`tests/traps/honest.py`).
LEAST, MOST = 0.5, 2.0


def keeps_its_promise(subject: Subject) -> Finding:
    """A small step along the gradient moves the margin by what the gradient says."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    if stable_outputs(subject).status != "passed":
        return not_applicable("Outputs change by themselves, so small steps tell nothing.")
    away = probe_noise(subject, subject.generator("promise")) / 2
    start = np.clip(subject.probe + away, 0.05, 0.95).astype(np.float32)
    promised, kept = _along(subject, start)
    told = promised > 0
    if not told.any():
        return not_applicable("No gradient promises anything.")
    share = float(np.median(kept[told] / promised[told]))
    evidence = {"share_kept": share, "examples": int(told.sum())}
    if not LEAST <= share <= MOST:
        return flagged(
            f"A small step along the gradient moves the margin by {percent(share)} of what the "
            "gradient says: it is the gradient of something else, or of a ripple on the outputs, "
            "and attacks that follow it go astray.",
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


def _along(subject: Subject, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how much a step should lower each margin, and does, (k,) each."""
    logits, gradient = subject.logits_and_margin_gradient(start, subject.labels)
    gradient = np.nan_to_num(gradient, posinf=0, neginf=0).astype(np.float64)
    # A feature with a budget of its own goes as far as that says.
    reach = 1.0 if subject.weights is None else subject.weights
    slope = np.abs(gradient * reach).reshape(len(start), -1).sum(axis=1)
    row, labels = np.arange(len(start)), subject.labels
    others = logits.copy()
    others[row, labels] = -np.inf
    rival = others.argmax(axis=1)
    margin = logits[row, labels] - logits[row, rival]
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.minimum(SHARE * np.abs(margin) / slope, SHARE * pixel_budget(subject))
    steps = size.reshape(-1, *[1] * (start.ndim - 1)) * np.sign(gradient) * reach
    moved = (start + np.nan_to_num(steps)).astype(np.float32)
    promised = (gradient * (moved - start)).reshape(len(start), -1).sum(axis=1)
    there = np.asarray(subject.estimator.predict(moved))
    kept = margin - (there[row, labels] - there[row, rival])
    # Of a promise that float32 can't show nothing has to be kept.
    least = 64 * np.finfo(np.float32).eps * np.abs(logits).max(axis=1)
    return np.where(promised > least, promised, 0.0), kept


def pixel_budget(subject: Subject) -> float:
    """By how much each pixel can change where all do by one share of their own budgets."""
    size = subject.x[0].size
    return subject.eps / {"linf": 1.0, "l2": size**0.5, "l1": size}[subject.norm]
