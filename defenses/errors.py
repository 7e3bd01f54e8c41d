"""What can go wrong in a defense.

DefenseError        wrong input: a parameter, a model or data that the defense can't take
TrainingDivergedError    the training's loss is no longer a number
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Of a name that is looked for: what is longer is no slip of the hand, and takes seconds to compare.
_LONGEST = 80

# Other words for names, whose letters are nearer to a wrong one ("gpu" to "cpu") or to none.
_ALSO_CALLED = {"gpu": "cuda", "tf": "tensorflow", "tf2": "tensorflow", "keras": "tensorflow"}


class DefenseError(ValueError):
    """Says what was given, what is allowed and the likely fix, in one line."""


class TrainingDivergedError(ArithmeticError):
    """The loss became infinite or not a number."""


# More names than this are looked up elsewhere, not read in an error line.
_MANY = 20


def did_you_mean(name: str, allowed: Iterable[str], *, listing: str = "") -> str:
    """The end of an error line: the nearest allowed name, or all of them.

    Of very many, the three nearest, and the command that lists all, where there is one: `listing`.
    """
    allowed = sorted(allowed)
    asked = name[:_LONGEST].lower()
    if (meant := _ALSO_CALLED.get(asked)) in allowed:
        return f"; did you mean {meant!r}?"
    plain = {one.lower(): one for one in allowed}
    close = difflib.get_close_matches(asked, plain, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {plain[close[0]]!r}?"
    if listing and len(allowed) > _MANY:
        near = [plain[one] for one in difflib.get_close_matches(asked, plain, n=3, cutoff=0.0)]
        return f"; the nearest are {', '.join(near)}; all of them: {listing}"
    return f"; allowed: {', '.join(allowed)}"
