"""The stages of a cell that failed, and why; and those that can't be read."""

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
    for stage, record in _stages(store, cell_id, attacks):
        if record is not None and record.get("status") == "failed":
            yield stage, record


def damaged_stages(store: Store, cell_id: str, *, attacks: Collection[str]) -> Iterator[str]:
    """The stages that have a record which can't be read, or that were made of what has changed."""
    for stage, record in _stages(store, cell_id, attacks):
        if record is None:
            yield stage


def _stages(
    store: Store, cell_id: str, attacks: Collection[str] | None
) -> Iterator[tuple[str, Record | None]]:
    """Every stage that is there, with what can be read of it."""
    for stage in STAGES:
        if (store.cell_folder(cell_id) / f"{stage}.json").exists():
            yield stage, store.read_stage(cell_id, stage)
    for folder in store.stage_folders(cell_id):
        for key in store.stage_keys(cell_id, folder):
            if folder != "attacks" or attacks is None or key in attacks:
                yield f"{folder}/{key}", store.read_stage(cell_id, f"{folder}/{key}")
