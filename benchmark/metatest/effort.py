"""What a meta-test's parts take, before anything is run."""

from __future__ import annotations

from collections.abc import Callable

# APGD's steps, which targeted APGD and FAB make for each of the likeliest classes, and Square's
# queries.
_STEPS, _CLASSES, _QUERIES = 100, 9, 5000


def of_autoattack(classes: int) -> float:
    """Gradient evaluations, roughly, of a query among so many classes that withstands it."""
    return _STEPS + 2 * _STEPS * min(_CLASSES, classes - 1) + _QUERIES / 3


def part(progress: Callable[[float], None], begin: float, end: float) -> Callable[[float], None]:
    """Tells progress, 0 to 1, of a part of what `progress` is told of."""

    def of_part(done: float) -> None:
        progress(begin + done * (end - begin))

    return of_part
