"""Adversarial training by gradient ascent, with many steps or with one.

pgd-at: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks",
eq. (2.1). fgsm-at: the same with FGSM (Goodfellow et al. 2015, section 6), which overfits
catastrophically. fgsm-rs: Wong et al. 2020, "Fast is better than free", algorithm 3.

    x_adv = A(f_theta, x, y), projected gradient ascent from a start   (step 1)
    theta <- optimiser(theta, grad l(f(x_adv; theta), y))              (step 2)

The start is drawn uniformly from the ball; fgsm-at starts at x itself. fgsm-rs takes one step of
1.25 eps, from a start that is not clipped to [0, 1]: on black and white pixels a clipped one would
always end at the full eps, as FGSM does, and the random start would be lost. It goes back to the
last good weights at catastrophic overfitting, as its authors do; they look at PGD accuracy on a
training batch after each epoch, here it is validation accuracy, over some epochs
(`defenses.validation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from defenses import published
from defenses.attacked import ManyStepTraining, SingleStepTraining
from defenses.parameters import parameter
from defenses.perturbation.spec import Ascent
from defenses.published import Presets
from defenses.recipe import ON_OVERFIT, kernels_of


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(ManyStepTraining):
    """PGD adversarial training (Madry et al. 2018).

    The paper takes 40 steps of eps / 30 for MNIST and 7 of eps / 4 for CIFAR-10.
    """

    presets: ClassVar[Presets] = published.PGD_AT
    kernels: ClassVar[Mapping[str, str]] = kernels_of("adversarial", "AdversarialKernel")

    @property
    def single_step(self) -> bool:
        """With one step only."""
        return self.attack_steps == 1


@dataclass(frozen=True, kw_only=True)
class FgsmTraining(SingleStepTraining):
    """FGSM training without a random start; overfits catastrophically, kept to show that.

    Goodfellow et al. 2015, with adversarial examples alone in the loss.
    """

    eps_warmup: float = parameter(0.0, low=0, high=1)

    kernels: ClassVar[Mapping[str, str]] = AdversarialTraining.kernels


@dataclass(frozen=True, kw_only=True)
class FastTraining(SingleStepTraining):
    """FGSM training from random starts (Wong et al. 2020, "Fast is better than free").

    The defaults are those of the paper for MNIST: batches of 100, Adam at 5e-3, a cyclic schedule.
    The paper has no `eps_warmup` and no `weight_decay`: its result then depends on the initial
    weights. `cnn-small` on MNIST (linf 0.3, 10 epochs) kept 75, 35 and 69 % under PGD-50 for the
    seeds 0, 1 and 2; for seed 1 it kept 78 % with the warm-up alone, 67 % with the decay alone, and
    91 % with both (500 examples).

    Args:
        relative_step: step size of the attack as a share of eps.
    """

    batch_size: int = parameter(100, low=1)
    learning_rate: float = parameter(5e-3, low=0)
    eps_warmup: float = parameter(0.1, low=0, high=1)
    weight_decay: float = parameter(1e-4, low=0)
    on_overfit: str = parameter("restore", choices=ON_OVERFIT)
    relative_step: float = parameter(1.25, low=0)

    presets: ClassVar[Presets] = published.FGSM_RS
    kernels: ClassVar[Mapping[str, str]] = AdversarialTraining.kernels

    @property
    def ascent(self) -> Ascent:
        """One step from a random start."""
        return Ascent(
            self.threat.norm,
            steps=1,
            relative_step=self.relative_step,
            clipped_start=False,
            weights=self.threat.weights,
        )
