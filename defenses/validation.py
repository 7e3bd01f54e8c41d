"""Robust accuracy on validation data after each epoch: what stops a training early.

Two attacks at the full budget, always from the same starts: PGD, and FGSM from the examples
themselves. A model that overfits catastrophically (Wong et al. 2020, section 5.4) resists FGSM
while PGD takes it apart, because its loss has become rough around the examples. Where a defense has
a budget for several norms, an example counts as resisted only when it is under all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from defenses.cost import Cost
from defenses.labels import labels_of
from defenses.perturbation.spec import Ascent, fgsm, pgd

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

# PGD accuracy that falls by more than this has collapsed (Wong et al. 2020 take the same), unless
# FGSM accuracy falls with it: then the training is merely unstable.
COLLAPSE = 0.2
# Where PGD accuracy never rose: FGSM accuracy above it by so much, and by so many times, says the
# same. On `digits` at linf 0.3, fgsm-at ends at 8 and 36 %, and honest trainings (pgd-at, mart,
# trades, free-at) stay below a gap of 0.27 and 2.7 times.
GAP = 0.2
TIMES = 3
# For so many epochs in a row, because trainings pass through such states and recover: fgsm-rs on
# MNIST went from 58 to 21 % within an epoch, and ended at 90 %.
PATIENCE = 3

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
        fell = self.pgd[0] - self.pgd[1]
        return fell > COLLAPSE and fell - (self.fgsm[0] - self.fgsm[1]) > COLLAPSE

    @property
    def apart(self) -> bool:
        """Whether FGSM accuracy is far above PGD accuracy, which gained nothing."""
        return self.pgd[1] <= self.pgd[0] and self.fgsm[1] > max(
            self.pgd[1] + GAP, self.pgd[1] * TIMES
        )

    def __str__(self) -> str:
        if not self.collapsed:
            return (
                f"signs of catastrophic overfitting in epoch {self.epoch}: validation accuracy is "
                f"{self.fgsm[1]:.1%} under FGSM and only {self.pgd[1]:.1%} under PGD"
            )
        return (
            f"catastrophic overfitting in epoch {self.epoch}: since epoch {self.good_epoch}, "
            f"validation accuracy under PGD fell from {self.pgd[0]:.1%} to {self.pgd[1]:.1%}, "
            f"while under FGSM it went from {self.fgsm[0]:.1%} to {self.fgsm[1]:.1%}"
        )


def watched_examples(examples: int, validation: int) -> int:
    """How many of `validation` examples are attacked while `examples` are trained on."""
    return min(validation, MOST_EXAMPLES, max(1, round(LARGEST_SHARE * examples)))


def validation_cost(threats: Sequence[Threat], count: int) -> Cost:
    """Of one measurement on `count` examples: both attacks, and a prediction on what each found."""
    cost = Cost()
    for threat in threats:
        cost += pgd(threat.norm, PGD_STEPS).cost(count) + fgsm(threat.norm).cost(count)
    return cost + Cost(forwards=2 * count * len(threats))


def robust_accuracies(
    kernel: Kernel, threats: Sequence[Threat], x: np.ndarray, y: np.ndarray, *, seed: int
) -> dict[str, float]:
    """`robust_validation_accuracy`, under PGD, and `fgsm_validation_accuracy`.

    Args:
        threats: what an example has to resist to count, all of it.
    """
    generator = np.random.default_rng([seed, VALIDATION_STREAM])

    def resists(threat: Threat, ascent: Ascent) -> np.ndarray:
        start = ascent.starts(generator, x.shape)
        x_adv = kernel.attack(x, y, start, eps=threat.eps, ascent=ascent)
        return np.equal(labels_of(kernel.predict(x_adv)), y)

    under_pgd, under_fgsm = np.ones((2, len(y)), bool)
    for threat in threats:
        norm, weights = threat.norm, threat.weights
        under_pgd &= resists(threat, pgd(norm, PGD_STEPS, weights=weights))
        under_fgsm &= resists(threat, fgsm(norm, weights=weights))
    return {
        "robust_validation_accuracy": float(under_pgd.mean()),
        "fgsm_validation_accuracy": float(under_fgsm.mean()),
    }


def accuracy(kernel: Kernel, x: Any, y: np.ndarray) -> float:
    """The share of `x`, an array or `Inputs`, that the model gives the label `y`."""
    return float(np.mean(labels_of(kernel.predict(x)) == y))


def best_epoch(history: History) -> int:
    """The first epoch, from 1, with the highest robust validation accuracy."""
    return 1 + int(np.argmax([entry["robust_validation_accuracy"] for entry in history]))


def overfitting(
    history: History, *, after: int = 0, epochs: int | None = None
) -> Overfitting | None:
    """Catastrophic overfitting in a watched training: the first collapse, or else the first sign.

    A collapse: since the epoch with the highest PGD accuracy, it fell by more than COLLAPSE, and by
    that much more than FGSM accuracy. A sign: FGSM accuracy is far above PGD accuracy, which gained
    nothing. Either counts after PATIENCE epochs in a row, or in the training's last epoch.

    Args:
        after: the epochs in which eps still rises: what they defend against is weaker than what
            they are measured by, so that the two accuracies are far apart without overfitting.
        epochs: of the whole training.
    """
    found, bad = [], 0
    for count in range(max(1, after), len(history)):
        good, now = history[best_epoch(history[:count]) - 1], history[count]
        pgd = (good["robust_validation_accuracy"], now["robust_validation_accuracy"])
        fgsm = (good["fgsm_validation_accuracy"], now["fgsm_validation_accuracy"])
        seen = Overfitting(count + 1, int(good["epoch"]), pgd, fgsm)
        bad = bad + 1 if seen.collapsed or seen.apart else 0
        if bad >= (1 if seen.epoch == epochs else PATIENCE):
            found.append(seen)
    return next((seen for seen in found if seen.collapsed), found[0] if found else None)
