"""Standard training in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from tensorflow import Tensor

from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy


class StandardKernel(Kernel):
    """Cross-entropy on clean examples."""

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """One update; gives the loss before it."""
        x, y = batch["x"], batch["y"]
        # Step 1
        return self.minimise(lambda: cross_entropy(self.training_logits(x), y), learning_rate)
