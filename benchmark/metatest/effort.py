"""What the suite autoattack takes of a meta-test's queries, before anything is run."""

from __future__ import annotations

# APGD's steps, which targeted APGD and FAB make for each of the likeliest classes, and Square's
# queries.
_STEPS, _CLASSES, _QUERIES = 100, 9, 5000


def of_autoattack(classes: int) -> float:
    """Gradient evaluations, roughly, of a query among so many classes that withstands it."""
    return _STEPS + 2 * _STEPS * min(_CLASSES, classes - 1) + _QUERIES / 3
