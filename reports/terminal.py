"""The leaderboard as text cells; whoever prints them must not read markup into them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from reports import shown
from reports.board import BoardRow
from reports.ranking import Leaderboard, leaderboard
from reports.records import Source, read
from reports.rows import variants
from reports.seeds import over_seeds
from reports.shown import NONE
from reports.text import amount, budget, duration, norm, one_line, percent

_TEXT_COLUMNS = ("group", "defense", "framework", "suite", "attack", "trust", "extra data")
_COMMON = "common %"
_BALANCED = "balanced %"
_CORRUPTED = "corrupted %"
_CERTIFIED = "certified %"
_EXTRA = "extra data"
# Columns that are shown where a row has a value.
_BESIDE = {_CORRUPTED: shown.corrupted, _CERTIFIED: shown.certified, _EXTRA: shown.extra_data}
_MOST_NAMED = 3  # cells of one reason


class TerminalTable(NamedTuple):
    """Heads and rows of equal length, and lines to stand below. Control characters are gone."""

    columns: list[str]
    rows: list[list[str]]
    notes: list[str]

    @property
    def right_aligned(self) -> list[bool]:
        """For each column, whether it holds numbers."""
        return [name not in _TEXT_COLUMNS for name in self.columns]


def terminal_table(out: Source, cell_ids: Collection[str] | None = None) -> TerminalTable:
    """The leaderboard of all cells, or of those given, in ranking order.

    Ranks are within the group of comparable rows over all stored cells. The group has a column
    only where there are several. Raises `StoreError` if `out` is not a results folder.
    """
    return table_of(leaderboard(read(out)), cell_ids)


def table_of(board: Leaderboard, cell_ids: Collection[str] | None = None) -> TerminalTable:
    """The same of a leaderboard that is there already."""
    entries = [row for row in board.rows if cell_ids is None or row.cell_id in cell_ids]
    attacks = [n for n in board.attacks if any(shown.attack(e, n) != NONE for e in entries)]
    partly = any(shown.common(entry) != NONE for entry in entries)
    uneven = any(entry.clean_balanced is not None for entry in entries)
    beside = [name for name, text in _BESIDE.items() if any(text(e) != NONE for e in entries)]
    names = _names(entries)
    columns = ["rank", "defense", "framework", "seed", "clean %", *attacks, "worst case %"]
    columns += [_BALANCED] if uneven else []
    columns += [
        "95 % interval",
        *([_COMMON] if partly else []),
        *beside,
    ]
    columns += ["labels", "trust"]
    columns += ["cost GE", "training"]
    rows = [_row(entry, attacks, beside, partly=partly, uneven=uneven) for entry in entries]
    if len({entry.group for entry in entries if entry.status == "ok"}) > 1:
        columns = ["group", *columns]
        rows = [[names[entry.group], *row] for entry, row in zip(entries, rows, strict=True)]
    else:
        names = {}
    notes = [*_endings(entries), *_over_seeds(entries, names)]
    notes += [f"left out: {one_line(x['path'])}: {one_line(x['reason'])}" for x in board.left_out]
    return TerminalTable([one_line(name) for name in columns], rows, notes)


def _endings(entries: list[BoardRow]) -> Iterator[str]:
    """Failed cells, flagged ones, rows without rank, and why a worst case is only a bound."""
    for entry in entries:
        cell_id = one_line(entry.cell_id)
        if entry.status != "ok":
            reason = one_line(entry.reason) or "no reason given"
            yield f"{cell_id}: {entry.status}: {reason}"
        elif reason := shown.why_unranked(entry):
            yield f"{cell_id}: no rank: {one_line(reason)}"
        if entry.published_accuracy is not None:
            source = f" ({one_line(entry.published_source)})" if entry.published_source else ""
            yield (
                f"{cell_id}: published {percent(entry.published_accuracy)} %{source}, here "
                f"{shown.worst_case(entry)} %"
            )
        if entry.trust_flags:
            flags = one_line(entry.trust_flags)
            yield f"{cell_id}: trust checks are flagged, look there: {flags}"
        if entry.trust_too_few:
            few = one_line(entry.trust_too_few)
            yield f"{cell_id}: too few examples for these trust checks: {few}"
    yield from _bounds([entry for entry in entries if entry.upper_bound])
    if any(entry.clean_balanced is not None for entry in entries):
        yield f"{_BALANCED}: clean and worst case as means over the classes, whose sizes differ"
    if any(shown.common(entry) != NONE for entry in entries):
        yield f"{_COMMON}: on the examples that every attack was run on, with its 95 % interval"
    if any(shown.corrupted(entry) != NONE for entry in entries):
        yield f"{_CORRUPTED}: mean over 15 common corruptions, with its 95 % interval; no attack"
    if any(shown.certified(entry) != NONE for entry in entries):
        yield (
            f"{_CERTIFIED}: right with an L2 certificate that covers the threat, of the model "
            "behind Gaussian noise, with its 95 % interval"
        )


def _bounds(bounded: list[BoardRow]) -> Iterator[str]:
    """Why worst cases are only upper bounds: a line for each reason."""
    reasons: dict[str, list[BoardRow]] = {}
    for entry in bounded:
        reasons.setdefault(entry.bound_reason or "", []).append(entry)
    for reason, mine in reasons.items():
        named = ", ".join(one_line(entry.cell_id) for entry in mine[:_MOST_NAMED])
        more = f" and {len(mine) - _MOST_NAMED} more" if len(mine) > _MOST_NAMED else ""
        rank = "" if any(e.rank is not None for e in mine) else ", and has no rank"
        yield f"≤: the worst case is only an upper bound{rank}: {one_line(reason)} ({named}{more})"


def _over_seeds(entries: list[BoardRow], names: Mapping[tuple[Any, ...], str]) -> Iterator[str]:
    """A line for each training of several seeds, with the name of its group where it has one."""
    groups: dict[tuple[Any, ...], list[BoardRow]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    for group, members in groups.items():
        prefix = f"{names[group]}: " if group in names else ""
        for one in over_seeds(members, variants(members)):
            yield (
                f"{prefix}{one_line(one.label)}: worst case {'≤ ' if one.bounded else ''}"
                f"{percent(one.mean)} % over {one.seeds} "
                f"seeds (95 % interval {percent(one.low)}–{percent(one.high)}; "
                f"{_spread(one.between)} by seed, {_spread(one.within)} by test examples)"
            )


def _spread(deviation: float | None) -> str:
    """A standard deviation; an estimate of 0 only says that chance is as large."""
    return f"± {percent(deviation)}" if deviation else "none that can be told"


def _names(entries: Collection[BoardRow]) -> dict[tuple[Any, ...], str]:
    """A name for each group; with examples and data where others are called the same."""
    groups = {entry.group: entry for entry in entries}
    names = {group: _group(entry) for group, entry in groups.items()}
    used = Counter(names.values())
    for group, entry in groups.items():
        if used[names[group]] > 1:
            data = one_line(entry.dataset_fingerprint)[:8]
            names[group] += f", {entry.examples} examples of data {data}"
    return names


def _group(entry: BoardRow) -> str:
    threat = f"{norm(entry.norm)} {budget(entry.eps)}"
    of_features = [f"({entry.features})"] if entry.features else []
    return one_line(" ".join((entry.dataset, entry.model, threat, *of_features, entry.suite)))


def _row(
    entry: BoardRow, attacks: list[str], beside: list[str], *, partly: bool, uneven: bool
) -> list[str]:
    return [
        shown.rank(entry),
        one_line(entry.defense),
        one_line(entry.framework),
        str(entry.seed),
        percent(entry.clean_accuracy),
        *(shown.attack(entry, attack) for attack in attacks),
        shown.worst_case(entry) if entry.status == "ok" else entry.status,
        *([shown.balanced(entry)] if uneven else []),
        shown.interval(entry),
        *([shown.common(entry)] if partly else []),
        *(_BESIDE[name](entry) for name in beside),
        shown.labels(entry),
        shown.trust(entry),
        amount(entry.training_gradient_evaluations),
        duration(entry.training_seconds),
    ]
