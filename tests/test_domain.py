"""Adaptation to another data set: what is drawn, and what comes of it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from small_domain import SMALL, course, dataset
from untrained import SHAPE, THREAT, adaptable, adapted, defenses, model

from benchmark import frameworks
from benchmark.metatest.domain import episodes
from benchmark.metatest.domain.course import Course
from benchmark.metatest.domain.settings import METHODS, READING, sized_for
from benchmark.metatest.model import Adaptable
from benchmark.metatest.readouts.model import Reading
from benchmark.metatest.scales import SCALES
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import DomainRecord
from benchmark.stages import domain as stage
from defenses.heads import spec
from defenses.perturbation.spec import pgd
from defenses.threat import Threat


def beginning(method, framework, dtype="float64"):
    """A model that a method begins with; one for a read-out tells other classes apart."""
    if method in READING:
        return adapted(framework, classes=5, dtype=dtype)
    return adaptable(framework, dtype=dtype)


def test_few_labels_are_the_beginning_of_more_and_alike_in_each_class():
    few, y_few, query, _ = course().draw(0, 1)
    many, y_many, same, _ = course().draw(0, 3)
    assert y_few.tolist() == [0, 1, 2]
    assert y_many.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert np.array_equal(few, many[::3])
    assert np.array_equal(query, same)


def test_settings_are_chosen_without_test_images():
    *_, tuning, _ = course().draw(0, 1, tuning=True)
    *_, final, _ = course().draw(0, 1)
    assert tuning.max() < 0.5 < final.min()


def test_progress_counts_what_settings_are_chosen_on():
    told = []
    record, _ = course().run("finetune", beginning("finetune", "torch"), told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert len(told) == len(record["tried"]) + SMALL.episodes * len(SMALL.shots)


@pytest.mark.parametrize("method", METHODS)
def test_both_frameworks_find_the_same(method):
    found = [course().run(method, beginning(method, name)) for name in frameworks.FRAMEWORKS]
    (ours, arrays), (theirs, others) = found
    for name in ("status", "setting", "tried", "cost", "robust", "labels_used"):
        assert ours[name] == theirs[name], name
    assert ours["status"] == "ok"
    for name, values in arrays.items():
        assert np.array_equal(values, others[name]), name
        assert values.shape == (2, 2)
    assert (arrays["robust"] <= arrays["clean"]).all()


@pytest.mark.parametrize("method", ["finetune", "centroid"])
def test_autoattack_leaves_no_more_than_pgd_and_is_of_the_first_episodes(method):
    protocol = dataclasses.replace(SMALL, autoattack_episodes=1, shots=(1,))
    whole = course(protocol).run(method, beginning(method, "torch", "float32"))
    some = course(protocol).run(method, beginning(method, "torch", "float32"), numbers=[1])
    assert whole[1]["autoattack"].shape == (1, 1)
    assert (whole[1]["autoattack"] <= whole[1]["robust"][:1]).all()
    assert whole[0]["autoattack"][0]["mean"] == whole[1]["autoattack"].mean()
    assert some[1]["autoattack"].shape == (0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_what_choosing_and_measuring_cost_is_counted(method, monkeypatch):
    """Attacks on queries at every scale, and the adaptation, which has an entry of its own."""

    def asked_once(estimator, x, y, right, *_, **__):
        estimator.predict(x)
        return right

    monkeypatch.setattr(episodes, "autoattack", asked_once)
    protocol = dataclasses.replace(SMALL, autoattack_episodes=1)
    record, _ = course(protocol).run(method, beginning(method, "torch", "float32"))
    for place, shots in enumerate(SMALL.shots):
        tried = [one for one in record["tried"] if one["shots"] == shots]
        attacks = len(SCALES) * SMALL.queries * SMALL.attack_steps
        cost, measuring = record["cost"][place], record["measuring_cost"][place]
        assert record["tuning_cost"][place]["backwards"] == len(tried) * (
            SMALL.tuning_episodes * (attacks + cost["backwards"])
        )
        assert measuring["backwards"] == SMALL.episodes * (attacks + cost["backwards"])
        asked = SMALL.queries * (1 + len(SCALES))  # before and after each attack
        assert measuring["forwards"] == SMALL.episodes * (attacks + asked + cost["forwards"])
        assert record["autoattack_cost"][place]["forwards"] == SMALL.queries
    told = {"adapt_to": "other", "protocol_version": PROTOCOL_VERSION}
    assert DomainRecord(**record, **told).tuning_cost


@pytest.mark.parametrize("renewing", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_effort_is_about_what_is_counted(method, renewing):
    """With the most rounds, which are chosen most often; of a model of as many classes or more."""
    protocol = dataclasses.replace(
        SMALL, rates=(0.1,), rounds=(1, 6), queries=3, episodes=3, support_attack_steps=4
    )
    begun = beginning(method, "torch", "float32")
    if renewing and method not in (*READING, "scratch-adv"):
        begun = Adaptable(begun._kernel, None, lambda: None)
    record, _ = course(protocol).run(method, begun)
    counted = [*record["tuning_cost"], *record["measuring_cost"]]
    spent = sum(one["gradient_evaluations"] for one in counted)
    spent += sum(  # of what the most rounds would have taken
        protocol.episodes * (6 / setting["rounds"] - 1) * cost["gradient_evaluations"]
        for setting, cost in zip(record["setting"], record["cost"], strict=True)
        if "rounds" in setting
    )
    told = sized_for(protocol, dataset(classes=3 if renewing else 5), dataset(), given=())
    assert told.gradient_evaluations(method) == pytest.approx(spent)
    assert told.keys() == dataclasses.replace(protocol, fingerprint=told.fingerprint).keys()


def test_a_last_layer_begins_anew_where_validation_says_so():
    """Where the trained last layer is of no use, a new one is."""
    model = adaptable("torch")
    trained = model._kernel.weights()
    last = list(trained)[-2:]
    useless = {name: 0 * value if name in last else value for name, value in trained.items()}
    model._kernel.load_weights(useless)
    renewing = Adaptable(model._kernel, None, lambda: model._kernel.load_weights(trained))
    renewing.restore(new_head=True)
    x = dataset().x_test[:]
    assert np.array_equal(renewing.logits(x), adaptable("torch").logits(x))
    record, _ = course().run("finetune", renewing)
    for shots, chosen in zip(record["shots"], record["setting"], strict=True):
        mine = [one for one in record["tried"] if one["shots"] == shots]
        assert {one["new_head"] for one in mine} == {0, 1}
        best = max(mine, key=lambda one: one["robust"])
        assert chosen == {name: best[name] for name in ("rate", "rounds", "new_head")}


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_a_new_last_layer_is_that_before_training_and_the_rest_stays(framework):
    fitted = defenses.create("none", THREAT).resume(model(framework))
    before = fitted.kernel.weights()
    renew = stage._renewing(fitted)
    trained = {name: value + 1 for name, value in before.items()}
    fitted.kernel.load_weights(trained)
    renew()
    after, last = fitted.kernel.weights(), list(before)[-2:]
    for name, value in after.items():
        assert np.array_equal(value, (before if name in last else trained)[name]), name


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_from_scratch_all_layers_move_whatever_the_training_moves(framework):
    context = SimpleNamespace(
        build=lambda classes: model(framework, classes=classes),
        defense=defenses.create("meta-adv", THREAT, {"algorithm": "anil"}),
        wrap=print,
    )
    begun, data = stage.beginning(context, course(), "scratch-adv"), dataset()
    before = begun._kernel.weights()
    begun.descend(data.x_test[:], data.y_test, steps=1, rate=0.5)
    after = begun._kernel.weights()
    assert [name for name, value in before.items() if np.array_equal(after[name], value)] == []


def test_every_episode_begins_with_the_same_weights():
    setting, found = {"rate": 0.5, "rounds": 2, "new_head": 0}, []
    for numbers in ((0, 1), (1,)):
        begun = adaptable("torch")
        for number in numbers:
            course().run_episode("finetune", begun, 3, setting, number)
        found.append(begun._kernel.weights())
    after, alone = found
    assert all(np.array_equal(value, alone[name]) for name, value in after.items())


def test_labelled_images_and_queries_are_attacked_by_their_own_steps(monkeypatch):
    begun, steps, left = adaptable("torch"), [], []
    attack = begun.attack

    def recorded(x, *rest, ascent, **more):
        steps.append((len(x), ascent.steps))
        return attack(x, *rest, ascent=ascent, **more)

    monkeypatch.setattr(begun, "attack", recorded)
    monkeypatch.setattr(
        episodes, "autoattack", lambda estimator, x, y, right, *_, **__: left.append(right) or right
    )
    protocol = dataclasses.replace(SMALL, support_attack_steps=4, autoattack_episodes=1)
    setting = {"rate": 0.1, "rounds": 2, "new_head": 0}
    whole = dataclasses.replace(course(protocol), threat=Threat("linf", 0.15))
    found = whole.run_episode("finetune-adv", begun, 1, setting, 0)
    assert found.robust < found.clean
    assert steps == [(3, 4)] * 2 + [(6, 2)] * len(SCALES)  # AutoAttack goes on with what is left
    assert [right.mean() for right in left] == [found.robust] == [found.autoattack]


def test_a_query_has_to_stay_right_under_the_attack_at_every_scale():
    """At the first scale query 0 breaks, at the second 1 and so on; 5 is given up at the first."""

    class Model:
        asked = 0

        def attack(self, x, *_, **__):
            found = x.copy()
            found[5] = np.nan if self.asked == 0 else x[5]
            return found

        def predict(self, x):
            said = np.zeros(len(x), int)
            said[self.asked] = 1
            self.asked += 1
            return said

    x, y = np.full((6, *SHAPE), 0.5, np.float32), np.zeros(6, int)
    withstood, given_up = course()._withstood(Model(), x, y, x, np.eye(6))
    assert np.flatnonzero(~withstood).tolist() == list(range(len(SCALES)))
    assert np.flatnonzero(given_up).tolist() == [5]


@pytest.mark.parametrize("method", ["finetune", "centroid"])
def test_settings_are_chosen_on_episodes_of_the_validation_part_alone(method, monkeypatch):
    drawn, draw = [], Course.draw

    def recorded(*arguments, tuning=False):
        drawn.append(tuning)
        return draw(*arguments, tuning=tuning)

    monkeypatch.setattr(Course, "draw", recorded)
    protocol, tried = dataclasses.replace(SMALL, tuning_episodes=2), []
    course(protocol)._tuned(method, beginning(method, "torch"), 1, tried)
    assert drawn == [True] * 2 * len(tried)
    assert tried


def test_costs_are_those_of_attacks_and_descent():
    names = ("finetune", "finetune-adv")
    clean, attacked = (course().run(name, adaptable("torch"))[0] for name in names)
    # Two rounds of three steps on 3 and on 9 images; two more of attack a round
    assert [one["backwards"] for one in clean["cost"]] == [18, 54]
    assert [one["backwards"] for one in attacked["cost"]] == [30, 90]
    assert clean["labels_used"] == [3, 9]


@pytest.mark.parametrize("method", ["finetune", *READING])
def test_labels_teach_what_a_model_did_not_know(method):
    record, arrays = course().run(method, beginning(method, "torch"))
    before = adaptable("torch")
    x, y = dataset().x_test[:], dataset().y_test
    assert arrays["clean"][:, -1].mean() > (before.predict(x) == y).mean()
    assert record["clean"][-1]["mean"] == arrays["clean"][:, -1].mean()


def reading(framework, scale=1.0):
    """A model under the centroids of three labelled images."""
    model, (x, y, *_) = adapted(framework, classes=5), course().draw(0, 1)
    return Reading(model, spec.centroid(model.features(x)[None], y, 3).scaled(scale))


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_attacks_go_through_the_head_that_was_fitted(framework):
    """One signed step is along finite differences of the head's loss."""
    answering, (x, y, *_) = reading(framework), course().draw(1, 1)
    x = 0.3 + x.astype(np.float64)

    def losses(x):
        logits = answering.heads.logits(answering.model.features(x)[None])[0]
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]

    signs = np.empty_like(x)
    for pixel in np.ndindex(SHAPE):
        change = np.zeros_like(x)
        change[:, *pixel] = 1e-6
        signs[:, *pixel] = np.sign(losses(x + change) - losses(x - change))
    found = answering.attack(x, y, np.zeros_like(x), eps=0.01, ascent=pgd("linf", 1))
    assert np.abs(np.sign(found - x) - signs).mean() < 0.02  # a pixel may not matter


