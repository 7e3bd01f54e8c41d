"""Each entry of the leaderboard as a JSON file in the style of RobustBench's model_info.

The keys are RobustBench's (github.com/RobustBench/robustbench, folder model_info), and what it has
no key for stands under `meta_adv_bench`. Accuracies are in per cent, as there, but numbers.
`autoattack_acc` is null unless the suite ran AutoAttack itself: another suite's worst case, which
is `reported`, is no substitute for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from reports.board import leaderboard
from reports.exports import write_files
from reports.frame import load, plain_rows
from reports.text import budget

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
_AUTOATTACK = "AutoAttack"  # ART's class
_BOUND = "An attack failed or is missing: the robust accuracy is only an upper bound."
_OURS = (
    "cell_id",
    "suite",
    "framework",
    "defense",
    "seed",
    "epochs",
    "budget_ge",
    "dataset_fingerprint",
    "norm",
    "eps",
    "attacked",
    "rank",
    "worst_case_complete",
    "training_gradient_evaluations",
    "training_seconds",
)


def write(out: Path | str, to: Path | str) -> list[Path]:
    """Writes the entries of a results folder below the folder `to`; see `reports.robustbench`."""
    return write_files(out, to, entries(load(out)))


def entries(tidy: pd.DataFrame) -> dict[str, str]:
    """Path, <data set>/<norm>/<cell>-<suite>.json, to JSON text of each row with a worst case."""
    attacks: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in plain_rows(tidy):
        if row["attack_status"] == "ok":
            attacks.setdefault((row["cell_id"], row["suite"]), []).append(row)
    found = {}
    for row in plain_rows(leaderboard(tidy)):
        if row["status"] == "ok" and row["worst_case"] is not None:
            norm = _NORMS.get(row["norm"]) or _safe(row["norm"])
            name = f"{row['cell_id']}-{_safe(row['suite'])}.json"
            entry = _entry(row, attacks[row["cell_id"], row["suite"]])
            found[f"{_safe(row['dataset'])}/{norm}/{name}"] = (
                json.dumps(entry, indent=2, allow_nan=False) + "\n"
            )
    return found


def _entry(row: dict[str, Any], attacks: list[dict[str, Any]]) -> dict[str, Any]:
    whole = [100 * a["robust_accuracy"] for a in attacks if a["attack_class"] == _AUTOATTACK]
    return {
        "link": "",
        "name": f"{row['defense']} ({row['framework']}, seed {row['seed']})",
        "authors": "",
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": row["dataset"],
        "venue": "Unpublished",
        "architecture": row["model"],
        "eps": budget(row["eps"]),
        "clean_acc": 100 * row["clean_accuracy"],
        "reported": 100 * row["worst_case"],
        "autoattack_acc": min(whole, default=None),
        "footnote": _footnote(row),
        "unreliable": not row["worst_case_complete"] or bool(row["trust_flags"]),
        "meta_adv_bench": {
            **{name: row[name] for name in _OURS},
            "parameters": json.loads(row["parameters"]),
            "worst_case_interval": [100 * row["worst_case_low"], 100 * row["worst_case_high"]],
            "attacks": {a["attack"]: 100 * a["robust_accuracy"] for a in attacks},
        },
    }


def _footnote(row: dict[str, Any]) -> str:
    told = [] if row["worst_case_complete"] else [_BOUND]
    told += [f"Trust checks are flagged: {row['trust_flags']}."] if row["trust_flags"] else []
    return " ".join(told)


def _safe(name: str) -> str:
    """The name as part of a path; a hash tells apart what looks the same then."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80]
    if safe == name and safe:
        return safe
    return f"{safe}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}".lstrip("-")
