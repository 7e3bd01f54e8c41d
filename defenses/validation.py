"""Robust accuracy on validation data after each epoch: what stops a training early.

Two attacks at the full budget, always from the same starts: PGD, and FGSM from the examples
themselves. A model that overfits catastrophically (Wong et al. 2020, section 5.4) resists FGSM
better and better while PGD takes it apart, because its loss has become rough around the examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from defenses.cost import Cost
from defenses.perturbation.spec import Ascent, default_relative_step

if TYPE_CHECKING:
    from defenses.kernel import Kernel
    from defenses.threat import Threat

# Keeps the attacks' starts apart from other uses of the same seed.
VALIDATION_STREAM = 0x7A11D

PGD_STEPS = 10

# At most so many examples are attacked, and at most this share of the training set's size, so that
# a training on few examples does not spend most of its budget on watching itself.
MOST_EXAMPLES = 500
LARGEST_SHARE = 0.1

# PGD accuracy that falls by more than this has collapsed (Wong et al. 2020 take the same).
COLLAPSE = 0.2
# Where PGD accuracy never rose: FGSM accuracy above it by so much, and by so many times, says the
# same. Healthy trainings stay within 0.1.
GAP = 0.3
TIMES = 4

History = Sequence[dict[str, float]]


@dataclass(frozen=True)
class Overfitting:
    """Catastrophic overfitting, as it was seen.

    Args:
        epoch: after which it was seen.
        good_epoch: the one before it with the highest PGD accuracy.
        pgd: accuracy under PGD then (good epoch) and now.
        fgsm: accuracy under FGSM then and now.
    """

    epoch: int
    good_epoch: int
    pgd: tuple[float, float]
    fgsm: tuple[float, float]

    @property
    def collapsed(self) -> bool:
        """Whether there was robustness to lose, so that the good epoch is worth going back to."""
        return self.pgd[0] - self.pgd[1] > COLLAPSE

    def __str__(self) -> str:
        return (
            f"catastrophic overfitting in epoch {self.epoch}: since epoch {self.good_epoch}, "
            f"validation accuracy under PGD fell from {self.pgd[0]:.1%} to {self.pgd[1]:.1%}, "
            f"while under FGSM it rose from {self.fgsm[0]:.1%} to {self.fgsm[1]:.1%}"
        )


def watched_examples(examples: int, validation: int) -> int:
    """How many of `validation` examples are attacked while `examples` are trained on."""
    return min(validation, MOST_EXAMPLES, max(1, round(LARGEST_SHARE * examples)))


def validation_cost(norm: str, count: int) -> Cost:
    """Of one measurement on `count` examples: both attacks, and a prediction on what each found."""
    return _pgd(norm).cost(count) + _fgsm(norm).cost(count) + Cost(forwards=2 * count)


def robust_accuracies(
    kernel: Kernel, threat: Threat, x: np.ndarray, y: np.ndarray, *, seed: int
) -> dict[str, float]:
    """`robust_validation_accuracy`, under PGD, and `fgsm_validation_accuracy`."""
    start = threat.random_starts(np.random.default_rng([seed, VALIDATION_STREAM]), x.shape)
    pgd = kernel.attack(x, y, start, eps=threat.eps, ascent=_pgd(threat.norm))
    fgsm = kernel.attack(x, y, np.zeros_like(start), eps=threat.eps, ascent=_fgsm(threat.norm))
    return {
        "robust_validation_accuracy": accuracy(kernel, pgd, y),
        "fgsm_validation_accuracy": accuracy(kernel, fgsm, y),
    }


def accuracy(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> float:
    """The share of `x` that the model gives the label `y`."""
    return float(np.mean(kernel.predict(x).argmax(axis=1) == y))


def best_epoch(history: History) -> int:
    """The first epoch, from 1, with the highest robust validation accuracy."""
    return 1 + int(np.argmax([entry["robust_validation_accuracy"] for entry in history]))


def overfitting(history: History, *, after: int = 0) -> Overfitting | None:
    """Catastrophic overfitting in a watched training: the first collapse, or else the first sign.

    Since the epoch with the highest PGD accuracy, PGD accuracy fell while FGSM accuracy rose: PGD
    by more than COLLAPSE, or until the two are more than GAP and TIMES apart.

    Args:
        after: the epochs in which eps still rises: what they defend against is weaker than what
            they are measured by, so that the two accuracies are far apart without overfitting.
    """
    found = []
    for count in range(max(1, after), len(history)):
        good, now = history[best_epoch(history[:count]) - 1], history[count]
        pgd = (good["robust_validation_accuracy"], now["robust_validation_accuracy"])
        fgsm = (good["fgsm_validation_accuracy"], now["fgsm_validation_accuracy"])
        seen = Overfitting(count + 1, int(good["epoch"]), pgd, fgsm)
        apart = seen.collapsed or fgsm[1] > max(pgd[1] + GAP, pgd[1] * TIMES)
        if pgd[1] < pgd[0] and fgsm[1] > fgsm[0] and apart:
            found.append(seen)
    return next((seen for seen in found if seen.collapsed), found[0] if found else None)


def _pgd(norm: str) -> Ascent:
    return Ascent(norm, PGD_STEPS, default_relative_step(PGD_STEPS))


def _fgsm(norm: str) -> Ascent:
    return Ascent(norm, steps=1, relative_step=1.0)
