"""Losses on logits in PyTorch, one value a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot


def kl_divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(p || q) = sum_k p_k (log p_k - log q_k), p from `logits` and q from `others`; (n,)."""
    log_p, log_q = log_softmax(logits, dim=1), log_softmax(others, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """BCE(p, y) = -log p_y - log(1 - max_{k != y} p_k) (Wang et al. 2020, eq. (8)); (n,).

    1 - p_k is the sum over the other classes, and taken as that: it stays exact where p_k is 1.
    """
    classes = logits.shape[1]
    true = one_hot(labels, classes).bool()
    wrong = one_hot(logits.masked_fill(true, -torch.inf).argmax(dim=1), classes).bool()
    total = logits.logsumexp(dim=1)
    without_wrong = logits.masked_fill(wrong, -torch.inf).logsumexp(dim=1)
    of_label = logits.gather(1, labels[:, None])[:, 0]
    return (total - of_label) + (total - without_wrong)


def jensen_shannon(logits: Sequence[Tensor]) -> Tensor:
    """The mean of KL(p_i || m), m the mean of the distributions p_i; (n,)."""
    log_p = torch.stack([log_softmax(one, dim=1) for one in logits])  # (distributions, n, classes)
    log_m = log_p.logsumexp(dim=0) - math.log(len(logits))
    return (log_p.exp() * (log_p - log_m)).sum(dim=2).mean(dim=0)
