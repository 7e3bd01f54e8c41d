"""What the epoch loop asks of a kernel, and what those of both frameworks do alike.

Where normalisation has running statistics, a training's attacks are in evaluation mode, which uses
them, and the passes of its losses in training mode, which moves them; `docs/models.md` has the rule
of each defense.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from defenses.adaptation.spec import Adaptation
from defenses.errors import DefenseError
from defenses.perturbation.spec import Ascent
from defenses.resident.spec import Rows
from defenses.states import Arrays as Arrays
from defenses.states import Parts, divided, joined

# Of a pass that trains nothing.
_BATCH = 250


class Kernel(ABC):
    """The differentiable part of a defense in one framework.

    Inputs are NHWC or (n, d); gives logits.
    """

    # The framework's model, and the weights of it that are trained.
    model: Any
    parameters: list[Any]
    # One update from tensors, a learning rate and eps, which a subclass writes: gives the loss
    # before it, as a tensor.
    train_on: Callable[..., Any]
    # What else the next step depends on: averaged weights, optimisers, what a subclass adds.
    beside: Parts

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Any:
        """One update of the weights; returns the loss before it.

        That is a number, or a scalar that `float` fetches from the device, and waits for.
        """
        loss = self.run(draws, learning_rate, eps)
        if loss is None:
            name = type(self).__name__
            raise DefenseError(f"train_on of {name} returned None, not the loss before its update")
        return loss

    @abstractmethod
    def run(self, draws: Arrays, learning_rate: float, eps: float, *chosen: Any) -> Any:
        """`train_on` tensors of these draws; what is `chosen` goes on to it."""

    @abstractmethod
    def in_bfloat16(self) -> AbstractContextManager[None]:
        """While entered, updates pass through the model in bfloat16, as far as its layers go.

        Weights, statistics, losses and what an attack adds up stay in float32.
        """

    def drawing_from(self, seed: int) -> AbstractContextManager[None]:
        """While entered, the framework's global generator, which layers such as dropout draw from.

        It begins at `seed`, and is the caller's again afterwards. Keras's layers don't draw from
        one: they have seeds among the model's variables.
        """
        return nullcontext()

    @abstractmethod
    def room(self) -> int:
        """Bytes that data may take on the model's device; 0 where that is the processor."""

    @abstractmethod
    def upload(self, chunks: Iterator[np.ndarray]) -> Any:
        """Inputs on the model's device, as a tensor that `images` takes rows of."""

    def tensors(self, draws: Arrays) -> dict[str, Any]:
        """Labels, which are whole numbers, and images."""
        return {
            name: self.labels(value) if value.dtype.kind == "i" else self.images(value)
            for name, value in draws.items()
        }

    @abstractmethod
    def images(self, x: np.ndarray | Rows) -> Any:
        """Inputs as a tensor, in the framework's layout and the type that is computed with."""

    @abstractmethod
    def labels(self, y: np.ndarray) -> Any:
        """Labels as a tensor."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode, (n, classes)."""
        return _in_batches(self._outputs, x)

    def tried(self, x: np.ndarray) -> np.ndarray:
        """The same, in a single pass; DefenseError for a model that this kernel can't train."""
        return self.predict(x)

    def attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        *,
        eps: float,
        ascent: Ascent,
        scale: float = 1.0,
    ) -> np.ndarray:
        """Adversarial examples of the model in evaluation mode; shape of `x`.

        The loss is that of `scale` times the logits.
        """
        attack = functools.partial(self._attack, eps=eps, ascent=ascent, scale=scale)
        return _in_batches(attack, x, y, start)

    def adapt(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, adaptation: Adaptation
    ) -> None:
        """Adapt the weights to a support set in place; the steps are those of `adaptation.spec`."""
        x_adv = x
        if adaptation.attacked:
            # Step 1
            x_adv = self.attack(x, y, start, eps=eps, ascent=adaptation.ascent)
        # Step 2
        self.descend(x_adv, y, steps=adaptation.steps, rate=adaptation.rate)

    @abstractmethod
    def descend(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        steps: int,
        rate: float,
        clean: np.ndarray | None = None,
        distance_weight: float = 0.0,
    ) -> None:
        """Plain gradient descent on the mean loss of `x` as they are, in place.

        With `clean`, of the shape of `x`, the loss of an example is the cross-entropy plus
        `distance_weight` times the squared distance of its logits to those of the clean one.
        """

    @abstractmethod
    def input_gradient(self, x: np.ndarray, y: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
        """The gradient of each example's loss with respect to itself; shape of `x`.

        The loss is that of `scale` times the logits.
        """

    @abstractmethod
    def average(self, decay: float) -> None:
        """Move averaged weights and running statistics to the current ones by 1 - `decay`."""

    @abstractmethod
    def swap_average(self) -> None:
        """Exchange the model's weights and running statistics with the averaged ones."""

    @abstractmethod
    def weights(self) -> dict[str, np.ndarray]:
        """The model's weights and buffers, by name."""

    @abstractmethod
    def load_weights(self, weights: Arrays) -> None:
        """Take up what `weights` returned."""

    @abstractmethod
    def save_weights(self, folder: Path) -> None:
        """Write the model's weights and buffers to a file in `folder`."""

    @abstractmethod
    def read_weights(self, folder: Path) -> None:
        """Take up what `save_weights` wrote; DefenseError where it isn't there or doesn't fit."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on, by name."""
        learned = {name: {"": np.array(values)} for name, values in self.learned().items()}
        return joined({"model": self.weights(), **learned}) | self.beside.state()

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.load_weights(divided(state)["model"])
        self.beside.load_state(state)
        self.load_learned({name: state[name].tolist() for name in self.learned()})

    def rate_factors(self) -> list[float]:
        """By how much each parameter's rate of adaptation differs from the given one."""
        return [1.0] * len(self.parameters)

    def learned(self) -> dict[str, list[float]]:
        """What was learned beside the weights and serves adaptation, by name."""
        return {}

    def load_learned(self, learned: Mapping[str, list[float]]) -> None:  # noqa: B027 - most have none
        """Take up what `learned` returned."""

    @abstractmethod
    def copy(self) -> Kernel:
        """An independent kernel with the same weights and a fresh optimiser."""

    @abstractmethod
    def _outputs(self, x: np.ndarray) -> np.ndarray:
        """`predict` of a batch."""

    @abstractmethod
    def _attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        *,
        eps: float,
        ascent: Ascent,
        scale: float,
    ) -> np.ndarray:
        """`attack` of a batch."""


def _in_batches(work: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    firsts = range(0, len(arrays[0]), _BATCH)
    parts = [work(*(array[first : first + _BATCH] for array in arrays)) for first in firsts]
    return np.concatenate(parts)
