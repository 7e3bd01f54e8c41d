"""What a run found, in one sentence that claims no more than the data can tell."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.board import TRAINING, leaderboard
from reports.columns import plain_rows
from reports.frame import frame, outcomes
from reports.paired import compare, pairs
from reports.records import read
from reports.rows import UNDEFENDED
from reports.text import budget, norm, one_line, percent

_MOST_NAMED = 3


@dataclass(frozen=True)
class _Model:
    """A defense in one framework: a row a seed."""

    rows: list[dict[str, Any]]

    def __getitem__(self, name: str) -> Any:
        return self.rows[0][name]

    @property
    def value(self) -> float:
        """Its worst case, over its seeds where they are complete."""
        mean: float | None = self["seeds_mean"]
        return float(self["worst_case"]) if mean is None else mean

    def told(self) -> str:
        """Its worst case with interval, and what it is of."""
        bound = "" if self["worst_case_complete"] else "at most "
        low, high = self["worst_case_low"], self["worst_case_high"]
        if self["seeds"] is not None:
            low, high = self["seeds_low"], self["seeds_high"]
        over = f" over {self['seeds']} seeds" if (self["seeds"] or 1) > 1 else ""
        return f"{bound}{percent(self.value)} % ({percent(low)} to {percent(high)}){over}"


def finding(out: Path | str, cell_ids: Collection[str], suite: str) -> str:
    """The best worst case of these cells under a suite, what it compares with, and who ties.

    Raises `StoreError` if `out` is not a results folder.
    """
    results = read(out)  # all of it: a correction counts every row of a group
    tidy = frame(results)
    whole = {(r["cell_id"], r["suite"]): r["worst_case_outcomes"] for r in plain_rows(tidy)}
    rows = [row for row in plain_rows(leaderboard(tidy)) if row["worst_case"] is not None]
    rows = [
        row | {"outcomes": outcomes(whole[row["cell_id"], suite])}
        for row in rows
        if row["suite"] == suite and row["status"] == "ok" and row["cell_id"] in set(cell_ids)
    ]
    failed = len(set(cell_ids) - {row["cell_id"] for row in rows})
    ending = f"; {failed} of {len(set(cell_ids))} cells have no result" if failed else ""
    if not rows:
        return f"Nothing was measured{ending}."
    adapted = {cell.cell_id: cell.adaptation for cell in results.cells if cell.adaptation}
    models = _models(rows)
    best = max(_defended(models), key=lambda one: one.value)
    told = adapted.get(best["cell_id"])
    labels = "" if told is None else f", adapted to {told.labels_used} labels,"
    return f"{_name(best)}{labels} keeps {_kept(best, models)}{_ties(best, models)}{ending}."


def _models(rows: Sequence[dict[str, Any]]) -> list[_Model]:
    found: dict[tuple[Any, ...], _Model] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in TRAINING), _Model([])).rows.append(row)
    return list(found.values())


def _defended(models: Sequence[_Model]) -> list[_Model]:
    return [one for one in models if one["defense"] != UNDEFENDED] or list(models)


def _name(model: _Model) -> str:
    undefended = model["defense"] == UNDEFENDED
    return "The undefended model" if undefended else one_line(model["defense"])


def _counterpart(model: _Model, models: Sequence[_Model]) -> _Model | None:
    """The same defense in the other framework."""
    names = [name for name in TRAINING if name != "framework"]
    same = [m for m in models if m is not model and all(m[n] == model[n] for n in names)]
    return same[0] if same else None


def _kept(best: _Model, models: Sequence[_Model]) -> str:
    """How much of what, in which frameworks, beside the undefended twin."""
    of = f"{one_line(best['dataset'])} under {norm(best['norm'])} {budget(best['eps'])}"
    text = f"{best.told()} of {of} in {best['framework']}"
    if (other := _counterpart(best, models)) is not None:
        text += f" and {other.told()} in {other['framework']}"
    if best["defense"] == UNDEFENDED:
        return text
    shown = [best, other] if other is not None else [best]
    frameworks = [model["framework"] for model in shown]
    twins = {m["framework"]: m for m in models if m["defense"] == UNDEFENDED}
    values = dict.fromkeys(f"{percent(twins[f].value)} %" for f in frameworks if f in twins)
    return text + (f", the undefended twin {' and '.join(values)}" if values else "")


def _ties(best: _Model, models: Sequence[_Model]) -> str:
    """What can't be told apart from the best, and what is wrong with it."""
    alike = _alike(models)
    tied = [one for one in models if frozenset((id(best), id(one))) in alike]
    other, parts = _counterpart(best, models), []
    if other is not None:
        same = "can't be told apart" if other in tied else "differ"
        parts.append(f"the two frameworks {same}")
    names = [one_line(one["defense"]) for one in tied if one["defense"] != best["defense"]]
    if named := list(dict.fromkeys(names)):
        shown = " and ".join("the undefended twin" if n == UNDEFENDED else n for n in named)
        shown = shown if len(named) <= _MOST_NAMED else f"{len(named)} other defenses"
        parts.append(f"{shown} can't be told apart from it")
    if any(row["trust_flags"] for row in best.rows):
        parts.append("trust checks are flagged for it")
    return "".join(f"; {part}" for part in parts)


def _alike(models: Sequence[_Model]) -> set[frozenset[int]]:
    """The pairs that `reports.paired` can't tell apart in every seed that both have."""
    return {
        frozenset((id(first), id(second)))
        for first, second in itertools.combinations(models, 2)
        if not _told_apart(first, second)
    }


def _told_apart(first: _Model, second: _Model) -> bool:
    """Whether they differ in every seed that both have; False where they can't be compared."""
    others = {row["seed"]: row["outcomes"] for row in second.rows}
    found = [
        compare(row["outcomes"], others[row["seed"]], comparisons=pairs(row["group_rows"]))
        for row in first.rows
        if row["seed"] in others and len(row["outcomes"]) == len(others[row["seed"]])
    ]
    return bool(found) and all(one.told_apart for one in found)
