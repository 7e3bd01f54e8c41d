"""Corruptions as a stage: asked for by a suite, done once, the same images in both frameworks."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from real_results import run_under

from benchmark.attacks.suites import load_suite
from benchmark.errors import SuiteError
from benchmark.results.records import CorruptionsRecord
from benchmark.stages import corruptions
from benchmark.stages.corruptions import over_examples, summary

SUITE = "corruptions: true\nattacks: {fgsm: {attack: fast-gradient}}"


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(SUITE)
    return str(path)


@pytest.fixture
def ran(tmp_path):
    """Runs a small cell under the suite."""
    return functools.partial(run_under, tmp_path, SUITE)


def test_the_worker_measures_and_resuming_finds_it(ran):
    from benchmark.resume import pending

    job, store, _ = ran()
    record = CorruptionsRecord.read(store.read_stage(job.cell.cell_id, "corruptions/common"))
    arrays = store.read_arrays(job.cell.cell_id, "corruptions/common", "common.npz")
    assert arrays["prediction"].shape == arrays["correct"].shape == (15, 5, 12)
    assert record.accuracy == arrays["correct"].mean(axis=2).tolist()
    assert record.mean == pytest.approx(arrays["correct"].mean())
    assert record.constants == "CIFAR-10-C"
    assert pending([job], store) == []

    (store.cell_folder(job.cell.cell_id) / "corruptions/common.json").unlink()
    assert [stage.label for stage in job.pending(store)] == ["corruptions"]


def test_it_changes_neither_cell_nor_attacks(ran, suite):
    job, store, _ = ran()
    assert [stage.label for stage in job.stages][2:4] == ["trust checks", "corruptions"]
    plain = load_suite(suite)
    assert list(job.attack_keys()) == [spec.name for spec in plain.attacks]
    assert list(store.read_cell(job.cell.cell_id)["suites"].values()) == [
        list(job.attack_keys().values())
    ]


def test_both_frameworks_get_the_same_images(ran, monkeypatch):
    seen = {}
    plain = corruptions.corrupt

    def watched(x, name, severity, **more):
        found = plain(x, name, severity, **more)
        seen.setdefault(framework, []).append(found)
        return found

    monkeypatch.setattr(corruptions, "corrupt", watched)
    for framework in ("torch", "tensorflow"):
        ran(framework)
    assert len(seen["torch"]) == 75
    np.testing.assert_array_equal(seen["torch"], seen["tensorflow"])


def test_a_run_says_in_one_line_that_tables_have_no_corruptions():
    with pytest.raises(SuiteError, match=r"'corruptions' measures corruptions.*tabular"):
        load_suite("corruptions").check_fits("linf", (8,), 3)


@pytest.mark.parametrize("value", ["yes please", "1", "[fog]"])
def test_a_suite_file_says_yes_or_no(tmp_path, value):
    path = tmp_path / "one.yaml"
    path.write_text(f"corruptions: {value}\nattacks: {{a: {{attack: pgd}}}}")
    with pytest.raises(SuiteError, match="corruptions must be true or false"):
        load_suite(str(path))


def test_the_suite_has_the_attacks_of_quick():
    found, quick = load_suite("corruptions"), load_suite("quick")
    assert found.corruptions
    assert not quick.corruptions
    assert [one.identity() for one in found.attacks] == [one.identity() for one in quick.attacks]


def test_the_summary_is_the_mean_over_corruptions_and_severities():
    correct = np.zeros((15, 5, 4), bool)
    correct[0, 0] = [True, True, False, False]
    found = summary(correct)
    assert found["accuracy"][0] == [0.5, 0, 0, 0, 0]
    assert found["mean"] == pytest.approx(2 / 75 / 4)
    assert found["examples"] == 4


@pytest.mark.parametrize(
    ("shares", "low", "high"),
    [
        ([1.0], 0.0, 1.0),
        ([1.0] * 10, 0.662, 1.0),
        ([0.5, 0.6, 0.4, 0.5], 0.374, 0.626),
    ],
    ids=["one example", "all the same", "different ones"],
)
def test_the_interval_is_over_the_examples(shares, low, high):
    found = over_examples(np.array(shares))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
