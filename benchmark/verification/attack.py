"""One stored attack: what follows from the data and the model, what it found, and whether again.

Another machine may round otherwise, so a few predictions count as the same whose score is nearly
the largest. Behind ART's defenses the whole pipeline answers, and a random model with the draws
that it had, where a seed reaches them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmark import frameworks
from benchmark.attacks.geometry import limit
from benchmark.attacks.measure import measure
from benchmark.attacks.outcomes import SAMPLES
from benchmark.attacks.running import attacked_rows
from benchmark.attacks.specification import AttackSpec
from benchmark.attacks.target import Target
from benchmark.cells import Cell
from benchmark.results import Record
from benchmark.text import counted
from benchmark.verification.comparison import Comparison, allowed
from benchmark.verification.loaded import Loaded
from benchmark.verification.repeating import repeat, static
from defenses.labels import labels_of
from defenses.wrappers import WRAPPERS

# How far a score may lie below the largest: that, or as much of what lies between the largest and
# the least of a point, where these are nearer to each other.
ROUNDING = 1e-3

_VIOLATIONS = {
    "budget": "leave the budget",
    "box": "leave the range [0, 1]",
    "non_finite": "are not finite",
}
_NORMS = ("linf", "l2", "l1", "l0")

Arrays = Mapping[str, np.ndarray]


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """Everything in which the attack of this key doesn't hold."""
    record = loaded.found(f"attacks/{key}")
    if record is None:
        found.differs.append("the stored attack is missing or damaged")
        return
    spec = loaded.attack(key)
    _check_record(loaded, key, spec, record, found)
    if record["status"] == "ok":
        arrays = loaded.arrays(f"attacks/{key}")
        if _check_examples(loaded, spec, record, arrays, found):
            _check_outcomes(record, arrays, found)
            _check_samples(loaded.cell, record, arrays, loaded.target, found)
            _check_distances(record, arrays, loaded.target.x[0].size, found)
            repeat(loaded, key, spec, record, arrays, found)
    elif not found.differs:
        repeat(loaded, key, spec, record, {}, found)


def _check_record(
    loaded: Loaded, key: str, spec: AttackSpec, record: Record, found: Comparison
) -> None:
    """What the record says of the attack follows from its key and the configuration."""
    expected = static(loaded, key, spec)
    for name in {"identity", "protocol_version"} - record.keys():  # of an older version
        expected.pop(name)
    if record["status"] != "ok":  # its reason is judged by running it again
        expected.pop("reason")
    found.expect_all(record, expected)


def _check_examples(
    loaded: Loaded, spec: AttackSpec, record: Record, arrays: Arrays, found: Comparison
) -> bool:
    """Whether the examples are those that the configuration draws, with the data's labels."""
    target = loaded.target
    if not np.array_equal(arrays["test_index"], target.index):
        found.differs.append(
            f"the configuration draws {len(target.index)} other test examples than the "
            f"{len(arrays['test_index'])} stored"
        )
        return False
    if not np.array_equal(arrays["label"], target.y):
        found.differs.append("the test examples have other labels")
        return False
    everything = np.ones(len(target.index), dtype=bool)
    if not np.array_equal(arrays.get("attacked", everything), attacked_rows(spec, target)):
        found.differs.append("it was run on other examples than the suite says")
        return False
    frameworks.seed_everything(loaded.cell.seed)  # as it was when the attacks began
    told = arrays["clean_prediction"]
    scores = _answered(record, target, target.x)
    wrong, other = int((~agrees(scores, told)).sum()), int((labels_of(scores) != told).sum())
    if wrong > _by_chance(loaded.cell, record, len(told)) or other > allowed(len(told)):
        found.differs.append(f"{max(wrong, other)} of {len(told)} clean predictions differ")
    found.told.append(f"{len(told)} clean predictions")
    return True


def _check_outcomes(record: Record, arrays: Arrays, found: Comparison) -> None:
    """What follows from the outcomes of each example."""
    correct, success, label = arrays["clean_correct"], arrays["success"], arrays["label"]
    if not np.array_equal(correct, arrays["clean_prediction"] == label):
        found.differs.append("what is clean-correct doesn't follow from the predictions")
    attacked = arrays.get("attacked", np.ones(len(label), dtype=bool))
    if (success & ~(correct & attacked & (arrays["adversarial_prediction"] != label))).any():
        found.differs.append("successes are told of examples that were not broken")
    accuracies = {
        "clean_accuracy": correct[attacked].mean(),
        "robust_accuracy": (correct & ~success)[attacked].mean(),
    }
    if "right_share" in arrays:
        accuracies["expected_accuracy"] = arrays["right_share"][attacked].mean()
    for name, share in accuracies.items():
        if abs(record[name] - share) > 1e-9:
            found.differs.append(f"{name} is told as {record[name]}, the outcomes give {share}")
    first = np.flatnonzero(success)[:SAMPLES]
    if not np.array_equal(arrays["sample_index"], arrays["test_index"][first]):
        found.differs.append(
            f"of {int(success.sum())} successes the first {len(first)} have to be stored"
        )


