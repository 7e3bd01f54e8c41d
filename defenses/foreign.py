"""Defenses of other distributions: their code may raise, and declare anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from defenses.contributed import Contribution, is_target
from defenses.cost import Cost
from defenses.defense import Defense
from defenses.errors import DefenseError, did_you_mean
from defenses.threat import Threat


def made(
    other: Contribution, kind: type[Defense], threat: Threat, parameters: Mapping[str, Any]
) -> Defense:
    """The defense, whose updates cost something.

    Raises:
        DefenseError: unknown parameter or a value out of range.
        ContributionError: its own code raises, or its cost is none.
    """
    try:
        defense = kind.from_parameters(threat, parameters)
        cost = defense.step_cost()
    except DefenseError:
        raise
    except (Exception, SystemExit) as error:  # whatever the other distribution's code raises
        told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise other.unusable(f"can't be made ({told})") from error
    if not isinstance(cost, Cost):
        raise other.unusable(f"has a step_cost that gives {type(cost).__name__}, not a Cost")
    if not 0 < cost.gradient_evaluations < float("inf"):
        raise other.unusable(
            f"has updates that cost {cost.gradient_evaluations:g} gradient evaluations; "
            "an update passes examples through the model"
        )
    return defense


def fault(kind: type[Defense]) -> str:
    """Why a contributed class can't be used; empty where it can."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for base in kind.__mro__:
        for name, told in vars(base).get("__annotations__", {}).items():
            if issubclass(base, Defense) and name not in fields and "ClassVar" not in str(told):
                return f"has the parameter {name!r}, but no @dataclass(frozen=True, kw_only=True)"
    for name, field in fields.items():
        if name != "threat" and field.default is dataclasses.MISSING:
            return f"has no default for its parameter {name!r}"
    if not isinstance(kernels := getattr(kind, "kernels", None), Mapping):
        return f"has kernels {kernels!r}; they map a framework to module:function"
    for target in kernels.values():
        if not is_target(target):
            return f"has the kernel {target!r}; give module:function as a text"
    if not isinstance(kind.presets, Mapping):
        return f"has presets {kind.presets!r}; they map a name to parameters"
    for preset, given in kind.presets.items():
        if not isinstance(preset, str):
            return f"has the preset {preset!r}; give its name as a text"
        if not isinstance(given, Mapping):
            return f"has the preset {preset!r}, which is no mapping of parameters"
        if unknown := sorted(map(str, given.keys() - (fields.keys() - {"threat"}))):
            meant = did_you_mean(unknown[0], fields.keys() - {"threat"})
            return f"has the preset {preset!r} of the unknown parameter {unknown[0]!r}{meant}"
    return ""
