"""Models of libraries and of a user's own code, trained by `bench run` as specified ones are."""

from __future__ import annotations

import dataclasses
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from benchmark import frameworks

sys.path.append(str(Path(__file__).parent))
from serving import serve

frameworks.import_torch_first()

import safetensors.torch  # noqa: E402
import torch  # noqa: E402

import defenses  # noqa: E402
from benchmark import models  # noqa: E402
from benchmark.cells import Cell  # noqa: E402
from benchmark.config import read  # noqa: E402
from benchmark.errors import BenchError, ConfigError, ModelError, UnknownName  # noqa: E402
from benchmark.models.provided import checking, origin  # noqa: E402
from benchmark.models.provided.building import make  # noqa: E402
from benchmark.models.provided.origin import Origin, check_name, origin_of  # noqa: E402
from benchmark.plans import metatest  # noqa: E402
from benchmark.plans import model as of_plan  # noqa: E402
from benchmark.plans.run import make_plan  # noqa: E402
from benchmark.results import Store  # noqa: E402
from benchmark.stages.training import training_key  # noqa: E402
from benchmark.verification.loaded import Loaded, Machine  # noqa: E402

SHAPE, CLASSES = (32, 32, 3), 4
CELL = {
    "dataset": "digits",
    "dataset_fingerprint": "f",
    "image_size": None,
    "split_seed": 0,
    "model": "nets.py:net",
    "framework": "torch",
    "defense": "none",
    "parameters": {},
    "norm": "linf",
    "eps": 0.1,
    "seed": 0,
    "epochs": 1,
    "budget_ge": None,
    "examples": 10,
}
BUILDERS = """
    from torch import nn

    def net():
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 10))

    def five():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))

    def conv():
        return nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())

    def soft():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))

    ready = net()
"""


@pytest.fixture(autouse=True)
def _here(write_builders):
    write_builders(BUILDERS)


def images(count=4):
    return np.random.default_rng(0).random((count, *SHAPE), np.float32)


def outputs_of(made, x):
    defense = defenses.create("none", defenses.Threat("linf", 0.1), {})
    return defense.kernel(defenses.subject.recognise(made.model), x).predict(x)


LIBRARIES = {
    "torchvision": ("torchvision:mobilenet_v3_small", "torch"),
    "torchvision with a parameter": ("torchvision:mobilenet_v3_small(dropout=0.0)", "torch"),
    "keras": ("keras:MobileNetV3Small", "tensorflow"),
}


@pytest.mark.parametrize(("name", "framework"), LIBRARIES.values(), ids=LIBRARIES)
def test_a_library_gives_a_model_that_the_seed_decides(name, framework):
    found = [
        outputs_of(make(Origin(name), SHAPE, CLASSES, framework=framework, seed=seed), images())
        for seed in (0, 0, 1)
    ]
    assert found[0].shape == (4, CLASSES)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_model_of_keras_that_divides_by_255_gets_pixels_of_that_range():
    made = make(Origin("keras:EfficientNetB0"), SHAPE, CLASSES, framework="tensorflow", seed=0)
    assert made.model.layers[0].scale == 255
    made = make(Origin("keras:MobileNetV3Small"), SHAPE, CLASSES, framework="tensorflow", seed=0)
    assert not any(type(layer).__name__ == "Rescaling" for layer in made.model.layers[:3])


