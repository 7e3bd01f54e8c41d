"""The published schema of stored records, against what is stored."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.results import STAGES, Store
from benchmark.results.records import SCHEMAS

sys.path.append(str(Path(__file__).parent))

from real_results import make

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A cell with every kind of stage that one framework alone has."""
    adaptation = {
        "families": ["linf"],
        "episodes": 2,
        "queries": 10,
        "shots": [0, 10],
        "steps": [0, 1],
    }
    found: Store = make(
        tmp_path_factory.mktemp("schema"),
        "torch",
        protocol="brief",
        epochs=1,
        examples=20,
        adaptation=adaptation,
    )
    return found


@pytest.fixture
def published(bench: Any) -> Any:
    """What validates by the schema that is printed, which is itself valid."""
    schema = json.loads(bench("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def shown(bench: Any, store: Store) -> dict[str, Any]:
    """The cell, as `bench show --json` prints it."""
    (cell_id,) = store.cell_ids()
    found: dict[str, Any] = json.loads(bench("show", cell_id, "--out", store.path, "--json").out)
    return found


def test_what_is_stored_follows_the_schema(published: Any, shown: dict[str, Any]) -> None:
    kinds = {stage.partition("/")[0] for stage in shown["stages"]}

    assert kinds == {"training", "adaptation", *("attacks", "trust", "adaptations", "runs")}
    assert list(published.iter_errors(shown)) == []


def _attack(shown: dict[str, Any]) -> dict[str, Any]:
    return next(
        record
        for key, record in shown["stages"].items()
        if key.startswith("attacks/") and record["status"] == "ok"
    )


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        (lambda shown: shown["cell"].update(seconds="long"), False),
        (lambda shown: shown["cell"].pop("config"), False),
        (lambda shown: _attack(shown).update(robust_accuracy=1.5), False),
        (lambda shown: shown["stages"]["training"].update(cost=3), False),
        (lambda shown: shown["stages"].update(training=None), True),
        (lambda shown: shown["stages"].update(training={"status": "failed", "reason": "x"}), True),
        (lambda shown: shown["cell"].update(of_a_later_version=1), True),
    ],
    ids=["type", "missing", "range", "cost", "damaged", "failed", "later field"],
)
def test_schema_tells_a_changed_record(
    published: Any, shown: dict[str, Any], change: Any, valid: bool
) -> None:
    change(shown)
    assert published.is_valid(shown) == valid


def test_every_stage_has_one_schema(published: Any) -> None:
    stages = published.schema["properties"]["stages"]["patternProperties"]

    assert len(stages) == len(SCHEMAS) + 1
    for stage in (*STAGES, "attacks/pgd-1", "adaptations/linf-1", "adaptations/tuning-1"):
        (_,) = [pattern for pattern in stages if re.search(pattern, stage)]
