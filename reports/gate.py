"""Whether results hold what a continuous integration asks of them: a verdict a model and rule."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import ConfigError, UnknownName
from reports.board import GROUP, STATUS_PREFIX, UNDEFENDED
from reports.columns import plain_rows
from reports.frame import load
from reports.left_out import HARMLESS
from reports.ranking import of_frame
from reports.records import failures
from reports.text import percent

if TYPE_CHECKING:
    from pandas import DataFrame

State = Literal["passed", "failed", "skipped"]
Row = Mapping[str, Any]

# Rule to what it asks.
RULES = {
    "finished": "No cell of the last run is still to come.",
    "whole": "Nothing of the folder is damaged, unfinished, failed or of another version.",
    "measured": "The cell ended well, and every attack of its suite has a result.",
    "trusted": "No trust check is flagged.",
    "min-worst-case": "The worst case over the suite is at least what was asked for.",
    "min-clean": "The clean accuracy is at least what was asked for.",
    "max-drop": "The worst case is not further below that of the base than what was allowed.",
}

# What a row and that of the base agree in; its parameters, length and weights may have changed.
_SAME = (*GROUP, "defense", "framework", "seed")
_ROUNDING = 1e-9  # what float arithmetic may add to a difference of two shares


@dataclass(frozen=True)
class Limits:
    """What is asked for, as shares; None for nothing.

    min_worst_case, min_clean: of every model. max_drop: how far a worst case may be below that of
    the base. allow_flags: whether flagged trust checks are let pass; that none was made is not.
    """

    min_worst_case: float | None = None
    min_clean: float | None = None
    max_drop: float | None = None
    allow_flags: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of a rule for a cell under a suite; `text` says it with its numbers."""

    rule: str
    cell_id: str
    suite: str
    state: State
    text: str


def of_folders(
    out: Path | str, against: Path | str | None, limits: Limits, defenses: Collection[str] = ()
) -> list[Verdict]:
    """The verdicts on a results folder, beside those of another one; see `verdicts`."""
    frame, before = load(out), None if against is None else load(against)
    left_out = list(frame.attrs["left_out"])
    if before is not None:
        left_out += [{**one, "path": f"base {one['path']}"} for one in before.attrs["left_out"]]
    return verdicts(
        of_frame(frame).frame(),
        limits,
        base=None if before is None else of_frame(before).frame(),
        defenses=defenses,
        left_out=left_out,
        failed=failures(out),
    )


def verdicts(
    board: DataFrame,
    limits: Limits,
    *,
    base: DataFrame | None = None,
    defenses: Collection[str] = (),
    left_out: Sequence[Mapping[str, str]] = (),
    failed: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> list[Verdict]:
    """The verdicts on the rows of a leaderboard, in its order.

    Args:
        board: of `reports.leaderboard`.
        limits: what is asked for.
        base: the leaderboard to compare with. A row of it that `board` has none for has failed; a
            row of `board` that is new is skipped.
        defenses: those that are looked at; empty for all but the undefended twin.
        left_out: "path" and "reason" of what can't be read of either: each has failed, since nobody
            knows what it would have said.
        failed: cell to its stages that failed, beside attacks, and why.

    Raises:
        ConfigError: there is nothing to look at.
        UnknownName: neither board has a defense that is asked for.
    """
    found = [_unread(one) for one in left_out if one["reason"] not in HARMLESS]
    boards = [board] if base is None else [board, base]
    _check_names(defenses, boards)
    rows, *more = (_rows(one, defenses) for one in boards)
    before = [row for one in more for row in one]
    found += [one for cell_id in _ids(rows) for one in _failed(cell_id, failed.get(cell_id, {}))]
    if not rows and not before:
        if not found:
            told = "there is no defended model to check; name others with --defense none"
            raise ConfigError(told)
        return found
    old: dict[tuple[Any, ...], list[Row]] = {}
    for row in before:
        old.setdefault(_identity(row), []).append(row)
    found += [one for row in rows for one in _of_row(row, limits, old.get(_identity(row)))]
    here = {_identity(row) for row in rows}
    gone = [row for row in before if _identity(row) not in here]
    found += [_verdict(row, "max-drop", False, "the base has it, and it is gone") for row in gone]
    return found


def _unread(one: Mapping[str, str]) -> Verdict:
    """What is left out, as a failure of its cell."""
    cell_id = "".join(PurePosixPath(one["path"]).parts[1:2])
    return Verdict("whole", cell_id, "", "failed", f"{one['path']}: {one['reason']}")


def _failed(cell_id: str, stages: Mapping[str, str]) -> Iterator[Verdict]:
    for stage, reason in stages.items():
        yield Verdict("whole", cell_id, "", "failed", f"{stage} failed: {reason}")


def _ids(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["cell_id"] for row in rows))


