"""What came of an attack: what it returned and met on its way, judged by the whole pipeline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark import frameworks
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.geometry import spread
from benchmark.attacks.judging import Answers
from benchmark.attacks.measure import Measurement, measure
from benchmark.attacks.target import Target
from benchmark.results import Record

SAMPLES = 8


@dataclass(frozen=True)
class Generated:
    """What came of an attack: all arrays are of the attacked rows of the target.

    Args:
        rows: of the target, (k,).
        x_adv: what the attack returned, (k, ...).
        kept: what it met on its way, (k, ...), where `has_kept`, (k,).
        first_query: of the first success within budget that was met, (k,), -1 where there is none.
        next_query: that a returned point would have been, had the attack asked about it, (k,).
        whole: where the attack ran to its end, (k,).
    """

    rows: np.ndarray
    x_adv: np.ndarray
    kept: np.ndarray
    has_kept: np.ndarray
    first_query: np.ndarray
    next_query: np.ndarray
    whole: np.ndarray


def outcomes(
    target: Target,
    found: Generated,
    *,
    attacked: np.ndarray,
    norm: str,
    eps: float,
    seed: int,
) -> tuple[Record, dict[str, np.ndarray]]:
    """What the record says of an attack that ran, and what became of each example.

    Args:
        target: what it attacked.
        found: what it left.
        attacked: which of the target's rows it was run on, (n,) bool.
        norm: of its budget.
        eps: its budget.
        seed: of a random pipeline's draws as it judges, that of its answers to the clean examples.
    """
    x_adv, measurement, share, silent, forgot = _judge(target, found, norm, eps, seed=seed)
    correct = target.clean_prediction == target.y
    record = {
        **({} if target.clean is None else _drawn(target.clean, share, attacked)),
        "status": "ok",
        "clean_accuracy": float(correct[attacked].mean()),
        "robust_accuracy": float((correct & ~measurement.success)[attacked].mean()),
        "violations": dict(measurement.violations),
        "abstained": measurement.abstained,
        "silent": silent,
        "forgot": forgot,
    }
    return record, {
        **_arrays(target, x_adv, measurement),
        **({} if target.clean is None else {"right_share": share}),
        "attacked": attacked,
        "first_query": _first_query(target, found, measurement),
    }


def _drawn(clean: Answers, share: np.ndarray, attacked: np.ndarray) -> Record:
    """What a single draw of a random model is expected to get right, before and after."""
    before = clean.right / clean.draws
    return {
        "draws": clean.draws,
        "clean_expected_accuracy": float(before[attacked].mean()),
        "expected_accuracy": float(share[attacked].mean()),
    }


def _first_query(target: Target, found: Generated, measurement: Measurement) -> np.ndarray:
    """The number of the query that met each success, (n,); -1 where there is none."""
    first = np.full(len(target.y), -1, dtype=np.int64)
    first[found.rows] = np.where(found.first_query >= 0, found.first_query, found.next_query)
    first[~measurement.success] = -1
    return first


def _judge(
    target: Target, found: Generated, norm: str, eps: float, *, seed: int
) -> tuple[np.ndarray, Measurement, np.ndarray, int, int]:
    """The better of what was returned and what was met on the way, as the whole pipeline has it.

    Returns the points, what they achieved, in which share of the draws each is right, how many
    successes the attack met without returning them although it ran to its end, and of how many
    points the model has another label now than a copy gave that was asked nothing before, which is
    the one that counts.
    """
    returned, kept = target.x.copy(), target.x.copy()
    returned[found.rows], kept[found.rows] = found.x_adv, found.kept
    has_kept = np.zeros(len(target.x), dtype=bool)
    has_kept[found.rows] = found.has_kept
    ours, share, forgot = _measured(target, returned, norm, eps, seed)
    if not has_kept.any():
        return returned, ours, share, 0, forgot
    met, other_share, also_forgot = _measured(target, kept, norm, eps, seed)
    better = met.beats(ours, "l2" if norm == UNRESTRICTED else norm)
    if target.clean is not None:  # of two successes the one that fewer draws get right
        better = np.where(met.success & ours.success, other_share < share, better)
    better &= has_kept
    whole = np.zeros(len(target.x), dtype=bool)
    whole[found.rows] = found.whole
    silent = int((better & met.success & ~ours.success & whole).sum())
    points = np.where(spread(better, kept), kept, returned)
    share = np.where(better, other_share, share)
    return points, ours.overlaid(met, better), share, silent, max(forgot, also_forgot)


def _measured(
    target: Target, x_adv: np.ndarray, norm: str, eps: float, seed: int
) -> tuple[Measurement, np.ndarray, int]:
    # The draws that the clean examples met, where the pipeline is random; no attack knows them.
    frameworks.seed_everything(seed)
    answers, forgot = target.verdict(x_adv)
    found = measure(
        target.x,
        x_adv,
        answers.outputs,
        clean_prediction=target.clean_prediction,
        label=target.y,
        norm=norm,
        eps=eps,
        weights=target.weights,
    )
    return found, (answers.right / answers.draws).astype(np.float32), forgot


def _arrays(target: Target, x_adv: np.ndarray, measurement: Measurement) -> dict[str, np.ndarray]:
    samples = np.flatnonzero(measurement.success)[:SAMPLES]
    return {
        "test_index": target.index,
        "label": target.y,
        "clean_prediction": target.clean_prediction,
        "clean_correct": target.clean_prediction == target.y,
        "adversarial_prediction": measurement.prediction,
        "success": measurement.success,
        "adversarial": measurement.adversarial,
        **measurement.distances,
        "sample_index": target.index[samples],
        "sample_clean": target.x[samples],
        "sample_adversarial": x_adv[samples].astype(np.float32),
    }
