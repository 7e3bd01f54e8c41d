"""The one check of the data that a defense is given."""

from __future__ import annotations

import numpy as np

from defenses.errors import DefenseError


def checked_data(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs as float32 and labels as int64; DefenseError where they can't be trained on."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim not in (2, 4):
        raise DefenseError(f"inputs must be (n, H, W, C) or (n, d), got shape {x.shape}")
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise DefenseError(
            f"labels must be whole numbers of shape ({len(x)},), got {y.dtype} of shape {y.shape}"
        )
    if len(x) == 0 or not (x.min() >= 0 and x.max() <= 1):
        found = f"[{x.min()}, {x.max()}]" if len(x) else "no examples"
        raise DefenseError(f"inputs must lie in [0, 1], got {found}; scale them first")
    return x.astype(np.float32, copy=False), y.astype(np.int64, copy=False)
