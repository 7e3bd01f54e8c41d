"""The order in which frameworks are imported: torch with its compiler, then TensorFlow.

Loading triton after TensorFlow kills the process (a segmentation fault, or "LLVM ERROR"), and
torch loads it at an optimiser's first step. Importing this loads nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

from defenses.errors import DefenseError

# In this order, and before TensorFlow.
_FIRST = ("torch", "triton", "torch._dynamo")


def import_torch_first() -> None:
    """Import torch, and triton and its compiler, where they are installed and it isn't too late."""
    for name in _FIRST:
        package = name.partition(".")[0]
        if importlib.util.find_spec(package) is not None and not _too_late():
            importlib.import_module(name)


def refuse_wrong_order(framework: str) -> None:
    """DefenseError where torch would be used, and would take the process with it.

    Args:
        framework: that is about to be used.
    """
    if framework == "torch" and _too_late():
        raise DefenseError(
            "TensorFlow was imported before torch's compiler, and a torch model would crash this "
            "process now; start again with `import torch, triton, torch._dynamo` in front of "
            "keras and tensorflow"
        )


def _too_late() -> bool:
    """Whether TensorFlow is loaded and triton, which is installed, is not."""
    if "tensorflow" not in sys.modules or "triton" in sys.modules:
        return False
    return importlib.util.find_spec("triton") is not None
