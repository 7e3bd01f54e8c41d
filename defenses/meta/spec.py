"""Meta-adversarial training: an initialisation from which a few robust examples are enough.

MAML (Finn et al. 2017, algorithm 1) over tasks with a support set S and a query set Q under an
attack A and its budget (`defenses.tasks`), attacked in both loops: the support against the
initialisation, as in meta-testing, and the query through the adapted model (adversarial querying,
Goldblum et al. 2020, algorithm 1). The outer loss joins clean and adversarial queries (Wang et al.
2021, R-MAML, eq. (4)). l is the cross-entropy, averaged over a set.

For each task of the meta-batch:

    x_S_adv = A(f_theta, S)                                            (step 1)
    theta_0 = theta
    theta_k = theta_{k-1} - a grad l(f(x_S_adv; theta_{k-1}), y_S)     (step 2), k = 1 .. K
    x_Q_adv = A(f_theta_K, Q), a constant                              (step 3)
    L(k)    = w l(f(x_Q; theta_k), y_Q) + (1 - w) l(f(x_Q_adv; theta_k), y_Q)
    L_t     = L(K)                                                     (step 4)

and over the tasks:

    g       = mean_t dL_t / dtheta, through every inner step           (step 5)
    theta  <- optimiser(theta, g)                                      (step 6)
    r      <- mean_t of the running statistics r_t                     (step 7)

Running statistics are those of normalisation layers. All passes of steps 2 and 4 normalise by their
own batch; r_t is what the first of them makes of r: it is a pass of the initialisation itself, on
the task's support. What the adapted models would make of r is thrown away.

The parameters change single steps:

    algorithm fomaml    step 5: grad in step 2 counts as a constant, g = mean_t dL_t / dtheta_K
              reptile   steps 1 and 2 take support and query together; no steps 3 and 4;
                        step 5: g = mean_t (theta - theta_K) (Nichol et al. 2018)
              anil      step 2 moves the last layer alone (Raghu et al. 2020)
    inner_loss clean    step 2 takes x_S, and step 1 is left out
               crossed  step 2 twice, to theta^c on x_S and to theta^a on x_S_adv; the clean part of
                        step 4 is taken at theta^a, the adversarial part and step 3 at theta^c
                        (Yin et al. 2018, ADML)
    outer_loss trades   step 4: L(k) = l(f(x_Q; theta_k), y_Q) + beta KL(p(x_Q) || p(x_Q_adv)), and
                        step 3 maximises the KL (`defenses.trades.spec`)
    query_attack initial   step 3: A(f_theta, Q)
    support_family other   step 1 under another attack family than step 3, whose gradient has to
                           carry over to it
    learn_rates         a = inner_rate exp(s_l) for layer l; step 6: s <- optimiser(s, dL / ds)
    multi_step > 0      step 4: L_t = sum_k v_k L(k), all on the same x_Q_adv; v_k moves from 1 / K
                        to the last step alone (Antoniou et al. 2019, MAML++, section 4)
    head centroid, ridge   the steps of `defenses.meta.heads.spec` in the place of all
    rotations           images turned by 90, 180 and 270 degrees are other classes
    adversarial_rate    steps 5 and 6 twice, with an optimiser each: for the clean part of L_t, then
                        at this rate for the adversarial part
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np

from defenses.adaptation.spec import Adaptation
from defenses.cost import Cost
from defenses.errors import DefenseError
from defenses.heads.spec import CLOSED_FORMS
from defenses.kernel import Arrays
from defenses.meta.checks import check_combination, check_held_out
from defenses.meta.costs import task_cost, task_memory
from defenses.meta.heads.spec import base_cost, check_head, draw_base
from defenses.meta.parameters import MetaParameters
from defenses.meta.presets import PRESETS
from defenses.meta.steps import step_weights
from defenses.perturbation.spec import Ascent, pgd
from defenses.recipe import kernels_of
from defenses.tasks import families
from defenses.tasks.distributions import Budgeted, TaskDistribution
from defenses.threat import Threat
from defenses.trades.spec import small_noise

_HEAD_KERNELS = kernels_of("meta.heads", "HeadKernel")


@dataclass(frozen=True, kw_only=True)
class MetaAdversarial(MetaParameters):
    """Meta-adversarial training (MAML, FOMAML, Reptile, ANIL) over tasks with support and query.

    `batch_size` is not used: an update takes `tasks * (support + query)` examples.

    A recipe of `defenses.meta.presets` (adml, aq, r-maml, its-maml) is named by the parameter
    `preset` of `from_parameters`; other parameters go over it.
    """

    adapts: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    kernels: ClassVar[Mapping[str, str]] = kernels_of("meta", "MetaKernel")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_combination(self)
        check_held_out(self)
        check_head(self)
        self.task_distribution.check()

    @property
    def examples_per_step(self) -> int:
        """All supports and queries of a meta-batch."""
        return self.tasks * (self.support + self.query)

    @property
    def fits_last_layer(self) -> bool:
        """Heads in closed form stand in its place."""
        return self.head in CLOSED_FORMS

    @property
    def draws_from_all(self) -> bool:
        """Few-way tasks choose among all examples of a class."""
        return "few-way" in self.distribution

    @property
    def threats(self) -> tuple[Threat, ...]:
        """The threat, or one a norm where tasks draw their attacks; held-out norms are not seen."""
        if "attacks" not in self.distribution:
            return (self.threat,)
        norms = {families.ATTACKS[name].norm for name in self.task_attacks}
        weights, budgets = self.threat.weights, self.budgets.items()
        return tuple(Threat(norm, eps, weights) for norm, eps in budgets if norm in norms)

    @property
    def _attack_pairs(self) -> list[tuple[Ascent, Ascent]]:
        """Of the support and of the query of a task of "attacks"."""
        named = [families.ATTACKS[name] for name in self.task_attacks]
        steps, weights = self.task_attack_steps, self.threat.weights
        attacks = [families.with_steps(attack, steps).within(weights) for attack in named]
        if self.support_family == "same":
            return [(attack, attack) for attack in attacks]
        return [(s, q) for q in attacks for s in attacks if s.norm != q.norm]

    @property
    def query_ascent(self) -> Ascent:
        """The threat's attack on the query."""
        return pgd(self.threat.norm, self.query_attack_steps, weights=self.threat.weights)

    @cached_property
    def task_distribution(self) -> TaskDistribution:
        """How the tasks are drawn."""
        norm, weights = self.threat.norm, self.threat.weights
        support = pgd(norm, self.support_attack_steps, weights=weights)
        own = Budgeted(support, self.query_ascent, share=1.0)
        named = []
        for support, query in self._attack_pairs if "attacks" in self.distribution else ():
            eps, support_eps = (self.budgets[attack.norm] for attack in (query, support))
            named.append(Budgeted(support, query, eps / self.threat.eps, support_eps / eps))
        return TaskDistribution(
            kinds=self.distribution,
            attacks=(own, *named),
            least_budget=self.least_budget,
            tasks=self.tasks,
            support=self.support,
            query=self.query,
            ways=self.ways,
            rotations=self.rotations,
        )

    @property
    def adaptation(self) -> Adaptation:
        """The inner loop, as it was trained."""
        return Adaptation(
            norm=self.threat.norm,
            attack_steps=self.support_attack_steps,
            steps=self.inner_steps,
            rate=self.inner_rate,
            attacked=self.inner_loss != "clean",
            closed_form=self.fits_last_layer,
            weights=self.threat.weights,
        )

    def kernel_class(self, framework: str) -> str:
        """One of features alone where heads are fitted in closed form."""
        return (_HEAD_KERNELS if self.fits_last_layer else self.kernels)[framework]

    def check_inputs(self, input_shape: tuple[int, ...]) -> None:
        """Refuse rotations of what is no square image."""
        super().check_inputs(input_shape)
        if self.rotations and (len(input_shape) != 3 or input_shape[0] != input_shape[1]):
            raise DefenseError(
                f"rotations turns square images, these inputs are {input_shape}; leave it out"
            )

    def step_cost(self) -> Cost:
        """What a meta-batch is expected to cost: tasks under different attacks differ."""
        distribution = self.task_distribution
        total = Cost()
        for pair, share in zip(distribution.attacks, distribution.shares().tolist(), strict=True):
            if share:
                total += task_cost(self, pair) * (share if share < 1 else 1)
        return total * self.tasks

    def cost_of(self, draws: Arrays) -> Cost:
        """What a meta-batch costs, task by task."""
        if "base" in draws:
            return base_cost(self, len(draws["base"]))
        attacks = self.task_distribution.attacks
        return sum((task_cost(self, attacks[which]) for which in draws["attack"]), Cost())

    def memory(self, *, weights: int, activations: int) -> float:
        """In bytes; linear in the inner steps."""
        return task_memory(self, weights, activations)

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

    def check_labels(self, y: np.ndarray) -> None:
        """Refuse ways and shots that the labels can't give."""
        self.task_distribution.check_labels(y)

    def draw(self, generator: np.random.Generator, x: np.ndarray, y: np.ndarray) -> Arrays:
        """Tasks, what attacks them and where that starts."""
        draws = self.task_distribution.draw(generator, x, y)
        if self.outer_loss == "trades":
            shape = draws["x"][:, self.support :].shape
            draws = {**draws, "noise": small_noise(generator, shape, self.threat.weights)}
        if self.pretrain:  # which phase it is, `at` knows
            return {**draws, **draw_base(self, generator, x, y)}
        return self.at(draws, 0.0)

    def at(self, draws: Arrays, done: float) -> Arrays:
        """With the weights v_k of the losses after each inner step, (K,).

        Of what both phases of a training draw, that of the present one is left.
        """
        if self.pretrain:
            draws = {n: v for n, v in draws.items() if ("base" in n) == (done < self.pretrain)}
        return {**draws, "step_weights": step_weights(self.inner_steps, self.multi_step, done)}
