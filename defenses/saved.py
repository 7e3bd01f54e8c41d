"""A trained model in a folder: `fitted.json`, and its weights in the framework's own format.

Nothing in it is pickled, so reading a stranger's folder runs no code of his.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defenses.cost import Cost
from defenses.errors import DefenseError
from defenses.training import Outcome
from defenses.validation import Overfitting

RECORD = "fitted.json"
_VERSION = 1


def target_of(defense: type) -> str:
    """ "module:class" of a defense, as the table of defenses has it."""
    return f"{defense.__module__}:{defense.__qualname__}"


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record, once the weights are there."""
    text = json.dumps({"version": _VERSION, **record}, indent=2) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """What `write` wrote; DefenseError where that is not what stands there."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DefenseError(
            f"{folder} holds no trained model ({RECORD}: {str(error).splitlines()[0]}); "
            "give the folder that fitted.save wrote"
        ) from error
    if not isinstance(record, dict) or record.get("version") != _VERSION:
        raise DefenseError(f"{folder / RECORD} is not of version {_VERSION} of this format")
    return record


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """The inverse of `outcome_of`."""
    return dataclasses.asdict(outcome)


def outcome_of(values: Mapping[str, Any]) -> Outcome:
    """History, cost and what was seen of a training, from JSON values."""
    found = values["overfitting"]
    if found is not None:
        pairs = {name: tuple(found[name]) for name in ("pgd", "fgsm")}
        found = Overfitting(**{**found, **pairs})
    return Outcome(
        history=values["history"],
        cost=Cost(**values["cost"]),
        steps=values["steps"],
        overfitting=found,
        restored_epoch=values["restored_epoch"],
        notices=tuple(values["notices"]),
    )


def unfit(path: Path, error: Exception) -> DefenseError:
    """The line about weights that can't be taken up."""
    words = " ".join(str(error).split())[:200]
    return DefenseError(f"weights {path} don't fit the model: {words}; build it as it was trained")