def answering(method, framework, factor):
    """A model that answers a method's queries, its logits so many times as large."""
    if method in READING:
        return reading(framework, factor)
    return adaptable(framework, factor=factor)


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
@pytest.mark.parametrize("method", ["finetune", "centroid"])
def test_no_scale_of_the_logits_hides_a_gradient_from_the_attack(method, framework):
    """Whether a last layer was trained, or a head's penalty is large, changes no verdict."""
    x = np.random.default_rng(3).random((60, *SHAPE))
    found = []
    for factor in (1.0, 1e-4, 1e4):
        model = answering(method, framework, factor)
        logits = model.logits(x)
        measured = Course(SMALL, dataset(), SHAPE, Threat("linf", 0.1), 0)
        withstood, given_up = measured._withstood(
            model, x, logits.argmax(1), np.zeros_like(x), logits
        )
        assert not given_up.any()
        found.append(withstood)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert 0 < found[0].mean() < 1


@pytest.mark.parametrize("method", ["finetune", "centroid"])
def test_queries_that_the_attack_gave_nothing_for_are_told(method, monkeypatch):
    model = beginning(method, "torch")
    monkeypatch.setattr(Reading, "attack", lambda self, x, *_, **__: x + np.nan)
    monkeypatch.setattr(Adaptable, "attack", lambda self, x, *_, **__: x + np.nan)
    record, arrays = course().run(method, model)
    assert np.array_equal(arrays["given_up"], arrays["clean"])
    assert record["given_up"] == arrays["clean"].mean() > 0


