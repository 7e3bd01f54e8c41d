"""The stages of a cell: read, checked, and named where they can't be."""

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
        record = read_stage(store, cell_id, f"{folder}/{key}", schema, left_out)
        if record is not None:
            yield key, record


def read_stage(
    store: Store, cell_id: str, stage: str, schema: type[Schema], left_out: LeftOut
) -> Schema | None:
    """A stage's record; None where there is none, or where it goes into `left_out`."""
    path = f"{stage}.json"
    stored = store.read_stage(cell_id, stage)
    try:
        if stored is not None:
            return schema.read(stored)
    except SchemaError as error:
        left_out.add(f"cells/{cell_id}/{path}", str(error))
    else:
        if (store.cell_folder(cell_id) / path).exists():
            left_out.add(f"cells/{cell_id}/{path}", "it or a file that it names is damaged")
    return None
