"""The checks of `bench check-plugin` of data sets and models: each fault is found by its check."""

from __future__ import annotations

from pathlib import Path

import pytest
from plugins import distribution

from benchmark import frameworks

frameworks.import_torch_first()

from benchmark.conformance.report import FAILED, rows  # noqa: E402

MODEL = """
import math
import torch
from torch import nn
from benchmark.models.entry import ModelEntry

ENTRY = ModelEntry("a dense layer", {{"torch": "one:build"}})

def build(input_shape, classes):
    {first}
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes), {last})

class Constant(nn.Module):
    def forward(self, x):
        return 0 * x

class Forgetful(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = torch.rand(())  # no buffer, so that it isn't saved

    def forward(self, x):
        return x + self.shift * torch.arange(x.shape[1])

class Endless(nn.Module):
    def forward(self, x):
        return x / 0
"""
MODELS = {
    "a seed of its own": ("torch.manual_seed(3)", "", "determinism", "don't follow the seed"),
    "a loss that stays": ("", "Constant()", "trains", "its loss goes from 1.39 to 1.39"),
    "unsaved": ("", "Forgetful()", "save and load", "gives other logits when it is loaded again"),
    "no finite logits": ("", "Endless()", "builds", "gives outputs that are not finite"),
}
DATA = """
import numpy as np
from benchmark.datasets import DatasetDefaults, DatasetEntry, Source

ENTRY = DatasetEntry("one:load", "made up", DatasetDefaults({"linf": 0.1, "l2": 1, "l1": 9}, 1))

def load(request):
    x = np.random.default_rng().random((100, 8, 8, 1), dtype=np.float32)
    return Source(x, np.arange(100) % 2, ("a", "b"))
"""


def failed(kind: str, name: str) -> dict[str, str]:
    """By name of the checks that fail, what they tell."""
    return {row.name: row.text for row in rows(kind, name) if row.status == FAILED}


@pytest.mark.parametrize(("first", "last", "check", "words"), MODELS.values(), ids=MODELS)
def test_a_faulty_model_is_found(
    place: Path, first: str, last: str, check: str, words: str
) -> None:
    module = MODEL.format(first=first, last=last)
    distribution(place, "one", module=module, models={"mine": "one:ENTRY"})

    assert words in failed("models", "mine")[check]


def test_a_sound_model_passes(place: Path) -> None:
    """The one that the faulty ones differ from."""
    distribution(place, "one", module=MODEL.format(first="", last=""), models={"mine": "one:ENTRY"})

    assert failed("models", "mine") == {}


def test_data_that_are_drawn_anew_are_found(place: Path) -> None:
    distribution(place, "one", module=DATA, datasets={"made-up": "one:ENTRY"})

    found = failed("datasets", "made-up")

    assert list(found) == ["determinism"]
    assert "when it is loaded again" in found["determinism"]
