"""Attacks of kinds that defenses are rarely trained on; rows of `benchmark.attacks.table`."""

from __future__ import annotations

from benchmark.attacks.entry import LP, UNRESTRICTED, AttackEntry

_ART = "art.attacks.evasion:"
_MENDED = "benchmark.attacks.workarounds."

UNSEEN: dict[str, AttackEntry] = {
    "sigma-zero": AttackEntry(
        target="benchmark.attacks.nearest.sigma_zero:SigmaZero",
        description="descent on a smooth count of the changed values (Cina et al. 2025)",
        norms=("l0",),
        arguments=("max_iter", "learning_rate", "sigma", "threshold"),
        kinds=("minimal-norm", "unseen"),
        defaults={"max_iter": 1000},
    ),
    "sparse-rs": AttackEntry(
        target="benchmark.attacks.nearest.sparse_rs:SparseRS",
        description="random search for the values to change, no gradients (Croce et al. 2022)",
        norms=("l0",),
        arguments=("max_iter", "p_init", "nb_restarts", "rescaled"),
        kinds=("score", "unseen"),
        defaults={"max_iter": 5000},
    ),
    "jsma": AttackEntry(
        target=_MENDED + "saliency:SaliencyMapMethod",
        description="the two most salient pixels at a time (Papernot et al. 2016)",
        norms=("l0",),
        arguments=("theta", "targets"),
        kinds=("unseen",),
    ),
    "pixel": AttackEntry(
        target=_MENDED + "pixel:PixelAttack",
        description="evolution of a few pixels (Su et al. 2019; Vargas & Kotyan 2019)",
        norms=("l0",),
        arguments=("max_iter",),
        kinds=("score", "unseen"),
        images_only=True,
        rows="one",
    ),
    "spatial": AttackEntry(
        target=_MENDED + "spatial:SpatialTransformation",
        description="a grid of shifts and rotations (Engstrom et al. 2019)",
        norms=(UNRESTRICTED,),
        arguments=("max_translation", "num_translations", "max_rotation", "num_rotations"),
        kinds=("score", "unseen"),
        images_only=True,
    ),
    "shadow": AttackEntry(
        target=_MENDED + "shadow:ShadowAttack",
        description="smooth changes of light (Ghiasi et al. 2020)",
        norms=(UNRESTRICTED,),
        arguments=("sigma", "nb_steps", "learning_rate", "lambda_tv", "lambda_c", "lambda_s"),
        kinds=("gradient", "unseen"),
        images_only=True,
        channels=(1, 3),
        bare_only=True,
        rows="one",
    ),
    "wasserstein": AttackEntry(
        target=_ART + "Wasserstein",
        description="mass moved between pixels (Wong et al. 2019)",
        norms=(UNRESTRICTED,),
        arguments=(
            "eps",
            "eps_step",
            "eps_iter",
            "eps_factor",
            "max_iter",
            "regularization",
            "kernel_size",
            "conjugate_sinkhorn_max_iter",
            "projected_sinkhorn_max_iter",
        ),
        kinds=("gradient", "unseen"),
        images_only=True,
        square_only=True,
    ),
    "universal": AttackEntry(
        target=_MENDED + "universal:UniversalPerturbation",
        description="one perturbation for all examples (Moosavi-Dezfooli et al. 2017)",
        norms=LP,
        arguments=("delta", "max_iter"),
        kinds=("universal", "unseen"),
        rows="all",
        options={"attacker": ("deepfool", "fgsm", "bim", "pgd", "newtonfool")},
    ),
    "universal-targeted": AttackEntry(
        target=_MENDED + "universal:TargetedUniversalPerturbation",
        description="one perturbation that takes all examples to a class (Hirano & Takemoto 2020)",
        norms=LP,
        arguments=("delta", "max_iter", "target"),
        kinds=("universal", "unseen"),
        rows="all",
    ),
    "patch": AttackEntry(
        target=_MENDED + "patch:AdversarialPatch",
        description="one patch for all examples, anywhere (Brown et al. 2017)",
        norms=(UNRESTRICTED,),
        arguments=("max_iter", "learning_rate", "scale", "rotation_max"),
        kinds=("universal", "unseen"),
        images_only=True,
        rows="all",
    ),
}