@pytest.mark.parametrize(
    ("name", "framework"),
    [("torchvision:squeezenet1_1", "torch"), ("keras:MobileNetV2(alpha=0.35)", "tensorflow")],
)
def test_pixels_are_normalised_where_that_is_asked_for(name, framework):
    start, comma = name.rstrip(")"), "," if name.endswith(")") else "("
    rescaled = f"{start}{comma}mean=[0.5,0.4,0.3],std=0.5)"
    settings = {"framework": framework, "seed": 0}
    plain = make(Origin(name), SHAPE, CLASSES, **settings)
    behind = make(Origin(rescaled), SHAPE, CLASSES, **settings)
    x = images()
    moved = (x - np.float32([0.5, 0.4, 0.3])) / np.float32(0.5)
    assert np.allclose(outputs_of(behind, x), outputs_of(plain, moved), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("torchvision:resnet18(weights=1)", "weights is not allowed"),
        ("torchvision:resnet18(pretrained=true)", "weights are given by --init FILE"),
        ("keras:MobileNetV2(alpha=wide)", "alpha must be a number"),
        ("tochvision:resnet18(x=1)", "unknown model"),
        ("nets.py:no-name", "unknown model"),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused_at_once(model, said):
    with pytest.raises(ConfigError, match=said):
        origin_of(model, None)


def test_a_package_that_is_missing_is_named_with_its_pip_line(monkeypatch):
    monkeypatch.setattr(origin.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package timm, .*; pip install timm$"):
        origin_of("timm:resnet18", None)


def config(**flags):
    return read({"defense": "pgd-at", "framework": "torch", **flags})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"model": "torchvision:resnet18"}, "is of torch alone, and the run trains in tensorflow"),
        ({"model": "keras:MobileNetV2"}, "is of tensorflow alone, and the run trains in torch"),
        ({"model": "preact-resnet18", "init": "w.pt"}, "is of torch alone"),
    ],
)
def test_a_model_of_one_framework_is_not_trained_in_the_other(flags, said):
    Path("w.pt").touch()
    both = config(**flags, framework="torch,tensorflow")
    with pytest.raises(ConfigError, match=f"{said}.*; give --framework "):
        make_plan(both)


def trial(model, defense="pgd-at", shape=(8, 8, 1), classes=10):
    x = np.random.default_rng(0).random((8, *shape), np.float32)
    made = defenses.create(defense, defenses.Threat("linf", 0.1), {})
    return checking.Trial(origin_of(model, None), x, np.arange(8), classes, [made])


