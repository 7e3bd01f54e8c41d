"""PyTorch models that keep no activations and compute them anew (torch.utils.checkpoint)."""

from __future__ import annotations

import numpy as np
import pytest
from ordinary_models import META_GEN, SETTINGS, data, fit

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import defenses  # noqa: E402


class Recomputing(nn.Module):
    """`reentrant` is None where it keeps its activations as others do."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.reentrant = reentrant
        self.first, self.last = nn.Linear(36, 8), nn.Linear(8, 3)

    def hidden(self, x):
        return torch.tanh(self.first(x))

    def forward(self, x):
        x = x.flatten(1)
        if self.reentrant is None:
            return self.last(self.hidden(x))
        return self.last(checkpoint(self.hidden, x, use_reentrant=self.reentrant))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # where it predicts
@pytest.mark.parametrize("name", sorted(SETTINGS.keys() - {"none"}))
def test_the_reentrant_kind_is_told_what_works(name):
    with pytest.raises(defenses.DefenseError, match=r"give use_reentrant=False$") as raised:
        fit(name, Recomputing(True), *data())
    assert "\n" not in str(raised.value)


WITH_OTHER_WEIGHTS = {
    "maml": ("meta-adv", {}),
    "one by one": ("meta-adv", {"chunk": 1}),  # whose gradient is wrong, and so that of awp
    "fomaml": ("meta-adv", {"algorithm": "fomaml"}),
    "fomaml, one by one": ("meta-adv", {"algorithm": "fomaml", "chunk": 1}),
    "reptile": ("meta-adv", {"algorithm": "reptile"}),
    "snapshots": ("meta-gen", META_GEN),
    "perturbed": ("awp", {}),
    "looking ahead": ("mng-ac", {}),
}


@pytest.mark.parametrize(("name", "more"), WITH_OTHER_WEIGHTS.values(), ids=WITH_OTHER_WEIGHTS)
def test_it_is_refused_where_other_weights_stand_in(name, more):
    told = r"hooks on saved tensors, as torch.utils.checkpoint does: .* turn that off"
    with pytest.raises(defenses.DefenseError, match=told) as raised:
        fit(name, Recomputing(False), *data(), **more)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["none", "pgd-at", "trades", "free-at"])
def test_it_is_trained_like_others_elsewhere(name):
    x, y = data()
    found = [fit(name, Recomputing(kind), x, y).predict(x) for kind in (False, None)]
    assert np.allclose(*found, atol=1e-6)
