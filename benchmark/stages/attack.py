"""One attack of the suite on the cell's model."""

from __future__ import annotations

from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec
from benchmark.estimators.passes import asking
from benchmark.results import Record, Store, npz_writer
from benchmark.results.records import AttackRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Versioned

# Iterations of an attack whose arguments don't say.
_ITERATIONS = 10
_SINGLE_STEP = ("fast-gradient",)
# Effort of an iteration, where it isn't that of one gradient evaluation.
_PER_ITERATION = {"square": 0.8}
# Effort of a gradient evaluation where a training's is 1, measured on digits in both frameworks.
_WEIGHT = 1.3


class Attack(Versioned):
    """Stage "attacks/<key>": what `run_attack` returns, and its arrays as <key>.npz.

    Args:
        spec: the attack.
        key: changes with everything that changes the attack on this cell.
        examples: of the cell.
        needs: the stages that make the model.
        made_on: the id of the cell whose model it is made on, where that is another.
        timeout: seconds that the attack may take; None for any.
    """

    gives_up = True

    def __init__(
        self,
        spec: AttackSpec,
        key: str,
        examples: int,
        *,
        needs: tuple[str, ...],
        made_on: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self.spec, self.key, self.needs = spec, key, needs
        self.made_on, self.timeout = made_on, timeout
        self.path, self.label = f"attacks/{key}", f"attack {spec.name}"
        self.kinds = (f"attack {spec.attack}", "attack")
        count = min(examples, spec.examples or examples)
        self.effort = count * effort_each(spec)

    def run(self, context: Context) -> Result:
        """Attacks; an attack that raises or runs out of time is a failed record."""
        cell = context.cell
        with asking(context.at_once):
            record, arrays = run_attack(
                self.spec,
                context.target,
                key=self.key,
                norm=cell.norm,
                eps=cell.eps,
                seed=cell.seed,
                progress=context.reporter.stage(self.label),
                timeout=self.timeout,
            )
        files = {f"{self.key}.npz": npz_writer(arrays)} if arrays else {}
        return AttackRecord(**record), files

    def fits(self, record: Record, store: Store, cell_id: str) -> bool:
        """Whether it was made on the same model, under this version of the protocol."""
        if not super().fits(record, store, cell_id):
            return False
        return self.made_on is None or record.get("made_on") in (None, self.made_on)

    def failed(self, reason: str) -> AttackRecord:
        """The record where it could not be run."""
        return AttackRecord(key=self.key, name=self.spec.name, status="failed", reason=reason)


def effort_each(spec: AttackSpec) -> float:
    """The effort, roughly, that an attack takes on one example."""
    default = 1 if spec.attack in _SINGLE_STEP else _ITERATIONS
    iterations = {**spec.entry.defaults, **spec.arguments}.get("max_iter", default)
    known = isinstance(iterations, int | float) and iterations >= 1
    steps = float(iterations if known else default)
    return steps * _PER_ITERATION.get(spec.attack, 1.0) * _WEIGHT
