"""ART's `PyTorchClassifier` without what slows it down.

ART collates `predict` row by row, pays for the gradients of the weights whenever it wants that of
the input, and rejects float64. Where a classifier has preprocessing, defenses or a loss of its
own, ART's code does the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.estimators.estimator import Label, Weights
from benchmark.estimators.passes import (
    NoCopyError,
    Observer,
    Passes,
    chunks,
    gradient_of_open,
    is_identity,
)
from benchmark.estimators.vjp import by_class_gradients, per_example_labels, several_labels
from benchmark.models.pytorch import ChannelsLast
from defenses.conventions.pytorch import copied
from defenses.kernels.pytorch_convolutions import FewChannelConvolutions

Array: TypeAlias = np.ndarray | torch.Tensor


class MeanOfDraws(nn.Module):
    """The mean output of a random model over some draws; its gradient is the mean's own."""

    def __init__(self, model: nn.Module, draws: int) -> None:
        super().__init__()
        self.model, self.draws = model, draws

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, (n, classes)."""
        return torch.stack([self.model(x) for _ in range(self.draws)]).mean(dim=0)


class FastPyTorchClassifier(PyTorchClassifier):
    """A drop-in `PyTorchClassifier`; takes any floating-point type and counts its passes.

    `observer`, where one is set, is told of every point that is asked about. Points may be tensors:
    gradients are so, too, and outputs are always NumPy's.
    """

    observer: Observer | None = None
    is_random = False
    scores = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.passes = Passes()
        # On a CPU, NumPy's give the numbers that they always gave.
        self.keeps_tensors = self._device.type != "cpu"
        loss = self._loss
        self._is_plain = (
            type(loss) is nn.CrossEntropyLoss
            and loss.weight is None
            and loss.label_smoothing == 0
            and loss.reduction == "mean"
            and not self.is_rnn
            and not self._use_amp
        )

    def placed(self, x: np.ndarray) -> Array:
        """Points where the model computes: tensors on its GPU, or as they are."""
        plain = is_identity(self) and not self.is_rnn and not self._use_amp
        return self._tensor(x) if self.keeps_tensors and plain else x

    def predict(
        self, x: np.ndarray, batch_size: int = 128, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray:
        """Outputs of the model, (n, classes) float32, in chunks of its own size."""
        x = _float32(x)
        if not training_mode and is_identity(self):
            return self.outputs(x)
        self.passes.add(forwards=len(x))
        outputs = super().predict(x, batch_size, training_mode, **kwargs)
        self._tell(x, outputs)
        return outputs

    def outputs(self, x: Array) -> np.ndarray:
        """The same of what `placed` gives: ART makes arrays of whatever `predict` is given."""
        self.passes.add(forwards=len(x))
        with self._frozen(), torch.no_grad():
            parts = [self._forward(self._tensor(x[part])).cpu() for part in chunks(len(x))]
        outputs = torch.cat(parts).numpy()
        self._tell(x, outputs)
        return outputs

    def loss_gradient(
        self, x: Array, y: Array, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray | torch.Tensor:
        """The gradient of the mean loss with respect to `x`, of its type and shape."""
        x = _float32(x)
        if (some := gradient_of_open(self, x, y)) is not None:
            return some
        self.passes.add(forwards=len(x), backwards=len(x))
        if training_mode or not self._is_plain or not is_identity(self):
            self._tell(x)
            return super().loss_gradient(x, y, training_mode, **kwargs)
        labels = self._label_indices(y)
        with self._frozen():
            parts = [self._chunk_gradient(x[part], labels[part]) for part in chunks(len(x))]
        self._tell(x, *[outputs for _, outputs in parts])
        gradient = torch.cat([gradient for gradient, _ in parts]).div_(len(x))
        return gradient if isinstance(x, torch.Tensor) else gradient.cpu().numpy()

    def compute_loss(
        self, x: Array, y: Array, reduction: str = "none", **kwargs: object
    ) -> np.ndarray | torch.Tensor:
        """The loss of each example, or their mean or sum."""
        x = _float32(x)
        self.passes.add(forwards=len(x))
        if isinstance(x, torch.Tensor) or not self._is_plain or not is_identity(self):
            self._tell(x)
            return super().compute_loss(x, y, reduction, **kwargs)
        labels = self._label_indices(y)
        with self._frozen(), torch.no_grad():
            logits = torch.cat([self._forward(self._tensor(x[part])) for part in chunks(len(x))])
            self._tell(x, logits)
            return cross_entropy(logits, labels, reduction=reduction).cpu().numpy()

    def class_gradient(
        self, x: np.ndarray, label: Label = None, training_mode: bool = False, **kwargs: object
    ) -> np.ndarray:
        """The gradients of the logits with respect to `x`: (n, classes, ...), or (n, 1, ...).

        Args:
            x: inputs.
            label: None for all classes, one class for all inputs, one for each, or (n, k).
        """
        x = _float32(x)
        several, ones = several_labels(label), per_example_labels(label, len(x), self.nb_classes)
        foreign = training_mode or self.is_rnn or self._use_amp or not is_identity(self)
        odd = label is not None and ones is None and several is None
        if foreign or isinstance(x, torch.Tensor) or odd:
            self._count_class_gradient(x, label)
            self._tell(x)
            return super().class_gradient(x, label, training_mode, **kwargs)
        if ones is not None:
            hot = np.eye(self.nb_classes, dtype=np.float32)[ones]
            return self.logits_and_gradient(x, lambda logits, part: hot[part])[1][:, np.newaxis]
        classes = np.arange(self.nb_classes) if several is None else several
        classes = np.broadcast_to(classes, (len(x), classes.shape[-1]))
        with self._frozen():
            parts = [self._chunk_class_gradients(x[part], classes[part]) for part in chunks(len(x))]
        self._count_class_gradient(x, label)
        self._tell(x, *[outputs for _, outputs in parts])
        return torch.cat([gradients for gradients, _ in parts]).cpu().numpy()

    def logits_and_gradient(self, x: Array, weights: Weights) -> tuple[np.ndarray, Array]:
        """Logits, and the gradient of a function of them; see `benchmark.estimators.vjp`."""
        x = _float32(x)
        if self.is_rnn or self._use_amp or not is_identity(self):
            return by_class_gradients(self, x, weights)
        self.passes.add(forwards=len(x), backwards=len(x))
        logits, gradients = [], []
        with self._frozen():
            for part in chunks(len(x)):
                inputs = self._tensor(x[part]).detach().requires_grad_()
                outputs = self._forward(inputs)
                logits.append(_numpy(outputs))
                pull = torch.from_numpy(np.asarray(weights(logits[-1], part), dtype=np.float32))
                found = torch.autograd.grad(outputs, inputs, pull.to(self._device))[0]
                gradients.append(found if isinstance(x, torch.Tensor) else _numpy(found))
        self._tell(x, *logits)
        joined = torch.cat if isinstance(x, torch.Tensor) else np.concatenate
        return np.concatenate(logits), joined(gradients)

    def copies(self) -> Callable[[], FastPyTorchClassifier]:
        """What makes estimators of copies of the model as it is now.

        Raises `NoCopyError` where the model can't be copied.
        """
        kept = _copy(self.model)
        settings = {
            "loss": self._loss,
            "input_shape": self.input_shape,
            "nb_classes": self.nb_classes,
            "channels_first": self.channels_first,
            "clip_values": self.clip_values,
            "device_type": "gpu" if self._device.type == "cuda" else "cpu",
        }
        return lambda: type(self)(model=_copy(kept), **settings)

    def _chunk_class_gradients(
        self, x: np.ndarray, classes: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(rows, classes, ...) by one forward pass and a backward pass a class; and the outputs.

        All classes in one backward pass by `is_grads_batched` took twice as long on a CPU.
        """
        inputs = self._tensor(x).detach().requires_grad_()
        outputs = self._forward(inputs)
        wanted = torch.from_numpy(np.array(classes, dtype=np.int64)).to(self._device)
        sums = outputs.gather(1, wanted).sum(dim=0)  # (classes,)
        by_class = [torch.autograd.grad(z, inputs, retain_graph=True)[0] for z in sums]
        return torch.stack(by_class, dim=1), outputs.detach()

    def _count_class_gradient(self, x: Array, label: Label) -> None:
        several = several_labels(label)
        single = self.nb_classes if label is None else 1
        classes = single if several is None else several.shape[1]
        self.passes.add(forwards=len(x), backwards=len(x) * classes)

    def _chunk_gradient(self, x: Array, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient of the summed loss, and the outputs."""
        inputs = self._tensor(x).detach().requires_grad_()
        outputs = self._forward(inputs)
        loss = cross_entropy(outputs, labels, reduction="sum")
        return torch.autograd.grad(loss, inputs)[0], outputs.detach()

    def _tell(self, x: Array, *outputs: Array) -> None:
        """Tell the observer, if there is one, of these points and their outputs, in chunks."""
        if self.observer is not None:
            known = np.concatenate([_numpy(part) for part in outputs]) if outputs else None
            stays = self.keeps_tensors and isinstance(x, torch.Tensor)
            self.observer(x if stays else _numpy(x), known)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self._model(x)[-1]
        return outputs.float()  # a model of another precision gives its own type

    def _tensor(self, x: Array) -> torch.Tensor:
        tensor = x if isinstance(x, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(x))
        return tensor.to(self._device)

    def _label_indices(self, y: Array) -> torch.Tensor:
        labels = y if isinstance(y, torch.Tensor) else torch.from_numpy(np.asarray(y))
        if labels.ndim == 2:
            labels = labels.argmax(dim=1)
        return labels.to(self._device, torch.int64)

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        """Evaluation mode, and no gradients for the weights."""
        self._model.eval()
        trained = [value for value in self._model.parameters() if value.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            with FewChannelConvolutions():
                yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)


def wrap(
    model: nn.Module, *, input_shape: tuple[int, ...], classes: int, device: str
) -> FastPyTorchClassifier:
    """An estimator for NHWC or (n, d) inputs in [0, 1] of a model that takes NCHW.

    Args:
        model: gives logits.
        input_shape: (H, W, C) or (d,).
        classes: their number.
        device: "cpu" or "cuda".
    """
    return FastPyTorchClassifier(
        model=ChannelsLast(model),
        loss=nn.CrossEntropyLoss(),
        input_shape=input_shape,
        nb_classes=classes,
        channels_first=False,
        clip_values=(0.0, 1.0),
        device_type="gpu" if device == "cuda" else "cpu",
    )


def averaged(model: nn.Module, *, draws: int) -> nn.Module:
    """A model that gives the mean output of `model` over so many draws."""
    return MeanOfDraws(model, draws)


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copied(model)
    except Exception as error:  # whatever a foreign module holds
        words = " ".join(f"{type(error).__name__}: {error}".split())[:150]
        raise NoCopyError(f"the module can't be copied ({words})") from error


def _numpy(x: Array) -> np.ndarray:
    return np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x)


def _float32(x: Array) -> Array:
    if isinstance(x, torch.Tensor):
        return x.float()
    return np.asarray(x, dtype=np.float32)
