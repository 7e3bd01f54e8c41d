"""The network of papers on few-shot learning, which has no residual."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.models.layers import Conv, Flatten, Layer, MaxPool
from benchmark.models.normalised import NormalisedParameters
from defenses.parameters import parameter


@dataclass(frozen=True, kw_only=True)
class Conv4Parameters(NormalisedParameters):
    """What can be set of `conv4`.

    Args:
        width: filters of each convolution.
    """

    width: int = parameter(64, low=1, high=1024)


def conv4(given: Conv4Parameters) -> tuple[Layer, ...]:
    """Four times convolution, normalisation, activation and pooling (Vinyals et al. 2016)."""
    layers: list[Layer] = [given.rescale()]
    for number in range(1, 5):
        norm, activation = given.normalised(f"norm{number}", f"act{number}", given.width)
        convolution = Conv(f"conv{number}", given.width, kernel=3, bias=False)
        layers += [convolution, norm, activation, MaxPool(f"pool{number}")]
    return (*layers, Flatten("flatten"))
