"""Projected gradient ascent in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy

from defenses.perturbation.spec import Ascent


def perturb(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    start: torch.Tensor,
    *,
    eps: float,
    ascent: Ascent,
) -> torch.Tensor:
    """Adversarial examples within `eps` of `x` and within [0, 1], detached; shape of `x`."""
    # Step 1
    x_adv = x + eps * start
    if ascent.clipped_start:
        x_adv = x_adv.clamp_(0, 1)

    def loss_of(x_adv: torch.Tensor) -> torch.Tensor:
        # The sum, so that an example's gradient does not depend on its batch
        return cross_entropy(logits_of(x_adv), y, reduction="sum")

    return ascend(loss_of, x, x_adv, eps=eps, ascent=ascent)


def ascend(
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    x_adv: torch.Tensor,
    *,
    eps: float,
    ascent: Ascent,
) -> torch.Tensor:
    """`perturb` for any loss, summed over the batch, from any starting point `x_adv`."""
    step_size = ascent.relative_step * eps
    for _ in range(ascent.steps):
        # Step 2
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(x_adv), x_adv)
        # Step 3
        x_adv = x_adv.detach() + step_size * direction(gradient, ascent.norm)
        # Step 4
        x_adv = project(x_adv, x, eps, ascent.norm).clamp_(0, 1)
    return x_adv.detach()


def direction(gradient: torch.Tensor, norm: str) -> torch.Tensor:
    """The steepest step of length 1 in the norm; may reuse the gradient's memory."""
    if norm == "linf":
        return gradient.sign_()
    return gradient / _lengths(gradient).clamp_min(1e-12)


def project(x_adv: torch.Tensor, x: torch.Tensor, eps: float, norm: str) -> torch.Tensor:
    """The nearest point within `eps` of `x`."""
    if norm == "linf":
        return torch.minimum(torch.maximum(x_adv, x - eps), x + eps)
    difference = x_adv - x
    return x + difference * (eps / _lengths(difference).clamp_min(eps))


def _lengths(x: torch.Tensor) -> torch.Tensor:
    """The L2 norm of each row, shaped to broadcast against it."""
    return x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
