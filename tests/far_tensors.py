"""Tensors on the CPU that are as unhandy as a GPU's, and an estimator that keeps such."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from benchmark.estimators.pytorch import FastPyTorchClassifier

_T = torch.Tensor
# What would copy a tensor of a GPU to the host, or refuse to.
REFUSED = {_T.__array__, _T.numpy, _T.tolist, _T.item, _T.__float__, _T.__int__, _T.__index__}
# What takes an index, which may lie on the host.
INDEXED = {_T.__getitem__, _T.__setitem__}


class FarTensor(torch.Tensor):
    """Mixes with no array or other tensor, and comes to the host by `cpu` only, which is noted."""

    copies: ClassVar[list[tuple[int, ...]]] = []  # the shapes

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do it, or raise `TypeError` as a GPU's tensor would."""
        if func in REFUSED:
            raise TypeError(f"{func.__name__} of a tensor that is not on the CPU")
        mixed = args[2:] if func in INDEXED else [*args, *(kwargs or {}).values()]
        for one in mixed:
            is_near = isinstance(one, torch.Tensor) and not isinstance(one, FarTensor) and one.ndim
            if is_near or isinstance(one, np.ndarray | np.generic):
                raise TypeError(f"{func.__name__} of tensors on a device and {type(one)}")
        if func is _T.cpu:
            cls.copies.append(tuple(args[0].shape))
            return near(args[0])
        return super().__torch_function__(func, types, args, kwargs or {})


def far(values: Any) -> FarTensor:
    """An array or a tensor as one that is far."""
    return torch.as_tensor(values).as_subclass(FarTensor)


def near(values: Any) -> Any:
    """The tensor that a far one is; anything else as it is."""
    return values.as_subclass(torch.Tensor) if isinstance(values, FarTensor) else values


@contextmanager
def copied_shapes() -> Iterator[list[tuple[int, ...]]]:
    """Meanwhile what is sent to a device is far; gives the shapes of what comes to the host."""
    send = torch.asarray
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "asarray", lambda values, **at: far(send(near(values), **at)))
        patch.setattr(FarTensor, "copies", [])
        yield FarTensor.copies


class FarEstimator(FastPyTorchClassifier):
    """Keeps its points far."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.keeps_tensors = True

    def placed(self, x):
        return far(super().placed(x))

    def outputs(self, x):
        return super().outputs(near(x))

    def logits_and_gradient(self, x, weights):
        logits, gradient = super().logits_and_gradient(near(x), weights)
        return logits, far(gradient) if isinstance(x, FarTensor) else gradient

    def _tell(self, x, *outputs):
        super()._tell(far(x) if isinstance(x, torch.Tensor) else x, *outputs)
