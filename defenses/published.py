"""How papers train on CIFAR-10, as parameters of their defenses: `preset=cifar10`.

Constants are those of the authors' code, with step sizes as shares of its eps, and moments at which
the rate falls as shares of the training. Its epochs stand beside each; nothing here sets them. What
differs: attacks are made in evaluation mode, which the papers do or don't, and inputs are not
standardised unless the model does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Presets = Mapping[str, Mapping[str, Any]]

_CIFAR10 = {
    "batch_size": 128,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "schedule": "piecewise",
    "eps_warmup": 0.0,
    "crop": 4,
    "flip": True,
}

PGD_AT: Presets = {
    # Madry et al. 2018: 80,000 updates (205 epochs); 7 steps of 2/255 against 8/255.
    "cifar10": {**_CIFAR10, "weight_decay": 2e-4, "attack_steps": 7, "relative_step": 0.25},
    # Rice et al. 2020, "Overfitting in adversarially robust deep learning": 200 epochs, of which
    # that is taken which is most robust on validation data.
    "rice2020": {
        **_CIFAR10,
        "weight_decay": 5e-4,
        "attack_steps": 10,
        "relative_step": 0.25,
        "early_stopping": 200,
    },
}

FGSM_RS: Presets = {
    # Wong et al. 2020: 15 epochs.
    "cifar10": {
        **_CIFAR10,
        "learning_rate": 0.2,
        "schedule": "triangular",
        "weight_decay": 5e-4,
        "relative_step": 1.25,
    },
}

FREE_AT: Presets = {
    # Shafahi et al. 2019: 80,000 / m updates of the rate's schedule, hence 26 epochs here.
    "cifar10": {**_CIFAR10, "weight_decay": 2e-4, "replays": 8},
}

# Steps of .007 against .031, as the code of TRADES and MART has it.
_STEPS = {"attack_steps": 10, "relative_step": 0.007 / 0.031}

TRADES: Presets = {
    # Zhang et al. 2019: a schedule of 100 epochs, which they stopped in the 76th, after a fall.
    "cifar10": {
        **_CIFAR10,
        **_STEPS,
        "weight_decay": 2e-4,
        "milestones": (0.75, 0.9),
        "beta": 6.0,
    },
}

MART: Presets = {
    # Wang et al. 2020, ResNet-18: 120 epochs, the rate falls in the 75th, the 90th and the 100th.
    "cifar10": {
        **_CIFAR10,
        **_STEPS,
        "learning_rate": 0.01,
        "weight_decay": 3.5e-3,
        "milestones": (75 / 120, 90 / 120, 100 / 120),
        "weight": 5.0,
    },
}

AWP: Presets = {
    # Wu et al. 2020: 200 epochs, over pgd-at and over trades alike.
    "cifar10": {
        **_CIFAR10,
        "weight_decay": 5e-4,
        "attack_steps": 10,
        "relative_step": 0.25,
    },
}
