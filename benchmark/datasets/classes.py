"""Which classes are trained on, which are chosen on and which are tested on; none is in two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.errors import DataError

PARTS = ("train", "validation", "test")
# An episode tells two classes apart at least.
LEAST = 2


@dataclass(frozen=True)
class ClassSplit:
    """The names of the classes of each part; those of none are left out.

    Raises `DataError` for a class in two parts, and for fewer than two classes in one.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        part_of: dict[str, str] = {}
        for part in PARTS:
            names = getattr(self, part)
            for name in names:
                if name in part_of:
                    raise DataError(
                        f"split: class {name!r} is in {part_of[name]} and in {part}; what is "
                        "measured would have been trained or chosen on: leave one of the two out"
                    )
                part_of[name] = part
            if len(names) < LEAST:
                raise DataError(
                    f"split: {part} has {len(names)} class(es); give it {LEAST} at least"
                )

    def record(self) -> dict[str, list[str]]:
        """As JSON values."""
        return {part: list(names) for part, names in asdict(self).items()}


def recorded(lists: Mapping[str, Any]) -> ClassSplit:
    """The inverse of `ClassSplit.record`; raises `KeyError` or `TypeError` for anything else."""
    try:
        return ClassSplit(*(tuple(map(str, lists[part])) for part in PARTS))
    except DataError as error:
        raise TypeError(str(error)) from error
