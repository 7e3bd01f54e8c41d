"""Claims that others made: the stored points measured, and the model asked, again."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.claims import Claims, judge
from benchmark.attacks.outcomes import SAMPLES
from benchmark.results import Record
from benchmark.text import counted
from benchmark.verification.comparison import Comparison, allowed, one_sided, unequal
from benchmark.verification.loaded import Loaded

_FOLLOWING = ("clean_accuracy", "robust_accuracy", "abstained")
_OF_MODELS = (
    "clean_prediction",
    "clean_correct",
    "adversarial_prediction",
    "success",
    "adversarial",
)
_NORMS = ("linf", "l2", "l1", "l0")


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """Everything follows from the points, the data and the model."""
    stage = f"claims/{key}"
    record, stored = loaded.stage(stage), loaded.arrays(stage)
    author, text = str(record.get("author", "")), str(record.get("text", ""))
    claims = Claims(author, text, stored["index"], stored["x_adv"])
    found.expect("the key", key, claims.key)
    if not np.isin(claims.index, loaded.target.index).all():
        found.differs.append("claims are about other test examples than the cell's")
        return
    cell = loaded.cell
    again, arrays = judge(claims, loaded.target, norm=cell.norm, eps=cell.eps, seed=cell.seed)
    exact = loaded.same_machine
    names = [name for name in again if exact or name not in _FOLLOWING]
    found.expect_all(record, again, names)
    differing = unequal(stored, arrays)
    if not exact:
        differing = [name for name in differing if not _near(name, stored, arrays)]
        _check_outcomes(record, stored, found)
        _check_samples(claims, loaded.target.x, stored, found)
        _check_sides(stored["success"], arrays["success"], found)
        if abs(record["abstained"] - again["abstained"]) > allowed(len(stored["success"])):
            found.expect("abstained", record["abstained"], again["abstained"])
    if differing:
        found.differs.append(f"judged again, {', '.join(differing)} differ")
    broken = int(stored["success"].sum())
    claimed = counted(len(claims.index), "claim")
    found.told.append(f"{broken} of {claimed} {'holds' if broken == 1 else 'hold'}, judged again")


def _near(name: str, stored: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> bool:
    """Whether another machine's rounding explains it."""
    if name.startswith("sample_"):  # follow from the successes
        return True
    if name not in stored or name not in arrays or stored[name].shape != arrays[name].shape:
        return False
    if name in _NORMS:
        return np.allclose(stored[name], arrays[name], rtol=1e-6, atol=1e-9, equal_nan=True)
    other = int((stored[name] != arrays[name]).sum())
    return name in _OF_MODELS and other <= allowed(len(stored[name]))


def _check_outcomes(record: Record, stored: dict[str, np.ndarray], found: Comparison) -> None:
    correct, success = stored["clean_correct"], stored["success"]
    found.expect("clean_accuracy", record["clean_accuracy"], float(correct.mean()))
    robust = float((correct & ~success).mean())
    found.expect("robust_accuracy", record["robust_accuracy"], robust)


def _check_samples(
    claims: Claims, x: np.ndarray, stored: dict[str, np.ndarray], found: Comparison
) -> None:
    """The examples that are shown are the first successes, of the data and of the claims."""
    index = stored["test_index"]
    rows = np.flatnonzero(stored["success"])[:SAMPLES]
    points = dict(zip(claims.index.tolist(), claims.x_adv, strict=True))
    adversarial = [
        points.get(number, x[row]) for number, row in zip(index[rows].tolist(), rows, strict=True)
    ]
    samples = {
        "sample_index": index[rows],
        "sample_clean": x[rows],
        "sample_adversarial": np.array(adversarial, np.float32).reshape(len(rows), *x.shape[1:]),
    }
    there = {name: one for name, one in stored.items() if name.startswith("sample_")}
    if differing := unequal(there, samples):
        found.differs.append(f"{', '.join(differing)} don't follow from the successes")


def _check_sides(stored: np.ndarray, again: np.ndarray, found: Comparison) -> None:
    """Claims that are told to fail and hold are not more than chance explains."""
    hidden, invented = int((again & ~stored).sum()), int((stored & ~again).sum())
    if one_sided(hidden, invented):
        found.differs.append(
            f"judged again, {hidden} claims hold that are told to fail and {invented} fail that "
            "are told to hold, too many for chance"
        )
