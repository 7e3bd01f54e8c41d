"""How far the outcomes of two machines may differ that round otherwise."""

from __future__ import annotations


def may_differ(count: int, *, share: float, least: int) -> int:
    """How many of `count` outcomes: a share of them, and at least so many.

    An attack that meets another last bit goes another way, with few examples as with many.
    """
    return max(least, int(share * count))
