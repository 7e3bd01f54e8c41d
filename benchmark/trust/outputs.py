"""Checks of what the model gives out: whether it is stable, finite, and what attacks expect."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.judging import DRAWS_OF_ATTACKS, Judge, differ, turned
from benchmark.trust.finding import Finding, flagged, not_applicable, passed, percent
from benchmark.trust.search import direction, inside, noise
from benchmark.trust.subject import Subject
from defenses.labels import labels_of

# How far a row of probabilities may be from summing to 1, by rounding.
SUM_ROUNDING = 1e-3

# How far outputs may lie apart in batches of other sizes, as a share of the largest, if no label
# changes: kernels sum in another order then, and half precision keeps three digits only.
BATCH_ROUNDING = 0.03

# Examples that are asked about one by one, which is slow.
ALONE = 16

# How near to an example it is asked what the model answers there, in multiples of the budget.
NEAR = (1.0, 0.25, 0.03)

# Random points within the budget that outputs are looked at in.
NOISES = 4


def stable_outputs(subject: Subject) -> Finding:
    """The same input twice gives the same output."""
    first, again = (np.asarray(subject.pipeline(subject.probe)) for _ in range(2))
    changed = _changed(first, again)
    evidence = {"largest_relative_change": _apart(first, again), "labels_changed": changed}
    if not (differ(first, again).any() or changed):
        return passed("The same inputs give the same outputs when asked again.", **evidence)
    told = f"The same inputs give other outputs when asked again ({percent(changed)} of the labels)"
    if not subject.is_random and subject.judge is not None and subject.judge.fresh is not None:
        return flagged(
            f"{told}, while copies that were asked nothing before agree: answers depend on earlier "
            "queries, and attacks are judged by such a copy.",
            **evidence,
        )
    if subject.clean is None:
        return flagged(
            f"{told}: the model is random, and an attack may only have been unlucky; attack the "
            "mean of many draws.",
            **evidence,
        )
    return flagged(
        f"{told}: the model is random. Attacks followed the mean of {DRAWS_OF_ATTACKS} draws or "
        f"their gradients, and the label of the mean of {subject.clean.draws} judged; a single "
        "draw is wrong more often.",
        **evidence,
        draws=subject.clean.draws,
    )


def independent_of_history(subject: Subject) -> Finding:
    """An answer doesn't depend on what was asked before."""
    judge = subject.judge
    if subject.is_random:
        return not_applicable("The model is random, so that two answers tell nothing of earlier.")
    if judge is None or judge.fresh is None:
        told = "no copy of the model is at hand that was asked nothing before"
        if judge is None:
            return not_applicable(f"This can't be told: {told}.")
        return flagged(f"This check could not be made: {told}; {judge.obstacle}.")
    since = _changed_since(judge)
    if since:
        return flagged(
            f"{percent(since)} of the answers are others than before the attacks, although a copy "
            "gave them that was asked nothing before: the model keeps count outside of itself, and "
            "what was attacked is not what was measured first.",
            share_of_answers_since=since,
        )
    generator, x = subject.generator("history"), subject.probe
    near = _near(subject, generator)
    before = judge.fresh()
    np.asarray(before(x))  # the examples first, then what lies near them
    after = [np.asarray(before(points)) for points in near]
    other = 0.0
    for made in (judge.fresh, judge.rebuilt):  # what lies outside the model is not copied with it
        new = [np.asarray(made()(points)) for points in near] if made else after
        pairs = zip(after, new, strict=True)
        other = max(other, float(np.mean([differ(*pair).mean() for pair in pairs])))
    forgot = sum(int(attack.record.get("forgot", 0)) for attack in subject.attacks)
    evidence = {"share_of_answers_near_examples": other, "attacked_points": forgot}
    if other or forgot:
        return flagged(
            f"Answers depend on earlier queries: {percent(other)} of those near examples are "
            f"others once the examples were asked about, and {forgot} attacked points get another "
            "label from a copy that was asked nothing before; the copy's answer counts.",
            **evidence,
        )
    return passed("Answers don't depend on earlier queries.", **evidence)


