"""Text for a terminal: durations, and what others wrote made harmless."""

from __future__ import annotations


def clean(text: object) -> str:
    """Text without anything that a terminal would obey: control characters appear as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(text)
    )


def duration(seconds: float) -> str:
    """Seconds as "42 s", "3:05 min" or "1:02:03 h"."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d} h"
    return f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
