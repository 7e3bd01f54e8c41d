"""How much memory this process takes at most, as Linux counts it."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
_FORGET = Path("/proc/self/clear_refs"), "5"  # see proc(5)


def forget_peak() -> bool:
    """Begins to count anew; False where the system has no such count or lets nobody reset it."""
    path, word = _FORGET
    try:
        path.write_text(word)
    except OSError:
        return False
    return True


def peak() -> int:
    """Bytes that were resident at once since `forget_peak`, at most."""
    (line,) = (one for one in _STATUS.read_text().splitlines() if one.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])
