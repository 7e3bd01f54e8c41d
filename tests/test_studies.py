"""What the studies of meta-learning under tests/performance/ pair: models of one training seed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

PLACE = Path(__file__).parent / "performance"


def load(name):
    spec = importlib.util.spec_from_file_location(name, PLACE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def studies():
    return load("studies")


@pytest.fixture(scope="module")
def new_domains(studies):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "studies", studies)
        return load("new_domains")


@pytest.fixture(scope="module")
def few_shot(studies):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "studies", studies)
        return load("few_shot")


def shares(**by_seed):
    return {int(name[1:]): np.array(values) for name, values in by_seed.items()}


OURS = shares(s0=[0.5, 0.7], s1=[0.4, 0.6], s2=[0.9, 1.0])


def test_values_are_paired_by_their_seed_where_one_lacks(studies):
    theirs = shares(s0=[0.5, 0.5], s2=[0.8, 0.8])
    np.testing.assert_allclose(studies.apart(OURS, theirs), [[0.0, 0.2], [0.1, 0.2]])


def test_models_that_share_no_seed_have_no_difference(studies):
    assert studies.difference(OURS, shares(s7=[0.1, 0.2])) == studies.NOTHING


def test_only_a_difference_whose_interval_excludes_0_is_bold(studies):
    raised = {seed: values + np.array([0.19, 0.21]) for seed, values in OURS.items()}
    assert studies.difference(raised, OURS).startswith("**+20.0")
    assert studies.difference(OURS, OURS) == "+0.0 (+0.0 to +0.0)"


def adapted(robust, validation):
    """One method, with one number of labels: shares of two episodes, by seed."""
    found = {seed: np.array(values)[:, None] for seed, values in robust.items()}
    told = {seed: [value] for seed, value in validation.items()}
    return SimpleNamespace(clean=found, robust=found, validation=told)


def test_a_row_is_judged_by_the_method_that_each_seeds_validation_examples_choose(new_domains):
    """Not by what is left of test examples, and only by a method of the kind."""
    found = {
        "finetune": adapted({0: [0.1, 0.1], 1: [0.9, 0.9]}, {0: 0.5, 1: 0.2}),
        "ridge": adapted({0: [0.3, 0.3], 1: [0.2, 0.2]}, {0: 0.4, 1: 0.3}),
        "finetune-adv": adapted({0: [1.0, 1.0], 1: [1.0, 1.0]}, {0: 0.9, 1: 0.9}),
    }
    clean = new_domains.Judged(found, "clean examples", 0)
    assert clean.chosen == {0: "finetune", 1: "ridge"}
    assert {seed: values.tolist() for seed, values in clean.robust.items()} == {
        0: [0.1, 0.1],
        1: [0.2, 0.2],
    }
    assert set(new_domains.Judged(found, "any", 0).chosen.values()) == {"finetune-adv"}


def of_episodes(*, episodes=3, ways=5, seen=2, share=0.5, version=1):
    """One read-out's part of a cell, of so many episodes; AutoAttack has seen some."""
    return SimpleNamespace(
        record=SimpleNamespace(
            version=version, episodes=episodes, ways=ways, shots=1, queries=5, readout="ridge"
        ),
        shares={"robust": np.full(episodes, share), "autoattack": np.full(seen, share)},
        validation=0.5,
    )


def of_seeds(found, few_shot, monkeypatch):
    monkeypatch.setattr(few_shot, "seed_of", lambda cell: cell.seed)
    return [SimpleNamespace(few_shot=ones, seed=seed) for seed, ones in found.items()]


def test_seeds_that_autoattack_saw_more_episodes_of_are_told_by_those_of_all(few_shot, monkeypatch):
    found = {0: [of_episodes(seen=2, share=0.5)], 1: [of_episodes(seen=3, share=0.7)]}
    cells = few_shot.Cells(of_seeds(found, few_shot, monkeypatch), {(5, 1): 3})
    assert cells.told((5, 1), "autoattack").startswith("60.0 ")
    assert cells.least((5, 1), "autoattack") == 2


def test_of_each_size_the_most_episodes_are_told(few_shot, monkeypatch):
    """Fewer are of tries, but twenty ways may have fewer episodes than five."""
    found = {
        0: [
            of_episodes(),
            of_episodes(episodes=2, share=0.1),
            of_episodes(episodes=2, ways=20, share=0.9),
        ]
    }
    cells = of_seeds(found, few_shot, monkeypatch)
    rows = few_shot.Cells(cells, few_shot._episodes({"row": cells}))
    shares = {size: rows.shares(size, "robust")[0].tolist() for size in rows.judged}
    assert shares == {(5, 1): [0.5] * 3, (20, 1): [0.9] * 2}


def test_a_size_that_a_row_has_not_is_a_dash(few_shot, studies, monkeypatch):
    """As where one budget was tried with fewer episodes than another has."""
    found = {0: [of_episodes(episodes=2)]}
    cells = few_shot.Cells(of_seeds(found, few_shot, monkeypatch), {(5, 1): 3})
    assert cells.told((5, 1), "robust", "ridge") == studies.NOTHING


def test_of_two_versions_of_a_protocol_the_newer_counts(few_shot, monkeypatch):
    found = {0: [of_episodes(version=2, share=0.9), of_episodes(version=1, share=0.1)]}
    cells = few_shot.Cells(of_seeds(found, few_shot, monkeypatch), {(5, 1): 3})
    assert cells.shares((5, 1), "robust")[0].tolist() == [0.9] * 3


def test_two_settings_in_one_folder_end_a_study(few_shot, studies, monkeypatch):
    found = {0: [of_episodes(share=0.9), of_episodes(share=0.1)]}
    with pytest.raises(SystemExit, match="ridge 5 1 0 was measured with several settings"):
        few_shot.Cells(of_seeds(found, few_shot, monkeypatch), {(5, 1): 3})
    cell = SimpleNamespace(record=SimpleNamespace(config=SimpleNamespace(seed=4)))
    monkeypatch.setattr(studies, "read", lambda out: SimpleNamespace(cells=[cell, cell]))
    with pytest.raises(SystemExit, match="two cells of training seed 4"):
        studies._by_seed("results")


def test_the_threats_own_family_is_told_of_rows_that_met_no_other(capsys):
    """Where one was met, that is what the model has to keep, and what was measured in its place."""
    meta_learning = load("meta_learning")
    seen = np.array([[0.5, 0.4, 0.3]] * 2)  # (episodes, steps)
    record = SimpleNamespace(steps=[0, 5, 20], tuned_steps=5)
    rows = {}
    for name, met in (("pgd-at", ""), ("bank", " (met universal)")):
        rows[name] = one = object.__new__(meta_learning.Measured)
        one.met, one.tuning = met, np.full((1, 3, 3), 0.6)
        one.families = [{"patch": SimpleNamespace(record=record, seen=seen)}]
    meta_learning.limits(rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "| pgd-at | 60.0 | 60.0 | 60.0 | 50.0 | 40.0 |",
        "| bank | 60.0 | 60.0 | 60.0 | – | – |",
    ]
