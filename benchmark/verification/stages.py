"""Trust checks, security curves and transfers between frameworks, made again and compared."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from benchmark.attacks import curves
from benchmark.attacks.specification import AttackSpec, SecurityCurve
from benchmark.errors import StoreError
from benchmark.results import Record
from benchmark.results.identity import CHECKS_VERSION, PROTOCOL_VERSION, protocol_of
from benchmark.stages.curve import Curve
from benchmark.stages.transfer import TransferBetweenFrameworks, trained_weights
from benchmark.stages.trust import TrustChecks
from benchmark.trust import checks
from benchmark.verification.comparison import Comparison, allowed, one_sided, unequal
from benchmark.verification.loaded import Loaded
from benchmark.verification.repeating import SECONDS

_NUMBER = re.compile(r"\d[\d.,]*(e[+-]?\d+)?")

# Of other cells in the folder, which may have come later.
_OF_OTHERS = "undefended twin"


def check_trust(loaded: Loaded, key: str, found: Comparison) -> None:
    """The checks of a suite made again: the same status, sentence and evidence."""
    stage = f"trust/{key}"
    suites = [suite for suite in loaded.suites if loaded.job(suite, ()).trust_stage == stage]
    if not suites:
        found.differs.append("the cell has no suite of these trust checks")
        return
    record = loaded.stage(stage)
    (stage_again,) = (one for one in loaded.job(suites[0]).stages if isinstance(one, TrustChecks))
    _ = loaded.target
    again = checks.run(stage_again.subject(loaded.context))
    found.expect_all(record, {"suite": suites[0], "status": "ok", "checks_version": CHECKS_VERSION})
    if loaded.same_machine:
        found.expect_all(record, again, ("forwards", "backwards"))
    stored = record["checks"]
    names = [[one["name"] for one in checks] for checks in (stored, again["checks"])]
    found.expect("the checks", *names)
    if names[0] == names[1]:
        for one, other in zip(stored, again["checks"], strict=True):
            _check_one(one, other, found, exact=loaded.same_machine)
    found.told.append(f"{len(stored)} trust checks made again")


def _check_one(stored: Record, again: Record, found: Comparison, *, exact: bool) -> None:
    name = stored["name"]
    if name == _OF_OTHERS and stored["status"] == "not-applicable":
        if not stored["sentence"].startswith("There is no undefended twin") or stored["evidence"]:
            found.differs.append(f"check {name!r} has the sentence of another status")
        return
    found.expect(f"check {name!r}", stored["status"], again["status"])
    if stored["status"] != again["status"]:
        return
    wording = [_NUMBER.sub("#", one["sentence"]) for one in (stored, again)]
    found.expect(f"the sentence of check {name!r}", *wording)
    evidence = stored["evidence"], again["evidence"]
    found.expect(f"the evidence of check {name!r}", *(sorted(one) for one in evidence))
    if not exact or wording[0] != wording[1] or evidence[0].keys() != evidence[1].keys():
        return
    found.expect(f"the sentence of check {name!r}", stored["sentence"], again["sentence"])
    if not all(_near(one, evidence[1][part]) for part, one in evidence[0].items()):
        found.expect(f"the evidence of check {name!r}", *evidence)


def _near(one: object, other: object) -> bool:
    """Whether evidence says the same; some of it is of the size of rounding."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return bool(np.isclose(one, other, rtol=1e-3, atol=1e-5))
    return one == other


def check_curve(loaded: Loaded, key: str, found: Comparison) -> None:
    """The security curve drawn again, from a minimal-norm attack or by runs at each budget."""
    record = loaded.stage(f"curves/{key}")
    stored = _arrays(loaded, f"curves/{key}", record)
    found.expect("protocol_version", protocol_of(record), PROTOCOL_VERSION)
    again, arrays = _drawn(loaded, key, record)
    if again["status"] == "ok" == record["status"]:
        count = int(again["examples"])
        exact = loaded.same_machine or again["from"] == "minimal-norm"
        _compare(stored, arrays, found, exact=exact, count=count)
        if not exact:
            again["robust_accuracy"] = record["robust_accuracy"]  # follows from the outcomes
            attacked, right = stored["attacked"], loaded.target.clean_prediction == loaded.target.y
            held = (right & ~stored["success"])[:, attacked].mean(axis=1)
            found.expect("robust_accuracy", record["robust_accuracy"], held.tolist())
        found.told.append(f"drawn again at {len(again['eps'])} budgets")
    names = ("attack", "status", "reason", "norm", "eps", "robust_accuracy", "examples", "from")
    found.expect_all(record, again, [name for name in names if name in {**again, **record}])


