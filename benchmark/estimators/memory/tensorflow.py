"""Memory of the GPU that TensorFlow computes on."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
import torch

_DEVICE = "GPU:0"


def free() -> int:
    """Bytes that are left by the driver's count; TensorFlow has none, PyTorch asks the driver."""
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0


def taken_by(call: Callable[[], object]) -> int:
    """Bytes that `call` takes at most, beyond what is taken already."""
    before = tf.config.experimental.get_memory_info(_DEVICE)["current"]
    tf.config.experimental.reset_memory_stats(_DEVICE)
    call()
    return int(tf.config.experimental.get_memory_info(_DEVICE)["peak"]) - int(before)
