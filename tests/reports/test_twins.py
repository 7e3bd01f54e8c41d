"""Why the two frameworks' models differ: where their trainings part, by what they logged."""

from __future__ import annotations

from typing import Any

import pytest

import reports
from reports.records import read
from reports.site import twins

EPOCHS = 5
LOSS = [2.0 / epoch for epoch in range(1, EPOCHS + 1)]


def why(
    synthetic: Any,
    gaps: list[float | None] | None,
    device: str = "cpu",
    *,
    epochs: int = EPOCHS,
    **more: bool,
) -> str:
    """The sentence about two trainings whose losses are so far apart."""
    for framework in ("torch", "tensorflow"):
        cell_id = synthetic.cell("pgd-at", framework)
        store = synthetic.store
        training = store.read_stage(cell_id, "training")
        apart = [0.0] * epochs if framework == "torch" else gaps
        history = [
            {"epoch": epoch, "loss": None if gap is None else loss * (1 - gap)}
            for epoch, (loss, gap) in enumerate(zip(LOSS, apart or [], strict=False), 1)
        ]
        weights = {"weights.safetensors": lambda path: path.write_bytes(b"w")}
        store.write_stage(cell_id, "training", {**training, "history": history}, weights)
        if framework == "tensorflow":
            store.write_cell(cell_id, {**store.read_cell(cell_id), "device": device})
    return twins.why(*read(store.path).cells, **more)


@pytest.mark.parametrize(
    ("gaps", "told"),
    [
        (
            [1e-7, 1e-7, 2e-5, 1e-3, 0.05],
            "One training up to epoch 3, where the losses agree to 2e-05",
        ),
        ([1e-7, 1e-7, 2e-5, 1e-3, 0.05], "parts them: 5.0 % in the last of 5."),
        ([1e-7] * EPOCHS, "One training: the losses of all 5 epochs agree to 1e-07"),
        ([0.02] * EPOCHS, "2.0 % apart in the first epoch already, more than rounding makes"),
        ([1e-7, None, 0, 0, 0], "What the trainings logged can't be compared."),
        (None, "What the trainings logged can't be compared."),
    ],
    ids=["parted", "in the end", "one", "another cause", "one not finite", "not logged"],
)
def test_where_two_trainings_part_is_told(
    synthetic: Any, gaps: list[float | None] | None, told: str
) -> None:
    assert told in why(synthetic, gaps)


def test_one_epoch_is_told_in_the_singular(synthetic: Any) -> None:
    told = why(synthetic, [1e-7], epochs=1)
    assert told.startswith("One training: the loss of the one epoch agrees to 1e-07; single")


def test_nobody_falls_on_either_side_where_every_outcome_is_the_same(synthetic: Any) -> None:
    assert why(synthetic, [1e-7] * EPOCHS, same=True).endswith("no example has another outcome.")
    page = reports.publish(synthetic.store.path).parent / "frameworks.html"
    assert "no example has another outcome" in page.read_text()


def test_other_devices_are_told(synthetic: Any) -> None:
    assert why(synthetic, [0.0] * EPOCHS, "gpu").endswith("different devices: gpu and cpu.")


def test_the_page_tells_it_of_each_pair(synthetic: Any) -> None:
    why(synthetic, [1e-7] * EPOCHS)
    page = reports.publish(synthetic.store.path).parent / "frameworks.html"
    assert "One training: the losses of all 5 epochs agree" in page.read_text()


def test_a_page_without_pairs_says_that_they_have_no_rank(synthetic: Any) -> None:
    failed = {"square": ("failed", "no memory")}
    for framework in ("torch", "tensorflow"):
        synthetic.cell("mart", framework, states=failed)
    page = reports.publish(synthetic.store.path).parent / "frameworks.html"
    assert "No defense has a rank in both frameworks yet" in page.read_text()
