"""State dicts as training scripts leave them: read without running code, their names made to fit.

What was taken off on the way is told in a line each, so that nothing is dropped silently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from benchmark.errors import ModelError
from benchmark.models.misfits import misfits, some
from benchmark.text import one_line

# Before it, even `weights_only` could be made to run code (CVE-2025-32434).
_SAFE_SINCE = (2, 6)

# Where training scripts keep the state dict in their checkpoints, the likeliest first.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network", "model_state", "weights")

# Parts of names that `torch.compile`, DataParallel and DistributedDataParallel put in, anywhere.
_WRAPPERS = ("_orig_mod", "module")

# What `torch.optim.swa_utils.AveragedModel` counts beside the averages, which are weights.
_AVERAGED = "n_averaged"

State = dict[str, torch.Tensor]


def load_weights(model: nn.Module, path: Path, *, new_head: bool = False) -> tuple[str, ...]:
    """Reads a safetensors file or a torch state dict into `model`; returns lines to tell.

    `new_head`: the last layer that has weights keeps its own, and one of any shape is left unread.

    Raises:
        ModelError: the file can't be read, holds more than arrays, or its arrays don't fit.
    """
    state, nested = _state(path)
    own = model.state_dict(keep_vars=True)
    averaged = _AVERAGED in state and _AVERAGED not in own
    if averaged:
        state = {name: value for name, value in state.items() if name != _AVERAGED}
    state, renamed = _fitted(state, own)
    state, added = _with_counters(state, own)
    if new_head:
        head = f"{next(reversed(own), '').rpartition('.')[0]}."
        state = {name: value for name, value in state.items() if not name.startswith(head)}
        state |= {name: value for name, value in own.items() if name.startswith(head)}
    try:
        state = _with_tied(state, own, path.name)
        _check_fits(state, own, path.name)
        model.load_state_dict(state)
    except RuntimeError as error:  # of what can't be copied, such as sparse tensors
        raise ModelError(f"weights {path.name} don't fit the model: {one_line(error)}") from error
    counted = "its weights are averages, whose count is left out" if averaged else ""
    told = [part for part in (nested, renamed, counted, added) if part]
    return (f"weights {path.name}: {'; '.join(told)}",) if told else ()


def _state(path: Path) -> tuple[State, str]:
    """The tensors by name, and from which entry of the file they were taken, if from one."""
    try:
        if path.suffix.lower() == ".safetensors":
            return safetensors.torch.load_file(path), ""
        found = unpickled(path)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path.name} is no safetensors file: {one_line(error)}") from error
    except OSError as error:
        raise ModelError(f"can't read {path.name}: {one_line(error)}") from error
    taken = []
    while not _is_state(found) and (key := _entry(found, path.name)) is not None:
        taken.append(repr(key))
        found = found[key]
    if not _is_state(found):
        raise ModelError(f"{path.name} holds no state dict, which maps names to tensors")
    return dict(found), f"taken from {' in '.join(reversed(taken))}" if taken else ""


def _entry(found: Any, file: str) -> str | None:
    """The entry of a checkpoint that holds the state dict; None where there is none."""
    if not isinstance(found, Mapping):
        return None
    entries = [key for key, value in found.items() if _is_state(value)]
    known = [key for key in _NESTED if key in entries]
    if known or len(entries) == 1:
        return (known or entries)[0]
    if entries:
        raise ModelError(
            f"{file} holds several state dicts ({some(sorted(map(str, entries)))}); save the one "
            "to attack alone"
        )
    deeper = [key for key in _NESTED if isinstance(found.get(key), Mapping)]
    return deeper[0] if deeper else None


def _is_state(found: Any) -> bool:
    return (
        isinstance(found, Mapping)
        and len(found) > 0
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in found.items())
    )


def unpickled(path: Path) -> Any:
    """Tensors and plain containers of a pickle; whatever would run code is refused."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _SAFE_SINCE:
        raise ModelError(
            f"torch {torch.__version__} can't read {path.name} safely; use 2.6 or newer, or give "
            "a safetensors file"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever the bytes of a damaged file make torch raise
        text = str(error)
        if found := re.search(r"GLOBAL (\S+)", text):
            raise ModelError(
                f"{path.name} is a pickle that holds more than arrays ({found[1]}), which could "
                "run code and is not loaded; save the state dict alone, best as safetensors"
            ) from error
        if "TorchScript" in text:
            raise ModelError(
                f"{path.name} is a TorchScript archive, which holds code; give a state dict"
            ) from error
        raise ModelError(f"{path.name} is no torch state dict that can be read safely") from error


def _fitted(state: State, own: State) -> tuple[State, str]:
    """The state with the model's own names, and what was taken off of its names for it."""
    if state.keys() == own.keys():
        return state, ""
    ours = {_unwrapped(name): name for name in own}
    theirs = {name: _unwrapped(name) for name in state}
    prefix = _common_prefix(theirs.values(), ours)
    bare = {name: text.removeprefix(prefix) for name, text in theirs.items()}
    matched = sum(text in ours for text in bare.values())
    if matched <= len(own.keys() & state.keys()) or len(set(bare.values())) < len(bare):
        return state, ""
    renamed = {ours.get(text, text): state[name] for name, text in bare.items()}
    wrappers = [f"{part}." for part in _WRAPPERS if any(part in n.split(".") for n in state)]
    off = [*wrappers, *[prefix] * bool(prefix)]
    return renamed, f"{' and '.join(map(repr, off))} taken off its names" if off else ""


def _unwrapped(name: str) -> str:
    *parts, last = name.split(".")
    return ".".join([*(part for part in parts if part not in _WRAPPERS), last])


def _common_prefix(names: Iterable[str], ours: Iterable[str]) -> str:
    """What all names begin with before a name of ours, such as Lightning's "model."."""
    names, ours, prefix = list(names), set(ours), ""
    while not any(name.removeprefix(prefix) in ours for name in names):
        first = {name.removeprefix(prefix).partition(".")[0] for name in names}
        longer = prefix + f"{first.pop()}." if len(first) == 1 else ""
        if not longer or not all(name.startswith(longer) for name in names):
            return ""
        prefix = longer
    return prefix


def _with_counters(state: State, own: State) -> tuple[State, str]:
    """With the counters of normalisation layers, which torch before 0.4.1 did not save."""
    counters = [name for name in own.keys() - state.keys() if name.endswith("num_batches_tracked")]
    if not counters:
        return state, ""
    told = "it has no num_batches_tracked, which evaluation does not use"
    return {**state, **{name: own[name] for name in counters}}, told


def _with_tied(state: State, own: State, file: str) -> State:
    """With every name of a tensor that the model has under several, where the file has one of them.

    Files of `safetensors.torch.save_model` keep but one.
    """
    names: dict[int, list[str]] = {}
    for name, value in own.items():
        names.setdefault(id(value), []).append(name)
    for tied in names.values():
        first, *others = [name for name in tied if name in state] or tied
        for other in others:
            one, two = state.get(first), state.get(other)
            if one is not None and two is not None and not _equal(one, two):
                raise ModelError(
                    f"weights {file} don't fit the model: {first} and {other} differ, where the "
                    "model has one tensor for both"
                )
        if first in state:
            state = state | {name: state[first] for name in tied if name not in state}
    return state


def _equal(one: torch.Tensor, two: torch.Tensor) -> bool:
    return one is two or (one.shape == two.shape and bool((one == two).all()))


def _check_fits(state: State, own: State, file: str) -> None:
    kinds = [
        f"{name} is {_kind(state[name])} instead of {_kind(own[name])}"
        for name in sorted(own.keys() & state.keys())
        if _loses(state[name], own[name])
    ]
    lazy = {name: state[name] for name, value in own.items() if is_lazy(value) and name in state}
    told = misfits(_shapes(state), _shapes({**own, **lazy}))  # lazy layers take any shape
    told += [f"{some(kinds)}, which can't be converted without loss"] * bool(kinds)
    if told:
        raise ModelError(f"weights {file} don't fit the model: {'; '.join(told)}")


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: () if is_lazy(value) else tuple(value.shape) for name, value in state.items()}


def _loses(saved: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether the model could not hold what the file does, up to the rounding of a float."""
    if saved.is_quantized or own.is_quantized:
        return saved.dtype != own.dtype
    if saved.is_complex() or own.is_complex():
        return saved.is_complex() and not own.is_complex()
    if own.is_floating_point():
        # Whole numbers in place of weights are quantised ones, without their scale.
        return not saved.is_floating_point()
    return saved.is_floating_point() and not torch.equal(saved, saved.round())


def _kind(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
