"""Standard training in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from defenses.kernels.pytorch import Batch, Kernel


class StandardKernel(Kernel):
    """Cross-entropy on clean examples."""

    def train_on(self, batch: Batch, learning_rate: float, eps: float) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        # Step 1
        return self.minimise(lambda: cross_entropy(self.training_logits(x), y), learning_rate)
