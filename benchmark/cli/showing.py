"""What `bench show` has to tell of a cell. Stored records are read through the reports' schema."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from benchmark.results import Record, Store, fits
from benchmark.text import duration
from reports.adaptations import FamilyRecord, Share
from reports.left_out import first_line
from reports.schema import Amount, AttackRecord, CellRecord, Count
from reports.trust import Trust

Schema = TypeVar("Schema", bound=BaseModel)


class _Shown(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Cost(_Shown):
    gradient_evaluations: Amount


class _Stage(_Shown):
    """training.json or adaptation.json"""

    seconds: Amount
    cost: _Cost
    notices: list[str] = []


class _Attack(AttackRecord):
    """attacks/<key>.json of an attack that ran"""

    seconds: Amount
    clean_accuracy: Share
    robust_accuracy: Share
    examples: Count


class _Area(_Shown):
    mean: Share


class _Family(FamilyRecord):
    """adaptations/<family>-<hash>.json; without numbers where the status is not "ok"."""

    area: _Area | None = None
    cost: _Cost | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.status == "ok" and (self.area is None or self.cost is None):
            raise ValueError("area and cost must be there")
        return self


class _Tuning(_Shown):
    """adaptations/tuning-<hash>.json"""

    rate: FiniteFloat
    tuned_steps: Annotated[int, Field(ge=0, le=2**62)]


def cell_details(store: Store, cell_id: str) -> Iterator[str]:
    """Everything worth reading about a cell, line by line; what can't be read is told so."""
    yield cell_id
    yield f"folder: {store.cell_folder(cell_id)}"
    stored = store.read_cell(cell_id)
    record: CellRecord | None = None
    if stored is None:
        damaged = (store.cell_folder(cell_id) / "cell.json").exists()
        yield "status: " + ("unknown: cell.json is damaged or changed" if damaged else "unfinished")
    elif isinstance(checked := _checked(CellRecord, stored), str):
        yield f"status: unknown: cell.json {checked}"
    else:
        record = checked
        yield from _about(cell_id, stored, record)
    for stage in ("training", "adaptation"):
        for told in _read(store, cell_id, stage, _stage):
            yield f"{stage}: {told}"
    for key in store.attack_keys(cell_id):
        for told in _read(store, cell_id, f"attacks/{key}", _attack):
            yield f"attack {key}: {told}"
    yield from _trusts(store, cell_id, record.suites if record else {})
    for key in store.stage_keys(cell_id, "adaptations"):
        for told in _read(store, cell_id, f"adaptations/{key}", _adaptation):
            yield f"adaptation {key}: {told}"


def _about(cell_id: str, stored: Record, record: CellRecord) -> Iterator[str]:
    """What cell.json says."""
    yield f"status: {record.status}" + (f": {record.reason}" if record.reason else "")
    if not fits(cell_id, stored["config"]):
        yield "changed: its configuration is that of another cell"
    yield from _flat(stored["config"])
    for key in ("started", "seconds", "gradient_evaluations", "device", "threads"):
        yield f"{key}: {stored.get(key)}"
    yield from _flat({"versions": stored.get("versions"), "git": stored.get("git")})


def _read(
    store: Store, cell_id: str, stage: str, tell: Callable[[Record], Iterator[str]]
) -> Iterator[str]:
    """What is told of a stage, or that it can't be read; nothing where there is none."""
    record = store.read_stage(cell_id, stage)
    if record is not None:
        yield from tell(record)
    elif (store.cell_folder(cell_id) / f"{stage}.json").exists():
        yield "it, or a file of it, is damaged or changed"


def _stage(record: Record) -> Iterator[str]:
    """A training or an adaptation."""
    done = _checked(_Stage, record)
    if isinstance(done, str):
        yield done
        return
    yield f"{duration(done.seconds)}, {_cost(done.cost)}"
    yield from done.notices


