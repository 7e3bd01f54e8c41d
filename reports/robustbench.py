"""Each entry of the leaderboard as a JSON file in the style of RobustBench's model_info.

The keys are RobustBench's (github.com/RobustBench/robustbench, folder model_info), and what it has
no key for stands under `meta_adv_bench`. Accuracies are in per cent, as there, but numbers.
`autoattack_acc` is null unless the suite ran AutoAttack itself on all examples, as one attack or as
its four with the arguments of the standard version: another suite's worst case, which is
`reported`, is no substitute for it. `reported` is only an upper bound where `worst_case_is` is "≤",
and over other threats than that of its folder where the footnote names them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reports import shown
from reports.board import BoardRow
from reports.columns import TidyRow
from reports.exports import write_files
from reports.frame import outcomes, rows_of
from reports.ranking import ranked
from reports.records import read
from reports.text import budget

_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
# Our class of AutoAttack, those of its four attacks, and the arguments of the standard version.
_AUTOATTACK = {"StandardAutoAttack": {"max_iter": 100, "queries": 5000}}
_ITS_ATTACKS: dict[str, dict[str, Any]] = {
    "APGDCrossEntropy": {
        "max_iter": 100,
        "eps_step": None,
        "nb_random_init": None,
        "loss": "cross-entropy",
    },
    "APGDTargeted": {"max_iter": 100, "nb_random_init": 1, "targets": None},
    "FABTargeted": {"max_iter": 100, "nb_restarts": 1, "targets": 9},
    "Square": {"max_iter": 5000, "p_init": 0.8, "nb_restarts": 1, "rescaled": False},
}
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
    "unranked_reason",
    "worst_case_complete",
    "bound_reason",
    "common_examples",
    "extra_data",
    "precision",
    "labels_used",
    "trust_flags",
    "trust_passed",
    "trust_checks",
    "training_gradient_evaluations",
    "training_seconds",
)


def write(out: Path | str, to: Path | str) -> list[Path]:
    """Writes the entries of a results folder below the folder `to`; see `reports.robustbench`."""
    return write_files(out, to, entries(rows_of(read(out))))


def entries(tidy: Sequence[TidyRow]) -> dict[str, str]:
    """Path, <data set>/<norm>/<cell>-<suite>.json, to JSON text of each row with a worst case."""
    attacks: dict[tuple[str, str], list[TidyRow]] = {}
    for one in tidy:
        if one.attack:
            attacks.setdefault((one.cell_id, one.suite), []).append(one)
    found = {}
    for row in ranked(tidy, []).rows:
        if row.status == "ok" and row.worst_case is not None:
            norm = _NORMS.get(row.norm) or _safe(row.norm)
            name = f"{row.cell_id}-{_safe(row.suite)}.json"
            entry = _entry(row, attacks[row.cell_id, row.suite])
            found[f"{_safe(row.dataset)}/{norm}/{name}"] = (
                json.dumps(entry, indent=2, allow_nan=False) + "\n"
            )
    return found


def _entry(row: BoardRow, attacks: list[TidyRow]) -> dict[str, Any]:
    ran = [attack for attack in attacks if attack.attack_status == "ok"]
    intervals = {
        f"{name}_interval": [getattr(row, f"{name}_{end}") for end in ("low", "high")]
        for name in ("worst_case", "common")
    }
    return {
        "link": "",
        "name": f"{row.defense} ({row.framework}, seed {row.seed})",
        "authors": "",
        "additional_data": row.extra_data is not None,
        "number_forward_passes": 1,
        "dataset": row.dataset,
        "venue": "Unpublished",
        "architecture": row.model,
        "eps": budget(row.eps),
        "clean_acc": _percent(row.clean_accuracy),
        "reported": _percent(row.worst_case),
        "autoattack_acc": _autoattack(row, ran),
        "footnote": _footnote(row),
        "unreliable": row.upper_bound or bool(row.trust_flags),
        "meta_adv_bench": {
            **{name: getattr(row, name) for name in _OURS},
            **({"features": row.features} if row.features else {}),
            "parameters": json.loads(row.parameters),
            "worst_case_is": "≤" if row.upper_bound else "=",
            "common_worst_case": _percent(row.common_worst_case),
            **{name: [_percent(end) for end in ends] for name, ends in intervals.items()},
            "attacks": {a.attack: _percent(a.robust_accuracy) for a in ran},
            "attack_status": {a.attack: a.attack_status for a in attacks},
        },
    }


def _autoattack(row: BoardRow, ran: list[TidyRow]) -> float | None:
    """Accuracy in per cent under AutoAttack, None unless it ran as a whole on all examples."""
    whole = [a.robust_outcomes for a in ran if _is_standard(a, row, _AUTOATTACK)]
    its = {a.attack_class: a.robust_outcomes for a in ran if _is_standard(a, row, _ITS_ATTACKS)}
    found = [outcomes(one) for one in whole]
    if its.keys() == _ITS_ATTACKS.keys():
        found.append(np.all([outcomes(one) for one in its.values()], axis=0))
    return min((100 * float(right.mean()) for right in found), default=None)


def _is_standard(attack: TidyRow, row: BoardRow, standard: dict[str, dict[str, Any]]) -> bool:
    """Whether it is one of these, with these arguments, the row's threat and all examples."""
    if attack.attack_class not in standard or attack.attack_transferred:
        return False
    if attack.attack_examples != row.attacked:
        return False
    if attack.attack_norm and (row.norm, row.eps) != (attack.attack_norm, attack.attack_eps):
        return False
    arguments, expected = json.loads(attack.attack_arguments or "{}"), standard[attack.attack_class]
    return all(expected.get(name) == value for name, value in arguments.items())


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _footnote(row: BoardRow) -> str:
    told = []
    if row.threats != [(row.norm, row.eps)]:
        told += [f"The robust accuracy is under {shown.threats(row)}."]
    if row.upper_bound:
        told += [f"The robust accuracy is only an upper bound (≤): {row.bound_reason}."]
    if row.unranked_reason:
        told += [f"No rank: {row.unranked_reason.rstrip('.')}."]
    if row.trust_flags:
        told += [f"Trust checks are flagged: {row.trust_flags}."]
    return " ".join(told)


def _safe(name: str) -> str:
    """The name as part of a path; a hash tells apart what looks the same then."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80]
    if safe == name and safe:
        return safe
    return f"{safe}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}".lstrip("-")
