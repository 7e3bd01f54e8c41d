"""The weights of a `torch.nn.Module`, kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# What the buffers of normalisation are called.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Kept:
    """The weights of a model as they are now, to be compared and put back later.

    Weights are parameters and the statistics of normalisation. Other buffers may be what a model
    remembers of its queries, and are left alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._values = {name: value.detach().clone() for name, value in _weights(model).items()}

    def changed(self) -> bool:
        """Whether one is another now."""
        now = _weights(self._model)
        return any(not _same(now.get(name), value) for name, value in self._values.items())

    @torch.inference_mode()  # outside of it tensors that were made in it can't be changed
    def put_back(self) -> None:
        """What is still there, in its shape."""
        now = _weights(self._model)
        for name, value in self._values.items():
            if not _same(now.get(name), value) and name in now and now[name].shape == value.shape:
                now[name].copy_(value)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """By name: a compiled or scripted module has no classes of layers to tell them by."""
    buffers = dict(model.named_buffers())
    statistics = {
        name: value for name, value in buffers.items() if name.rpartition(".")[2] in _STATISTICS
    }
    return {**dict(model.named_parameters()), **statistics}


def _same(now: Tensor | None, value: Tensor) -> bool:
    """Also of values that are no numbers, and of those in sparse tensors."""
    if now is None or now.shape != value.shape:
        return False
    if torch.strided not in (now.layout, value.layout) or now.layout != value.layout:
        now, value = now.to_dense(), value.to_dense()
    now = now.to(value)
    if torch.equal(now, value):
        return True
    numbers = value.is_floating_point() or value.is_complex()
    return numbers and bool(((now == value) | (now.isnan() & value.isnan())).all())
