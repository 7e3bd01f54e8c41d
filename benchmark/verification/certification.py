"""Certification: noise drawn and the model asked again, and what follows from the answers."""

from __future__ import annotations

import numpy as np

from benchmark import smoothing
from benchmark.stages.certification import Certification, summary
from benchmark.verification.comparison import Comparison, allowed, one_sided
from benchmark.verification.loaded import Loaded


def check(loaded: Loaded, key: str, found: Comparison) -> None:
    """All counts again; certificates, their attack and the record follow from them."""
    path = f"certification/{key}"
    jobs = [loaded.job(suite, ()) for suite in loaded.suites]
    asked = [job.certification for job in jobs if job.certification_key() == key]
    if not asked or asked[0] is None:
        found.differs.append("no suite of the cell asks for it")
        return
    record, stored = loaded.stage(path), loaded.arrays(path)
    _ = loaded.target
    stage = Certification(asked[0], key, loaded.cell.examples, ())
    again, arrays = stage.measured(loaded.context)
    if stored.keys() != arrays.keys() or any(
        stored[name].shape != array.shape for name, array in arrays.items()
    ):
        found.differs.append("the arrays have other names or shapes than examples and classes give")
        return
    for name in ("test_index", "label"):
        if not np.array_equal(stored[name], arrays[name]):
            found.differs.append(f"{name} is not that of the data")
    for name, draws in (("selection", asked[0].n0), ("estimation", asked[0].n)):
        apart = np.abs(stored[name] - arrays[name]).max(axis=1)
        room = 0 if loaded.same_machine else allowed(draws)
        if stored[name].min() < 0 or (apart > room).any():
            found.differs.append(f"asked again, counts of {name} differ by up to {apart.max()}")
    rows = np.arange(len(stored["label"]))
    more = (stored["estimation"] - arrays["estimation"])[rows, arrays["label"]]
    better, worse = int((more > 0).sum()), int((more < 0).sum())
    if one_sided(better, worse):
        found.differs.append(
            f"asked again, the label of {better} examples is counted less often than told and of "
            f"{worse} more often, too many for chance"
        )
    _follow(stored, asked[0].n, {"sigma": asked[0].sigma, "alpha": asked[0].alpha}, found)
    if (stored["broken"] != arrays["broken"]).any():
        found.differs.append("attacked again, other certificates are broken")
    needed = again["radius_needed"]
    found.expect_all(record, summary(stored, asked[0], needed))
    found.told.append(f"{len(stored['label'])} certificates made again")


def _follow(
    stored: dict[str, np.ndarray], draws: int, level: dict[str, float], found: Comparison
) -> None:
    """Certificates are what the stored counts give."""
    prediction, radius = smoothing.certificates(
        stored["selection"], stored["estimation"], draws=draws, **level
    )
    if not np.array_equal(stored["prediction"], prediction):
        found.differs.append("prediction doesn't follow from the counts")
    if not np.allclose(stored["radius"], radius, rtol=1e-9, atol=1e-12):
        found.differs.append("radius doesn't follow from the counts")
