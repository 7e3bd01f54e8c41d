"""Published recipes as parameters of `meta-adv`.

What differs from the papers: tasks are drawn as `distribution` says (the papers' are few-way), the
budget is the threat's, and the schedule and the warm-up of eps are those of every defense here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Yin et al. 2018, "Adversarial meta-learning", algorithm 1: FGSM on both sets, inner rate .01,
    # outer rate .001 for each of two gradients; here for their mean, hence twice that.
    "adml": {
        "algorithm": "maml",
        "inner_loss": "crossed",
        "clean_weight": 0.5,
        "inner_rate": 0.01,
        "support_attack_steps": 1,
        "query_attack_steps": 1,
        "query_attack": "initial",
        "optimizer": "sgd",
        "learning_rate": 0.002,
    },
    # Goldblum et al. 2020, "Adversarially robust few-shot learning: a meta-learning approach",
    # algorithm 1: 5 ways with 15 shots and 6 queries each, 8 tasks, PGD-7 on the query alone.
    "aq": {
        "algorithm": "maml",
        "tasks": 8,
        "support": 75,
        "query": 30,
        "ways": 5,
        "inner_loss": "clean",
        "clean_weight": 0.0,
        "query_attack_steps": 7,
        "optimizer": "sgd",
        "learning_rate": 0.1,
    },
    # Wang et al. 2021, "On fast adversarial robustness adaptation in model-agnostic meta-learning":
    # FGSM-RS at theta_K, an Adam each for the clean and the adversarial loss; first order, as the
    # authors' code is.
    "r-maml": {
        "algorithm": "fomaml",
        "tasks": 4,
        "support": 25,
        "query": 75,
        "ways": 5,
        "inner_steps": 5,
        "inner_rate": 0.01,
        "inner_loss": "clean",
        "query_attack_steps": 1,
        "learning_rate": 1e-3,
        "adversarial_rate": 2e-4,
    },
}
# Goldblum et al. 2020 with their best head, that of Bertinetto et al. 2019 (R2-D2), and with that
# of Snell et al. 2017 (prototypical networks).
_EPISODES = {**PRESETS["aq"], "distribution": ["few-way"]}
del _EPISODES["algorithm"]
PRESETS = {
    **PRESETS,
    "aq-ridge": {**_EPISODES, "head": "ridge"},
    "aq-centroid": {**_EPISODES, "head": "centroid"},
}
# ITS-MAML: R-MAML with more shots in training than the test will have.
PRESETS = {**PRESETS, "its-maml": {**PRESETS["r-maml"], "support": 50}}
