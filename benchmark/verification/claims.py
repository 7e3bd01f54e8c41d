"""Claims that others made: the stored points measured, and the model asked, again."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.claims import Claims, judge
from benchmark.results import Record
from benchmark.text import counted
from benchmark.verification.comparison import Comparison, allowed, unequal
from benchmark.verification.loaded import Loaded

_FOLLOWING = ("clean_accuracy", "robust_accuracy", "violations", "abstained")
_OF_MODELS = ("clean_prediction", "clean_correct", "adversarial_prediction", "success")


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
    if differing:
        found.differs.append(f"judged again, {', '.join(differing)} differ")
    broken = int(stored["success"].sum())
    claimed = counted(len(claims.index), "claim")
    found.told.append(f"{broken} of {claimed} {'holds' if broken == 1 else 'hold'}, judged again")


def _near(name: str, stored: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> bool:
    """Whether another machine's rounding explains it."""
    if name not in (*_OF_MODELS, "adversarial") or stored[name].shape != arrays[name].shape:
        return name.startswith("sample_")  # follow from the successes
    return int((stored[name] != arrays[name]).sum()) <= allowed(len(stored[name]))


def _check_outcomes(record: Record, stored: dict[str, np.ndarray], found: Comparison) -> None:
    correct, success = stored["clean_correct"], stored["success"]
    found.expect("clean_accuracy", record["clean_accuracy"], float(correct.mean()))
    robust = float((correct & ~success).mean())
    found.expect("robust_accuracy", record["robust_accuracy"], robust)
