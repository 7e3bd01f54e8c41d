"""Randomised smoothing against independent computations, ART's estimators, and attacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from benchmark import frameworks, smoothing
from benchmark.smoothing import ABSTAINED

frameworks.import_torch_first()

ROOT = Path(__file__).parent.parent
SIGMA, N0, N, ALPHA = 0.3, 20, 200, 0.01
EXAMPLES, CLASSES, SHAPE = 100, 3, (4, 4, 1)


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((EXAMPLES, *SHAPE), np.float32)


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(1).normal(size=(16, CLASSES)).astype(np.float32)


@pytest.fixture(scope="module")
def predict(weights):
    return lambda x: x.reshape(len(x), -1) @ weights


def drawn(predict, x, seed=0):
    """Counts of n0 and of n draws of each example."""
    found = []
    for number, one in enumerate(x):
        rng = np.random.default_rng([seed, number])
        found.append(
            [smoothing.counts(predict, one, rng, sigma=SIGMA, draws=draws) for draws in (N0, N)]
        )
    return map(np.stack, zip(*found, strict=True))


@pytest.fixture(scope="module")
def certified(predict, inputs):
    selection, estimation = drawn(predict, inputs)
    found = smoothing.certificates(selection, estimation, draws=N, sigma=SIGMA, alpha=ALPHA)
    return selection, estimation, *found


def test_certificates_of_100_examples_are_those_of_an_independent_computation(
    certified, weights, inputs
):
    selection, estimation, prediction, radius = certified
    for number, x in enumerate(inputs):
        rng = np.random.default_rng([0, number])
        noise = rng.standard_normal((N0 + N, 16), dtype=np.float32)
        given = ((x.reshape(1, -1) + np.float32(SIGMA) * noise) @ weights).argmax(axis=1)
        counted = [np.bincount(part, minlength=CLASSES) for part in (given[:N0], given[N0:])]
        assert counted[0].tolist() == selection[number].tolist()
        assert counted[1].tolist() == estimation[number].tolist()
        chosen = int(counted[0].argmax())
        test = binomtest(int(counted[1][chosen]), N, alternative="greater")
        low = test.proportion_ci(1 - ALPHA, method="exact").low
        if low > 0.5:
            assert prediction[number] == chosen
            assert radius[number] == pytest.approx(SIGMA * norm.ppf(low))
        else:
            assert (prediction[number], radius[number]) == (ABSTAINED, 0)
    assert 0 < (prediction == ABSTAINED).sum() < EXAMPLES


def of_art(name, weights):
    """One of ART's smoothing estimators of the linear model."""
    if name == "torch":
        import torch
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing

        linear = torch.nn.Linear(16, CLASSES, bias=False)
        linear.weight.data = torch.tensor(weights.T)
        model = torch.nn.Sequential(torch.nn.Flatten(), linear)
        return PyTorchRandomizedSmoothing(
            model=model, loss=torch.nn.CrossEntropyLoss(), input_shape=SHAPE, nb_classes=CLASSES,
            sample_size=N0, scale=SIGMA, alpha=ALPHA, device_type="cpu",
        )  # fmt: skip
    import keras
    from art.estimators.certification.randomized_smoothing import TensorFlowV2RandomizedSmoothing

    model = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(CLASSES, use_bias=False)]
    )
    model.set_weights([weights])
    return TensorFlowV2RandomizedSmoothing(
        model=model, nb_classes=CLASSES, input_shape=SHAPE,
        sample_size=N0, scale=SIGMA, alpha=ALPHA,
    )  # fmt: skip


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_certificates_are_those_of_the_estimators_of_art(
    certified, weights, inputs, framework, monkeypatch
):
    """From the same noise, in either framework."""
    _, _, prediction, radius = certified
    estimator = of_art(framework, weights)
    generators = [np.random.default_rng([0, number]) for number in range(EXAMPLES)]
    uses = iter([one for rng in generators for one in (rng, rng)])

    def noisy(x, n=None):
        noise = next(uses).standard_normal((n or N0, *SHAPE), dtype=np.float32)
        return x + np.float32(SIGMA) * noise

    monkeypatch.setattr(estimator, "_noisy_samples", noisy)
    theirs, theirs_radius = estimator.certify(inputs, n=N, batch_size=500)
    assert theirs.tolist() == prediction.tolist()
    np.testing.assert_allclose(theirs_radius, radius, rtol=1e-9)


def test_a_linear_model_is_certified_below_its_true_distance(certified, inputs, weights):
    """Of two classes the smoothed linear model is the model itself."""
    direction = weights[:, 0] - weights[:, 1]
    two = np.stack([direction, -direction], axis=1)
    selection, estimation = drawn(lambda x: x.reshape(len(x), -1) @ two, inputs)
    _, radius = smoothing.certificates(selection, estimation, draws=N, sigma=SIGMA, alpha=1e-6)
    margin = inputs.reshape(EXAMPLES, -1) @ direction
    true = np.abs(margin) / np.linalg.norm(direction)
    assert (radius <= true).all()
    assert (radius > 0.3 * true)[(true > 0.2) & (true < 0.4)].mean() > 0.5


