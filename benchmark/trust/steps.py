"""Whether outputs move with their inputs; where they don't, what holds them."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.geometry import lengths
from benchmark.trust.finding import Finding, flagged, not_applicable, passed, percent
from benchmark.trust.outputs import stable_outputs
from benchmark.trust.search import probe_noise
from benchmark.trust.subject import Subject

# Changes that are too small to mean anything, in pixel scale: of 255 grey levels even the largest
# leaves nearly every pixel of a small image at its own, the smallest of a large one. All are well
# above float32's rounding of a pixel, so that a smooth model's outputs move.
TINY = (1e-4, 1e-5, 1e-6)

# Above this share of examples whose outputs don't move at all the model is flat there.
FLAT_SHARE = 0.5

# Greater changes, which cross some steps of whatever is quantised and leave others.
STEPS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1)
# Outputs behind a quantised input move all together; rounded ones each on its own. Above this share
# of moved rows in which some outputs stay exactly where they were, the outputs are rounded.
PARTIAL_SHARE = 0.25

# Of float32's spacings at the largest output: what sums of many products are sure to show.
_SPACINGS = 8

# Fewer different rows of outputs than this share of the inputs: the model answers by labels.
FEW_ROWS = 0.5


def moves_with_its_input(subject: Subject) -> Finding:
    """Tiny changes of the input change the output a little: nothing is quantised on the way.

    Every change is tried on a copy that was asked nothing before: what a model remembers of the
    unchanged input is for another check.
    """
    if stable_outputs(subject).status != "passed":
        return not_applicable("Outputs change by themselves, so tiny changes can't be told apart.")
    generator = subject.generator("tiny")
    # Away from the data's own grey levels, which may lie on the edges of a quantisation.
    away = probe_noise(subject, generator) / 2
    start = np.clip(subject.probe + away, 0.01, 0.99).astype(np.float32)
    here = np.asarray(subject.unasked()(start))
    slope, least, flat = _slope(subject, start), _least(here), {}
    for size in TINY:
        there = _moved(subject, start, size, generator)
        # Where the gradient promises less than float32 can tell, nothing has to move.
        tells = (slope == 0) | (slope * size > least)
        flat[f"flat_at_{size:g}"] = float(((here == there).all(axis=1) & tells).mean())
    share = max(flat.values())
    if share <= FLAT_SHARE:
        return passed("Tiny changes of the input change the outputs.", **flat)
    near = [_moved(subject, start, size, generator) for size in STEPS]
    told = (
        f"Tiny random changes leave the outputs of {percent(share)} of the inputs exactly as they "
        f"are: {_cause(here, near)}"
    )
    return flagged(told, **flat)


def _slope(subject: Subject, x: np.ndarray) -> np.ndarray:
    """The length of the margin's gradient, (k,); 0 where there is none."""
    if subject.lacks_gradients:
        return np.zeros(len(x))
    gradient = subject.margin_gradient(x, subject.labels)[1].reshape(len(x), -1)
    return np.nan_to_num(lengths(gradient.astype(np.float64), "l2"))


def _least(outputs: np.ndarray) -> np.ndarray:
    """The change of each row's outputs (k, classes) that float32 is sure to show, (k,)."""
    largest = np.abs(np.nan_to_num(outputs)).max(axis=1)
    return np.asarray(_SPACINGS * np.finfo(np.float32).eps * largest)


def _moved(
    subject: Subject, start: np.ndarray, size: float, generator: np.random.Generator
) -> np.ndarray:
    points = (start + generator.uniform(-size, size, start.shape)).astype(np.float32)
    return np.asarray(subject.unasked()(points))


def _cause(here: np.ndarray, there: list[np.ndarray]) -> str:
    """What holds the outputs `here` (n, classes), as those nearby, `there`, show."""
    rows = np.concatenate([here, *there])
    different = len(np.unique(rows, axis=0))
    if different < FEW_ROWS * len(here):
        return (
            f"there are only {different} different outputs for {len(rows)} inputs, as an argmax "
            "gives them, and gradients, if there are any, are not theirs."
        )
    same = np.concatenate([here == one for one in there])
    moved = ~same.all(axis=1)
    if moved.any() and float(same[moved].any(axis=1).mean()) > PARTIAL_SHARE:
        return (
            "the outputs are rounded, each on its own, and gradients tell nothing about the steps."
        )
    return "the input is quantised, and gradients tell nothing about its steps."
