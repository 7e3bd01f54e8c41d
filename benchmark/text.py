"""Text for a terminal: durations, and what others wrote made harmless."""

from __future__ import annotations

# Of Python, PyTorch (on any device) and TensorFlow.
_MEMORY = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError")

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


def one_line(text: object, limit: int = 250) -> str:
    """What a library says, in one line that a terminal can show, cut after `limit` characters."""
    from defenses.causes import ESCAPES  # late: `bench --help` waits for no NumPy

    line = clean(" ".join(ESCAPES.sub("", str(text)).split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def reason_of(error: BaseException, limit: int = 250) -> str:
    """An exception's type and message in one line.

    TensorFlow wraps what a user's code raised into "in user code:" and a traceback, Keras into
    "Exception encountered when calling ..." and a list of arguments: of both, the cause is taken.
    """
    from defenses.causes import cause_of

    return one_line(cause_of(error), limit)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an exception says, whoever raised it."""
    return type(error).__name__ in _MEMORY or "can't allocate memory" in str(error)


def explained(error: BaseException, smaller: str) -> str:
    """The same, and what to try where memory ran out: what is `smaller`."""
    words = reason_of(error)
    if ran_out_of_memory(error):
        return f"out of memory ({words}); try {smaller}"
    return words


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


def counted(number: int, name: str, plural: str = "") -> str:
    """A number with the plural of a name, or with the name itself: "1 cell", "2 cells"."""
    return f"{number} {name if number == 1 else plural or f'{name}s'}"


def duration(seconds: float) -> str:
    """Seconds as "42 s", "3:05 min" or "1:02:03 h"."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