def _attack(record: Record) -> Iterator[str]:
    done = _checked(_Attack if record.get("status") == "ok" else AttackRecord, record)
    if isinstance(done, str):
        yield done
        return
    if not isinstance(done, _Attack):
        yield f"{done.status}: {done.reason}"
        return
    eps = "" if done.eps is None else f" eps {done.eps:g}"
    yield (
        f"clean {done.clean_accuracy:.1%}, robust {done.robust_accuracy:.1%} "
        f"of {done.examples} examples, {done.norm}{eps}, {duration(done.seconds)}"
        + (f", made on {done.made_on}" if done.made_on else "")
    )


def _trusts(store: Store, cell_id: str, suites: Mapping[str, list[str]]) -> Iterator[str]:
    """The trust checks of each suite; a suite without any is named."""
    missing = set(suites)
    for key in store.stage_keys(cell_id, "trust"):
        suite = str((store.read_stage(cell_id, f"trust/{key}") or {}).get("suite"))
        without = list(_without_result(store, cell_id, suites.get(suite, [])))
        for told in _read(store, cell_id, f"trust/{key}", functools.partial(_trust, without)):
            yield (
                told if told.startswith(("trust checks ", "flagged: ")) else f"trust {key}: {told}"
            )
        missing.discard(suite)
    for suite in sorted(missing):
        yield f"trust checks under {suite}: none are stored, so nothing speaks for its numbers"


def _without_result(store: Store, cell_id: str, keys: list[str]) -> Iterator[str]:
    """The attacks that failed or are missing, with the reason."""
    for key in keys:
        done = store.read_stage(cell_id, f"attacks/{key}")
        if done is None:
            yield f"{key} is missing or damaged"
        elif done.get("status") == "failed":
            yield f"{done.get('name', key)} failed: {done.get('reason')}"


def _trust(without: list[str], record: Record) -> Iterator[str]:
    """How many checks passed, and the flagged ones with their sentences.

    Attacks `without` a result are one more that didn't: the stored checks look at those that ran.
    """
    done = _checked(Trust, record)
    if isinstance(done, str):
        yield done
        return
    passed = sum(check.status == "passed" for check in done.checks)
    applied = sum(check.status != "not-applicable" for check in done.checks) + bool(without)
    yield f"trust checks under {done.suite}: {passed} of {applied} passed"
    yield from (f"flagged: {check.name}: {check.sentence}" for check in done.flags)
    if without:
        yield f"flagged: every attack of the suite ran: {'; '.join(without)}"


def _adaptation(record: Record) -> Iterator[str]:
    """An attack family with its largest support, or the tuning."""
    done = _checked(_Family if "role" in record else _Tuning, record)
    if isinstance(done, _Tuning):
        yield f"rate {done.rate:g}, {done.tuned_steps} steps"
    elif isinstance(done, _Family):
        yield from _family(done)
    else:
        yield str(done)


def _family(done: _Family) -> Iterator[str]:
    if done.status != "ok" or done.area is None or done.cost is None:
        yield f"{done.status}: {done.reason}"
        return
    after = done.accuracy[-1][done.steps.index(done.tuned_steps)]
    yield (
        f"{done.role}, {done.accuracy[-1][0]:.1%} before, {after:.1%} after with "
        f"{done.labels_used} labels, area {done.area.mean:.1%}, {done.episodes} episodes, "
        f"{_cost(done.cost)}"
    )


def _checked(schema: type[Schema], record: Record) -> Schema | str:
    """A stored record as its schema has it, or what it has wrong."""
    try:
        return schema.model_validate(record)
    except ValidationError as error:
        return first_line(error)


def _cost(cost: _Cost) -> str:
    return f"{cost.gradient_evaluations:,.0f} gradient evaluations"


def _flat(record: Record) -> Iterator[str]:
    """A line a value, named by the way to it; however deep, for the depth is a stranger's."""
    waiting = [(key, value) for key, value in record.items()]
    while waiting:
        name, value = waiting.pop(0)
        if isinstance(value, dict) and value:
            waiting[:0] = [(f"{name}.{key}", inner) for key, inner in value.items()]
        else:
            yield f"{name}: {value}"
