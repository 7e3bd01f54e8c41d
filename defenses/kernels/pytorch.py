"""The PyTorch half of every kernel: tensors, modes, optimiser, state, adaptation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from defenses.adaptation.spec import Adaptation
from defenses.perturbation.pytorch import perturb

if TYPE_CHECKING:
    from defenses.defense import Defense

PREDICT_BATCH = 250


class Kernel:
    """Holds a module that takes NCHW (or (n, d)) and gives logits; a subclass adds `step`."""

    def __init__(self, model: nn.Module, defense: Defense) -> None:
        self.model = model
        self.defense = defense
        self.parameters = [value for value in model.parameters() if value.requires_grad]
        self.device = self.parameters[0].device
        self.dtype = self.parameters[0].dtype
        self.optimizer = _optimizer(defense, self.parameters)

    def images(self, x: np.ndarray) -> torch.Tensor:
        """NHWC as an NCHW view, which is `channels_last`, the fast layout."""
        tensor = torch.from_numpy(x).to(self.device, self.dtype)
        return tensor.permute(0, 3, 1, 2) if x.ndim == 4 else tensor

    def labels(self, y: np.ndarray) -> torch.Tensor:
        """Labels on the model's device."""
        return torch.from_numpy(y).to(self.device)

    @contextmanager
    def attacked(self) -> Iterator[None]:
        """Evaluation mode and frozen weights, so that an attack pays for the input alone."""
        was_training = self.model.training
        self.model.eval()
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)
            self.model.train(was_training)

    def update(self, gradients: Sequence[torch.Tensor], learning_rate: float) -> None:
        """One step of the optimiser."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode, (n, classes)."""
        self.model.eval()
        with torch.inference_mode():
            batches = [
                self.model(self.images(x[first : first + PREDICT_BATCH])).cpu().numpy()
                for first in range(0, len(x), PREDICT_BATCH)
            ]
        return np.concatenate(batches)

    def adapt(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, adaptation: Adaptation
    ) -> None:
        """Adapt the weights in place; the steps are those of `adaptation.spec`."""
        images, labels = self.images(x), self.labels(y)
        # Step 1
        with self.attacked():
            x_adv = perturb(
                self.model, images, labels, self.images(start), eps=eps, ascent=adaptation.ascent
            )
        # Step 2
        self.model.eval()
        for _ in range(adaptation.steps):
            loss = cross_entropy(self.model(x_adv), labels)
            gradients = torch.autograd.grad(loss, self.parameters)
            with torch.no_grad():
                for parameter, gradient in zip(self.parameters, gradients, strict=True):
                    parameter -= adaptation.rate * gradient

    def state(self) -> dict[str, np.ndarray]:
        """Weights, buffers and optimiser state, by name."""
        state = {f"model/{k}": _array(v) for k, v in self.model.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer/{index}/{k}": _array(v) for k, v in slots.items()}
        return state

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Take up what `state` returned."""
        groups = self.optimizer.state_dict()["param_groups"]
        weights: dict[str, torch.Tensor] = {}
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.items():
            kind, _, key = name.partition("/")
            if kind == "model":
                weights[key] = torch.from_numpy(value)
            else:
                index, _, slot = key.partition("/")
                slots.setdefault(int(index), {})[slot] = torch.from_numpy(value)
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})

    def copy(self) -> Kernel:
        """An independent kernel with the same weights and a fresh optimiser."""
        return type(self)(copy.deepcopy(self.model), self.defense)


def _optimizer(defense: Defense, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if defense.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=defense.learning_rate, momentum=0.9)
    return torch.optim.Adam(parameters, lr=defense.learning_rate)


def _array(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy().copy()
