"""Images in folders: how they are read, and what bad ones are answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dataset_files import (
    PARTS,
    RNG,
    assert_refused,
    assert_sound,
    draw,
    draw_classes,
)
from PIL import Image

from benchmark import datasets
from benchmark.datasets.files import pixels


def test_folder_is_split_by_seed(tmp_path: Path) -> None:
    draw_classes(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a" / ".DS_Store").write_bytes(b"")
    (tmp_path / "README.txt").write_text("left out")
    data = datasets.load(f"folder:{tmp_path}")
    assert_sound(data)
    assert data.class_names == ("a", "b")
    assert [len(getattr(data, f"y_{part}")) for part in PARTS] == [14, 2, 4]
    levels = [getattr(data, f"x_{part}")[:][:, 0, 0, 0] * 255 for part in PARTS]
    assert np.sort(np.rint(np.concatenate(levels))).tolist() == [i // 2 for i in range(20)]


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "Desktop.ini"])
def test_what_systems_leave_in_a_folder_is_no_image(tmp_path: Path, name: str) -> None:
    plain = datasets.load(draw_classes(tmp_path)).fingerprint
    (tmp_path / "a" / name).write_bytes(b"no image")
    (tmp_path / "__MACOSX").mkdir()
    assert datasets.load(f"folder:{tmp_path}").fingerprint == plain


def test_folder_keeps_its_own_test_part(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", "ba", size=(5, 4))
    draw_classes(tmp_path / "test", "ab", each=3, size=(5, 4))
    data = datasets.load(f"folder:{tmp_path}")
    assert_sound(data)
    assert data.input_shape == (4, 5, 1)
    assert data.y_test.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(data.x_test[:][:, 0, 0, 0] * 255, [0, 1, 2, 0, 1, 2], atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        pytest.param("L", "png", 1, id="grey"),
        pytest.param("1", "png", 1, id="black and white"),
        pytest.param("LA", "png", 1, id="grey with alpha"),
        pytest.param("RGB", "jpg", 3, id="colour"),
        pytest.param("RGBA", "png", 3, id="colour with alpha"),
        pytest.param("P", "png", 3, id="palette"),
        pytest.param("CMYK", "jpg", 3, id="print colours"),
    ],
)
def test_one_image_of_this_mode_gives_all_these_channels(
    tmp_path: Path, mode: str, suffix: str, channels: int
) -> None:
    name = draw_classes(tmp_path)
    draw(tmp_path / "a" / f"other.{suffix}", mode=mode, value=255)
    data = datasets.load(name)
    assert_sound(data)
    assert data.input_shape == (4, 4, channels)
    whitest = max(getattr(data, f"x_{part}")[:].max() for part in PARTS)
    assert whitest == 1


def test_image_size_resizes_to_a_square(tmp_path: Path) -> None:
    name = draw_classes(tmp_path, size=(9, 4))
    draw(tmp_path / "a" / "larger.png", size=(20, 30))
    data = datasets.load(name, image_size=6)
    assert_sound(data)
    assert data.input_shape == (6, 6, 1)


XMP = '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/>'


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("jpg", "exif"), ("jpg", "xmp"), ("png", "exif"), ("tif", "exif"), ("webp", "xmp")],
)
@pytest.mark.parametrize("lying", [5, 6, 7, 8])
def test_a_photo_is_turned_upright(tmp_path: Path, suffix: str, kind: str, lying: int) -> None:
    name = draw_classes(tmp_path, size=(4, 6), mode="RGB")
    exif = Image.Exif()
    exif[0x0112] = lying
    told = {"exif": exif, "xmp": XMP.format(lying).encode()}
    Image.new("RGB", (6, 4)).save(tmp_path / "a" / f"turned.{suffix}", **{kind: told[kind]})
    assert datasets.load(name).input_shape == (6, 4, 3)


def build(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def run(root: Path) -> None:
        for step in steps:
            step(root)

    return run


SIXTEEN_BIT = np.zeros((4, 4), np.uint16)


BAD_FOLDER = [
    pytest.param(build(), "holds no class folders", id="empty folder"),
    pytest.param(
        build(lambda r: draw(r / "0.png")), "holds no class folders", id="images without classes"
    ),
    pytest.param(
        build(draw_classes, lambda r: (r / "c").mkdir()), "/c is empty", id="empty class folder"
    ),
    pytest.param(
        build(lambda r: draw_classes(r, "a")), "classes found: a; at least 2", id="one class"
    ),
    pytest.param(
        build(draw_classes, lambda r: draw_classes(r, "c", each=2)),
        r"class 'c' has 2 example\(s\) .*; at least 3",
        id="class too rare",
    ),
    pytest.param(
        build(draw_classes, lambda r: (r / "b" / "bad.png").write_text("text")),
        r"/b/bad\.png is no readable image",
        id="not an image",
    ),
    pytest.param(
        build(
            lambda r: draw_classes(r, size=(50, 50)),
            lambda r: (r / "b" / "3.png").write_bytes((r / "b" / "3.png").read_bytes()[:60]),
        ),
        r"/b/3\.png is no readable image",
        id="cut image",
    ),
    pytest.param(
        build(draw_classes, lambda r: Image.fromarray(SIXTEEN_BIT).save(r / "a" / "deep.png")),
        r"/a/deep\.png has pixels of type I;16; save it as 8-bit",
        id="16-bit image",
    ),
    pytest.param(
        build(draw_classes, lambda r: draw(r / "b" / "4.png", size=(9, 8))),
        r"/a/0\.png is 4x4 but .*/b/4\.png is 9x8; give --image-size",
        id="sizes differ",
    ),
    pytest.param(
        build(draw_classes, lambda r: draw_classes(r / "a")),
        "/a/a is a folder inside a class folder",
        id="nested folder",
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "train")), "has train/ but no test/", id="no test folder"
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "test")), "has test/ but no train/", id="no train folder"
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "train"), lambda r: draw_classes(r / "val")),
        r"has train/ \(and val/, which bench doesn't read\) but no test/; .* rename val/ to test/",
        id="val for test",
    ),
    pytest.param(
        build(lambda r: draw_classes(r / "train"), lambda r: draw_classes(r / "test", "abc")),
        "class 'c' is in test/ but not in train/",
        id="class not in train",
    ),
]


@pytest.mark.parametrize(("prepare", "says"), BAD_FOLDER)
def test_bad_folder_is_refused(tmp_path: Path, prepare: Callable[[Path], None], says: str) -> None:
    prepare(tmp_path)
    assert_refused(f"folder:{tmp_path}", says)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    assert_refused(f"folder:{tmp_path}/none", "there is no folder")


def test_an_image_keeps_its_aspect_ratio_and_loses_its_ends(tmp_path: Path) -> None:
    name = draw_classes(tmp_path)
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 255  # the centred square
    Image.fromarray(wide).save(tmp_path / "a" / "0.png")
    data = datasets.load(name, image_size=4)
    whitest = [getattr(data, f"x_{part}")[:].min(axis=(1, 2, 3)).max() for part in PARTS]
    assert max(whitest) == 1
    assert data.about["transform"].startswith("centre-cropped to a square, resized to 4x4")


def test_square_images_are_resized_as_pillow_does(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (10, 10), dtype=np.uint8)
    name = draw_classes(tmp_path, size=(10, 10))
    Image.fromarray(pixels).save(tmp_path / "b" / "0.png")
    data = datasets.load(name, image_size=4)
    resized = Image.fromarray(pixels).resize((4, 4), Image.Resampling.BILINEAR)
    expected = np.asarray(resized, np.float32)[..., np.newaxis] / 255
    held = np.concatenate([getattr(data, f"x_{part}")[:] for part in PARTS])
    assert (held == expected).all(axis=(1, 2, 3)).sum() == 1
    assert data.about["transform"] == "resized to 4x4 pixels (bilinear)"


def test_images_of_another_size_in_the_test_part_are_refused(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train")
    draw_classes(tmp_path / "test", size=(9, 9))
    assert_refused(f"folder:{tmp_path}", "is 4x4 but .*/test/a/0.png is 9x9; give --image-size")


def test_a_duplicate_of_a_training_image_in_the_test_part_is_told(tmp_path: Path) -> None:
    draw_classes(tmp_path / "train", each=10)
    draw_classes(tmp_path / "test", "a", each=3)
    draw(tmp_path / "test" / "b" / "new.png", value=200)
    data = datasets.load(f"folder:{tmp_path}")
    # Images of both classes are the same ten.
    assert (data.measured.known_test, data.measured.repeated) == (3, 10)
    assert data.notices()[0].startswith("3 of 4 test examples")


def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with more files than are decoded before they are needed."""
    monkeypatch.setattr("benchmark.datasets.folder.MANY", 10)
    return draw_classes(tmp_path)


