"""Images in files: what is read of them later, and of some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dataset_files import assert_refused, draw, draw_classes
from PIL import Image
from test_named_datasets import gtsrb

from benchmark import datasets
from benchmark.datasets.files import Files, look
from benchmark.errors import DataError


def some_files(folder: Path, *, keep: bool) -> Files:
    """Five grey images of 4x4 pixels, the third of level 2, with the digests of their contents."""
    for level in range(5):
        draw(folder / f"{level}.png", value=level)
    paths = [str(folder / f"{level}.png") for level in range(5)]
    digests = look(paths, hashed=True).digests
    return Files(paths, (4, 4, 1), image_size=None, digests=digests, keep=keep)


@pytest.mark.parametrize("keep", [True, False])
def test_some_of_them_are_as_they_were_among_all(tmp_path: Path, keep: bool) -> None:
    files = some_files(tmp_path, keep=keep)
    chosen = files.some(np.array([3, 1]))
    assert chosen.shape == (2, 4, 4, 1)
    assert chosen[np.array([0, 1, 0])][:, 0, 0, 0].tolist() == [3, 1, 3]
    assert files.digests is not None
    np.testing.assert_array_equal(chosen.digests, files.digests[[3, 1]])
    for path in files.paths:
        Path(path).unlink()
    if keep:
        assert chosen[np.array([1])][0, 0, 0, 0] == 1
    else:
        with pytest.raises(DataError, match=r"1\.png is no readable image"):
            chosen[np.array([1])]


def test_more_than_may_be_kept_is_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.datasets.files.KEPT", 5 * 16 - 1)
    files = some_files(tmp_path, keep=True)
    draw(tmp_path / "2.png", value=7)
    assert [files[np.array([2])].max() for _ in "12"] == [7, 7]
    draw(tmp_path / "2.png", value=9)
    assert files[np.array([2])].max() == 9


@pytest.mark.parametrize("size", [(1, 1), (4, 1), (8, 4)])
def test_an_image_that_has_another_size_when_it_is_read_is_refused(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    """One pixel would fill them all."""
    files = some_files(tmp_path, keep=False)
    draw(tmp_path / "2.png", size=size)
    with pytest.raises(DataError, match=rf"2\.png is {size[0]}x{size[1]}, others are 4x4"):
        files[np.array([2])]


def test_a_device_among_images_is_refused(tmp_path: Path) -> None:
    """Some, such as /dev/zero, could be read for ever."""
    name = draw_classes(tmp_path)
    (tmp_path / "b" / "bad.png").symlink_to("/dev/null")
    assert_refused(name, r"/b/bad\.png is no readable image \(it is not a regular file\)")


def test_an_image_that_its_decoder_gives_up_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(_: object) -> None:
        raise RuntimeError("Failed to decode image: Missing or empty image item")  # as of AVIF

    name = draw_classes(tmp_path)
    monkeypatch.setattr(Image, "open", give_up)
    assert_refused(name, r"/a/0\.png is no readable image \(Failed to decode image")


@pytest.mark.parametrize("there", ["val", "valid", "validation", "dev"])
def test_a_part_for_choosing_does_not_take_the_place_of_training(
    tmp_path: Path, there: str
) -> None:
    draw_classes(tmp_path / "test")
    draw_classes(tmp_path / there)
    assert_refused(f"folder:{tmp_path}", rf"has test/ \(and {there}/, .* no train/; .* alone$")


def test_classes_and_images_go_by_name(tmp_path: Path) -> None:
    for number, name in enumerate(("b1", "a2", "a10")):
        for file in ("z1", "y2", "y10"):
            draw(tmp_path / name / f"{file}.png", value=number)
    data = datasets.load(f"folder:{tmp_path}")
    assert data.class_names == ("a10", "a2", "b1")
    names = [Path(path).stem for path in data.x_train.stored.paths]
    assert names == ["y10", "y2", "z1"] * 3


def test_labels_of_a_test_part_are_those_of_its_own_folders(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", "abc")
    draw_classes(tmp_path / "test", "c", each=2)
    draw_classes(tmp_path / "test", "b", each=1)
    assert datasets.load(f"folder:{tmp_path}").y_test.tolist() == [1, 2, 2]


def test_the_size_that_is_asked_for_goes_before_that_of_a_named_set(tmp_path: Path) -> None:
    gtsrb(tmp_path)
    assert datasets.load("gtsrb", data_dir=tmp_path, image_size=8).input_shape == (8, 8, 3)
