"""The stages of a cell that failed, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from benchmark.results.files import Record
from benchmark.results.layout import STAGES
from benchmark.results.store import Store


def failed_stages(
    store: Store, cell_id: str, *, attacks: Collection[str] | None = None
) -> Iterator[tuple[str, Record]]:
    """Each stage with its record, in the order of names.

    `attacks`: the keys of those to look at, as the suites of a run name them; None for all.
    """
    for stage in STAGES:
        yield from _failed(store, cell_id, stage)
    for folder in store.stage_folders(cell_id):
        for key in store.stage_keys(cell_id, folder):
            if folder != "attacks" or attacks is None or key in attacks:
                yield from _failed(store, cell_id, f"{folder}/{key}")


def _failed(store: Store, cell_id: str, stage: str) -> Iterator[tuple[str, Record]]:
    record = store.read_stage(cell_id, stage)
    if record is not None and record.get("status") == "failed":
        yield stage, record
