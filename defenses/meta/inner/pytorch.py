"""The inner loop in PyTorch: a chunk of tasks at once, through `higher`.

The steps are those of `defenses.meta.spec`. The tasks of a chunk have a copy of the weights each,
stacked along a leading axis; `higher` differentiates through the steps of the whole stack. A chunk
of one task is computed without stacking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import higher
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.functional import cross_entropy

from defenses.conventions.pytorch import Caller
from defenses.errors import DefenseError
from defenses.meta.spec import MetaAdversarial
from defenses.meta.steps import adapted_names, layer_numbers
from defenses.states import Arrays

Stack = dict[str, Tensor]


class StackError(DefenseError):
    """The model holds what `vmap` can't batch over tasks."""


def stacked_logits(call: Caller, stack: Stack, x: Tensor) -> Tensor:
    """Logits of each task's inputs with its own weights and buffers, where `stack` names them.

    Args:
        call: calls the model.
        stack: name to values, (tasks, ...); the model's own values stand for the rest. Where the
            model gives a buffer a new tensor, that is put in its place.
        x: (tasks, n, C, H, W) or (tasks, n, d).

    Returns:
        (tasks, n, classes).

    Raises:
        StackError: several tasks, and a model that can only be run for one.
    """

    if len(x) == 1:
        x = x.squeeze(0)
        logits, changed = _called(
            call,
            _channels_last(x) if call.channels_last else x,
            {name: value.squeeze(0) for name, value in stack.items()},
        )
        stack.update({name: value.unsqueeze(0) for name, value in changed.items()})
        return logits.unsqueeze(0)
    try:
        logits, changed = vmap(partial(_called, call), randomness="different")(x, stack)
        stack.update(changed)
        return logits
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise StackError(
            f"the model can't be run for several tasks at once "
            f"({str(error).splitlines()[0][:150]}); give chunk=1"
        ) from error


def _called(call: Caller, x: Tensor, given: Stack) -> tuple[Tensor, Stack]:
    """Logits, and the buffers that were given a new tensor."""
    held = dict(given)
    logits = call(x, held)
    return logits, {name: value for name, value in held.items() if value is not given[name]}


def _channels_last(x: Tensor) -> Tensor:
    """Images in the fast layout, which arithmetic loses where there is one channel."""
    return x.clone(memory_format=torch.channels_last) if x.ndim == 4 else x


def _numbers(output: object) -> int:
    """How many numbers a layer gives; a recurrent one gives a tuple."""
    if isinstance(output, Tensor):
        return output.numel()
    parts = output if isinstance(output, tuple | list) else ()
    return sum(_numbers(part) for part in parts)


class TaskStack(nn.Module):
    """A stack of weights in the form of a module that `higher` can patch.

    Its own parameters are empty: they stand for the weights that the patched module is given.
    """

    def __init__(self, call: Caller, names: Sequence[str]) -> None:
        super().__init__()
        # In a tuple, so that its parameters don't become this module's.
        self.hidden = (call,)
        self.names = tuple(names)
        for index in range(len(names)):
            self.register_parameter(f"weight{index}", nn.Parameter(torch.empty(0)))

    def forward(self, x: Tensor, buffers: Stack) -> Tensor:
        """Logits of each task, (tasks, n, classes); `buffers` become what the pass leaves."""
        weights = {name: getattr(self, f"weight{i}") for i, name in enumerate(self.names)}
        stack = {**weights, **buffers}
        logits = stacked_logits(self.hidden[0], stack, x)
        buffers.update({name: stack[name] for name in buffers})
        return logits


@dataclass(frozen=True)
class Adapted:
    """What step 2 leaves.

    Args:
        steps: theta_1 .. theta_K, each a stack: in second order functions of the initialisation,
            otherwise leaves.
        loss: before the first step, summed over the tasks, detached.
        buffers: the model's, as the first pass left them, (tasks, ...).
    """

    steps: list[Stack]
    loss: Tensor
    buffers: Stack


