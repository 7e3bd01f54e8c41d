"""Meta-adversarial training in PyTorch, inner steps through `higher`.

The steps are those of `spec`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import higher
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from defenses.errors import DefenseError
from defenses.kernels.pytorch import Kernel
from defenses.meta.spec import MetaAdversarial
from defenses.perturbation.pytorch import perturb
from defenses.training import Arrays


class MetaKernel(Kernel):
    """The second-order meta-gradient, task by task."""

    defense: MetaAdversarial

    def __init__(self, model: nn.Module, defense: MetaAdversarial) -> None:
        _refuse_batch_statistics(model)
        super().__init__(model, defense)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the outer loss before it."""
        tasks = list(zip(draws["x"], draws["y"], draws["start"], strict=True))
        loss = 0.0
        total = [torch.zeros_like(parameter) for parameter in self.parameters]
        for x, y, start in tasks:
            task_loss, gradients = self.task_gradient(
                self.images(x), self.labels(y), self.images(start), eps
            )
            loss += float(task_loss) / len(tasks)
            # Step 5
            torch._foreach_add_(total, list(gradients), alpha=1 / len(tasks))
        # Step 6
        self.update(total, learning_rate)
        return loss

    def task_gradient(
        self, x: torch.Tensor, y: torch.Tensor, start: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """A task's outer loss and its gradient with respect to the initialisation."""
        defense, shots = self.defense, self.defense.support
        # Step 1
        with self.attacked():
            support = perturb(
                self.model,
                x[:shots],
                y[:shots],
                start[:shots],
                eps=eps,
                ascent=defense.support_ascent,
            )
        # Step 2: copy_initial_weights=False keeps the way back to the model's own weights
        self.model.train()
        inner_optimizer = torch.optim.SGD(self.parameters, lr=defense.inner_rate)
        with higher.innerloop_ctx(self.model, inner_optimizer, copy_initial_weights=False) as (
            adapted,
            inner_step,
        ):
            for _ in range(defense.inner_steps):
                inner_step.step(cross_entropy(adapted(support), y[:shots]))
            # Step 3: on detached weights, so that the attack pays for the input alone; not through
            # `adapted(..., params=...)`, which would replace its weights for good
            query = x[shots:]
            with self.attacked():
                query_adv = perturb(
                    self._detached(adapted),
                    query,
                    y[shots:],
                    start[shots:],
                    eps=eps,
                    ascent=defense.query_ascent,
                )
            # Step 4
            clean = cross_entropy(adapted(query), y[shots:])
            adversarial = cross_entropy(adapted(query_adv), y[shots:])
            loss = defense.clean_weight * clean + (1 - defense.clean_weight) * adversarial
            # Step 5
            return loss.detach(), torch.autograd.grad(loss, self.parameters)

    def _detached(self, adapted: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        names = [name for name, _ in self.model.named_parameters()]
        weights = (weight.detach() for weight in adapted.parameters())
        return partial(functional_call, self.model, dict(zip(names, weights, strict=True)))


def _refuse_batch_statistics(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise DefenseError(
                f"meta-adv can't train through layer {name!r} ({type(module).__name__}): its "
                "running statistics would be lost with each task; use LayerNorm or no normalisation"
            )
