"""The schema of stored records: strict for who writes, and taking what it can for who reads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

sys.path.append(str(Path(__file__).parent))

from real_results import make, stored

from benchmark.errors import SchemaError
from benchmark.results import STAGES
from benchmark.results.records import (
    AttackRecord,
    CellRecord,
    CostRecord,
    CurveRecord,
    StageRecord,
    SupportRecord,
    TransferRecord,
    TuningRecord,
    schema_of,
)

PROTOCOL = {"families": ["linf"], "steps": [0, 1], "shots": [0, 10], "episodes": 2, "queries": 10}


def test_every_kind_of_stage_has_a_schema() -> None:
    folders = (
        "attacks",
        "trust",
        "curves",
        "claims",
        "corruptions",
        "certification",
        "transfers",
        "adaptations",
        "runs",
    )
    assert StageRecord not in [schema_of(stage) for stage in (*STAGES, *folders)]
    assert schema_of("adaptations/tuning-12345678") is TuningRecord


@pytest.mark.parametrize(
    "fields",
    [{"nonsense": 1}, {"cost": {"passes": 1}}, {"steps": 1.5}, {"steps": "1"}, {"seconds": -1.0}],
    ids=["unknown", "unknown inside", "not whole", "another type", "below 0"],
)
def test_a_record_with_what_the_schema_does_not_have_is_not_made(fields) -> None:
    with pytest.raises(ValidationError):
        SupportRecord(**{"seconds": 1.0, **fields})


def test_what_is_written_is_what_was_given() -> None:
    cost = CostRecord(forwards=3, backwards=0.5)
    assert repr(SupportRecord(seconds=1, cost=cost).stored()) == repr(
        {"seconds": 1, "cost": {"forwards": 3, "backwards": 0.5}}
    )


def test_fields_of_newer_versions_are_passed_over_and_missing_ones_have_defaults() -> None:
    read = SupportRecord.read({"seconds": 1, "later": {}, "cost": {"later": 1, "forwards": 2}})
    assert read == SupportRecord(seconds=1.0, cost=CostRecord(forwards=2.0))
    assert read.labels_used is None


REFUSED = {
    "missing": (AttackRecord, {"status": "ok"}, "name: field required"),
    "type": (AttackRecord, {"name": 5, "status": "ok"}, "name: input should be a valid string"),
    "inside": (CellRecord, {"config": {"dataset": 1}}, "config.dataset: input should be a valid"),
    "infinite": (SupportRecord, {"seconds": 1e999}, "seconds: input should be a finite number"),
    "rising": (
        CurveRecord,
        {"attack": "pgd", "eps": [0.0, 1.0], "robust_accuracy": [0.1, 0.2]},
        "robust_accuracy must not rise with eps",
    ),
}


@pytest.mark.parametrize(("schema", "record", "told"), REFUSED.values(), ids=REFUSED)
def test_what_a_stored_record_has_wrong_is_told_in_a_line(schema, record, told) -> None:
    with pytest.raises(SchemaError) as caught:
        schema.read(record)
    assert str(caught.value).startswith("doesn't follow the schema: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stage_that_failed_before_it_began_tells_why() -> None:
    with pytest.raises(SchemaError, match=r"^failed: no weights in torch.npz$"):
        TransferRecord.read({"status": "failed", "reason": "no weights in /home/me/torch.npz"})


def test_what_a_run_stores_is_all_in_the_schema(tmp_path) -> None:
    store = make(
        tmp_path / "out",
        "torch",
        epochs=1,
        examples=20,
        protocol="brief",
        adaptation={**PROTOCOL, "rates": [0.01], "attack_steps": 1, "tuning_episodes": 1},
    )
    (cell_id,) = store.cell_ids()
    folder = store.cell_folder(cell_id)
    paths = {p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.rglob("*.json")}
    assert len(paths) > 6
    for stage, path in paths.items():
        record = stored(path)
        del record["checksum"]
        schema = CellRecord if stage == "cell" else schema_of(stage)
        schema(**record)  # with a field that it doesn't have it raises
