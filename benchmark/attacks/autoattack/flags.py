"""AutoAttack's flags: signs that its verdict may be too kind to a model.

Each says whether it is raised, why, and on what evidence; see the reference's `flags_doc.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from benchmark.attacks.autoattack.losses import CrossEntropy, TargetedDLR, other_classes, query

# From the reference: how far apart outputs of the same inputs may lie, how near to one their sums,
# and how many examples Square may break that no gradient attack broke.
LARGEST_SPREAD = 1e-4
SUM_TOLERANCE = 1e-5
SQUARE_SHARE = 0.002


@dataclass(frozen=True)
class Flag:
    """A sign that the verdict may be too kind.

    Args:
        name: of the check.
        raised: whether it is there.
        sentence: what was found, for a person.
        evidence: the numbers that it rests on.
    """

    name: str
    raised: bool
    sentence: str
    evidence: Mapping[str, float]


def randomised(estimator: Any, x: np.ndarray, *, repeats: int = 5) -> Flag:
    """Whether the same inputs give different outputs, scaled to length 1."""
    outputs = []
    for _ in range(repeats):
        logits = np.asarray(estimator.predict(x), dtype=np.float64)
        outputs.append(logits / (np.linalg.norm(logits, axis=1, keepdims=True) + 1e-10))
    spread = max(
        float(np.linalg.norm(a - b, axis=1).max(initial=0)) for a, b in combinations(outputs, 2)
    )
    labels = {tuple(each.argmax(axis=1)) for each in outputs}
    raised = spread > LARGEST_SPREAD or len(labels) > 1
    sentence = (
        f"{repeats} predictions of the same inputs differ by up to {spread:.2g}: attack the mean "
        "of several draws"
        if raised
        else f"{repeats} predictions of the same inputs agree to {spread:.2g}"
    )
    return Flag("randomised", raised, sentence, {"spread": spread, "repeats": repeats})


def gives_probabilities(logits: np.ndarray) -> Flag:
    """Whether the outputs look like a softmax, behind which gradients vanish."""
    sums = logits.sum(axis=1, dtype=np.float64)
    apart = float(np.abs(sums - 1).max(initial=0))
    inside = logits.min() > -SUM_TOLERANCE and logits.max() < 1 + SUM_TOLERANCE
    raised = bool(inside and apart < SUM_TOLERANCE)
    sentence = (
        "the outputs are probabilities: attack the logits, where gradients don't vanish"
        if raised
        else "the outputs are no probabilities"
    )
    return Flag("softmax-output", raised, sentence, {"largest distance of a sum from 1": apart})


def zero_gradients(estimator: Any, x: np.ndarray, y: np.ndarray) -> Flag:
    """Whether the gradient of either of Auto-PGD's losses is exactly zero at some examples.

    Args:
        estimator: with class gradients.
        x: examples.
        y: their labels, (n,).
    """
    target = other_classes(np.asarray(estimator.predict(x)), y)[:, 0]
    shares = {}
    for name, loss in (("cross-entropy", CrossEntropy(y)), ("dlr", TargetedDLR(y, target))):
        gradient = query(estimator, x, loss)[2]
        shares[name] = float((np.abs(gradient).max(axis=1) == 0).mean())
    worst = max(shares.values())
    raised = worst > 0
    sentence = (
        f"the gradient is zero at {worst:.1%} of the examples: gradient attacks can't move there"
        if raised
        else "no gradient is zero"
    )
    return Flag("zero-gradients", raised, sentence, shares)


def square_finds_more(success: Mapping[str, np.ndarray], correct: np.ndarray) -> Flag:
    """Whether Square breaks what no other attack broke: then gradients mislead.

    Args:
        success: attack to which examples it broke, (n,); "square" among them.
        correct: which examples are classified correctly, (n,).
    """
    others = [found for name, found in success.items() if name != "square"]
    alone = success["square"] & ~np.any(others, axis=0) & correct
    share = float(alone.mean()) if len(alone) else 0.0
    raised = share > SQUARE_SHARE
    sentence = (
        f"Square broke {share:.1%} of the examples that no other attack broke: the gradients "
        "mislead, look for an adaptive attack"
        if raised
        else "Square broke next to nothing that the others had not"
    )
    return Flag("square-finds-more", raised, sentence, {"share broken by Square alone": share})
