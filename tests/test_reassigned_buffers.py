"""PyTorch models whose forward gives a buffer a new tensor: kept like one changed in place."""

from __future__ import annotations

import numpy as np
import pytest
from ordinary_models import data, fit

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from torch import nn  # noqa: E402


class Centred(nn.Module):
    """Takes off a running mean, which the pass uses as it has just made it."""

    def __init__(self, *, anew: bool, through: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.anew, self.through = anew, through
        self.last = nn.Linear(36, 3)
        self.register_buffer("mean", torch.full((36,), 0.3))
        self.register_buffer("passes", torch.tensor(0))

    def forward(self, x):
        x = x.flatten(1)
        mean = self.mean
        if self.training:
            mean = 0.9 * self.mean + 0.1 * x.mean(dim=0)
            mean = mean if self.through else mean.detach()
            if self.anew:
                self.mean, self.passes = mean.detach(), self.passes + 1
            else:
                with torch.no_grad():
                    self.mean.copy_(mean)
                    self.passes += 1
        return self.last(x - mean)


SETTINGS = {
    "maml": {},
    "one by one": {"chunk": 1},
    "two at once": {"chunk": 2},
    "through": {"through": True},
    "fomaml": {"algorithm": "fomaml"},
    "reptile": {"algorithm": "reptile"},
    "crossed": {"inner_loss": "crossed", "inner_steps": 2},
    "without rates of their own": {"learn_rates": True, "multi_step": 1.0},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_new_tensor_is_kept_as_one_that_is_changed_in_place(settings):
    settings = dict(settings)
    through, found = settings.pop("through", False), []
    for anew in (True, False):
        model = Centred(anew=anew, through=through)
        fit("meta-adv", model, *data(), **settings)
        found.append({name: value.numpy() for name, value in model.state_dict().items()})
    for name, value in found[1].items():
        assert np.array_equal(found[0][name], value), name
    assert found[0]["passes"] > 1
    assert not np.array_equal(found[0]["mean"], np.full(36, 0.3, np.float32))


def test_a_new_tensor_is_averaged_like_one_that_is_changed_in_place():
    found = []
    for anew in (True, False):
        model = Centred(anew=anew, through=False)
        fit("pgd-at", model, *data(), weight_averaging=0.5)
        found.append({name: value.numpy() for name, value in model.state_dict().items()})
    for name, value in found[1].items():
        assert np.array_equal(found[0][name], value), name
