"""Weights of a model with other classes start a training where a new head is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import safetensors.torch  # noqa: E402
import torchvision  # noqa: E402, F401 - has to come before TensorFlow

from benchmark import models  # noqa: E402
from benchmark.config import read  # noqa: E402
from benchmark.errors import BenchError, ModelError  # noqa: E402
from benchmark.models.provided.building import make  # noqa: E402
from benchmark.models.provided.origin import Origin, origin_of  # noqa: E402
from benchmark.plans.run import make_plan  # noqa: E402
from benchmark.stages.training import training_key  # noqa: E402

SHAPE, CLASSES = (8, 8, 1), 10
NAMES = ("mlp", "preact-resnet18(width=2)")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(name: str, framework: str, classes: int = 4) -> tuple[Path, dict[str, np.ndarray]]:
    """A file of weights of a model with so many classes, and the weights."""
    specification = models.specification(name, SHAPE, classes)
    weights = specification.initial_weights(5)
    path = Path(f"w{frameworks.WEIGHTS_SUFFIXES[framework]}")
    builder = frameworks.part(frameworks.BUILDERS, framework)
    builder.save_weights(builder.build(specification, weights), path)
    return path, weights


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("file_of", frameworks.FRAMEWORKS)
@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_all_but_the_head_is_taken(name: str, file_of: str, framework: str) -> None:
    path, weights = saved(name, file_of)
    origin = origin_of(name, path, new_head=True)
    made = make(origin, SHAPE, CLASSES, framework=framework, seed=3)
    specification = models.specification(name, SHAPE, CLASSES)
    own, head = specification.initial_weights(3), f"{specification.head}."
    found = frameworks.part(frameworks.BUILDERS, framework).get_weights(made.model)
    for one, value in own.items():
        expected = value if one.startswith(head) else weights[one]
        np.testing.assert_array_equal(found[one], expected)


def test_a_head_that_would_fit_starts_anew_too() -> None:
    path, weights = saved("mlp", "torch", classes=CLASSES)
    made = make(Origin("mlp", str(path), True), SHAPE, CLASSES, framework="torch", seed=3)
    found = frameworks.part(frameworks.BUILDERS, "torch").get_weights(made.model)
    head = f"{models.specification('mlp', SHAPE, CLASSES).head}.weight"
    assert not np.array_equal(found[head], weights[head])


def test_a_librarys_model_keeps_its_last_layer() -> None:
    def make_one(classes: int, **given: Any) -> Any:
        origin = Origin("torchvision:resnet18", **given)
        return make(origin, (32, 32, 3), classes, framework="torch", seed=1).model

    before = make_one(4).state_dict()
    safetensors.torch.save_file(before, "w.safetensors")
    fresh = make_one(CLASSES).state_dict()
    found = make_one(CLASSES, init="w.safetensors", new_head=True).state_dict()
    for name, value in found.items():
        assert value.equal(fresh[name] if name.startswith("fc.") else before[name]), name


def test_without_it_another_number_of_classes_is_refused() -> None:
    path, _ = saved("mlp", "torch")
    with pytest.raises(ModelError, match="don't fit the model"):
        make(Origin("mlp", str(path)), SHAPE, CLASSES, framework="torch", seed=0)


def test_other_layers_have_to_fit_all_the_same() -> None:
    path, _ = saved("preact-resnet18(width=2)", "torch")
    origin = Origin("preact-resnet18(width=4)", str(path), True)
    with pytest.raises(ModelError, match="don't fit the model"):
        make(origin, SHAPE, CLASSES, framework="torch", seed=0)


def plan(**given: Any) -> Any:
    usual = {"defense": "none", "framework": "torch", "model": "mlp", "epochs": 1, "examples": 10}
    return make_plan(read({**usual, **given}))


def test_the_record_says_so_and_it_is_another_training() -> None:
    path, _ = saved("mlp", "torch", classes=CLASSES)
    anew, whole = (
        plan(init=str(path), new_head=new_head).jobs[0].cell for new_head in (True, False)
    )
    assert anew.origin["new_head"] is True
    assert "new_head" not in whole.origin
    assert training_key(anew) != training_key(whole)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"new_head": True}, "give --init FILE too"),
        ({"new_head": True, "init": "w.safetensors", "model": "mlp"}, "don't fit the model"),
    ],
    ids=["no weights", "weights of another model"],
)
def test_bad_input_is_one_line(given: dict[str, Any], says: str) -> None:
    path, _ = saved("preact-resnet18(width=2)", "torch")
    assert path.name == "w.safetensors"
    with pytest.raises(BenchError, match=says) as caught:
        plan(**given)
    assert "\n" not in str(caught.value)
