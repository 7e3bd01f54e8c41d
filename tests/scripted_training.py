"""Trainings of a kernel that computes nothing: how its accuracies go is given."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from small_defenses import THREAT

import defenses
from defenses.checkpoints import Checkpoint
from defenses.training import train


class Scripted:
    """A kernel whose weights are the number of its steps, and whose accuracies are given.

    Args:
        accuracies: an epoch's accuracy under PGD and under FGSM.
    """

    steps_per_epoch = 2

    def __init__(self, accuracies):
        self.accuracies = accuracies
        self.steps = 0

    def room(self):
        return 0

    def drawing_from(self, seed):
        return contextlib.nullcontext()

    def step(self, draws, *, learning_rate, eps):
        self.steps += 1
        return 1.0

    def attack(self, x, y, start, *, eps, ascent):
        return np.full_like(x, 0.25 if ascent.steps > 1 else 0.75)

    def predict(self, x):
        pgd, fgsm = self.accuracies[self.steps // self.steps_per_epoch - 1]
        right = {0.25: pgd, 0.75: fgsm}.get(float(x.flat[0]), 1.0) * len(x)
        return np.eye(2)[(np.arange(len(x)) >= round(right)).astype(int)]

    def weights(self):
        return {"steps": np.array(self.steps)}

    def load_weights(self, weights):
        self.steps = int(weights["steps"])

    state, load_state = weights, load_weights


COLLAPSE = [(0.4, 0.5), (0.6, 0.7), (0.1, 0.9), (0.1, 0.9), (0.1, 0.9), (0.7, 0.8)]


def scripted(accuracies, tmp_path=None, *, killed_after=None, **parameters):
    """Train a scripted kernel for six epochs of two steps; all labels are 0."""
    kernel = Scripted(accuracies)
    defense = defenses.create("fgsm-at", THREAT, {"batch_size": 100, **parameters})
    x, y = np.full((200, 3), 0.5, np.float32), np.zeros(200, int)
    told = []

    class Killed(BaseException):
        pass

    def progress(done):
        if killed_after is not None and done > killed_after:
            raise Killed

    arguments = {
        "length": defense.length(200, epochs=6, validation=20),
        "seed": 0,
        "validation": (x[:20], y[:20]),
        "notify": told.append,
        "checkpoint": tmp_path and Checkpoint(tmp_path / "checkpoint.npz", "it"),
    }
    if killed_after is not None:
        with pytest.raises(Killed):
            train(defense, kernel, x, y, progress=progress, **arguments)
        kernel = Scripted(accuracies)
    return kernel, train(defense, kernel, x, y, **arguments), told
