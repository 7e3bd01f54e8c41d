"""From a suite's attack to ART's object."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from benchmark.attacks.arguments import as_art_takes_it
from benchmark.attacks.entry import UNRESTRICTED
from benchmark.attacks.geometry import ORDERS
from benchmark.attacks.suites import AttackSpec
from benchmark.estimators.passes import CHUNK

_BATCHES = {"chunk": CHUNK, "one": 1, "all": CHUNK}


def create(spec: AttackSpec, estimator: Any, norm: str, eps: float) -> Any:
    """The attack on this estimator; what it doesn't know of norm, eps and batches it isn't told."""
    entry = spec.entry
    module, _, name = entry.target.partition(":")
    attack = getattr(importlib.import_module(module), name)
    wanted: dict[str, Any] = {"batch_size": _BATCHES[entry.rows], "verbose": False}
    if norm != UNRESTRICTED:
        wanted |= {"norm": ORDERS[norm], "eps": eps}
    known = {key: value for key, value in wanted.items() if _takes(attack, key)}
    if entry.enough and not spec.to_the_end:
        known[entry.enough] = eps
    given = {
        name: as_art_takes_it(spec.attack, name, value)
        for name, value in spec.resolved(eps).items()
    } | dict(entry.fixed)
    if entry.probabilities:
        estimator = _probabilities()(estimator)
    return attack(estimator, **{**known, **given})


def _takes(attack: Any, argument: str) -> bool:
    """Whether an attack has this parameter, and its constructor takes it: ART's lists say more."""
    parameters = inspect.signature(attack.__init__).parameters
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return argument in attack.attack_params and (argument in parameters or open_ended)


def _probabilities() -> Any:
    """`benchmark.estimators.probabilities.Probabilities`, whose module imports ART."""
    return importlib.import_module("benchmark.estimators.probabilities").Probabilities
