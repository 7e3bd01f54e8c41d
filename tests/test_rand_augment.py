"""RandAugment: what each operation makes of an image, and the same training in both frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_defenses import SMALL, THREAT, build, data

import defenses
from defenses.rand_augment import OPERATIONS, apply

RAMP = np.linspace(0.1, 0.9, 9, dtype=np.float32).reshape(3, 3, 1)
# Each row comes from as many columns further right as it stands below the middle.
SHEARED = np.array([[0, 0.1, 0.2], [0.4, 0.5, 0.6], [0.8, 0.9, 0]], np.float32)[..., np.newaxis]
COLOUR = np.random.default_rng(0).random((6, 7, 3), dtype=np.float32)
GREY = COLOUR @ np.array([0.299, 0.587, 0.114], np.float32)

# Operation, amount, image, and what comes out.
CASES: dict[str, tuple[str, float, np.ndarray, Any]] = {
    "identity": ("identity", 1, RAMP, RAMP),
    "brighter": ("brightness", 0.5, RAMP, np.minimum(1, 1.45 * RAMP)),
    "darker": ("brightness", -1, RAMP, 0.1 * RAMP),
    "less contrast": ("contrast", -1, RAMP, 0.5 + 0.1 * (RAMP - 0.5)),
    "grey": ("saturation", -1 / 0.9, COLOUR, np.repeat(GREY[..., np.newaxis], 3, axis=2)),
    "sixteen levels": ("posterize", 1, RAMP, np.floor(16 * RAMP) / 15),
    "the brightest inverted": ("solarize", 0.5, RAMP, np.where(RAMP > 0.5, 1 - RAMP, RAMP)),
    "stretched": ("autocontrast", 1, RAMP, (RAMP - 0.1) / 0.8),
    "nothing to stretch": ("autocontrast", 1, 0 * RAMP + 0.3, 0 * RAMP + 0.3),
    "a quarter turn": ("rotate", 3, RAMP, np.rot90(RAMP)),
    "a row up": ("translate rows", 1, RAMP, [RAMP[1], RAMP[2], 0 * RAMP[0]]),
    "a column right": ("translate columns", -1, RAMP, np.roll(RAMP, 1, axis=1) * [[0], [1], [1]]),
    "columns sheared": ("shear rows", 1 / 0.3, RAMP, SHEARED),
    "rows sheared": ("shear columns", 1 / 0.3, RAMP.swapaxes(0, 1), SHEARED.swapaxes(0, 1)),
}


@pytest.mark.parametrize(("name", "amount", "image", "expected"), CASES.values(), ids=CASES)
def test_what_an_image_becomes(name: str, amount: float, image: np.ndarray, expected: Any) -> None:
    found = OPERATIONS[name](image, amount)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(8, 9, 3), (9, 8, 1)], ids=["colour", "grey"])
@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_images_stay_images(name: str, shape: tuple[int, ...], way: float) -> None:
    image = np.random.default_rng(1).random(shape, dtype=np.float32)
    before = image.copy()
    found = OPERATIONS[name](image, way)
    assert found.shape == shape
    assert found.min() >= 0
    assert found.max() <= 1
    np.testing.assert_array_equal(image, before)
    same = name == "identity" or (name, shape[-1]) == ("saturation", 1)
    assert np.allclose(found, image) == same


def test_each_image_draws_for_itself() -> None:
    x = np.tile(COLOUR, (60, 1, 1, 1))
    found = apply(np.random.default_rng(0), x, count=2, magnitude=7)
    assert len(np.unique(found, axis=0)) > 30
    assert (found.dtype, found.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(x[0], COLOUR)


@pytest.mark.parametrize("name", ["none", "pgd-at"])
def test_both_frameworks_train_on_the_same(name: str) -> None:
    x, y = data((8, 8, 3))
    on = {**SMALL[name], "rand_augment": 2, "magnitude": 9}
    # Under l2: the sign of a gradient near zero is the framework's, and the processor's.
    threat = defenses.Threat("l2", 0.5)
    ours, theirs, plain = (
        defenses.create(name, threat, parameters)
        .fit(build(framework, (8, 8, 3)), x, y, epochs=2, seed=1)
        .predict(x)
        for framework, parameters in (("torch", on), ("tensorflow", on), ("torch", SMALL[name]))
    )
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.abs(ours - plain).max() > 1e-3


BAD: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "tabular": ({"rand_augment": 1}, (30,), "^rand_augment: only images can be augmented"),
    "magnitude": ({"magnitude": 11}, (8, 8, 3), "magnitude must be from 0 to 10, got 11"),
}


@pytest.mark.parametrize(("parameters", "shape", "says"), BAD.values(), ids=BAD)
def test_refused(parameters: dict[str, Any], shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(defenses.DefenseError, match=says):
        defenses.create("none", THREAT, parameters).check_inputs(shape)


def test_it_is_recorded_where_it_is_on() -> None:
    on = defenses.create("none", THREAT, {"rand_augment": 2}).parameters()
    assert on["rand_augment"] == 2
    assert "rand_augment" not in defenses.create("none", THREAT).parameters()
