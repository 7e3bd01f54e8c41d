"""Support: a defense that is meant to adapt does so before it is attacked."""

from __future__ import annotations

import time

from benchmark.examples import support_examples
from benchmark.results.records import SupportRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage
from benchmark.stages.training import TRAINING, spent, weights_of


class SupportStage(Stage):
    """Stage "adaptation": the trained model after its own adaptation.

    adapted.*  in the framework's format
    """

    path = label = "adaptation"
    essential = True
    needs = (TRAINING,)

    def run(self, context: Context) -> Result:
        """Adapts a copy; the trained model stays as it is."""
        context.reporter.stage(self.label)
        cell, data, started = context.cell, context.dataset, time.perf_counter()
        rows = support_examples(cell, data)
        fitted = context.fitted.adapt(data.x_train[rows], data.y_train[rows], seed=cell.seed)
        context.adapted = fitted
        record = SupportRecord(labels_used=len(rows), **spent(context, fitted, started))
        return record, weights_of(context, "adapted", fitted)
