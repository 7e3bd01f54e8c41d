"""Meta-adversarial training: an initialisation from which a few robust examples are enough.

Second-order MAML (Finn et al. 2017, algorithm 1) over tasks with a support set S and a query set
Q, attacked in both loops: the support against the initialisation, as in meta-testing, and the
query through the adapted model (adversarial querying, Goldblum et al. 2020, algorithm 1). The
outer loss joins clean and adversarial queries (Wang et al. 2021, R-MAML, eq. (4)).

For each task of the meta-batch:

    x_S_adv = A(f_theta, S)                                            (step 1)
    theta_0 = theta
    theta_k = theta_{k-1} - a grad l(f(x_S_adv; theta_{k-1}), y_S)     (step 2), k = 1 .. K
    x_Q_adv = A(f_theta_K, Q), a constant                              (step 3)
    L_t     = w l(f(x_Q; theta_K), y_Q) + (1 - w) l(f(x_Q_adv; theta_K), y_Q)   (step 4)

and over the tasks:

    g       = mean_t dL_t / dtheta, through every inner step           (step 5)
    theta  <- optimiser(theta, g)                                      (step 6)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from defenses.adaptation.spec import Adaptation
from defenses.cost import Cost, gradients
from defenses.defense import Defense
from defenses.errors import DefenseError
from defenses.parameters import parameter
from defenses.perturbation.spec import Ascent, default_relative_step
from defenses.training import Arrays


@dataclass(frozen=True, kw_only=True)
class MetaAdversarial(Defense):
    """Second-order meta-adversarial training over tasks with support and query sets.

    Args:
        tasks: of a meta-batch.
        support: examples of a task's support set.
        query: examples of a task's query set.
        inner_steps: K, adaptation steps on the support.
        inner_rate: a, their rate.
        support_attack_steps: of the attack on the support; one is FGSM with a random start.
        query_attack_steps: of the attack on the query.
        clean_weight: w, the clean query's share of the outer loss.

    `batch_size` is not used: an update takes `tasks * (support + query)` examples.
    """

    tasks: int = parameter(4, low=1)
    support: int = parameter(8, low=1)
    query: int = parameter(32, low=1)
    inner_steps: int = parameter(1, low=1)
    inner_rate: float = parameter(0.05, low=0)
    support_attack_steps: int = parameter(1, low=1)
    query_attack_steps: int = parameter(10, low=1)
    clean_weight: float = parameter(0.2, low=0, high=1)

    adapts: ClassVar[bool] = True
    kernels: ClassVar[Mapping[str, str]] = {
        "torch": "defenses.meta.pytorch:MetaKernel",
        "tensorflow": "defenses.meta.tensorflow:MetaKernel",
    }

    @property
    def examples_per_step(self) -> int:
        """All supports and queries of a meta-batch."""
        return self.tasks * (self.support + self.query)

    @property
    def support_ascent(self) -> Ascent:
        """The attack of step 1."""
        steps = self.support_attack_steps
        return Ascent(self.threat.norm, steps, default_relative_step(steps))

    @property
    def query_ascent(self) -> Ascent:
        """The attack of step 3."""
        steps = self.query_attack_steps
        return Ascent(self.threat.norm, steps, default_relative_step(steps))

    @property
    def adaptation(self) -> Adaptation:
        """The inner loop, as it was trained."""
        return Adaptation(
            norm=self.threat.norm,
            attack_steps=self.support_attack_steps,
            steps=self.inner_steps,
            rate=self.inner_rate,
        )

    def step_cost(self) -> Cost:
        """Attacks, inner steps with their second derivatives, and both outer losses, a task."""
        inner = self.support * self.inner_steps
        task = (
            self.support_ascent.cost(self.support)
            + gradients(inner)
            + Cost(second_order=inner)
            + self.query_ascent.cost(self.query)
            + gradients(2 * self.query)
        )
        return task * self.tasks

    def sized_for(self, examples: int) -> Self:
        """The same defense with no more tasks in a meta-batch than the data set fills.

        Raises:
            DefenseError: not even one task can be filled.
        """
        size = self.support + self.query
        if examples < size:
            raise DefenseError(
                f"a task takes {self.support} support and {self.query} query examples, the "
                f"training set has {examples}; lower support or query"
            )
        return dataclasses.replace(self, tasks=min(self.tasks, examples // size))

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """Disjoint tasks cut from a shuffled batch, and where their attacks start."""
        size = self.support + self.query
        starts = self.threat.random_starts(generator, x.shape)
        return {
            "x": x.reshape(self.tasks, size, *x.shape[1:]),  # (tasks, support + query, H, W, C)
            "y": y.reshape(self.tasks, size),
            "start": starts.reshape(self.tasks, size, *x.shape[1:]),
        }
