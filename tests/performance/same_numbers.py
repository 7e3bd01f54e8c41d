"""Whether two results folders hold the same numbers, to the last bit.

    bench run --defense all --protocol none --out before     # by one version
    bench run --defense all --protocol none --out after      # by another, on the same machine
    python tests/performance/same_numbers.py before after

Cells are paired by their ids, stages by their names, arrays by theirs; weights are files, compared
byte by byte. What only one of the folders has is named and doesn't count: a new version may store
more. Exits with 1 where a number differs, or where there is nothing to compare.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np


def main() -> int:
    before, after = (Path(folder) / "cells" for folder in sys.argv[1:3])
    ids = [{path.name for path in folder.iterdir()} for folder in (before, after)]
    counts: Counter[str] = Counter()
    for cell_id in sorted(ids[0] & ids[1]):
        compare(before / cell_id, after / cell_id, counts)
    for name in sorted(ids[0] ^ ids[1]):
        print(f"in one folder only: {name}")
    print(
        f"{len(ids[0] & ids[1])} cells: " + ", ".join(f"{n} {what}" for what, n in counts.items())
    )
    return int(counts["arrays differ"] + counts["weights differ"] > 0 or not counts)


def compare(before: Path, after: Path, counts: Counter[str]) -> None:
    """Counts what is equal in two folders of one cell, and prints what is not."""
    for path in sorted(before.rglob("*")):
        other = after / path.relative_to(before)
        if path.suffix == ".npz" and other.exists():
            compare_arrays(path, other, counts)
        elif path.suffix == ".safetensors" and other.exists():
            equal = path.read_bytes() == other.read_bytes()
            count(equal, "weights", path, counts)


def compare_arrays(before: Path, after: Path, counts: Counter[str]) -> None:
    """Counts the arrays of two archives that are equal, NaN and all."""
    with np.load(before) as one, np.load(after) as other:
        for name in sorted(set(one.files) & set(other.files)):
            same_type = one[name].dtype == other[name].dtype
            equal = same_type and one[name].tobytes() == other[name].tobytes()
            count(equal, "arrays", f"{before}:{name}", counts)


def count(equal: bool, what: str, where: object, counts: Counter[str]) -> None:
    counts[f"{what} equal" if equal else f"{what} differ"] += 1
    if not equal:
        print(f"differs: {where}")


if __name__ == "__main__":
    sys.exit(main())
