"""The stages of a cell that have a key each: read, checked, and named where they can't be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from benchmark.errors import SchemaError
from benchmark.results import Store
from benchmark.results.records import StageRecord
from reports.left_out import LeftOut

Schema = TypeVar("Schema", bound=StageRecord)


def read_keyed(
    store: Store, cell_id: str, folder: str, schema: type[Schema], left_out: LeftOut
) -> Iterator[tuple[str, Schema]]:
    """Each key with its record, in their order; what can't be read goes into `left_out`."""
    for key in store.stage_keys(cell_id, folder):
        stage = f"{folder}/{key}"
        stored = store.read_stage(cell_id, stage)
        if stored is None:
            left_out.add(f"cells/{cell_id}/{stage}.json", "it or a file that it names is damaged")
            continue
        try:
            yield key, schema.read(stored)
        except SchemaError as error:
            left_out.add(f"cells/{cell_id}/{stage}.json", str(error))
