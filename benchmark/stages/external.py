"""An external model: one that someone else trained."""

from __future__ import annotations

from pathlib import Path

from benchmark.external.model import ExternalModel
from benchmark.results import Record, Store
from benchmark.results.files import copy_of
from benchmark.results.records import ExternalRecord, PublishedRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage


class External(Stage):
    """Stage "given": the model's weights, as they came.

    weights.*  as the user gave them; none where the builder loads its own
    """

    path = label = "given"
    essential = True

    def __init__(self, external: ExternalModel | None = None) -> None:
        self.external = external

    def fits(self, record: Record, store: Store, cell_id: str) -> bool:
        """Whether it tells what is given as published, if anything is."""
        told = None if self.external is None else _published(self.external)
        return told is None or record.get("published") == told.model_dump()

    def run(self, context: Context) -> Result:
        """Makes the model ready first: what can't be attacked is not stored."""
        assert context.external is not None
        _ = context.model
        source = dict(context.cell.source or {})
        published = _published(context.external)
        record = ExternalRecord(seconds=0.0, source=source, published=published)
        if context.external.weights is None:
            return record, {}
        path = Path(context.external.weights).resolve()
        name = f"weights{Path(context.external.weights).suffix.lower()}"
        return record, {name: copy_of(path, source["weights_sha256"])}


def _published(external: ExternalModel) -> PublishedRecord | None:
    told = external.published
    return None if told is None else PublishedRecord(**told.record())
