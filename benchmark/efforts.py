"""How much work the stages of a cell are, and how fast such work went so far.

Effort is gradient evaluations, weighted by how long each takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.attacks.specification import AttackSpec
from benchmark.cells import BASELINE, Job

TRAINING = "training"
TRUST = "trust checks"
_ATTACK = "attack "
_CURVE = "curve "
_ADAPT = "adapt "

# Of the trust checks: examples, and effort on each, roughly.
_TRUST_EXAMPLES, _TRUST_EACH = 64, 150.0

# Effort of a gradient evaluation where a training's is 1, measured on digits in both frameworks.
_OF_ATTACKS, _OF_ADAPTATION = 1.3, 2.5

# Iterations of an attack whose arguments don't say.
_ITERATIONS = 10
_SINGLE_STEP = ("fast-gradient",)
# Effort of an iteration, where it isn't that of one gradient evaluation.
_PER_ITERATION = {"square": 0.8}

Alike = tuple[str, ...]


class Speeds:
    """Seconds and effort of what was measured, under everything that it is like."""

    def __init__(self) -> None:
        self._sums: dict[Alike, tuple[float, float]] = {}

    def add(self, alike: Sequence[Alike], seconds: float, effort: float) -> None:
        """Takes in a stage, or the part of one that is done."""
        for key in alike:
            before = self._sums.get(key, (0.0, 0.0))
            self._sums[key] = (before[0] + seconds, before[1] + effort)

    def pace(self, alike: Sequence[Alike]) -> float | None:
        """Seconds for a unit of effort, by the nearest that was measured."""
        for key in alike:
            seconds, effort = self._sums.get(key, (0.0, 0.0))
            if effort:
                return seconds / effort
        return None

    def copy(self) -> Speeds:
        """One that can be added to for the moment."""
        other = Speeds()
        other._sums = dict(self._sums)
        return other


def efforts(job: Job, estimates: Mapping[str, float]) -> dict[str, float]:
    """The stages of a cell and the effort, roughly, that each takes."""
    units = {TRAINING: max(1.0, estimates.get(job.cell.cell_id, 1.0))}
    each = {spec.name: _of_attack(spec) for spec in job.attacks}
    for spec in job.attacks:
        examples = min(job.cell.examples, spec.examples or job.cell.examples)
        units[_ATTACK + spec.name] = examples * each[spec.name] * _OF_ATTACKS
    units[TRUST] = min(job.cell.examples, _TRUST_EXAMPLES) * _TRUST_EACH
    if (curve := job.curve) is not None:
        examples = min(job.cell.examples, curve.examples or job.cell.examples)
        units[_CURVE + curve.attack] = (
            examples * each[curve.attack] * len(curve.budgets) * _OF_ATTACKS
        )
    names = list(job.adaptation_keys())
    for name in names:
        assert job.adaptation is not None
        units[_ADAPT + name] = _OF_ADAPTATION * job.adaptation.gradient_evaluations() / len(names)
    return units


def _of_attack(spec: AttackSpec) -> float:
    """The effort, roughly, that an attack takes on one example."""
    default = 1 if spec.attack in _SINGLE_STEP else _ITERATIONS
    iterations = spec.arguments.get("max_iter", default)
    known = isinstance(iterations, int | float) and iterations >= 1
    return float(iterations if known else default) * _PER_ITERATION.get(spec.attack, 1.0)


def alike(job: Job, stage: str) -> list[Alike]:
    """What a stage is like, from the nearest on.

    An attack gives up sooner on an undefended model, so that the two are told apart for long.
    """
    cell, kind = job.cell, _kind(job, stage)
    strength = "undefended" if cell.defense == BASELINE else "defended"
    return [
        ("kind", kind, cell.defense, cell.framework),
        ("kind", kind, cell.defense),
        ("kind", kind, strength, cell.framework),
        ("kind", kind, strength),
        (strength, cell.framework),
        (strength,),
        ("framework", cell.framework),
        (),
    ]


def _kind(job: Job, stage: str) -> str:
    """What an attack does, by whatever name; other stages are of a kind of their own."""
    attacks = {_ATTACK + spec.name: spec.attack for spec in job.attacks}
    return _ATTACK + attacks[stage] if stage in attacks else stage
