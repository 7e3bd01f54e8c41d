"""The page of known answers, made from a results folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "performance" / "reproduced.py"


@pytest.fixture
def rows(monkeypatch):
    """What makes the lines of the table; of the suite that synthetic results have."""
    specification = importlib.util.spec_from_file_location("reproduced", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "SUITE", "quick")
    return module.rows


def test_it_has_the_known_networks_and_what_was_told_as_published(rows, synthetic):
    synthetic.cell("mnist_cnn_a_adv", robust={"pgd": 0.765})
    told = synthetic.cell("theirs", robust={"pgd": 0.5})
    published = {"robust_accuracy": 0.55, "source": "a paper"}
    given = {"seconds": 0.0, "source": {}, "published": published}
    synthetic.store.write_stage(told, "given", given)
    synthetic.cell("unknown", robust={"pgd": 0.4})

    (known, first), (other, second) = rows([synthetic.store.path])

    assert known.startswith("| MNIST, CNN-A-Adv | L∞ 0.15 | torch | 200 | 76.0 | 76.5 | 76.5 (")
    assert known.endswith("| +0.0 | holds |")
    assert other.startswith("| theirs | L∞ 0.15 | torch | 200 | – | 55.0 | 50.0 (")
    assert other.endswith("| −5.0 | no weaker |")
    assert first
    assert second
