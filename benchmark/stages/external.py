"""An external model: one that someone else trained."""

from __future__ import annotations

from benchmark.external.loading import copies
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage


class External(Stage):
    """Stage "given": the model's weights, as they came.

    given.json  source, seconds
    weights.*   as the user gave them; none where the builder loads its own
    """

    path = label = "given"
    essential = True

    def run(self, context: Context) -> Result:
        """Makes the model ready first: what can't be attacked is not stored."""
        assert context.external is not None
        _ = context.model
        record = {"seconds": 0.0, "source": dict(context.cell.source or {})}
        return record, copies(context.external)