@pytest.mark.parametrize(
    ("model", "framework", "shape", "said"),
    [
        ("torchvision:vit_b_16", "torch", SHAPE, r"can't take .*shape \(32, 32, 3\).*Wrong image"),
        ("keras:InceptionV3", "tensorflow", SHAPE, r"can't be built for images of shape \(32, 32"),
        ("torchvision:resnet18", "torch", (12,), "takes images of shape"),
        ("torchvision:resnet81", "torch", SHAPE, "did you mean 'resnet18'"),
        (
            "torchvision:zzz",
            "torch",
            SHAPE,
            r"; all of them: torchvision\.models",
        ),
        (
            "keras:zzz",
            "tensorflow",
            SHAPE,
            r"; all of them: dir\(keras\.",
        ),
        ("nets.py:five", "torch", (8, 8, 1), "label"),
        ("nets.py:soft", "torch", (8, 8, 1), "ends in a softmax"),
        ("nets.py:nobody", "torch", (8, 8, 1), "has no 'nobody'"),
        ("nets:ready", "torch", (8, 8, 1), "give a function that builds it"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(model, framework, shape, said):
    with pytest.raises(BenchError, match=said) as caught:
        checking.result_of(trial(model, shape=shape), framework)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("library", origin.LIBRARIES)
def test_an_unknown_name_is_not_answered_with_a_librarys_whole_list(library):
    with pytest.raises(UnknownName, match="all of them") as caught:
        check_name(library, "zzz", [f"net{number}" for number in range(1000)])
    assert len(str(caught.value)) < 200
    assert origin.LIBRARIES[library].listing in str(caught.value)


def test_a_model_that_no_head_can_be_read_out_of_is_refused_before_it_is_trained():
    asked = trial("nets.py:conv")
    assert checking.result_of(asked, "torch").framework == "torch"
    with pytest.raises(ModelError, match="conv': read-outs take the input of the model's last"):
        checking.result_of(dataclasses.replace(asked, reads=True), "torch")


@pytest.mark.parametrize(
    ("more", "reads"),
    [
        ({"protocol": "few-shot", "ways": "2"}, True),
        ({"adapt_to": "digits"}, True),
        ({"adapt_to": "digits", "adaptation": {"methods": "finetune"}}, False),
        ({"protocol": "brief"}, False),
    ],
)
def test_a_run_tells_whether_heads_are_read_out(more, reads):
    assert metatest.resolve(config(**more)).reads == reads


def test_a_defense_that_keras_differentiates_wrongly_through_is_refused():
    asked = trial("keras:MobileNetV2(alpha=0.35)", "meta-adv", SHAPE)
    with pytest.raises(ModelError, match="second derivatives are wrong"):
        checking.result_of(asked, "tensorflow")


def run(**flags):
    """The plan of a small run on digits, done in this process; and its store."""
    small = {"epochs": 1, "examples": 10, "baseline": False, "suite": "quick", "out": "out"}
    plan = make_plan(config(**small, **flags))
    Store.create(plan.config.out)
    for job in plan.jobs:
        serve(job, framework=job.cell.framework)
    return plan, Store.open(plan.config.out)


@pytest.fixture
def _in_this_process(monkeypatch):
    """The trial needs no process of its own here."""
    monkeypatch.setattr(
        of_plan, "check", lambda trial: checking.result_of(trial, trial.origin.framework or "torch")
    )


@pytest.mark.usefixtures("_in_this_process")
def test_a_run_trains_the_users_own_model_and_knows_its_code_again():
    plan, store = run(model="nets.py:net")
    (job,) = plan.jobs
    record = store.read_cell(job.cell.cell_id)
    assert record["status"] == "ok"
    sha256 = record["config"]["origin"]["builder_sha256"]
    assert record["config"]["model"] == "nets.py:net"
    assert len(sha256) == 64
    assert not job.pending(store)
    # Its owner's code isn't run to verify what it made.
    loaded = Loaded("out", job.cell.cell_id, None, Machine("cpu", 1))
    with pytest.raises(BenchError, match="code of its owner, which is not run"):
        _ = loaded.model

    Path("nets.py").write_text(textwrap.dedent(BUILDERS) + "\n# changed\n")
    again = make_plan(config(model="nets.py:net", epochs=1, examples=10, baseline=False, out="out"))
    assert again.jobs[0].cell.cell_id != job.cell.cell_id


@pytest.mark.usefixtures("_in_this_process")
def test_training_goes_on_from_the_weights_that_are_given():
    specification = models.specification("mlp", (8, 8, 1), 10)
    weights = specification.initial_weights(5)
    builder = frameworks.part(frameworks.BUILDERS, "torch")
    builder.save_weights(builder.build(specification, weights), Path("w.safetensors"))

    plan = make_plan(config(model="mlp", init="w.safetensors", framework="torch,tensorflow"))

    for cell, framework in ((job.cell, job.cell.framework) for job in plan.jobs):
        assert cell.origin["init"] == "w.safetensors"
        made = make(plan.jobs[0].origin, (8, 8, 1), 10, framework=framework, seed=0)
        kernel = frameworks.part(frameworks.BUILDERS, framework)
        found = kernel.get_weights(made.model)
        assert all(np.array_equal(found[name], weights[name]) for name in weights)


def test_weights_that_do_not_fit_are_refused_before_anything_is_written():
    safetensors.torch.save_file({"x": torch.zeros(2)}, "w.safetensors")
    with pytest.raises(ModelError, match=r"weights w.safetensors don't fit the model"):
        make_plan(config(model="mlp", init="w.safetensors", out="out"))
    assert not Path("out").exists()


def test_a_training_is_not_taken_over_from_a_model_of_other_code():
    one, other = (Cell(**CELL, origin={"builder_sha256": letter * 64}) for letter in "ab")
    assert training_key(one) == training_key(dataclasses.replace(one, examples=20))
    assert training_key(one) != training_key(other)
    assert one.cell_id != other.cell_id


def test_the_ids_of_specified_models_know_of_no_origin():
    assert "origin" not in Cell(**CELL).config()
