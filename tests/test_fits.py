"""Which inputs and which order of classes fit is found out on clean examples, and only told."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import KerasMatch, Match, checked

from benchmark import fits, frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmark.external import fitting, loading  # noqa: E402
from benchmark.external.model import ExternalModel  # noqa: E402
from benchmark.external.trial import Trial  # noqa: E402

CLASSES, COUNT = 5, 100
G = np.random.default_rng(0)
Y = np.arange(COUNT) % CLASSES
# Classes differ in their grey level, and in whether they are red or blue.
LEVELS, TINTS = np.array([0.2, 0.2, 0.5, 0.5, 0.8]), np.array([0.1, -0.1, 0.1, -0.1, 0.1])
COLOURS = np.tile(
    (LEVELS[:, None] + TINTS[:, None] * [1, 0, -1])[:, None, None], (1, 4, 4, 1)
).astype(np.float32)
X = np.clip(COLOURS[Y] + G.normal(0, 0.01, (COUNT, 4, 4, 3)), 0, 1).astype(np.float32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Nearest(nn.Module):
    """The nearest of the classes' colours, of inputs that `before` brings back to RGB in [0, 1]."""

    def __init__(self, before=lambda x: x, order=range(CLASSES)):
        super().__init__()
        self.before = before
        self.colours = torch.from_numpy(COLOURS[list(order)]).permute(0, 3, 1, 2)

    def forward(self, x):
        return -((self.before(x)[:, None] - self.colours[None]) ** 2).sum((2, 3, 4))


def per_channel(values):
    return torch.tensor(values).view(1, 3, 1, 1)


def normalised(x):
    return x * per_channel(STD) + per_channel(MEAN)


def told(monkeypatch, model, **given):
    """The line about a model that is built as `model`."""
    monkeypatch.setattr(loading, "load_external", lambda *_: loading.Loaded(model, "torch"))
    asked = ExternalModel("theirs", model="nets:net", outputs="logits", **given)
    return fitting.fitting(Trial(asked, X, Y, CLASSES))


FITS = {
    "nothing": (Nearest(), {}, ""),
    "missing normalisation": (Nearest(normalised), {}, "ImageNet's mean and deviation (--mean"),
    "double normalisation": (Nearest(), {"mean": MEAN, "std": STD}, "(no --mean, --std"),
    "0..255": (Nearest(lambda x: x / 255), {}, "(--input-range 0..255)"),
    "0..255 in vain": (Nearest(), {"input_range": (0.0, 255.0)}, "(no --mean, --std"),
    "BGR": (Nearest(lambda x: x.flip(1)), {}, "100 % with the channels in the order BGR"),
    "BGR, normalised": (
        Nearest(lambda x: normalised(x).flip(1)),
        {"mean": MEAN, "std": STD},
        "the channels in the order BGR",
    ),
    "classes": (
        Nearest(order=(1, 0, 2, 4, 3)),
        {},
        "its classes in another order (its 0 is the data's 1, its 1 is the data's 0, its 3 is the "
        "data's 4, its 4 is the data's 3; a layer of the model)",
    ),
}


@pytest.mark.parametrize(("model", "given", "words"), FITS.values(), ids=FITS)
def test_what_fits_is_told_with_its_accuracy(monkeypatch, model, given, words):
    line = told(monkeypatch, model, **given)
    assert words in line
    assert bool(line) == bool(words)
    if words:
        assert "100 % with" in line
        assert line.endswith("it is attacked as asked")
        assert "% as asked, and would be on" in line


def test_a_model_that_guesses_fits_in_no_order_of_classes():
    labels = G.integers(0, 10, 256)
    assert fits.class_order(labels, G.integers(0, 10, 256), 10)[1] < 0.2


def test_classes_whose_order_is_known_stay_in_it():
    order, accuracy = fits.class_order(Y, Y, CLASSES)
    assert order.tolist() == list(range(CLASSES))
    assert accuracy == 1


@pytest.mark.parametrize("kind", [Match, KerasMatch], ids=["torch", "tensorflow"])
def test_the_trust_check_names_the_order_of_classes(kind):
    def shifted(z):
        return torch.roll(z, 1, dims=1) if kind is Match else frameworks_roll(z)

    sentence = checked(kind(after=shifted), suite=())["clean accuracy"]
    assert "its classes in another order (its 0 is the data's 9" in sentence


def frameworks_roll(z):
    import tensorflow as tf

    return tf.roll(z, 1, axis=1)
