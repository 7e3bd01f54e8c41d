"""What the studies of meta-learning under tests/performance/ pair: models of one training seed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

PLACE = Path(__file__).parent / "performance" / "studies.py"


@pytest.fixture(scope="module")
def studies():
    spec = importlib.util.spec_from_file_location("studies", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shares(**by_seed):
    return {int(name[1:]): np.array(values) for name, values in by_seed.items()}


OURS = shares(s0=[0.5, 0.7], s1=[0.4, 0.6], s2=[0.9, 1.0])


def test_values_are_paired_by_their_seed_where_one_lacks(studies):
    theirs = shares(s0=[0.5, 0.5], s2=[0.8, 0.8])
    np.testing.assert_allclose(studies.apart(OURS, theirs), [[0.0, 0.2], [0.1, 0.2]])


def test_models_that_share_no_seed_have_no_difference(studies):
    assert studies.difference(OURS, shares(s7=[0.1, 0.2])) == studies.NOTHING


def test_only_a_difference_whose_interval_excludes_0_is_bold(studies):
    raised = {seed: values + 0.2 for seed, values in OURS.items()}
    assert studies.difference(raised, OURS).startswith("**+20.0")
    assert studies.difference(OURS, OURS) == "+0.0 (+0.0 to +0.0)"
