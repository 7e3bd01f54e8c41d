"""Standard training in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from torch.nn.functional import cross_entropy

from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel


class StandardKernel(Kernel):
    """Cross-entropy on clean examples."""

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        # Step 1
        self.model.train()
        loss = cross_entropy(self.logits(x), y)
        self.update(self.gradients(loss), learning_rate)
        return float(loss.detach())
