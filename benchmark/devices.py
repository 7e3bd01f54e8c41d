"""The GPUs of this machine, as its driver shows them; no framework is loaded."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import ConfigError

if TYPE_CHECKING:
    from benchmark.config import RunConfig

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def check_device(config: RunConfig) -> None:
    """Raises `ConfigError` for a GPU that isn't there."""
    if config.devices is not None:
        if config.device == "cpu":
            raise ConfigError("device 'cpu' and devices are both given; give one")
        count = cuda_devices()
        if lacking := [number for number in config.devices if number >= count]:
            shows = f"{count} CUDA devices, numbered from 0" if count else "no CUDA device"
            raise ConfigError(f"devices: there is no {lacking[0]}; this machine shows {shows}")
    if config.device == "cuda" and config.executor == "local" and not cuda_devices():
        raise ConfigError("device 'cuda': this machine shows no CUDA device; use auto or cpu")


def environment_of(
    slot: int, devices: Sequence[int], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """What the environment of the worker in a slot holds, so that it sees its GPU alone.

    `devices` are numbers among those that are visible here, in the order of `nvidia-smi`; the
    workers take them in turn. Nothing where there are none.
    """
    if not devices:
        return {}
    number = devices[slot % len(devices)]
    visible = [name.strip() for name in environ.get(_VISIBLE, "").split(",") if name.strip()]
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        _VISIBLE: visible[number] if visible else f"{number}",
    }


def numbered(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """A device's name with the number of the one GPU that this process sees, where that is so."""
    visible = environ.get(_VISIBLE, "")
    return f"{name}, GPU {visible}" if re.fullmatch(r"[0-9]+", visible) else name


def cuda_devices() -> int:
    """How many CUDA devices the driver shows."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    found: Any = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if found else 0
