"""What keeps a file's arrays from being a model's, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_NAMED = 4  # that a line names

Shapes = Mapping[str, tuple[int, ...]]


def misfits(saved: Shapes, own: Shapes) -> list[str]:
    """What a file lacks, has beside, and has in other shapes; empty where it fits."""
    missing, foreign = own.keys() - saved.keys(), saved.keys() - own.keys()
    shapes = [
        f"{name} is {saved[name]} instead of {own[name]}"
        for name in sorted(own.keys() & saved.keys())
        if saved[name] != own[name]
    ]
    told = [f"it lacks {some(sorted(missing))}"] * bool(missing)
    told += [f"the model has no {some(sorted(foreign))}"] * bool(foreign)
    return told + [some(shapes)] * bool(shapes)


def some(texts: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    texts = list(texts)
    rest = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return ", ".join(texts[:_NAMED]) + rest
