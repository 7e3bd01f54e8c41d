"""A defense: half of the loss is clean, half adversarial (Goodfellow et al. 2015, section 6)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from defenses.attacked import ManyStepTraining
from defenses.cost import Cost, gradients
from defenses.parameters import parameter


@dataclass(frozen=True, kw_only=True)
class HalfClean(ManyStepTraining):
    """PGD adversarial training with a share of clean loss.

    Args:
        clean: weight of the clean loss; the adversarial one has the rest.
    """

    clean: float = parameter(0.5, low=0, high=1)
    kernels: ClassVar[Mapping[str, str]] = {
        "torch": f"{__name__}:torch_kernel",
        "tensorflow": f"{__name__}:tensorflow_kernel",
    }

    def step_cost(self) -> Cost:
        """The attack, and both predictions forward and back."""
        return self.ascent.cost(self.batch_size) + gradients(2 * self.batch_size)


def torch_kernel(model, defense):
    """The kernel in PyTorch, which is imported here alone."""
    from torch.nn.functional import cross_entropy

    from defenses.kernels.pytorch import Kernel

    return _kernel(Kernel, cross_entropy)(model, defense)


def tensorflow_kernel(model, defense):
    """The same in TensorFlow."""
    from defenses.kernels.tensorflow import Kernel, cross_entropy

    return _kernel(Kernel, cross_entropy)(model, defense)


def _kernel(base, cross_entropy):
    class HalfCleanKernel(base):
        def train_on(self, batch, learning_rate, eps):
            x, y, clean = batch["x"], batch["y"], self.defense.clean
            x_adv = self.perturbed(x, y, batch["start"], eps=eps, ascent=self.defense.ascent)

            def loss():
                own = cross_entropy(self.training_logits(x), y)
                return clean * own + (1 - clean) * cross_entropy(self.training_logits(x_adv), y)

            return self.minimise(loss, learning_rate)

    return HalfCleanKernel
