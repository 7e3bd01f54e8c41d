"""Specifications as `torch.nn.Module`s that take NCHW (or (n, d)) and give logits."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from benchmark.errors import ModelError
from benchmark.models.specification import Conv, Dense, MaxPool, ModelSpecification, Relu


class FlattenChannelsLast(nn.Module):
    """(n, C, H, W) to (n, H*W*C): free for `channels_last` tensors, and TensorFlow's order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Flatten all axes but the first."""
        if x.ndim == 4:
            x = x.permute(0, 2, 3, 1)  # (n, H, W, C)
        return x.flatten(1)


def build(specification: ModelSpecification, weights: dict[str, np.ndarray]) -> nn.Sequential:
    """A module with these weights (neutral layout), in their floating-point type."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for layer, shape in specification.walk():
        if isinstance(layer, Conv):
            layers |= _convolution(layer, shape)
        elif isinstance(layer, MaxPool):
            layers[layer.name] = nn.MaxPool2d(2, ceil_mode=True)
        elif isinstance(layer, Dense):
            layers[layer.name] = nn.Linear(shape[0], layer.units)
        elif isinstance(layer, Relu):
            layers[layer.name] = nn.ReLU()
        else:
            layers[layer.name] = FlattenChannelsLast()
    model = nn.Sequential(layers)
    set_weights(model, weights)
    # For `defenses`: inputs may come in any layout, and none is changed in place.
    model.takes_views = True
    return model.to(memory_format=torch.channels_last)


def images(x: torch.Tensor, *, channels_last: bool) -> torch.Tensor:
    """NHWC as NCHW, (n, d) as it is: a contiguous copy, or the view that is `channels_last`."""
    view = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
    # A model that says x.view(n, -1) takes contiguous images only; one that works in place on its
    # input must not reach the caller's array.
    return view if channels_last else view.clone(memory_format=torch.contiguous_format)


def is_channels_last(model: nn.Module) -> bool:
    """Whether its weights were laid out so on purpose: then that is the fast layout for images."""
    return any(
        value.ndim == 4
        and value.is_contiguous(memory_format=torch.channels_last)
        and not value.is_contiguous()  # weights of one channel are both
        for value in model.parameters()
    )


def _convolution(layer: Conv, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    top, bottom = layer.padding(shape[0])
    left, right = layer.padding(shape[1])
    layers: dict[str, nn.Module] = {}
    padding = (top, left)
    if (top, left) != (bottom, right):
        layers[f"{layer.name}_pad"] = nn.ZeroPad2d((left, right, top, bottom))
        padding = (0, 0)
    layers[layer.name] = nn.Conv2d(
        shape[-1], layer.filters, layer.kernel, stride=layer.stride, padding=padding
    )
    return layers


def get_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """The parameters of a built model by name, in the neutral layout."""
    return {
        name: np.ascontiguousarray(_to_neutral(value.detach().cpu().numpy()))
        for name, value in model.named_parameters()
    }


def set_weights(model: nn.Module, weights: dict[str, np.ndarray]) -> None:
    """Load weights in the neutral layout; the model takes their floating-point type."""
    state = {name: torch.tensor(_from_neutral(value)) for name, value in weights.items()}
    model.to(next(iter(state.values())).dtype)
    model.load_state_dict(state)


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
