"""An external `torch.nn.Module`, called as its author's own loop would call it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.external.model import ExternalModel
from benchmark.external.outputs import one_output, outputs_in, told_of
from benchmark.external.pytorch_checkpoints import load_weights
from benchmark.external.sigmoids.pytorch import log_odds
from benchmark.models.pytorch import images, is_channels_last
from defenses.conventions.pytorch import copied as copied_module
from defenses.kernels.pytorch_states import in_numpy

__all__ = ["ExternalModule", "adapted", "load_weights", "outputs_of", "taken"]


class ExternalModule(nn.Module):
    """Takes what this project's torch models take, NCHW or (n, d) in [0, 1]; gives float32 logits.

    The model keeps the types of its weights: what goes into it is cast, and what comes out.

    Args:
        model: as it was given.
        external: says what it takes and gives; `outputs` is no longer "auto".
    """

    def __init__(self, model: nn.Module, external: ExternalModel) -> None:
        super().__init__()
        self.model = model
        self.channels_last = external.channels == "last"
        self.outputs = external.outputs
        self.input_range = external.input_range
        self.takes = torch.float32
        self.register_buffer("mean", torch.tensor(external.mean or (0.0,), dtype=torch.float32))
        self.register_buffer("std", torch.tensor(external.std or (1.0,), dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits; of probabilities, their logarithm; of sigmoids, what stands before them."""
        if self.outputs == "sigmoids":
            odds = log_odds(lambda x: outputs_in(self.answer(x))[0], x)
            return _of_two(odds.float(), len(x))
        outputs: torch.Tensor = _of_two(outputs_in(self.answer(x))[0].float(), len(x))
        if self.outputs == "probabilities":
            outputs = outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()
        return outputs

    def answer(self, x: torch.Tensor) -> Any:
        """What the model itself gives, as it comes."""
        if self.input_range:
            low, high = self.input_range
            x = x * (high - low) + low
        shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
        x = (x - self.mean.view(shape)) / self.std.view(shape)
        if x.ndim == 4 and self.channels_last:
            x = x.permute(0, 2, 3, 1).contiguous()  # (n, H, W, C)
        return self.model(x.to(self.takes))


def copied(model: nn.Module) -> nn.Module:
    """An independent module with the same weights: what makes it ready changes it."""
    return copied_module(model)


def device_of(model: nn.Module) -> str:
    """ "cpu" or "cuda"."""
    return next((value.device.type for value in model.parameters()), "cpu")


def arrays_of(model: nn.Module) -> list[np.ndarray]:
    """Weights and buffers, in the order of their names."""
    return [in_numpy(value) for _, value in sorted(model.state_dict().items())]


def adapted(
    model: nn.Module, external: ExternalModel, *, input_shape: tuple[int, ...], device: str
) -> ExternalModule:
    """The model in evaluation mode behind this project's conventions.

    Args:
        model: as it was given.
        external: says what it takes and gives.
        input_shape: (H, W, C) or (d,), as the data have it.
        device: "cpu" or "cuda".
    """
    around = ExternalModule(model, external).eval().to(device)
    around.takes = _type_taken(around, torch.zeros((2, *input_shape), device=device))
    return around


def _type_taken(around: ExternalModule, x: torch.Tensor) -> torch.dtype:
    """float32 where the model takes it, else the first type of its weights that it does take."""
    kinds = {value.dtype for value in around.model.parameters() if value.is_floating_point()}
    others = sorted(kinds - {torch.float32}, key=str)
    if not others:
        return torch.float32
    for kind in (torch.float32, *others):
        around.takes = kind
        try:
            with torch.no_grad():
                around.answer(_images(around, x))
        except (RuntimeError, TypeError, ValueError):
            continue  # asked only whether it does; the model's check tells what it raises
        return kind
    return torch.float32


def outputs_of(model: ExternalModule, x: np.ndarray) -> np.ndarray:
    """The logits of NHWC or (n, d) NumPy inputs, (n, classes); for the model's check."""
    with torch.no_grad():
        return model(_images(model, torch.from_numpy(x))).cpu().numpy()


def taken(model: ExternalModule, x: np.ndarray) -> str:
    """Which part of what the model gives is taken; empty where that is all."""
    with torch.no_grad():
        return told_of(model.answer(_images(model, torch.from_numpy(x))), len(x))


def _of_two(outputs: torch.Tensor, count: int) -> torch.Tensor:
    """Outputs (n, classes); one output z, of class 1, becomes (0, z)."""
    if not one_output(outputs, count):
        return outputs
    z = outputs.reshape(-1, 1)
    return torch.cat([torch.zeros_like(z), z], dim=1)


def _images(model: ExternalModule, x: torch.Tensor) -> torch.Tensor:
    return images(x, channels_last=is_channels_last(model))
