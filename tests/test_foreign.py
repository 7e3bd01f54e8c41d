"""Attacks of other libraries in a suite: found by name, given what they take, and re-measured."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugins import distribution

from benchmark.attacks import foreign, lookup
from benchmark.attacks.running import run_attack
from benchmark.attacks.suites import AttackSpec, load_suite, recorded_attack
from benchmark.errors import SuiteError
from benchmark.results.records import AttackRecord

MINE = """
import numpy as np
from art.attacks import EvasionAttack

class Signs(EvasionAttack):
    attack_params = EvasionAttack.attack_params + ["norm", "eps", "reach"]
    _estimator_requirements = ()

    def __init__(self, estimator, norm=np.inf, eps=0.3, reach: float = 1.0):
        super().__init__(estimator=estimator)
        self.norm, self.eps, self.reach = norm, eps, reach

    def generate(self, x, y=None):
        gradient = self.estimator.loss_gradient(x, y)
        return np.clip(x + self.reach * self.eps * np.sign(gradient), 0, 1)

class Spelt(Signs):
    attack_params = "norm, eps, reach"

class Needy(Signs):
    def __init__(self, estimator, guide, eps=0.3):
        super().__init__(estimator, eps=eps)
"""

# As torchattacks is: a class of a model, called with images (n, C, H, W) and labels.
TORCHATTACKS = """
import torch

class FGSM:
    def __init__(self, model, eps=8 / 255, steps=1):
        self.model, self.eps, self.steps = model, eps, steps
        self.device = next(model.parameters()).device

    def __call__(self, images, labels):
        assert images.shape[1:] == (1, 8, 8)
        images = images.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(self.model(images), labels)
        (gradient,) = torch.autograd.grad(loss, images)
        return (images + self.eps * gradient.sign()).clamp(0, 1).detach()

class StepL2(FGSM):
    pass

class Norms(FGSM):
    def __init__(self, model, norm="Linf", eps=0.3, n_classes=10, seed=None, verbose=False):
        super().__init__(model, eps)
        Norms.told = norm, eps, n_classes, seed

class Taken(FGSM):
    def __init__(self, model, eps=0.1, batch_size=1, verbose=False, summary_writer=False,
                 device="cpu", seed=0, targeted=False, ord=2, tensor_board=False):
        super().__init__(model, eps)

class Nearest(FGSM):
    def __init__(self, model, c=1.0, steps: int = 50):
        super().__init__(model, 0.1)

class Patches(FGSM):
    def __init__(self, model, max_epsilon=16 / 255):
        super().__init__(model, max_epsilon)
"""

# As Foolbox is: objects tell the norm, which their classes may not know, or know wrongly.
FOOLBOX_ATTACKS = """
from types import SimpleNamespace as Norm
from .base import MinimizationAttack

class Own:
    distance = Norm(p=1)

class OfObjects:
    distance = property(lambda self: Norm(p=2))

class Untold(MinimizationAttack):
    @property
    def distance(self):
        raise ValueError("unknown distance")

class Constrained(MinimizationAttack):
    distance = Norm(p=1)

    def __init__(self, steps=3, constraint="l2"):
        Constrained.told, self.distance = constraint, Norm(p=2)

    def __call__(self, model, x, labels, epsilons):
        return x, x, None

