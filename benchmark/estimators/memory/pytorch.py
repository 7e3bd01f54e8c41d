"""Memory of the GPU that PyTorch computes on."""

from __future__ import annotations

from collections.abc import Callable

import torch


def free() -> int:
    """Bytes that are left, those included that PyTorch keeps for its next tensors."""
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return int(torch.cuda.mem_get_info()[0]) + kept


def taken_by(call: Callable[[], object]) -> int:
    """Bytes that `call` takes at most, beyond what is taken already."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    call()
    return torch.cuda.max_memory_allocated() - before
