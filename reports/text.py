"""Stored texts, which nobody vouches for, made fit to be shown; and numbers made readable."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_NORMS = {"linf": "L∞", "l2": "L2", "l1": "L1", "l0": "L0"}
_REVERSING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_REPLACEMENT = "\ufffd"


def plain(text: str) -> str:
    """The text without control, escape and reversing characters; line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == "\n" or _shows(c) else _stand_in(c) for c in text)


def one_line(text: str) -> str:
    """The same on one line."""
    return " ".join(plain(text).split())


def clipped(text: str, length: int) -> str:
    """The same in so many characters: names that are told apart by their ends stay so."""
    line = one_line(text)
    end = length // 2
    return line if len(line) <= length else f"{line[: length - end - 1]}…{line[-end:]}"


def spreadsheet(text: str) -> str:
    """The same for a spreadsheet, which must not take it for a formula."""
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) or text.startswith(_FORMULA) else line


def listed(words: Sequence[str]) -> str:
    """Words in a row: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def counted(number: int, name: str) -> str:
    """A number with its name, in the plural but for one: "1 round", "2 rounds"."""
    return f"{number} {name if number == 1 else f'{name}s'}"


def percent(share: float | None) -> str:
    """A share as per cent with one decimal, and no sign: the column's head has it."""
    return "–" if share is None else f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{'−' if difference < 0 else '+'}{abs(100 * difference):.1f}"


def p_value(p: float) -> str:
    """A p-value with three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def amount(number: float | None) -> str:
    """A large number with three digits and a unit prefix."""
    if number is None:
        return "–"
    for size, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{number / size:#.3g}".rstrip(".") + f" {suffix}"
    return f"{number:.3g}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "–"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def norm(name: str) -> str:
    """A norm as it is written in a threat model."""
    return _NORMS.get(name, name)


def budget(eps: float) -> str:
    """A perturbation budget: 0.15 and 0.2, but 8/255 where only grey levels tell it exactly."""
    short = f"{eps:.4g}"
    if float(short) == eps or eps >= 1:
        return short
    levels = 255 * eps
    whole = levels >= 0.5 and abs(levels - round(levels)) < 1e-6
    return f"{round(levels)}/255" if whole else short


def _shows(character: str) -> bool:
    if ord(character) & 0xFFFE == 0xFFFE:  # no characters, in no XML
        return False
    return unicodedata.category(character) not in ("Cc", "Cs") and character not in _REVERSING


def _stand_in(character: str) -> str:
    return " " if character in "\t\r" else _REPLACEMENT