def _drawn(loaded: Loaded, key: str, record: Record) -> tuple[Record, curves.Arrays]:
    """The stage that the curve's attack gives; StoreError if no suite has such a curve."""
    for suite in loaded.suites:
        job = loaded.job(suite)
        named = [spec for spec in job.attacks if spec.name == record["attack"]]
        if not named or (job.curve is not None and job.curve_key() != key):
            continue
        curve = job.curve or _told(loaded, record, named[0])
        job = dataclasses.replace(job, curve=curve, attack_timeout=SECONDS)
        (stage,) = (one for one in job.stages if isinstance(one, Curve))
        _ = loaded.target
        return stage.drawn(loaded.context)
    raise StoreError("no suite of the cell has this security curve")


def _told(loaded: Loaded, record: Record, spec: AttackSpec) -> SecurityCurve:
    """The curve of a suite file, which the record alone tells of."""
    eps = spec.threat(loaded.cell.norm, loaded.cell.eps)[1]
    examples = record.get("examples")
    return SecurityCurve(
        spec.name,
        tuple(budget / eps for budget in record.get("eps", [])[1:]),
        examples if examples is not None and examples < len(loaded.target.index) else None,
    )


def check_transfer(loaded: Loaded, key: str, found: Comparison) -> None:
    """The adversarial examples of both frameworks' models, made and tried again."""
    cell, record = loaded.cell, loaded.stage(f"transfers/{key}")
    stage = TransferBetweenFrameworks(cell, ())
    twin = stage.counterpart
    found.expect("the twin", record.get("twin"), twin.cell_id)
    if twin.framework != key:
        found.differs.append(f"it is kept as of {key}, the twin is of {twin.framework}")
    weights = trained_weights(twin, loaded.store)
    if weights is None:
        raise StoreError(f"the twin {twin.cell_id} is not in this folder, or its model is damaged")
    _ = loaded.target
    again, fools = stage.made(loaded.context, weights)
    stored = _arrays(loaded, f"transfers/{key}", record)
    _compare(stored, {"fools": fools}, found, exact=loaded.same_machine, count=fools.size)
    if not loaded.same_machine and fools.size:
        again["success"] = stored["fools"].mean(axis=2).tolist()  # follows from the outcomes
    found.expect_all(record, again, ("status", "attack", "arguments", "examples", "success"))
    found.told.append(f"{int(again['examples'])} examples made and tried again")


def _arrays(loaded: Loaded, stage: str, record: Record) -> dict[str, np.ndarray]:
    return loaded.arrays(stage) if record["files"] else {}


def _compare(
    stored: curves.Arrays, again: curves.Arrays, found: Comparison, *, exact: bool, count: int
) -> None:
    """Outcomes of a stage made again: equal, or on another machine nearly, and to no side."""
    differing = unequal(stored, again)
    if not exact:
        differing = [
            name
            for name in differing
            if stored.get(name, np.empty(0)).shape != again.get(name, np.empty(0)).shape
            or int((stored[name] != again[name]).sum()) > allowed(count)
        ]
        for name in {"success", "fools"} - set(differing):
            _check_sides(stored.get(name), again.get(name), found)
    if differing:
        found.differs.append(f"made again, {', '.join(differing)} differ")


def _check_sides(stored: np.ndarray | None, again: np.ndarray | None, found: Comparison) -> None:
    """Examples (..., n) that break more often than told are no more than chance explains.

    An example is one vote: what breaks it within one budget breaks it within a greater one.
    """
    if stored is None or again is None:
        return
    more = (again.astype(int) - stored).sum(axis=tuple(range(again.ndim - 1)))
    hidden, invented = int((more > 0).sum()), int((more < 0).sum())
    if one_sided(hidden, invented):
        found.differs.append(
            f"made again, {hidden} examples break more often than told and {invented} less often, "
            "too many for chance"
        )
