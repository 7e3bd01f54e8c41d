"""How a `torch.nn.Module` is called: as its author's own loop would."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import UninitializedParameter

from defenses.conventions.outputs import logits_in
from defenses.errors import DefenseError

# Where a module has what its class has registered, which is copied with it.
_REGISTERED = ("_parameters", "_buffers", "_modules")

_RECOMPUTES = (
    "the model uses hooks on saved tensors, as torch.utils.checkpoint does: what is computed anew "
    "for its gradient has its own weights, not those that stood in for them; turn that off for "
    "this defense"
)
_NO_SECOND_DERIVATIVE = re.compile("derivative for .* not implemented|twice|double backward")


class Caller:
    """Calls a module with NCHW or (n, d) inputs; gives logits in the type that is computed with.

    The module gets a copy of its own, so that a forward that works in place changes nobody else's
    array. Images are contiguous NCHW; a module whose weights are `channels_last` gets them in that
    layout. A module that says `takes_views`, as those built from a specification do, gets what
    comes, uncopied. Inputs have the type of its weights, whatever it computes in.

    Args:
        model: with its parameters; raises DefenseError where none is left to train.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.names, self.parameters = list(trained), list(trained.values())
        self.trained, self.tied = frozenset(trained), _tied(model)
        if not self.parameters:
            raise DefenseError(
                "no weight of the model wants a gradient, so there is nothing to train; unfreeze "
                "some, such as by model.requires_grad_(True)"
            )
        self.takes = self.parameters[0].dtype
        if any(value.dtype is torch.float16 for value in self.parameters):
            raise DefenseError(
                "the model's weights are float16, whose updates underflow; train it in float32 "
                "(model.float()), with torch.autocast in its forward for speed"
            )
        # What is computed with here: losses, attacks, budgets
        self.dtype = torch.float64 if self.takes is torch.float64 else torch.float32
        self.takes_views = bool(getattr(model, "takes_views", False))
        self.channels_last = self.takes_views or any(map(_is_channels_last, model.parameters()))

    def __call__(self, x: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits (n, classes) in the model's present mode.

        Args:
            x: NCHW or (n, d).
            weights: stand in for parameters and buffers, by name; tied ones follow. Where the model
                gives one a new tensor (`self.mean = ...`), that is put in its place, detached.

        Raises:
            DefenseError: it has hooks on saved tensors, where weights stand in for its own.
        """
        if not self.takes_views:
            layout = torch.preserve_format if self.channels_last else torch.contiguous_format
            x = x.clone(memory_format=layout)
        x = x.to(self.takes)
        outputs: Any
        if weights is None:
            outputs = self.model(x)
        else:
            # Not torch's own `tie_weights`: where a layer has two names, it leaves the model with
            # what stood in.
            whole = {one: value for n, value in weights.items() for one in self.tied.get(n, (n,))}
            with _kept_for_the_gradient() if self.trained & whole.keys() else nullcontext():
                outputs = functional_call(self.model, whole, (x,), tie_weights=False)
            # Torch has put what the model holds afterwards into `whole`, of a buffer that was taken
            # away None. Tied ones are given the same.
            for name, value in weights.items():
                for one in self.tied.get(name, (name,)):
                    if whole[one] is not value and whole[one] is not None:
                        weights[name] = whole[one].detach()
        logits: Tensor = logits_in(outputs)
        return logits.to(self.dtype)

    def with_weights(self, weights: Iterable[Tensor], x: Tensor) -> Tensor:
        """Logits with other values of the parameters, in their order."""
        return self(x, dict(zip(self.names, weights, strict=True)))


@contextmanager
def _kept_for_the_gradient() -> Iterator[None]:
    """While entered, activations are kept as they are; a model with hooks on them is refused."""
    try:
        with disable_saved_tensors_hooks(_RECOMPUTES):
            yield
    except RuntimeError as error:
        if _RECOMPUTES not in str(error):
            raise
        raise DefenseError(_RECOMPUTES) from error


@contextmanager
def twice_differentiable(model: nn.Module, advice: str) -> Iterator[None]:
    """While entered, layers whose fast forms have one derivative alone use plain operations.

    These are attention and recurrent layers. Where a second derivative is missing still, raises a
    DefenseError that ends in `advice`.
    """
    with ExitStack() as plain:
        plain.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(layer, nn.RNNBase) for layer in model.modules()):
            plain.enter_context(torch.backends.cudnn.flags(enabled=False))
        try:
            yield
        except RuntimeError as error:
            if not _NO_SECOND_DERIVATIVE.search(str(error)):
                raise
            raise DefenseError(
                f"the model has no second derivative ({str(error).splitlines()[0][:150]}); {advice}"
            ) from error


def prepare(model: nn.Module, x: np.ndarray) -> None:
    """Gives lazy layers their weights, by one pass over NHWC or (n, d) inputs."""
    if any(isinstance(value, UninitializedParameter) for value in model.parameters()):
        inputs = torch.tensor(x)
        with torch.no_grad():
            model((inputs.permute(0, 3, 1, 2) if x.ndim == 4 else inputs).contiguous())


def copied(model: nn.Module) -> nn.Module:
    """An independent module with the same weights."""
    # What a pass has left, as old weight_norm or a module that keeps its features does, is no leaf
    # of a graph, and can't be copied otherwise.
    memo: dict[int, Any] = {}
    for module in model.modules():
        more = {name: held for name, held in vars(module).items() if name not in _REGISTERED}
        for value in _tensors_in(more, set()):
            memo[id(value)] = _apart(value, memo)
    return copy.deepcopy(model, memo)


def _tensors_in(held: Any, seen: set[int]) -> Iterator[Tensor]:
    """All in what an attribute holds: itself, or in a container."""
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, Mapping | list | tuple | set) and id(held) not in seen:
        seen.add(id(held))
        for inner in held.values() if isinstance(held, Mapping) else held:
            yield from _tensors_in(inner, seen)


def _apart(value: Tensor, memo: dict[int, Any]) -> Tensor:
    """A copy that belongs to no graph, unless the tensor begins one; views share what they did."""
    try:
        return copy.deepcopy(value, memo) if value.is_leaf else value.detach().clone()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # of several tasks at once, which nobody can read after their pass
        return torch.empty(0)


def _tied(model: nn.Module) -> dict[str, list[str]]:
    """Of tensors that several layers hold: the first of their names, to all, one a layer."""
    names: dict[int, list[str]] = {}
    for path, module in model.named_modules():
        for held in (module._parameters, module._buffers):
            for name, value in held.items():
                whole = f"{path}.{name}" if path else name
                names.setdefault(id(value), []).append(whole)
    names.pop(id(None), None)  # layers without a bias
    return {found[0]: found for found in names.values() if len(found) > 1}


def _is_channels_last(value: Tensor) -> bool:
    """Whether somebody laid a convolution's weights out so; those of one channel are both."""
    return (
        value.ndim == 4
        and not value.is_contiguous()
        and value.is_contiguous(memory_format=torch.channels_last)
    )
