"""The PyTorch half of every kernel: tensors, modes, optimiser, state, adaptation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses import kernel
from defenses.conventions.pytorch import Caller, copied
from defenses.kernel import Arrays
from defenses.kernels.pytorch_convolutions import FewChannelConvolutions
from defenses.perturbation.pytorch import perturb
from defenses.perturbation.spec import Ascent
from defenses.saved import unfit
from defenses.states import Parts, divided, joined, numbered

if TYPE_CHECKING:
    from defenses.defense import Defense

_WEIGHTS = "model.safetensors"

Batch = Mapping[str, Tensor]


class Kernel(kernel.Kernel):
    """Holds a module that takes NCHW (or (n, d)); a subclass adds `train_on`.

    What is not documented here is documented there.
    """

    def __init__(self, model: nn.Module, defense: Defense) -> None:
        self.model = model
        self.defense = defense
        self.logits = Caller(model)
        self.parameters = self.logits.parameters
        self.device = self.parameters[0].device
        self.dtype = self.logits.dtype
        # What the defense averages: weights, and the statistics that belong to them.
        running = [value for value in model.buffers() if value.is_floating_point()]
        self.averaged = [*self.parameters, *running] if defense.weight_averaging else []
        self.averages = [value.detach().clone() for value in self.averaged]
        self.beside = Parts(average=Tensors(self.averages))
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.optimized: dict[str, list[Tensor]] = {}
        self.add_optimizer("optimizer", self.parameters)

    def add_optimizer(self, name: str, parameters: Sequence[Tensor]) -> None:
        """The optimiser that the defense names, for these parameters."""
        defense = self.defense
        self.optimized[name] = list(parameters)
        decays = [defense.decay_of(value.ndim) for value in parameters]
        groups = [
            {
                "params": [p for p, own in zip(parameters, decays, strict=True) if own == decay],
                "weight_decay": decay,
            }
            for decay in dict.fromkeys(decays)
        ]
        if defense.optimizer == "sgd":
            self.optimizers[name] = torch.optim.SGD(
                groups, lr=defense.learning_rate, momentum=0.9, nesterov=defense.nesterov
            )
        else:
            self.optimizers[name] = torch.optim.Adam(groups, lr=defense.learning_rate)
        self.beside[name] = Slots(self.optimizers[name])

    def run(self, draws: Arrays, learning_rate: float, eps: float, *chosen: Any) -> Any:
        """`train_on` tensors of these draws."""
        return self.train_on(self.tensors(draws), learning_rate, eps, *chosen)

    @contextmanager
    def in_bfloat16(self) -> Iterator[None]:
        # Uncached, because weights move while it is entered
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            yield

    def images(self, x: np.ndarray) -> Tensor:
        """NHWC as an NCHW view, which is `channels_last`, the fast layout."""
        # Torch takes neither read-only arrays nor strides below zero
        tensor = self._sent(np.require(x, requirements=["C", "W"])).to(self.dtype)
        return tensor.permute(0, 3, 1, 2) if x.ndim == 4 else tensor

    def arrays(self, x: Tensor) -> np.ndarray:
        """The inverse of `images`."""
        return array(x.permute(0, 2, 3, 1) if x.ndim == 4 else x)

    def labels(self, y: np.ndarray) -> Tensor:
        """Labels on the model's device."""
        return self._sent(y)

    def _sent(self, values: np.ndarray) -> Tensor:
        """On the model's device; the copy to a GPU waits for nothing that is computed there."""
        tensor = torch.from_numpy(values)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.device, non_blocking=True)

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

    def training_logits(self, x: Tensor) -> Tensor:
        """The model in training mode; the running statistics of its normalisation move."""
        self.model.train()
        return self.logits(x)

    def perturbed(
        self, x: Tensor, y: Tensor, start: Tensor, *, eps: float, ascent: Ascent
    ) -> Tensor:
        """Adversarial examples of the model in evaluation mode, detached; shape of `x`."""
        with self.attacked():
            return perturb(self.logits, x, y, start, eps=eps, ascent=ascent)

    def minimise(self, loss_of: Callable[[], Tensor], learning_rate: float) -> Tensor:
        """One update down the gradient of a loss; gives the loss before it."""
        loss = loss_of()
        self.update(self.gradients(loss), learning_rate)
        return loss.detach()

    def gradients(
        self, loss: Tensor, weights: Sequence[Tensor] | None = None, **settings: Any
    ) -> list[Tensor]:
        """Of the loss by `weights`, by default the parameters; zeros where it doesn't use one."""
        weights = self.parameters if weights is None else weights
        return list(torch.autograd.grad(loss, weights, materialize_grads=True, **settings))

    def update(
        self, gradients: Sequence[Tensor], learning_rate: float, name: str = "optimizer"
    ) -> None:
        """One step of an optimiser."""
        optimizer = self.optimizers[name]
        if clipping := self.defense.gradient_clipping:
            norm = torch.nn.utils.get_total_norm(gradients)
            share = (clipping / (norm + 1e-6)).clamp(max=1)
            gradients = torch._foreach_mul(list(gradients), share)
        for parameter, gradient in zip(self.optimized[name], gradients, strict=True):
            parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _outputs(self, x: np.ndarray) -> np.ndarray:
        self.model.eval()
        with torch.inference_mode():
            return np.asarray(self.logits(self.images(x)).cpu().numpy())

    def _attack(
        self, x: np.ndarray, y: np.ndarray, start: np.ndarray, *, eps: float, ascent: Ascent
    ) -> np.ndarray:
        tensors = self.images(x), self.labels(y), self.images(start)
        return self.arrays(self.perturbed(*tensors, eps=eps, ascent=ascent))

    def input_gradient(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with self.attacked():
            images = self.images(x).requires_grad_()
            loss = cross_entropy(self.logits(images), self.labels(y), reduction="sum")
            return self.arrays(torch.autograd.grad(loss, images)[0])

    def average(self, decay: float) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.averaged, 1 - decay)

    def swap_average(self) -> None:
        with torch.no_grad():
            for value, average in zip(self.averaged, self.averages, strict=True):
                current = value.clone()
                value.copy_(average)
                average.copy_(current)

    def descend(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        steps: int,
        rate: float,
        clean: np.ndarray | None = None,
        distance_weight: float = 0.0,
    ) -> None:
        images, labels = self.images(x), self.labels(y)
        near = None if clean is None else self.images(clean)
        self.model.eval()
        for _ in range(steps):
            logits = self.logits(images)
            loss = cross_entropy(logits, labels)
            if near is not None:
                distances = (logits - self.logits(near)).square().sum(dim=1)
                loss = loss + distance_weight * distances.mean()
            gradients = self.gradients(loss)
            with torch.no_grad():
                steps_of = torch._foreach_mul(list(gradients), self.rate_factors())
                torch._foreach_add_(self.parameters, steps_of, alpha=-rate)

    def weights(self) -> dict[str, np.ndarray]:
        return {name: array(value) for name, value in self.model.state_dict().items()}

    def load_weights(self, weights: Arrays) -> None:
        tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
        self.model.load_state_dict(tensors)

    def save_weights(self, folder: Path) -> None:
        # Copies, because tied weights share their memory, and safetensors wants each once
        state = {
            name: value.contiguous().clone() for name, value in self.model.state_dict().items()
        }
        safetensors.torch.save_file(state, folder / _WEIGHTS)

    def read_weights(self, folder: Path) -> None:
        try:
            self.model.load_state_dict(safetensors.torch.load_file(folder / _WEIGHTS))
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            raise unfit(folder / _WEIGHTS, error) from error

    def copy(self) -> Kernel:
        other = type(self)(copied(self.model), self.defense)
        other.load_learned(self.learned())
        return other


class Tensors:
    """Tensors that a checkpoint keeps, by their place."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        self._values = values

    def state(self) -> dict[str, np.ndarray]:
        """All of them."""
        return numbered([array(value) for value in self._values])

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        with torch.no_grad():
            for name, value in state.items():
                self._values[int(name)].copy_(torch.from_numpy(value))


class Slots:
    """What an optimiser keeps of each parameter, "place/name"."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state(self) -> dict[str, np.ndarray]:
        """All of it."""
        kept = self._optimizer.state_dict()["state"]
        return joined(
            {
                str(place): {name: array(value) for name, value in slots.items()}
                for place, slots in kept.items()
            }
        )

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        kept = {
            int(place): {name: torch.from_numpy(value) for name, value in slots.items()}
            for place, slots in divided(state).items()
        }
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": kept, "param_groups": groups})


def array(value: Tensor) -> np.ndarray:
    """A copy in NumPy."""
    return in_numpy(value).copy()


def in_numpy(value: Tensor) -> np.ndarray:
    """The tensor's own numbers and layout in NumPy, where it lies in the processor's memory."""
    value = value.detach().cpu()
    # NumPy has no bfloat16; float32 holds each of its numbers
    found: np.ndarray = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    return found
