"""The JSON schema of all stored records, for programs that don't share this code."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from benchmark.results.files import Record
from benchmark.results.identity import SCHEMA_VERSION
from benchmark.results.records import SCHEMAS, TUNING, CellRecord, Schema, TuningRecord

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

# A stage that failed, or that can't be run here, may have nothing else.
_WITHOUT_RESULT = {
    "type": "object",
    "properties": {
        "status": {"enum": ["failed", "not-applicable"]},
        "reason": {"type": "string"},
    },
    "required": ["status", "reason"],
}


def json_schema() -> Record:
    """Of what `bench show --json` prints: a cell's record, and those of its stages by their paths.

    Records of a later version may hold more fields, so more are allowed. A record that is damaged
    is null.
    """
    models: list[type[Schema]] = [CellRecord, TuningRecord, *SCHEMAS.values()]
    references, whole = models_json_schema([(model, "validation") for model in models])
    definitions = _open(whole["$defs"])

    def of(model: Any) -> Record:
        return references[model, "validation"]

    family = f"^adaptations/(?!{TUNING.partition('/')[2]})"
    patterns = {
        family if name == "adaptations" else f"^{name}(/|$)": of(model)
        for name, model in SCHEMAS.items()
    }
    patterns[f"^{TUNING}"] = of(TuningRecord)
    without = {"$ref": "#/$defs/WithoutResult"}
    return {
        "$schema": _DIALECT,
        "title": f"A cell of meta-adv-bench, schema version {SCHEMA_VERSION}",
        "type": "object",
        "properties": {
            "cell_id": {"type": "string"},
            "folder": {"type": "string"},
            "cell": {"anyOf": [of(CellRecord), {"type": "null"}]},
            "stages": {
                "type": "object",
                "patternProperties": {
                    pattern: {"anyOf": [model, without, {"type": "null"}]}
                    for pattern, model in patterns.items()
                },
            },
        },
        "required": ["cell", "stages"],
        "$defs": {**definitions, "WithoutResult": _WITHOUT_RESULT},
    }


def _open(schema: Any) -> Any:
    """The schema with other fields allowed, too."""
    if isinstance(schema, dict):
        closed = schema.get("additionalProperties") is False
        kept = {k: v for k, v in schema.items() if not (closed and k == "additionalProperties")}
        return {key: _open(value) for key, value in kept.items()}
    return [_open(value) for value in schema] if isinstance(schema, list) else schema
