"""A data set: horizontal and vertical stripes under noise, drawn from a seed of their own."""

import numpy as np

from benchmark.datasets import DatasetDefaults, DatasetEntry, Source


def load(request):
    """600 images of 8x8; the benchmark splits them, and a set with files looks at `request`."""
    generator = np.random.default_rng(5)
    y = np.arange(600) % 2
    stripes = 0.3 + 0.4 * (np.arange(8) % 2)
    x = np.where(y[:, None, None] == 0, stripes[:, None], stripes)  # (n, 8, 8)
    x = np.clip(x + generator.normal(0, 0.1, x.shape), 0, 1).astype(np.float32)
    return Source(x[..., None], y.astype(np.int64), ("horizontal", "vertical"))


STRIPES = DatasetEntry(
    target="bench_template.data:load",
    description="600 striped images, 8x8 grey",
    defaults=DatasetDefaults(eps={"linf": 0.1, "l2": 0.5, "l1": 3.0, "l0": 6.0}, epochs=20),
)
