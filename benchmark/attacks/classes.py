"""The class behind a row of attacks, and whether it can be made of what a suite gives it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Collection
from typing import Any, Protocol

import numpy as np

from benchmark.attacks.entry import AttackEntry
from benchmark.errors import shortened
from benchmark.estimators.estimator import Classifier
from defenses.imports import import_torch_first

# What the benchmark itself may give to a constructor, besides a suite's arguments.
GIVEN = ("batch_size", "eps", "norm", "verbose")


class Attack(Protocol):
    """One of ART's evasion attacks, with its arguments."""

    def generate(self, x: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
        """Adversarial examples for `x`, (n, ...), with labels `y`, (n,)."""


class AttackClass(Protocol):
    """What makes one."""

    attack_params: Collection[str]

    def __call__(self, estimator: Classifier, **arguments: object) -> Attack:
        """The attack on an estimator."""


def attack_class(entry: AttackEntry) -> AttackClass:
    """The class of a row of the table, imported."""
    module, _, name = entry.target.partition(":")
    found: AttackClass = getattr(importlib.import_module(module), name)
    return found


def takes(attack: AttackClass, argument: str) -> bool:
    """Whether an attack has this parameter, and its constructor takes it: ART's lists say more."""
    parameters = inspect.signature(attack).parameters
    return argument in attack.attack_params and (argument in parameters or _is_open(parameters))


def fault(entry: AttackEntry, given: Collection[str]) -> str:
    """Why the class of an entry can't be made with these arguments; empty where it can."""
    import_torch_first()  # its module may import TensorFlow, or ART, before
    try:
        found: Any = attack_class(entry)
    except (Exception, SystemExit) as error:  # other people's module may raise anything
        return f"has no class {entry.target}: {type(error).__name__}: {error}"
    if (listed := getattr(found, "attack_params", None)) is None:
        return f"has a class without attack_params, so no attack of ART: {entry.target}"
    if why := not_names(listed):
        return f"has a class {entry.target} whose attack_params are {why}"
    try:
        _, *parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return f"has a class {entry.target} that takes no estimator"
    known = {one.name: one for one in parameters}
    enough = {entry.enough} - {""}
    unknown = sorted({*given, *entry.fixed, *enough} - set(known))
    if unknown and not _is_open(known):
        return f"has a class {entry.target} that doesn't take {', '.join(unknown)}"
    needed = [name for name, one in known.items() if one.default is one.empty and _has_name(one)]
    told = {name for name in GIVEN if takes(found, name)}
    if lacking := sorted(set(needed) - {*given, *entry.fixed, *told, *enough}):
        if unnamed := [name for name in lacking if name in GIVEN]:
            return f"has a class {entry.target} whose attack_params lack {', '.join(unnamed)}"
        return f"has a class {entry.target} that needs {', '.join(lacking)}, which nothing gives"
    return ""


def not_names(listed: object) -> str:
    """Why an attack's `attack_params` list no names, for an error line; empty where they do.

    In a text every part of it would be found.
    """
    if isinstance(listed, str) or not isinstance(listed, Collection):
        return f"{shortened(listed)}; give a list of names"
    return ""


def _is_open(parameters: Any) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def _has_name(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
