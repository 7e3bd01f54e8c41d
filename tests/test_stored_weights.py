"""Weights of a specified model: read from either framework's file, whole, or refused in a line."""

from __future__ import annotations

import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402

from benchmark import models  # noqa: E402
from benchmark.errors import ModelError  # noqa: E402
from benchmark.models.stored import neutral_weights  # noqa: E402

SHAPE, CLASSES = (4, 4, 1), 3
SPECIFICATION = models.specification("mlp", SHAPE, CLASSES)
INITIAL = SPECIFICATION.initial_weights(3)
STATE = dict(models.built("torch", SPECIFICATION, INITIAL).state_dict())


def of_torch(folder, state, name="w.safetensors"):
    safetensors.torch.save_file(state, folder / name)
    return folder / name


def of_keras(folder, *units):
    layers = [keras.layers.Dense(count, name=f"dense_{i}"[: 7 if i else 5]) for i, count in units]
    keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *layers]).save_weights(
        folder / "w.weights.h5"
    )
    return folder / "w.weights.h5"


@pytest.mark.parametrize("name", ["w.safetensors", "W.SAFETENSORS", "w.weights.h5", "W.weights.H5"])
def test_a_file_is_read_by_its_ending_in_any_case(tmp_path, name):
    if name.lower().endswith(".h5"):
        models.built("tensorflow", SPECIFICATION, INITIAL).save_weights(tmp_path / "w.weights.h5")
        (tmp_path / "w.weights.h5").rename(tmp_path / name)
    else:
        of_torch(tmp_path, STATE, name)
    found = neutral_weights(tmp_path / name, SPECIFICATION)
    assert found.keys() == INITIAL.keys()
    for one, value in INITIAL.items():
        assert np.array_equal(found[one], value)


MISFITS = {
    "prefixed": (
        {f"module.{name}": value for name, value in STATE.items()},
        r"it lacks dense1.bias, .* and 2 more; the model has no module.dense1.bias, .* 2 more$",
    ),
    "other classes": (
        STATE | {"logits.bias": torch.zeros(12)},
        r"model: logits.bias is \(12,\) instead of \(3,\)$",
    ),
    "a number beside": (STATE | {"scale": torch.tensor(1.0)}, "model: the model has no scale$"),
    "a volume beside": (STATE | {"c": torch.zeros(2, 2, 2)}, "model: the model has no c$"),
}


@pytest.mark.parametrize(("state", "words"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_named(tmp_path, state, words):
    with pytest.raises(ModelError, match=words):
        neutral_weights(of_torch(tmp_path, state), SPECIFICATION)


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ((256, 128, 3, 3), "the model has no layers/dense_3/vars/0, layers/dense_3/vars/1$"),
        ((256, 128), "it lacks layers/dense_2/vars/0$"),
        ((256, 128, 12), r"logits.bias is \(12,\) instead of \(3,\), logits.weight is"),
    ],
    ids=["deeper", "shallower", "other classes"],
)
def test_a_keras_file_of_another_model_is_refused(tmp_path, units, words):
    with pytest.raises(ModelError, match=words):
        neutral_weights(of_keras(tmp_path, *enumerate(units)), SPECIFICATION)
