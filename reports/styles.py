"""One encoding for all charts and figures: a defense has a colour and a marker, a framework a fill.

The undefended twin is a muted cross. A filled mark is PyTorch's, a hollow one TensorFlow's, on
every page and in every figure, whichever of them a group holds.
"""

from __future__ import annotations

from collections.abc import Iterable

from reports.board import UNDEFENDED

FRAMEWORKS = ("torch", "tensorflow")


def styles(defenses: Iterable[str]) -> dict[str, int]:
    """A number for each defense of a group in the order of their names, -1 for the undefended."""
    names = sorted({*defenses} - {UNDEFENDED})
    return {UNDEFENDED: -1} | {name: number for number, name in enumerate(names)}


def is_hollow(framework: str) -> bool:
    """Whether a framework's marks are outlines."""
    return framework != FRAMEWORKS[0]
