"""Losses wait on the device, and are fetched some at a time; where one isn't finite, it is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
from small_defenses import SMALL, THREAT, build, data

import defenses
from defenses.fetching import AT_ONCE, Losses
from defenses.kernel import Kernel


class Waiting:
    """A scalar that notes when it was fetched."""

    def __init__(self, value: float, fetched: list[float]) -> None:
        self.value, self.fetched = value, fetched

    def __float__(self) -> float:
        self.fetched.append(self.value)
        return self.value


def explained(loss: float, number: int) -> str:
    return f"{loss} at {number}"


def test_they_are_fetched_some_at_a_time_and_in_order() -> None:
    fetched: list[float] = []
    losses = Losses(0, explained)
    for number in range(AT_ONCE + 3):
        losses.add(Waiting(float(number), fetched))
        assert len(fetched) == (AT_ONCE if number + 1 >= AT_ONCE else 0)
    assert losses.values() == fetched == list(map(float, range(AT_ONCE + 3)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, AT_ONCE - 1, AT_ONCE + 1])
def test_the_first_that_is_not_finite_ends_it(bad: float, place: int) -> None:
    losses = Losses(100, explained)
    numbers = [1.0] * (AT_ONCE + 5)
    numbers[place] = bad

    def take() -> None:
        for number in numbers:
            losses.add(number)
        losses.values()

    with pytest.raises(defenses.TrainingDivergedError, match=f"^{bad} at {100 + place + 1}$"):
        take()


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("name", ["none", "pgd-at", "free-at", "mng-ac", "meta-gen", "meta-adv"])
def test_a_history_holds_what_each_step_gave(
    monkeypatch: pytest.MonkeyPatch, framework: str, name: str
) -> None:
    x, y = data(count=32)
    defense = defenses.create(name, THREAT, SMALL[name])
    given: list[Any] = []
    step = {}

    def noted(self: Kernel, *draws: Any, **rates: Any) -> Any:
        given.append(step[type(self)](self, *draws, **rates))
        return given[-1]

    model = build(framework)
    kernel = type(defense.resume(model).kernel)
    step[kernel] = kernel.step
    monkeypatch.setattr(kernel, "step", noted)
    fitted = defense.fit(model, x, y, epochs=1)
    mean = sum(map(float, given)) / len(given)
    assert fitted.outcome.history[0]["loss"] == pytest.approx(mean, rel=1e-12)
