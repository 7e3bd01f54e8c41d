"""Certification as a stage: asked for by a suite, done once, the same noise in both frameworks."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
from real_results import run_under

from benchmark.attacks.suites import load_suite
from benchmark.errors import SuiteError
from benchmark.results.records import CertificationRecord
from benchmark.stages import certification
from benchmark.stages.certification import ABSTAINED

SUITE = """
certification: {sigma: 0.2, n0: 20, n: 100, examples: 8}
attacks: {fgsm: {attack: fast-gradient}}
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text(SUITE)
    return str(path)


@pytest.fixture
def ran(tmp_path):
    """Runs a small cell under the suite."""
    return functools.partial(run_under, tmp_path, SUITE)


def stored(job, store):
    stage = f"certification/{job.certification_key()}"
    cell_id = job.cell.cell_id
    name = f"{job.certification_key()}.npz"
    return store.read_stage(cell_id, stage), store.read_arrays(cell_id, stage, name)


def test_the_worker_certifies_and_resuming_finds_it(ran):
    from benchmark.resume import pending

    job, store, _ = ran(norm="l2")
    record, arrays = stored(job, store)
    record = CertificationRecord.read(record)
    assert arrays["selection"].sum(axis=1).tolist() == [20] * 8
    assert arrays["estimation"].sum(axis=1).tolist() == [100] * 8
    right = arrays["prediction"] == arrays["label"]
    assert record.certified_accuracy[0] == right.mean() > 0
    assert record.abstained == (arrays["prediction"] == ABSTAINED).sum()
    assert (record.radius_needed, record.broken) == (job.cell.eps, 0)
    assert record.certified == (right & (arrays["radius"] >= job.cell.eps)).mean()
    assert pending([job], store) == []

    (store.cell_folder(job.cell.cell_id) / f"certification/{job.certification_key()}.json").unlink()
    assert [stage.label for stage in job.pending(store)] == ["certification"]


def test_it_changes_neither_cell_nor_attacks(ran, suite):
    job, store, _ = ran()
    assert [stage.label for stage in job.stages][2:4] == ["trust checks", "certification"]
    assert list(store.read_cell(job.cell.cell_id)["suites"].values()) == [
        list(job.attack_keys().values())
    ]


def test_both_frameworks_get_the_same_noise_and_say_the_same_of_equal_weights(ran, monkeypatch):
    seen = {}
    plain = certification.smoothing.counts

    def watched(predict, x, rng, **more):
        def told(noisy):
            if len(seen.setdefault(framework, [])) < 16:  # what is attacked is the model's own
                seen[framework].append(noisy)
            return predict(noisy)

        return plain(told, x, rng, **more)

    monkeypatch.setattr(certification.smoothing, "counts", watched)
    found = {}
    for framework in ("torch", "tensorflow"):
        job, store, _ = ran(framework)
        found[framework] = stored(job, store)[1]
    for mine, theirs in zip(seen["torch"], seen["tensorflow"], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # An epoch of training on, the weights differ by rounding alone.
    for name in ("selection", "estimation"):
        assert np.abs(found["torch"][name] - found["tensorflow"][name]).max() <= 1
    assert found["torch"]["prediction"].tolist() == found["tensorflow"]["prediction"].tolist()


def test_a_certificate_that_an_attack_breaks_is_an_error_of_the_tool(ran, monkeypatch):
    def too_far(gradient, x, labels, radius, rng, *, sigma):
        return plain(gradient, x, labels, radius + 30, rng, sigma=sigma)

    plain = certification.smoothing.attacked
    monkeypatch.setattr(certification.smoothing, "attacked", too_far)
    job, store, messages = ran()
    record, arrays = stored(job, store)
    assert record["status"] == "failed"
    assert record["broken"] == arrays["broken"].sum() > 0
    assert f"changed {record['broken']} of " in record["reason"]
    assert f"test examples {arrays['test_index'][arrays['broken']][0]}" in record["reason"]
    assert "an error of this tool" in record["reason"]
    assert any(message[0] == "failed" and record["reason"] in message for message in messages)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{n: 100}", "sigma must be a number above 0"),
        ("{sigma: 0}", "sigma must be a number above 0"),
        ("{sigma: 0.25, n: 9.5}", "n must be a whole number"),
        ("{sigma: 0.25, alpha: 1}", "alpha must be a number"),
        ("{sigma: 0.25, n: 9}", "9 draws certify nothing at alpha 0.001; give n of 10 or more"),
        ("{sigma: 0.25, draws: 9}", "has the unknown key 'draws'"),
        ("true", "must be a mapping"),
    ],
)
def test_a_suite_file_is_refused_in_a_line_that_names_the_place(tmp_path, section, said):
    path = tmp_path / "one.yaml"
    path.write_text(f"certification: {section}\nattacks: {{a: {{attack: pgd}}}}")
    with pytest.raises(SuiteError, match=f"'certification'.*{said}"):
        load_suite(str(path))


def test_what_is_not_given_is_as_the_authors_have_it(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("certification: {sigma: 0.5}\nattacks: {a: {attack: pgd}}")
    found = load_suite(str(path)).certification
    assert (found.n0, found.n, found.alpha, found.examples) == (100, 100_000, 0.001, None)


def test_the_suite_has_the_attacks_of_quick():
    found, quick = load_suite("certification"), load_suite("quick")
    assert found.certification is not None
    assert quick.certification is None
    assert [one.identity() for one in found.attacks] == [one.identity() for one in quick.attacks]


def test_a_dry_run_tells_what_it_costs(bench, suite):
    run = ("run", "--defense", "none", "--framework", "torch", "--suite", suite)
    told = bench(*run, "--dry-run").out
    found = json.loads(bench(*run, "--dry-run", "--json").out)
    # 8 examples: a third for each of 20 + 100 + 100 forwards, and 20 steps of 8 draws
    assert found["certification_gradient_evaluations"] == pytest.approx(8 * (220 / 3 + 160))
    assert "certification takes about 1,867 gradient evaluations" in told