class Lacking:
    def __init__(self):
        import numba_that_is_not_there
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two distributions: `signs`, and what stands for torchattacks."""
    distribution(tmp_path, "signs", version="1.2", module=MINE)
    distribution(tmp_path, "torchattacks", version="3.9", module=TORCHATTACKS)
    for name in ("signs", "torchattacks"):
        (
            tmp_path / f"{name}-{'1.2' if name == 'signs' else '3.9'}.dist-info" / "top_level.txt"
        ).write_text(name)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    foreign.entry.cache_clear()
    yield
    foreign.entry.cache_clear()
    for name in ("signs", "torchattacks"):
        sys.modules.pop(name, None)


def run(name: str, target: Any, *, norm: str = "linf", eps: float = 0.1, **given: Any) -> Any:
    spec = AttackSpec("foreign", name, given)
    return run_attack(spec, target, key="k", norm=norm, eps=eps, seed=0)


@pytest.mark.usefixtures("place")
def test_a_class_of_any_distribution_does_what_the_same_steps_do(make_target: Any) -> None:
    record, found = run("signs:Signs", make_target("torch"))
    _, expected = run("fast-gradient", make_target("torch"))

    assert record["status"] == "ok"
    assert record["attack"] == "signs:Signs"
    assert record["identity"][-1] == {"distribution": "signs 1.2"}
    assert np.array_equal(found["success"], expected["success"])
    AttackRecord(**record)


@pytest.mark.usefixtures("place")
def test_points_outside_the_budget_count_for_nothing(make_target: Any) -> None:
    record, found = run("signs:Signs", make_target("torch"), eps=0.02, reach=5.0)

    assert record["violations"]["budget"] > 0
    assert not (found["success"] & (found["linf"] > 0.02 * (1 + 1e-4))).any()


@pytest.mark.usefixtures("place")
def test_torchattacks_are_counted_and_seen_on_models_of_pytorch(make_target: Any) -> None:
    record, found = run("torchattacks:FGSM", make_target("torch"))
    _, expected = run("fast-gradient", make_target("torch"))

    assert record["attack"] == "torchattacks.FGSM"
    assert record["identity"][-1] == {"distribution": "torchattacks 3.9"}
    assert record["backwards"] == (~expected["clean_correct"] == 0).sum()
    assert np.array_equal(found["success"], expected["success"])


DECLARED = {
    "FGSM": (("linf",), ("steps",), ("gradient",)),
    "StepL2": (("l2",), ("steps",), ("gradient",)),
    "Norms": (("linf", "l2"), (), ("gradient",)),
    "Taken": (("linf",), (), ("gradient",)),
    "Nearest": (("linf", "l2", "l1", "l0"), ("c", "steps"), ("minimal-norm",)),
    "Patches": (("linf",), (), ("gradient",)),
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("name", "declared"), DECLARED.items())
def test_the_signature_tells_what_a_class_of_torchattacks_serves(
    name: str, declared: tuple[tuple[str, ...], ...]
) -> None:
    entry = lookup.entry(f"torchattacks:{name}")

    assert (entry.norms, entry.arguments, entry.kinds) == declared
    assert entry.images_only
    assert entry.frameworks == ("torch",)


@pytest.mark.usefixtures("place")
def test_what_the_benchmark_knows_is_given_to_torchattacks(make_target: Any) -> None:
    record, _ = run("torchattacks:Norms", make_target("torch"), norm="l2", eps=0.5)

    assert record["status"] == "ok", record["reason"]
    classes = make_target("torch").estimator.nb_classes
    assert sys.modules["torchattacks"].Norms.told == ("L2", 0.5, classes, 0)


@pytest.mark.usefixtures("place")
def test_a_budget_of_another_name_is_the_runs_too(make_target: Any) -> None:
    _, found = run("torchattacks:Patches", make_target("torch"))
    _, expected = run("torchattacks:FGSM", make_target("torch"))

    assert np.array_equal(found["linf"], expected["linf"])
    assert 0 < found["linf"].max() <= 0.1 + 1e-6


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_one_without_a_budget_runs_under_every_norm_that_it_serves(
    make_target: Any, norm: str
) -> None:
    record, _ = run("torchattacks:Nearest", make_target("torch"), norm=norm)

    assert record["status"] == "ok", record["reason"]


@pytest.fixture
def foolbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package foolbox in a folder of its own; gives its attacks."""
    distribution(tmp_path, "foolbox", version="3.9")
    (tmp_path / "foolbox/attacks").mkdir(parents=True)
    (tmp_path / "foolbox/__init__.py").write_text(
        "from . import attacks\ndef PyTorchModel(model, bounds, device): return model"
    )
    (tmp_path / "foolbox/attacks/__init__.py").write_text(FOOLBOX_ATTACKS)
    (tmp_path / "foolbox/attacks/base.py").write_text("class MinimizationAttack: pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    ours = [name for name in sys.modules if name.partition(".")[0] == "foolbox"]
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    foreign.entry.cache_clear()
    yield importlib.import_module("foolbox.attacks")
    foreign.entry.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "foolbox"]:
        del sys.modules[name]


@pytest.mark.usefixtures("foolbox")
@pytest.mark.parametrize(
    ("name", "declared"),
    {
        "Own": (("l1",), (), ("gradient",)),
        "OfObjects": (("l2",), (), ("gradient",)),
        "Untold": (("linf", "l2", "l1", "l0"), (), ("minimal-norm",)),
        "Constrained": (("linf", "l2"), ("steps",), ("minimal-norm",)),
    }.items(),
)
def test_an_object_of_foolbox_tells_what_norm_it_serves(
    name: str, declared: tuple[tuple[str, ...], ...]
) -> None:
    entry = lookup.entry(f"foolbox:{name}")

    assert (entry.norms, entry.arguments, entry.kinds) == declared


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_norm_that_is_minimal_is_the_runs(foolbox: Any, make_target: Any, norm: str) -> None:
    record, _ = run("foolbox:Constrained", make_target("torch"), norm=norm)

    assert record["status"] == "ok", record["reason"]
    assert foolbox.Constrained.told == norm


@pytest.mark.usefixtures("foolbox")
def test_a_class_of_foolbox_that_lacks_a_package_is_told_before_a_run() -> None:
    with pytest.raises(SuiteError, match=r"'foolbox:Lacking' can't be created: .*numba"):
        lookup.entry("foolbox:Lacking")


