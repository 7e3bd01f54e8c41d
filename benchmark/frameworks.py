"""Everything that must happen before a framework runs: import order, threads, device, seeds.

ART imports torch wherever it is installed, so torch (with triton and its compiler) always comes
first, also for TensorFlow; `defenses.imports` says why.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import platform
import random
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np

from benchmark.errors import ConfigError
from defenses.imports import import_torch_first as import_torch_first

FRAMEWORKS = ("torch", "tensorflow")

# Framework to the modules that import it, one for each part of the work.
BUILDERS = {"torch": "benchmark.models.pytorch", "tensorflow": "benchmark.models.tensorflow"}
ESTIMATORS = {
    "torch": "benchmark.estimators.pytorch",
    "tensorflow": "benchmark.estimators.tensorflow",
}
HEADS = {"torch": "defenses.heads.pytorch", "tensorflow": "defenses.heads.tensorflow"}
PROVIDED = {
    "torch": "benchmark.models.provided.pytorch",
    "tensorflow": "benchmark.models.provided.tensorflow",
}
EXTERNAL = {"torch": "benchmark.external.pytorch", "tensorflow": "benchmark.external.tensorflow"}
MEMORY = {
    "torch": "benchmark.estimators.memory.pytorch",
    "tensorflow": "benchmark.estimators.memory.tensorflow",
}
WEIGHTS = {
    "torch": "benchmark.estimators.weights.pytorch",
    "tensorflow": "benchmark.estimators.weights.tensorflow",
}
# Framework to the words that pip installs it by; the extras of the same names hold them, too.
REQUIREMENTS = {
    "torch": "'torch>=2.6' torchvision higher==0.2.1",
    "tensorflow": "'tensorflow>=2.18' 'keras>=3.15'",
}
# Framework to what the names of its files of weights end with.
WEIGHTS_SUFFIXES = {"torch": ".safetensors", "tensorflow": ".weights.h5"}

# In glibc's <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def prepare(framework: str, *, device: str = "auto", threads: int = 1) -> str:
    """Import `framework` safely and set its threads; returns the device that it will use.

    Args:
        framework: "torch" or "tensorflow".
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        threads: CPU threads of one operation.

    Returns:
        "cpu" or "cuda".

    Raises:
        ConfigError: the framework is not installed, or "cuda" was asked for and it sees no GPU.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A notebook's backend that isn't installed here would stop keras, which imports matplotlib.
    os.environ.pop("MPLBACKEND", None)
    keep_memory()
    check_installed([framework])
    import_torch_first()
    found = (
        _prepare_torch(threads) if framework == "torch" else _prepare_tensorflow(threads, device)
    )
    if device == "cuda" and not found:
        raise ConfigError(f"--device cuda: {framework} sees no GPU here; use --device cpu or auto")
    return "cuda" if found and device != "cpu" else "cpu"


def check_installed(names: Iterable[str]) -> None:
    """Raises `ConfigError` with pip's line for a framework that is not installed."""
    wanted = list(names)
    for name in wanted:
        if importlib.util.find_spec(name) is None:
            others = [one for one in wanted if one != name]
            instead = f", or give --framework {','.join(others)}" if others else ""
            raise ConfigError(
                f"{name} is not installed here; pip install {REQUIREMENTS[name]}{instead}"
            )


def cpus() -> int:
    """How many CPUs this process may use, by its affinity and by its container's quota."""
    return int(importlib.import_module("joblib").cpu_count())


def keep_memory() -> None:
    """Have the C library keep what is freed, up to 256 MB, where that is glibc.

    An attack makes and drops arrays of megabytes at every query. glibc gives such memory back to
    the system at once; to get it anew, page by page, took longer than all arithmetic on it.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_MMAP_THRESHOLD, 2**25)  # the most that it takes
        library.mallopt(_TRIM_THRESHOLD, 2**28)


def named(device: str) -> str:
    """A device as records name it: "cpu", or "cuda" with the card's name where torch sees it."""
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None or not torch.cuda.is_available():
        return device
    return f"{device} ({torch.cuda.get_device_name()})"


def part(modules: Mapping[str, str], framework: str) -> ModuleType:
    """A framework's module out of one of the tables above, imported."""
    return importlib.import_module(modules[framework])


def seed_everything(seed: int) -> None:
    """Seed the global generators that ART's attacks and random models draw from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - ART draws from the global generator
    if torch := sys.modules.get("torch"):  # TensorFlow's compiled graphs can't be seeded again
        torch.manual_seed(seed)


def versions(framework: str) -> dict[str, str]:
    """The versions of what decides a cell's numbers."""
    packages = ["meta-adv-bench", "numpy", "adversarial-robustness-toolbox"]
    packages += ["torch", "higher"] if framework == "torch" else ["tensorflow", "keras"]
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found |= {"cuda": str(torch.version.cuda), "tf32": _switch(torch.backends.cudnn.allow_tf32)}
        found["deterministic"] = _switch(torch.backends.cudnn.deterministic)
    return found


def _switch(value: bool) -> str:
    return "on" if value else "off"


@functools.cache
def processor() -> str:
    """The processor's model, on which the last bits of a sum depend; "" where nothing tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _prepare_torch(threads: int) -> bool:
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    # Measured attacks run in float32, of which TF32 keeps 10 of 23 bits; cuDNN's default is to use
    # it. And of cuDNN's algorithms only those that give the same sums each time.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    return bool(torch.cuda.is_available())


def _prepare_tensorflow(threads: int, device: str) -> bool:
    # As for torch.
    os.environ["TF_CUDNN_DETERMINISTIC"] = "1"
    tensorflow = importlib.import_module("tensorflow")
    config = tensorflow.config
    config.experimental.enable_tensor_float_32_execution(False)
    config.threading.set_intra_op_parallelism_threads(threads)
    config.threading.set_inter_op_parallelism_threads(1)
    gpus = config.list_physical_devices("GPU")
    if device == "cpu":
        config.set_visible_devices([], "GPU")
    for gpu in gpus:
        config.experimental.set_memory_growth(gpu, True)
    return bool(gpus)
