"""The common corruptions: what each makes of images, against hand-worked references."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from benchmark.corruptions import CORRUPTIONS, SEVERITIES, blur, constants, corrupt, noise, weather

SHAPES = [(1, 1, 1), (3, 5, 2), (8, 8, 1), (28, 28, 1), (32, 32, 3), (20, 30, 4), (72, 40, 3)]
# Published settings trade parts of these off between severities, so that pixels tell no order.
UNORDERED = ("elastic_transform", "frost")


def images(shape, count=2):
    """Smooth ones, in [0, 1]."""
    x = np.random.default_rng(0).random((count, *shape))
    x = ndimage.gaussian_filter(x, (0, shape[0] / 12, shape[1] / 12, 0))
    low, high = x.min(), x.max()
    return ((x - low) / (high - low)).astype(np.float32)


def made(x, name, severity, seed=0, index=None):
    index = range(len(x)) if index is None else index
    return corrupt(x, name, severity, seed=seed, index=index)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_it_gives_images_of_the_same_shape_in_the_box(name, shape):
    x = images(shape)
    for severity in (1, 5):
        found = made(x, name, severity)
        assert (found.shape, found.dtype) == (x.shape, np.float32)
        assert found.min() >= 0
        assert found.max() <= 1  # nothing is NaN


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("value", [0.0, 1.0], ids=["black", "white"])
def test_it_takes_images_of_one_value(name, value):
    x = np.full((1, 16, 16, 3), value, np.float32)
    assert np.isfinite(made(x, name, 5)).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_comes_out_the_same_in_any_company(name):
    x = images((16, 16, 3), count=3)
    whole = made(x, name, 3, seed=7, index=[4, 9, 2])
    np.testing.assert_array_equal(made(x[1:2], name, 3, seed=7, index=[9]), whole[1:2])


DRAWN = [one for one in CORRUPTIONS if one not in ("defocus_blur", "zoom_blur", "brightness")]
DRAWN = [one for one in DRAWN if one not in ("contrast", "pixelate", "jpeg_compression")]


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("other", [{"seed": 1}, {"index": [1]}], ids=["seed", "index"])
def test_what_is_drawn_differs_with(name, other):
    x = images((16, 16, 3), count=1)
    assert not np.array_equal(made(x, name, 3), made(x, name, 3, **other))


@pytest.mark.parametrize("shape", [(32, 32, 3), (72, 72, 3)], ids=["small", "large"])
@pytest.mark.parametrize("name", [one for one in CORRUPTIONS if one not in UNORDERED])
def test_the_highest_severity_is_further_from_the_image_than_the_lowest(name, shape):
    x = images(shape, count=5)
    lowest, highest = (np.abs(made(x, name, severity) - x).mean() for severity in (1, 5))
    assert 0 < lowest < highest


def test_more_severe_frost_leaves_less_of_the_image():
    x = images((32, 32, 3), count=20)
    left = [np.corrcoef(made(x, "frost", level).ravel(), x.ravel())[0, 1] for level in (1, 3, 5)]
    assert left[0] > left[1] > left[2]


@pytest.mark.parametrize(
    ("shape", "name"),
    [((28, 28, 1), "CIFAR-10-C"), ((64, 64, 3), "CIFAR-10-C"), ((65, 20, 3), "ImageNet-C")],
    ids=["small", "at the limit", "large"],
)
def test_severities_follow_the_size(shape, name):
    assert constants(shape) == name
    assert SEVERITIES[name].keys() == CORRUPTIONS.keys()
    assert {len(settings) for settings in SEVERITIES[name].values()} == {5}


def test_brightness_adds_to_the_value_and_keeps_hue_and_saturation():
    x = np.array([[[[0.2, 0.4, 0.1], [0.0, 0.0, 0.0], [0.9, 0.45, 0.0]]]], np.float32)
    # Values 0.4, 0 and 0.9 become 0.7, 0.3 and 1.
    expected = [[[[0.35, 0.7, 0.175], [0.3, 0.3, 0.3], [1.0, 0.5, 0.0]]]]
    np.testing.assert_allclose(made(x, "brightness", 5), expected, atol=1e-6)


def test_contrast_goes_towards_the_mean_of_each_channel():
    x = np.array([[[[0.0, 0.5]], [[1.0, 0.7]]]], np.float32)
    expected = [[[[0.425, 0.585]], [[0.575, 0.615]]]]  # 0.15 of the distances to 0.5 and 0.6
    np.testing.assert_allclose(made(x, "contrast", 5), expected, atol=1e-6)


class Draws:
    """A generator whose draws are given."""

    def __init__(self, **draws):
        self.draws = draws

    def normal(self, scale, size):
        return scale * np.broadcast_to(self.draws["normal"], size)

    def random(self, size):
        return np.broadcast_to(self.draws["random"].pop(0), size)

    def poisson(self, rate):
        return np.round(rate) + self.draws["poisson"]

    def integers(self, low, high, size):
        return np.full(size, self.draws["integers"])


@pytest.mark.parametrize(
    ("corruption", "setting", "draws", "expected"),
    [
        (noise.gaussian_noise, 0.1, {"normal": [[[2.0]], [[-1.0]]]}, [0.7, 0.4]),
        (noise.shot_noise, 10, {"poisson": 2}, [0.7, 0.7]),
        (noise.impulse_noise, 0.3, {"random": [[[[0.2]], [[0.4]]], 0.1]}, [1.0, 0.5]),
        (noise.impulse_noise, 0.3, {"random": [[[[0.2]], [[0.4]]], 0.9]}, [0.0, 0.5]),
    ],
    ids=["gaussian", "shot", "salt", "pepper"],
)
def test_noise_with_given_draws(corruption, setting, draws, expected):
    found = corruption(np.full((2, 1, 1), 0.5), setting, Draws(**draws))
    np.testing.assert_allclose(found.ravel(), expected)


def test_glass_takes_the_value_of_a_pixel_nearby():
    x = np.arange(25.0).reshape(5, 5, 1)
    # All but two pixels at the upper and left border, and one at the others, take the one above
    # and left of them.
    found = blur.glass_blur(x, (1e-6, 1, 1), Draws(integers=-1))[..., 0]
    expected = x[..., 0].copy()
    expected[2:, 2:] = x[1:-1, 1:-1, 0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("angle", "down", "right"), [(0, 0, 1), (90, 1, 0), (-90, -1, 0)], ids=["level", "down", "up"]
)
def test_motion_smears_in_its_direction(angle, down, right):
    x = np.zeros((9, 9, 1))
    x[4, 4] = 1
    found = blur.moved(x, 1, 1, angle=angle)[..., 0]
    weights = np.exp([0, -0.5, -2]) / np.exp([0, -0.5, -2]).sum()
    for step, weight in enumerate(weights):
        assert found[4 - step * down, 4 - step * right] == pytest.approx(weight)
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("side", [5, 28, 72])
@pytest.mark.parametrize("factor", [1, 1.01, 1.3, 1.75, 2.5, 4.5])
def test_zoomed_is_the_middle_enlarged(side, factor):
    x = images((side, side, 2), count=1)[0].astype(float)
    middle = int(np.ceil(side / factor))
    top = (side - middle) // 2
    part = x[top : top + middle, top : top + middle]
    larger = ndimage.zoom(part, (factor, factor, 1), order=1, mode="nearest")
    cut = (larger.shape[0] - side) // 2
    np.testing.assert_allclose(
        blur.zoomed(x, factor), larger[cut : cut + side, cut : cut + side], atol=1e-9
    )


@pytest.mark.parametrize("setting", [(0.3, 0.4), (1.5, 0.1), (10, 0.5)], ids=str)
def test_a_lens_out_of_focus_keeps_what_is_even_and_spreads_a_point_evenly(setting):
    even = np.full((40, 40, 1), 0.3)
    np.testing.assert_allclose(blur.defocus_blur(even, setting, None), even)
    point = np.zeros((41, 41, 1))
    point[20, 20] = 1
    found = blur.defocus_blur(point, setting, None)
    np.testing.assert_allclose(found, found[::-1])
    np.testing.assert_allclose(found, found.transpose(1, 0, 2))
    assert (found > 1e-3 / setting[0]).sum() >= np.pi * int(setting[0]) ** 2


@pytest.mark.parametrize(
    ("setting", "middle", "beside"),
    # One pixel behind three taps each way: t = exp(-1 / (2 softness^2)), over (1 + 2 t)^2
    [((0.3, 0.4), 0.844973, 0.037126), ((0.5, 0.6), 0.445213, 0.111015)],
    ids=str,
)
def test_a_lens_is_as_much_out_of_focus_as_published(setting, middle, beside):
    point = np.zeros((41, 41, 1))
    point[20, 20] = 1
    found = blur.defocus_blur(point, setting, None)[..., 0]
    assert found[20, 20] == pytest.approx(middle, abs=1e-6)
    assert found[20, 21] == pytest.approx(beside, abs=1e-6)
    assert found.sum() == pytest.approx(1)


def test_fog_is_a_fractal_whose_brightest_value_stays():
    clouds = weather.plasma(20, 3, np.random.default_rng(0))
    assert clouds.shape == (32, 32)
    assert (clouds.min(), clouds.max()) == (0, 1)
    x = np.full((32, 32, 1), 0.5)
    found = weather.fog(x, (1.5, 3), np.random.default_rng(0))
    np.testing.assert_allclose(found[..., 0], (0.5 + 1.5 * clouds) * 0.5 / 2)


def test_elastic_moves_nothing_where_nothing_is_drawn():
    x = images((12, 20, 3), count=1)[0].astype(float)
    found = CORRUPTIONS["elastic_transform"](x, (0, 0, 0), np.random.default_rng(0))
    np.testing.assert_allclose(found, x, atol=1e-9)


def test_pixelate_is_the_mean_of_blocks():
    x = images((8, 8, 1), count=1)[0].astype(float)
    found = CORRUPTIONS["pixelate"](x, 0.5, None)[..., 0]
    blocks = x.reshape(4, 2, 4, 2).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_allclose(found, blocks, atol=1.01 / 255)


def test_jpeg_is_that_of_the_library_in_colour():
    x = images((16, 16, 3), count=1)
    values, stream = np.round(x[0] * 255).astype(np.uint8), io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=40)
    np.testing.assert_allclose(
        made(x, "jpeg_compression", 5)[0], np.asarray(Image.open(stream)) / 255, atol=1e-6
    )
