"""Checks of what the model gives out: whether it is stable, finite, and what attacks expect."""

from __future__ import annotations

import numpy as np

from benchmark.trust.search import inside, noise
from benchmark.trust.subject import (
    Finding,
    Subject,
    flagged,
    not_applicable,
    passed,
    percent,
)

# How far outputs of one input may lie apart, as a share of the largest: float32 in another order of
# summation stays far below.
SAME = 1e-3

# How far a row of probabilities may be from summing to 1, by rounding.
SUM_ROUNDING = 1e-3

# Examples that are asked about one by one, which is slow.
ALONE = 16

# Changes that are too small to mean anything, in pixel scale: of 255 grey levels even the largest
# leaves nearly every pixel of a small image at its own, the smallest of a large one. All are well
# above float32's rounding of a pixel, so that a smooth model's outputs move.
TINY = (1e-4, 1e-5, 1e-6)

# Above this share of examples whose outputs don't move at all the model is flat there.
FLAT_SHARE = 0.5

# Random points within the budget that outputs are looked at in.
NOISES = 4


def stable_outputs(subject: Subject) -> Finding:
    """The same input twice gives the same output."""
    first, again = subject.scores, np.asarray(subject.pipeline(subject.probe))
    apart, changed = _apart(first, again), _changed(first, again)
    evidence = {"largest_relative_change": apart, "labels_changed": changed}
    if apart > SAME or changed:
        return flagged(
            f"The same inputs give other outputs when asked again ({percent(changed)} of the "
            "labels change): an attack may only have been unlucky; attack the mean of many draws.",
            **evidence,
        )
    return passed("The same inputs give the same outputs when asked again.", **evidence)


def batch_independent(subject: Subject) -> Finding:
    """An input's output doesn't depend on what else is in the batch."""
    if stable_outputs(subject).status != "passed":
        return not_applicable("Outputs change by themselves, so batches can't be compared.")
    x, whole = subject.probe, subject.scores
    order = subject.generator("batches").permutation(len(x))
    shuffled = np.asarray(subject.pipeline(x[order]))
    each = [np.asarray(subject.pipeline(x[row : row + 1])) for row in range(len(x[:ALONE]))]
    alone = np.concatenate(each)
    half = np.asarray(subject.pipeline(x[: len(x) // 2 + 1]))
    others = {"reordered": (whole[order], shuffled), "alone": (whole[:ALONE], alone)}
    others["half"] = (whole[: len(half)], half)
    apart = {name: _apart(*pair) for name, pair in others.items()}
    changed = max(_changed(*pair) for pair in others.values())
    evidence = {f"largest_relative_change_{name}": value for name, value in apart.items()}
    evidence["labels_changed"] = changed
    if max(apart.values()) > SAME:
        return flagged(
            f"Outputs depend on the batch ({percent(changed)} of the labels change): what an "
            "attack found in one batch may not hold in another.",
            **evidence,
        )
    return passed("Outputs are the same alone, in a batch, and in a reordered one.", **evidence)


def finite_outputs(subject: Subject) -> Finding:
    """Clean, noisy and attacked inputs have finite outputs."""
    generator = subject.generator("finite")
    noisy = [
        inside(subject.probe, subject.probe + _noise(subject, generator), subject.norm, subject.eps)
        for _ in range(NOISES)
    ]
    scores = [subject.scores, *(np.asarray(subject.pipeline(points)) for points in noisy)]
    broken = [~np.isfinite(one).all(axis=1) for one in scores]
    share = float(np.concatenate(broken).mean())
    # An attack's own points that are not finite are its fault, not the model's.
    met = sum(int(a.record.get("abstained", 0)) for a in subject.attacks)
    evidence = {"share_of_outputs": share, "attacked_examples": met}
    if share or met:
        return flagged(
            f"Outputs are not finite for {percent(share)} of clean and noisy inputs and for {met} "
            "attacked ones: the model abstains, and attacks that it answers with NaN count for "
            "nothing.",
            **evidence,
        )
    return passed("All outputs are finite, also of noisy and attacked inputs.", **evidence)


def gives_logits(subject: Subject) -> Finding:
    """Attacks see logits, not probabilities."""
    outputs = np.asarray(subject.estimator.predict(subject.probe))
    inside_box = bool((outputs >= 0).all() and (outputs <= 1).all())
    apart = float(np.abs(outputs.sum(axis=1, dtype=np.float64) - 1).max())
    evidence = {"smallest": _finite(outputs.min()), "largest": _finite(outputs.max())}
    evidence["largest_distance_of_a_sum_from_1"] = _finite(apart)
    if inside_box and apart <= SUM_ROUNDING:
        return flagged(
            "The outputs are probabilities: another softmax on top of them flattens every loss "
            "that expects logits, and weakens the attacks.",
            **evidence,
        )
    return passed("Attacks see logits, no probabilities.", **evidence)


def moves_with_its_input(subject: Subject) -> Finding:
    """Tiny changes of the input change the output a little: it isn't quantised."""
    if stable_outputs(subject).status != "passed":
        return not_applicable("Outputs change by themselves, so tiny changes can't be told apart.")
    generator = subject.generator("tiny")
    # Away from the data's own grey levels, which may lie on the edges of a quantisation.
    start = np.clip(subject.probe + _noise(subject, generator) / 2, 0.01, 0.99).astype(np.float32)
    here = np.asarray(subject.pipeline(start))
    flat = {}
    for size in TINY:
        moved = (start + generator.uniform(-size, size, start.shape)).astype(np.float32)
        there = np.asarray(subject.pipeline(moved))
        flat[f"flat_at_{size:g}"] = float((here == there).all(axis=1).mean())
    share = max(flat.values())
    if share > FLAT_SHARE:
        return flagged(
            f"Tiny random changes leave the outputs of {percent(share)} of the inputs exactly as "
            "they are: the input is quantised, and gradients tell nothing about its steps.",
            **flat,
        )
    return passed("Tiny changes of the input change the outputs.", **flat)


def _noise(subject: Subject, generator: np.random.Generator) -> np.ndarray:
    return noise(subject.probe, subject.norm, subject.eps, generator)


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of finite outputs, as a share of the largest output."""
    both = np.isfinite(one) & np.isfinite(other)
    if (np.isfinite(one) != np.isfinite(other)).any():
        return 1.0
    if not both.any():
        return 0.0
    scale = max(float(np.abs(one[both]).max()), 1e-30)
    return float(np.abs(one[both] - other[both]).max() / scale)


def _changed(one: np.ndarray, other: np.ndarray) -> float:
    return float((labels_of(one) != labels_of(other)).mean())


def _finite(value: float) -> float | str:
    return float(value) if np.isfinite(value) else str(value)
