"""The weights of a `torch.nn.Module`, kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


def kept(model: nn.Module) -> Callable[[], bool]:
    """What puts the weights back as they are now, and tells whether one was another by then.

    Weights are parameters and the statistics of normalisation. Other buffers may be what a model
    remembers of its queries, and are left alone.
    """
    values = {name: value.detach().clone() for name, value in _weights(model).items()}

    @torch.no_grad()
    def put_back() -> bool:
        now = _weights(model)
        changed = [name for name, value in values.items() if not _same(now.get(name), value)]
        for name in changed:
            if name in now and now[name].shape == values[name].shape:
                now[name].copy_(values[name])
        return bool(changed)

    return put_back


def _weights(model: nn.Module) -> dict[str, Tensor]:
    norms = [(name, one) for name, one in model.named_modules() if isinstance(one, _NormBase)]
    statistics = {
        f"{name}.{buffer}": value for name, one in norms for buffer, value in one.named_buffers()
    }
    return {**dict(model.named_parameters()), **statistics}


def _same(now: Tensor | None, value: Tensor) -> bool:
    """Also of values that are no numbers."""
    if now is None or now.shape != value.shape:
        return False
    now = now.to(value)
    return torch.equal(now, value) or bool(
        value.is_floating_point() and torch.allclose(now, value, rtol=0, atol=0, equal_nan=True)
    )
