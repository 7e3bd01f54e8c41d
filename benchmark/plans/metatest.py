"""Which meta-test a run asks for, sized for its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark import datasets
from benchmark.cells import Cell
from benchmark.config import RunConfig
from benchmark.datasets import Dataset
from benchmark.metatest import protocol as families
from benchmark.metatest.domain import settings as domain
from benchmark.metatest.domain.settings import READING, Domain
from benchmark.metatest.domain.target import loaded
from benchmark.metatest.fewshot import settings as fewshot
from benchmark.metatest.fewshot.settings import FewShot
from benchmark.metatest.protocol import Protocol
from benchmark.metatest.sequence import settings as sequence
from benchmark.metatest.sequence.settings import Arrivals


@dataclass(frozen=True)
class MetaTest:
    """Adaptation to attack families, new classes, families in a row, other data, or nothing."""

    families: Protocol | None = None
    few_shot: FewShot | None = None
    sequence: Arrivals | None = None
    domain: Domain | None = None

    def sized_for(self, dataset: Dataset, config: RunConfig, *, download: bool = False) -> MetaTest:
        """The same, no larger than the data; raises `ConfigError` where that was asked for.

        `download`: whether another data set may be fetched.
        """
        if self.few_shot is not None:
            return MetaTest(few_shot=fewshot.check(self.few_shot, dataset))
        given = config.adaptation
        if self.domain is not None:
            target = loaded(
                self.domain.adapt_to,
                dataset.input_shape,
                resize=self.domain.resize,
                label=config.label,
                group=config.group,
                data_dir=config.data_dir,
                download=download,
                split_seed=config.split_seed,
            )
            return MetaTest(domain=domain.sized_for(self.domain, dataset, target, given=given))
        if self.sequence is not None:
            return MetaTest(
                sequence=sequence.sized_for(self.sequence, dataset, config.norm, given=given)
            )
        if self.families is None:
            return self
        sized = families.sized_for(self.families, dataset, given=given)
        return MetaTest(families=sized)

    @property
    def reads(self) -> bool:
        """Whether heads are fitted to the features of each model."""
        methods = () if self.domain is None else self.domain.methods
        return self.few_shot is not None or not set(READING).isdisjoint(methods)

    def of(self, cell: Cell) -> dict[str, Any]:
        """The fields of `benchmark.job.Job` that say what a cell is measured with."""
        # What stands around a model is not adapted, and would be measured as if it weren't there.
        if cell.wrapped_in:
            return {}
        return {
            "adaptation": self.families,
            "few_shot": self.few_shot,
            "sequence": self.sequence,
            "domain": self.domain,
        }


def resolve(config: RunConfig) -> MetaTest:
    """What `config.protocol` and its settings ask for; raises `ConfigError`."""
    if config.protocol == fewshot.NAME:
        return MetaTest(few_shot=fewshot.resolve(config.adaptation))
    if config.protocol == domain.NAME:
        protocol = domain.resolve(config.adaptation)
        datasets.defaults(protocol.adapt_to)  # looked up before any data are read
        return MetaTest(domain=protocol)
    if config.protocol == sequence.NAME:
        return MetaTest(sequence=sequence.resolve(config.adaptation))
    return MetaTest(families=families.resolve(config.protocol, config.adaptation))


def classes(config: RunConfig) -> Any:
    """The split of classes that was asked for, or the usual one; None where none are held out."""
    if config.protocol != fewshot.NAME:
        return None
    return 0 if config.split is None else config.split
