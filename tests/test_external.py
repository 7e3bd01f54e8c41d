"""Models that someone else trained: loaded without running code, checked, attacked as others."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark import datasets, frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from serving import serve  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from torch import nn  # noqa: E402

from benchmark import cli, replay  # noqa: E402
from benchmark.cells import cell_of  # noqa: E402
from benchmark.config import read  # noqa: E402
from benchmark.errors import BenchError, ModelError  # noqa: E402
from benchmark.external import checking, loading  # noqa: E402
from benchmark.external.model import ExternalModel, check  # noqa: E402
from benchmark.plans import external as plan  # noqa: E402
from benchmark.results import Store  # noqa: E402
from benchmark.resume import pending  # noqa: E402
from benchmark.verification.loaded import Loaded, Machine  # noqa: E402
from benchmark.verify import HOLDS, UNCHECKED, Claim  # noqa: E402

SHAPE, CLASSES = (8, 8, 1), 10
BUILDERS = """
    import torch
    from torch import nn

    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    ready = net()

    class LastAxis(nn.Module):
        def forward(self, x):  # (n, H, W, C)
            assert x.shape[1:] == (8, 8, 1)
            return x.flatten(1)[:, :10]

    def soft():
        return nn.Sequential(net(), nn.Softmax(1))

    def twelve():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))

    def nan():
        model = net()
        nn.init.constant_(model[1].weight, float("nan"))
        return model

    def number():
        return 3

    def raises():
        raise ValueError("two\\nlines")

    def pair():
        class Pair(nn.Module):
            def forward(self, x):
                return x, x
        return Pair()

    def leaves():
        raise SystemExit("bye")

    def dies():
        import os
        os._exit(3)
