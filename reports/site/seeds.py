"""What models of one training have in common that differ in the seed alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from reports.rows import Row, name_in_text
from reports.statistics import across_seeds

Document = dict[str, Any]


def over_seeds(found: Iterable[tuple[Row, str, np.ndarray]], what: str) -> list[Document]:
    """An entry for each training with several seeds, the most robust first.

    Its models met the same episodes.

    Args:
        found: a model's row, how it adapts, and its accuracy in each episode, (episodes,).
        what: the entry's name of how it adapts.
    """
    trainings: dict[tuple[Any, ...], list[tuple[Row, np.ndarray]]] = {}
    for row, way, values in found:
        trainings.setdefault((*row.values.training, way), []).append((row, values))
    seeds = []
    for key, members in trainings.items():
        if len(members) > 1:
            row = members[0][0]
            name = name_in_text(row.values)
            label = f"{name}, {row.variant}" if row.variant else name
            values = np.stack([one for _, one in members])
            seeds.append({"label": label, what: key[-1], **asdict(across_seeds(values))})
    return sorted(seeds, key=lambda one: -one["mean"])
