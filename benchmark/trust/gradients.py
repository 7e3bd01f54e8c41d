"""Checks of the gradients that attacks follow, and of how far following them leads."""

from __future__ import annotations

import itertools

import numpy as np

from benchmark.trust.finding import (
    CHANCE,
    Finding,
    flagged,
    not_applicable,
    passed,
    percent,
    too_few,
)
from benchmark.trust.search import ascend, inside, judged, noise
from benchmark.trust.subject import Attacked, Subject, evenly, largest

# Above this share of examples without a usable gradient, gradient attacks can't be believed.
ZERO_SHARE = 0.05

# The cross-entropy's gradient is that of the margin times exp(-margin): at 1e-20 the margin is 46
# logits. Models that were trained without tricks stay far below, and gradient attacks that
# normalise by adding a small number to the length stop moving long before.
UNDERFLOW = 1e-20
UNDERFLOW_SHARE = 0.1

# Iterations of the checks' own attack; twice the suite's where that is not more than this.
MOST_STEPS = 100
# Iterations at each budget where only their order counts, and at the largest, which has to succeed.
SHORT_STEPS, LONG_STEPS = 5, 30
# Examples that many iterations, or several budgets, are tried on.
FEW = 24

# What longer ascent on another loss may break beyond the suite: of honest models' examples, attacks
# on the cross-entropy left up to 11 % that a margin of logits breaks (a small network, five epochs
# of PGD training on digits). Logits that are scaled up leave more than 20 %.
MORE_SHARE = 0.15

# What is left to chance: this share of the examples, and at least `CHANCE` of them.
CHANCE_SHARE = 0.05

# Budgets tried, in multiples of the cell's.
FACTORS = (0.5, 1.0, 2.0)
# By how much the success may fall from a budget to the next.
FALL = 0.1
# The success that gradient ascent has to reach where every image can be made equally grey.
REACHED = 0.95

# Random points within the budget that are tried on every example.
NOISES = 8


def usable_gradients(subject: Subject) -> Finding:
    """Inputs have a gradient that is finite and not exactly zero."""
    gradient = subject.loss_gradients
    if isinstance(gradient, Exception):
        return flagged(
            f"{subject.lacks_gradients} Look at attacks without gradients alone, or attack a copy "
            "of it that is differentiable.",
            error=f"{type(gradient).__name__}: {gradient}".splitlines()[0][:200],
        )
    sizes = largest(gradient)
    zero, broken = float((sizes == 0).mean()), float((~np.isfinite(sizes)).mean())
    evidence = {"share_exactly_zero": zero, "share_not_finite": broken, "examples": len(sizes)}
    if zero + broken > ZERO_SHARE:
        return flagged(
            f"The gradient is exactly zero at {percent(zero)} of the examples and not finite at "
            f"{percent(broken)}: gradient attacks can't move there.",
            **evidence,
        )
    return passed("Gradients are finite and not zero.", **evidence)


def loss_in_range(subject: Subject) -> Finding:
    """The cross-entropy is large enough for float32 to have a gradient."""
    gradient = subject.loss_gradients
    if isinstance(gradient, Exception):
        return not_applicable(subject.lacks_gradients)
    margin, steep = subject.margin_gradient(subject.probe, subject.labels)
    slope = largest(steep)
    known = np.isfinite(slope) & (slope > 0)
    if not known.any():
        return not_applicable("No logit has a gradient, so losses can't be compared.")
    ratio = largest(gradient)[known] / slope[known]
    share = float((~(ratio > UNDERFLOW)).mean())
    evidence = {
        "share_vanished": share,
        "median_margin_of_logits": float(np.median(margin[known])),
        "threshold": UNDERFLOW,
    }
    if share > UNDERFLOW_SHARE:
        return flagged(
            f"The cross-entropy vanishes in float32 at {percent(share)} of the examples although "
            "the logits have gradients: they are scaled up, and attacks on the cross-entropy stand "
            "still.",
            **evidence,
        )
    return passed("The cross-entropy has a gradient wherever the logits have one.", **evidence)


