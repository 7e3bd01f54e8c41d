"""matplotlib, whichever backend the environment names: figures here are never shown in a window.

A notebook's MPLBACKEND reaches every command that is started from it, and matplotlib can't be
imported where that backend isn't installed.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys

_BACKEND = "MPLBACKEND"
_loaded = "matplotlib" in sys.modules
_named = None if _loaded else os.environ.pop(_BACKEND, None)

import matplotlib as mpl  # noqa: E402 - the variable is read by this import
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure as _Figure  # noqa: E402

__all__ = ["Figure", "mpl"]

if _named is not None:
    os.environ[_BACKEND] = _named
    with contextlib.suppress(ValueError):  # not installed here: nothing of ours needs it
        mpl.rcParams["backend"] = _named


class Figure(_Figure):
    """A figure that a notebook shows, whether or not it uses pyplot."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        FigureCanvasAgg(self).print_png(stream)
        return stream.getvalue()
