"""A figure of stored adversarial examples: before, after, and what the attack changed."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import ConfigError
from benchmark.results import Store
from reports.drawing import Figure, mpl
from reports.identifiers import find_cell
from reports.pictures import common_magnification, outcome, pairs
from reports.records import Attack, read
from reports.text import one_line

_SIDE = 1.3  # inches of a picture


def plot(out: Path | str, cell: str, attack: str | None = None, *, limit: int = 4) -> Figure:
    """See `reports.plot_examples`."""
    store = Store.open(out)
    cell_id = find_cell(store, cell)
    (found,) = read(out, only=[cell_id]).cells or (None,)
    if found is None:
        raise ConfigError(f"the cell {cell_id} has not ended well; give another")
    ran = [one for one in found.attacks.values() if one.outcomes is not None]
    for one in sorted(ran, key=_accuracy):
        arrays = store.read_arrays(cell_id, f"{one.folder}/{one.key}", f"{one.key}.npz")
        if attack in (None, one.name) and (drawn := list(pairs(arrays, limit))):
            break
    else:
        named = "" if attack is None else f" under {attack!r}"
        raise ConfigError(f"{cell_id} keeps no pictures of adversarial examples{named}")
    scale = common_magnification([arrays], limit=limit)
    figure = Figure(figsize=(3 * _SIDE, (_SIDE + 0.25) * len(drawn)), layout="constrained")
    with mpl.rc_context({"text.parse_math": False}):
        for row, (before, after) in enumerate(drawn):
            _, label, prediction = outcome(arrays, row)
            told = {
                f"{one_line(found.class_name(label) or '')}": before,
                f"taken for {one_line(found.class_name(prediction) or '')}": after,
                f"change ×{scale:.3g}": 0.5 + scale * (after - before),
            }
            for column, (title, picture) in enumerate(told.items(), 1):
                axes = figure.add_subplot(len(drawn), 3, 3 * row + column)
                axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1)
                axes.set_title(title, fontsize=8)
                axes.set_axis_off()
    return figure


def _accuracy(attack: Attack) -> float:
    assert attack.outcomes is not None
    return attack.outcomes.accuracy
