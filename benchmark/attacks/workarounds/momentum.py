"""PGD with momentum in TensorFlow: ART's TensorFlow PGD raises NotImplementedError for it."""

from __future__ import annotations

from art.attacks.evasion import MomentumIterativeMethod as ArtMomentumIterativeMethod
from art.attacks.evasion import ProjectedGradientDescent as ArtProjectedGradientDescent
from art.attacks.evasion import ProjectedGradientDescentNumpy, ProjectedGradientDescentTensorFlowV2


class ProjectedGradientDescent(ArtProjectedGradientDescent):
    """ART's PGD, by its NumPy code where its TensorFlow code can't."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        _mend(self)


class MomentumIterativeMethod(ArtMomentumIterativeMethod):
    """ART's PGD with momentum, the same."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        _mend(self)


def _mend(attack: ArtProjectedGradientDescent) -> None:
    inner = attack._attack
    if inner.decay is None or not isinstance(inner, ProjectedGradientDescentTensorFlowV2):
        return
    attack._attack = ProjectedGradientDescentNumpy(
        attack.estimator,
        norm=attack.norm,
        eps=attack.eps,
        eps_step=attack.eps_step,
        decay=inner.decay,
        max_iter=attack.max_iter,
        targeted=attack.targeted,
        num_random_init=attack.num_random_init,
        batch_size=attack.batch_size,
        random_eps=attack.random_eps,
        verbose=attack.verbose,
    )
