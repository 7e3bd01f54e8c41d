"""The bank of perturbations and patches of meta-gen."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from small_generators import EPS, FRAMEWORKS, INPUTS, array, batch, made  # noqa: E402

import defenses  # noqa: E402
from defenses.meta_gen.bank import Bank, places  # noqa: E402


class TestBank:
    """The bank of meta-gen."""

    def test_entries_move_towards_the_mean_of_what_was_adapted_from_them(self):
        bank = Bank(3, pattern="perturbation", threat=defenses.Threat("linf", 0.3), rate=0.25)
        bank.fit_to((2,))
        bank.values[:] = [[0, 0], [1, 1], [-1, 1]]
        bank.move(np.array([0, 2, 0]), np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
        assert bank.values.tolist() == [[0.125, 0.125], [1, 1], [-1, 0.75]]

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_examples_are_those_of_the_equations(self, framework):
        defense, kernel = made(
            "meta-gen", framework, batch_size=6, pgd_share=0, bank_size=9, bank_steps=3
        )
        x, y, _ = batch()
        draws = defense.draw(np.random.default_rng(1), x.astype(np.float32), y)
        bank = kernel.bank
        bank.fit_to((INPUTS,))
        before, sizes = bank.values.copy(), bank.step_sizes
        eps = EPS if framework == "torch" else kernel.scalar(EPS)
        x = draws["x"].astype(np.float64)
        x_gen = array(kernel.generated(draws, kernel.images(x), kernel.labels(y), eps))

        def losses(patterns):
            logits = kernel.predict(np.clip(x + EPS * patterns, 0, 1))
            return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]

        tried = np.array([losses(before[column]) for column in draws["entries"].T])
        chosen = draws["entries"][np.arange(len(y)), tried.argmax(axis=0)]
        pattern = before[chosen]
        for _ in range(3):
            gradient = kernel.input_gradient(np.clip(x + EPS * pattern, 0, 1), y)
            pattern = np.clip(pattern + sizes[chosen][:, None] * np.sign(gradient), -1, 1)
        assert np.abs(x_gen - np.clip(x + EPS * pattern, 0, 1)).max() < 1e-9
        assert (losses(pattern) >= tried.max(axis=0)).mean() > 0.6
        for entry in range(9):
            mine = pattern[chosen == entry]
            mean = mine.mean(axis=0) if len(mine) else before[entry]
            expected = before[entry] + 0.25 * (mean - before[entry])
            assert bank.values[entry] == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_patches_are_pasted_at_their_places(self, framework):
        _, kernel = made("meta-gen", framework, pattern="patch")
        generator = np.random.default_rng(2)
        x, patches = generator.random((4, 6, 7, 2)), generator.random((4, 3, 3, 2))
        drawn = places(generator, 4, (6, 7), 3)
        given = [kernel.images(value) for value in (x, patches)]
        if framework == "torch":
            hot = [torch.from_numpy(drawn[n]).double() for n in ("rows", "columns")]
            pasted = kernel.arrays(kernel.with_pattern(*given, hot, EPS))
        else:
            hot = [kernel.images(drawn[n]) for n in ("rows", "columns")]
            pasted = array(kernel.with_pattern(*given, hot, EPS))
        for n in range(4):
            row, column = drawn["rows"][n].argmax(axis=0), drawn["columns"][n].argmax(axis=0)
            expected = x[n].copy()
            expected[np.ix_(row, column)] = patches[n]
            assert np.abs(pasted[n] - expected).max() < 1e-12

    def test_patches_may_be_anywhere(self):
        drawn = places(np.random.default_rng(0), 400, (6, 7), 3)
        firsts = [set(drawn[n][:, :, 0].argmax(axis=1).tolist()) for n in ("rows", "columns")]
        assert firsts == [set(range(4)), set(range(5))]

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_patches_stay_pixels(self, framework):
        _, kernel = made("meta-gen", framework, pattern="patch")
        patch = np.array([0.05, 0.5, 0.5, 0.95]).reshape(1, 2, 2, 1)
        gradient = np.array([-1.0, -2.0, 3.0, 4.0]).reshape(1, 2, 2, 1)
        given = [kernel.images(value) for value in (patch, gradient, np.array([0.1]))]
        moved = array(kernel.moved(*given, EPS)).ravel()
        assert moved == pytest.approx([0, 0.4, 0.6, 1])

    def test_patches_are_refused_for_tabular_data(self):
        defense = defenses.create("meta-gen", defenses.Threat("linf", EPS), {"pattern": "patch"})
        with pytest.raises(defenses.DefenseError, match="these data are tabular"):
            defense.check_inputs((12,))
