"""Projected gradient ascent in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.perturbation.spec import Ascent

# One for the batch, or one an example, shaped to broadcast against the batch.
Budget: TypeAlias = "float | Tensor"
# Of the features, (d,); None where all are 1.
Weights: TypeAlias = "tuple[float, ...] | None"


def perturb(
    logits_of: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    start: Tensor,
    *,
    eps: Budget,
    ascent: Ascent,
) -> Tensor:
    """Adversarial examples within `eps` of `x` and within [0, 1], detached; shape of `x`."""
    # Step 1
    x_adv = x + eps * start
    if ascent.clipped_start:
        x_adv = x_adv.clamp_(0, 1)

    def loss_of(x_adv: Tensor) -> Tensor:
        # The sum, so that an example's gradient does not depend on its batch
        return cross_entropy(logits_of(x_adv), y, reduction="sum")

    return ascend(loss_of, x, x_adv, eps=eps, ascent=ascent)


def ascend(
    loss_of: Callable[[Tensor], Tensor], x: Tensor, x_adv: Tensor, *, eps: Budget, ascent: Ascent
) -> Tensor:
    """`perturb` for any loss, summed over the batch, from any starting point `x_adv`."""
    carried = torch.zeros_like(x)
    for _ in range(ascent.steps):
        # Step 2
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(x_adv), x_adv)
        if ascent.momentum:
            gradient = carried = ascent.momentum * carried + _unit_l1(gradient)
        x_adv = stepped(x_adv.detach(), gradient, x, eps=eps, ascent=ascent)
    return x_adv.detach()


def stepped(x_adv: Tensor, gradient: Tensor, x: Tensor, *, eps: Budget, ascent: Ascent) -> Tensor:
    """`x_adv` one step further up the loss, within `eps` of `x` and within [0, 1]."""
    # Step 3
    norm, weights = ascent.norm, ascent.weights
    step = ascent.relative_step * eps * direction(gradient, x_adv, eps, norm, weights)
    # Step 4
    return project(x_adv + step, x, eps, norm, weights).clamp_(0, 1)


def direction(
    gradient: Tensor, x_adv: Tensor, eps: Budget, norm: str, weights: Weights = None
) -> Tensor:
    """The steepest step of length 1 in the norm from `x_adv`; within l1 for a budget `eps`."""
    if weights is not None:
        scale = torch.tensor(weights, dtype=x_adv.dtype, device=x_adv.device)
        return scale * direction(scale * gradient, x_adv, eps, norm)
    if norm == "linf":
        return gradient.sign()
    if norm == "l1":
        return _sparse_direction(gradient, x_adv, eps)
    return gradient / _lengths(gradient).clamp_min(1e-12)


def project(x_adv: Tensor, x: Tensor, eps: Budget, norm: str, weights: Weights = None) -> Tensor:
    """The nearest point within `eps` of `x`."""
    if weights is not None:
        scale = torch.tensor(weights, dtype=x_adv.dtype, device=x_adv.device)
        moved = (x_adv - x) / torch.where(scale > 0, scale, 1)
        return x + scale * project(moved, torch.zeros_like(x), eps, norm)
    if norm == "linf":
        return torch.minimum(torch.maximum(x_adv, x - eps), x + eps)
    difference = x_adv - x
    if norm == "l1":
        return x + _onto_l1_ball(difference, eps if isinstance(eps, float) else eps.flatten(1))
    return x + difference * (eps / _lengths(difference).clamp_min(eps))


def _sparse_direction(gradient: Tensor, x_adv: Tensor, eps: Budget) -> Tensor:
    blocked = ((x_adv >= 1) & (gradient > 0)) | ((x_adv <= 0) & (gradient < 0))
    flat = gradient.masked_fill(blocked, 0).flatten(1)  # (n, d)
    magnitudes = flat.abs()
    # A threshold, not the indices: which of two equal entries comes first is the framework's.
    if isinstance(eps, float):
        # In the type that is computed with: half an entry more or less decides which way it goes
        rounded = int(torch.tensor(eps, dtype=flat.dtype).round())
        count = min(max(1, rounded), flat.shape[1])
        least = magnitudes.topk(count, dim=1).values[:, -1:]
    else:
        counts = eps.to(flat).round().clamp(1, flat.shape[1]).long().reshape(-1, 1)
        largest = magnitudes.topk(_most(counts, flat.shape[1]), dim=1).values
        least = largest.gather(1, counts.expand(len(flat), 1) - 1)
    signs = torch.where(magnitudes >= least, flat.sign(), torch.zeros_like(flat))
    return (signs / signs.abs().sum(dim=1, keepdim=True).clamp_min(1)).reshape(gradient.shape)


def _most(counts: Tensor, size: int) -> int:
    """The most of the counts; all there is on a GPU, which would have to be waited for."""
    return int(counts.max()) if counts.device.type == "cpu" else size


def _onto_l1_ball(difference: Tensor, eps: Budget) -> Tensor:
    flat = difference.flatten(1)  # (n, d)
    magnitudes = flat.abs()
    ordered = magnitudes.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - eps
    ranks = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=flat.dtype)
    held = (ordered * ranks > excess).sum(dim=1, keepdim=True).clamp_min(1)
    # Below zero inside the ball, where nothing is to be taken away.
    threshold = (excess.gather(1, held - 1) / held).clamp_min(0)
    return (flat.sign() * (magnitudes - threshold).clamp_min(0)).reshape(difference.shape)


def _unit_l1(gradient: Tensor) -> Tensor:
    """Each row divided by its L1 norm."""
    total = gradient.flatten(1).abs().sum(dim=1).clamp_min(1e-12)
    return gradient / total.reshape(-1, *[1] * (gradient.ndim - 1))


def _lengths(x: Tensor) -> Tensor:
    """The L2 norm of each row, shaped to broadcast against it."""
    return x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
