"""What is stored and published: names of classes, and nothing of the machine's folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving import serve

import reports
from benchmark import datasets
from benchmark.config import read
from benchmark.errors import DataError
from benchmark.plans.run import make_plan
from benchmark.portable import dataset_name, without_folders
from benchmark.results import Store


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("digits", "digits"),
        ("folder:/home/someone/birds", "folder:birds"),
        ("folder:/home/someone/birds/", "folder:birds"),
        ("folder:~/birds", "folder:birds"),
        ("npz:../some/My data.npz", "npz:My data.npz"),
        ("folder:birds", "folder:birds"),
        ("folder:.", "folder:."),
    ],
)
def test_data_set_is_named_without_folders(name: str, shown: str) -> None:
    assert dataset_name(name) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("can't read /home/x/my/a.npz: no", "can't read a.npz: no"),
        ("No such file: '/home/x/y/z'", "No such file: 'z'"),
        ("npz:/home/a/b.npz changed", "npz:b.npz changed"),
        ("in ~someone/data/x.npz", "in x.npz"),
        ("(/tmp/a/b.py:12)", "(b.py:12)"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("eps 8/255, see logs/torch-1.log", "eps 8/255, see logs/torch-1.log"),
    ],
)
def test_reasons_are_told_without_folders(text: str, shown: str) -> None:
    assert without_folders(text) == shown


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of birds that a mean grey level tells apart."""
    root = tmp_path_factory.mktemp("secret") / "birds"
    rng = np.random.default_rng(0)
    for name, low in (("crow", 0), ("owl", 128)):
        (root / name).mkdir(parents=True)
        for number in range(25):
            pixels = rng.integers(low, low + 100, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def published(birds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Results of a real cell on birds and their site."""
    out = tmp_path_factory.mktemp("results")
    settings: dict[str, Any] = {
        "dataset": f"folder:{birds}",
        "defense": ["none"],
        "framework": ["torch"],
        "model": "cnn-small",
        "epochs": 15,
        "eps": 0.5,
        "attacks": {"pgd": {"max_iter": 3}, "apgd": {"max_iter": 3}, "square": {"max_iter": 3}},
        "out": out / "out",
    }
    plan = make_plan(read(settings))
    Store.create(out / "out")
    serve(*plan.jobs)
    reports.publish(out / "out", out / "site")
    return out / "out", out / "site"


def test_cell_of_a_folder_ends_well_and_names_its_classes(published: tuple[Path, Path]) -> None:
    store = Store.open(published[0])
    (cell_id,) = store.cell_ids()
    record = store.read_cell(cell_id)

    assert record is not None
    assert (record["status"], record["classes"]) == ("ok", ["crow", "owl"])
    assert record["config"]["dataset"]["name"] == "folder:birds"


def test_classes_have_their_names_on_the_pages(published: tuple[Path, Path]) -> None:
    (page,) = (published[1] / "models").glob("*/index.html")
    text = page.read_text()

    for name in ("crow", "owl"):
        assert f'<th scope="row">{name}</th>' in text  # by class, and in the confusion matrix
    assert re.search("class (crow, taken for <strong>owl|owl, taken for <strong>crow)", text)


def test_no_published_or_stored_text_holds_a_folder_of_the_machine(
    published: tuple[Path, Path], birds: Path
) -> None:
    texts = [
        path
        for root in published
        for path in root.rglob("*")
        if path.suffix in (".json", ".html", ".csv", ".js", ".yaml")
    ]

    assert len(texts) > 10
    for path in texts:
        assert str(birds.parent) not in path.read_text(), path


def test_page_of_an_older_record_shows_the_last_part_of_a_path(
    published: tuple[Path, Path], tmp_path: Path
) -> None:
    store = Store.open(published[0])
    (cell_id,) = store.cell_ids()
    record = store.read_cell(cell_id)
    assert record is not None
    config = record["config"]
    dataset = {**config["dataset"], "name": "folder:/home/someone/birds"}
    older = {**record, "config": {**config, "dataset": dataset}, "reason": "at /home/someone/x"}
    del older["classes"]
    made = Store.create(tmp_path / "older")
    made.write_cell(cell_id, older)
    reports.publish(made.path, tmp_path / "site")

    for path in (tmp_path / "site").rglob("*.*"):
        assert "someone" not in path.read_text(), path


def test_npz_names_its_classes(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((40, 4)), np.repeat([3, 7], 20)
    common = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    np.savez(tmp_path / "named.npz", **common, class_names=np.array(["crow", "owl"]))
    np.savez(tmp_path / "short.npz", **common, class_names=np.array(["crow"]))

    assert datasets.load(f"npz:{tmp_path}/named.npz").class_names == ("crow", "owl")
    with pytest.raises(DataError, match="class_names is <U4 of shape"):
        datasets.load(f"npz:{tmp_path}/short.npz")


def test_published_data_set_is_found_beside_the_others(birds: Path) -> None:
    assert datasets.load("folder:birds", data_dir=birds.parent).class_names == ("crow", "owl")