def test_counts_do_not_depend_on_the_chunks(predict, inputs, monkeypatch):
    whole = [one.tolist() for one in drawn(predict, inputs[:5])]
    monkeypatch.setattr(smoothing, "_CHUNK", 16 * 7)
    assert [one.tolist() for one in drawn(predict, inputs[:5])] == whole


def test_an_answer_that_is_not_finite_counts_for_no_class(inputs):
    def predict(x):
        outputs = np.tile([0.0, 1.0], (len(x), 1))
        outputs[::4] = np.nan
        return outputs

    rng = np.random.default_rng(0)
    assert smoothing.counts(predict, inputs[0], rng, sigma=1.0, draws=100).tolist() == [0, 75]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([0, 10, 1], 1),
        ([6, 4, 0], ABSTAINED),
        ([7, 1, 0], ABSTAINED),  # p = 2 * 9 / 2**8 = 0.07
        ([0, 0, 0], ABSTAINED),
        ([8, 0, 0], 0),
    ],
    ids=["clear", "two are near", "two are nearly apart", "no answers", "one class"],
)
def test_a_prediction_abstains_where_two_classes_can_not_be_told_apart(counts, expected):
    first, second = sorted(counts)[-1], sorted(counts)[-2]
    told = bool(first) and binomtest(first, first + second).pvalue <= 0.05
    assert told == (expected != ABSTAINED)
    assert smoothing.decided(np.array([counts]), alpha=0.05).tolist() == [expected]


def gradient_of(weights):
    """The gradient of the cross-entropy of the linear model."""

    def gradient(x, y):
        logits = (x.reshape(len(x), -1) @ weights).astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return ((shares - np.eye(CLASSES)[y]) @ weights.T).reshape(x.shape)

    return gradient


def points(certified, inputs, gradient, factor=1.0):
    """Attacked points of the certified examples, and which these are."""
    _, _, prediction, radius = certified
    rows = np.flatnonzero(prediction != ABSTAINED)
    rng = np.random.default_rng(7)
    found = smoothing.attacked(
        gradient, inputs[rows], prediction[rows], factor * radius[rows], rng, sigma=SIGMA
    )
    return rows, found


def said_of(predict, found):
    counts = [
        smoothing.counts(predict, one, np.random.default_rng([3, k]), sigma=SIGMA, draws=1000)
        for k, one in enumerate(found)
    ]
    return smoothing.decided(np.stack(counts), alpha=ALPHA)


def at_times_without_a_number(gradient):
    """As of a model whose every eighth input under noise has an infinite loss."""

    def broken(x, y):
        found = gradient(x, y)
        found[::8] = np.nan
        found[1::8] = np.inf
        return found

    return broken


@pytest.mark.parametrize("of", [lambda gradient: gradient, at_times_without_a_number])
def test_an_attack_stays_within_each_radius_and_uses_it(certified, inputs, weights, of):
    rows, found = points(certified, inputs, of(gradient_of(weights)))
    moved = np.linalg.norm((found - inputs[rows]).reshape(len(rows), -1), axis=1)
    radius = certified[3][rows]
    assert (moved <= radius * (1 + 1e-6)).all()
    assert (moved >= radius * 0.99).all()


def test_no_certified_example_is_broken_and_far_beyond_its_radius_most_are(
    certified, inputs, weights, predict
):
    prediction = certified[2]
    rows, found = points(certified, inputs, gradient_of(weights))
    assert np.isin(said_of(predict, found), [ABSTAINED, *range(CLASSES)]).all()
    changed = said_of(predict, found) != prediction[rows]
    assert not (changed & (said_of(predict, found) != ABSTAINED)).any()

    rows, found = points(certified, inputs, gradient_of(weights), factor=4.0)
    assert (said_of(predict, found) != prediction[rows]).mean() > 0.8


def test_the_greatest_radius_is_that_of_draws_that_all_agree():
    counts = np.array([[0, N]])
    _, radius = smoothing.certificates(counts, counts, draws=N, sigma=SIGMA, alpha=ALPHA)
    most = smoothing.greatest(draws=N, sigma=SIGMA, alpha=ALPHA)
    assert radius[0] == pytest.approx(most)


@pytest.mark.parametrize(
    ("norm_", "needed"), [("l2", 0.5), ("l1", 0.5), ("linf", 2.0)], ids=["l2", "l1", "linf"]
)
def test_the_ball_of_a_threat_lies_within_the_radius_that_it_needs(norm_, needed):
    assert smoothing.needed(norm_, 0.5, SHAPE) == needed


def test_colours_count_as_values_of_their_own_in_what_a_threat_needs_as_the_page_says():
    page = " ".join((ROOT / "docs" / "how-to" / "suite.md").read_text().split())
    corner = np.full((32, 32, 3), 8 / 255)  # the farthest that L-infinity lets an image go
    needed = smoothing.needed("linf", 8 / 255, corner.shape)
    assert needed == pytest.approx(np.linalg.norm(corner))
    assert "times the root of the number of values, three a pixel of colour" in page