def test_of_very_many_files_the_contents_make_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = datasets.load(draw_classes(tmp_path))
    data = datasets.load(many(tmp_path, monkeypatch))
    assert data.fingerprint != few.fingerprint
    assert data.record() == few.record()
    for part in PARTS:
        np.testing.assert_array_equal(getattr(data, f"x_{part}")[:], getattr(few, f"x_{part}")[:])
    draw(tmp_path / "b" / "9.png", value=77)
    assert datasets.load(f"folder:{tmp_path}").fingerprint != data.fingerprint
    assert datasets.load(f"folder:{tmp_path}", image_size=4).fingerprint != data.fingerprint


@pytest.mark.parametrize("part", ["train", "test"])
def test_of_very_many_files_those_of_each_part_are_in_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr("benchmark.datasets.folder.MANY", 10)
    for each in ("train", "test"):
        draw_classes(tmp_path / each)
    before = datasets.load(f"folder:{tmp_path}").fingerprint
    draw(tmp_path / part / "b" / "9.png", value=77)
    assert datasets.load(f"folder:{tmp_path}").fingerprint != before


@pytest.mark.parametrize(("files", "is_hashed"), [(20, False), (19, True)])
def test_so_many_files_are_read_as_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, is_hashed: bool
) -> None:
    name = draw_classes(tmp_path)
    as_pixels = datasets.load(name)
    assert "transform" not in as_pixels.about
    monkeypatch.setattr("benchmark.datasets.folder.MANY", files)
    assert (datasets.load(name).fingerprint != as_pixels.fingerprint) is is_hashed


