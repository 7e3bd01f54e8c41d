"""ZOO, which fails on inputs of fewer values than it asks about at a time."""

from __future__ import annotations

import numpy as np
from art.attacks.evasion import ZooAttack as ArtZooAttack

from benchmark.estimators.estimator import Classifier


class ZooAttack(ArtZooAttack):
    """ART's ZOO, which asks about all values at once where there are no more."""

    def __init__(self, classifier: Classifier, *, nb_parallel: int = 128, **kwargs: object) -> None:
        values = int(np.prod(classifier.input_shape))
        super().__init__(classifier, nb_parallel=min(nb_parallel, values), **kwargs)
