"""What an argument of an attack may be: one table of names to kinds, for every row of attacks.

A value that a kind refuses would end an attack, or a worker, after the training it comes behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = int | float | str | bool

SHARE_OF_EPS = re.compile(r"(\d+(?:\.\d*)?)\s*eps")

# More rounds than any attack finishes, and more room than a batch has.
MOST = 1_000_000

# Of numbers that aren't counted: what float32 can still work with.
LEAST, LARGEST = 1e-12, 1e10

_OR_SHARE = "or a share of the budget such as '0.1 eps'"


@dataclass(frozen=True)
class Kind:
    """Numbers from `low` to `high`, both allowed unless they are `open`.

    Args:
        text: what is allowed, for people.
        whole: only whole numbers, and no shares of eps.
        odd: only odd ones.
        shares: whether a share of eps, such as "0.1 eps", is allowed too.
    """

    text: str
    low: float
    high: float
    whole: bool = False
    odd: bool = False
    open: bool = False
    shares: bool = False

    def takes(self, value: object) -> bool:
        """Whether an argument of this kind may have this value, as a suite file gives it."""
        if isinstance(value, str):
            match = SHARE_OF_EPS.fullmatch(value) if self.shares else None
            return match is not None and self._contains(float(match[1]))
        if type(value) is int or (type(value) is float and not self.whole):
            return self._contains(value)
        return False

    def _contains(self, number: float) -> bool:
        if self.odd and number % 2 != 1:
            return False
        if self.open:
            return self.low < number < self.high
        return self.low <= number <= self.high


@dataclass(frozen=True)
class Flag:
    """true or false."""

    text: str = "true or false"

    def takes(self, value: object) -> bool:
        """Whether it is one of the two; 0 and 1 are numbers."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Word:
    """A text, of a class that this project knows by its signature alone."""

    text: str = "a text of at most 80 characters"

    def takes(self, value: object) -> bool:
        """Whether it is a text, and a short one."""
        return isinstance(value, str) and len(value) <= 80


ArgumentKind = Kind | Flag | Word

_COUNT = Kind(f"a whole number from 1 to {MOST:,}", 1, MOST, whole=True)
_FROM_0 = Kind(f"a whole number from 0 to {MOST:,}", 0, MOST, whole=True)
_FROM_2 = Kind(f"a whole number from 2 to {MOST:,}", 2, MOST, whole=True)
_ODD = Kind("an odd whole number from 1 to 999", 1, 999, whole=True, odd=True)
_POSITIVE = Kind(f"a number above 0, {_OR_SHARE}", LEAST, LARGEST, shares=True)
_NUMBER = Kind(f"a number from 0 up, {_OR_SHARE}", 0, LARGEST, shares=True)
_SHARE = Kind("a share from 0 to 1", 0, 1)
_BELOW_1 = Kind("a share from 0 up, below 1", 0, 1 - 1e-6)
_COVER = Kind("a share above 0, up to 1", 1e-6, 1)
_PART = Kind("a share above 0 and below 1", 0, 1, open=True)
_ABOVE_1 = Kind("a number above 1", 1, LARGEST, open=True)
_TOLERANCE = Kind("a number from 0.000001 to 1", 1e-6, 1)
_ANY = Kind(f"a number, {_OR_SHARE}", -LARGEST, LARGEST, shares=True)
_ANY_WHOLE = Kind(f"a whole number, up to {MOST:,}", -MOST, MOST, whole=True)
_PERCENT = Kind("a number from 0 to 100, in per cent of the image's side", 0, 100)
_DEGREES = Kind("an angle from 0 to 180", 0, 180)