"""


@pytest.fixture(autouse=True)
def _here(write_builders):
    write_builders(BUILDERS)
    Path("script.py").write_text("def net(): pass\nraise SystemExit(0)\n")


def mlp(seed=0):
    """The built-in architecture in torch, with its initial weights."""
    specification = loading.models.specification("mlp", SHAPE, CLASSES)
    return loading.models.built("torch", specification, specification.initial_weights(seed))


def keras_mlp(units=CLASSES, layers=1):
    hidden = [keras.layers.Dense(16, name=f"hidden{number}") for number in range(layers)]
    last = keras.layers.Dense(units, name="last")
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *hidden, last])


def trial(**settings):
    data = datasets.load("digits")
    given = ExternalModel(**{"name": "theirs", **settings})
    check(given)
    return checking.Trial(given, *checking.few(data.x_test, data.y_test), CLASSES)


def made(**settings):
    """Outputs of a given model for the digits, behind the conventions, and the result."""
    one = trial(**settings)
    found = checking.result_of(one)
    given = dataclasses.replace(one.external, outputs=found.outputs)
    loaded = loading.load_external(given, SHAPE, CLASSES)
    kernel = loading.kernel(loaded.framework)
    given = dataclasses.replace(given, channels=given.channels or "first")
    model = kernel.adapted(loaded.model, given, input_shape=SHAPE, device="cpu")
    return kernel.outputs_of(model, one.x), found


def save(path, state):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
@pytest.mark.parametrize("wrap", [None, "state_dict", "module."])
def test_torch_weights_are_read_from_every_kind_of_file(tmp_path, name, wrap):
    if wrap and name == "w.safetensors":
        pytest.skip("safetensors has no nesting")
    model = mlp(seed=3)
    state = model.state_dict()
    if wrap == "module.":
        state = {f"module.{key}": value for key, value in state.items()}
    elif wrap:
        state = {wrap: state, "epoch": 7}
    outputs, found = made(model="mlp", weights=save(tmp_path / name, state))
    x = torch.from_numpy(trial(model="mlp", weights=str(tmp_path / name)).x).permute(0, 3, 1, 2)
    assert found.framework == "torch"
    assert np.allclose(outputs, model(x).detach().numpy(), atol=1e-6)


def test_a_keras_file_holds_its_own_architecture(tmp_path):
    model = keras_mlp()
    model.save(tmp_path / "w.keras")
    outputs, found = made(weights=str(tmp_path / "w.keras"), channels="last")
    assert found.framework == "tensorflow"
    assert np.allclose(outputs, model(trial(weights=str(tmp_path / "w.keras")).x), atol=1e-6)


@pytest.mark.parametrize("model", ["nets:net", "nets.py:net", "nets:ready"])
def test_a_builder_is_found_in_modules_and_files(model):
    outputs, found = made(model=model)
    torch.manual_seed(0)
    layer = nn.Linear(64, 10)
    x = torch.from_numpy(trial(model=model).x).flatten(1)
    assert np.allclose(outputs, layer(x).detach().numpy(), atol=1e-6)
    assert len(found.builder_sha256) == 64


def test_channels_last_and_a_normalisation_are_met():
    outputs, _ = made(model="nets.py:LastAxis", channels="last", mean=(0.5,), std=(0.25,))
    x = trial(model="nets.py:LastAxis").x
    assert np.allclose(outputs, (x.reshape(len(x), -1)[:, :10] - 0.5) / 0.25)


def test_probabilities_are_taken_back_to_logits():
    outputs, found = made(model="nets.py:soft")
    logits, _ = made(model="nets.py:net")
    assert found.outputs == "probabilities"
    assert any("probabilities" in notice for notice in found.notices)
    difference = outputs - logits  # the same but for a constant a row
    assert np.allclose(difference - difference[:, :1], 0, atol=1e-5)


def test_keras_probabilities_and_channels_first_are_met():
    inner = keras_mlp()
    given = ExternalModel(
        "theirs", channels="first", outputs="probabilities", mean=(0.5,), std=(0.5,)
    )
    x = trial(model="nets:net").x
    planes = keras.Sequential([keras.Input((1, 8, 8)), keras.layers.Reshape(SHAPE), inner])
    soft = keras.Sequential([planes, keras.layers.Softmax()])
    kernel = loading.kernel("tensorflow")
    outputs = kernel.adapted(soft, given, input_shape=SHAPE, device="cpu")(x).numpy()
    difference = outputs - inner((x - 0.5) / 0.5).numpy()
    assert np.allclose(difference - difference[:, :1], 0, atol=1e-4)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def lambda_model():
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x[:, :10])]
    return keras.Sequential(layers)


class Theirs(keras.layers.Layer):
    def call(self, x):
        return x


def files(folder: Path, name: str) -> str:
    """A weights file that must be refused."""
    path = folder / name.partition(":")[2]
    match name.partition(":")[0]:
        case "code":
            torch.save({"weight": torch.zeros(2), "extra": Evil()}, path)
        case "module":
            torch.save(nn.Linear(2, 2), path)
        case "junk":
            path.write_bytes(b"x" * 100)
        case "list":
            torch.save([torch.zeros(2)], path)
        case "lacks":
            save(path, {k: v for k, v in mlp().state_dict().items() if k != "dense2.bias"})
        case "foreign":
            save(path, {**mlp().state_dict(), "dense9.bias": torch.zeros(2)})
        case "shape":
            save(path, {**mlp().state_dict(), "logits.bias": torch.zeros(12)})
        case "lambda":
            lambda_model().save(path)
        case "custom":
            keras.Sequential([keras.Input(SHAPE), Theirs()]).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("file", "model", "words"),
    [
        ("code:w.pt", "mlp", r"more than arrays \(posix.mkdir\)"),
        ("module:w.pt", "mlp", r"more than arrays \(torch.nn"),
        ("junk:w.pt", "mlp", "no torch state dict"),
        ("list:w.pt", "mlp", "maps names to tensors"),
        ("junk:w.safetensors", "mlp", "no safetensors file"),
        ("junk:w.h5", "mlp", "don't fit"),
        ("junk:w.keras", None, "no .keras file"),
        ("lacks:w.safetensors", "mlp", "it lacks dense2.bias$"),
        ("foreign:w.pt", "mlp", "the model has no dense9.bias$"),
        ("shape:w.pt", "mlp", r"logits.bias is \(12,\) instead of \(10,\)$"),
        ("lambda:w.keras", None, r"holds code \(.*(Lambda|lambda)"),
        ("custom:w.keras", None, r"holds code \(.*Theirs\)"),
    ],
)
def test_files_that_hold_code_or_dont_fit_are_refused(tmp_path, file, model, words):
    with pytest.raises(ModelError, match=words) as caught:
        checking.result_of(trial(model=model, weights=files(tmp_path, file)))
    assert "\n" not in str(caught.value)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nets:nett", "did you mean 'net'"),
        ("nots:net", "no module 'nots'"),
        ("nots.py:net", "no file at nots.py"),
        ("nets:number", "gives 'int', no torch.nn.Module"),
        ("nets:raises", "ValueError: two lines"),
        ("nets:leaves", "SystemExit: bye"),
        ("script.py:net", r"script\.py can't be imported: SystemExit: 0"),
        ("script:net", "'script' can't be imported: SystemExit: 0"),
        ("nets:twelve", r"\(32, 12\).*10 classes"),
        ("nets:nan", "not finite .* 32 of 32"),
        ("nets:LastAxis", r"channels first \(--channels last works\)"),
        ("nets:pair", "'tuple'; the first of its 2 outputs is taken"),
    ],
)
def test_models_that_cant_be_attacked_are_refused(model, words):
    with pytest.raises(ModelError, match=words) as caught:
        checking.result_of(trial(model=model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "mlp"}, "give --weights"),
        ({}, "no model given"),
        ({"weights": "w.pt"}, "name it with --model"),
        ({"weights": "w.onnx", "model": "mlp"}, "unknown ending '.onnx'"),
        ({"weights": "w.csv"}, "unknown ending '.csv'"),
        ({"weights": "w.pt", "model": "mlp"}, "no weights file"),
        ({"weights": "w.pt", "model": "mpl"}, "did you mean 'mlp'"),
        ({"model": "nets:"}, "names no builder"),
        ({"model": "nets.py"}, r"names no builder; did you mean 'nets\.py:build'\?"),
        ({"model": "nets:net", "name": "pgd-at"}, "a defense of this project"),
        ({"model": "nets:net", "name": "../x"}, "may hold letters"),
        ({"model": "nets:net", "std": (0.0,)}, "above 0"),
        ({"model": "nets:net", "channels": "middle"}, "unknown channels"),
        ({"model": "nets:net", "outputs": "labels"}, "unknown outputs"),
    ],
)
def test_what_a_user_gives_wrong_is_told_before_anything_is_read(settings, words):
    with pytest.raises(BenchError, match=words):
        check(ExternalModel(**{"name": "theirs", **settings}))


def test_a_model_that_kills_its_process_is_refused():
    with pytest.raises(ModelError, match="ended with exit code 3"):
        checking.check(trial(model="nets:dies"))


def test_the_command_refuses_a_pickle_with_code_and_writes_nothing(tmp_path, monkeypatch, capsys):
    weights = files(tmp_path, "code:w.pt")
    before = sorted(os.listdir())
    monkeypatch.setattr(sys, "argv", ["bench", "attack", "--weights", weights, "--model", "mlp"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    loading, said = capsys.readouterr().err.strip().splitlines()
    assert loading == "bench: loading digits and trying the model"
    assert said.startswith("bench: error: w.pt is a pickle that holds more than arrays")
    assert sorted(os.listdir()) == before


def job(out, **settings):
    """What `bench attack` would do, small; the check runs in this process."""
    one = trial(**settings)
    quick = ["attacks.pgd.max_iter=3", "attacks.apgd.max_iter=5", "attacks.square.max_iter=5"]
    config = read({"defense": one.external.name, "examples": 20, "out": out}, assignments=quick)
    (found,) = plan.make_plan(config, one.external).jobs
    return found


@pytest.mark.parametrize(
    ("kind", "state"), [("torch", HOLDS), ("keras", HOLDS), ("builder", UNCHECKED)]
)
def test_a_given_model_takes_the_place_of_a_trained_one(tmp_path, monkeypatch, kind, state):
    monkeypatch.setattr(plan, "check", checking.result_of)
    monkeypatch.setattr(plan, "fitting_inputs", checking.fitting)
    store = Store.create(tmp_path / "out")
    settings = {"model": "nets:net"}
    if kind == "torch":
        settings = {"model": "mlp", "weights": save(tmp_path / "w.pt", mlp().state_dict())}
    elif kind == "keras":
        keras_mlp().save(tmp_path / "w.keras")
        settings = {"weights": str(tmp_path / "w.keras")}
    one = job(store.path, **settings)
    assert pending([one], store) == [one]

    serve(one, framework=one.cell.framework)

    record = store.read_cell(one.cell.cell_id)
    assert record["status"] == "ok", record["reason"]
    assert record["gradient_evaluations"] is None
    assert record["config"] == one.cell.config()
    assert cell_of(record["config"]).cell_id == one.cell.cell_id
    assert pending([one], store) == []
    key = one.attack_keys()["pgd"]
    for stage in ("cell", f"attacks/{key}"):
        claim = Claim(str(store.path), one.cell.cell_id, one.cell.framework, stage, None)
        assert replay.replay(claim, device="cpu")[0] == state


def test_the_plan_tells_what_the_model_takes_and_attacks_as_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "check", checking.result_of)
    digits = datasets.load("digits")
    x = digits.x_train[:].reshape(-1, 64)
    found = LogisticRegression(max_iter=200).fit(x, digits.y_train)
    arrays = {"1.weight": found.coef_, "1.bias": found.intercept_}
    shifted = {name: torch.tensor(np.roll(values, 1, 0)) for name, values in arrays.items()}
    given = ExternalModel("theirs", "nets:net", save(tmp_path / "w.pt", shifted))
    made = plan.make_plan(read({"defense": "theirs", "out": tmp_path / "out"}), given)
    (told,) = [line for line in made.notices if "as asked" in line]
    assert "with its classes in another order (its 0 is the data's 9, its 1" in told
    assert made.jobs[0].external == dataclasses.replace(given, outputs="logits")


def test_other_weights_are_another_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "check", checking.result_of)
    monkeypatch.setattr(plan, "fitting_inputs", checking.fitting)
    ids = set()
    for seed in (0, 1):
        weights = save(tmp_path / "w.safetensors", mlp(seed).state_dict())
        ids.add(job(tmp_path / "out", model="mlp", weights=weights).cell.cell_id)
    assert len(ids) == 2
    assert not (tmp_path / "out").exists()


def test_a_results_folder_runs_no_builder(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "check", checking.result_of)
    monkeypatch.setattr(plan, "fitting_inputs", checking.fitting)
    store = Store.create(tmp_path / "out")
    weights = save(tmp_path / "w.pt", mlp().state_dict())
    one = job(store.path, model="mlp", weights=weights)
    source = {**one.cell.source, "architecture": "nets:dies"}
    one = dataclasses.replace(one, cell=dataclasses.replace(one.cell, source=source))
    serve_nothing = {"config": one.cell.config(), "status": "ok", "suites": {}}
    store.write_cell(one.cell.cell_id, serve_nothing)
    found = Loaded(str(store.path), one.cell.cell_id, None, Machine("cpu", 1))
    with pytest.raises(BenchError, match="code of its owner"):
        _ = found.model
