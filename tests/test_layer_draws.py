"""What a PyTorch model's own layers draw in training: the training's seed tells it, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from small_defenses import SMALL, THREAT, data  # noqa: E402
from torch import nn  # noqa: E402

import defenses  # noqa: E402
from defenses.checkpoints import Checkpoint  # noqa: E402


class Dropping(nn.Module):
    """A network with dropout; where it branches, several tasks can't be computed at once."""

    def __init__(self, *, branches: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.last, self.branches = nn.Linear(36, 16), nn.Linear(16, 3), branches
        for value in self.parameters():
            nn.init.normal_(value, std=0.3, generator=generator)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.dropout(self.first(x.flatten(1)), 0.5, self.training)
        if self.branches and not hidden.sum().isfinite():
            hidden = hidden.clamp(-1, 1)
        return self.last(hidden)


class Killed(BaseException):
    """Ends a training."""


def kill(done: float) -> None:
    if done > 0.7:
        raise Killed


# Defense, and whether the model branches.
TRAININGS = {"plain": ("none", False), "tasks one by one": ("meta-adv", True)}


@pytest.mark.parametrize(("name", "branches"), TRAININGS.values(), ids=TRAININGS)
def test_an_interrupted_fit_draws_as_an_unbroken_one(name, branches, tmp_path):
    x, y = data()
    defense = defenses.create(name, THREAT, SMALL[name])

    def fit(**more):
        return defense.fit(Dropping(branches=branches), x, y, epochs=3, seed=5, **more)

    whole = fit()
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "this one")
    with pytest.raises(Killed):
        fit(checkpoint=checkpoint, progress=kill)
    continued = fit(checkpoint=checkpoint)
    assert continued.history == whole.history
    assert np.array_equal(continued.predict(x), whole.predict(x))


def test_the_seed_tells_what_is_drawn_and_the_callers_draws_stay():
    x, y = data()
    # All examples in an update, which their order doesn't change: the seed is of dropout alone
    defense = defenses.create("none", THREAT, {"batch_size": len(x)})
    models = [Dropping(branches=False) for _ in range(3)]
    before = torch.get_rng_state()
    first, again, other = (
        defense.fit(model, x, y, epochs=3, seed=seed).predict(x)
        for model, seed in zip(models, (0, 0, 1), strict=True)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert torch.equal(torch.get_rng_state(), before)


def test_each_epoch_draws_anew():
    """Of a model that notes what its passes in training mode draw, one an epoch."""

    class Noting(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                drawn.append(torch.rand(()).item())
            return super().forward(x.flatten(1))

    drawn: list[float] = []
    x, y = data()
    defense = defenses.create("none", THREAT, {"batch_size": len(x)})
    defense.fit(Noting(36, 3), x, y, epochs=4, seed=0)
    assert len(drawn) == len(set(drawn)) == 4
