"""Augmentation: what is done to an image, what is drawn, and where it is on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

from small_defenses import build  # noqa: E402

import defenses  # noqa: E402
from benchmark import datasets  # noqa: E402
from benchmark.config import read  # noqa: E402
from benchmark.datasets import Dataset  # noqa: E402
from benchmark.plans import run as plans  # noqa: E402
from defenses.augmentation import Augmentation  # noqa: E402

LINF = defenses.Threat("linf", 0.1)
ON = {"crop": 2, "flip": True, "cutout": 3}


class Fixed:
    """A generator that draws what it was given, in this order."""

    def __init__(self, *draws):
        self.draws = [np.array(draw) for draw in draws]

    def integers(self, *limits, size):
        assert self.draws[0].shape == size
        return self.draws.pop(0)

    def random(self, size):
        return self.draws.pop(0)


IMAGE = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4, 1)  # (n, H, W, C)
CASES = {
    "the middle": ({"crop": 1}, [[[1, 1]]], IMAGE[0, ..., 0]),
    "up and left": ({"crop": 1}, [[[0, 0]]], [[0, 0, 0, 0], [0, 1, 2, 3], [0, 5, 6, 7]]),
    "down and right": ({"crop": 2}, [[[3, 4]]], [[7, 8, 0, 0], [11, 12, 0, 0], [0, 0, 0, 0]]),
    "mirrored": ({"flip": True}, [[0.4]], IMAGE[0, :, ::-1, 0]),
    "not mirrored": ({"flip": True}, [[0.5]], IMAGE[0, ..., 0]),
    "moved, then mirrored": (
        {"crop": 1, "flip": True},
        [[[1, 0]], [0.0]],
        [[3, 2, 1, 0], [7, 6, 5, 0], [11, 10, 9, 0]],
    ),
    "a square": ({"cutout": 2}, [[[1, 2]]], [[1, 0, 0, 4], [5, 0, 0, 8], [9, 10, 11, 12]]),
    "in a corner": ({"cutout": 3}, [[[0, 0]]], [[0, 0, 3, 4], [0, 0, 7, 8], [9, 10, 11, 12]]),
    "at the end": ({"cutout": 2}, [[[2, 3]]], [[1, 2, 3, 4], [5, 6, 0, 0], [9, 10, 0, 0]]),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "draws", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_what_an_image_becomes(settings, draws, expected, dtype):
    generator, image = Fixed(*draws), IMAGE.astype(dtype)
    found = Augmentation(**settings)(generator, image)
    assert found.dtype == dtype
    assert np.array_equal(found[0, ..., 0], expected)
    assert generator.draws == []
    assert np.array_equal(image, IMAGE), "the data stay as they were"


def test_each_image_draws_for_itself():
    x = np.tile(IMAGE, (200, 1, 1, 1))
    found = Augmentation(crop=1, flip=True)(np.random.default_rng(0), x)
    assert len(np.unique(found, axis=0)) == 3 * 3 * 2


@pytest.mark.parametrize("name", ["pgd-at", "meta-adv"])
def test_nothing_is_drawn_where_it_is_off(name):
    defense, (x, y) = defenses.create(name, LINF), images(160)
    drawn = [defense.draw_augmented(np.random.default_rng(1), x, y)]
    drawn.append(defense.draw(np.random.default_rng(1), x, y))
    assert all(np.array_equal(drawn[0][key], drawn[1][key]) for key in drawn[1])


SUBSETS = {"support": 4, "query": 4, "tasks": 2}
FEW_WAY = {**SUBSETS, "distribution": "few-way", "ways": 2}


@pytest.mark.parametrize("parameters", [SUBSETS, FEW_WAY], ids=["subsets", "few-way"])
def test_support_and_query_are_augmented(parameters):
    """Black squares on white images are seen in every example of a task."""
    x, y = np.ones((16, 8, 8, 3), np.float32), np.arange(16) % 2
    defense = defenses.create("meta-adv", LINF, {**parameters, "cutout": 2})
    drawn = defense.draw_augmented(np.random.default_rng(0), x, y)
    assert drawn["x"].shape == (2, 8, 8, 8, 3)
    assert (drawn["x"].min(axis=(2, 3, 4)) == 0).all()
    assert (x == 1).all()


@pytest.mark.parametrize("name", ["pgd-at", "free-at", "gaussian", "meta-gen"])
def test_both_frameworks_train_on_the_same(name):
    small = {"batch_size": 16, **({"attack_steps": 2} if name == "pgd-at" else {})}
    defense = defenses.create(name, LINF, {**small, **ON})
    x, y = images(48)
    pair = [
        defense.fit(build(framework, x.shape[1:], 4), x, y, epochs=2, seed=1)
        for framework in ("torch", "tensorflow")
    ]
    ours, theirs = (one.predict(x) for one in pair)
    plain = defenses.create(name, LINF, small).fit(build("torch", x.shape[1:], 4), x, y, epochs=2)
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.abs(ours - plain.predict(x)).max() > 1e-2


BAD = {
    "crop": ({"crop": 9}, (8, 10, 3), "crop 9 is larger than the images, 8x10; give at most 8"),
    "cutout": ({"cutout": 9}, (10, 8, 3), "cutout 9 is larger than the images, 10x8"),
    "tabular": ({"flip": True}, (30,), "flip: only images can be augmented"),
    "negative": ({"crop": -1}, (8, 8, 3), "crop must be at least 0, got -1"),
    "no flag": ({"flip": 1}, (8, 8, 3), "flip must be true or false, got 1"),
}


@pytest.mark.parametrize(("parameters", "shape", "message"), BAD.values(), ids=BAD)
def test_refused(parameters, shape, message):
    with pytest.raises(defenses.DefenseError, match=message):
        defenses.create("meta-gen", LINF, parameters).check_inputs(shape)


DATA = {
    "cifar10": {"crop": 4, "flip": True},
    "cifar100": {"crop": 4, "flip": True},
    "svhn": {"crop": 4},
    "gtsrb": {"crop": 4},
    "imagenette": {"crop": 4, "flip": True},
    **{name: {} for name in ("digits", "mnist", "kmnist", "folder:x", "npz:x", "csv:x")},
}


@pytest.mark.parametrize(("name", "expected"), DATA.items(), ids=DATA)
def test_where_it_is_on(name, expected):
    assert datasets.defaults(name).augmentation((32, 40, 3)) == expected


def planned(monkeypatch, **flags):
    """Defense to a job, on data that are called cifar10."""
    return {job.cell.defense: job for job in made_plan(monkeypatch, **flags).jobs}


def made_plan(monkeypatch, **flags):
    x, y = images(60)
    data = Dataset("cifar10", x, y, x[:20], y[:20], x[20:40], y[20:40], tuple("abcd"))
    monkeypatch.setattr(plans, "load_data", lambda config, dry_run: data)
    config = read({"defense": "pgd-at", "dataset": "cifar10", "framework": "torch", **flags})
    return plans.make_plan(config)


def test_a_run_follows_the_data_set(monkeypatch):
    jobs = planned(monkeypatch)
    for name in ("none", "pgd-at"):
        assert jobs[name].cell.parameters["crop"] == 1
        assert jobs[name].cell.parameters["flip"] is True
        assert "cutout" not in jobs[name].cell.parameters
        assert jobs[name].asked.record.given == ["dataset"]


def test_what_is_turned_off_is_not_recorded_but_asked_for(monkeypatch):
    off = {"parameters": {"pgd-at": {"crop": 0, "flip": None}}}
    job = planned(monkeypatch, **off)["pgd-at"]
    assert not {"crop", "flip"} & job.cell.parameters.keys()
    assert job.asked.record.given == ["dataset", "parameters.pgd-at.crop", "parameters.pgd-at.flip"]


@pytest.mark.parametrize("preset", [None, "cifar10"])
def test_a_run_says_whose_recipe_it_follows(monkeypatch, preset):
    given = {} if preset is None else {"parameters": {"pgd-at": {"preset": preset}}}
    plan = made_plan(monkeypatch, **given)
    told = [line for line in plan.notices if "--set parameters.pgd-at.preset=cifar10" in line]
    assert len(told) == (preset is None)


def images(count):
    generator = np.random.default_rng(0)
    x = generator.uniform(-0.5, 1.5, (count, 8, 8, 3)).clip(0, 1).astype(np.float32)
    return x, generator.integers(0, 4, count)
