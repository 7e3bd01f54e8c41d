"""The gradient of a median filter, exact where windows hold no two equal pixels."""

from __future__ import annotations

import numpy as np


def back_through_median(
    x: np.ndarray, median: np.ndarray, gradient: np.ndarray, *, size: int
) -> np.ndarray:
    """The gradient by a median filter's input, from that by its output.

    A median is one of its window's pixels, and moves with it alone. Where several pixels of the
    window are equal to it, they share its gradient: one of them alone could not move it, all of
    them together do.

    Args:
        x: the input, (n, H, W, C).
        median: the filter's output, of the same shape. As in SciPy, edges are mirrored and the
            centre of an even window is at its lower right.
        gradient: by the output, of the same shape.
        size: of the window, in pixels.
    """
    height, width = x.shape[1:3]
    margin = (size // 2, size - 1 - size // 2)
    padded = np.pad(x, ((0, 0), margin, margin, (0, 0)), mode="symmetric")
    windows = [
        (slice(None), slice(row, row + height), slice(column, column + width))
        for row in range(size)
        for column in range(size)
    ]
    share = gradient / sum((padded[window] == median).astype(x.dtype) for window in windows)
    total = np.zeros_like(padded)
    for window in windows:
        total[window] += np.where(padded[window] == median, share, 0)
    # What fell on a mirrored pixel belongs to the pixel itself.
    rows, columns = (
        np.eye(side)[np.pad(np.arange(side), margin, mode="symmetric")] for side in (height, width)
    )
    return np.einsum("nijc,ih,jw->nhwc", total, rows, columns, optimize=True)
