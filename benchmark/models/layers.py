"""Layers before any framework: what they make of a shape, and the arrays that they hold.

Arrays use one neutral layout, that of NHWC: convolution kernels (height, width, in, out), dense
kernels (in, out). The builders transpose where their framework wants it otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]

# Of the newest batch, in running statistics; added to a variance before its root. Both are torch's.
MOMENTUM = 0.1
EPSILON = 1e-5
# What torch's BatchNorm keeps beside the arrays below.
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Array:
    """An array of a layer and how it starts.

    Args:
        shape: in the neutral layout.
        fan_in: it starts uniform in ±1/sqrt(fan_in); 0 for a constant start.
        start: that constant.
        trained: whether gradients move it; running statistics move by themselves.
    """

    shape: Shape
    fan_in: int = 0
    start: float = 0.0
    trained: bool = True


@dataclass(frozen=True)
class Layer:
    """A layer by its name, which torch's state dicts and Keras's variables have too."""

    name: str

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one example after it, from that before it."""
        return shape

    def arrays(self, shape: Shape) -> Mapping[str, Array]:
        """Its arrays by their own names, for one example's shape before it."""
        return {}


@dataclass(frozen=True)
class Conv(Layer):
    """A convolution, padded so that the output is ceil(input / stride).

    centred: whether the padding is that of torch's models, kernel // 2 on either side; Keras's
    "same" puts an odd pixel after.
    """

    filters: int
    kernel: int
    stride: int = 1
    bias: bool = True
    centred: bool = False

    def padding(self, size: int) -> tuple[int, int]:
        """Pixels (before, after) along an axis of `size` pixels."""
        if self.centred:
            return self.kernel // 2, self.kernel // 2
        total = max((math.ceil(size / self.stride) - 1) * self.stride + self.kernel - size, 0)
        return total // 2, total - total // 2

    def output_shape(self, shape: Shape) -> Shape:
        height, width, _ = shape
        return math.ceil(height / self.stride), math.ceil(width / self.stride), self.filters

    def arrays(self, shape: Shape) -> Mapping[str, Array]:
        kernel = (self.kernel, self.kernel, shape[-1], self.filters)
        return _weight_and_bias(kernel, bias=self.bias)


@dataclass(frozen=True)
class Dense(Layer):
    """A dense layer."""

    units: int

    def output_shape(self, shape: Shape) -> Shape:
        return (self.units,)

    def arrays(self, shape: Shape) -> Mapping[str, Array]:
        return _weight_and_bias((shape[0], self.units), bias=True)


def _weight_and_bias(shape: Shape, *, bias: bool) -> Mapping[str, Array]:
    fan_in = math.prod(shape[:-1])
    found = {"weight": Array(shape, fan_in)}
    return found | {"bias": Array(shape[-1:], fan_in)} if bias else found


@dataclass(frozen=True)
class MaxPool(Layer):
    """2x2 maximum with stride 2; an odd last row or column is a window of its own."""

    def output_shape(self, shape: Shape) -> Shape:
        height, width, channels = shape
        return math.ceil(height / 2), math.ceil(width / 2), channels


@dataclass(frozen=True)
class GlobalAverage(Layer):
    """The mean over height and width."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape[-1:]


@dataclass(frozen=True)
class Flatten(Layer):
    """All axes but the first into one, channels last."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True)
class Relu(Layer):
    """max(x, 0). After a pooling layer it gives what it would give before, for a quarter."""


@dataclass(frozen=True)
class Silu(Layer):
    """x sigmoid(x); smooth, which suits adversarial training (Gowal et al. 2020)."""


@dataclass(frozen=True)
class Rescale(Layer):
    """(x - mean) / std, so that budgets stay in pixel scale; one number or one a channel each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation over all axes but the channels (Ioffe and Szegedy 2015).

    In training mode by the batch's own mean and (biased) variance, which differentiate through;
    otherwise by the running ones, which take up MOMENTUM of the batch's mean and unbiased variance.
    """

    def arrays(self, shape: Shape) -> Mapping[str, Array]:
        return _scale_and_shift(shape) | {
            "running_mean": Array(shape[-1:], trained=False),
            "running_var": Array(shape[-1:], start=1.0, trained=False),
        }


@dataclass(frozen=True)
class GroupNorm(Layer):
    """Group normalisation (Wu and He 2018): an example's own statistics, by groups of channels.

    groups: as many as divide the channels; one for layer normalisation.
    """

    groups: int

    def arrays(self, shape: Shape) -> Mapping[str, Array]:
        return _scale_and_shift(shape)


def _scale_and_shift(shape: Shape) -> dict[str, Array]:
    return {"weight": Array(shape[-1:], start=1.0), "bias": Array(shape[-1:])}


@dataclass(frozen=True)
class Residual(Layer):
    """A preactivated residual block (He et al. 2016b): body(first(x)) + x.

    Where `shortcut` changes the shape as the body does, it stands for x: body(first(x)) +
    shortcut(first(x)). The names of the layers inside go on from that of the block.
    """

    first: tuple[Layer, ...]
    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def output_shape(self, shape: Shape) -> Shape:
        for layer in (*self.first, *self.body):
            shape = layer.output_shape(shape)
        return shape