@pytest.mark.parametrize("method", ["finetune", "centroid"])
def test_what_was_wrong_before_an_attack_does_not_count_as_right_after_it(method, monkeypatch):
    target = dataclasses.replace(dataset(), y_test=np.zeros(30, int))
    for kind in (Adaptable, Reading):
        monkeypatch.setattr(kind, "logits", lambda self, x: np.eye(3)[np.ones(len(x), int)])
        monkeypatch.setattr(kind, "predict", lambda self, x: np.zeros(len(x), int))
    _, arrays = course(target=target).run(method, beginning(method, "torch"))
    assert (arrays["robust"] == 0).all()


def test_the_defender_chooses_the_setting_that_the_attack_leaves_most_of():
    record, _ = course().run("ridge", beginning("ridge", "torch"))
    for shots, chosen in zip(record["shots"], record["setting"], strict=True):
        mine = [one for one in record["tried"] if one["shots"] == shots]
        left = {one["penalty"]: one["robust"] for one in mine}
        assert chosen["penalty"] in left
        assert left[chosen["penalty"]] == max(left.values())


def test_a_read_out_costs_a_pass_of_each_labelled_image():
    record, _ = course().run("centroid", beginning("centroid", "torch"))
    assert [(one["forwards"], one["backwards"]) for one in record["cost"]] == [(3, 0), (9, 0)]
