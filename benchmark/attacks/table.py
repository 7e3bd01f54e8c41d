"""Every attack that a suite may name: an explicit list, so that a suite can't load anything else.

`tests/test_attack_table.py` holds it, with `benchmark.attacks.left_out`, against ART's own list.
"""

from __future__ import annotations

from benchmark.attacks.entry import LP, AttackEntry
from benchmark.attacks.unseen import UNSEEN

_ART = "art.attacks.evasion:"
_MENDED = "benchmark.attacks.workarounds."
_OWN = "benchmark.attacks.autoattack."
_NEAREST = "benchmark.attacks.nearest."

# What the attacks after Carlini & Wagner share.
_CARLINI = ("confidence", "learning_rate", "binary_search_steps", "max_iter", "initial_const")

_GRADIENT: dict[str, AttackEntry] = {
    "fast-gradient": AttackEntry(
        target=_ART + "FastGradientMethod",
        description="one gradient step (Goodfellow et al. 2015)",
        norms=LP,
        arguments=("num_random_init",),
    ),
    "bim": AttackEntry(
        target=_MENDED + "projected_gradient:BasicIterativeMethod",
        description="gradient steps from the clean example (Kurakin et al. 2017)",
        norms=("linf",),
        arguments=("eps_step", "max_iter"),
        defaults={"eps_step": "0.1 eps"},
    ),
    "pgd": AttackEntry(
        target=_MENDED + "projected_gradient:ProjectedGradientDescent",
        description="projected gradient ascent with random starts (Madry et al. 2018)",
        norms=LP,
        arguments=("eps_step", "max_iter", "num_random_init", "decay"),
        defaults={"eps_step": "0.1 eps"},
    ),
    "momentum": AttackEntry(
        target=_MENDED + "projected_gradient:MomentumIterativeMethod",
        description="gradient ascent with momentum (Dong et al. 2018)",
        norms=LP,
        arguments=("eps_step", "max_iter", "decay"),
        defaults={"eps_step": "0.1 eps"},
    ),
    "apgd": AttackEntry(
        target=_OWN + "apgd:APGDCrossEntropy",
        description="gradient ascent with its own step sizes (Croce & Hein 2020 and 2021)",
        norms=LP,
        arguments=("eps_step", "max_iter", "nb_random_init"),
        options={"loss": ("cross-entropy", "dlr", "margin", "probability-margin")},
    ),
    "apgd-targeted": AttackEntry(
        target=_OWN + "apgd:APGDTargeted",
        description="the same on the DLR loss towards each class (Croce & Hein 2020)",
        norms=LP,
        arguments=("max_iter", "nb_random_init", "targets"),
    ),
    "fab-targeted": AttackEntry(
        target=_OWN + "fab:FABTargeted",
        description="steps onto the boundary to each class, until in the budget (2020)",
        norms=LP,
        arguments=("max_iter", "nb_restarts", "targets"),
    ),
    "autoattack": AttackEntry(
        target=_OWN + "cascade:StandardAutoAttack",
        description="apgd, apgd-targeted, fab-targeted and square, each on what is left",
        norms=LP,
        arguments=("max_iter", "queries"),
    ),
    "acg": AttackEntry(
        target=_ART + "AutoConjugateGradient",
        description="conjugate gradients with their own step sizes (Yamamura et al. 2022)",
        # Under linf ART steps by the bare gradient instead of its sign: hardly at all.
        norms=("l2", "l1"),
        arguments=("eps_step", "max_iter", "nb_random_init"),
        defaults={"eps_step": "2 eps"},
    ),
    "racg": AttackEntry(
        target=_ART + "RescalingAutoConjugateGradient",
        description="rescaled conjugate gradients (Yamamura et al. 2024)",
        # Under linf ART steps by the bare gradient instead of its sign: hardly at all.
        norms=("l2", "l1"),
        arguments=("eps_step", "max_iter", "nb_random_init"),
        defaults={"eps_step": "2 eps"},
    ),
}

