"""The stages of a cell: read, checked, and named where they can't be."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from benchmark.errors import SchemaError, StoreError
from benchmark.results import Store
from benchmark.results.records import StageRecord
from reports.left_out import LeftOut

Schema = TypeVar("Schema", bound=StageRecord)
Found = TypeVar("Found")


def read_keyed(
    store: Store, cell_id: str, folder: str, schema: type[Schema], left_out: LeftOut
) -> Iterator[tuple[str, Schema]]:
    """Each key with its record, in their order; what can't be read goes into `left_out`."""
    for key in store.stage_keys(cell_id, folder):
        record = read_stage(store, cell_id, f"{folder}/{key}", schema, left_out)
        if record is not None:
            yield key, record


def read_episodes(
    store: Store,
    cell_id: str,
    folder: str,
    schema: type[Schema],
    made: Callable[[Schema, dict[str, np.ndarray]], Found | None],
    left_out: LeftOut,
) -> Iterator[Found]:
    """What is `made` of each record and its arrays, of none where there is no result.

    Where that is None, as where arrays are missing, the stage goes into `left_out`.
    """
    for key, record in read_keyed(store, cell_id, folder, schema, left_out):
        try:
            arrays = {}
            if record.status == "ok":
                arrays = store.read_arrays(cell_id, f"{folder}/{key}", f"{key}.npz")
            found = made(record, arrays)
        except StoreError:
            found = None
        if found is None:
            path = f"cells/{cell_id}/{folder}/{key}.json"
            left_out.add(path, "its episodes are missing, or don't follow the schema")
        else:
            yield found


def fullest(
    found: Iterable[Found],
    *,
    alike: Callable[[Found], Hashable],
    has: Callable[[Found], tuple[int, ...]],
) -> list[Found]:
    """One of all that are `alike`, the one that has most, in the order of their first."""
    kept: dict[Hashable, Found] = {}
    for one in found:
        other = kept.setdefault(alike(one), one)
        if has(one) > has(other):
            kept[alike(one)] = one
    return list(kept.values())


def are_shares(values: np.ndarray | None, shape: tuple[int, ...]) -> bool:
    """Whether an array is there, of this shape, and holds numbers from 0 to 1."""
    if values is None or values.dtype.kind != "f" or values.shape != shape:
        return False
    return bool(((values >= 0) & (values <= 1)).all())


def of_this_version(record: Schema) -> Schema:
    """The same; raises `SchemaError` where it is of other attacks or trust checks than now.

    One that failed has no numbers, and tells why.
    """
    if isinstance(record, StageRecord) and record.status != "failed" and record.outdated:
        raise SchemaError(f"{record.outdated}: what it says stands for something else; run again")
    return record


def read_stage(
    store: Store, cell_id: str, stage: str, schema: type[Schema], left_out: LeftOut
) -> Schema | None:
    """A stage's record; None where there is none, or where it goes into `left_out`."""
    path = f"{stage}.json"
    stored = store.read_stage(cell_id, stage)
    try:
        if stored is not None:
            return of_this_version(schema.read(stored))
    except SchemaError as error:
        left_out.add(f"cells/{cell_id}/{path}", str(error))
    else:
        if (store.cell_folder(cell_id) / path).exists():
            left_out.add(
                f"cells/{cell_id}/{path}",
                "it or a file that it names is damaged, or its model was trained again",
            )
    return None