def _changed_since(judge: Judge) -> float:
    """The share of a copy's answers that are others than a copy's before the attacks."""
    if judge.beginning is None or judge.fresh is None:
        return 0.0
    points, said = judge.beginning
    return float(differ(said, np.asarray(judge.fresh()(points))).mean())


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
    changed = max(_clearly_changed(*pair) for pair in others.values())
    evidence = {f"largest_relative_change_{name}": value for name, value in apart.items()}
    evidence["labels_changed"] = changed
    if changed or max(apart.values()) > BATCH_ROUNDING:
        return flagged(
            f"Outputs depend on the batch (they move by {percent(max(apart.values()))} of the "
            f"largest, and {percent(changed)} of the labels change): what an attack found in one "
            "batch may not hold in another.",
            **evidence,
        )
    return passed("Outputs are the same alone, in a batch, and in a reordered one.", **evidence)


def finite_outputs(subject: Subject) -> Finding:
    """Clean, noisy and attacked inputs have finite outputs."""
    generator = subject.generator("finite")
    noisy = [_inside(subject, subject.probe + _noise(subject, generator)) for _ in range(NOISES)]
    scores = [subject.scores, *(np.asarray(subject.pipeline(points)) for points in noisy)]
    broken = [~np.isfinite(one).all(axis=1) for one in scores]
    share = float(np.concatenate(broken).mean())
    # An attack's own points that are not finite are its fault, not the model's.
    met = sum(int(a.record.get("abstained", 0)) for a in subject.attacks)
    evidence = {"share_of_outputs": share, "attacked_examples": met}
    if share or met:
        return flagged(
            f"Outputs are not finite for {percent(share)} of clean and noisy inputs and for {met} "
            "attacked ones: such an answer counts as wrong, whatever the label.",
            **evidence,
        )
    return passed("All outputs are finite, also of noisy and attacked inputs.", **evidence)


def gives_logits(subject: Subject) -> Finding:
    """Attacks see logits, not probabilities."""
    outputs = np.asarray(subject.estimator.predict(subject.probe))
    outputs = outputs[np.isfinite(outputs).all(axis=1)]  # the others are for `finite_outputs`
    if not len(outputs):
        return not_applicable("No output is finite, so that nothing tells of which kind they are.")
    inside_box = bool((outputs >= 0).all() and (outputs <= 1).all())
    apart = float(np.abs(outputs.sum(axis=1, dtype=np.float64) - 1).max())
    evidence = {"smallest": float(outputs.min()), "largest": float(outputs.max())}
    evidence["largest_distance_of_a_sum_from_1"] = apart
    if inside_box and apart <= SUM_ROUNDING:
        return flagged(
            "The outputs are probabilities: another softmax on top of them flattens every loss "
            "that expects logits, and weakens the attacks.",
            **evidence,
        )
    if inside_box and not _one_hot(outputs):
        return flagged(
            "All outputs lie between 0 and 1 and don't sum to 1, as of one sigmoid a class: it "
            "saturates, and losses that expect logits are flat there, which weakens the attacks.",
            **evidence,
        )
    return passed("Attacks see logits, no probabilities.", **evidence)


def _near(subject: Subject, generator: np.random.Generator) -> list[np.ndarray]:
    """Points near the probed examples: random, up the margin's gradient, and towards another one.

    What a model may remember shows where it would answer otherwise than at the example.
    """
    x, rolled = subject.probe, np.roll(subject.probe, 1, axis=0)
    moves = [share * _noise(subject, generator) for share in NEAR]
    moves.append(rolled - x)
    if not subject.lacks_gradients:
        gradient = subject.margin_gradient(x, subject.labels)[1]
        norm, weights = subject.norm, subject.weights
        moves.append(subject.eps * direction(gradient, x, subject.eps, norm, weights))
    return [_inside(subject, x + move) for move in moves]


def _inside(subject: Subject, points: np.ndarray) -> np.ndarray:
    return inside(subject.probe, points, subject.norm, subject.eps, subject.weights)


def _noise(subject: Subject, generator: np.random.Generator) -> np.ndarray:
    return noise(subject.probe, subject.norm, subject.eps, generator, subject.weights)


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


def _clearly_changed(one: np.ndarray, other: np.ndarray) -> float:
    """The share of labels that change with outputs that differ by more than rounding."""
    return float(turned(one, other).mean())


def _one_hot(outputs: np.ndarray) -> bool:
    """Whether there is nothing between the ends: labels, no sigmoid."""
    return bool(np.isin(outputs, (0, 1)).all())
