"""Which features of a table an attacker can change, and by how much: as asked for, and resolved."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmark import documents
from benchmark.datasets.dataset import Dataset
from benchmark.digest import digest
from benchmark.errors import ConfigError, shortened
from benchmark.results.records import ThreatConfig
from defenses.errors import did_you_mean
from defenses.threat import Threat

KEYS = ("immutable", "budget")
# Of float32, a smaller one leaves too little.
LEAST, MOST = 1e-4, 1e4
_GLOB = frozenset("*?[")


def names(dataset: Dataset) -> list[str]:
    """Of the features of a table, in their order: "column" or "column=value", or else positions."""
    (count,) = dataset.input_shape
    found = [name for _, name in _columns(dataset)]
    return found if len(found) == count else list(map(str, range(count)))


def feature_budgets(
    given: str | Mapping[str, Any] | None, dataset: Dataset
) -> dict[str, float] | None:
    """Feature to its weight where that is not 1, in the order of the data; None where all are.

    Args:
        given: the path of a YAML file, or what stands in one: `immutable`, a list of names, and
            `budget`, name to weight. A name is that of a column, of one of its values
            ("column=value"), a position (from 0) where columns have no names, or a pattern of
            these; an exact name goes before a pattern.
        dataset: a table.

    Raises:
        ConfigError: an unknown name, a weight out of range, nothing that can change, or no table.
    """
    if given is None:
        return None
    lists = given
    if isinstance(given, str):
        hint = f"a YAML file with {' or '.join(KEYS)}"
        lists = documents.of_option("features", given, hint, ConfigError)
    if not isinstance(lists, Mapping) or not lists or set(lists) - set(KEYS):
        found = ", ".join(map(str, lists)) if isinstance(lists, Mapping) else shortened(lists)
        raise ConfigError(
            f"features must hold {' or '.join(KEYS)} or both; it holds {found or 'nothing'}"
        )
    if len(dataset.input_shape) != 1:
        raise ConfigError(
            f"features are of tables, and {dataset.name} holds images; leave --features out"
        )
    weights = _weights(lists, dataset)
    if not any(weights.get(name, 1.0) for name in names(dataset)):
        raise ConfigError("features: every one is immutable, nothing is left to attack")
    return {name: weights[name] for name in names(dataset) if weights.get(name, 1.0) != 1} or None


def weights(budgets: Mapping[str, float] | None, dataset: Dataset) -> np.ndarray | None:
    """The weight of each feature, (d,) float64; None where there are no budgets of features."""
    if budgets is None:
        return None
    known = names(dataset)
    if unknown := [name for name in budgets if name not in known]:
        raise ConfigError(f"{dataset.name} has no feature {unknown[0]!r}, which has a budget")
    return np.array([budgets.get(name, 1.0) for name in known])


def columns(dataset: Dataset, budgets: Mapping[str, float] | None) -> str | None:
    """A name for the columns in their order, where budgets go by their names; else None.

    The arrays and their fingerprint alone don't tell which of them a budget is of.
    """
    named = [name for _, name in _columns(dataset)]
    return None if budgets is None or not named else digest(named)[:16]


def notices(budgets: Mapping[str, float] | None) -> list[str]:
    """What the names came to, a line, where features have budgets of their own."""
    if budgets is None:
        return []
    told = ThreatConfig(norm="linf", eps=1.0, features=dict(budgets)).of_features
    return [f"budgets of features, as multiples of eps: {told}"]


def threat(
    norm: str, eps: float, budgets: Mapping[str, float] | None, dataset: Dataset | None
) -> Threat:
    """The threat of a cell; the data are asked for where features have budgets of their own."""
    if budgets is None or dataset is None:
        return Threat(norm, eps)
    found = weights(budgets, dataset)
    return Threat(norm, eps, None if found is None else tuple(found.tolist()))


def _columns(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """The column of each feature, and the feature's name."""
    for told in dataset.about.get("columns", ()):
        column = str(told["name"])
        values = told.get("values")
        yield from (
            [(column, column)]
            if values is None
            else ((column, f"{column}={value}") for value in values)
        )


def _weights(lists: Mapping[str, Any], dataset: Dataset) -> dict[str, float]:
    """Feature to weight, of those that are named."""
    found: dict[str, tuple[float, str, bool]] = {}
    for entry, weight in _entries(lists):
        matching, exact = _named(entry, dataset)
        for name in matching:
            known = found.get(name)
            if known is not None and known[2] == exact and known[0] != weight:
                raise ConfigError(
                    f"features: {name!r} is named twice, by {known[1]!r} and by {entry!r}; "
                    "leave it out of one"
                )
            if known is None or exact:
                found[name] = weight, entry, exact
    return {name: weight for name, (weight, _, _) in found.items()}


def _entries(lists: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    immutable, budget = lists.get("immutable") or [], lists.get("budget") or {}
    if not isinstance(immutable, list | tuple):
        raise ConfigError(f"features: immutable must be a list, got {shortened(immutable)}")
    if not isinstance(budget, Mapping):
        raise ConfigError(f"features: budget must map names to numbers, got {shortened(budget)}")
    for entry in immutable:
        yield _text(entry), 0.0
    for entry, weight in budget.items():
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight) or (weight and not LEAST <= weight <= MOST):
            raise ConfigError(
                f"features: the budget of {shortened(entry)} is {shortened(weight)}; give a "
                f"multiple of eps, 0 or {LEAST:g} to {MOST:g}"
            )
        yield _text(entry), float(weight)


def _text(entry: Any) -> str:
    if isinstance(entry, str) or (isinstance(entry, int) and not isinstance(entry, bool)):
        return str(entry)
    raise ConfigError(f"features: {shortened(entry)} is no name of a column; quote it")


def _named(entry: str, dataset: Dataset) -> tuple[list[str], bool]:
    """The features that an entry names, and whether it does so exactly."""
    known = names(dataset)
    if entry in known:
        return [entry], True
    columns = list(_columns(dataset))
    if of_column := [name for column, name in columns if column == entry]:
        return of_column, True
    if _GLOB & set(entry):
        matching = set(fnmatch.filter(known, entry))
        matching |= {name for column, name in columns if fnmatch.fnmatchcase(column, entry)}
        if matching:
            return [name for name in known if name in matching], False
    every = list(dict.fromkeys([*(column for column, _ in columns), *known]))
    if len(columns) != len(known):
        raise ConfigError(
            f"features: {entry!r} is no position; {dataset.name} has features 0 to {len(known) - 1}"
        )
    raise ConfigError(f"features: unknown column {entry!r}{did_you_mean(entry, every)}")
