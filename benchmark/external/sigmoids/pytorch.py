"""What stands before the sigmoids that a torch model ends in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# All that `nn.Sigmoid` and others call; not in place, where what was given is gone.
_SIGMOIDS = (torch.sigmoid, torch.Tensor.sigmoid, torch.special.expit)


class _LastSigmoid(TorchFunctionMode):
    """Keeps what the last sigmoid was given and what it made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.given: Any = None
        self.made: Any = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _SIGMOIDS:
            self.given, self.made = (args or tuple((kwargs or {}).values()))[0], made
        return made


def log_odds(model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What stands before the sigmoids that `model` ends in, (n, classes).

    Where they can't be seen, the logarithm of their odds, which is the same but for rounding: near
    1 the sigmoids of different numbers are equal.
    """
    with _LastSigmoid() as last:
        outputs = model(x)
    if last.made is outputs:
        logits: torch.Tensor = last.given
        return logits
    if _is_reshaped(last.made, outputs):
        return last.given.reshape(outputs.shape)
    numbers = torch.finfo(outputs.dtype)
    # No logarithm is infinite; the number below 1 is eps / 2 away from it.
    left = (1 - outputs).clamp_min(numbers.eps / 4)
    return outputs.clamp_min(numbers.tiny).log() - left.log()


def _is_reshaped(made: torch.Tensor | None, outputs: torch.Tensor) -> bool:
    """Whether the outputs are the last sigmoid's, squeezed."""
    if made is None or made.numel() != outputs.numel():
        return False
    return bool(torch.equal(made.reshape(outputs.shape), outputs))