_KINDS: Mapping[Kind | Flag, str] = {
    _COUNT: """
        binary_search_steps conjugate_sinkhorn_max_iter freq_dim init_eval init_size max_doubling
        max_eval max_halving max_iter nb_grads nb_parallel nb_random_init nb_restarts nb_steps
        num_rotations num_translations num_trial projected_sinkhorn_max_iter queries query_limit
        sample_size stride sub_dim targets
    """,
    _FROM_0: "num_random_init target",
    _POSITIVE: """
        alpha beta delta eps eps_iter eps_step epsilon eta finite_diff init_norm
        initial_const lambda_param largest_const learning_rate regularization sigma theta variable_h
    """,
    _NUMBER: "confidence decay lambda_c lambda_s lambda_tv",
    _PART: "decrease_factor gamma step_adapt",
    _COVER: "p_init scale",
    _SHARE: "threshold",
    _TOLERANCE: "bin_search_tol",
    _ABOVE_1: "const_factor eps_factor",
    _ODD: "kernel_size",
    _DEGREES: "max_rotation rotation_max",
    _PERCENT: "max_translation",
    Flag(): "rescaled",
}
_BY_NAME = {name: kind for kind, names in _KINDS.items() for name in names.split()}

# Where a name means something else than in other attacks.
_BY_ATTACK: Mapping[tuple[str, str], Kind] = {
    ("deepfool", "epsilon"): _NUMBER,
    # The label's own, and at least one to go to.
    ("deepfool", "nb_grads"): _FROM_2,
    ("elastic-net", "beta"): _NUMBER,
    # Of which nothing has to be wrong, so that no step is made.
    ("universal", "delta"): _BELOW_1,
    ("universal-targeted", "delta"): _BELOW_1,
}


def kind_of(attack: str, argument: str) -> Kind | Flag:
    """What this argument of a row in the table of attacks may be; `KeyError` for unknown ones."""
    return _BY_ATTACK.get((attack, argument)) or _BY_NAME[argument]


def kind_like(default: object, annotation: str = "") -> ArgumentKind | None:
    """What an argument with this default in a signature may be; None where nothing tells.

    A default of 0 may stand for any number, unless its annotation says that it is counted.
    """
    if isinstance(default, bool):
        return Flag()
    if isinstance(default, int) and annotation == "int":
        return _ANY_WHOLE
    if isinstance(default, int | float):
        return _ANY
    return Word() if isinstance(default, str) else None


def as_art_takes_it(attack: str, argument: str, value: Value) -> Value:
    """The value with whole numbers as floats where any number may stand: ART refuses some."""
    kind = _BY_ATTACK.get((attack, argument)) or _BY_NAME.get(argument)
    is_number = isinstance(kind, Kind) and not kind.whole
    return float(value) if is_number and isinstance(value, int) else value


def resolved(value: Value, eps: float) -> Value:
    """A share of eps as a number; anything else as it is."""
    match = SHARE_OF_EPS.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) * eps if match else value


def misfit(
    attack: str, arguments: Mapping[str, Any], norm: str, shape: tuple[int, ...], classes: int
) -> str:
    """Why an attack with these arguments fails on such data; empty where it doesn't.

    Args:
        attack: a row in the table of attacks.
        arguments: as in a suite file, of the kinds that they may be; its own defaults stand for the
            others.
        norm: of the threat.
        shape: of an example, (H, W, C) or (d,).
        classes: how many the data have.
    """
    side = min(shape[:2])
    if attack == "simba" and norm == "l2":
        frequencies, stride = arguments.get("freq_dim", 4), arguments.get("stride", 1)
        if frequencies > side or (side - frequencies) % stride:
            return (
                f"freq_dim {frequencies} and stride {stride} don't fit images of {side}x{side}: "
                f"{side} - freq_dim must be a multiple of stride, from 0 up"
            )
    if attack == "cw-linf":
        first, last = arguments.get("initial_const", 1e-5), arguments.get("largest_const", 20.0)
        if not any(isinstance(one, str) for one in (first, last)) and first >= last:
            return f"initial_const is {first}; no search begins at largest_const, {last}, or above"
    limits = {
        ("universal-targeted", "target"): (0, 0, classes - 1, "the data's classes"),
        # ART shares its queries out in rounds, which fewer than 251 are not enough for.
        ("geoda", "max_iter"): (4000, 251, MOST, "what its first round of queries needs"),
        ("patch", "scale"): (0.4, 3 / side, 1, f"at least 3 pixels of {side}"),
    }
    for (name, argument), (default, low, high, reason) in limits.items():
        if name == attack and not low <= (value := arguments.get(argument, default)) <= high:
            return f"{argument} is {value}; allowed here: from {low:g} to {high:g} ({reason})"
    return ""
