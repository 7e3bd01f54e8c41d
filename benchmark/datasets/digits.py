"""scikit-learn's handwritten digits: 1,797 images of 8x8, embedded in the library."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from benchmark.datasets.dataset import Request, Source


def load(request: Request) -> Source:
    """All digits, (1797, 8, 8, 1); 20 % become the test part, 10 % of the rest validation.

    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998.
    """
    digits = load_digits()
    x = digits.images.astype(np.float32)[..., np.newaxis] / 16  # grey levels are 0 to 16
    return Source(x, digits.target.astype(np.int64), tuple(map(str, digits.target_names)))
