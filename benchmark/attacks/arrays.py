"""Points where a model computes: NumPy's arrays, or PyTorch's tensors on a GPU.

A search is written once. It calls the operations that both spell alike on `xp`, which is NumPy or
torch; those that they don't are here. What has one value an example (logits, losses, flags) is
always NumPy's: the model's answers come to the host, points and gradients stay where they are.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

# Points, or what is computed of them: an array of NumPy or a tensor. `np.ndarray` is on the host.
Array: TypeAlias = Any


def namespace(points: Array) -> ModuleType:
    """The module whose functions take `points`: NumPy or torch."""
    return np if isinstance(points, np.ndarray) else sys.modules["torch"]


def host(values: Array) -> np.ndarray:
    """As an array of NumPy: the one way by which an attack takes anything from a device."""
    return values if isinstance(values, np.ndarray) else np.asarray(values.detach().cpu())


def beside(values: np.ndarray, points: Array) -> Array:
    """NumPy's values where `points` are."""
    return namespace(points).asarray(values, device=points.device)


def copied(points: Array) -> Array:
    """A copy, in the order of memory in which a model takes it."""
    return points.copy() if isinstance(points, np.ndarray) else points.clone().contiguous()


def as_type(values: Array, name: str) -> Array:
    """As "float32" or "float64"."""
    xp = namespace(values)
    return xp.asarray(values, dtype=getattr(xp, name))


def ascending(rows: Array) -> Array:
    """Each row sorted."""
    return np.sort(rows, axis=1) if isinstance(rows, np.ndarray) else rows.sort(dim=1).values


def smallest(rows: Array, count: int) -> np.ndarray:
    """The places of the least values of each row, least first, (n, count)."""
    if not isinstance(rows, np.ndarray):
        return host(rows.topk(count, dim=1, largest=False).indices)
    found = np.argpartition(rows, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(rows, found, axis=1), axis=1)
    return np.take_along_axis(found, order, axis=1)


def select(which: Array, one: Array, other: Array) -> Array:
    """`where` of float32 arrays of one shape; NumPy's takes ten times as long at random `which`."""
    if not isinstance(which, np.ndarray):
        return namespace(which).where(which, one, other)
    mask = which.astype(np.int32)
    np.negative(mask, out=mask)  # all bits or none
    picked = one.view(np.int32) & mask
    np.invert(mask, out=mask)
    mask &= other.view(np.int32)
    picked |= mask
    return picked.view(np.float32)


def dot(one: Array, other: Array) -> Array:
    """The scalar product of each row with the other's, (n,)."""
    if isinstance(one, np.ndarray):
        return np.einsum("nd,nd->n", one, other)
    return (one * other).sum(dim=1)  # torch's einsum is a product of matrices: TF32, if that is on
