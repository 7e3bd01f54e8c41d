"""What updates are made on is drawn ahead in a thread: in order, with errors, and to its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_defenses import SMALL, THREAT, build, data

import defenses
from defenses.ahead import WAITING, ahead
from defenses.checkpoints import Checkpoint
from defenses.inputs import Inputs

FRAMEWORKS = ("torch", "tensorflow")


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


class Slow(Inputs):
    """An array that is read ahead; remembers in which threads, and fails at a row."""

    def __init__(self, x: np.ndarray, *, slow: bool = True, broken: int | None = None) -> None:
        self._x, self._broken = x, broken
        self.shape, self.slow = x.shape, slow
        self.threads: set[str] = set()

    def __getitem__(self, index: Any) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        rows = np.arange(len(self))[index]
        if self._broken in rows:
            raise OSError(f"row {self._broken} can't be read")
        return np.array(self._x[rows])


def test_items_come_in_their_order_and_few_wait() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(8):
            made.append(number)
            yield number

    for taken, number in enumerate(ahead(items())):
        assert number == taken
        assert len(made) <= taken + 2 + WAITING
    assert made == list(range(8))
    assert threads() == []


def test_what_fails_is_raised_in_its_turn() -> None:
    items = ahead(1 // number for number in (1, -1, 0, 1))
    assert [next(items), next(items)] == [1, -1]
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert threads() == []


def test_the_thread_ends_with_who_takes() -> None:
    items = ahead(iter(range(100)))
    next(items)
    assert threads() == ["ahead_0"]
    items.close()
    assert threads() == []


def trained(
    x: Any,
    y: np.ndarray,
    *,
    framework: str = "torch",
    name: str = "pgd-at",
    parameters: dict[str, Any] | None = None,
    **given: Any,
) -> Any:
    """A training of a few epochs."""
    defense = defenses.create(name, THREAT, {**SMALL[name], **(parameters or {})})
    return defense.fit(build(framework), x, y, **{"epochs": 3, **given})


@pytest.mark.parametrize(
    ("slow", "expected"),
    [
        pytest.param(True, {"MainThread", "ahead_0"}, id="slow"),
        pytest.param(False, {"MainThread"}, id="fast"),
    ],
)
def test_what_is_slow_to_read_is_read_ahead(slow: bool, expected: set[str]) -> None:
    x, y = data()
    inputs = Slow(x, slow=slow)
    trained(inputs, y)
    assert inputs.threads == expected
    assert threads() == []


def interrupted(done: float) -> None:
    if done > 0.4:
        raise KeyboardInterrupt


X, Y = data()
LAST = {"early_stopping": 1, "learning_rate": 0.0}
ENDS: dict[str, tuple[dict[str, Any], type[BaseException] | None]] = {
    "a row that can't be read": ({"x": Slow(X, broken=20)}, OSError),
    "an interruption": ({"progress": interrupted}, KeyboardInterrupt),
    "divergence": (
        {"parameters": {"optimizer": "sgd", "learning_rate": 1e18}},
        defenses.TrainingDivergedError,
    ),
    "early stopping": ({"parameters": LAST, "validation": (X[:8], Y[:8])}, None),
}


@pytest.mark.parametrize(("changes", "error"), ENDS.values(), ids=ENDS)
def test_no_thread_outlives_a_training(
    changes: dict[str, Any], error: type[BaseException] | None
) -> None:
    given = {"x": Slow(X), "y": Y, **changes}
    if error is None:
        assert len(trained(**given).outcome.history) < 3
        assert threads() == []
        return
    with pytest.raises(error):
        trained(**given)
    assert threads() == []


class Killed(BaseException):
    pass


def kill_after(share: float) -> Callable[[float], None]:
    def progress(done: float) -> None:
        if done > share:
            raise Killed

    return progress


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_interrupted_training_goes_on_as_if_it_were_whole(
    framework: str, tmp_path: Path
) -> None:
    changes = {"framework": framework, "parameters": {"crop": 1, "flip": True}}
    expected = trained(X, Y, **changes).kernel.weights()
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", identity="it")
    with pytest.raises(Killed):
        trained(Slow(X), Y, progress=kill_after(0.5), checkpoint=checkpoint, **changes)
    found = trained(Slow(X), Y, checkpoint=checkpoint, **changes).kernel.weights()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
