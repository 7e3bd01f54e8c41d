"""Training on the examples of a meta-learned attacker.

A generator of adversarial examples is meta-learned beside the classifier f_theta: it is not to be
good, but to become good in a few steps. Each update has four parts: meta-learn, generate, train on
clean and generated examples and a share of projected gradient ascent, and, with the harness,
evaluate, which attacks that know nothing of the generator do.

`bank`: meta adversarial training, Metzen et al. 2021, "Meta adversarial training against universal
patches", algorithm 1. A bank of patterns d_i, each with a step size s_i of its own; a pattern is a
perturbation that is added, in the unit ball of the threat's norm and scaled by eps, or a patch that
is pasted at a random place. For each example of the batch:

    i       = argmax of l(f(x with d_i), y) over a few drawn entries                (step 1)
    d       = d_i after K steps d <- project(d + s_i direction(grad_d l))           (step 2)
    d_i    <- d_i + m (mean of the d that began at it - d_i), Reptile               (step 3)
    x_gen   = x with d, a constant

`network`: a learned optimiser of perturbations, Jiang et al. 2021, "Learning to defend by learning
to attack", section 3: g_phi sees the example and the classifier's gradient at it, u(x), scaled to
magnitudes of at most 1. A task is a part of the batch under a snapshot theta_j of the classifier:

    G_phi(x) = clip(project(x + eps tanh(g_phi(x, u(x))), ball(x, eps)), 0, 1)
    phi_0    = phi
    phi_k+1  = phi_k + a grad_phi mean l(f(G_phi_k(x); theta_j), y)                 (step 4)
    phi     <- phi + m mean_j (phi_K - phi)                       for `reptile`     (step 5)
    phi     <- Adam(phi, -mean_j grad_phi l(f(G_phi_K(x_Q); theta_j), y_Q)), for `maml`, where
               phi_K is adapted to the first half of the part, and x_Q is the other
    x_gen    = G_phi(x) for the present classifier, a constant                      (step 6)

and for both, with projected gradient ascent in the place of x_gen for the first examples:

    x_gen   = A(f_theta, x, y) for a share of the batch                             (step 7)
    theta  <- optimiser(theta, grad [w l(f(x), y) + (1 - w) l(f(x_gen), y)])        (step 8)

Where step 7 takes the whole batch, the generator neither learns nor makes anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from defenses.cost import Cost, gradients
from defenses.defense import Defense
from defenses.errors import DefenseError
from defenses.kernel import Arrays
from defenses.meta_gen.bank import Bank, patch_side, places
from defenses.meta_gen.snapshots import Snapshots
from defenses.parameters import parameter
from defenses.perturbation.spec import Ascent, pgd
from defenses.recipe import kernels_of
from defenses.states import Part

BANK, NETWORK = "bank", "network"
REPTILE, MAML = "reptile", "maml"
PERTURBATION, PATCH = "perturbation", "patch"


@dataclass(frozen=True, kw_only=True)
class MetaGenerator(Defense):
    """Training on examples of a meta-learned attacker: a bank of patterns, or a network.

    Args:
        generator: "bank" or "network".
        pattern: "perturbation" or "patch", of the bank.
        bank_size: its entries.
        candidates: entries that are tried on an example.
        bank_steps: K, of the bank.
        algorithm: "reptile" or "maml", of the network.
        tasks: parts of a batch that the network is meta-learned on.
        inner_steps: K, of the network.
        inner_rate: a, of the network.
        meta_rate: m, Reptile's step; by default 0.25 of the bank and 0.5 of the network.
        generator_rate: of the Adam of `maml`.
        width: channels of the network's hidden layers.
        snapshots: of the classifier that are kept, the latest ones.
        snapshot_every: updates between two of them.
        pgd_share: of the batch, attacked by projected gradient ascent.
        attack_steps: of that attack.
        clean_weight: w.
    """

    generator: str = parameter(BANK, choices=(BANK, NETWORK))
    pattern: str = parameter(PERTURBATION, choices=(PERTURBATION, PATCH))
    bank_size: int = parameter(200, low=1)
    candidates: int = parameter(5, low=1)
    bank_steps: int = parameter(5, low=1)
    algorithm: str = parameter(REPTILE, choices=(REPTILE, MAML))
    tasks: int = parameter(4, low=1)
    inner_steps: int = parameter(2, low=1)
    inner_rate: float = parameter(0.1, low=0)
    meta_rate: float | None = parameter(None, low=0, high=1)
    generator_rate: float = parameter(1e-3, low=0)
    width: int = parameter(8, low=1)
    snapshots: int = parameter(3, low=1)
    snapshot_every: int = parameter(20, low=1)
    pgd_share: float = parameter(0.5, low=0, high=1)
    attack_steps: int = parameter(10, low=1)
    clean_weight: float = parameter(0.3, low=0, high=1)

    kernels: ClassVar[Mapping[str, str]] = kernels_of("meta_gen", "BankKernel")
    network_kernels: ClassVar[Mapping[str, str]] = kernels_of("meta_gen", "NetworkKernel")

    def kernel_class(self, framework: str) -> str:
        """That of the bank, or of the network."""
        return (self.kernels if self.generator == BANK else self.network_kernels)[framework]

    @property
    def families_seen(self) -> tuple[str, ...]:
        """What a bank holds: universal perturbations, or patches."""
        if self.generator != BANK:
            return ()
        return ("patch",) if self.pattern == PATCH else ("universal",)

    @property
    def ascent(self) -> Ascent:
        """The attack of step 7."""
        return pgd(self.threat.norm, self.attack_steps, weights=self.threat.weights)

    @property
    def attacked(self) -> int:
        """How many examples of a batch step 7 takes."""
        return round(self.pgd_share * self.batch_size)

    @property
    def generates(self) -> int:
        """How many the generator makes."""
        return self.batch_size - self.attacked

    @property
    def part(self) -> int:
        """Examples of a task."""
        return self.batch_size // self.tasks

    @property
    def parts(self) -> list[slice]:
        """Of a batch, one a task."""
        return [slice(self.part * n, self.part * (n + 1)) for n in range(self.tasks)]

    def new_bank(self) -> Bank:
        """The bank as it begins."""
        return Bank(
            self.bank_size, pattern=self.pattern, threat=self.threat, rate=self.reptile_rate
        )

    def new_snapshots(self, network: Part) -> Snapshots:
        """What the network learns from, as it begins."""
        return Snapshots(network, count=self.snapshots, every=self.snapshot_every)

    @property
    def reptile_rate(self) -> float:
        """m."""
        if self.meta_rate is not None:
            return self.meta_rate
        return 0.25 if self.generator == BANK else 0.5

    def check_inputs(self, input_shape: tuple[int, ...]) -> None:
        """Raises DefenseError for patches on what is no image."""
        super().check_inputs(input_shape)
        if self.generator == BANK and self.pattern == PATCH and len(input_shape) != 3:
            raise DefenseError(
                "pattern 'patch' is for images, these data are tabular; use 'perturbation'"
            )

    def sized_for(self, examples: int) -> Self:
        """The same defense with batches no larger than the data, and tasks that they fill."""
        sized = super().sized_for(examples)
        least = 2 if self.algorithm == MAML else 1
        if sized.generator == NETWORK and sized.batch_size < least:
            raise DefenseError(f"a task of maml takes 2 examples, a batch has {sized.batch_size}")
        tasks = max(1, min(sized.tasks, sized.batch_size // least))
        return dataclasses.replace(sized, tasks=tasks)

    def step_cost(self) -> Cost:
        """Meta-learning, generating, the share of gradient ascent, and both terms of the loss."""
        generated, made = self.generates, Cost()
        if self.generator == BANK:
            made += Cost(forwards=self.candidates * generated)
            made += gradients(generated) * self.bank_steps
        elif generated:
            made += self._learning_cost() + gradients(generated) + Cost(forwards=generated)
        return made + self.ascent.cost(self.attacked) + gradients(2 * self.batch_size)

    def _learning_cost(self) -> Cost:
        """Of steps 4 and 5; a pass through classifier and generator counts as two."""
        if self.algorithm == REPTILE:
            whole = self.part * self.tasks
            return gradients(whole) + gradients(2 * whole) * self.inner_steps
        support = self.part // 2 * self.tasks
        query = self.part * self.tasks - support
        inner = gradients(2 * support) * self.inner_steps
        second = Cost(second_order=2 * support * self.inner_steps)
        return gradients(support + query) + inner + second + gradients(2 * query)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """The batch, starts of step 7, and what the generator draws."""
        draws = {"x": x, "y": y, "start": self.threat.random_starts(generator, x.shape)}
        if self.generator == NETWORK:
            return {**draws, "snapshots": generator.random(self.tasks)}
        count = len(x) - self.attacked
        draws["entries"] = generator.integers(self.bank_size, size=(count, self.candidates))
        if self.pattern == PATCH:
            draws |= places(generator, count, x.shape[1:3], patch_side(x.shape[1:3]))
        return draws
