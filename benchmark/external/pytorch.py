"""A given `torch.nn.Module`: its weights read without unpickling code, its conventions met."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn

from benchmark.errors import ModelError
from benchmark.external.given import Given
from defenses.conventions.pytorch import copied as copied_module
from defenses.kernels.pytorch import in_numpy

# Before it, even `weights_only` could be made to run code (CVE-2025-32434).
_SAFE_SINCE = (2, 6)

# Where training scripts keep the state dict in their checkpoints.
_NESTED = ("state_dict", "model_state_dict", "model")

_NAMED = 4  # keys that an error line names


class GivenModule(nn.Module):
    """Takes what this project's torch models take, NCHW or (n, d) in [0, 1], and gives logits.

    Args:
        model: as it was given.
        given: says what it takes and gives; `outputs` is no longer "auto".
    """

    def __init__(self, model: nn.Module, given: Given) -> None:
        super().__init__()
        self.model = model
        self.channels_last = given.channels == "last"
        self.gives_probabilities = given.outputs == "probabilities"
        self.register_buffer("mean", torch.tensor(given.mean or (0.0,)))
        self.register_buffer("std", torch.tensor(given.std or (1.0,)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits; of probabilities, their logarithm."""
        shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
        x = (x - self.mean.view(shape)) / self.std.view(shape)
        if x.ndim == 4 and self.channels_last:
            x = x.permute(0, 2, 3, 1)  # (n, H, W, C)
        outputs: torch.Tensor = self.model(x)
        if self.gives_probabilities:
            outputs = outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()
        return outputs


def adapted(model: nn.Module, given: Given, *, device: str) -> nn.Module:
    """The model in evaluation mode, float32, behind this project's conventions."""
    return GivenModule(model, given).float().eval().to(device)


def copied(model: nn.Module) -> nn.Module:
    """An independent module with the same weights: what makes it ready changes it."""
    return copied_module(model)


def device_of(model: nn.Module) -> str:
    """ "cpu" or "cuda"."""
    return next((value.device.type for value in model.parameters()), "cpu")


def arrays_of(model: nn.Module) -> list[np.ndarray]:
    """Weights and buffers, in the order of their names."""
    return [in_numpy(value) for _, value in sorted(model.state_dict().items())]


def load_weights(model: nn.Module, path: Path) -> None:
    """Reads a safetensors file or a torch state dict into `model`.

    Raises:
        ModelError: the file can't be read, holds more than arrays, or its keys don't fit.
    """
    state = _state(path)
    own = model.state_dict()
    if not own.keys() & state.keys():  # saved from DataParallel
        state = {name.removeprefix("module."): value for name, value in state.items()}
    missing, foreign = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    told = [f"it lacks {_some(missing)}"] * bool(missing)
    told += [f"the model has no {_some(foreign)}"] * bool(foreign)
    told += [_some(shapes)] * bool(shapes)
    if told:
        raise ModelError(f"weights {path.name} don't fit the model: {'; '.join(told)}")
    model.load_state_dict(state)


def outputs_of(model: nn.Module, x: Any) -> Any:
    """What the model gives for NHWC or (n, d) NumPy inputs, as it comes; for its check."""
    images = torch.from_numpy(x)
    with torch.inference_mode():
        found = model(images.permute(0, 3, 1, 2) if images.ndim == 4 else images)
    if not isinstance(found, torch.Tensor):
        raise ModelError(
            f"the model gives {type(found).__name__!r} instead of one tensor (n, classes)"
        )
    return found.float().cpu().numpy()


def _state(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(path)
        found = _unpickled(path)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path.name} is no safetensors file: {_one_line(error)}") from error
    except OSError as error:
        raise ModelError(f"can't read {path.name}: {_one_line(error)}") from error
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()
    ):
        raise ModelError(f"{path.name} holds no state dict, which maps names to tensors")
    return dict(found)


def _unpickled(path: Path) -> Any:
    """Tensors and plain containers of a pickle; whatever would run code is refused."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _SAFE_SINCE:
        raise ModelError(
            f"torch {torch.__version__} can't read {path.name} safely; use 2.6 or newer, or give "
            "a safetensors file"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        text = str(error)
        if found := re.search(r"GLOBAL (\S+)", text):
            raise ModelError(
                f"{path.name} is a pickle that holds more than arrays ({found[1]}), which could "
                "run code and is not loaded; save the state dict alone, best as safetensors"
            ) from error
        if "TorchScript" in text:
            raise ModelError(
                f"{path.name} is a TorchScript archive, which holds code; give a state dict"
            ) from error
        raise ModelError(f"{path.name} is no torch state dict that can be read safely") from error


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
