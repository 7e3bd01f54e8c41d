"""What a model is, before any framework: layers, parameter shapes and initial weights.

Arrays use one neutral layout, that of NHWC: convolution kernels (height, width, in, out), dense
kernels (in, out). The builders transpose where their framework wants it otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Conv:
    """A convolution, padded so that the output is ceil(input / stride)."""

    name: str
    filters: int
    kernel: int
    stride: int = 1

    def padding(self, size: int) -> tuple[int, int]:
        """Pixels (before, after) along an axis of `size` pixels; the odd one goes after."""
        total = max((math.ceil(size / self.stride) - 1) * self.stride + self.kernel - size, 0)
        return total // 2, total - total // 2


@dataclass(frozen=True)
class MaxPool:
    """2x2 maximum with stride 2; an odd last row or column is a window of its own."""

    name: str


@dataclass(frozen=True)
class Relu:
    """max(x, 0). After a pooling layer it gives what it would give before, for a quarter."""

    name: str


@dataclass(frozen=True)
class Flatten:
    """All axes but the first into one, channels last."""

    name: str


@dataclass(frozen=True)
class Dense:
    """A dense layer."""

    name: str
    units: int


Layer = Conv | MaxPool | Relu | Flatten | Dense


@dataclass(frozen=True)
class ModelSpecification:
    """An architecture for one input shape, (H, W, C) or (d,), and class count; gives logits."""

    name: str
    input_shape: tuple[int, ...]
    classes: int
    hidden: tuple[Layer, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer, the one that gives the logits included."""
        return (*self.hidden, Dense("logits", units=self.classes))

    def walk(self) -> Iterator[tuple[Layer, tuple[int, ...]]]:
        """Each layer with the shape of what goes into it."""
        shape = self.input_shape
        for layer in self.layers:
            yield layer, shape
            shape = _output_shape(layer, shape)

    @property
    def weights(self) -> int:
        """Parameters, biases included."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    @property
    def activations(self) -> int:
        """Numbers that one example leaves between the layers."""
        return sum(math.prod(_output_shape(layer, shape)) for layer, shape in self.walk())

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Parameter names to shapes in the neutral layout, in the order of the layers."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, shape in self.walk():
            if isinstance(layer, Conv):
                shapes[f"{layer.name}.weight"] = (
                    layer.kernel,
                    layer.kernel,
                    shape[-1],
                    layer.filters,
                )
                shapes[f"{layer.name}.bias"] = (layer.filters,)
            elif isinstance(layer, Dense):
                shapes[f"{layer.name}.weight"] = (shape[0], layer.units)
                shapes[f"{layer.name}.bias"] = (layer.units,)
        return shapes

    def initial_weights(self, seed: int) -> dict[str, np.ndarray]:
        """Weights and biases uniform in ±1/sqrt(fan in), float32, the same for both frameworks."""
        generator = np.random.default_rng([seed, _INITIAL_WEIGHTS_STREAM])
        weights: dict[str, np.ndarray] = {}
        bound = 0.0
        for name, shape in self.parameter_shapes().items():
            if name.endswith(".weight"):
                bound = 1 / math.sqrt(math.prod(shape[:-1]))
            weights[name] = generator.uniform(-bound, bound, shape).astype(np.float32)
        return weights


# Keeps the initial weights apart from the training's draws under the same seed.
_INITIAL_WEIGHTS_STREAM = 0x1417


def _output_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    if isinstance(layer, Conv):
        height, width, _ = shape
        return math.ceil(height / layer.stride), math.ceil(width / layer.stride), layer.filters
    if isinstance(layer, MaxPool):
        height, width, channels = shape
        return math.ceil(height / 2), math.ceil(width / 2), channels
    if isinstance(layer, Flatten):
        return (math.prod(shape),)
    return shape if isinstance(layer, Relu) else (layer.units,)
