"""The few-shot protocol: how queries are attacked, what adapting costs, and what is put back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import untrained
from test_few_shot import SMALL, THREAT, adapted, data, draw

import defenses
from benchmark.config import read
from benchmark.datasets.examples import Examples
from benchmark.metatest.fewshot import course as measuring
from benchmark.metatest.fewshot.course import Candidate, Course
from benchmark.metatest.fewshot.settings import FewShot
from benchmark.metatest.readouts.names import READOUTS
from benchmark.metatest.readouts.table import ReadOut, Support, choose, readout
from benchmark.metatest.scales import MIDDLE, SCALES
from benchmark.metatest.summary import share
from benchmark.plans.run import make_plan
from benchmark.stages.fewshot import NewClasses
from defenses.heads.spec import Heads
from defenses.perturbation.spec import pgd


def attacked(name, setting, scale=10.0, *, numbers=(0, 1), seed=0):
    """What each attack on these episodes was given, and the model."""
    dataset, calls = data(), []
    model = adapted("torch", dataset)
    course = Course(SMALL, dataset, THREAT, seed, model)
    attack = model.attack

    def recorded(x, y, start, heads, **budget):
        calls.append((x, start, heads, budget["ascent"], model.features(x)))
        return attack(x, y, start, heads, **budget)

    model.attack = recorded
    chosen = readout(name, model)
    course._measured(
        course._problem("test", 2, 2, chosen), numbers, Candidate(chosen, setting, scale)
    )
    return calls


HEAD = {"rate": 0.3, "steps": 5}
SETTINGS = {"ridge": {"penalty": 0.1}, "linear-adv": HEAD, "finetune": {"rate": 0.1, "steps": 5}}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", SETTINGS)
def test_queries_are_attacked_through_logits_as_far_apart_as_was_chosen(name, scale):
    _, _, heads, _, features = attacked(name, SETTINGS[name], scale)[-1]
    logits = heads.logits(features.reshape(len(heads), -1, features.shape[-1]))
    assert logits.std(axis=-1).mean(axis=-1) == pytest.approx(scale)


def test_supports_and_queries_are_attacked_by_their_own_steps_from_starts_of_the_seed():
    found = [attacked("linear-adv", HEAD, seed=seed) for seed in (0, 0, 1)]
    for calls in found:
        assert [ascent.steps for *_, ascent, _ in calls] == [2, 3]
    for one, same, other in zip(*found, strict=True):
        assert np.array_equal(one[1], same[1])
        assert not np.array_equal(one[1], other[1])


@pytest.mark.parametrize("name", ["finetune", "own"])
def test_every_episode_begins_with_the_trained_weights(name):
    """So an episode is the same whatever came before it."""
    after, alone = (attacked(name, SETTINGS["finetune"], numbers=n)[-1] for n in ((0, 1), (1,)))
    assert np.array_equal(after[0], alone[0])
    assert np.array_equal(after[2].weights, alone[2].weights)
    assert np.array_equal(after[4], alone[4])


def test_the_defender_chooses_the_setting_and_then_the_attacker_the_scale():
    left = {(1, MIDDLE): 0.4, (2, MIDDLE): 0.6, (3, MIDDLE): 0.5}
    left |= {(2, scale): 0.9 for scale in SCALES if scale != MIDDLE} | {(2, 3.0): 0.2, (1, 3.0): 1}
    grid = tuple({"penalty": penalty} for penalty in (1, 2, 3))
    chosen = ReadOut(lambda *_: None, grid, lambda *_: None)
    found = choose(chosen, lambda setting, scale: left[setting["penalty"], scale])
    assert found == ({"penalty": 2}, 3.0)


@pytest.mark.parametrize("name", [*READOUTS, "own attacked"])
def test_adapting_costs_the_passes_that_ran(name):
    dataset = data()
    model = adapted("torch", dataset)
    if name == "own attacked":
        given = {"preset": "adml"}
        model.defense = untrained.defenses.create("meta-adv", THREAT, given)
        assert readout("own", model).attacks
    chosen, ascent = readout(name.partition(" ")[0], model), pgd("linf", 3)
    x, y = np.asarray(dataset.novel["test"].support[:4]), np.array([0, 0, 1, 1])
    start = THREAT.random_starts(np.random.default_rng(0), x.shape) if chosen.attacks else None
    for setting in chosen.grid[:2]:
        model.restore()
        model.spent()
        fixed = None if chosen.moves else model.features(x)[None]
        chosen.fit(model, Support(x, y, 2, start, THREAT.eps, ascent, fixed), setting)
        assert model.spent() == chosen.cost(len(x), setting, ascent)


@pytest.mark.parametrize("queries", ["5", "5,stored"])
@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("name", [*READOUTS, "own closed"])
def test_the_effort_is_about_what_is_counted(name, shots, queries):
    """With the most steps, which are chosen most often."""
    name, closed, dataset = name.partition(" ")[0], " " in name, data()
    model = adapted("torch", dataset)
    if closed:
        given = {"preset": "aq-ridge"}
        model.defense = untrained.defenses.create("meta-adv", THREAT, given)
    protocol = FewShot(
        queries=queries, episodes=12, attack_steps=5, support_attack_steps=3, tuning_episodes=3,
        autoattack_episodes=0,
    )  # fmt: skip
    record, _ = Course(protocol, dataset, THREAT, 0, model).run(name, 3, shots)
    assert record["setting"].get("steps", 20) in (20, 100)
    counted = [record["tuning"]["cost"], record["measuring_cost"]]
    spent = sum(cost["gradient_evaluations"] for cost in counted)
    effort = protocol.gradient_evaluations(name, 3, shots, model.defense.adaptation)
    assert effort == pytest.approx(spent, rel=0.2)


def test_a_plan_knows_how_the_defense_itself_adapts(tmp_path):
    given = {"protocol": "few-shot", "split": "0", "baseline": False, "framework": ["torch"]}
    given |= {"defense": ["meta-adv"], "parameters": {"meta-adv": {"inner_steps": 100}}}
    (job,) = make_plan(read({**given, "ways": "2", "shots": "1", "out": tmp_path / "out"})).jobs
    own = defenses.create("meta-adv", THREAT, {"inner_steps": 100}).adaptation
    stages = [one for one in job.stages if isinstance(one, NewClasses)]
    assert [one.readout for one in stages] == list(READOUTS)
    assert stages[-1].effort == stages[-1].protocol.gradient_evaluations("own", 2, 1, own)
    assert job.adapting == sum(one.effort for one in stages)


def test_tuning_and_measuring_cost_the_attacks_that_they_make():
    """Of 2 and 4 episodes, of 6 queries, 3 steps each; and as many on the stored ones."""
    dataset = data()
    record, _ = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset)).run("ridge", 2, 2)
    tried = len(record["tuning"]["tried"])
    assert tried == len(readout("ridge", None).grid) + len(SCALES) - 1
    assert record["tuning"]["cost"]["backwards"] == tried * 2 * 6 * 3
    assert record["measuring_cost"]["backwards"] == 2 * 4 * 6 * 3


def test_what_an_earlier_read_out_left_behind_changes_nothing():
    """Neither its weights nor what it spent."""
    dataset = data()
    model, x = adapted("torch", dataset), np.asarray(dataset.x_test[:4])
    protocol = dataclasses.replace(SMALL, autoattack_episodes=1)
    course = Course(protocol, dataset, THREAT, 0, model)
    features = model.features(x)
    alone, _ = course.run("ridge", 2, 2)
    course.run("finetune", 2, 2)
    assert not np.array_equal(model.features(x), features)
    after, _ = course.run("ridge", 2, 2)
    assert np.array_equal(model.features(x), features)
    assert {**after, "seconds": 0} == {**alone, "seconds": 0}


def test_a_record_tells_the_cost_of_a_support_and_intervals_of_all_queries():
    """Two ways, two shots, three queries a class; all four episodes alike."""
    dataset = data()
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    record, _ = course.run("linear-adv", 2, 2)
    assert record["labels_used"] == 4
    chosen, ascent = readout("linear-adv", course.model), pgd("linf", 2)
    assert record["cost"] == chosen.cost(4, record["setting"], ascent).as_record()
    found = course.summary({"robust": np.ones(4)}, 2)["robust"]
    assert found == vars(share(np.ones(4), 6))


def test_queries_are_of_the_part_of_queries():
    """Where the data came with a test part; here its examples go the other way."""
    dataset = data()
    whole = dataset.novel["test"]
    x, y = np.asarray(whole.support)[::-1], whole.y_support[::-1]
    turned = dataclasses.replace(whole, query=Examples(x), y_query=y, shared=False)
    dataset = dataclasses.replace(dataset, novel={**dataset.novel, "test": turned})
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    chosen = readout("ridge", course.model)
    problem = course._problem("test", 3, 2, chosen)
    found = course._measured(problem, range(6), Candidate(chosen, {"penalty": 0.1}, 10.0))
    assert found["clean"].mean() > 0.8


def test_a_query_whose_logits_are_not_finite_is_wrong():
    """Also where the first class, whose place stands for the largest, is the right one."""
    dataset = data()
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    batch = draw(range(1))
    features = np.ones((1, batch.query.shape[1], 3))
    features[0, ::2] = np.nan
    heads = Heads(np.tile([2.0, 1.0], (1, 3, 1)), np.zeros((1, 2)), unit=False)
    right = course._right(heads, features, batch)
    assert right.tolist() == [[False, True, False, False, False, False]]


def test_autoattack_goes_on_with_what_pgd_left(monkeypatch):
    given = []
    monkeypatch.setattr(
        measuring,
        "autoattack",
        lambda estimator, x, y, right, *_, **__: (given.append(right), right)[1],
    )
    dataset = data()
    protocol = dataclasses.replace(SMALL, autoattack_episodes=2)
    course = Course(protocol, dataset, THREAT, 0, adapted("torch", dataset))
    _, arrays = course.run("ridge", 2, 2)
    assert [right.mean() for right in given] == arrays["robust"][:2].tolist()
    assert 0 < arrays["robust"][:2].mean() < 1
