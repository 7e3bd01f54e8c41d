"""Certification: accuracy that no attack can lower, of the model behind Gaussian noise."""

from __future__ import annotations

import time

import numpy as np

from benchmark import frameworks, smoothing
from benchmark.attacks.specification import Smoothing
from benchmark.attacks.target import Target
from benchmark.results import Record, npz_writer
from benchmark.results.records import CertificationRecord
from benchmark.smoothing import ABSTAINED
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Stage

_POINTS = 11  # of the curve over radii
_ROUNDING = 1e-9  # of radii, relative
# What noise is drawn for, beside seed and example: certificates, the attack, what is said of it.
_CERTIFIED, _ATTACKED, _JUDGED = range(3)


class Certification(Stage):
    """Stage "certification/<key>": a record, and <key>.npz.

    It holds `test_index` and `label`, (n,), the counts of answers under noise `selection` and
    `estimation`, (n, classes), the `prediction` of the smoothed model, -1 where it abstains, its
    certified `radius`, and `broken`, bool: whether an attack within that radius changed the
    prediction all the same. The noise is a function of seed and example alone, the same in both
    frameworks. It is of the smoothed model, which no suite attacks: the worst case is without it.

    Args:
        asked: noise, draws and level.
        key: changes with all that changes the stage on this cell.
        examples: of the cell.
        needs: the stages that make the model.
    """

    def __init__(self, asked: Smoothing, key: str, examples: int, needs: tuple[str, ...]) -> None:
        self.asked, self.key, self.needs = asked, key, needs
        self.path, self.label = f"certification/{key}", "certification"
        count = min(examples, asked.examples or examples)
        self.effort = count * smoothing.effort(n0=asked.n0, draws=asked.n)

    def run(self, context: Context) -> Result:
        """Certificates, and an attack on them; one that it breaks makes the record a failed one."""
        started = time.perf_counter()
        record, arrays = self.measured(context)
        record["seconds"] = time.perf_counter() - started
        return CertificationRecord(**record), {f"{self.key}.npz": npz_writer(arrays)}

    def measured(self, context: Context) -> tuple[Record, dict[str, np.ndarray]]:
        """The record without its seconds, and the arrays."""
        cell, whole = context.cell, context.target
        target = whole.part(whole.some(self.asked.examples))
        progress = context.reporter.stage(self.label)
        frameworks.seed_everything(cell.seed)  # of a model that draws
        found = []
        for done, (index, x) in enumerate(zip(target.index, target.x, strict=True)):
            rng = _rng(cell.seed, _CERTIFIED, index)
            found.append([self._counts(target, x, rng, n) for n in (self.asked.n0, self.asked.n)])
            progress((done + 1) / len(target.x))
        selection, estimation = map(np.stack, zip(*found, strict=True))
        level = {"sigma": self.asked.sigma, "alpha": self.asked.alpha}
        prediction, radius = smoothing.certificates(
            selection, estimation, draws=self.asked.n, **level
        )
        arrays = {
            "test_index": target.index,
            "label": target.y,
            "selection": selection,
            "estimation": estimation,
            "prediction": prediction,
            "radius": radius,
            "broken": self._broken(target, prediction, radius, cell.seed),
        }
        radius_needed = smoothing.needed(cell.norm, cell.eps, target.x.shape[1:], target.weights)
        return summary(arrays, self.asked, radius_needed), arrays

    def _counts(
        self, target: Target, x: np.ndarray, rng: np.random.Generator, draws: int
    ) -> np.ndarray:
        return smoothing.counts(target.once, x, rng, sigma=self.asked.sigma, draws=draws)

    def _broken(
        self, target: Target, prediction: np.ndarray, radius: np.ndarray, seed: int
    ) -> np.ndarray:
        """Which certificates an attack shows to be wrong, (n,) bool."""
        broken = np.zeros(len(prediction), dtype=bool)
        certified = np.flatnonzero(prediction != ABSTAINED)
        points = smoothing.attacked(
            target.estimator.loss_gradient,
            target.x[certified],
            prediction[certified],
            radius[certified],
            _rng(seed, _ATTACKED),
            sigma=self.asked.sigma,
        )
        draws = smoothing.judged(self.asked.n)
        for row, point in zip(certified, points, strict=True):
            rng = _rng(seed, _JUDGED, target.index[row])
            said = smoothing.decided(
                self._counts(target, point, rng, draws)[None], alpha=self.asked.alpha
            )
            broken[row] = said[0] not in (ABSTAINED, prediction[row])
        return broken

    def failed(self, reason: str) -> CertificationRecord:
        """The record where it could not be done."""
        return CertificationRecord(status="failed", reason=reason)


def summary(arrays: dict[str, np.ndarray], asked: Smoothing, radius_needed: float) -> Record:
    """What the record says of the arrays, for a threat within a ball of this L2 radius."""
    radius, broken = arrays["radius"], arrays["broken"]
    right = arrays["prediction"] == arrays["label"]
    most = smoothing.greatest(draws=asked.n, sigma=asked.sigma, alpha=asked.alpha)
    radii = np.linspace(0, most, _POINTS)
    reason = ""
    if broken.any():
        names = ", ".join(map(str, arrays["test_index"][broken][:5]))
        reason = (
            f"an attack within the certified radius changed {int(broken.sum())} of "
            f"{int((radius > 0).sum())} certified predictions (test examples {names}): an error of "
            f"this tool, if not one of the failures that alpha {asked.alpha:g} allows; report it"
        )
    return {
        "status": "failed" if broken.any() else "ok",
        "reason": reason,
        "sigma": asked.sigma,
        "n0": asked.n0,
        "n": asked.n,
        "alpha": asked.alpha,
        "examples": len(radius),
        "radii": radii.tolist(),
        "certified_accuracy": [_share(right, radius, r) for r in radii],
        "abstained": int((arrays["prediction"] == ABSTAINED).sum()),
        "mean_radius": float(np.where(right, radius, 0.0).mean()),
        "radius_needed": radius_needed,
        "certified": _share(right, radius, radius_needed),
        "broken": int(broken.sum()),
    }


def _share(right: np.ndarray, radius: np.ndarray, least: float) -> float:
    """The share that is right with a certified radius of `least`, to rounding."""
    return float((right & (radius >= least * (1 - _ROUNDING))).mean())


def _rng(seed: int, purpose: int, index: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, purpose, index])