def test_very_many_files_are_not_decoded_to_be_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = many(tmp_path, monkeypatch)
    monkeypatch.setattr("benchmark.datasets.files.pixels", None)
    assert datasets.load(name).input_shape == (4, 4, 1)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, in order."""
    found: list[str] = []

    def noted(path: str, image_size: int | None) -> np.ndarray:
        found.append(path)
        return pixels(path, image_size)

    monkeypatch.setattr("benchmark.datasets.files.pixels", noted)
    return found


@pytest.mark.parametrize(
    ("keep", "expected"),
    [pytest.param(True, 20, id="kept"), pytest.param(False, 40, id="read again")],
)
def test_images_are_decoded_once_where_they_may_be_kept(
    tmp_path: Path, decoded: list[str], keep: bool, expected: int
) -> None:
    data = datasets.load(draw_classes(tmp_path), keep=keep)
    first = {part: getattr(data, f"x_{part}")[:] for part in PARTS}
    assert len(decoded) == expected
    for part in PARTS:
        np.testing.assert_array_equal(getattr(data, f"x_{part}")[:], first[part])


def test_after_the_plan_only_what_is_asked_for_is_decoded(
    tmp_path: Path, decoded: list[str]
) -> None:
    draw_classes(tmp_path / "train")
    name = f"{draw_classes(tmp_path / 'test', each=4)}".removesuffix("/test")
    planned = datasets.load(name)
    decoded.clear()
    data = datasets.load(name, before=planned.measured)
    assert data.fingerprint == planned.fingerprint
    assert len(data.x_test[np.array([1, 6])]) == 2
    assert [Path(file).parent.name for file in decoded] == ["a", "b"]
    assert all("/test/" in file for file in decoded)
