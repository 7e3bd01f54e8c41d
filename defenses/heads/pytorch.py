"""Heads on features in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from defenses.errors import DefenseError
from defenses.heads.spec import LARGE, TINY, Heads
from defenses.kernels.pytorch import Kernel
from defenses.kernels.pytorch_states import array
from defenses.perturbation.pytorch import perturb
from defenses.perturbation.spec import Ascent

_CHANGED = (
    "read-outs take the input of the model's last dense layer, and what that gives is "
    "changed here, or not used; give a model that ends in torch.nn.Linear"
)


def unit(features: Tensor) -> Tensor:
    """Step 1."""
    largest = features.detach().abs().amax(-1, keepdim=True)
    features = features / torch.where(largest > LARGE, largest, 1.0)
    return features / ((features**2).sum(-1, keepdim=True) + TINY).sqrt()


def closed_form(kind: str, features: Tensor, y: Tensor, ways: int, *, penalty: float) -> Tensor:
    """Step 2: weights (d, ways) of unit features, of a support (n, d) with labels (n,).

    Leading axes of tasks may stand before both.
    """
    rows = unit(features)
    targets = one_hot(y, ways).to(rows.dtype)  # (n, ways)
    across = rows.transpose(-1, -2)
    if kind == "centroid":
        return unit((across @ (targets / targets.sum(-2, keepdim=True))).transpose(-1, -2)).mT
    identity = torch.eye(rows.shape[-2], dtype=rows.dtype, device=rows.device)
    kernel = rows @ across + penalty * identity
    return across @ torch.linalg.solve(kernel, targets)


def last_dense(model: nn.Module) -> nn.Linear:
    """The dense layer that gives the logits, the last that the model has.

    Raises:
        DefenseError: there is none.
    """
    dense = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not dense:
        raise DefenseError(
            "read-outs take the input of the model's last dense layer, and it has none; give a "
            "model that ends in torch.nn.Linear"
        )
    return dense[-1]


@contextmanager
def opened(layer: nn.Linear) -> Iterator[None]:
    """While entered, the model gives the input of its last layer, its features."""
    handle = layer.register_forward_hook(lambda _, inputs, output: inputs[0])
    try:
        yield
    finally:
        handle.remove()


class Body:
    """A kernel's model as the features that heads are read out of; its weights are the kernel's."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.layer = last_dense(kernel.model)
        self._gives_logits = False  # until the first inputs have shown it

    def features(self, x: np.ndarray) -> np.ndarray:
        """Of NHWC or (n, d) inputs, in evaluation mode, (n, d)."""
        self.kernel.model.eval()
        with torch.no_grad(), opened(self.layer):
            found = array(self.kernel.logits(self.kernel.images(x)))
        finite = np.isfinite(found).all(axis=tuple(range(1, found.ndim)))
        if not self._gives_logits and finite.any():
            self._check(x[finite][:1], found[finite][:1])
        return found

    def _check(self, x: np.ndarray, features: np.ndarray) -> None:
        """Refuse a model whose logits are not what the layer makes of the features."""
        if features.shape[1:] == (self.layer.in_features,):
            with torch.no_grad():
                expected = array(self.layer(self._tensor(features).to(self.layer.weight.dtype)))
            self._gives_logits = np.allclose(self.kernel.predict(x), expected, 1e-2, 1e-2)
        if not self._gives_logits:
            raise DefenseError(_CHANGED)

    def tried(self, x: np.ndarray) -> np.ndarray:
        """The kernel's logits, in a single pass; DefenseError where the layer gives others."""
        given: list[np.ndarray] = []
        handle = self.layer.register_forward_hook(lambda _, inputs, out: given.append(array(out)))
        try:
            outputs = self.kernel.predict(x)
        finally:
            handle.remove()
        last = given[-1] if given else outputs[:0]
        alike = last.shape == outputs.shape
        if not (alike and np.allclose(last, outputs, 1e-2, 1e-2, equal_nan=True)):
            raise DefenseError(_CHANGED)
        return outputs

    def attack(
        self,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        heads: Heads,
        *,
        eps: float,
        ascent: Ascent,
    ) -> np.ndarray:
        """Adversarial examples of inputs through their episodes' heads, as many for each head."""
        kernel = self.kernel
        weights, biases = (self._tensor(value) for value in (heads.weights, heads.biases))

        def logits(images: Tensor) -> Tensor:
            features = kernel.logits(images)
            rows = (unit(features) if heads.unit else features).unflatten(0, (len(heads), -1))
            return (rows @ weights + biases[:, None]).flatten(0, 1)

        with kernel.attacked(), opened(self.layer):
            tensors = kernel.images(x), kernel.labels(y), kernel.images(start)
            return kernel.arrays(perturb(logits, *tensors, eps=eps, ascent=ascent))

    def descend(self, x: np.ndarray, y: np.ndarray, ways: int, *, steps: int, rate: float) -> Heads:
        """Moves all weights in place, and a new head from zero, down the mean loss of `x`."""
        kernel = self.kernel
        images, labels = kernel.images(x), kernel.labels(y)
        width = self.layer.in_features
        head = [self._tensor(np.zeros(shape)).requires_grad_() for shape in ((width, ways), ways)]
        moved = [*kernel.parameters, *head]
        kernel.model.eval()
        with opened(self.layer):
            for _ in range(steps):
                loss = cross_entropy(kernel.logits(images) @ head[0] + head[1], labels)
                gradients = kernel.gradients(loss, moved)
                with torch.no_grad():
                    torch._foreach_add_(moved, gradients, alpha=-rate)
        return Heads(array(head[0])[None], array(head[1])[None], unit=False)

    def own(self, ways: int) -> Heads:
        """The model's own last layer, of its first classes."""
        weight = array(self.layer.weight)[:ways].T
        bias = np.zeros(ways) if self.layer.bias is None else array(self.layer.bias)[:ways]
        return Heads(weight[None], bias[None], unit=False)

    def put(self, heads: Heads) -> None:
        """Make the first of the heads the model's last layer.

        It answers as the head does on unit features, which differ from features in length alone.
        """
        with torch.no_grad():
            self.layer.weight.copy_(self._tensor(heads.weights[0].T))
            if self.layer.bias is not None:
                self.layer.bias.copy_(self._tensor(heads.biases[0]))

    @property
    def classes(self) -> int:
        """Outputs of the model."""
        return self.layer.out_features

    def with_head(self, heads: Heads) -> nn.Module:
        """The body under the first of the heads, as a model that gives its logits."""
        weights, biases = (self._tensor(value[0]) for value in (heads.weights, heads.biases))
        return _WithHead(self.kernel.model, self.layer, weights, biases, is_unit=heads.unit)

    def _tensor(self, value: np.ndarray) -> Tensor:
        return torch.as_tensor(value).to(self.kernel.device, self.kernel.dtype)


class _WithHead(nn.Module):
    def __init__(
        self, model: nn.Module, layer: nn.Linear, weights: Tensor, biases: Tensor, *, is_unit: bool
    ) -> None:
        super().__init__()
        self.model, self.is_unit = model, is_unit
        self.hidden = (layer,)  # in a tuple, so that it is no module of this one a second time
        self.weights, self.biases = weights, biases

    def forward(self, x: Tensor) -> Any:
        """Logits, (n, ways)."""
        with opened(self.hidden[0]):
            features = self.model(x)
        return (unit(features) if self.is_unit else features) @ self.weights + self.biases
