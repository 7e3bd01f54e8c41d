"""A model tried on a few examples before it is trained: what can't work is told in one line."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from defenses.causes import cause_of
from defenses.data import check_classes
from defenses.errors import DefenseError
from defenses.imports import refuse_wrong_order

if TYPE_CHECKING:
    from defenses.kernel import Kernel
    from defenses.subject import Subject

T = TypeVar("T")

# Examples that the model is tried on; the pass is no part of the training's cost.
EXAMPLES = 2

# Framework to what calls its models.
_CONVENTIONS = {
    "torch": "defenses.conventions.pytorch",
    "tensorflow": "defenses.conventions.tensorflow",
}

# In what torch raises.
_REENTRANT = "use_reentrant=True, torch.utils.checkpoint is incompatible"

# How far a row of probabilities may be from summing to 1, by rounding.
_ROUNDING = 1e-3


def explained(shape: tuple[int, ...], call: Callable[[], Any]) -> Any:
    """What `call` gives; a DefenseError where the model can't take inputs of this shape."""
    try:
        return call()
    except (DefenseError, MemoryError):
        raise
    except Exception as error:  # whatever the user's code raises
        words = " ".join(cause_of(error).split())[:200]
        wanted = "NHWC images" if len(shape) == 4 else "rows"
        raise DefenseError(
            f"the model can't take {EXAMPLES} {wanted} of shape {shape[1:]} "
            f"(a PyTorch module gets images as NCHW): {words}"
        ) from error


@contextmanager
def told_by_cause() -> Iterator[None]:
    """While entered, what a framework raises for a known cause is a DefenseError that tells it."""
    try:
        yield
    except RuntimeError as error:
        if _REENTRANT not in str(error):
            raise
        raise DefenseError(
            "the model calls torch.utils.checkpoint with use_reentrant=True, which gives no "
            "gradient by inputs; give use_reentrant=False"
        ) from error


def prepare(subject: Subject, x: np.ndarray | None) -> None:
    """Import the subject's framework, and give a model that was never called its weights.

    Raises:
        DefenseError: the import would end the process, or the model can't take `x`.
    """
    refuse_wrong_order(subject.framework)
    if x is None:
        return
    module = importlib.import_module(_CONVENTIONS[subject.framework])
    explained(x.shape, lambda: module.prepare(subject.model, x[:EXAMPLES]))


def told_afterwards(
    kernel: Kernel, x: np.ndarray, y: np.ndarray | None, call: Callable[[], T]
) -> T:
    """What `call` gives; where it fails by inputs or labels that the model can't take, that.

    Costs nothing where it doesn't fail. Raises `DefenseError`, or whatever `call` raises.
    """
    try:
        with told_by_cause():
            return call()
    except (DefenseError, MemoryError):
        raise
    except Exception:  # whatever the framework raises
        outputs = explained(x.shape, lambda: kernel.predict(x[:EXAMPLES]))
        if y is not None:
            check_classes(y, outputs.shape[1])
        raise


def try_out(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> None:
    """Refuse a model whose outputs the losses here, or the kernel, can't take.

    Args:
        kernel: holds the model.
        x: inputs, of which the first `EXAMPLES` are tried.
        y: all labels that are to be trained on or validated with.

    Raises:
        DefenseError: no logits, too few of them, something else than logits, or what the kernel
            refuses.
    """
    outputs = explained(x.shape, lambda: kernel.tried(x[:EXAMPLES]))
    count = min(EXAMPLES, len(x))
    if outputs.ndim != 2 or len(outputs) != count:
        raise DefenseError(
            f"the model gives outputs of shape {outputs.shape} for {count} examples; "
            "logits of shape (n, classes) are needed"
        )
    classes = outputs.shape[1]
    if classes < 2:
        raise DefenseError(
            "the model gives 1 output; one logit a class is needed, so 2 for two classes"
        )
    check_classes(y, classes)
    inside = bool((outputs >= 0).all() and (outputs <= 1).all())
    if inside and bool(np.abs(outputs.sum(axis=1) - 1).max() <= _ROUNDING):
        raise DefenseError(
            "the model gives probabilities, and the losses here need logits; remove its softmax"
        )
