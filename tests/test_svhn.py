"""Street View House Numbers: how images and labels are read, and that bad files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat
from test_named_datasets import svhn

from benchmark import datasets
from benchmark.errors import DataError


def test_the_digit_zero_of_svhn_has_the_label_ten(tmp_path: Path) -> None:
    svhn(tmp_path)
    assert datasets.load("svhn", data_dir=tmp_path).y_test[:11].tolist() == [*range(1, 10), 0, 1]


def test_images_of_svhn_lie_upright(tmp_path: Path) -> None:
    svhn(tmp_path)
    images = np.arange(32 * 32 * 3 * 20).reshape(32, 32, 3, 20) % 251
    labels = np.arange(20) % 10 + 1
    savemat(tmp_path / "test_32x32.mat", {"X": images.astype(np.uint8), "y": labels})
    x = datasets.load("svhn", data_dir=tmp_path).x_test[:]
    np.testing.assert_array_equal(np.rint(x * 255), images.transpose(3, 0, 1, 2))


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        pytest.param(np.zeros((32, 32, 3, 20)), range(20), "images of float64", id="floats"),
        pytest.param(np.zeros((32, 32, 3, 9), "u1"), [1] * 20, "20 labels", id="too few images"),
        pytest.param(np.zeros((32, 32, 3, 20), "u1"), range(20), "outside 0 to 10", id="label"),
    ],
)
def test_a_bad_file_of_svhn_is_refused(
    tmp_path: Path, images: np.ndarray, labels: Any, says: str
) -> None:
    svhn(tmp_path)
    savemat(tmp_path / "test_32x32.mat", {"X": images, "y": list(labels)})
    with pytest.raises(DataError, match=rf"test_32x32.mat can't be read \(.*{says}"):
        datasets.load("svhn", data_dir=tmp_path)
