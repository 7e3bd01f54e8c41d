"""The generators of meta-gen: the network's gradients held to references, and whole trainings."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import small_defenses as small  # noqa: E402
from small_generators import (  # noqa: E402
    EPS,
    FRAMEWORKS,
    INPUTS,
    PLACES,
    array,
    assign,
    batch,
    finite_differences,
    made,
)

import defenses  # noqa: E402
import defenses.generator.pytorch as generator_in_torch  # noqa: E402
from defenses.checkpoints import Checkpoint  # noqa: E402
from defenses.cost import gradients  # noqa: E402
from defenses.meta_gen.snapshots import Snapshots  # noqa: E402
from defenses.states import Parts  # noqa: E402


class TestNetwork:
    """The network of meta-gen."""

    SETTINGS = MappingProxyType(
        {
            "generator": "network",
            "batch_size": 8,
            "tasks": 1,
            "inner_steps": 1,
            "inner_rate": 0.5,
            "meta_rate": 1.0,
            "width": 4,
        }
    )

    def prepared(self, framework, **changes):
        _, kernel = made("meta-gen", framework, **{**self.SETTINGS, **changes})
        kernel.network.fit_to((INPUTS,))
        return kernel, kernel.network, 1.0 if framework == "torch" else kernel.scalar(1.0)

    def given(self, kernel, count=8):
        x, y, _ = batch(count)
        return kernel.images(x), kernel.labels(y)

    def loss(self, kernel, weights, x, y, eps):
        """The mean loss of the present classifier on the network's examples, by a new look."""
        snapshot = [array(parameter) for parameter in kernel.parameters]
        seen = kernel.scaled_gradient(x, y, [kernel.images(w) for w in snapshot])
        return array(kernel.loss_of(weights, x, y, seen, kernel.parameters, eps))

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_reptile_goes_to_where_a_step_up_the_loss_leads(self, framework):
        kernel, generator, eps = self.prepared(framework)
        x, y = self.given(kernel)
        slopes = finite_differences(
            generator.weights, lambda: self.loss(kernel, generator.weights, x, y, eps), PLACES
        )
        before = [array(weight) for weight in generator.weights]
        adapted = [array(w) for w in kernel.task(x, y, kernel.parameters, eps)]
        assert max(map(abs, slopes.values())) > 1e-3
        for (index, entry), slope in slopes.items():
            moved = adapted[index].flat[entry] - before[index].flat[entry]
            assert moved == pytest.approx(0.5 * slope, rel=1e-4, abs=1e-8)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    @pytest.mark.parametrize("steps", [1, 2])
    def test_mamls_gradient_is_that_of_finite_differences(self, steps, framework):
        kernel, generator, eps = self.prepared(framework, algorithm="maml", inner_steps=steps)
        reptile, other, _ = self.prepared(framework, inner_steps=steps)
        x, y = self.given(kernel)

        def loss():
            """Adapt to the support by plain steps, then look at the query."""
            for mine, theirs in zip(generator.weights, other.weights, strict=True):
                assign(theirs, array(mine))
            adapted = reptile.task(x[:4], y[:4], kernel.parameters, eps)
            return self.loss(kernel, adapted, x[4:], y[4:], eps)

        slopes = finite_differences(generator.weights, loss, PLACES)
        gradient = [array(g) for g in kernel.task(x, y, kernel.parameters, eps)]
        first_order = finite_differences(
            other.weights, lambda: self.loss(kernel, other.weights, x[4:], y[4:], eps), PLACES
        )
        for (index, entry), slope in slopes.items():
            assert gradient[index].flat[entry] == pytest.approx(slope, rel=1e-4, abs=1e-8)
        assert max(abs(slopes[key] - first_order[key]) for key in slopes) > 1e-4

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    @pytest.mark.parametrize("algorithm", ["reptile", "maml"])
    def test_training_goes_on_from_its_state(self, algorithm, framework):
        settings = {**self.SETTINGS, "tasks": 2, "algorithm": algorithm, "snapshot_every": 2}
        defense, whole = made("meta-gen", framework, **settings)
        generator = np.random.default_rng(0)
        draws = []
        for seed in range(5):
            x, y, _ = batch(8, seed)
            draws.append(defense.draw(generator, x.astype(np.float32), y))
        for one in draws[:3]:
            whole.step(one, learning_rate=0.1, eps=EPS)
        _, continued = made("meta-gen", framework, **settings)
        continued.load_state(whole.state())
        assert set(continued.state()) == set(whole.state())
        for kernel in (whole, continued):
            for one in draws[3:]:
                kernel.step(one, learning_rate=0.1, eps=EPS)
        for name, value in whole.state().items():
            assert np.array_equal(value, continued.state()[name]), name


def test_the_latest_snapshots_are_learned_from():
    """Of eight updates every third, of these the last two."""
    snapshots = Snapshots(Parts(), count=2, every=3)
    for update in range(8):
        snapshots.keep(lambda update=update: [np.array(update)])
    chosen = [snapshots.chosen(number)[0] for number in (0.0, 0.49, 0.5, 0.999)]
    assert chosen == [3, 3, 6, 6]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("generator", ["bank", "network"])
def test_a_part_of_the_batch_may_be_empty(generator, share, framework, tmp_path):
    """On images, because TensorFlow's convolutions take no batch without examples."""
    x, y = small.data()
    settings = {"generator": generator, "pgd_share": share, "batch_size": 24, "attack_steps": 2}
    defense = defenses.create("meta-gen", small.THREAT, settings)
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "it")
    fitted = defense.fit(small.build(framework), x, y, epochs=1, checkpoint=checkpoint)
    # None of the generator's passes, or none of the ascent's two steps
    assert (fitted.cost == gradients(4 * len(x))) is (share == 1)
    again = defense.fit(small.build(framework), x, y, epochs=1, checkpoint=checkpoint)
    assert np.array_equal(again.predict(x), fitted.predict(x))


@pytest.mark.parametrize(
    "settings",
    [
        {"generator": "bank"},
        {"generator": "network"},
        {"generator": "network", "algorithm": "maml"},
        {"generator": "bank", "pgd_share": 1.0},
        {"generator": "network", "pgd_share": 1.0},
    ],
    ids=["bank", "reptile", "maml", "no bank", "no network"],
)
def test_the_cost_is_that_of_the_passes_that_ran(settings, monkeypatch):
    defense, kernel = made("meta-gen", "torch", batch_size=9, tasks=2, **settings)
    ran = {"forwards": 0, "backwards": 0}

    def counted(output):
        ran["forwards"] += len(output)
        if output.requires_grad:
            output.register_hook(lambda g: ran.update(backwards=ran["backwards"] + len(g)))
        return output

    generate = generator_in_torch.generate
    monkeypatch.setattr(generator_in_torch, "generate", lambda *given: counted(generate(*given)))
    kernel.model.register_forward_hook(lambda module, inputs, output: counted(output))
    x, y, _ = batch(9)
    draws = defense.draw(np.random.default_rng(0), x.astype(np.float32), y)
    kernel.step(draws, learning_rate=0.1, eps=EPS)
    cost = defense.step_cost()
    assert ran["forwards"] == cost.forwards
    # Differentiating an inner step goes back through its outputs once more.
    assert ran["backwards"] == cost.backwards + cost.second_order
