"""Boundary, which starts from an unseeded generator that no seed reaches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from art.attacks.evasion import BoundaryAttack as ArtBoundaryAttack


class _FromGlobal(np.random.RandomState):
    """An unseeded generator takes its seed from the global one."""

    def __init__(self, seed: Any = None) -> None:
        super().__init__(np.random.randint(2**31) if seed is None else seed)  # noqa: NPY002


@contextmanager
def seeded_random_states() -> Iterator[None]:
    """Meanwhile `np.random.RandomState()` depends on NumPy's global generator."""
    original = np.random.RandomState
    np.random.RandomState = _FromGlobal  # type: ignore[misc]
    try:
        yield
    finally:
        np.random.RandomState = original  # type: ignore[misc]


class BoundaryAttack(ArtBoundaryAttack):
    """ART's boundary attack, the same for the same global seed."""

    def generate(self, x: np.ndarray, y: np.ndarray | None = None, **kwargs: object) -> np.ndarray:
        """Adversarial examples for `x`, (n, ...)."""
        with seeded_random_states():
            return np.asarray(super().generate(x, y, **kwargs))
