"""Residual networks as the field's papers on robustness have them, and what can be set of them.

Layers have the names and the order of the authors' code (of Rice et al. 2020 for `preact-resnet18`,
of Zhang et al. 2019 for the wide ones), so that published state dicts fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmark.errors import ConfigError
from benchmark.models.layers import (
    BatchNorm,
    Conv,
    GlobalAverage,
    GroupNorm,
    Layer,
    Relu,
    Rescale,
    Residual,
    Silu,
)
from defenses.parameters import check_parameters, parameter

# Of a group of channels (Wu and He 2018, table 3).
_GROUP = 16


@dataclass(frozen=True, kw_only=True)
class ResidualParameters:
    """What can be set of a residual network.

    Args:
        norm: batch; group (of 16 channels) or layer, which work alike in both modes.
        activation: relu or silu.
        mean: what the first layer subtracts from the pixels; a number, or a list of one a channel.
        std: what it divides by then, likewise.
    """

    norm: str = parameter("batch", choices=("batch", "group", "layer"))
    activation: str = parameter("relu", choices=("relu", "silu"))
    # Near those of every set of natural images, and the same for all, so that weights carry over.
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)

    def __post_init__(self) -> None:
        check_parameters(self)
        for name in ("mean", "std"):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise ConfigError(f"std {list(self.std)} must be above 0")

    def rescale(self) -> Rescale:
        """The first layer."""
        return Rescale("rescale", self.mean, self.std)

    def normalised(self, norm: str, activation: str, channels: int) -> tuple[Layer, Layer]:
        """A normalisation and an activation, by their names."""
        acting = Relu(activation) if self.activation == "relu" else Silu(activation)
        if self.norm == "batch":
            return BatchNorm(norm), acting
        groups = 1 if self.norm == "layer" else channels // math.gcd(channels, _GROUP)
        return GroupNorm(norm, groups), acting

    def block(self, name: str, channels: int, filters: int, stride: int, shortcut: str) -> Residual:
        """Two convolutions of `filters`; with a shortcut of 1x1 where the shape changes."""
        changes = stride != 1 or channels != filters
        around = _convolution(shortcut, filters, stride, kernel=1)
        return Residual(
            name,
            first=self.normalised("bn1", "relu1", channels),
            body=(
                _convolution("conv1", filters, stride),
                *self.normalised("bn2", "relu2", filters),
                _convolution("conv2", filters),
            ),
            shortcut=(around,) if changes else (),
        )


@dataclass(frozen=True, kw_only=True)
class PreactParameters(ResidualParameters):
    """What can be set of a preactivated ResNet.

    Args:
        width: channels of the first stage; each of the other three has twice those before it.
    """

    width: int = parameter(64, low=1, high=1024)


def preact_resnet(blocks: tuple[int, ...], given: PreactParameters) -> tuple[Layer, ...]:
    """The hidden layers of a preactivated ResNet (He et al. 2016b) for small images."""
    layers: list[Layer] = [given.rescale(), _convolution("conv1", given.width)]
    channels = given.width
    for stage, count in enumerate(blocks):
        filters = given.width * 2**stage
        for index in range(count):
            stride = 2 if stage and not index else 1
            name = f"layer{stage + 1}.{index}"
            layers.append(given.block(name, channels, filters, stride, "shortcut.0"))
            channels = filters
    return (*layers, *given.normalised("bn", "relu", channels), GlobalAverage("pool"))


def wide_resnet(depth: int, width: int, given: ResidualParameters) -> tuple[Layer, ...]:
    """The hidden layers of a wide ResNet (Zagoruyko and Komodakis 2016) without dropout."""
    layers: list[Layer] = [given.rescale(), _convolution("conv1", 16)]
    channels = 16
    for stage in range(3):
        filters = 16 * width * 2**stage
        for index in range((depth - 4) // 6):
            stride = 2 if stage and not index else 1
            name = f"block{stage + 1}.layer.{index}"
            layers.append(given.block(name, channels, filters, stride, "convShortcut"))
            channels = filters
    return (*layers, *given.normalised("bn1", "relu", channels), GlobalAverage("pool"))


def _convolution(name: str, filters: int, stride: int = 1, kernel: int = 3) -> Conv:
    return Conv(name, filters, kernel, stride, bias=False, centred=True)


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    parts = value if isinstance(value, list | tuple) else [value]
    plain = [isinstance(part, int | float) and not isinstance(part, bool) for part in parts]
    if not parts or not all(plain) or not all(map(math.isfinite, parts)):
        raise ConfigError(f"{name} must be a number, or a list of one a channel; got {value!r}")
    return tuple(map(float, parts))