class InnerLoop:
    """Step 2: adapts a stack of tasks, keeping or cutting the way back to the initialisation.

    Args:
        call: calls the initialisation; of its parameters those that require gradients are adapted.
    """

    # s, (layers,), where the rates are learned.
    log_rates: Tensor | None = None
    # Numbers that one example leaves between the layers, once a pass has shown it.
    activations: int | None = None
    # Whether several tasks can be computed at once, until a model shows that they can't.
    stacks = True

    def __init__(self, call: Caller, defense: MetaAdversarial) -> None:
        self.model, self.defense = call.model, defense
        own = dict(zip(call.names, call.parameters, strict=True))
        names = adapted_names(list(own), ".", head=defense.algorithm == "anil")
        self.initial = {name: own[name] for name in names}
        self.module = TaskStack(call, names)
        self.layer_of = dict(zip(names, layer_numbers(names, "."), strict=True))
        self.layers = 1 + max(self.layer_of.values())
        groups: list[list[nn.Parameter]] = [[] for _ in range(self.layers)]
        for index, value in zip(self.layer_of.values(), self.module.parameters(), strict=True):
            groups[index].append(value)
        optimizer = torch.optim.SGD([{"params": group} for group in groups], lr=defense.inner_rate)
        tracked = defense.second_order
        self._patched = higher.monkeypatch(
            self.module, copy_initial_weights=False, track_higher_grads=tracked
        )
        self._optimizer = higher.get_diff_optim(
            optimizer, self.module.parameters(), fmodel=self._patched, track_higher_grads=tracked
        )

    def adapt(self, x: Tensor, y: Tensor) -> Adapted:
        """Adapt to inputs (tasks, n, ...) with labels (tasks, n)."""
        tasks = len(x)
        patched, rates = self._fresh_stack(tasks), self._rates()
        if not self.model.training:
            self.model.train()
        first = None
        steps: list[Stack] = []
        for _ in range(self.defense.inner_steps):
            buffers = self.fresh_buffers(tasks)
            with self._measured(examples=x.shape[0] * x.shape[1]):
                logits = patched(x, buffers)
            # The sum over the tasks, so that each moves by its own gradient
            loss = tasks * cross_entropy(logits.flatten(0, 1), y.flatten())
            first = first or (loss.detach(), buffers)
            # Step 2
            weights = self._optimizer.step(loss, override=rates)
            steps.append(dict(zip(self.initial, weights, strict=True)))
        assert first is not None
        return Adapted(steps, *first)

    def fresh_buffers(self, tasks: int) -> Stack:
        """Copies of the model's buffers, one a task; a pass in training mode changes them."""
        buffers = self.model.named_buffers()
        return {name: value.expand(tasks, *value.shape).clone() for name, value in buffers}

    def state(self) -> dict[str, np.ndarray]:
        """The size and whether tasks stack, which decide the chunks: how sums are rounded."""
        if self.activations is None:
            return {}
        return {"": np.array(self.activations), "stacks": np.array(self.stacks)}

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        self.activations = int(state[""]) if state else None
        self.stacks = bool(state.get("stacks", True))

    @contextmanager
    def _measured(self, examples: int) -> Iterator[None]:
        """Notes the size of what a pass of one task leaves between the layers, once."""
        if self.activations is not None:
            yield
            return
        seen: list[int] = []
        leaves = [module for module in self.model.modules() if not list(module.children())]
        hooks = [
            leaf.register_forward_hook(lambda _, inputs, output: seen.append(_numbers(output)))
            for leaf in leaves
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        self.activations = sum(seen) // examples

    def _fresh_stack(self, tasks: int) -> nn.Module:
        """`higher`'s functional module with `tasks` copies of the weights.

        It is made once and remembers every set of fast weights that it was given, with its graph;
        so that list begins anew with each chunk.
        """
        copies = [self._copies(value, tasks) for value in self.initial.values()]
        self._patched._fast_params = [copies]
        return self._patched

    def _rates(self) -> dict[str, list[Tensor]] | None:
        """The learned rates, layer by layer, as `higher` takes them."""
        if self.log_rates is None:
            return None
        return {"lr": list(self.defense.inner_rate * self.log_rates.exp())}

    def _copies(self, value: Tensor, tasks: int) -> Tensor:
        copies = value.expand(tasks, *value.shape)
        return copies if self.defense.second_order else copies.detach().requires_grad_()
