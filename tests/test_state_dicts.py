"""Files of PyTorch models whose tensors are shared, made late, or of no plain layout."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import nn

from benchmark.errors import ModelError
from benchmark.external.pytorch_checkpoints import load_weights

SIZE, CLASSES = 16, 3


class Tied(nn.Module):
    """The first of its layers is also the second."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(SIZE, SIZE, bias=False)
        self.second = nn.Linear(SIZE, SIZE, bias=False)
        self.second.weight = self.first.weight
        self.logits = nn.Linear(SIZE, CLASSES)


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(SIZE, CLASSES))


def saved(path, state):
    torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["first.weight", "second.weight"])
def test_a_file_may_hold_a_shared_tensor_once(tmp_path, name):
    theirs, ours = Tied(), Tied()
    safetensors.torch.save_model(theirs, tmp_path / "w.safetensors")
    state = safetensors.torch.load_file(tmp_path / "w.safetensors")
    (kept,) = state.keys() & {"first.weight", "second.weight"}
    state[name] = state.pop(kept)
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    assert load_weights(ours, tmp_path / "w.safetensors") == ()
    assert torch.equal(ours.first.weight, theirs.first.weight)
    assert ours.first.weight is ours.second.weight


def test_a_file_may_hold_a_shared_tensor_under_all_its_names(tmp_path):
    theirs, ours = Tied(), Tied()
    load_weights(ours, saved(tmp_path / "w.pt", theirs.state_dict()))
    assert torch.equal(ours.second.weight, theirs.first.weight)


@pytest.mark.parametrize("other", [torch.zeros(SIZE, SIZE), torch.zeros(2)], ids=["values", "size"])
def test_names_of_a_shared_tensor_that_differ_in_the_file_are_refused(tmp_path, other):
    state = dict(Tied().state_dict()) | {"second.weight": other}
    with pytest.raises(ModelError, match=r"first.weight and second.weight differ, where the model"):
        load_weights(Tied(), saved(tmp_path / "w.pt", state))


def test_a_shared_tensor_that_is_not_there_is_told_to_lack(tmp_path):
    state = {"logits.weight": torch.zeros(CLASSES, SIZE), "logits.bias": torch.zeros(CLASSES)}
    with pytest.raises(ModelError, match=r"it lacks first.weight, second.weight$"):
        load_weights(Tied(), saved(tmp_path / "w.pt", state))


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_layers_that_are_made_at_their_first_pass_take_a_file_s_shapes(tmp_path):
    theirs, ours = plain(), nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES))
    load_weights(ours, saved(tmp_path / "w.pt", theirs.state_dict()))
    x = torch.rand(2, SIZE)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours[1].weight, theirs[1].weight)


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_what_a_layer_that_is_made_late_lacks_is_told(tmp_path):
    path = saved(tmp_path / "w.pt", {"1.bias": torch.zeros(CLASSES)})
    with pytest.raises(ModelError, match=r"it lacks 1.weight$"):
        load_weights(nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES)), path)


ODD = {
    "sparse": lambda: torch.eye(CLASSES, SIZE).to_sparse(),
    "without data": lambda: torch.empty(CLASSES, SIZE, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(SIZE)] * CLASSES),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_tensors_that_can_not_be_copied_are_refused_in_a_line(tmp_path, make):
    path = saved(tmp_path / "w.pt", plain().state_dict() | {"1.weight": make()})
    with pytest.raises(ModelError, match=r"^weights w\.pt don't fit the model: ") as caught:
        load_weights(plain(), path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("version", "reads"), [("2.5.1", False), ("2.6.0+cpu", True)])
def test_a_torch_that_could_be_made_to_run_code_reads_no_pickle(
    tmp_path, monkeypatch, version, reads
):
    path = saved(tmp_path / "w.pt", plain().state_dict())
    monkeypatch.setattr(torch, "__version__", version)
    if reads:
        assert load_weights(plain(), path) == ()
    else:
        with pytest.raises(ModelError, match=r"torch 2\.5\.1 can't read w\.pt safely; use 2\.6"):
            load_weights(plain(), path)


def test_a_file_that_is_gone_is_told_as_such(tmp_path):
    with pytest.raises(ModelError, match=r"^can't read w\.pt: "):
        load_weights(plain(), tmp_path / "w.pt")
