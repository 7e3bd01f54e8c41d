"""Whether the model is right at all, and if not, which inputs it seems to take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats

from benchmark.trust.subject import Finding, Subject, flagged, not_applicable, passed, percent
from defenses.labels import labels_of

# Near chance: below a quarter of the way from chance to always right, or not above chance by a
# one-sided binomial test at this level.
NEAR_SHARE, LEVEL = 0.25, 0.05

# A fit is likely that makes this share of the examples more right than the inputs as they are.
GAIN = 0.25

# Means and standard deviations that many models are trained with, by number of channels.
_USUAL: dict[int, dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    1: {"MNIST's": ((0.1307,), (0.3081,))},
    3: {
        "ImageNet's": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    },
}


def clean_accuracy(subject: Subject) -> Finding:
    """The model is right more often than chance, and no other scale of inputs fits it better."""
    count, classes = len(subject.y), subject.scores.shape[1]
    if not count:
        return not_applicable("No example was attacked.")
    accuracy = float(subject.correct.mean())
    chance = max(1 / classes, float(np.bincount(subject.y).max() / count))
    evidence = {"clean_accuracy": accuracy, "chance": chance, "examples": count}
    if accuracy >= (1 + chance) / 2:
        return passed(f"The model is right on {percent(accuracy)} of clean examples.", **evidence)
    likely = {name: found for name, found in _tried(subject).items() if found >= accuracy + GAIN}
    evidence |= {f"accuracy_{name}": found for name, found in likely.items()}
    told = f"The model is right on {percent(accuracy)} of {count} clean examples"
    if likely:
        best = sorted(likely, key=lambda name: -likely[name])[:3]
        fits = "; ".join(f"{percent(likely[name])} with {name}" for name in best)
        return flagged(f"{told}, and it would be on {fits}: it takes other inputs.", **evidence)
    if _near(accuracy, chance, count):
        return flagged(
            f"{told}, where chance is right on {percent(chance)}: robustness of such answers means "
            "nothing. No other scale, normalisation or order of channels that was tried fits "
            "better; check the weights and the order of the classes.",
            **evidence,
        )
    return passed(f"{told}, more than chance ({percent(chance)}).", **evidence)


def _near(accuracy: float, chance: float, count: int) -> bool:
    right = round(accuracy * count)
    by_chance = float(stats.binom.sf(right - 1, count, chance))
    return accuracy < chance + NEAR_SHARE * (1 - chance) and (by_chance > LEVEL or right == 0)


def _tried(subject: Subject) -> Mapping[str, float]:
    """The accuracy that each fit would have, by its options."""
    found = {}
    for name, inputs in _fits(subject.x).items():
        labels = labels_of(np.asarray(subject.unasked()(inputs.astype(np.float32))))
        found[name] = float((labels == subject.y).mean())
    return found


def _fits(x: np.ndarray) -> dict[str, np.ndarray]:
    """What the model may take instead of `x` in [0, 1], by the options that give it that."""
    axes = tuple(range(1, x.ndim))
    fits = {"inputs in 0..255 (--input-range 0..255)": 255 * x}
    fits["inputs in -1..1 (--mean 0.5 --std 0.5)"] = 2 * x - 1
    channels = x.shape[-1] if x.ndim == 4 else 0
    for whose, (mean, std) in _USUAL.get(channels, {}).items():
        options = f"--mean {_numbers(mean)} --std {_numbers(std)}"
        fits[f"{whose} mean and deviation ({options})"] = (x - np.array(mean)) / np.array(std)
    if channels:
        mean, std = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2)) + 1e-6
        options = f"--mean {_numbers(mean)} --std {_numbers(std)}"
        fits[f"the data's mean and deviation ({options})"] = (x - mean) / std
        mean, std = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
        fits["each image's own mean and deviation (a layer of the model)"] = (x - mean) / (
            std + 1e-6
        )
    if channels == 3:
        fits["the channels in the order BGR (a layer of the model)"] = x[..., ::-1]
        fits["BGR in 0..255 (--input-range 0..255, and a layer)"] = 255 * x[..., ::-1]
    return fits


def _numbers(values: tuple[float, ...] | np.ndarray) -> str:
    return ",".join(f"{value:.4g}" for value in values)
