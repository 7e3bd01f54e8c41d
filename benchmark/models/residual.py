"""Residual networks as the field's papers on robustness have them, and what can be set of them.

Layers have the names and the order of the authors' code (of Rice et al. 2020 for `preact-resnet18`,
of Zhang et al. 2019 for the wide ones), so that published state dicts fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.models.layers import Conv, GlobalAverage, Layer, Residual
from benchmark.models.normalised import NormalisedParameters
from defenses.parameters import parameter


@dataclass(frozen=True, kw_only=True)
class ResidualParameters(NormalisedParameters):
    """What can be set of a residual network."""

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
