"""The threat model: a norm and a budget in pixel scale."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from defenses.errors import DefenseError, did_you_mean

NORMS = ("linf", "l2", "l1")

# As ART and NumPy have them.
_ORDERS = {math.inf: "linf", 2: "l2", 1: "l1"}
_FRACTION = re.compile(r"\s*([0-9.]+)\s*/\s*([0-9.]+)\s*")


@dataclass(frozen=True)
class Threat:
    """Perturbations of norm at most `eps`, on inputs in [0, 1].

    With weights w of the features of a table, those d of ||d / w|| at most `eps`: under linf
    feature j moves by `eps * w[j]` at most, and where w[j] is 0 it doesn't.

    Args:
        norm: "linf", "l2" or "l1"; also infinity, 2 or 1, as ART has them.
        eps: the budget in pixel scale, greater than 0, and at most 1 under linf; also a text such
            as "8/255".
        weights: of the features, (d,); None where all are 1.

    Raises:
        DefenseError: an unknown norm, a budget that is not a positive number, or weights that are
            negative, not finite or all 0.
    """

    norm: str
    eps: float
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "norm", _norm(self.norm))
        object.__setattr__(self, "eps", _eps(self.eps))
        object.__setattr__(self, "weights", _weights(self.weights))
        if self.norm == "linf" and self.eps > 1:
            raise DefenseError(
                f"eps {self.eps:g} is more than every pixel can move: inputs lie in [0, 1]; "
                f"{self.eps:g}/255 is {self.eps / 255:.4g}"
            )

    def random_starts(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Points drawn uniformly from the unit ball of the norm, float32, one for each row.

        An attack starts at `x + eps * start`, clipped to [0, 1]. With weights the ball is theirs.
        """
        starts = self._unit_starts(generator, shape)
        return starts if self.weights is None else starts * np.asarray(self.weights, np.float32)

    def record(self) -> dict[str, Any]:
        """What makes the same threat again, as JSON values."""
        weights = {} if self.weights is None else {"weights": list(self.weights)}
        return {"norm": self.norm, "eps": self.eps, **weights}

    def _unit_starts(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if self.norm == "linf":
            return generator.uniform(-1.0, 1.0, shape).astype(np.float32)
        size = math.prod(shape[1:])
        if self.norm == "l1":
            # Shares of d + 1 exponentials fill the simplex evenly; the last one is the distance
            # to the sphere.
            shares = generator.standard_exponential((shape[0], size + 1))
            shares /= shares.sum(axis=1, keepdims=True)
            signs = generator.integers(0, 2, (shape[0], size)) * 2 - 1
            return (shares[:, :-1] * signs).reshape(shape).astype(np.float32)
        directions = generator.standard_normal((shape[0], size))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        radii = generator.random((shape[0], 1)) ** (1 / directions.shape[1])
        return (directions * radii).reshape(shape).astype(np.float32)


def of_single_attacks(norm: Any) -> str | None:
    """What to tell who names a norm that no training and no run has, and single attacks have."""
    if str(norm).strip().lower() != "l0":
        return None
    return f"{norm} is a norm of single attacks; give it to those in a suite, as `threat: l0`"


def _norm(given: Any) -> str:
    if isinstance(given, int | float) and not isinstance(given, bool) and given in _ORDERS:
        return _ORDERS[given]
    if told := of_single_attacks(given):
        raise DefenseError(told)
    if given not in NORMS:
        raise DefenseError(f"unknown norm {given!r}{did_you_mean(str(given), NORMS)}")
    return str(given)


def _weights(given: Any) -> tuple[float, ...] | None:
    if given is None:
        return None
    found = np.asarray(given, dtype=np.float64)
    if found.ndim != 1 or not (np.isfinite(found) & (found >= 0)).all() or not found.any():
        raise DefenseError(
            "weights must be a finite number from 0 up for each feature, and one above 0; "
            f"got {str(given)[:60]}"
        )
    return tuple(found.tolist())


def _eps(given: Any) -> float:
    try:
        if isinstance(given, str) and (parts := _FRACTION.fullmatch(given)):
            number = float(parts[1]) / float(parts[2])
        else:
            number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, ZeroDivisionError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise DefenseError(
            f"eps must be a positive number, got {given!r}; it is in pixel scale, such as 0.15 or "
            '"8/255"'
        )
    return number
