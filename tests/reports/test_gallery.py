"""Figures of stored adversarial examples."""

from __future__ import annotations

from typing import Any

import pytest

import reports
from benchmark.errors import ConfigError


def test_examples_are_shown_before_after_and_by_what_changed(synthetic: Any) -> None:
    synthetic.cell("pgd-at", robust={"fgsm": 0.8, "pgd": 0.5})

    figure = reports.plot_examples(synthetic.store.path, "digits-pgd", limit=3)

    titles = [axes.get_title() for axes in figure.axes]
    assert len(titles) == 9
    assert titles[1].startswith("taken for ")
    assert len(set(titles[2::3])) == 1  # one magnification for all
    assert titles[2].startswith("change ×")


@pytest.mark.parametrize(
    ("cell", "attack", "told"),
    [
        ("digits-pgd", "cw", "no pictures of adversarial examples under 'cw'"),
        ("x", None, "unknown"),
    ],
    ids=["attack", "cell"],
)
def test_what_is_not_there_is_refused(
    synthetic: Any, cell: str, attack: str | None, told: str
) -> None:
    synthetic.cell("pgd-at")
    with pytest.raises(ConfigError, match=told):
        reports.plot_examples(synthetic.store.path, cell, attack)
