"""What a suite's attacks leave right together, against stronger attacks than the suite's."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.running import run_attack
from benchmark.attacks.specification import AttackSpec
from benchmark.results import Record
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded
from benchmark.verification.repeating import SECONDS, unpredictable

STRONGER = (
    AttackSpec("stronger", "apgd", {"max_iter": 100, "nb_random_init": 3, "eps_step": "2 eps"}),
    AttackSpec("stronger-targeted", "apgd-targeted", {"max_iter": 100, "targets": 3}),
)
EXAMPLES = 50

# What stronger attacks may break of the examples claimed robust. A suite's worst case is what its
# own attacks leave, and honest ones leave more than these do: as `trust.gradients.MORE_SHARE` says.
MORE_SHARE, MORE = 0.2, 3


def check(loaded: Loaded, suite: str, found: Comparison) -> None:
    """Attacks some of the examples that stay right under every attack of the suite."""
    keys = loaded.suites[suite]
    robust = _robust(loaded, keys)
    if not robust.any():
        found.told.append("no example is claimed robust")
        return
    rows = np.flatnonzero(robust)
    rows = np.sort(unpredictable().choice(rows, min(EXAMPLES, len(rows)), replace=False))
    target, cell, broken, reasons = loaded.target.part(rows), loaded.cell, [], []
    for spec in STRONGER:
        record, arrays = run_attack(
            spec,
            target,
            key="",
            norm=cell.norm,
            eps=cell.eps,
            seed=cell.seed,
            timeout=SECONDS,
        )
        if record["status"] == "ok":
            broken.append(arrays["success"])
        else:
            reasons.append(record["reason"])
    flags = _flags(loaded, suite)
    if not broken:
        where = found.told if flags else found.unchecked
        where.append(f"no stronger attack could be run ({reasons[0]})")
        return
    count = int(np.any(broken, axis=0).sum())
    told = f"stronger attacks break {count} of {len(rows)} examples claimed robust"
    if count > max(MORE, MORE_SHARE * len(rows)):
        if flags:
            told += f", and its trust checks say so ({', '.join(flags)})"
        else:
            found.differs.append(told)
    found.told.append(told)


def _robust(loaded: Loaded, keys: list[str]) -> np.ndarray:
    """Which examples every attack on them within the cell's threat left right, (n,) bool."""
    threat = (loaded.cell.norm, loaded.cell.eps)
    target = loaded.target
    robust: np.ndarray = target.clean_prediction == target.y
    for key in keys:
        record: Record = loaded.stage(f"attacks/{key}")
        if record["status"] == "ok" and (record["norm"], record["eps"]) == threat:
            arrays = loaded.arrays(f"attacks/{key}")
            robust = robust & ~arrays["success"]
    return robust


def _flags(loaded: Loaded, suite: str) -> list[str]:
    """The names of the suite's trust checks that are flagged."""
    record = loaded.found(loaded.job(suite).trust_stage) or {}
    return [one["name"] for one in record.get("checks", []) if one["status"] == "flagged"]
