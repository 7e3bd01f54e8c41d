"""The PyTorch half of every kernel: tensors, modes, optimiser, state, adaptation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from defenses.adaptation.spec import Adaptation
from defenses.conventions.pytorch import Caller, copied
from defenses.kernel import Arrays
from defenses.kernels.pytorch_convolutions import FewChannelConvolutions
from defenses.perturbation.pytorch import perturb
from defenses.perturbation.spec import Ascent
from defenses.saved import unfit

if TYPE_CHECKING:
    from defenses.defense import Defense

PREDICT_BATCH = 250

_WEIGHTS = "model.safetensors"


class Kernel:
    """Holds a module that takes NCHW (or (n, d)) and gives logits; a subclass adds `step`."""

    def __init__(self, model: nn.Module, defense: Defense) -> None:
        self.model = model
        self.defense = defense
        self.logits = Caller(model)
        self.parameters = self.logits.parameters
        self.device = self.parameters[0].device
        self.dtype = self.logits.dtype
        # By name; a subclass may add others.
        self.optimizers = {"optimizer": make_optimizer(defense, self.parameters)}
        # What the defense averages: weights, and the statistics that belong to them.
        running = [value for value in model.buffers() if value.is_floating_point()]
        self.averaged = [*self.parameters, *running] if defense.weight_averaging else []
        self.averages = [value.detach().clone() for value in self.averaged]

    def images(self, x: np.ndarray) -> torch.Tensor:
        """NHWC as an NCHW view, which is `channels_last`, the fast layout."""
        # Torch takes neither read-only arrays nor strides below zero
        tensor = torch.from_numpy(np.require(x, requirements=["C", "W"]))
        tensor = tensor.to(self.device, self.dtype)
        return tensor.permute(0, 3, 1, 2) if x.ndim == 4 else tensor

    def arrays(self, x: torch.Tensor) -> np.ndarray:
        """The inverse of `images`."""
        return array(x.permute(0, 2, 3, 1) if x.ndim == 4 else x)

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
            with FewChannelConvolutions():
                yield
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)
            self.model.train(was_training)

    def gradients(
        self,
        loss: torch.Tensor,
        weights: Sequence[torch.Tensor] | None = None,
        **settings: Any,
    ) -> list[torch.Tensor]:
        """Of the loss by `weights`, by default the parameters; zeros where it doesn't use one."""
        weights = self.parameters if weights is None else weights
        return list(torch.autograd.grad(loss, weights, materialize_grads=True, **settings))

    def update(
        self, gradients: Sequence[torch.Tensor], learning_rate: float, name: str = "optimizer"
    ) -> None:
        """One step of an optimiser."""
        optimizer = self.optimizers[name]
        (group,) = optimizer.param_groups
        for parameter, gradient in zip(group["params"], gradients, strict=True):
            parameter.grad = gradient
        group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits in evaluation mode, (n, classes)."""
        self.model.eval()
        with torch.inference_mode():
            batches = [
                self.logits(self.images(x[first : first + PREDICT_BATCH])).cpu().numpy()
                for first in range(0, len(x), PREDICT_BATCH)
            ]
        return np.concatenate(batches)

    def attack(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, ascent: Ascent
    ) -> np.ndarray:
        """Adversarial examples of the model in evaluation mode; shape of `x`."""
        found = []
        with self.attacked():
            for first in range(0, len(x), PREDICT_BATCH):
                part = slice(first, first + PREDICT_BATCH)
                images, labels = self.images(x[part]), self.labels(y[part])
                x_adv = perturb(
                    self.logits, images, labels, self.images(start[part]), eps=eps, ascent=ascent
                )
                found.append(self.arrays(x_adv))
        return np.concatenate(found)

    def input_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The gradient of each example's loss with respect to itself; shape of `x`."""
        with self.attacked():
            images = self.images(x).requires_grad_()
            loss = cross_entropy(self.logits(images), self.labels(y), reduction="sum")
            return self.arrays(torch.autograd.grad(loss, images)[0])

    def average(self, decay: float) -> None:
        """Move averaged weights and running statistics to the current ones by 1 - `decay`."""
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.averaged, 1 - decay)

    def swap_average(self) -> None:
        """Exchange the model's weights and running statistics with the averaged ones."""
        with torch.no_grad():
            for value, average in zip(self.averaged, self.averages, strict=True):
                current = value.clone()
                value.copy_(average)
                average.copy_(current)

    def adapt(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, adaptation: Adaptation
    ) -> None:
        """Adapt the weights in place; the steps are those of `adaptation.spec`."""
        # Step 1
        x_adv = self.attack(x, y, start, eps=eps, ascent=adaptation.ascent)
        # Step 2
        self.descend(x_adv, y, steps=adaptation.steps, rate=adaptation.rate)

    def descend(self, x: np.ndarray, y: np.ndarray, *, steps: int, rate: float) -> None:
        """Plain gradient descent on the mean loss of `x` as they are, in place."""
        images, labels = self.images(x), self.labels(y)
        self.model.eval()
        for _ in range(steps):
            gradients = self.gradients(cross_entropy(self.logits(images), labels))
            with torch.no_grad():
                steps_of = torch._foreach_mul(list(gradients), self.rate_factors())
                torch._foreach_add_(self.parameters, steps_of, alpha=-rate)

    def rate_factors(self) -> list[float]:
        """By how much each parameter's rate differs from the given one; a subclass may learn it."""
        return [1.0] * len(self.parameters)

    def learned(self) -> dict[str, list[float]]:
        """What was learned beside the weights, by name."""
        return {}

    def load_learned(self, learned: Mapping[str, list[float]]) -> None:
        """Take up what `learned` returned."""

    def weights(self) -> dict[str, np.ndarray]:
        """The model's weights and buffers, by name."""
        return {name: array(value) for name, value in self.model.state_dict().items()}

    def load_weights(self, weights: Arrays) -> None:
        """Take up what `weights` returned."""
        tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
        self.model.load_state_dict(tensors)

    def save_weights(self, folder: Path) -> None:
        """Write the model's weights and buffers to a file in `folder`."""
        # Copies, because tied weights share their memory, and safetensors wants each once
        state = {
            name: value.contiguous().clone() for name, value in self.model.state_dict().items()
        }
        safetensors.torch.save_file(state, folder / _WEIGHTS)

    def read_weights(self, folder: Path) -> None:
        """Take up what `save_weights` wrote; DefenseError where it isn't there or doesn't fit."""
        try:
            self.model.load_state_dict(safetensors.torch.load_file(folder / _WEIGHTS))
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            raise unfit(folder / _WEIGHTS, error) from error

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on: weights, averages, optimiser; by name."""
        state = {f"model/{name}": value for name, value in self.weights().items()}
        state |= {f"average/{i}": array(value) for i, value in enumerate(self.averages)}
        for part, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                state |= {f"{part}/{index}/{k}": array(v) for k, v in slots.items()}
        return state

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        weights: dict[str, np.ndarray] = {}
        slots: dict[str, dict[int, dict[str, torch.Tensor]]] = {
            part: {} for part in self.optimizers
        }
        for name, value in state.items():
            kind, _, key = name.partition("/")
            if kind == "model":
                weights[key] = value
            elif kind == "average":
                self.averages[int(key)].copy_(torch.from_numpy(value))
            elif kind in slots:
                index, _, slot = key.partition("/")
                slots[kind].setdefault(int(index), {})[slot] = torch.from_numpy(value)
        self.load_weights(weights)
        for part, optimizer in self.optimizers.items():
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": slots[part], "param_groups": groups})

    def copy(self) -> Kernel:
        """An independent kernel with the same weights and a fresh optimiser."""
        other = type(self)(copied(self.model), self.defense)
        other.load_learned(self.learned())
        return other


def make_optimizer(defense: Defense, parameters: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
    """The optimiser that the defense names, at its base rate."""
    settings = {"lr": defense.learning_rate, "weight_decay": defense.weight_decay}
    if defense.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, **settings)
    return torch.optim.Adam(parameters, **settings)


def array(value: torch.Tensor) -> np.ndarray:
    """A copy in NumPy."""
    return in_numpy(value).copy()


def in_numpy(value: torch.Tensor) -> np.ndarray:
    """The tensor's own numbers and layout in NumPy, where it lies in the processor's memory."""
    value = value.detach().cpu()
    # NumPy has no bfloat16; float32 holds each of its numbers
    found: np.ndarray = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    return found
