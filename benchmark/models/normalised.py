"""What can be set of networks with normalisation: its kind, the activation, and the pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from benchmark.errors import ConfigError
from benchmark.models.layers import BatchNorm, GroupNorm, Layer, Relu, Rescale, Silu
from defenses.parameters import check_parameters, parameter

# Of a group of channels (Wu and He 2018, table 3).
_GROUP = 16


@dataclass(frozen=True, kw_only=True)
class NormalisedParameters:
    """What can be set of a network with normalisation.

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


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    parts = value if isinstance(value, list | tuple) else [value]
    plain = [isinstance(part, int | float) and not isinstance(part, bool) for part in parts]
    if not parts or not all(plain) or not all(map(math.isfinite, parts)):
        raise ConfigError(f"{name} must be a number, or a list of one a channel; got {value!r}")
    return tuple(map(float, parts))
