"""Whether the model is right at all, and if not, which inputs it seems to take."""

from __future__ import annotations

import numpy as np
from scipy import stats

from benchmark import fits
from benchmark.trust.finding import Finding, flagged, not_applicable, passed, percent
from benchmark.trust.subject import Subject

# Near chance: below a quarter of the way from chance to always right, or not above chance by a
# one-sided binomial test at this level.
NEAR_SHARE, LEVEL = 0.25, 0.05


def clean_accuracy(subject: Subject) -> Finding:
    """The model is right more often than chance, and no other scale of inputs fits it better."""
    count, classes = len(subject.y), subject.scores.shape[1]
    if not count:
        return not_applicable("No example was attacked.")
    accuracy = float(subject.correct.mean())
    chance = max(1 / classes, float(np.bincount(subject.y).max() / count))
    evidence = {"clean_accuracy": accuracy, "chance": chance, "examples": count}
    if not fits.doubtful(accuracy, chance):
        return passed(f"The model is right on {percent(accuracy)} of clean examples.", **evidence)
    told = f"The model is right on {percent(accuracy)} of {count} clean examples"
    advice = "train it longer, or at another learning rate"
    if not subject.trained_here:  # on other inputs, maybe
        inputs = {fits.AS_THEY_ARE: subject.x, **dict(fits.usual_inputs(subject.x))}
        likely = fits.likely(subject.unasked(), inputs, subject.y, accuracy)
        evidence |= {f"accuracy_{words}": found for words, found in likely.items()}
        if likely:
            better = fits.in_words(likely)
            told = f"{told}, and it would be on {better}: that is what it takes."
            return flagged(told, **evidence)
        advice = (
            "no other scale, normalisation or order of channels or classes that was tried fits "
            "better; check the weights"
        )
    if _near(accuracy, chance, count):
        return flagged(
            f"{told}, where chance is right on {percent(chance)}: robustness of such answers means "
            f"nothing; {advice}.",
            **evidence,
        )
    return passed(f"{told}, more than chance ({percent(chance)}).", **evidence)


def _near(accuracy: float, chance: float, count: int) -> bool:
    right = round(accuracy * count)
    by_chance = float(stats.binom.sf(right - 1, count, chance))
    return accuracy < chance + NEAR_SHARE * (1 - chance) and (by_chance > LEVEL or right == 0)
