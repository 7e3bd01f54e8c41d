"""Accuracy on corrupted images: the images made again, and the model asked again."""

from __future__ import annotations

import numpy as np

from benchmark.results.identity import PROTOCOL_VERSION, protocol_of
from benchmark.stages.corruptions import PATH, Corruptions, summary
from benchmark.verification.comparison import Comparison, allowed, one_sided
from benchmark.verification.loaded import Loaded

_DERIVED = ("status", "reason", "constants", "clean_accuracy")
_FOLLOWING = ("corruptions", "accuracy", "mean", "low", "high", "examples")


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """All predictions again; the rest of the stage follows from them."""
    found.expect("the stage", f"corruptions/{key}", PATH)
    record, stored = loaded.stage(PATH), loaded.arrays(PATH)
    found.expect("protocol_version", protocol_of(record), PROTOCOL_VERSION)
    _ = loaded.target
    again, arrays = Corruptions(loaded.cell.examples, ()).measured(loaded.context)
    found.expect_all(record, again, _DERIVED)
    for name in ("test_index", "label"):
        if not np.array_equal(stored[name], arrays[name]):
            found.differs.append(f"{name} is not that of the data")
    predictions = stored["prediction"]
    if predictions.shape != arrays["prediction"].shape:
        found.differs.append("prediction has another shape than corruptions and examples give")
        return
    differing = int((predictions != arrays["prediction"]).sum())
    if differing > (0 if loaded.same_machine else allowed(predictions.size)):
        found.differs.append(f"asked again, {differing} of {predictions.size} predictions differ")
    correct = predictions == arrays["label"]
    # An example is one vote: its corrupted images are nearly alike
    more = (correct.astype(int) - arrays["correct"]).sum(axis=(0, 1))
    better, worse = int((more > 0).sum()), int((more < 0).sum())
    if one_sided(better, worse):
        found.differs.append(
            f"asked again, {better} examples are right less often than told and {worse} more "
            "often, too many for chance"
        )
    if not np.array_equal(stored["correct"], correct):
        found.differs.append("correct doesn't follow from prediction and label")
    found.expect_all(record, summary(correct), _FOLLOWING)
    found.told.append(f"{predictions.size} predictions of corrupted images")
