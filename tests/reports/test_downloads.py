"""What a model's page offers: suites that attack the same again, weights, adversarial examples."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from benchmark.attacks.suites import load_suite, suite_names
from benchmark.results import Store, npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from reports.details import load_details
from reports.records import read
from reports.site import downloads


def record_suite(synthetic: Any, suite: str) -> str:
    """A cell whose attacks are those of a suite of the project."""
    specs = [spec for spec in load_suite(suite).attacks if spec.name != "transfer"]
    cell_id: str = synthetic.cell(robust={spec.name: 0.5 for spec in specs}, cell_id="model")
    record = synthetic.store.read_cell(cell_id)
    (keys,) = record["suites"].values()
    synthetic.store.write_cell(cell_id, {**record, "suites": {suite: keys}})
    for key, spec in zip(keys, specs, strict=True):
        folder = synthetic.store.cell_folder(cell_id) / "attacks"
        content = (folder / f"{key}.npz").read_bytes()
        stored = synthetic.store.read_stage(cell_id, f"attacks/{key}")
        synthetic.store.write_stage(
            cell_id,
            f"attacks/{key}",
            {**stored, "identity": spec.identity()},
            {f"{key}.npz": lambda path, content=content: path.write_bytes(content)},
        )
    return cell_id


@pytest.mark.parametrize("suite", [name for name in suite_names() if name != "corruptions"])
def test_a_suite_is_offered_as_a_file_that_attacks_the_same(
    synthetic: Any, tmp_path: Path, suite: str
) -> None:
    record_suite(synthetic, suite)
    site = reports.publish(synthetic.store.path, tmp_path / "site").parent

    again = load_suite(str(site / "models" / "model" / f"{suite}.yaml"))

    wanted = [spec.identity() for spec in load_suite(suite).attacks]
    assert [spec.identity() for spec in again.attacks] == wanted


def test_a_model_without_attacks_offers_no_suite_and_no_comparison(synthetic: Any) -> None:
    good = synthetic.cell("good")
    failed = synthetic.cell("bad", status="failed", reason="out of memory", robust={})
    models = reports.publish(synthetic.store.path).parent / "models"
    for cell_id, offered in ((good, True), (failed, False)):
        text = (models / cell_id / "index.html").read_text(encoding="utf-8")
        assert ("Compare with others" in text) is offered
    assert "<code>--suite</code>" not in text


def test_weights_and_examples_are_on_the_site_when_they_are_asked_for(
    synthetic: Any, tmp_path: Path
) -> None:
    cell_id = synthetic.cell("pgd-at")
    index = reports.publish(synthetic.store.path, tmp_path / "site")
    folder = index.parent / "models" / cell_id
    assert not (folder / "weights.safetensors").exists()

    reports.publish(synthetic.store.path, tmp_path / "site", downloads=True)

    assert (folder / "weights.safetensors").read_bytes() == b"w"
    with np.load(folder / "examples.npz") as kept:
        stored = synthetic.arrays(cell_id, "pgd")
        key = next(name for name in kept if name.startswith("pgd") and name.endswith("adversarial"))
        np.testing.assert_array_equal(kept[key], stored["sample_adversarial"])
    page = (folder / "index.html").read_text()
    assert 'href="weights.safetensors" download' in page
    assert 'href="examples.npz" download' in page

    reports.publish(synthetic.store.path, tmp_path / "site")
    assert not (folder / "weights.safetensors").exists()


def test_claims_of_others_are_named_by_the_command_and_offered_in_whole(
    synthetic: Any, tmp_path: Path
) -> None:
    cell_id = synthetic.cell("pgd-at")
    points = {"x_adv": np.zeros((2, 8, 8, 1), np.float32), "index": np.array([3, 5])}
    record = {"key": "claims-1", "name": "claims by Jane", "author": "Jane", "text": "by hand"}
    record |= {
        "protocol_version": PROTOCOL_VERSION,
        "claimed": 2,
        "status": "ok",
        "norm": "linf",
        "eps": 0.15,
        "examples": 200,
    }
    arrays = {**synthetic.arrays(cell_id, "pgd"), **points}
    files = {"claims-1.npz": npz_writer(arrays)}
    synthetic.store.write_stage(cell_id, "claims/claims-1", record, files)

    site = reports.publish(synthetic.store.path, tmp_path / "site", downloads=True).parent

    folder = site / "models" / cell_id
    assert "--claims=claims-1.npz" in (folder / "index.html").read_text()
    with np.load(io.BytesIO((folder / "claims-1.npz").read_bytes())) as offered:
        assert {name: offered[name].tolist() for name in ("author", "text", "index")} == {
            "author": "Jane",
            "text": "by hand",
            "index": [3, 5],
        }


def test_the_same_results_give_the_same_files(synthetic: Any) -> None:
    synthetic.cell("pgd-at")
    store = Store.open(synthetic.store.path)
    (cell,) = read(store.path).cells
    first, second = (
        dict(downloads.contents(store, cell, load_details(store, cell))) for _ in range(2)
    )
    assert first == second
    assert set(first) <= set(downloads.names(cell))


def test_one_magnification_serves_every_picture_of_a_page(synthetic: Any) -> None:
    cell_id = synthetic.cell("pgd-at", robust={"pgd": 0.5})
    arrays = synthetic.arrays(cell_id, "pgd")
    clean = np.full_like(arrays["sample_clean"], 0.5)
    change = np.array([0.01, 0.02, 0.05, 0.1], np.float32)[: len(clean), None, None, None]
    arrays |= {"sample_clean": clean, "sample_adversarial": clean + change}
    synthetic.rewrite(cell_id, "pgd", npz_writer(arrays))

    page = reports.publish(synthetic.store.path).parent / "models" / cell_id / "index.html"

    assert "magnified ×5 in every picture of this page" in page.read_text()


def test_downloads_belong_to_the_site(bench: Any, synthetic: Any) -> None:
    synthetic.cell("pgd-at")
    code, _, err = bench("report", synthetic.store.path, "--format", "csv", "--downloads")
    assert (code, shlex.split(err.replace("'", ""))[2]) == (2, "--downloads")
