"""matplotlib, whichever backend the environment names: figures here are written, never shown.

A notebook's MPLBACKEND reaches every command that is started from it, and matplotlib can't be
imported where that backend isn't installed.
"""

from __future__ import annotations

import contextlib
import os
import sys

_BACKEND = "MPLBACKEND"
_loaded = "matplotlib" in sys.modules
_named = None if _loaded else os.environ.pop(_BACKEND, None)

import matplotlib as mpl  # noqa: E402 - the variable is read by this import
from matplotlib.figure import Figure  # noqa: E402

__all__ = ["Figure", "mpl"]

if _named is not None:
    os.environ[_BACKEND] = _named
    with contextlib.suppress(ValueError):  # not installed here: nothing of ours needs it
        mpl.rcParams["backend"] = _named