def _check_samples(
    cell: Cell, record: Record, arrays: Arrays, target: Target, found: Comparison
) -> None:
    """The stored adversarial examples, measured and classified again."""
    samples, clean = arrays["sample_adversarial"], arrays["sample_clean"]
    places = {int(number): row for row, number in enumerate(arrays["test_index"])}
    numbers = [int(number) for number in arrays["sample_index"]]
    rows = np.array([places[n] for n in numbers if n in places], dtype=np.int64)
    examples = counted(len(rows), "stored example")
    of_all = counted(int(arrays["success"].sum()), "success", "successes")
    found.told.append(f"{examples} of {of_all}")
    if samples.shape != clean.shape or not np.array_equal(clean, target.x[rows]):
        found.differs.append("the stored clean examples are not those of the data")
        return
    if not len(rows):
        return
    scores = _judged(cell, record, samples, target, rows)
    label, told = arrays["label"][rows], arrays["adversarial_prediction"][rows]
    measured = measure(
        clean,
        samples,
        scores,
        clean_prediction=arrays["clean_prediction"][rows],
        label=label,
        norm=record["norm"],
        eps=float("inf") if record["eps"] is None else record["eps"],
        weights=target.weights,
    )
    for name, count in measured.violations.items():
        if count:
            found.differs.append(f"{count} of {len(rows)} adversarial examples {_VIOLATIONS[name]}")
    fooled = agrees(scores, told) & (told != label) & arrays["success"][rows]
    if (lost := int((~fooled).sum())) > _by_chance(cell, record, len(rows)):
        found.differs.append(
            f"{lost} of {len(rows)} adversarial examples don't fool the model as told"
        )
    for norm in _NORMS:
        if not np.allclose(arrays[norm][rows], measured.distances[norm], rtol=1e-6, atol=1e-9):
            found.differs.append(f"stored adversarial examples have another {norm} distance")


def _check_distances(record: Record, arrays: Arrays, size: int, found: Comparison) -> None:
    """Successes on examples of `size` values are adversarial, in budget, and met at some query."""
    success, norm, eps = arrays["success"], record["norm"], record["eps"]
    if (success & ~arrays["adversarial"]).any():
        found.differs.append("successes are told of points that are not adversarial")
    if eps is not None and (arrays[norm][success] > limit(norm, eps, size)).any():
        found.differs.append("successes are told of points outside the budget")
    if "first_query" in arrays and ((arrays["first_query"] >= 0) & ~success).any():
        found.differs.append("queries are told that met a success where there is none")


def _judged(
    cell: Cell, record: Record, samples: np.ndarray, target: Target, rows: np.ndarray
) -> np.ndarray:
    """What the pipeline says of the stored adversarial examples, with the draws that it then had.

    It draws for the whole batch at once, whatever is in it: so each example stands where it stood,
    among clean ones.
    """
    if not _is_random(record):
        return _answered(record, target, samples)
    batch = target.x.copy()
    batch[rows] = samples
    frameworks.seed_everything(cell.seed)
    return _answered(record, target, batch)[rows]


def _answered(record: Record, target: Target, x: np.ndarray) -> np.ndarray:
    """Scores by as many draws as the record says; records without a word of it had one."""
    return target.predict(x) if _is_random(record) else target.once(x)


def _is_random(record: Record) -> bool:
    return bool(record.get("draws", 1) > 1)


def _by_chance(cell: Cell, record: Record, count: int) -> int:
    """How many of so many labels may be others: of a random model that no seed reaches, some."""
    drawn_here = any(WRAPPERS[name].random for name in cell.wrapped_in)  # by NumPy
    is_reached = cell.framework == "torch" or drawn_here
    return 0 if is_reached or not _is_random(record) else allowed(count)


def agrees(scores: np.ndarray, told: np.ndarray) -> np.ndarray:
    """Whether each prediction `told` (n,) is that of its scores (n, classes), or nearly so.

    Of scores that are all alike only the prediction itself is, and `NO_LABEL` of those that are not
    finite.
    """
    known = (told >= 0) & (told < scores.shape[1])
    chosen = scores[np.arange(len(scores)), np.where(known, told, 0)]
    with np.errstate(invalid="ignore"):  # what is no number is near to nothing
        most = scores.max(axis=1)
        near = known & (chosen > most - ROUNDING * np.minimum(1, most - scores.min(axis=1)))
    return np.asarray((told == labels_of(scores)) | near)
