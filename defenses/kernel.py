"""What the epoch loop asks of a kernel, in either framework.

Where normalisation has running statistics, a training's attacks are in evaluation mode, which uses
them, and the passes of its losses in training mode, which moves them; `docs/models.md` has the rule
of each defense.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from defenses.perturbation.spec import Ascent

Arrays = Mapping[str, np.ndarray]


class Kernel(Protocol):
    """The differentiable part of a defense in one framework."""

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update of the weights; returns the loss before it."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits of NHWC or (n, d) inputs, in evaluation mode; (n, classes)."""

    def attack(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, ascent: Ascent
    ) -> np.ndarray:
        """Adversarial examples of the model in evaluation mode; shape of `x`."""

    def adapt(self, x: np.ndarray, y: np.ndarray, start: np.ndarray, **settings: Any) -> None:
        """Adapt the weights to a support set, in place."""

    def descend(self, x: np.ndarray, y: np.ndarray, *, steps: int, rate: float) -> None:
        """Plain gradient descent on the mean loss of `x` as they are, in place."""

    def input_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The gradient of each example's loss with respect to itself; shape of `x`."""

    def average(self, decay: float) -> None:
        """Move averaged weights and running statistics to the current ones by 1 - `decay`."""

    def swap_average(self) -> None:
        """Exchange the model's weights with the averaged ones."""

    def weights(self) -> dict[str, np.ndarray]:
        """The model's weights and buffers, by name."""

    def load_weights(self, weights: Arrays) -> None:
        """Take up what `weights` returned."""

    def save_weights(self, folder: Path) -> None:
        """Write the model's weights and buffers to a file in `folder`."""

    def read_weights(self, folder: Path) -> None:
        """Take up what `save_weights` wrote; DefenseError where it isn't there or doesn't fit."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on: weights, averages, optimiser; by name."""

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""

    def learned(self) -> dict[str, list[float]]:
        """What was learned beside the weights, by name."""

    def load_learned(self, learned: Mapping[str, list[float]]) -> None:
        """Take up what `learned` returned."""

    def copy(self) -> Kernel:
        """An independent kernel with the same weights."""

    @property
    def model(self) -> Any:
        """The framework's model."""
