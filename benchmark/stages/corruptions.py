"""Common corruptions: accuracy on images that got worse by no one's intent."""

from __future__ import annotations

import time

import numpy as np

from benchmark import frameworks
from benchmark.corruptions import CORRUPTIONS, constants, corrupt
from benchmark.metatest.summary import Estimate, share
from benchmark.results import Record, npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import CorruptionsRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Versioned
from defenses.labels import labels_of

PATH = "corruptions/common"
LEVELS = 5  # severities


class Corruptions(Versioned):
    """Stage "corruptions/common": a record, and common.npz.

    It holds `prediction`, (corruptions, severities, n) int64, `correct`, bool of the same shape,
    and `test_index` and `label`, (n,). The images are made from data and seed alone, so that they
    are the same whoever's model looks at them. They are no attack: the worst case is without them.

    Args:
        examples: of the cell.
        needs: the stages that make the model.
    """

    path, label = PATH, "corruptions"

    def __init__(self, examples: int, needs: tuple[str, ...]) -> None:
        self.needs = needs
        self.effort = float(examples * len(CORRUPTIONS) * LEVELS)

    def run(self, context: Context) -> Result:
        """Each corruption at each severity."""
        started = time.perf_counter()
        record, arrays = self.measured(context)
        record["seconds"] = time.perf_counter() - started
        made = CorruptionsRecord(**record, protocol_version=PROTOCOL_VERSION)
        return made, {"common.npz": npz_writer(arrays)}

    def measured(self, context: Context) -> tuple[Record, dict[str, np.ndarray]]:
        """The record without its seconds, and the arrays."""
        target, seed = context.target, context.cell.seed
        progress = context.reporter.stage(self.label)
        prediction = np.empty((len(CORRUPTIONS), LEVELS, len(target.x)), np.int64)
        for place, name in enumerate(CORRUPTIONS):
            for level in range(LEVELS):
                x = corrupt(target.x, name, level + 1, seed=seed, index=target.index)
                frameworks.seed_everything(seed)  # of a model that draws
                prediction[place, level] = labels_of(target.predict(x))
                progress((place * LEVELS + level + 1) / (len(CORRUPTIONS) * LEVELS))
        arrays = {
            "test_index": target.index,
            "label": target.y,
            "prediction": prediction,
            "correct": prediction == target.y,
        }
        clean = float((target.clean_prediction == target.y).mean())
        about = {
            "status": "ok",
            "reason": "",
            "constants": constants(target.x.shape[1:]),
            "clean_accuracy": clean,
        }
        return {**summary(arrays["correct"]), **about}, arrays


def summary(correct: np.ndarray) -> Record:
    """What the record says of `correct`, (corruptions, severities, n)."""
    mean = over_examples(correct.mean(axis=(0, 1)))
    return {
        "corruptions": list(CORRUPTIONS),
        "accuracy": correct.mean(axis=2).tolist(),
        "mean": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "examples": correct.shape[2],
    }


def over_examples(shares: np.ndarray) -> Estimate:
    """The mean of each example's share, (n,), with its 95 % interval over the examples.

    Examples that all have the same share count as one answer each, so that they don't claim more
    than their number can tell. One example tells nothing of others.
    """
    if len(shares) < 2:
        return Estimate(float(shares.mean()), 0.0, 1.0)
    differ = bool(np.ptp(shares))
    return share(shares, len(CORRUPTIONS) * LEVELS if differ else 1)
