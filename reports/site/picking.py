"""Clean accuracy, worst case and cost of every defense of a group in one labelled scatter plot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from markupsafe import Markup, escape

from reports.site.charts import Axis, Frame, filled_or_hollow, mark, svg
from reports.styles import is_hollow, styles
from reports.text import amount, clipped, percent

Document = dict[str, Any]
_PITCH = 21.0  # between the labels beside the plot
_MOST_LABELS = 20
_SMALLEST, _LARGEST = 0.8, 2.2  # of the marks, as the cost of training goes
_FONT = 9.2  # the width of a letter in the narrowest window, for the room that labels take


def chart(recommended: Document) -> tuple[Markup, list[tuple[Markup, str]]] | None:
    """The chart of a group's choices and its legend; None where no row has a rank."""
    choices: list[Document] = recommended["choices"]
    if not choices:
        return None
    labelled = choices[:_MOST_LABELS]
    known = styles(one["defense"] for one in choices)
    frame = Frame(
        width=640.0,
        height=max(300.0, _PITCH * len(labelled) + 58),
        right=_FONT * max(len(_label(one)) for one in labelled) + 30,
    )
    x, y = (_axis(name, label, choices) for name, label in _AXES)
    sizes = _sizes(choices)
    drawn = [*_labels(labelled, recommended["picked"], x, y, frame)]
    # The large ones first, so that they hide no small one.
    for one in sorted(choices, key=lambda choice: -sizes[choice["name"]]):
        drawn += _marks(one, known[one["defense"]], sizes[one["name"]], x, y, frame)
    words = f"{y.label} over {x.label}. {'; '.join(map(_told, choices))}."
    found = svg(x, y, "".join(drawn), words, frame, more=" labelled")
    return Markup(found), filled_or_hollow(
        {place["framework"] for one in choices for place in one["places"]}
    )


_AXES = (("clean_accuracy", "clean accuracy in %"), ("worst_case", "worst case in %"))


def _axis(name: str, label: str, choices: Sequence[Document]) -> Axis:
    """From a little below the lowest share to a little above the highest."""
    shares = [place[name] for one in choices for place in one["places"]]
    room = max(0.01, 0.08 * (max(shares) - min(shares)))
    return Axis(label, max(0.0, min(shares) - room), min(1.0, max(shares) + room), percent=True)


def _sizes(choices: Sequence[Document]) -> dict[str, float]:
    """The scale of each choice's marks: the logarithm of its cost."""
    costs = [math.log(one["cost"]) for one in choices if one["cost"]]
    span = (max(costs) - min(costs)) if costs else 0.0

    def scale(cost: float | None) -> float:
        if not cost or not span:
            return 1.2
        return _SMALLEST + (_LARGEST - _SMALLEST) * (math.log(cost) - min(costs)) / span

    return {one["name"]: scale(one["cost"]) for one in choices}


def _marks(
    one: Document, style: int, scale: float, x: Axis, y: Axis, frame: Frame
) -> Iterator[str]:
    """A choice's marks, one a framework, joined by a line."""
    at = [frame.at(x, y, p["clean_accuracy"], p["worst_case"]) for p in one["places"]]
    if len(at) > 1:
        yield f'<path class="leader" d="M{"L".join(at)}"/>'
    for place, where in zip(one["places"], at, strict=True):
        words = f"{one['name']} in {place['framework']}: {_shares(place)}, {_cost(one)}"
        outline = is_hollow(place["framework"])
        yield mark(where, style, hollow=outline, scale=scale, words=words)


def _labels(
    choices: Sequence[Document], picked: str, x: Axis, y: Axis, frame: Frame
) -> Iterator[str]:
    """Names and costs beside the plot, each with a line to its rightmost mark."""
    heights = {
        one["name"]: min(frame.down(y, p["worst_case"]) for p in one["places"]) for one in choices
    }
    ordered = sorted(choices, key=lambda one: heights[one["name"]])
    left = frame.width - frame.right + 24
    for one, top in zip(
        ordered, _spread([heights[o["name"]] for o in ordered], frame), strict=True
    ):
        nearest = max(one["places"], key=lambda place: float(place["clean_accuracy"]))
        to = frame.at(x, y, nearest["clean_accuracy"], nearest["worst_case"])
        yield f'<path class="leader" d="M{left - 4:g} {top:.1f}L{to}"/>'
        kind = ' class="picked"' if one["name"] == picked else ""
        yield f'<text{kind} x="{left:g}" y="{top:.1f}" dy=".35em">{escape(_label(one))}</text>'


def _spread(heights: Sequence[float], frame: Frame) -> list[float]:
    """Heights in the same order that are a pitch apart, as near to these as the frame allows."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + _PITCH if found else frame.top))
    lowest = frame.height - frame.bottom
    for place in reversed(range(len(found))):
        found[place] = min(found[place], lowest - _PITCH * (len(found) - 1 - place))
    return found


def _label(one: Document) -> str:
    name = clipped(one["name"], 24)
    return name if one["cost"] is None else f"{name} · {amount(one['cost'])}"


def _cost(one: Document) -> str:
    return "cost unknown" if one["cost"] is None else f"training {amount(one['cost'])} GE"


def _shares(place: Document) -> str:
    return f"clean {percent(place['clean_accuracy'])}, worst case {percent(place['worst_case'])}"


def _told(one: Document) -> str:
    places = ", ".join(f"{_shares(place)} ({place['framework']})" for place in one["places"])
    return f"{one['name']}: {places}, {_cost(one)}"
