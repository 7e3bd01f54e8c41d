"""Data on the device in PyTorch; see `spec`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


def upload(chunks: Iterator[np.ndarray], device: torch.device) -> Tensor:
    """All of them on the device, one behind the other."""
    parts = (torch.from_numpy(np.require(chunk, requirements=["C", "W"])) for chunk in chunks)
    return torch.cat([part.to(device) for part in parts])


def taken(data: Tensor, index: Tensor, moves: Sequence[Tensor]) -> Tensor:
    """Rows of the data, NHWC or (n, d), float32."""
    if moves:
        (rows, columns, kept), (height, width, channels) = moves, data.shape[1:]
        places = index[..., None, None] * height + rows[..., :, None]
        places = places * width + columns[..., None, :]
        found = data.reshape(-1, channels)[places] * kept[..., None]
    else:
        found = data[index]
    if found.dtype is torch.uint8:
        # By a tensor: instead of dividing by a number, a GPU multiplies by its inverse
        found = found.float() / torch.full((), 255.0, device=found.device)
    return found
