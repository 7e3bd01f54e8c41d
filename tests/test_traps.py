"""Traps are found, each by the check that is for it, and honest models are left alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark import datasets, frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from fakes import target_of  # noqa: E402
from torch import nn  # noqa: E402
from traps import TRAPS, Trap, keras_traps, torch_traps  # noqa: E402, F401
from traps.honest import HONEST, dense  # noqa: E402
from traps.measuring import base_of, measured, truth  # noqa: E402
from traps.torch_traps import Around  # noqa: E402

from benchmark.trust import elsewhere, promises  # noqa: E402
from benchmark.trust.subject import Subject  # noqa: E402

COUNT = 50
PAGE = Path(__file__).parents[1] / "docs/concepts/trust.md"
QUICK = """
attacks:
  pgd:
    attack: pgd
    arguments: {max_iter: 20}
  square:
    attack: square
    arguments: {max_iter: 60, p_init: 0.3}
"""


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def base(data):
    return base_of(data, COUNT)


@pytest.fixture
def found(tmp_path, base):
    """What a quick suite makes of a model."""
    suite = tmp_path / "quick.yaml"
    suite.write_text(QUICK)
    return lambda model: measured(model, base.x, base.y, str(suite))


NAMED = {
    "k-winners-take-all": "success rises with eps",
    "mixed classifier": "other roads lead no further",
    "memorised test images": "as robust elsewhere",
    "memorised test images, robust elsewhere": "as robust elsewhere",
    "gradients with the other sign": "gradients keep their promise",
    "gradients of half of the pixels": "gradients keep their promise",
    "another model for whoever asks for gradients": "same answers with gradients",
    "statistics of the batch": "independent of the batch",
    "logits times 10,000": "loss in float32's range",
    "Keras: saturated sigmoid": "usable gradients",
}


@pytest.mark.parametrize("name", NAMED)
def test_a_trap_is_named(name, base, found):
    assert NAMED[name] in found(TRAPS[name](base).model).flags


@pytest.mark.parametrize("name", ["tanh", "batch norm"])
def test_an_honest_model_is_left_alone(name, data, found):
    assert found(HONEST[name](data)).flags == {}


def test_what_fools_the_model_below_tells_the_truth_about_a_trap(base):
    hidden = truth(TRAPS["rounded logits"](base), base.x, base.y)
    assert hidden <= 0.25
    assert truth(Trap(base.robust, base.robust), base.x, base.y) > hidden + 0.2


def test_the_trap_of_the_documentation_is_found(base, found):
    page = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r'^```python title="mine.py"\n(.*?)^```$', page, re.M | re.S)
    assert len(code.splitlines()) <= 10
    before = set(TRAPS)
    exec(compile(code, "mine.py", "exec"), {})
    (name,) = set(TRAPS) - before
    assert found(TRAPS.pop(name)(base).model).flags


def test_the_script_of_the_documentation_runs_and_knows_its_names():
    script = Path(__file__).parent / "performance" / "fakes.py"
    words = [sys.executable, str(script), "--only", "staircases"]
    ran = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith("no name of a trap or honest model has a part of 'staircases'\n")


@pytest.fixture
def subject(base):
    """A model as the checks see it, without attacks."""

    def of(model):
        target = target_of(model, base.x, base.y)
        return Subject(
            target.estimator, target.once, target.x, target.y, target.clean_prediction,
            "linf", 0.15, 0, [], judge=target.judge, clean=target.clean,
        )  # fmt: skip

    return of


@pytest.mark.parametrize("kind", [nn.ReLU, nn.Sigmoid])
def test_honest_gradients_keep_what_they_promise(kind, subject):
    share = promises.keeps_its_promise(subject(dense(32, kind))).evidence["share_kept"]
    assert share == pytest.approx(1, abs=0.1)


def test_a_gradient_that_is_scaled_keeps_less_than_it_promises(base, subject):
    tripled = Around(base.undefended, after=lambda z: 3 * z - 2 * z.detach())
    kept = promises.keeps_its_promise(subject(tripled))
    assert kept.evidence["share_kept"] == pytest.approx(1 / 3, abs=0.05)
    assert kept.status == "flagged"


def test_a_random_model_is_as_robust_elsewhere(base, subject):
    noisy = Around(base.undefended, before=lambda x: x + 0.1 * torch.randn_like(x))
    assert elsewhere.as_robust_elsewhere(subject(noisy)).status == "passed"


def test_changed_examples_lie_outside_of_every_budget(base, subject):
    one = subject(base.undefended)
    points, kept, _ = elsewhere._harmless(one, one.rows)
    apart = np.abs(points[kept][:, None] - one.x[None]).max(axis=(2, 3, 4)).min(axis=1)
    assert kept.any()
    assert apart.min() > one.eps
