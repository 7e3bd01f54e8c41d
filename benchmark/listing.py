"""What `bench list` and `bench show` have to tell, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmark.errors import UnknownName
from benchmark.results import Record, Store
from benchmark.text import duration
from reports.identifiers import find_cell as find_cell


def descriptions(what: str) -> dict[str, str]:
    """Name to one line, of everything of one kind: "defenses", "attacks" and so on.

    Of a defense by its own name, the parameters.
    """
    import defenses

    if what in defenses.names():
        return defenses.parameter_help(what)
    tables: dict[str, Callable[[], dict[str, str]]] = {
        "defenses": _defenses,
        "attacks": _attacks,
        "suites": _suites,
        "datasets": _datasets,
        "models": _models,
        "families": _families,
    }
    if what not in tables:
        raise UnknownName("list", what, tables)
    return tables[what]()


def cell_details(store: Store, cell_id: str) -> Iterator[str]:
    """Everything worth reading about a cell, line by line."""
    record = store.read_cell(cell_id)
    yield cell_id
    yield f"folder: {store.cell_folder(cell_id)}"
    if record is None:
        yield "status: unfinished"
    else:
        yield f"status: {record['status']}" + (f": {record['reason']}" if record["reason"] else "")
        yield from _flat(record["config"])
        for key in ("started", "seconds", "gradient_evaluations", "device", "threads"):
            yield f"{key}: {record.get(key)}"
        yield from _flat({"versions": record.get("versions"), "git": record.get("git")})
    for stage in ("training", "adaptation"):
        if (done := store.read_stage(cell_id, stage)) is not None:
            yield f"{stage}: {duration(done['seconds'])}, {_cost(done)}"
            yield from (f"{stage}: {notice}" for notice in done.get("notices", []))
    for key in store.attack_keys(cell_id):
        if (done := store.read_stage(cell_id, f"attacks/{key}")) is not None:
            yield f"attack {key}: {_attack(done)}"
    for key in store.stage_keys(cell_id, "trust"):
        if (done := store.read_stage(cell_id, f"trust/{key}")) is not None:
            yield from _trust(done)
    yield from _adaptations(store, cell_id)


def _adaptations(store: Store, cell_id: str) -> Iterator[str]:
    """A line for the tuning, and one for each attack family, with its largest support."""
    for key in store.stage_keys(cell_id, "adaptations"):
        done = store.read_stage(cell_id, f"adaptations/{key}")
        if done is None:
            continue
        if "role" not in done:
            yield f"adaptation {key}: rate {done['rate']:g}, {done['tuned_steps']} steps"
        elif done["status"] != "ok":
            yield f"adaptation {key}: {done['status']}: {done['reason']}"
        else:
            after = done["accuracy"][-1][done["steps"].index(done["tuned_steps"])]
            yield (
                f"adaptation {key}: {done['role']}, {done['accuracy'][-1][0]:.1%} before, "
                f"{after:.1%} after with {done['labels_used']} labels, area "
                f"{done['area']['mean']:.1%}, {done['episodes']} episodes, {_cost(done)}"
            )


def _attack(record: Record) -> str:
    if record["status"] != "ok":
        return f"{record['status']}: {record['reason']}"
    eps = "" if record["eps"] is None else f" eps {record['eps']:g}"
    return (
        f"clean {record['clean_accuracy']:.1%}, robust {record['robust_accuracy']:.1%} "
        f"of {record['examples']} examples, {record['norm']}{eps}, {duration(record['seconds'])}"
    )


def _trust(record: Record) -> Iterator[str]:
    """How many checks passed, and the flagged ones with their sentences."""
    checks = record["checks"]
    passed = sum(check["status"] == "passed" for check in checks)
    applied = sum(check["status"] != "not-applicable" for check in checks)
    yield f"trust checks under {record['suite']}: {passed} of {applied} passed"
    for check in checks:
        if check["status"] == "flagged":
            yield f"flagged: {check['name']}: {check['sentence']}"


def _cost(record: Record) -> str:
    return f"{record['cost']['gradient_evaluations']:,.0f} gradient evaluations"


def _flat(record: Record, prefix: str = "") -> Iterator[str]:
    for key, value in record.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {value}"


def _defenses() -> dict[str, str]:
    import defenses
    from defenses import wrappers

    trained = {name: defenses.describe(name) for name in defenses.names()}
    attached = {f"+{name}": wrappers.describe(name) for name in wrappers.WRAPPERS}
    return trained | attached


def _attacks() -> dict[str, str]:
    from benchmark.attacks.left_out import LEFT_OUT
    from benchmark.attacks.table import ATTACKS

    held = {
        name: f"{entry.description} ({', '.join(entry.norms)}; {', '.join(entry.families)}; "
        f"{' and '.join(entry.frameworks)})"
        for name, entry in ATTACKS.items()
    }
    return held | {name: f"left out: {reason}" for name, reason in LEFT_OUT.items()}


def _suites() -> dict[str, str]:
    from benchmark.attacks.suites import list_suites

    return list_suites()


def _datasets() -> dict[str, str]:
    from benchmark.datasets import DESCRIPTIONS

    return DESCRIPTIONS


def _models() -> dict[str, str]:
    from benchmark import models

    return {name: models.describe(name) for name in models.names()}


def _families() -> dict[str, str]:
    from benchmark.adaptation.families import FAMILIES, role

    return {name: f"{one.description} ({role(name, 'linf')})" for name, one in FAMILIES.items()}