def _check_names(defenses: Collection[str], boards: Sequence[DataFrame]) -> None:
    names = sorted({name for board in boards for name in board["defense"]})
    for name in defenses:
        if name not in names:
            raise UnknownName("defense", name, names)


def _rows(board: DataFrame, defenses: Collection[str]) -> list[Row]:
    """The rows of these defenses; of all but the undefended twin where none is named."""
    chosen = defenses or set(board["defense"]) - {UNDEFENDED}
    return [row for row in plain_rows(board) if row["defense"] in chosen]


def _identity(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _SAME)


def _of_row(row: Row, limits: Limits, before: Sequence[Row] | None) -> Iterator[Verdict]:
    without = _without_result(row)
    yield _verdict(row, "measured", not without, without or "every attack has a result")
    if not row["attacked"]:
        return
    flags = row["trust_flags"]
    if flags is None:
        yield _verdict(row, "trusted", False, "no check was made")
    elif flags and limits.allow_flags:
        yield Verdict("trusted", row["cell_id"], row["suite"], "skipped", f"let pass: {flags}")
    else:
        told = f"flagged: {flags}" if flags else "no trust check is flagged"
        if few := row["trust_too_few"]:
            told += f"; too few examples for: {few}"
        yield _verdict(row, "trusted", not flags, told)
    if limits.min_worst_case is not None:
        yield _at_least(row, limits.min_worst_case)
    if limits.min_clean is not None:
        clean, least = row["clean_accuracy"], limits.min_clean
        text = f"clean accuracy {_share(clean)}, where {_share(least)} is asked for"
        yield _verdict(row, "min-clean", clean >= least - _ROUNDING, text)
    if limits.max_drop is not None:
        yield _dropped(row, limits.max_drop, before)


def _verdict(row: Row, rule: str, holds: bool, text: str) -> Verdict:
    return Verdict(rule, row["cell_id"], row["suite"], "passed" if holds else "failed", text)


def _without_result(row: Row) -> str:
    """What is missing of a row, in words; empty where nothing is."""
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason'] or 'no reason given'}"
    failed = [
        name.removeprefix(STATUS_PREFIX)
        for name, status in row.items()
        if name.startswith(STATUS_PREFIX) and status in ("failed", "missing")
    ]
    if failed:
        return f"without a result: {', '.join(failed)}"
    return "" if row["attacked"] else "no attack has a result"


def _robust(row: Row) -> tuple[float, str, bool]:
    """The worst case, in words, and whether it is exact.

    Where attacks ran on some of the examples, it is that of the examples that all ran on.
    """
    if row["worst_case_complete"]:
        return row["worst_case"], _share(row["worst_case"]), True
    if common := row["common_examples"]:
        share = row["common_worst_case"]
        return share, f"{_share(share)} of the {common:.0f} examples that all attacks ran on", True
    return row["worst_case"], f"at most {_share(row['worst_case'])} ({row['bound_reason']})", False


def _at_least(row: Row, least: float) -> Verdict:
    share, told, exact = _robust(row)
    text = f"worst case {told}, where {_share(least)} is asked for"
    return _verdict(row, "min-worst-case", exact and share >= least - _ROUNDING, text)


def _dropped(row: Row, most: float, before: Sequence[Row] | None) -> Verdict:
    attacked = [one for one in before or () if one["attacked"]]
    if not attacked:
        return Verdict("max-drop", row["cell_id"], row["suite"], "skipped", "the base has no such")
    old = max(attacked, key=lambda one: _robust(one)[0])
    (share, told, exact), (was, was_told, was_exact) = _robust(row), _robust(old)
    text = f"worst case {told}, in the base {was_told}; it may drop by {percent(most)} points"
    same = row["common_examples"] == old["common_examples"] and _attacks(row) == _attacks(old)
    same = same and row["attacks_digest"] == old["attacks_digest"]
    if not same:
        text += "; these are of other attacks, arguments or examples, which can't be compared"
    holds = exact and was_exact and same and was - share <= most + _ROUNDING
    return _verdict(row, "max-drop", holds, text)


def _attacks(row: Row) -> set[str]:
    """The attacks that a row had to stand."""
    return {
        name
        for name, status in row.items()
        if name.startswith(STATUS_PREFIX) and status not in (None, "missing")
    }


def _share(value: float) -> str:
    return f"{percent(value)} %"
