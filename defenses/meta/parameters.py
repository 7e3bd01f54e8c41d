"""The parameters of `meta-adv`, and what follows from them alone."""

from __future__ import annotations

from dataclasses import dataclass

from defenses.budgets import NormBudgets
from defenses.heads.spec import CLOSED_FORMS
from defenses.parameters import names_parameter, parameter
from defenses.tasks import families
from defenses.tasks.distributions import check_kind

ALGORITHMS = ("maml", "fomaml", "reptile", "anil")
INNER_LOSSES = ("adversarial", "clean", "crossed")
OUTER_LOSSES = ("mixed", "trades")
HEADS = ("linear", *CLOSED_FORMS)


@dataclass(frozen=True, kw_only=True)
class MetaParameters(NormBudgets):
    """What `defenses.meta.spec` is told.

    Args:
        algorithm: "maml" (second order), "fomaml", "reptile" or "anil".
        distribution: of the tasks: "subsets", "attacks", "few-way"; several make a mixture.
        attacks: that the tasks of "attacks" draw from (`defenses.tasks.families`), by default all
            that are not held out and have a budget.
        held_out: attacks or families that must not be trained on.
        support_family: a task of "attacks" has its support under the "same" attack as its query, or
            under one of an "other" family, so that what is learned has to carry over.
        least_budget: the smallest share of its budget that a task of "attacks" draws.
        ways: classes of a few-way task.
        tasks: of a meta-batch.
        support: examples of a task's support set.
        query: examples of a task's query set.
        inner_steps: K, adaptation steps on the support.
        inner_rate: a, their rate.
        learn_rates: whether each layer learns its own rate, from `inner_rate` on.
        inner_loss: the support in the inner loop: "adversarial", "clean" or "crossed" (ADML).
        outer_loss: "mixed" (clean and adversarial query) or "trades".
        clean_weight: w, the clean query's share of the mixed loss.
        beta: weight of the divergence in "trades".
        multi_step: share of the training over which the outer loss moves from all inner steps to
            the last one; 0 is the last one alone.
        support_attack_steps: of the threat's attack on the support; one is FGSM-RS.
        query_attack_steps: of the threat's attack on the query.
        task_attack_steps: of pgd-linf, pgd-l2 and pgd-l1 in tasks of "attacks".
        query_attack: the query is attacked through the "adapted" or the "initial" model.
        adversarial_rate: learning rate of an optimiser of its own for the adversarial part.
        head: "linear" is the model's last layer, moved by the inner loop; "centroid" and "ridge"
            are fitted to each support in closed form (`defenses.meta.heads.spec`).
        head_penalty: of the ridge regression.
        head_scale: of the logits of a closed form, whose features have length 1.
        rotations: whether images turned by 90, 180 and 270 degrees are other classes in few-way
            tasks; a turned class may be one that is held out, as a 6 turned by 180 degrees is a 9.
        pretrain: share of the training, its beginning, that is adversarial training on all
            classes at once; for closed forms.
        chunk: tasks that PyTorch computes at once; 0 chooses by the model's size.
    """

    algorithm: str = parameter("maml", choices=ALGORITHMS)
    distribution: tuple[str, ...] = names_parameter(("subsets",), check_kind)
    attacks: tuple[str, ...] = names_parameter((), families.attack)
    held_out: tuple[str, ...] = names_parameter((), families.family)
    support_family: str = parameter("same", choices=("same", "other"))
    least_budget: float = parameter(0.5, low=0.01, high=1)
    ways: int = parameter(4, low=2)
    tasks: int = parameter(4, low=1)
    support: int = parameter(8, low=1)
    query: int = parameter(32, low=1)
    inner_steps: int = parameter(1, low=1)
    inner_rate: float = parameter(0.05, low=0)
    learn_rates: bool = parameter(False)
    inner_loss: str = parameter("adversarial", choices=INNER_LOSSES)
    outer_loss: str = parameter("mixed", choices=OUTER_LOSSES)
    clean_weight: float = parameter(0.2, low=0, high=1)
    beta: float = parameter(6.0, low=0)
    multi_step: float = parameter(0.0, low=0, high=1)
    support_attack_steps: int = parameter(1, low=1)
    query_attack_steps: int = parameter(10, low=1)
    task_attack_steps: int = parameter(10, low=1)
    query_attack: str = parameter("adapted", choices=("adapted", "initial"))
    adversarial_rate: float | None = parameter(None, low=0)
    chunk: int = parameter(0, low=0)
    head: str = parameter("linear", choices=HEADS, later=True)
    head_penalty: float = parameter(0.1, low=1e-9, later=True)
    head_scale: float = parameter(10.0, low=1e-9, later=True)
    rotations: bool = parameter(False, later=True)
    pretrain: float = parameter(0.0, low=0, high=1, later=True)

    @property
    def second_order(self) -> bool:
        """Whether step 5 goes through the gradients of the inner steps."""
        return self.algorithm in ("maml", "anil")

    @property
    def inner_examples(self) -> int:
        """Examples of a task that step 2 takes."""
        return self.support + self.query if self.algorithm == "reptile" else self.support

    @property
    def task_attacks(self) -> tuple[str, ...]:
        """The attacks that the tasks of "attacks" draw from."""
        seen = families.seen_attacks(self.held_out)
        with_budget = [name for name in seen if families.ATTACKS[name].norm in self.budgets]
        return self.attacks or tuple(with_budget)

    @property
    def outer_is_clean(self) -> bool:
        """Whether clean queries take part in the outer loss."""
        return self.clean_weight > 0 or self._both_parts

    @property
    def outer_is_attacked(self) -> bool:
        """Whether attacked queries take part in the outer loss."""
        return self.clean_weight < 1 or self._both_parts

    @property
    def _both_parts(self) -> bool:
        separate = self.adversarial_rate is not None
        return separate or self.outer_loss == "trades" or self.inner_loss == "crossed"
