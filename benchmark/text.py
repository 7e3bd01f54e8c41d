"""Text for a terminal: durations, and what others wrote made harmless."""

from __future__ import annotations

_IN_ASCII = {
    "–": "-",
    "─": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "≤": "<=",
    "×": "x",
    "±": "+-",
    "→": "->",
    "∞": "inf",
    "ε": "eps",
}


def clean(text: object) -> str:
    """Text without anything that a terminal would obey: control characters appear as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(text)
    )


def in_ascii(text: str) -> str:
    """Text for a stream that takes ASCII only: signs by their names, the rest as escapes."""
    return "".join(
        _IN_ASCII.get(c) or c.encode("ascii", "backslashreplace").decode("ascii") for c in text
    )


def shortened(text: str, most: int) -> str:
    """Text of at most `most` characters; the middle goes, since errors end with their remedy."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 5]} ... {text[-end:]}"


def duration(seconds: float) -> str:
    """Seconds as "42 s", "3:05 min" or "1:02:03 h"."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