@pytest.mark.usefixtures("place")
def test_torchattacks_do_not_apply_to_models_of_tensorflow() -> None:
    from benchmark.conformance.attack import _Subject

    subject = _Subject("torchattacks:FGSM")
    record, arrays = run("torchattacks:FGSM", subject.target("tensorflow"))

    assert (record["status"], arrays) == ("not-applicable", {})
    assert record["reason"] == "runs on models of torch, not tensorflow"


def test_a_class_of_art_is_taken_as_it_is(make_target: Any) -> None:
    record, _ = run("art:ProjectedGradientDescent", make_target("tensorflow"), max_iter=5)

    assert record["status"] == "ok"
    assert record["robust_accuracy"] < record["clean_accuracy"]
    assert lookup.entry("art:ProjectedGradientDescent").distribution == ""


WRONG = {
    "no such class of art": ("art:DeepFol", {}, "no such class; did you mean 'DeepFool'"),
    "no class": ("art:pgd step", {}, "is no class; write art:CLASS, torchattacks:NAME"),
    "no distribution": ("json:JSONDecoder", {}, "no installed distribution has the module json"),
    "no attack": ("numpy:ndarray", {}, "'numpy:ndarray' is not derived from art.attacks.Evasion"),
    "abstract": ("art.attacks:EvasionAttack", {}, "is abstract; name a class that has its own"),
    "no module": ("signs.none:Signs", {}, "needs the package signs"),
    "needs more": ("signs:Needy", {}, "'signs:Needy' needs guide, which no suite can give"),
    "attack_params": ("signs:Spelt", {}, "its attack_params are 'norm, eps, reach'; give a list"),
    "argument": ("art:FastGradientMethod", {"step": 1}, "unknown key 'step'"),
    "type": (
        "art:ProjectedGradientDescent",
        {"max_iter": "x"},
        "max_iter is 'x'; allowed: a whole",
    ),
    "harness's own": ("signs:Signs", {"eps": 3}, "unknown key 'eps'"),
    "absent": ("foolbox:LinfPGD", {}, "'foolbox:LinfPGD' needs the package foolbox"),
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("name", "arguments", "told"), WRONG.values(), ids=WRONG)
def test_what_can_not_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, arguments: dict[str, Any], told: str
) -> None:
    if name.startswith("foolbox") and importlib.util.find_spec("foolbox"):
        pytest.skip("foolbox is installed")
    suite = tmp_path / "mine.yaml"
    suite.write_text(f"attacks: {{one: {{attack: '{name}', arguments: {arguments}}}}}")

    with pytest.raises(SuiteError) as raised:
        load_suite(str(suite))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("raised", ["SystemExit: bye", "ValueError: bye"])
def test_a_module_that_raises_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: str
) -> None:
    distribution(tmp_path, "quits", module=f"raise {raised.partition(':')[0]}('bye')")
    (tmp_path / "quits-1.0.dist-info" / "top_level.txt").write_text("quits")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(SuiteError, match=f"^attack 'quits:Signs' can't be loaded: {raised}$"):
        foreign.entry("quits:Signs")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("identity", "told"),
    [
        (["signs:Signs", {}, {"distribution": "signs 1.2"}], "such are not imported"),
        (["os:system", {}], "such are not imported"),
        (["torchattacks:FGSM", {}, {"distribution": "torchattacks 1.0"}], "installed is torchatt"),
        (["gone", {}, {"distribution": "else 1"}], "'gone' of 'else 1' is not installed here"),
    ],
)
def test_a_record_names_no_other_code(identity: list[Any], told: str) -> None:
    with pytest.raises(SuiteError, match=told):
        recorded_attack("one", identity)


@pytest.mark.usefixtures("place")
def test_a_record_of_the_same_version_is_read_back() -> None:
    spec = AttackSpec("one", "torchattacks:FGSM", {"steps": 2})

    assert recorded_attack("one", spec.identity()) == spec


REAL = ["foolbox:LinfPGD", "foolbox:L2DeepFoolAttack", "torchattacks:PGD", "torchattacks:PGDL2"]


# Foolbox imports from a place that SciPy has left.
@pytest.mark.filterwarnings("ignore:Please import .* from the `scipy:DeprecationWarning")
@pytest.mark.parametrize("name", REAL)
def test_the_libraries_themselves_break_what_pgd_breaks(make_target: Any, name: str) -> None:
    if importlib.util.find_spec(name.partition(":")[0]) is None:
        pytest.skip("the library is not installed")
    entry = lookup.entry(name)
    norm = entry.norms[0] if len(entry.norms) == 1 else "l2"
    eps = {"linf": 0.1, "l2": 1.0}[norm]

    record, _ = run(name, make_target("torch"), norm=norm, eps=eps)
    pgd, _ = run("pgd", make_target("torch"), norm=norm, eps=eps)

    assert record["status"] == "ok", record["reason"]
    assert record["robust_accuracy"] <= pgd["robust_accuracy"] + 0.5 * pgd["clean_accuracy"]
