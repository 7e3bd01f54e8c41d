"""Catastrophic overfitting: when it is seen, told of and undone."""

from __future__ import annotations

import pytest
import small_defenses as small
from scripted_training import COLLAPSE, scripted

import defenses
from defenses.validation import Overfitting, overfitting


def history(*accuracies):
    return [
        {"epoch": epoch, "robust_validation_accuracy": pgd, "fgsm_validation_accuracy": fgsm}
        for epoch, (pgd, fgsm) in enumerate(accuracies, 1)
    ]


HISTORIES = {
    "healthy": ([(0.1, 0.1), (0.5, 0.55), (0.7, 0.78), (0.69, 0.8)], None),
    "collapse": ([(0.6, 0.7), (0.7, 0.75), *[(0.1, 0.95)] * 3], (5, 2, True)),
    "collapse, and recovery": ([(0.6, 0.7), *[(0.2, 0.8)] * 2, (0.7, 0.9)], None),
    "collapse at the end": ([(0.7, 0.75), *[(0.55, 0.8)] * 3, (0.4, 0.9)], (5, 1, True)),
    "both fall": ([(0.7, 0.75), *[(0.3, 0.4)] * 4], None),
    "FGSM falls a little": ([(0.74, 0.95), *[(0.26, 0.91)] * 3], (4, 1, True)),
    "never robust": ([(0.12, 0.3), (0.08, 0.36), (0.1, 0.33), (0.08, 0.36)], (4, 1, False)),
    "never robust, at the end": ([(0.1, 0.1)] * 4 + [(0.08, 0.36)], (5, 1, False)),
    "apart at the beginning": ([(0.1, 0.6), (0.07, 0.87), (0.09, 0.74), (0.58, 0.8)], None),
    "apart, and rising": ([(0.0, 0.9), (0.01, 0.9), (0.02, 0.9), (0.03, 0.9)], None),
    "honest, at a large budget": ([(0.18, 0.33), (0.11, 0.29), (0.15, 0.4), (0.14, 0.34)], None),
    "a wide gap alone": ([(0.58, 0.76), (0.47, 0.81)], None),
    "the collapse counts more": (
        [(0.12, 0.3), *[(0.01, 0.6)] * 3, (0.5, 0.55), *[(0.1, 0.9)] * 3],
        (8, 5, True),
    ),
    "one epoch": ([(0.0, 0.9)], None),
}


@pytest.mark.parametrize(("accuracies", "expected"), HISTORIES.values(), ids=HISTORIES)
def test_catastrophic_overfitting_is_seen(accuracies, expected):
    found = overfitting(history(*accuracies), epochs=max(5, len(accuracies)))
    assert (found and (found.epoch, found.good_epoch, found.collapsed)) == expected


def test_a_rising_budget_is_no_overfitting():
    accuracies = history((0.1, 0.1), *[(0.01, 0.6)] * 3, (0.6, 0.7))
    assert overfitting(accuracies, after=0) is not None
    assert overfitting(accuracies, after=4) is None


def test_overfitting_is_told_in_one_line():
    line = str(Overfitting(7, 5, (0.71, 0.03), (0.8, 0.99)))
    assert line == (
        "catastrophic overfitting in epoch 7: since epoch 5, validation accuracy under PGD fell "
        "from 71.0% to 3.0%, while under FGSM it went from 80.0% to 99.0%"
    )
    line = str(Overfitting(14, 9, (0.1, 0.08), (0.2, 0.36)))
    assert line == (
        "signs of catastrophic overfitting in epoch 14: validation accuracy is 36.0% under FGSM "
        "and only 8.0% under PGD"
    )


class TestCatastrophicOverfitting:
    def test_warned_of(self):
        kernel, outcome, told = scripted(COLLAPSE)
        assert kernel.steps == 12
        assert outcome.overfitting == Overfitting(5, 2, (0.6, 0.1), (0.7, 0.9))
        assert outcome.restored_epoch is None
        assert list(outcome.notices) == told
        assert len(told) == 1
        assert "in epoch 5" in told[0]
        assert "the training went on" in told[0]

    def test_not_seen_while_the_budget_rises(self):
        _, outcome, told = scripted(COLLAPSE, eps_warmup=1.0)
        assert (outcome.overfitting, told) == (None, [])

    def test_undone(self):
        kernel, outcome, told = scripted(COLLAPSE, on_overfit="restore")
        assert kernel.steps == 4, "the weights after epoch 2"
        assert outcome.restored_epoch == 2
        assert len(outcome.history) == 5
        assert outcome.steps == 10
        assert "the weights of epoch 2 were restored" in told[0]

    def test_nothing_to_go_back_to(self):
        never = [(0.1, 0.1), (0.05, 0.2), (0.0, 0.6), (0.0, 0.7), (0.0, 0.8), (0.0, 0.8)]
        kernel, outcome, told = scripted(never, on_overfit="restore")
        assert kernel.steps == 12
        assert outcome.restored_epoch is None
        assert "no earlier epoch was robust, so the training went on" in told[0]

    @pytest.mark.parametrize("killed_after", [0.4, 0.7, 0.8])
    def test_undone_after_an_interruption(self, killed_after, tmp_path):
        kernel, outcome, _ = scripted(
            COLLAPSE, tmp_path, killed_after=killed_after, on_overfit="restore"
        )
        whole, expected, _ = scripted(COLLAPSE, on_overfit="restore")
        assert (kernel.steps, outcome) == (whole.steps, expected)

    def test_a_training_that_had_ended_is_not_continued(self, tmp_path):
        first, expected, _ = scripted(COLLAPSE, tmp_path, on_overfit="restore")
        again, outcome, told = scripted(COLLAPSE, tmp_path, on_overfit="restore")
        assert (again.steps, outcome) == (first.steps, expected)
        assert told == [], "it was told before"

    def test_not_watched_without_validation_data(self):
        x, y = small.data()
        fitted = defenses.create("fgsm-rs", small.THREAT, {"batch_size": 16}).fit(
            small.build("torch"), x, y, epochs=1
        )
        assert fitted.notices == (
            "not watched for catastrophic overfitting: no validation data were given",
        )
