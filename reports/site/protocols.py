"""What the page of the meta-test shows alike of all its protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from reports.groups import Group, page
from reports.rows import Row, name_in_text
from reports.statistics import across_seeds

MOST_DRAWN = 6  # rows of a chart; the tables have all
Document = dict[str, Any]
Size = tuple[Any, ...]  # what results share that may be compared, the protocol's version first


def documents(
    groups: Sequence[Group],
    sizes: Callable[[Row], Iterable[Size]],
    part: Callable[[Size, Sequence[Row]], Document],
) -> list[Document]:
    """For each group a part for each size that a row has, newest versions first; a JSON value."""
    found = []
    for about, rows in by_split(groups):
        each = sorted({size for row in rows for size in sizes(row)})
        newest_first = sorted(each, key=lambda size: -int(size[0]))
        if each:
            found.append({**about, "parts": [part(size, rows) for size in newest_first]})
    return found


def by_split(groups: Sequence[Group]) -> Iterator[tuple[Document, list[Row]]]:
    """What a group's rows share and the rows, of each seed of the data's split by themselves.

    Episodes are drawn by that seed: those of another one are other episodes.
    """
    for group in groups:
        found: dict[int, list[Row]] = {}
        for row in group.rows:
            found.setdefault(row.cell.record.config.dataset.split_seed, []).append(row)
        for split_seed, rows in sorted(found.items()):
            about = group.summary()
            about["title"] += f", split seed {split_seed}" if len(found) > 1 else ""
            yield about, rows


def of_row(row: Row, record: Any) -> Document:
    """What a table's row has of a model and of a record of any of the protocols."""
    return {
        "cell_id": row.cell.cell_id,
        "page": page(row.cell.cell_id),
        "label": row.label,
        "description": record.description,
        "status": record.status,
        "reason": record.reason,
    }


def over_seeds(found: Iterable[tuple[Row, Mapping[str, str], np.ndarray]]) -> list[Document]:
    """An entry for each training with several seeds, the most robust first.

    Its models met the same episodes.

    Args:
        found: a model's row, how it adapts by that word, and its accuracy in each episode,
            (episodes,).
    """
    trainings: dict[tuple[Any, ...], list[tuple[Row, Mapping[str, str], np.ndarray]]] = {}
    for row, way, values in found:
        trainings.setdefault((*row.values.training, *way.values()), []).append((row, way, values))
    seeds = []
    for members in trainings.values():
        if len(members) > 1:
            row, way, _ = members[0]
            name = name_in_text(row.values)
            label = f"{name}, {row.variant}" if row.variant else name
            values = np.stack([one for _, _, one in members])
            seeds.append({"label": label, **way, **asdict(across_seeds(values))})
    return sorted(seeds, key=lambda one: -one["mean"])
