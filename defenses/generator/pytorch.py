"""The generator of perturbations in PyTorch; the layers are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from defenses.generator.spec import GeneratorState
from defenses.kernels.pytorch_states import Slots, Tensors
from defenses.states import Parts


def generate(weights: Sequence[Tensor], x: Tensor, other: Tensor) -> Tensor:
    """The generator's output for inputs (n, C, H, W) or (n, d); shape of `x`."""
    hidden = torch.cat([x, other], dim=1)
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    for place, (kernel, bias) in enumerate(layers):
        hidden = torch.tanh(hidden) if place else hidden
        if x.ndim == 4:
            hidden = conv2d(hidden, kernel.permute(3, 2, 0, 1).contiguous(), bias, padding=1)
        else:
            hidden = hidden @ kernel + bias
    return hidden


class Generator(GeneratorState):
    """The generator with its own weights.

    Args:
        width: of hidden layers.
        rate: of Adam.
        like: a tensor of the type and on the device that the weights are to have.
    """

    def __init__(self, *, width: int, rate: float, like: Tensor) -> None:
        super().__init__(width)
        self._rate, self._like = rate, like

    def make(self, arrays: Sequence[np.ndarray]) -> None:
        """Set `weights` and `parts`."""
        given = [torch.tensor(a, dtype=self._like.dtype, device=self._like.device) for a in arrays]
        self.weights = [weight.requires_grad_() for weight in given]
        self.optimizer = torch.optim.Adam(self.weights, lr=self._rate)
        self.parts = Parts(weight=Tensors(self.weights), adam=Slots(self.optimizer))

    def __call__(self, x: Tensor, other: Tensor) -> Tensor:
        return generate(self.weights, x, other)

    def update(self, gradients: Sequence[Tensor]) -> None:
        """One step of Adam."""
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
