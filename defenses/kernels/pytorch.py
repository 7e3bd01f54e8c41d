"""The PyTorch half of every kernel: tensors, modes, optimiser, state, adaptation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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
from defenses.kernels.pytorch_states import Slots, Tensors, array
from defenses.perturbation.pytorch import perturb
from defenses.perturbation.spec import Ascent
from defenses.resident import pytorch as resident
from defenses.resident.spec import Rows
from defenses.saved import unfit
from defenses.states import Parts

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
        if self.device.type == "cuda" and self.logits.takes_views:
            model.to(memory_format=torch.channels_last)  # as its inputs are
        self.dtype = self.logits.dtype
        self.averages = [value.detach().clone() for value in self.averaged]
        self.beside = Parts(average=Tensors(self.averages))
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.optimized: dict[str, list[Tensor]] = {}
        self.add_optimizer("optimizer", self.parameters)

    @property
    def averaged(self) -> list[Tensor]:
        """What the defense averages: weights, and the statistics that belong to them.

        Looked up anew, because a pass may give a buffer a new tensor.
        """
        if not self.defense.weight_averaging:
            return []
        running = [value for value in self.model.buffers() if value.is_floating_point()]
        return [*self.parameters, *running]

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

    @contextmanager
    def drawing_from(self, seed: int) -> Iterator[None]:
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(gpus):
            # Not `torch.manual_seed`, which seeds devices that are not put back
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                with torch.cuda.device(gpu):
                    torch.cuda.manual_seed(seed)
            yield

    def room(self) -> int:
        if self.device.type != "cuda":
            return 0
        return int(torch.cuda.mem_get_info(self.device)[0]) // 4

    def upload(self, chunks: Iterator[np.ndarray]) -> Tensor:
        return resident.upload(chunks, self.device)

    def images(self, x: np.ndarray | Rows) -> Tensor:
        """NHWC as an NCHW view, which is `channels_last`, the fast layout."""
        tensor = self.values(x)
        return tensor.permute(0, 3, 1, 2) if x.ndim == 4 else tensor

    def values(self, x: np.ndarray | Rows) -> Tensor:
        """Numbers in the type that is computed with; axes stay as they are."""
        if isinstance(x, Rows):
            moves = [self.sent(value) for value in x.moves or ()]
            found = resident.taken(x.held.tensor, self.sent(x.index), moves)
            return found.to(self.dtype)
        # Torch takes neither read-only arrays nor strides below zero
        return self.sent(np.require(x, requirements=["C", "W"])).to(self.dtype)

    def arrays(self, x: Tensor) -> np.ndarray:
        """The inverse of `images`."""
        return array(x.permute(0, 2, 3, 1) if x.ndim == 4 else x)

    def labels(self, y: np.ndarray) -> Tensor:
        """Labels on the model's device."""
        return self.sent(y)

    def sent(self, values: np.ndarray) -> Tensor:
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
            # It looks at every call, which costs what a GPU would wait for
            with FewChannelConvolutions() if self.device.type == "cpu" else nullcontext():
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
        with torch.no_grad():
            return np.asarray(self.logits(self.images(x)).cpu().numpy())

    def _attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        *,
        eps: float,
        ascent: Ascent,
        scale: float,
    ) -> np.ndarray:
        tensors = self.images(x), self.labels(y), self.images(start)
        with self.attacked():
            found = perturb(lambda x: scale * self.logits(x), *tensors, eps=eps, ascent=ascent)
        return self.arrays(found)

    def input_gradient(self, x: np.ndarray, y: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
        with self.attacked():
            images = self.images(x).requires_grad_()
            loss = cross_entropy(scale * self.logits(images), self.labels(y), reduction="sum")
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
