"""What a run found, in one sentence that claims no more than the data can tell."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from reports.board import TRAINING, UNDEFENDED, BoardRow
from reports.columns import known
from reports.frame import outcomes
from reports.paired import compare, pairs
from reports.ranking import leaderboard
from reports.records import Source, read
from reports.shown import threats
from reports.text import counted, listed, one_line, percent

_MOST_NAMED = 3


@dataclass(frozen=True)
class _Model:
    """A defense in one framework: a row a seed."""

    rows: list[BoardRow]

    @property
    def first(self) -> BoardRow:
        return self.rows[0]

    @property
    def has_rank(self) -> bool:
        """Whether every attack told something of every seed, so that it can be the best."""
        return not any(row.unranked_reason for row in self.rows)

    @property
    def value(self) -> float:
        """Its worst case, over its seeds where they are complete."""
        mean = self.first.seeds_mean
        return known(self.first.worst_case) if mean is None else mean

    def told(self) -> str:
        """Its worst case with interval, and what it is of."""
        bound = "" if self.first.worst_case_complete else "at most "
        low, high = self.first.worst_case_low, self.first.worst_case_high
        if self.first.seeds is not None:
            low, high = self.first.seeds_low, self.first.seeds_high
        over = f" over {self.first.seeds} seeds" if (self.first.seeds or 1) > 1 else ""
        return f"{bound}{percent(self.value)} % ({percent(low)} to {percent(high)}){over}"


def finding(out: Source, cell_ids: Collection[str], suite: str) -> str:
    """The best worst case of these cells under a suite, what it compares with, and who ties.

    Raises `StoreError` if `out` is not a results folder.
    """
    results, chosen = read(out), set(cell_ids)  # all of it: a correction counts a whole group
    rows = [
        row
        for row in leaderboard(results).rows
        if row.worst_case is not None
        and (row.suite, row.status) == (suite, "ok")
        and row.cell_id in chosen
    ]
    failed = len(chosen - {row.cell_id for row in rows})
    ending = _lacking(failed, len(chosen), "result")
    if not rows:
        return f"Nothing was measured{ending}."
    adapted = {cell.cell_id: cell.adaptation for cell in results.cells if cell.adaptation}
    models = _models(rows)
    best = max(_defended(models), key=lambda one: (one.has_rank, one.value))
    if without := sum(bool(row.unranked_reason) for row in rows):
        ending = _lacking(without, len(chosen), "rank") + ending
    told = adapted.get(best.first.cell_id)
    labels = "" if told is None else f", adapted to {told.labels_used} labels,"
    return f"{_name(best)}{labels} keeps {_kept(best, models)}{_ties(best, models)}{ending}."


def _lacking(number: int, cells: int, what: str) -> str:
    """The end of the sentence for so many of the cells without a `what`; empty for none."""
    have = "has" if number == 1 else "have"
    return f"; {number} of {counted(cells, 'cell')} {have} no {what}" if number else ""


def _models(rows: Sequence[BoardRow]) -> list[_Model]:
    found: dict[tuple[Any, ...], _Model] = {}
    for row in rows:
        found.setdefault(row.training, _Model([])).rows.append(row)
    return list(found.values())


def _defended(models: Sequence[_Model]) -> list[_Model]:
    return [one for one in models if one.first.defense != UNDEFENDED] or list(models)


def _name(model: _Model) -> str:
    undefended = model.first.defense == UNDEFENDED
    return "The undefended model" if undefended else one_line(model.first.defense)


def _counterpart(model: _Model, models: Sequence[_Model]) -> _Model | None:
    """The same defense in the other framework."""
    names = [name for name in TRAINING if name != "framework"]
    same = [
        m
        for m in models
        if m is not model and all(getattr(m.first, n) == getattr(model.first, n) for n in names)
    ]
    return same[0] if same else None


def _kept(best: _Model, models: Sequence[_Model]) -> str:
    """How much of what, in which frameworks, beside the undefended twin."""
    of = f"{one_line(best.first.dataset)} under {threats(best.first)}"
    text = f"{best.told()} of {of} in {best.first.framework}"
    if (other := _counterpart(best, models)) is not None:
        text += f" and {other.told()} in {other.first.framework}"
    if best.first.defense == UNDEFENDED:
        return text
    shown = [best, other] if other is not None else [best]
    bare = [model for model in models if model.first.defense == UNDEFENDED]
    bare.sort(key=lambda model: _shared(model, best))  # of several the one trained most alike
    twins = {model.first.framework: model for model in bare}
    beside = [(twins[one.first.framework], one) for one in shown if one.first.framework in twins]
    values = dict.fromkeys(f"{percent(_of_twin(twin, one))} %" for twin, one in beside)
    return text + (f", the undefended twin {' and '.join(values)}" if values else "")


def _of_twin(twin: _Model, model: _Model) -> float:
    """What the twin keeps in the seeds of the model, which may have fewer of them."""
    seeds = {row.seed for row in model.rows}
    both = [known(row.worst_case) for row in twin.rows if row.seed in seeds]
    same = twin.first.seeds == model.first.seeds and len(both) == len(twin.rows)
    return twin.value if same or not both else sum(both) / len(both)


def _shared(model: _Model, other: _Model) -> int:
    """In how much of what makes a training two models agree."""
    return sum(getattr(model.first, name) == getattr(other.first, name) for name in TRAINING)


def _ties(best: _Model, models: Sequence[_Model]) -> str:
    """What can't be told apart from the best, and what is wrong with it."""
    alike = _alike(models)
    tied = [one for one in models if alike.get(frozenset((id(best), id(one))))]
    other, parts = _counterpart(best, models), []
    if other is not None and frozenset((id(best), id(other))) in alike:
        same = "can't be told apart" if other in tied else "differ"
        parts.append(f"the two frameworks {same}")
    names = [one_line(one.first.defense) for one in tied if one.first.defense != best.first.defense]
    if named := list(dict.fromkeys(names)):
        shown = listed(["the undefended twin" if n == UNDEFENDED else n for n in named])
        shown = shown if len(named) <= _MOST_NAMED else f"{len(named)} other defenses"
        parts.append(f"{shown} can't be told apart from it")
    if any(row.trust_flags for row in best.rows):
        parts.append("trust checks are flagged for it")
    return "".join(f"; {part}" for part in parts)


def _alike(models: Sequence[_Model]) -> dict[frozenset[int], bool]:
    """Pairs that can be compared: whether they can't be told apart in every seed that both have."""
    found = {}
    for first, second in itertools.combinations(models, 2):
        told_apart = _told_apart(first, second)
        if told_apart is not None:
            found[frozenset((id(first), id(second)))] = not told_apart
    return found


def _told_apart(first: _Model, second: _Model) -> bool | None:
    """Whether they differ in every seed that both have; None where they can't be compared.

    A worst case without a rank is over other attacks, or over fewer.
    """
    if not (first.has_rank and second.has_rank):
        return None
    others = {row.seed: _worst_case(row) for row in second.rows}
    found = [
        compare(_worst_case(row), others[row.seed], comparisons=pairs(row.group_rows or 0))
        for row in first.rows
        if row.seed in others and row.attacked == len(others[row.seed])
    ]
    return all(one.told_apart for one in found) if found else None


def _worst_case(row: BoardRow) -> ndarray:
    return outcomes(row.worst_case_outcomes)
