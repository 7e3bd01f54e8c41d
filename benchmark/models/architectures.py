"""The table of architectures, and how they are named: `wrn-28-10`, `preact-resnet18(width=8)`.

`cnn` is the network of the measured speed table; `cnn-small` is that of Wong et al. 2020
("Fast is better than free") for MNIST.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import defenses
from benchmark.errors import ConfigError, UnknownName, shortened
from benchmark.models.convolutional import Conv4Parameters, conv4
from benchmark.models.layers import Conv, Dense, Flatten, Layer, MaxPool, Relu
from benchmark.models.names import joined, parsed
from benchmark.models.normalised import NormalisedParameters
from benchmark.models.residual import (
    PreactParameters,
    ResidualParameters,
    preact_resnet,
    wide_resnet,
)
from defenses.errors import did_you_mean


@dataclass(frozen=True)
class Architecture:
    """An architecture before it knows its input.

    Args:
        description: one line.
        layers: gives the hidden ones, from an instance of `parameters` where there are some.
        images_only: whether it needs (H, W, C) inputs.
        parameters: the dataclass of what can be set.
        head: the name of the layer that gives the logits.
    """

    description: str
    layers: Callable[..., tuple[Layer, ...]]
    images_only: bool = True
    parameters: type[NormalisedParameters] | None = None
    head: str = "logits"


@dataclass(frozen=True)
class Chosen:
    """An architecture with its parameters set.

    Args:
        name: with the parameters that are not the defaults, in one form: equal names mean equal
            models.
        hidden: its layers but the last.
    """

    name: str
    architecture: Architecture
    hidden: tuple[Layer, ...]


def _cnn() -> tuple[Layer, ...]:
    return (
        Conv("conv1", filters=32, kernel=3),
        MaxPool("pool1"),
        Relu("relu1"),
        Conv("conv2", filters=64, kernel=3),
        MaxPool("pool2"),
        Relu("relu2"),
        Flatten("flatten"),
        Dense("dense1", units=128),
        Relu("relu3"),
    )


def _cnn_small() -> tuple[Layer, ...]:
    return (
        Conv("conv1", filters=16, kernel=4, stride=2),
        Relu("relu1"),
        Conv("conv2", filters=32, kernel=4, stride=2),
        Relu("relu2"),
        Flatten("flatten"),
        Dense("dense1", units=100),
        Relu("relu3"),
    )


def _mlp() -> tuple[Layer, ...]:
    return (
        Flatten("flatten"),
        Dense("dense1", units=256),
        Relu("relu1"),
        Dense("dense2", units=128),
        Relu("relu2"),
    )


def _preact(depth: int, blocks: tuple[int, ...]) -> Architecture:
    return Architecture(
        f"preactivated ResNet-{depth} for small images (He et al. 2016)",
        partial(preact_resnet, blocks),
        parameters=PreactParameters,
        head="linear",
    )


def _wide(depth: int, width: int) -> Architecture:
    return Architecture(
        f"wide ResNet of depth {depth} and width {width} (Zagoruyko and Komodakis 2016); also "
        "others, such as wrn-34-10",
        partial(wide_resnet, depth, width),
        parameters=ResidualParameters,
        head="fc",
    )


ARCHITECTURES: dict[str, Architecture] = {
    "cnn": Architecture("conv 32, pool, conv 64, pool, dense 128 (3x3 kernels)", _cnn),
    "cnn-small": Architecture(
        "conv 16 and conv 32 (4x4 kernels, stride 2), dense 100 (Wong et al. 2020)", _cnn_small
    ),
    "mlp": Architecture("dense 256, dense 128; images or tabular data", _mlp, images_only=False),
    "conv4": Architecture(
        "four times conv 64, normalisation, pool (3x3 kernels), of few-shot papers",
        conv4,
        parameters=Conv4Parameters,
    ),
    "preact-resnet18": _preact(18, (2, 2, 2, 2)),
    "preact-resnet34": _preact(34, (3, 4, 6, 3)),
    "wrn-28-10": _wide(28, 10),
}

_WIDE = re.compile(r"wrn-([0-9]{1,3})-([0-9]{1,2})")


def chosen(text: str) -> Chosen:
    """The architecture that `text` names, such as "preact-resnet18(width=8, norm=group)".

    Raises:
        UnknownName: no such architecture.
        ConfigError: no such parameter, or a value that is not allowed.
    """
    base, given = parsed(text)
    architecture = _architecture(base)
    if architecture.parameters is None:
        if given:
            raise ConfigError(f"model {base!r} has no parameters; give --model {base}")
        return Chosen(base, architecture, architecture.layers())
    allowed = [field.name for field in dataclasses.fields(architecture.parameters)]
    for name in given:
        if name not in allowed:
            raise ConfigError(
                f"model {base!r} has no parameter {shortened(name)}{did_you_mean(name, allowed)}"
            )
    try:
        parameters = architecture.parameters(**given)
    except (defenses.DefenseError, ConfigError) as error:
        raise ConfigError(f"model {base!r}: {error}") from error
    return Chosen(_canonical(base, parameters), architecture, architecture.layers(parameters))


def _architecture(base: str) -> Architecture:
    if base in ARCHITECTURES:
        return ARCHITECTURES[base]
    if (wide := _WIDE.fullmatch(base)) is None:
        builder = [f"{base}:build"] if base.endswith(".py") else ARCHITECTURES
        raise UnknownName("model", base, builder)
    depth, width = map(int, wide.groups())
    if depth < 10 or (depth - 4) % 6 or not width or base != f"wrn-{depth}-{width}":
        raise ConfigError(
            f"model {base!r}: a wide ResNet has a depth of 6 n + 4, such as 10, 16, 22, 28 or 34, "
            "and a width from 1 to 99"
        )
    return _wide(depth, width)


def _canonical(base: str, parameters: NormalisedParameters) -> str:
    """The name with what is not the default, in the order of the dataclass."""
    changed = {
        field.name: value
        for field in dataclasses.fields(parameters)
        if (value := getattr(parameters, field.name)) != field.default
    }
    return joined(base, changed)