def converged(subject: Subject) -> Finding:
    """Twice the iterations break next to nothing more."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    white = [attack for attack in subject.comparable if attack.white_box]
    if not white:
        return not_applicable("The suite has no gradient attack to run longer.")
    steps = min(MOST_STEPS, 2 * max(_iterations(attack) for attack in white))
    rows = subject.compared(white)
    left = rows[~subject.broken(subject.comparable)[rows]]
    if few := too_few(len(rows), len(left), MORE_SHARE):
        return few
    tried = evenly(left, FEW)
    generator = subject.generator("converged")
    more = int(ascend(subject, tried, eps=subject.eps, steps=steps, generator=generator).sum())
    evidence = {"examples": len(rows), "left_by_the_suite": len(left), "tried": len(tried)}
    evidence |= {"broken_by_more": more, "iterations": steps}
    told = (
        f"{steps} iterations on a margin of logits break {more} of {len(tried)} examples that the "
        "suite left whole"
    )
    expected = more * len(left) / max(1, len(tried))
    if expected > max(CHANCE, MORE_SHARE * len(rows)):
        return flagged(f"{told}: its attacks are too short or follow the wrong loss.", **evidence)
    return passed(f"{told}.", **evidence)


def rises_with_eps(subject: Subject) -> Finding:
    """A larger budget breaks more, and one that allows any image breaks everything."""
    if subject.lacks_gradients:
        return not_applicable(subject.lacks_gradients)
    rows = subject.rows[subject.correct[subject.rows]]
    rows = evenly(rows, FEW)
    if not len(rows):
        return not_applicable("No example is right before an attack.")
    if subject.weights is not None:
        return not_applicable("Some features have budgets of their own, whatever eps is.")
    whole = _grey(subject)
    budgets = [*(f * subject.eps for f in FACTORS if f * subject.eps < whole), whole]
    success = []
    for eps in budgets:
        steps = LONG_STEPS if eps == whole else SHORT_STEPS
        generator = subject.generator("rises")  # the same starts, but for their size
        found = ascend(subject, rows, eps=eps, steps=steps, generator=generator)
        success.append(float(found.mean()))
    evidence = {f"success_at_{eps:.4g}": s for eps, s in zip(budgets, success, strict=True)}
    fall = max((a - b for a, b in itertools.pairwise(success)), default=0.0)
    if fall > FALL:
        return flagged(
            f"A larger budget breaks fewer examples (by {percent(fall)}): gradients lead astray.",
            **evidence,
        )
    if success[-1] < REACHED:
        return flagged(
            f"Gradient ascent breaks {percent(success[-1])} of the examples within {whole:.4g}, "
            "where every image can be made equally grey: gradients lead nowhere.",
            **evidence,
        )
    return passed(
        f"Success rises with the budget and reaches {percent(success[-1])} at {whole:.4g}, where "
        "every image can be made equally grey.",
        **evidence,
    )


def beats_noise(subject: Subject) -> Finding:
    """Random noise within the budget breaks nothing that gradient attacks leave whole."""
    white = [attack for attack in subject.comparable if attack.white_box]
    if not white:
        return not_applicable("The suite has no gradient attack to compare with noise.")
    rows = subject.compared(white)
    whole = ~subject.broken(white)[rows]
    if few := too_few(len(rows), int(whole.sum()), CHANCE_SHARE):
        return few
    generator, found = subject.generator("noise"), np.zeros(len(rows), dtype=bool)
    x = subject.x[rows]
    for _ in range(NOISES):
        moved = x + noise(x, subject.norm, subject.eps, generator, subject.weights)
        points = inside(x, moved, subject.norm, subject.eps, subject.weights)
        found |= judged(subject, rows, points, subject.eps)
    only = int((found & whole).sum())
    evidence = {"examples": len(rows), "broken_by_noise": int(found.sum()), "by_noise_alone": only}
    if only > max(CHANCE, CHANCE_SHARE * len(rows)):
        return flagged(
            f"Random noise breaks {only} of {len(rows)} examples that no gradient attack broke: "
            "gradients are masked.",
            **evidence,
        )
    return passed(
        f"Random noise breaks {only} of {len(rows)} examples that no gradient attack broke.",
        **evidence,
    )


def _iterations(attack: Attacked) -> int:
    """How many an attack makes at most; what doesn't tell may make as many as any."""
    if attack.single_step:
        return 1
    found = attack.record.get("arguments", {}).get("max_iter")
    return int(found) if isinstance(found, int | float) and found >= 1 else MOST_STEPS


def _grey(subject: Subject) -> float:
    """The budget at which every image can be made equally grey."""
    size = subject.x[0].size
    return {"linf": 0.5, "l2": 0.5 * size**0.5, "l1": 0.5 * size}[subject.norm]
