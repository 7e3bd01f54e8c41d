"""An attack run again, as it was recorded: with its arguments and its seed.

On a machine of the same kind (device, threads, processor and versions, as the record has them)
everything has to be equal to the last bit. On another one an attack may go another way, and of
very many examples only some are attacked again: then outcomes may differ as `comparison.allowed`
says, but not more often for the model than against it.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping

import numpy as np

from benchmark.attacks.running import attacked_rows, describe, run_attack
from benchmark.attacks.specification import AttackSpec
from benchmark.attacks.target import Target
from benchmark.estimators.passes import CHUNK, asking
from benchmark.results import Record
from benchmark.verification.comparison import (
    OTHER_PASSES,
    Comparison,
    allowed,
    one_sided,
    same,
    unequal,
)
from benchmark.verification.loaded import Loaded

# Examples that an attack is run on again; all of them where there are no more. Attacks that take
# one example after the other are slow.
MOST, MOST_OF_SLOW = 500, 50
SECONDS = 600.0  # that it may take

_OUTCOMES = ("success", "clean_correct")
_COUNTS = ("clean_accuracy", "robust_accuracy", "violations", "abstained", "silent")
_PASSES = ("forwards", "backwards")
_CIRCUMSTANCES = {"seconds", "files", "identity", "device"}

Arrays = Mapping[str, np.ndarray]


def static(loaded: Loaded, key: str, spec: AttackSpec) -> Record:
    """What an attack's record says before it has run."""
    cell = loaded.cell
    norm, eps = spec.threat(cell.norm, cell.eps)
    examples = int(attacked_rows(spec, loaded.target).sum())
    return {"key": key, **describe(spec, examples, norm, float(eps))}


def repeat(
    loaded: Loaded, key: str, spec: AttackSpec, record: Record, stored: Arrays, found: Comparison
) -> None:
    """Runs the attack of this key again and compares what it leaves."""
    rows = _rows(spec, loaded.target)
    whole = len(rows) == len(loaded.target.index)
    target = loaded.target if whole else loaded.target.part(rows)
    with asking(record.get("batch_size") or CHUNK):
        again, arrays = run_attack(
            spec if whole else dataclasses.replace(spec, examples=None),
            target,
            key=key,
            norm=loaded.cell.norm,
            eps=loaded.cell.eps,
            seed=loaded.cell.seed,
            timeout=SECONDS,
        )
    if again["status"] == "failed" and again["reason"].startswith("AttackTimeoutError"):
        found.unchecked.append(f"attacking again was given up after {SECONDS:g} s")
    elif again["status"] != record["status"]:
        found.differs.append(
            f"it is told as {_state(record)}; attacked again it is {_state(again)}"
        )
    elif again["status"] == "not-applicable":
        found.expect("the reason", record.get("reason"), again["reason"])
        found.told.append(_state(record))
    elif again["status"] == "failed":
        found.told.append(f"it fails again ({again['reason']}), so it claims nothing")
    elif whole and loaded.same_machine:
        _compare_exactly(record, again, stored, arrays, found)
    else:
        there = {name: stored[name][rows] for name in _OUTCOMES}
        _compare_roughly(there, arrays, found)
        if whole:
            _compare_counts(record, again, found)


def unpredictable() -> np.random.Generator:
    """Of draws that nobody who writes results can know."""
    return np.random.default_rng(secrets.randbits(64))


def _rows(spec: AttackSpec, target: Target) -> np.ndarray:
    """Those that are attacked again; whichever they are, no result can be made to fit them."""
    attacked = np.flatnonzero(attacked_rows(spec, target))
    most = MOST_OF_SLOW if spec.entry.rows == "one" else MOST
    if len(attacked) <= most or spec.entry.rows == "all":
        return np.arange(len(target.index))
    return np.sort(unpredictable().choice(attacked, most, replace=False))


def _compare_exactly(
    record: Record, again: Record, stored: Arrays, arrays: Arrays, found: Comparison
) -> None:
    names = (record.keys() | again.keys()) - _CIRCUMSTANCES
    differing = [name for name in sorted(names) if not same(record.get(name), again.get(name))]
    differing += unequal(stored, arrays)
    if differing:
        broken = (
            f"it broke {stored['success'].sum()} examples, and breaks {arrays['success'].sum()}"
        )
        found.differs.append(f"attacked again, {', '.join(differing)} differ ({broken})")
    found.told.append(f"attacked again, all of {len(stored['success'])} outcomes are equal")


def _compare_roughly(stored: Arrays, arrays: Arrays, found: Comparison) -> None:
    count = len(stored["success"])
    by_name = {name: stored[name] != arrays[name] for name in _OUTCOMES}
    other = int(by_name["success"].sum())
    told = (
        f"attacked again on {count} examples, {other} outcomes differ "
        f"({stored['success'].sum()} were broken, {arrays['success'].sum()} are)"
    )
    if other > allowed(count):
        found.differs.append(f"{told}, and {allowed(count)} may")
    held = int((by_name["success"] & arrays["success"]).sum())
    if one_sided(held, other - held):
        found.differs.append(f"{told}: {held} that are told to hold break, too many for chance")
    if (clean := int(by_name["clean_correct"].sum())) > allowed(count):
        found.differs.append(f"{clean} of {count} clean examples are not as right as told")
    found.told.append(f"{told}; {allowed(count)} may, here")


def _compare_counts(record: Record, again: Record, found: Comparison) -> None:
    """Numbers of a whole run on another machine: nearly the same."""
    room = allowed(int(again["examples"]))
    for name in _COUNTS:
        stored, now = _numbers(record[name]), _numbers(again[name])
        scale = again["examples"] if name.endswith("accuracy") else 1
        if stored.keys() != now.keys() or any(
            abs(stored[key] - now[key]) * scale > room + 1e-9 for key in now
        ):
            found.differs.append(f"{name} is told as {record[name]}, again it is {again[name]}")
    for name in _PASSES:
        if abs(record[name] - again[name]) > OTHER_PASSES * max(again[name], 1):
            found.differs.append(f"{name} are told as {record[name]}, again it takes {again[name]}")


def _numbers(value: float | Mapping[str, float]) -> dict[str, float]:
    values = value if isinstance(value, Mapping) else {"": value}
    return {name: float(number) for name, number in values.items()}


def _state(record: Record) -> str:
    status = str(record["status"])
    return f"{status} ({record['reason']})" if record.get("reason") else status
