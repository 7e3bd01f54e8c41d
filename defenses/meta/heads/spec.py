"""Meta-adversarial training of features: the head of a task is fitted to its support, closed form.

Prototypical networks (Snell et al. 2017) and R2-D2 (Bertinetto et al. 2019) under adversarial
querying (Goldblum et al. 2020, algorithm 1). For each few-way task, with the features u and the
heads of `defenses.heads.spec`:

    W       = head(u(x_S), y_S)                                        (step 1)
    x_Q_adv = A(s u(x) W, Q), a constant, where W is one, too          (step 2)
    L_t     = w l(s u(x_Q) W, y_Q) + (1 - w) l(s u(x_Q_adv) W, y_Q)    (step 3)
    g       = mean_t dL_t / dtheta, through W to the support           (step 4)

No derivative of a derivative is taken, so a task costs less than one of MAML. With outer_loss
"trades" step 3 is that of `defenses.trades.spec` and step 2 maximises its divergence.

The first share `pretrain` of the training (the first of two phases) is adversarial training on all
of the training classes at once, through the cosine of the features and the columns of the model's
last layer, which the second phase leaves alone:

    x_adv   = A(s u(x) u(V), (x, y))                                   (step 5)
    L       = w l(s u(x) u(V), y) + (1 - w) l(s u(x_adv) u(V), y)      (step 6)

with as many examples as make an update about as expensive as one of tasks, and never more.
"""

from __future__ import annotations

import numpy as np

from defenses.cost import Cost, gradients
from defenses.errors import DefenseError
from defenses.heads.spec import CLOSED_FORMS
from defenses.kernel import Arrays
from defenses.meta.parameters import MetaParameters
from defenses.perturbation.spec import pgd


def check_head(defense: MetaParameters) -> None:
    """Raises DefenseError where a closed form leaves another parameter without meaning."""
    if defense.head not in CLOSED_FORMS:
        if defense.pretrain:
            raise DefenseError(
                "pretrain needs a head that is fitted in closed form; give head centroid or ridge"
            )
        return
    refused = {
        "give distribution few-way": defense.distribution != ("few-way",),
        "leave algorithm out": defense.algorithm != "maml",
        "give inner_loss clean": defense.inner_loss != "clean",
        "leave learn_rates out": defense.learn_rates,
        "leave multi_step out": defense.multi_step > 0,
        "leave adversarial_rate out": defense.adversarial_rate is not None,
        "give query_attack adapted": defense.query_attack != "adapted",
    }
    for fix, wrong in refused.items():
        if wrong:
            raise DefenseError(
                f"head {defense.head} is fitted in closed form to the clean supports of few-way "
                f"tasks, with no inner steps; {fix}"
            )


def check_body(defense: MetaParameters, count: int) -> None:
    """Raises DefenseError where so many tensors of weights below the head are none to train."""
    if not count:
        raise DefenseError(
            f"head {defense.head} trains the layers before the model's last dense one, and none of "
            "these has weights that are trained; give a deeper model, or leave head out"
        )


def head_cost(defense: MetaParameters) -> Cost:
    """Of a task."""
    cost = gradients(defense.support)
    if defense.outer_is_attacked:
        cost += _attack_cost(defense, defense.query)
    if defense.outer_loss == "trades":
        cost += Cost(forwards=defense.query)  # what the divergence is taken from
    return cost + gradients(defense.query * _losses(defense))


def base_cost(defense: MetaParameters, count: int) -> Cost:
    """Of an update of the first phase."""
    cost = _attack_cost(defense, count) if defense.clean_weight < 1 else Cost()
    parts = (defense.clean_weight > 0) + (defense.clean_weight < 1)
    return cost + gradients(count * parts)


def base_size(defense: MetaParameters) -> int:
    """Examples of an update of the first phase."""
    one = base_cost(defense, 1).gradient_evaluations
    whole = (head_cost(defense) * defense.tasks).gradient_evaluations
    return max(1, int(whole / one))


def draw_base(
    defense: MetaParameters, generator: np.random.Generator, x: np.ndarray, y: np.ndarray
) -> Arrays:
    """A batch of the first phase, from all examples."""
    size = min(base_size(defense), len(y))
    rows = generator.choice(len(y), size, replace=False)
    images, augmented = np.asarray(x[rows]), defense.augmentation
    if augmented:
        images = augmented(generator, images)
    start = defense.threat.random_starts(generator, images.shape)
    return {"base": images, "y_base": y[rows], "base_start": start}


def batch_of(defense: MetaParameters, draws: Arrays) -> Arrays:
    """What a kernel takes: a batch of the first phase, or tasks, their examples end to end."""
    if "base" in draws:
        return {name: draws[name] for name in ("base", "y_base", "base_start")}
    shots = defense.support

    def end_to_end(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, *values.shape[2:])

    batch = {
        "support": end_to_end(draws["x"][:, :shots]),
        "query": end_to_end(draws["x"][:, shots:]),
        "start": end_to_end(draws["start"][:, shots:]),
        "y_support": draws["y"][:, :shots],  # (tasks, support)
        "y_query": end_to_end(draws["y"][:, shots:]),
    }
    return batch | ({"noise": end_to_end(draws["noise"])} if "noise" in draws else {})


def _attack_cost(defense: MetaParameters, count: int) -> Cost:
    return pgd("linf", defense.query_attack_steps).cost(count)


def _losses(defense: MetaParameters) -> int:
    return defense.outer_is_clean + defense.outer_is_attacked
