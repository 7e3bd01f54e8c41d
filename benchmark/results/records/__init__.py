"""Every stored record: stages write these, reports and verification read them."""

from __future__ import annotations

from benchmark.results.records.cell import CellRecord as CellRecord
from benchmark.results.records.cell import CellStatus as CellStatus
from benchmark.results.records.cell import Config as Config
from benchmark.results.records.cell import DatasetConfig as DatasetConfig
from benchmark.results.records.cell import DefenseConfig as DefenseConfig
from benchmark.results.records.cell import ExtraDataConfig as ExtraDataConfig
from benchmark.results.records.cell import RunRecord as RunRecord
from benchmark.results.records.cell import ThreatConfig as ThreatConfig
from benchmark.results.records.domain import DomainRecord as DomainRecord
from benchmark.results.records.fewshot import ChoiceRecord as ChoiceRecord
from benchmark.results.records.fewshot import FewShotRecord as FewShotRecord
from benchmark.results.records.metatest import EstimateRecord as EstimateRecord
from benchmark.results.records.metatest import FamilyRecord as FamilyRecord
from benchmark.results.records.metatest import MetaTestRecord as MetaTestRecord
from benchmark.results.records.metatest import TuningRecord as TuningRecord
from benchmark.results.records.schema import CostRecord as CostRecord
from benchmark.results.records.schema import ProtocolRecord as ProtocolRecord
from benchmark.results.records.schema import Schema as Schema
from benchmark.results.records.schema import StageRecord as StageRecord
from benchmark.results.records.sequence import SequenceRecord as SequenceRecord
from benchmark.results.records.stages import AttackRecord as AttackRecord
from benchmark.results.records.stages import CertificationRecord as CertificationRecord
from benchmark.results.records.stages import CheckRecord as CheckRecord
from benchmark.results.records.stages import ClaimsRecord as ClaimsRecord
from benchmark.results.records.stages import CorruptionsRecord as CorruptionsRecord
from benchmark.results.records.stages import CurveRecord as CurveRecord
from benchmark.results.records.stages import ExternalRecord as ExternalRecord
from benchmark.results.records.stages import ModelRecord as ModelRecord
from benchmark.results.records.stages import PublishedRecord as PublishedRecord
from benchmark.results.records.stages import SupportRecord as SupportRecord
from benchmark.results.records.stages import TrainingRecord as TrainingRecord
from benchmark.results.records.stages import TransferRecord as TransferRecord
from benchmark.results.records.stages import TrustRecord as TrustRecord
from benchmark.results.records.stages import Violations as Violations

# What the stages of tuning begin with, beside those of families.
TUNING = "adaptations/tuning-"

# Folder of a keyed stage, or a stage, to what its records hold.
SCHEMAS: dict[str, type[StageRecord]] = {
    "training": TrainingRecord,
    "adaptation": SupportRecord,
    "given": ExternalRecord,
    "attacks": AttackRecord,
    "claims": ClaimsRecord,
    "trust": TrustRecord,
    "curves": CurveRecord,
    "corruptions": CorruptionsRecord,
    "certification": CertificationRecord,
    "transfers": TransferRecord,
    "adaptations": FamilyRecord,
    "few-shot": FewShotRecord,
    "sequences": SequenceRecord,
    "domains": DomainRecord,
    "runs": RunRecord,
}


def schema_of(stage: str) -> type[StageRecord]:
    """What the records of a stage of the store hold, such as "training" or "attacks/<key>"."""
    folder = stage.partition("/")[0]
    return TuningRecord if stage.startswith(TUNING) else SCHEMAS.get(folder, StageRecord)
