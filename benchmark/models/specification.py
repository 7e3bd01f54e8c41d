"""What a model is, before any framework: layers, their arrays and initial weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.models.layers import Array, Dense, Layer, Residual, Shape

# Keeps the initial weights apart from the training's draws under the same seed.
_INITIAL_WEIGHTS_STREAM = 0x1417


@dataclass(frozen=True)
class ModelSpecification:
    """An architecture for one input shape, (H, W, C) or (d,), and class count; gives logits.

    head: the name of the layer that gives them.
    """

    name: str
    input_shape: Shape
    classes: int
    hidden: tuple[Layer, ...]
    head: str = "logits"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, the one that gives the logits included."""
        return (*self.hidden, Dense(self.head, units=self.classes))

    def walk(self) -> Iterator[tuple[Layer, Shape]]:
        """Each layer with the shape of what goes into it, a block as one."""
        return walked(self.layers, self.input_shape)

    def leaves(self) -> Iterator[tuple[Layer, Shape]]:
        """As `walk`, with the layers of each block in its place, by their whole names."""
        return _leaves(self.walk())

    def arrays(self) -> dict[str, Array]:
        """All arrays by name, in the order of the layers."""
        return {
            f"{layer.name}.{name}": array
            for layer, shape in self.leaves()
            for name, array in layer.arrays(shape).items()
        }

    @property
    def weights(self) -> int:
        """Parameters, biases included."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    @property
    def activations(self) -> int:
        """Numbers that one example leaves between the layers."""
        return sum(math.prod(layer.output_shape(shape)) for layer, shape in self.leaves())

    def parameter_shapes(self) -> dict[str, Shape]:
        """Names of the trained arrays to their shapes in the neutral layout."""
        return {name: array.shape for name, array in self.arrays().items() if array.trained}

    def initial_weights(self, seed: int) -> dict[str, np.ndarray]:
        """All arrays at their start, float32, the same for both frameworks.

        Weights and biases are uniform in ±1/sqrt(fan in), as torch's layers have them.
        """
        generator = np.random.default_rng([seed, _INITIAL_WEIGHTS_STREAM])
        return {name: _started(array, generator) for name, array in self.arrays().items()}


def walked(layers: Sequence[Layer], shape: Shape) -> Iterator[tuple[Layer, Shape]]:
    """Layers one after the other, each with the shape of what goes into it."""
    for layer in layers:
        yield layer, shape
        shape = layer.output_shape(shape)


def _leaves(layers: Iterator[tuple[Layer, Shape]]) -> Iterator[tuple[Layer, Shape]]:
    for layer, shape in layers:
        if not isinstance(layer, Residual):
            yield layer, shape
            continue
        inside = [*walked((*layer.first, *layer.body), shape), *walked(layer.shortcut, shape)]
        for inner, before in inside:
            yield dataclasses.replace(inner, name=f"{layer.name}.{inner.name}"), before


def _started(array: Array, generator: np.random.Generator) -> np.ndarray:
    if not array.fan_in:
        return np.full(array.shape, array.start, np.float32)
    bound = 1 / math.sqrt(array.fan_in)
    return generator.uniform(-bound, bound, array.shape).astype(np.float32)
