"""Tiny changes of the input: which outputs count as flat."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.trust import steps


def quantised(step):
    return lambda x: np.round(x / step) * step


# What the model makes of each row's mean, and whether it is flat.
MODELS = {
    "smooth": (lambda x: np.stack([x, -x], 1), False),
    "one output is constant": (lambda x: np.stack([x, np.zeros_like(x)], 1), False),
    "flat at the least change alone": (lambda x: np.stack([quantised(3e-5)(x), -x * 0], 1), True),
    "flat at all of them": (lambda x: np.stack([quantised(0.1)(x), -x * 0], 1), True),
    "constant": (lambda x: np.zeros((len(x), 2)), True),
}


@pytest.mark.parametrize(("model", "is_flat"), MODELS.values(), ids=MODELS)
def test_a_model_is_flat_where_any_tiny_change_leaves_all_its_outputs(monkeypatch, model, is_flat):
    passed = SimpleNamespace(status="passed")
    monkeypatch.setattr(steps, "stable_outputs", lambda subject: passed)
    monkeypatch.setattr(steps, "probe_noise", lambda subject, generator: 0.0)
    subject = SimpleNamespace(
        probe=np.random.default_rng(0).uniform(0.2, 0.8, (200, 1, 1, 1)),
        generator=lambda name: np.random.default_rng(1),
        unasked=lambda: lambda x: model(x.reshape(len(x), -1).mean(axis=1).astype(np.float64)),
        lacks_gradients="none are asked for",
    )
    assert steps.moves_with_its_input(subject).status == ("flagged" if is_flat else "passed")
