"""A cell's own record: what its suites name, what its training took, and what is stored of it."""

from __future__ import annotations

import numpy as np

from benchmark.attacks.encoding import encoded
from benchmark.errors import BenchError
from benchmark.examples import support_examples
from benchmark.results import Record
from benchmark.stages.corruptions import PATH as CORRUPTIONS
from benchmark.verification.comparison import Comparison
from benchmark.verification.loaded import Loaded, why_not
from defenses.cost import Cost
from defenses.defense import Defense
from defenses.validation import accuracy, robust_accuracies, validation_cost, watched_examples

# A training whose updates differ in cost by what they draw is told its expected cost to so much.
EXPECTED_COST = 0.1
# Weights that were adapted again on another machine, and accuracies of them.
WEIGHTS, ACCURACY = 1e-3, 0.02


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """The cell but for its attacks' own claims; `key` is of no use here."""
    if loaded.record["status"] != "ok":
        _check_failed(loaded, found)
        return
    found.expect("the reason", loaded.record.get("reason"), "")
    if not any(loaded.suites.values()):
        found.differs.append("it ended well, but no suite names an attack")
    for suite, keys in loaded.suites.items():
        _check_suite(loaded, suite, keys, found)
    if "classes" in loaded.record:
        found.expect("classes", loaded.record["classes"], list(loaded.data.class_names))
    if "data" in loaded.record:
        found.expect("data", loaded.record["data"], loaded.data.record())
    spent = None
    if loaded.cell.source is None:
        spent = _check_training(loaded, found)
    else:
        _check_given(loaded, found)
    found.expect("gradient_evaluations", loaded.record.get("gradient_evaluations"), spent)
    found.told.append("its configuration, suites, costs and stages fit together")


def _check_failed(loaded: Loaded, found: Comparison) -> None:
    """A cell that did not end well lacks something; its attacks make claims of their own."""
    lacking = Comparison()
    for suite, keys in loaded.suites.items():
        _check_suite(loaded, suite, keys, lacking)
    stages = ["given" if loaded.cell.source else "training"]
    there = all(loaded.found(stage) is not None for stage in stages)
    if there and any(loaded.suites.values()) and not lacking.differs:
        found.unchecked.append(f"it is told as {loaded.record['status']}, though all is stored")
    found.told.append(f"it is told as {loaded.record['status']}")


def _check_suite(loaded: Loaded, suite: str, keys: list[str], found: Comparison) -> None:
    """Whether the suite's attacks are all there, and its checks and its curve with them."""
    records = {key: loaded.found(f"attacks/{key}") for key in keys}
    missing = [key for key, record in records.items() if record is None]
    found.differs += [f"the stored attack {key} is missing or damaged" for key in missing]
    expected = loaded.attacks_of(suite)
    if expected is None:
        found.unchecked.append(
            f"suite {suite!r} comes from a file that is not stored: nothing tells which attacks it "
            "names"
        )
    else:
        names = [(records[key] or {}).get("name") for key in keys]
        if not missing and names != [spec.name for spec in expected]:
            found.differs.append(
                f"suite {suite!r} names {', '.join(s.name for s in expected)}, "
                f"the record {', '.join(map(str, names)) or 'none'}"
            )
    if missing:
        return
    job = loaded.job(suite)
    trust = loaded.found(job.trust_stage)
    if trust is None:
        found.differs.append(f"no trust checks are stored under suite {suite!r}")
    else:
        sealed = {key: sorted((records[key] or {})["files"].values()) for key in keys}
        found.expect("what the trust checks looked at", trust.get("attacks"), sealed)
        found.expect("the suite of the trust checks", trust.get("suite"), suite)
    curve = job.curve_key()
    if curve and loaded.found(f"curves/{curve}") is None:
        found.differs.append(f"the security curve of suite {suite!r} is missing or damaged")
    if job.corruptions and loaded.found(CORRUPTIONS) is None:
        found.differs.append(f"the corruptions of suite {suite!r} are missing or damaged")
    certification = job.certification_key()
    if certification and loaded.found(f"certification/{certification}") is None:
        found.differs.append(f"the certification of suite {suite!r} is missing or damaged")


def _check_given(loaded: Loaded, found: Comparison) -> None:
    record = loaded.stage("given")
    source = dict(loaded.cell.source or {})
    found.expect("the source", record.get("source"), source)
    sealed = list(record["files"].values())
    weights = source.get("weights_sha256")
    found.expect("the SHA-256 of its weights", sealed, [] if weights is None else [weights])
    try:
        _ = loaded.model
    except BenchError as error:
        found.unchecked.append(why_not(error))


