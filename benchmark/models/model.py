"""What stands for a model of either framework where only its framework's files look into it."""

from __future__ import annotations

from typing import Any, Protocol


class Model(Protocol):
    """A `torch.nn.Module` or a `keras.Model`."""

    def __call__(self, x: Any) -> Any:
        """Logits, (n, classes), of a batch in its framework's layout, both its own tensors."""
