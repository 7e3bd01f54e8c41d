"""Weights as training scripts leave them: taken with a line, or refused; never followed or run."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from benchmark import models  # noqa: E402
from benchmark.errors import ConfigError, ModelError  # noqa: E402
from benchmark.external import pytorch_checkpoints as checkpoints  # noqa: E402
from benchmark.external import tensorflow as in_keras  # noqa: E402
from benchmark.external.model import ExternalModel, check  # noqa: E402
from benchmark.models import stored  # noqa: E402
from benchmark.models import tensorflow as built_in  # noqa: E402

SHAPE, CLASSES = (4, 4, 1), 3


def net():
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, CLASSES))


def trained():
    torch.manual_seed(1)
    model = net()
    for value in model.state_dict().values():
        value.copy_(torch.rand(value.shape) if value.is_floating_point() else torch.tensor(7))
    return dict(model.state_dict())


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def uncounted(state):
    return {name: value for name, value in state.items() if "num_batches" not in name}


def averaged(state):
    model = net()
    model.load_state_dict(state)
    return torch.optim.swa_utils.AveragedModel(model).state_dict()


TAKEN = {
    "plain": (lambda s: s, None),
    "compiled": (lambda s: prefixed("_orig_mod.", s), "'_orig_mod.' taken off its names"),
    "parallel": (lambda s: prefixed("module.", s), "'module.' taken off its names"),
    "both": (
        lambda s: prefixed("module._orig_mod.", s),
        "'_orig_mod.' and 'module.' taken off its names",
    ),
    "net": (lambda s: {"net": s, "acc": 95.0}, "taken from 'net'"),
    "model": (lambda s: {"model": s, "optimizer": {"lr": 0.1}}, "taken from 'model'"),
    "unknown entry": (lambda s: {"classifier": s, "epoch": 3}, "taken from 'classifier'"),
    "beside an empty entry": (lambda s: {"classifier": s, "meta": {}}, "taken from 'classifier'"),
    "two levels": (
        lambda s: {"model": {"state_dict": s, "arch": "net"}},
        "taken from 'state_dict' in 'model'",
    ),
    "state_dict of module": (
        lambda s: {"state_dict": prefixed("module.", s), "epoch": 3},
        "taken from 'state_dict'; 'module.' taken off its names",
    ),
    "Lightning": (
        lambda s: {"state_dict": prefixed("model.", s), "pytorch-lightning_version": "2"},
        "taken from 'state_dict'; 'model.' taken off its names",
    ),
    "Lightning, own name": (
        lambda s: {"state_dict": prefixed("backbone.net.", s)},
        "taken from 'state_dict'; 'backbone.net.' taken off its names",
    ),
    "beside EMA": (lambda s: {"state_dict": s, "ema": s}, "taken from 'state_dict'"),
    "averages": (
        averaged,
        "'module.' taken off its names; its weights are averages, whose count is left out",
    ),
    "no counters": (uncounted, "it has no num_batches_tracked, which evaluation does not use"),
    "counters as floats": (lambda s: {n: v.float() for n, v in s.items()}, None),
    "half": (lambda s: {n: v.half() if v.is_floating_point() else v for n, v in s.items()}, None),
}


@pytest.mark.parametrize(("saved", "told"), TAKEN.values(), ids=TAKEN)
def test_torch_weights_are_taken_as_people_have_them(tmp_path, saved, told):
    model, expected = net(), trained()
    torch.save(saved(expected), tmp_path / "w.pt")
    notices = checkpoints.load_weights(model, tmp_path / "w.pt")
    assert notices == ((f"weights w.pt: {told}",) if told else ())
    for name, value in model.state_dict().items():
        if told is None or "num_batches" not in name:
            assert torch.allclose(value, expected[name], atol=1e-3), name


def test_a_model_that_counts_its_averages_takes_the_count(tmp_path):
    torch.save(averaged(trained()), tmp_path / "w.pt")
    model = torch.optim.swa_utils.AveragedModel(net())
    assert checkpoints.load_weights(model, tmp_path / "w.pt") == ()
    assert torch.equal(model.module[2].weight, trained()["2.weight"])


def test_a_wrapped_model_takes_unwrapped_weights(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = net()

    torch.save(trained(), tmp_path / "w.pt")
    model = Wrapped()
    assert checkpoints.load_weights(model, tmp_path / "w.pt") == ()
    assert torch.equal(model.module[2].weight, trained()["2.weight"])


@pytest.mark.parametrize("ending", [".pth.tar", ".ckpt", ".model", ".PTH"])
def test_the_endings_of_torch_are_known(tmp_path, ending):
    path = tmp_path / f"w{ending}"
    torch.save(trained(), path)
    given = ExternalModel("theirs", model="nets:net", weights=str(path))
    check(given)
    assert given.framework == "torch"
    assert checkpoints.load_weights(net(), path) == ()


def quantised(state):
    weight = torch.quantize_per_tensor(state["2.weight"], 0.1, 0, torch.qint8)
    return state | {"2.weight": weight}


REFUSED = {
    "complex": (
        lambda s: s | {"2.weight": s["2.weight"] + 1j},
        r"2.weight is complex64 instead of float32, which can't be converted without loss",
    ),
    "quantised": (quantised, r"2.weight is qint8 instead of float32"),
    "whole numbers": (lambda s: s | {"2.weight": s["2.weight"].char()}, "2.weight is int8 instead"),
    "fractions": (
        lambda s: s | {"1.num_batches_tracked": torch.tensor(0.5)},
        "num_batches_tracked is float32 instead of int64",
    ),
    "several": (
        lambda s: {"student": s, "teacher": s},
        r"several state dicts \(student, teacher\)",
    ),
    "other prefix": (lambda s: prefixed("a.", s) | {"b.c": s["2.bias"]}, "the model has no a.1"),
    "no counters, no bias": (
        lambda s: {k: v for k, v in uncounted(s).items() if k != "2.bias"},
        "it lacks 2.bias$",
    ),
    "clash": (
        lambda s: prefixed("module.", s) | prefixed("_orig_mod.", s),
        "the model has no _orig_mod",
    ),
}


@pytest.mark.filterwarnings("ignore:(torch.quantize_per_tensor|TypedStorage):UserWarning")
@pytest.mark.parametrize(("saved", "words"), REFUSED.values(), ids=REFUSED)
def test_torch_weights_that_would_lose_something_are_refused(tmp_path, saved, words):
    torch.save(saved(trained()), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=words) as caught:
        checkpoints.load_weights(net(), tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


def test_complex_weights_of_a_complex_model_are_taken(tmp_path):
    model = nn.Linear(4, 2, bias=False, dtype=torch.complex64)
    state = {"weight": torch.full((2, 4), 1 + 2j)}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    checkpoints.load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model.weight.detach(), state["weight"])


def dense(units=CLASSES, layers=0):
    hidden = [keras.layers.Dense(8, name=f"hidden{number}") for number in range(layers)]
    last = keras.layers.Dense(units, name="dense")
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *hidden, last])


@pytest.mark.parametrize("name", ["w.weights.h5", "w.h5", "w.keras"])
def test_keras_weights_are_read_from_every_kind_of_file(tmp_path, name):
    model = dense()
    path = tmp_path / name
    if name == "w.weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    other = dense()
    in_keras.load_weights(other, path)
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        assert np.array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (lambda: dense(units=12, layers=1), r"is \(\d*,? ?12,?\) instead of \(\d*,? ?3,?\)"),
        (lambda: dense(layers=3), "no place for|is .* instead of"),
        (lambda: dense(layers=0), "don't fit the model"),
    ],
)
def test_keras_arrays_that_dont_fit_are_told(tmp_path, saved, words):
    saved().save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ModelError, match=words):
        in_keras.load_weights(dense(layers=1), tmp_path / "w.weights.h5")


def weights_file(folder, how):
    """A weights file of `dense()` with its kernel put somewhere else."""
    path = folder / "w.weights.h5"
    dense().save_weights(path)
    place = "layers/dense/vars"
    with h5py.File(folder / "secret.h5", "w") as other:
        other[place + "/0"] = np.full((16, CLASSES), 42, dtype=np.float32)
    (folder / "secret.bin").write_bytes(np.full((16, CLASSES), 42, dtype=np.float32).tobytes())
    with h5py.File(path, "r+") as file:
        group = file[place]
        del group["0"]
        if how == "external link":
            group["0"] = h5py.ExternalLink("secret.h5", place + "/0")
        elif how == "soft link":
            group["0"] = h5py.SoftLink(f"/{place}/1")
        elif how == "external storage":
            storage = [(str(folder / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
            group.create_dataset("0", (16, CLASSES), dtype="f4", external=storage)
        elif how == "virtual":
            layout = h5py.VirtualLayout((16, CLASSES), dtype="f4")
            layout[:] = h5py.VirtualSource(folder / "secret.h5", place + "/0", (16, CLASSES))
            group.create_virtual_dataset("0", layout)
        elif how == "complex":
            group["0"] = np.ones((16, CLASSES), dtype=np.complex64)
        else:
            group["0"] = np.ones((16, CLASSES), dtype=np.int8)
    return path


ELSEWHERE = ["external link", "soft link", "external storage", "virtual"]


def as_external(path):
    in_keras.load_weights(dense(), path)


def as_keras_file(path):
    saved, changed = path.with_name("w.keras"), path.with_name("changed.keras")
    dense().save(saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) if name[-3:] != ".h5" else path.read_bytes())
    in_keras.load_model(changed)


def as_stored(path):
    specification = models.specification("mlp", SHAPE, CLASSES)
    built_in.load_weights(built_in.build(specification, specification.initial_weights(0)), path)


def as_neutral(path):
    stored.neutral_weights(path, models.specification("mlp", SHAPE, CLASSES))


@pytest.mark.parametrize("how", ELSEWHERE)
@pytest.mark.parametrize("read", [as_external, as_keras_file, as_stored, as_neutral])
def test_no_weights_file_is_followed_to_another_place(tmp_path, monkeypatch, how, read):
    monkeypatch.chdir(tmp_path)
    path = weights_file(tmp_path, how)
    with pytest.raises(
        ModelError, match="points to another file or place at 'layers/dense/vars/0'"
    ):
        read(path)


@pytest.mark.parametrize("kind", ["complex", "quantised"])
def test_keras_weights_that_would_lose_something_are_refused(tmp_path, kind):
    with pytest.raises(ModelError, match=r"layers/dense/vars/0 hold complex or quantised numbers"):
        in_keras.load_weights(dense(), weights_file(tmp_path, kind))


def with_changed(path, mark, offset):
    """The file with eight bytes changed, so far behind a mark."""
    content = bytearray(path.read_bytes())
    start = content.index(mark) + offset
    content[start : start + 8] = b"\x41" * 8
    path.write_bytes(content)
    return path


def damaged(folder, name):
    """A file of which a copy went wrong: its index of names, or what its checksum covers."""
    path = folder / name
    if name == "w.keras":
        dense().save(path)
        return with_changed(path, b"model.weights.h5", 200)
    dense().save_weights(folder / "w.weights.h5")
    return with_changed(folder / "w.weights.h5", b"HEAP", 16)  # its list of free bytes


@pytest.mark.parametrize("ending", [".KERAS", ".weights.H5"])
@pytest.mark.parametrize("read", [in_keras.load_model, as_external], ids=["model", "weights"])
def test_an_ending_that_keras_does_not_know_is_told(tmp_path, read, ending):
    (tmp_path / f"W{ending}").touch()
    with pytest.raises(ModelError, match=f"endings in lower case; rename it to W{ending.lower()}$"):
        read(tmp_path / f"W{ending}")


@pytest.mark.parametrize("read", [as_external, as_stored, as_neutral])
def test_a_damaged_h5_is_told_in_a_line(tmp_path, read):
    path = damaged(tmp_path, "w.weights.h5")
    with pytest.raises(ModelError, match=r"w\.weights\.h5 .*the file may be damaged \(.*free list"):
        read(path)


def test_a_damaged_keras_file_is_told_in_a_line(tmp_path):
    with pytest.raises(ModelError, match=r"w\.keras .*Bad CRC-32"):
        in_keras.load_model(damaged(tmp_path, "w.keras"))


def test_a_torch_file_that_ends_anywhere_is_told_in_a_line(tmp_path):
    """In the format before zip, whose end its reader does not look for."""
    path = tmp_path / "w.pt"
    torch.save(trained(), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for end in range(1, len(whole), 11):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError, match=r"^w\.pt is (no torch state dict|a pickle)"):
            checkpoints.load_weights(net(), path)


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
def test_a_whole_h5_is_told_to_be_read_for_its_arrays_alone(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"save the whole model as \.keras") as caught:
        check(ExternalModel("theirs", weights=str(tmp_path / name)))
    assert "holds no architecture" not in str(caught.value)


@pytest.mark.parametrize("new_head", [True, False])
def test_a_model_without_weights_takes_none(tmp_path, new_head):
    torch.save(trained(), tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"the model has no 1\.bias"):
        checkpoints.load_weights(nn.Flatten(), tmp_path / "w.pt", new_head=new_head)
