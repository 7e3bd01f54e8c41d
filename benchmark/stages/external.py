"""An external model: one that someone else trained."""

from __future__ import annotations

from pathlib import Path

from benchmark.results.files import copy_of
from benchmark.results.records import ExternalRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage


class External(Stage):
    """Stage "given": the model's weights, as they came.

    weights.*  as the user gave them; none where the builder loads its own
    """

    path = label = "given"
    essential = True

    def run(self, context: Context) -> Result:
        """Makes the model ready first: what can't be attacked is not stored."""
        assert context.external is not None
        _ = context.model
        source = dict(context.cell.source or {})
        record = ExternalRecord(seconds=0.0, source=source)
        if context.external.weights is None:
            return record, {}
        path = Path(context.external.weights).resolve()
        name = f"weights{Path(context.external.weights).suffix.lower()}"
        return record, {name: copy_of(path, source["weights_sha256"])}