_MINIMAL_NORM: dict[str, AttackEntry] = {
    "fab": AttackEntry(
        target=_OWN + "fab:FABTargeted",
        description="steps onto the boundary to each class, ever nearer (Croce & Hein 2020)",
        norms=LP,
        arguments=("max_iter", "nb_restarts", "targets"),
        kinds=("minimal-norm",),
        fixed={"minimal": True},
    ),
    "fmn": AttackEntry(
        target=_NEAREST + "fast_minimum_norm:FastMinimumNorm",
        description="gradient steps within a shrinking and growing ball (Pintor et al. 2021)",
        norms=(*LP, "l0"),
        arguments=("max_iter", "alpha", "gamma"),
        kinds=("minimal-norm",),
        defaults={"max_iter": 1000},
    ),
    "ddn": AttackEntry(
        target=_NEAREST + "decoupled_direction_norm:DecoupledDirectionNorm",
        description="gradient steps on a shrinking and growing sphere (Rony et al. 2019)",
        norms=("l2",),
        arguments=("max_iter", "gamma", "init_norm"),
        kinds=("minimal-norm",),
        defaults={"max_iter": 1000},
    ),
    "deepfool": AttackEntry(
        target=_MENDED + "deepfool:DeepFool",
        description="steps to the nearest linearised boundary (Moosavi-Dezfooli et al. 2016)",
        norms=("l2",),
        arguments=("max_iter", "epsilon", "nb_grads"),
        kinds=("minimal-norm",),
    ),
    "newtonfool": AttackEntry(
        target=_ART + "NewtonFool",
        description="steps that lower the probability of the label (Jang et al. 2017)",
        norms=("l2",),
        arguments=("max_iter", "eta"),
        kinds=("minimal-norm",),
        probabilities=True,
    ),
    "cw-l2": AttackEntry(
        target=_ART + "CarliniL2Method",
        description="distance against a margin of logits (Carlini & Wagner 2017)",
        norms=("l2",),
        arguments=(*_CARLINI, "max_halving", "max_doubling"),
        kinds=("minimal-norm",),
    ),
    "cw-linf": AttackEntry(
        target=_ART + "CarliniLInfMethod",
        description="the same under linf, by a shrinking threshold (Carlini & Wagner 2017)",
        norms=("linf",),
        arguments=(
            "confidence",
            "learning_rate",
            "max_iter",
            "decrease_factor",
            "initial_const",
            "largest_const",
            "const_factor",
        ),
        kinds=("minimal-norm",),
        rows="one",
    ),
    "cw-l0": AttackEntry(
        target=_ART + "CarliniL0Method",
        description="the same under l0, by freezing pixels (Carlini & Wagner 2017)",
        norms=("l0",),
        arguments=(*_CARLINI, "max_halving", "max_doubling"),
        kinds=("minimal-norm", "unseen"),
    ),
    "elastic-net": AttackEntry(
        target=_ART + "ElasticNet",
        description="l1 and l2 distance against a margin of logits (Chen et al. 2018)",
        norms=("l1",),
        arguments=(*_CARLINI, "beta"),
        kinds=("minimal-norm", "unseen"),
        options={"decision_rule": ("EN", "L1", "L2")},
    ),
}

_BLACK_BOX: dict[str, AttackEntry] = {
    "square": AttackEntry(
        target=_OWN + "square:Square",
        description="random search by squares, no gradients (Andriushchenko et al. 2020)",
        norms=LP,
        arguments=("max_iter", "p_init", "nb_restarts", "rescaled"),
        kinds=("score",),
        images_only=True,
        defaults={"rescaled": True},
    ),
    "simba": AttackEntry(
        target=_MENDED + "simba:SimBA",
        description="random steps along pixels or frequencies (Guo et al. 2019)",
        norms=("linf", "l2"),
        arguments=("max_iter", "epsilon", "freq_dim", "stride"),
        kinds=("score",),
        images_only=True,
        square_only=True,
        rows="one",
        probabilities=True,
    ),
    "zoo": AttackEntry(
        target=_MENDED + "zoo:ZooAttack",
        description="Carlini-Wagner's loss by finite differences (Chen et al. 2017)",
        norms=("l2",),
        arguments=(*_CARLINI, "nb_parallel", "variable_h"),
        kinds=("minimal-norm", "score"),
        rows="one",
        # ART would search in 32x32 first, whatever the size of the images.
        fixed={"use_resize": False, "use_importance": False},
    ),
    "virtual-adversarial": AttackEntry(
        target=_ART + "VirtualAdversarialMethod",
        description="the direction in which predictions change most (Miyato et al. 2016)",
        norms=("l2",),
        arguments=("max_iter", "finite_diff"),
        kinds=("score",),
        probabilities=True,
    ),
    "threshold": AttackEntry(
        target=_MENDED + "pixel:ThresholdAttack",
        description="evolution of all pixels within linf (Vargas & Kotyan 2019)",
        norms=("linf",),
        arguments=("max_iter",),
        kinds=("score",),
        images_only=True,
        rows="one",
    ),
    "hop-skip-jump": AttackEntry(
        target="benchmark.attacks.decision.hop_skip_jump:HopSkipJump",
        description="labels only: gradients at the boundary by sampling (Chen et al. 2020)",
        norms=("linf", "l2"),
        arguments=("max_iter", "max_eval", "init_eval", "init_size"),
        kinds=("minimal-norm", "decision"),
        enough="enough",
    ),
    "boundary": AttackEntry(
        target=_MENDED + "random_states:BoundaryAttack",
        description="labels only: a walk along the boundary (Brendel et al. 2018)",
        norms=("l2",),
        arguments=(
            "max_iter",
            "delta",
            "epsilon",
            "step_adapt",
            "num_trial",
            "sample_size",
            "init_size",
        ),
        kinds=("minimal-norm", "decision"),
        rows="one",
        fixed={"targeted": False},
    ),
    "sign-opt": AttackEntry(
        target=_ART + "SignOPTAttack",
        description="labels only: signs of distance gradients (Cheng et al. 2020)",
        norms=("l2",),
        arguments=("epsilon", "num_trial", "max_iter", "query_limit", "alpha", "beta"),
        kinds=("minimal-norm", "decision"),
        rows="one",
        fixed={"targeted": False},
    ),
    "geoda": AttackEntry(
        target=_MENDED + "geoda:GeoDA",
        description="labels only: normals of the boundary (Rahmati et al. 2020)",
        norms=LP,
        arguments=("sub_dim", "max_iter", "bin_search_tol", "lambda_param", "sigma"),
        kinds=("minimal-norm", "decision"),
        images_only=True,
        square_only=True,
        rows="one",
    ),
}

ATTACKS: dict[str, AttackEntry] = {**_GRADIENT, **_MINIMAL_NORM, **_BLACK_BOX, **UNSEEN}
