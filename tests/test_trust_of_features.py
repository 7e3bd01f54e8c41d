"""Trust checks where features have budgets of their own look at points within these."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmark.attacks.aiming import aimed  # noqa: E402
from benchmark.estimators import pytorch  # noqa: E402
from benchmark.trust import elsewhere, promises, steps  # noqa: E402
from benchmark.trust.subject import Subject  # noqa: E402

EPS, WEIGHTS = 0.4, np.array([0.01, 0.01, 0.02, 0.0])
X = np.random.default_rng(0).uniform(0.498, 0.502, (40, 4)).astype(np.float32)


class Saturates(nn.Module):
    """Smooth near the examples, and flat in float32 far beyond the budgets of their features."""

    def forward(self, x):
        z = torch.tanh(800 * (x - 0.5)).sum(dim=1)
        return torch.stack([z, -z], dim=1)


@pytest.fixture(scope="module")
def subject():
    wrap = partial(pytorch.wrap, input_shape=(4,), classes=2, device="cpu")
    y = (X - 0.5).sum(axis=1) < 0
    model, index = Saturates(), np.arange(len(X))
    target = aimed(model, wrap, X, y.astype(int), averaged=pytorch.averaged, index=index)
    return Subject(
        target.estimator, target.once, X, target.y, target.clean_prediction, "linf", EPS, 0, [],
        judge=target.judge, weights=WEIGHTS,
    )  # fmt: skip


@pytest.mark.parametrize("check", [steps.moves_with_its_input, promises.keeps_its_promise])
def test_a_model_is_looked_at_within_the_budgets_of_its_features(check, subject):
    finding = check(subject)
    assert finding.status == "passed", finding
    assert finding.evidence.get("examples", len(X)) == len(X)


@pytest.mark.parametrize(
    ("change", "is_new"),
    [
        ([0.004, -0.004, 0.008, 0], False),
        ([0.0, 0.006, 0, 0], True),
        ([0.0, 0, 0, 0.001], True),
    ],
    ids=["at the edge", "beyond that of one feature", "of an immutable feature"],
)
def test_a_point_is_new_outside_the_budgets_of_its_features(change, is_new, subject):
    alone = replace(subject, x=X[:1])
    point = X[:1] + np.array([change], dtype=np.float32)
    assert elsewhere._is_new(alone, point).tolist() == [is_new]
