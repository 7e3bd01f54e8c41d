"""A job: a cell with its stages in order. Whoever works, resumes or tells reads that one list."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from benchmark import models
from benchmark.attacks.claims import Claims
from benchmark.attacks.suites import AttackSpec, SecurityCurve, Smoothing
from benchmark.cells import Cell
from benchmark.datasets import Measured
from benchmark.digest import digest
from benchmark.estimators.passes import CHUNK
from benchmark.metatest.domain.settings import Domain
from benchmark.metatest.fewshot.settings import FewShot
from benchmark.metatest.protocol import TUNING, Protocol
from benchmark.metatest.sequence.settings import Arrivals
from benchmark.plans.asked import Asked
from benchmark.results import Store
from benchmark.stages.attack import Attack
from benchmark.stages.certification import Certification
from benchmark.stages.claims import ForeignClaims
from benchmark.stages.corruptions import Corruptions
from benchmark.stages.curve import Curve
from benchmark.stages.domain import Adapting
from benchmark.stages.external import External
from benchmark.stages.fewshot import NewClasses
from benchmark.stages.metatest import Family, Tuning
from benchmark.stages.sequence import Learner
from benchmark.stages.stage import Stage
from benchmark.stages.support import SupportStage
from benchmark.stages.training import Training
from benchmark.stages.transfer import TransferBetweenFrameworks
from benchmark.stages.trust import TrustChecks
from defenses.adaptation.spec import Adaptation

if TYPE_CHECKING:
    from benchmark.datasets.extra import ExtraData
    from benchmark.external.model import ExternalModel
    from benchmark.models.provided.origin import Origin


@dataclass(frozen=True)
class Job:
    """What a worker is asked to do: a cell, the attacks of a suite on it, and its adaptation.

    adaptation, few_shot, sequence, domain: to attack families, to new classes, to families in a
    row, and to another data set, where it is measured.
    external: the model, where someone else trained it. origin: of the model, where it is on
    this machine. attack_timeout: seconds that one attack may take; None for any. batch_size:
    examples that attacks and read-outs take at a time. curve: the security curve to draw, if any.
    corruptions: whether accuracy on corrupted images is measured. certification: how, if at all.
    adapts: whether the defense adapts before it is attacked. own: how it adapts to new classes; as
    one that was not trained to where None. training: gradient evaluations that
    the training takes. after: ids of cells that end before this one begins, in the same run.
    training_after: those of them that end before its training does. sources: defense to the id of
    the cell on whose model attacks `from:` it are made. dataset: the data set's name as it was
    given, with the path that it has on this machine. asked: what to ask for to have the same
    again. measured: what the plan found in the data. unchecked: whether the trust checks are left
    for another turn. deferred: attacks of the suite that are; the cell lacks them until then.
    claims: adversarial examples of others. extra_data: what is trained with
    beside the data set.
    """

    cell: Cell
    suite: str
    attacks: tuple[AttackSpec, ...]
    out: str
    data_dir: str | None
    adaptation: Protocol | None = None
    few_shot: FewShot | None = None
    sequence: Arrivals | None = None
    domain: Domain | None = None
    external: ExternalModel | None = None
    origin: Origin | None = None
    attack_timeout: float | None = None
    batch_size: int | Literal["auto"] = CHUNK
    curve: SecurityCurve | None = None
    corruptions: bool = False
    certification: Smoothing | None = None
    adapts: bool = False
    own: Adaptation | None = None
    training: float = 1.0
    after: frozenset[str] = frozenset()
    training_after: frozenset[str] = frozenset()
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    dataset: str | None = None
    asked: Asked | None = None
    measured: Measured | None = None
    unchecked: bool = False
    deferred: tuple[AttackSpec, ...] = ()
    claims: Claims | None = None
    extra_data: ExtraData | None = None

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Everything that is done with the cell, in order: a stage stands after what it needs."""
        making = self._making()
        needs, keys = tuple(stage.path for stage in making), self.attack_keys()
        examples, timeout = self.cell.examples, self.attack_timeout
        attacks = [
            Attack(
                spec,
                keys[spec.name],
                examples,
                needs=needs,
                made_on=self.sources.get(spec.source or ""),
                timeout=timeout,
            )
            for spec in self.attacks
        ]
        stages: list[Stage] = [*making, *attacks]
        if self.claims is not None:
            stages.append(ForeignClaims(self.claims, needs))
        if not self.unchecked:
            stages.append(TrustChecks(self.suite, self.trust_stage, attacks, examples, needs))
        if self.curve is not None:
            (attack,) = (one for one in attacks if one.spec.name == self.curve.attack)
            key = self.curve_key()
            assert key is not None
            stages.append(Curve(self.curve, key, attack, examples))
        if self.corruptions:
            stages.append(Corruptions(examples, needs))
        if self.certification is not None:
            key = self.certification_key()
            assert key is not None
            stages.append(Certification(self.certification, key, examples, needs))
        # A model that is no specified architecture belongs to one framework
        specified = self.external is None and models.is_specified(self.cell.model)
        if specified and not self.cell.wrapped_in:
            stages.append(TransferBetweenFrameworks(self.cell, needs))
        return (*stages, *self._meta_test(needs))

    def pending(self, store: Store) -> list[Stage]:
        """The stages that are not stored, and without which the cell isn't done."""
        cell_id = self.cell.cell_id
        left = [stage for stage in self.stages if not stage.is_stored(store, cell_id)]
        return [stage for stage in left if stage.is_due(store, cell_id)]

    def _making(self) -> list[Stage]:
        """The stages that make the model which is attacked."""
        if self.external is not None:
            return [External(self.external)]
        return [Training(max(1.0, self.training)), *([SupportStage()] if self.adapts else [])]

    def _meta_test(self, needs: Sequence[str]) -> list[Stage]:
        if self.few_shot is not None:
            shown = self.few_shot.keys().items()
            return [NewClasses(self.few_shot, *what, key, needs, self._own) for what, key in shown]
        if self.sequence is not None:
            learners = self.sequence.keys().items()
            return [Learner(self.sequence, name, key, needs) for name, key in learners]
        if self.domain is not None:
            methods = self.domain.keys().items()
            return [Adapting(self.domain, name, key, needs) for name, key in methods]
        if self.adaptation is None:
            return []
        keys, norm = self.adaptation_keys(), self.cell.norm
        tuning = Tuning(self.adaptation, keys.pop(TUNING), needs)
        return [tuning, *(Family(name, key, tuning, norm) for name, key in keys.items())]

    @property
    def _own(self) -> Adaptation:
        return self.own or Adaptation(self.cell.norm)

    @property
    def adapting(self) -> float:
        """Gradient evaluations that the meta-test takes, roughly."""
        if self.few_shot is not None:
            each, shown = self.few_shot.gradient_evaluations, self.few_shot.keys()
            return sum(each(*what, self._own) for what in shown)
        if self.sequence is not None:
            return sum(map(self.sequence.gradient_evaluations, self.sequence.learners))
        if self.domain is not None:
            return sum(map(self.domain.gradient_evaluations, self.domain.methods))
        norm = self.cell.norm
        return 0.0 if self.adaptation is None else self.adaptation.gradient_evaluations(norm)

    def curve_key(self) -> str | None:
        """The key of the security curve in the store, if there is one to draw."""
        if self.curve is None:
            return None
        whole = [self.attack_keys()[self.curve.attack], self.curve.budgets, self.curve.examples]
        return f"{self.curve.attack}-{digest(whole)[:8]}"

    def certification_key(self) -> str | None:
        """The key of the certification in the store, if there is one to make."""
        if self.certification is None:
            return None
        whole = [*dataclasses.astuple(self.certification), self.cell.examples]
        return f"smoothing-{digest(whole)[:8]}"

    @property
    def trust_stage(self) -> str:
        """The stage in the store that holds the trust checks under this suite."""
        return f"trust/{self._suite_key}"

    @property
    def run_stage(self) -> str:
        """The stage in the store that holds what was asked for under this suite."""
        return f"runs/{self._suite_key}"

    @property
    def _suite_key(self) -> str:
        safe = re.sub(r"[^A-Za-z0-9_-]+", "-", self.suite)
        # A suite file may have any name.
        return safe if safe == self.suite else f"{safe}-{digest(self.suite)[:8]}"

    def attack_keys(self) -> dict[str, str]:
        """Name of an attack in the suite to its key in the store, in the suite's order.

        Those that are deferred stand last: a cell isn't whole without them. The key changes with
        everything that changes the attack on this cell.
        """
        keys = {}
        for spec in (*self.attacks, *self.deferred):
            attack, arguments, *more = spec.identity()
            whole = [attack, arguments, self.cell.examples, *more]
            keys[spec.name] = f"{spec.name}-{digest(whole)[:8]}"
        return keys

    def adaptation_keys(self) -> dict[str, str]:
        """Name of an attack family to its key in the store, and "tuning" to that of the tuning."""
        return {} if self.adaptation is None else self.adaptation.keys()
