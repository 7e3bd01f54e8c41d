"""Specifications as `torch.nn.Module`s that take NCHW (or (n, d)) and give logits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn

from benchmark.errors import ModelError
from benchmark.models.layers import (
    COUNTER,
    EPSILON,
    MOMENTUM,
    BatchNorm,
    Conv,
    Dense,
    GlobalAverage,
    GroupNorm,
    Layer,
    MaxPool,
    Relu,
    Rescale,
    Residual,
    Shape,
    Silu,
)
from benchmark.models.specification import ModelSpecification, walked


class FlattenChannelsLast(nn.Module):
    """(n, C, H, W) to (n, H*W*C): free for `channels_last` tensors, and TensorFlow's order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Flatten all axes but the first."""
        if x.ndim == 4:
            x = x.permute(0, 2, 3, 1)  # (n, H, W, C)
        return x.flatten(1)


class GlobalAveragePool(nn.Module):
    """(n, C, H, W) to (n, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over height and width."""
        return x.mean((2, 3))


class Normalisation(nn.Module):
    """(x - mean) / std of NCHW images; neither is a weight or a buffer, so that none is averaged.

    Args:
        mean: subtracted; one number, or one a channel.
        std: divided by.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean, self.std = (torch.tensor(value).view(-1, 1, 1) for value in (mean, std))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        return (x - self.mean) / self.std

    def _apply(self, fn: Any, recurse: bool = True) -> Normalisation:
        """Moves the constants along with the weights."""
        super()._apply(fn, recurse)
        self.mean, self.std = fn(self.mean), fn(self.std)
        return self


class ResidualBlock(nn.Module):
    """body(first(x)) + x, or + shortcut(first(x)) where there is one."""

    def __init__(self, parts: Mapping[str, dict[str, nn.Module]]) -> None:
        super().__init__()
        self.parts = {}
        for part, modules in parts.items():
            nested = _nested(modules)
            self.parts[part] = tuple(nested)
            for name, module in nested.items():
                self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both ways."""
        before = self._through("first", x)
        beside = self._through("shortcut", before) if self.parts["shortcut"] else x
        return self._through("body", before) + beside

    def _through(self, part: str, x: torch.Tensor) -> torch.Tensor:
        for name in self.parts[part]:
            x = getattr(self, name)(x)
        return x


def build(specification: ModelSpecification, weights: dict[str, np.ndarray]) -> nn.Sequential:
    """A module with these weights (neutral layout), in their floating-point type."""
    model = _sequence(_modules(specification.walk()))
    set_weights(model, weights)
    # For `defenses`: inputs may come in any layout, and none is changed in place.
    model.takes_views = True
    return model.to(memory_format=torch.channels_last)


def _modules(layers: Iterable[tuple[Layer, Shape]]) -> dict[str, nn.Module]:
    return {name: module for layer, shape in layers for name, module in _made(layer, shape).items()}


def _made(layer: Layer, shape: Shape) -> dict[str, nn.Module]:
    """A layer's modules by their names: most have one."""
    match layer:
        case Conv():
            return _convolution(layer, shape)
        case Residual():
            inside = [*walked((*layer.first, *layer.body), shape)]
            parts = {
                "first": inside[: len(layer.first)],
                "body": inside[len(layer.first) :],
                "shortcut": [*walked(layer.shortcut, shape)],
            }
            return {layer.name: ResidualBlock({k: _modules(v) for k, v in parts.items()})}
        case _:
            return {layer.name: _simple(layer, shape)}


def _simple(layer: Layer, shape: Shape) -> nn.Module:
    match layer:
        case MaxPool():
            return nn.MaxPool2d(2, ceil_mode=True)
        case Dense():
            return nn.Linear(shape[0], layer.units)
        case Relu():
            return nn.ReLU()
        case Silu():
            return nn.SiLU()
        case GlobalAverage():
            return GlobalAveragePool()
        case Rescale():
            return Normalisation(layer.mean, layer.std)
        case BatchNorm():
            return nn.BatchNorm2d(shape[-1], eps=EPSILON, momentum=MOMENTUM)
        case GroupNorm():
            return nn.GroupNorm(layer.groups, shape[-1], eps=EPSILON)
        case _:
            return FlattenChannelsLast()


def _nested(modules: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Modules that run one after the other; names with a dot become sequences within."""
    whole: dict[str, Any] = {}
    for name, module in modules.items():
        outer, dot, inner = name.partition(".")
        if dot:
            whole.setdefault(outer, {})[inner] = module
        else:
            whole[outer] = module
    return {n: _sequence(m) if isinstance(m, dict) else m for n, m in whole.items()}


def _sequence(modules: Mapping[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(_nested(modules)))


class ChannelsLast(nn.Module):
    """Lets a model that takes NCHW take NHWC, in memory as the model's author would lay it out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.channels_last = is_channels_last(model)
        self.takes_views = bool(getattr(model, "takes_views", False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of NHWC images; (n, d) inputs pass unchanged."""
        given = images(x, channels_last=self.channels_last, view=self.takes_views)
        logits: torch.Tensor = self.model(given)
        return logits


def images(x: torch.Tensor, *, channels_last: bool, view: bool = False) -> torch.Tensor:
    """A copy of NHWC as NCHW, contiguous or `channels_last`; of (n, d) as it is.

    `view`: no copy where it would be `channels_last`, for a model that changes no input in place.
    """
    # A model that says x.view(n, -1) takes contiguous images only; one that works in place on its
    # input must not reach the caller's array.
    given = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
    if not channels_last:
        return given.clone(memory_format=torch.contiguous_format)
    return given if view else given.clone()


def is_channels_last(model: nn.Module) -> bool:
    """Whether its weights were laid out so on purpose: then that is the fast layout for images."""
    return any(
        value.ndim == 4
        and value.is_contiguous(memory_format=torch.channels_last)
        and not value.is_contiguous()  # weights of one channel are both
        for value in model.parameters()
    )


def _convolution(layer: Conv, shape: Shape) -> dict[str, nn.Module]:
    top, bottom = layer.padding(shape[0])
    left, right = layer.padding(shape[1])
    layers: dict[str, nn.Module] = {}
    padding = (top, left)
    if (top, left) != (bottom, right):
        layers[f"{layer.name}_pad"] = nn.ZeroPad2d((left, right, top, bottom))
        padding = (0, 0)
    layers[layer.name] = nn.Conv2d(
        shape[-1],
        layer.filters,
        layer.kernel,
        stride=layer.stride,
        padding=padding,
        bias=layer.bias,
    )
    return layers


def get_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of a built model's arrays by name, in the neutral layout."""
    return {
        name: np.array(_to_neutral(value.detach().cpu().numpy()), order="C")
        for name, value in model.state_dict().items()
        if not name.endswith(COUNTER)
    }


def set_weights(model: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Load weights in the neutral layout; the model takes their floating-point type."""
    state = {name: torch.tensor(_from_neutral(value)) for name, value in weights.items()}
    model.to(next(iter(state.values())).dtype)
    counters = {k: v for k, v in model.state_dict().items() if k.endswith(COUNTER)}
    model.load_state_dict(state | counters)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict, torch's names and layout, as safetensors."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(state, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read a safetensors file into `model`; nothing is unpickled.

    Raises:
        ModelError: the file is no safetensors file or its keys don't fit.
    """
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise ModelError(f"weights {path.name} don't fit the model: {error}") from error


def _from_neutral(value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)  # (out, in, height, width)
    return value.T if value.ndim == 2 else value


def _to_neutral(value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)  # (height, width, in, out)
    return value.T if value.ndim == 2 else value
