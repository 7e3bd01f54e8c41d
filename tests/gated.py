"""Cells for the gate of continuous integration to check, and what it said of them."""

from __future__ import annotations

import json
from typing import Any

from benchmark.results import CHECKS_VERSION

# The worst case of a synthetic cell of 100 examples whose only attack leaves this share.
LEFT = 0.6

CHECK = {"name": "masked gradients", "sentence": "It is.", "evidence": {}}


def cell(synthetic: Any, defense: str = "pgd-at", left: float = LEFT, **changes: Any) -> str:
    """A cell of 100 examples that one attack was run on, with a trust check that it passes."""
    flagged = changes.pop("flagged", False)
    one = {"robust": {"pgd": left}, "examples": 100, "clean": 0.9, **changes}
    cell_id: str = synthetic.cell(defense, **one)
    check = {**CHECK, "status": "flagged" if flagged else "passed"}
    synthetic.store.write_stage(
        cell_id,
        "trust/quick",
        {"suite": "quick", "checks_version": CHECKS_VERSION, "checks": [check]},
    )
    return cell_id


def states(printed: str) -> dict[str, str]:
    """Rule to state, of one cell."""
    return {one["rule"]: one["state"] for one in json.loads(printed)["checks"]}