def _check_training(loaded: Loaded, found: Comparison) -> float:
    """Steps and cost of training and support stage; returns what both took, as stored."""
    record = loaded.stage("training")
    _check_length(loaded, record, found)
    _check_end(loaded, record, found)
    spent = float(record["cost"]["gradient_evaluations"])
    there = loaded.found("adaptation") is not None
    if there != loaded.defense.adapts:
        found.differs.append(
            f"the adaptation is {'there' if there else 'missing or damaged'}, though the defense "
            f"{'adapts' if loaded.defense.adapts else 'does not adapt'}"
        )
    elif there:
        spent += _check_support(loaded, found)
    return spent


def _check_length(loaded: Loaded, record: Record, found: Comparison) -> None:
    """Epochs, steps and cost against the configuration."""
    cell, data = loaded.cell, loaded.data
    count, held_out = len(data.x_train), len(data.x_validation)
    defense = loaded.defense.sized_for(count)
    length = loaded.defense.length(
        count, epochs=cell.epochs, budget_ge=cell.budget_ge, validation=held_out
    )
    history = record["history"]
    ran = len(history)
    if ran > length.epochs or (ran < length.epochs and not defense.keeps_best):
        found.differs.append(f"{ran} epochs are told, the configuration trains {length.epochs}")
    found.expect("epochs", [one.get("epoch") for one in history], list(range(1, ran + 1)))
    steps = min(ran * length.steps_per_epoch, length.steps)
    found.expect("steps", record.get("steps"), steps)
    watched = watched_examples(count, held_out) if defense.watched else 0
    cost = defense.step_cost() * steps + validation_cost(defense.threats, watched) * ran
    _check_cost(record["cost"], cost, found, exact=type(defense).cost_of is Defense.cost_of)


def _check_cost(stored: Record, cost: Cost, found: Comparison, *, exact: bool = True) -> None:
    """The parts of a stored cost, and that they add up."""
    expected = cost.as_record()
    for name, value in expected.items():
        told = float(stored[name])
        rounding = 1e-9 if exact else EXPECTED_COST
        if not np.isclose(told, value, rtol=rounding, atol=1e-9):
            found.differs.append(f"{name} are told as {told:g}, the steps took {value:g}")
    parts = {name: float(stored[name]) for name in ("forwards", "backwards", "second_order")}
    whole = Cost(**parts).gradient_evaluations
    found.expect("gradient_evaluations of the training", stored["gradient_evaluations"], whole)


def _check_end(loaded: Loaded, record: Record, found: Comparison) -> None:
    """What the history says of the weights that are stored, on the validation data."""
    epoch = record.get("restored_epoch") or len(record["history"])
    entry = record["history"][epoch - 1]
    data, kernel = loaded.data, loaded.fitted.kernel
    x, y = encoded(loaded.cell, data.x_validation), data.y_validation
    again = {"validation_accuracy": accuracy(kernel, x, y)}
    defense = loaded.defense.sized_for(len(data.x_train))
    if defense.watched:
        size = watched_examples(len(data.x_train), len(y))
        seed = loaded.cell.seed
        again |= robust_accuracies(kernel, defense.threats, x[:size], y[:size], seed=seed)
    room = 1e-9 if loaded.same_machine else ACCURACY
    for name, value in again.items():
        if not abs(float(entry[name]) - value) <= room:
            found.differs.append(
                f"{name} of epoch {epoch} is told as {entry[name]}, and is {value}"
            )
    found.expect("names in the history", sorted(entry), sorted([*again, "epoch", "loss"]))


def _check_support(loaded: Loaded, found: Comparison) -> float:
    """The support stage made again: its labels, its cost, and the weights that were attacked."""
    record = loaded.stage("adaptation")
    if loaded.defense.adaptation.is_clean and not loaded.cell.clean_support:
        found.unchecked.append("an earlier version attacked its labelled examples; run it again")
        return float(record["cost"]["gradient_evaluations"])
    support = support_examples(loaded.cell, loaded.data)
    x, y = loaded.data.x_train[support], loaded.data.y_train[support]
    again = loaded.fitted.adapt(x, y, seed=loaded.cell.seed)
    found.expect("labels_used", record.get("labels_used"), len(support))
    found.expect("steps of the adaptation", record.get("steps"), again.outcome.steps)
    found.expect("the cost of the adaptation", record.get("cost"), again.cost.as_record())
    stored = loaded.defense.resume(loaded.model).kernel.weights()
    room = 0.0 if loaded.same_machine else WEIGHTS
    for name, value in again.kernel.weights().items():
        if not np.allclose(stored[name], value, rtol=0, atol=room):
            found.differs.append("the adapted weights are not what adapting the trained ones gives")
            break
    return float(record["cost"]["gradient_evaluations"])
