"""The GPUs of this machine, as its driver shows them; no framework is loaded."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from benchmark.errors import ConfigError

if TYPE_CHECKING:
    from benchmark.config import RunConfig


def check_device(config: RunConfig) -> None:
    """Raises `ConfigError` for a GPU that isn't there."""
    if config.device == "cuda" and config.executor == "local" and not cuda_devices():
        raise ConfigError("device 'cuda': this machine shows no CUDA device; use auto or cpu")


def cuda_devices() -> int:
    """How many CUDA devices the driver shows."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found: Any = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0
