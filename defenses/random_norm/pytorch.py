"""Random-norm adversarial training in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.kernel import Arrays
from defenses.kernels.pytorch import Batch, Kernel
from defenses.random_norm.spec import RandomNorm, RunningAccuracy


class RandomNormKernel(Kernel):
    """Cross-entropy on adversarial examples of one norm."""

    defense: RandomNorm

    def __init__(self, model: nn.Module, defense: RandomNorm) -> None:
        super().__init__(model, defense)
        self.running = self.beside["running"] = RunningAccuracy(defense)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        # Step 1
        norm = self.running.pick(float(draws["pick"]))
        drawn, eps = self.defense.drawn_within(norm, draws), eps * self.defense.shares[norm]
        loss, accuracy = self.run(drawn, learning_rate, eps, norm)
        # Step 4
        self.running.update(norm, float(accuracy))
        return float(loss)

    def train_on(
        self, batch: Batch, learning_rate: float, eps: float, norm: str
    ) -> tuple[Tensor, Tensor]:
        """One update; gives loss and robust accuracy before it."""
        x, y, ascent = batch["x"], batch["y"], self.defense.ascent_within(norm)
        # Step 2
        x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=ascent)
        # Step 3
        logits = self.training_logits(x_adv)
        loss = self.minimise(lambda: cross_entropy(logits, y), learning_rate)
        return loss, (logits.argmax(dim=1) == y).double().mean()
