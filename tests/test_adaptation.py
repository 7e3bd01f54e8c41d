"""The adaptation protocol: what is attacked when, on which data, and what comes of it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import untrained
from untrained import PARTS, adaptable, dataset

import defenses
from benchmark import frameworks
from benchmark.metatest import families
from benchmark.metatest.attacks import Attacker
from benchmark.metatest.course import Course
from benchmark.metatest.episodes import draw_episode, run_episode
from benchmark.metatest.protocol import Protocol, resolve
from benchmark.metatest.tuning import Tuning, choose, tune
from benchmark.verification.cell import _check_support
from benchmark.verification.comparison import Comparison
from defenses.adaptation.spec import Adaptation
from defenses.cost import Cost

PROTOCOL = Protocol(
    families=("linf", "linf-large"),
    shots=(0, 2, 4),
    steps=(0, 1, 3),
    episodes=2,
    queries=5,
    attack_steps=2,
    rates=(0.1, 0.5),
    tuning_episodes=2,
)
BUDGETS = {"linf": 0.1, "l2": 0.5, "l1": 1.0}


def course(protocol=PROTOCOL, data=None):
    return Course(protocol, data or dataset(), "linf", BUDGETS, 0)


class Recorder(untrained.Recorder):
    """Which knows the parts that it saw."""

    def greys(self, *kinds):
        """The parts, by their grey, that calls of these kinds saw."""
        seen = {float(value) for kind, x, *_ in self.asked if kind in kinds for value in x.flat}
        return {part for part, grey in PARTS.items() if np.float32(grey) in seen}


def test_supports_are_attacked_once_before_and_queries_after_each_adaptation():
    data, model = dataset(random=False), Recorder()
    episode = draw_episode(PROTOCOL, data, course().attacker("linf-large"), number=0, seed=0)
    run_episode(model, episode, PROTOCOL, rate=0.5)

    told = []
    for kind, *what in model.asked:
        if kind == "attack":
            told.append("support" if what[0].flat[0] == np.float32(PARTS["train"]) else "query")
        elif kind not in ("predict", "logits"):
            told.append(f"{kind} {len(what[0])} x {what[1]}" if kind == "descend" else kind)
    adapted = ["descend {} x 1", "query", "descend {} x 2", "query"]
    assert told == [
        *("restore", "support", "query"),
        *("restore", *(text.format(2) for text in adapted)),
        *("restore", *(text.format(4) for text in adapted)),
    ]


def test_smaller_supports_are_the_beginning_of_the_largest():
    model = Recorder()
    episode = draw_episode(PROTOCOL, dataset(), course().attacker("linf"), number=0, seed=0)
    run_episode(model, episode, PROTOCOL, rate=0.5)
    few, many = (
        next(x for kind, x, *_ in model.asked if kind == "descend" and len(x) == size)
        for size in (2, 4)
    )
    assert np.array_equal(few, many[:2])


def test_tuning_sees_neither_test_examples_nor_other_families():
    model = Recorder()
    setting = course(data=dataset(random=False))
    setting.tuning(model)
    assert model.greys("attack", "predict") == {"train", "validation"}
    assert model.greys("descend") == {"train"}
    assert {norm for kind, _, *norms in model.asked if kind == "attack" for norm in norms} == {"l1"}
    assert {rate for _, _, rate, *_ in model.of("descend")} == set(PROTOCOL.rates)


def test_episodes_measure_on_test_examples():
    model = Recorder()
    setting = course(data=dataset(random=False))
    setting.family("linf-large", model, choose(PROTOCOL, np.zeros((2, 3, 3)), Cost()))
    assert model.greys("descend") == {"train"}
    assert model.greys("predict") == {"test"}


class Forgetful(Recorder):
    """Says 0; after each step of adaptation one more of the answers is 1."""

    done = 0

    def restore(self):
        self.done = 0

    def descend(self, x, y, *, steps, rate):
        self.done += steps

    def predict(self, x):
        return (np.arange(len(x)) < self.done).astype(int)


def test_forgetting_is_what_seen_families_lose():
    data = dataset()
    data.y_test[:] = 0
    tuning = choose(PROTOCOL, np.zeros((2, 3, 3)), Cost())
    record, arrays = course(data=data).family("linf-large", Forgetful(), tuning)
    assert record["seen_accuracy"] == pytest.approx([1, 0.8, 0.4])
    assert [one["mean"] for one in record["forgetting"]] == pytest.approx([0, -0.2, -0.6])
    assert arrays["area"] == pytest.approx([(0.9 * 1 + 0.6 * 2) / 3] * 2)
    assert record["accuracy"][0] == pytest.approx([1, 1, 1])  # no labels, no adaptation


def test_forgetting_is_of_the_largest_support():
    class MoreForgetful(Forgetful):
        """Of each example that it adapts to."""

        def descend(self, x, y, *, steps, rate):
            self.done = len(x)

    data = dataset()
    data.y_test[:] = 0
    tuning = choose(PROTOCOL, np.zeros((2, 3, 3)), Cost())
    record, _ = course(data=data).family("linf-large", MoreForgetful(), tuning)
    assert record["seen_accuracy"] == pytest.approx([1, 1 / 5, 1 / 5])


@pytest.mark.parametrize("chosen", [("universal",), ("linf", "universal")])
def test_what_may_be_forgotten_is_measured_also_where_it_was_not_chosen(chosen):
    protocol = dataclasses.replace(PROTOCOL, families=chosen)
    assert [one.name for one in course(protocol=protocol).seen()] == ["linf"]


@pytest.mark.parametrize("name", ["linf", "l2", "l1", "linf-large", "universal", "patch"])
def test_both_frameworks_adapt_alike(name):
    attacker = Attacker(name, families.FAMILIES[name].share * BUDGETS.get(name, 0.3), 4)
    episode = draw_episode(PROTOCOL, dataset(), attacker, number=0, seed=0)
    found = []
    for model in map(adaptable, frameworks.FRAMEWORKS):
        curves = run_episode(model, episode, PROTOCOL, rate=0.5)
        x_adv, _ = attacker.perturb(model, *episode.query, episode.own.draw)
        found.append((curves, x_adv))
    (ours, our_adv), (theirs, their_adv) = found
    assert np.array_equal(ours.correct, theirs.correct)
    assert np.array_equal(ours.clean, theirs.clean)
    assert (ours.adapting, ours.measuring) == (theirs.adapting, theirs.measuring)
    assert np.abs(our_adv - their_adv).max() < 1e-8
    assert np.abs(our_adv - episode.query[0]).max() > 0.05


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
@pytest.mark.parametrize("name", families.FAMILIES)
def test_no_scale_of_the_logits_hides_a_gradient_from_the_attack(name, framework):
    """Whether a last layer was trained changes nothing of the attack."""
    dtype = "float32" if families.FAMILIES[name].kind == families.LIBRARY else "float64"
    attacker = course().attacker(name)
    x, draws = dataset().x_test[:], np.random.default_rng(5)
    draw, found = attacker.draw(draws, x.shape), []
    for factor in (1.0, 2.0**-12, 2.0**12):
        model = adaptable(framework, dtype, factor)
        found.append(attacker.perturb(model, x, model.predict(x), draw).x_adv)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)
    assert np.abs(found[0] - x).max() > 0.05


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_attacks_of_art_meet_the_weights_as_they_are(framework):
    model = adaptable(framework, "float32")
    attacker = course().attacker("jsma")
    episode = draw_episode(PROTOCOL, dataset(), attacker, number=0, seed=0)
    x, y = episode.query
    found = []
    for steps in (0, 5):
        model.restore()
        model.descend(*episode.support, steps=steps, rate=2.0)
        right = model.predict(x) == y
        x_adv, _ = attacker.perturb(model, x, y, episode.own.draw)
        moved = (x_adv != x).reshape(len(x), -1).sum(axis=1)
        assert (moved <= 3).all()  # a tenth of 36 values
        assert (moved[right] > 0).any()
        assert (moved[~right] == 0).all()
        found.append(x_adv)
    assert not np.array_equal(*found)


@pytest.mark.parametrize("name", ["patch", "jsma"])
def test_costs_are_the_passes_that_ran(name):
    setting = course()
    model = adaptable("torch", "float32")
    forwards, backwards = [], []

    def count(module, inputs, output):
        forwards.append(len(inputs[0]))
        if output.requires_grad:
            output.register_hook(lambda gradient: backwards.append(len(gradient)))

    model._kernel.model.register_forward_hook(count)
    tuning = setting.tuning(model)
    record, _ = setting.family(name, model, tuning)
    stored = [record["cost"], record["measuring_cost"], setting.tuning_record(tuning)["cost"]]
    assert sum(cost["forwards"] for cost in stored) == sum(forwards)
    assert sum(cost["backwards"] for cost in stored) == sum(backwards)


def test_adapting_costs_the_attack_on_the_support_and_the_descents():
    episode = draw_episode(PROTOCOL, dataset(), course().attacker("linf"), number=0, seed=0)
    found = run_episode(adaptable("torch"), episode, PROTOCOL, rate=0.5)
    # Two steps of attack on 4; then three steps of descent on 2, and on 4
    assert found.adapting.backwards == 2 * 4 + 3 * 2 + 3 * 4
    # Two steps of attack on 5 queries: before, and at two checkpoints of two supports
    assert found.measuring.backwards == 2 * 5 * (1 + 2 * 2)


@pytest.mark.parametrize(
    "chosen", [("linf", "l2", "l1"), ("linf", "universal", "patch"), ("linf-large",)]
)
def test_the_effort_is_what_is_counted(chosen):
    """Of the tuning and of each family, whatever else there is that may be forgotten."""
    protocol = dataclasses.replace(PROTOCOL, families=chosen)
    model, whole = adaptable("torch", "float32"), course(protocol)
    tuning = whole.tuning(model)
    spent = tuning.cost.gradient_evaluations
    assert protocol.of_tuning() == pytest.approx(spent)
    for name in chosen:
        record, _ = whole.family(name, model, tuning)
        costs = [record[cost]["gradient_evaluations"] for cost in ("cost", "measuring_cost")]
        assert protocol.of_family(name, "linf") == pytest.approx(sum(costs)), name
        spent += sum(costs)
    assert protocol.gradient_evaluations("linf") == pytest.approx(spent)


@pytest.mark.parametrize("name", ["elastic-net", "square", "spatial"])
def test_the_effort_is_about_what_attacks_of_art_take(name):
    """On a model that is right, since what is wrong already is not attacked."""
    data, model = dataset(), adaptable("torch", "float32")
    labels = {f"y_{part}": model.predict(getattr(data, f"x_{part}")[:]) for part in PARTS}
    data = dataclasses.replace(data, **labels)
    protocol = dataclasses.replace(PROTOCOL, families=(name,), rates=(1e-6,))
    whole = course(protocol, data)
    record, _ = whole.family(name, model, whole.tuning(model))
    costs = [record[cost]["gradient_evaluations"] for cost in ("cost", "measuring_cost")]
    assert protocol.of_family(name, "linf") == pytest.approx(sum(costs), rel=0.25)


def test_adapting_leaves_the_trained_weights_as_they_were():
    model = adaptable("torch")
    x = dataset().x_test[:]
    before = model._kernel.predict(x)
    course().family("linf", model, choose(PROTOCOL, np.zeros((2, 3, 3)), Cost()))
    model.restore()
    assert np.array_equal(model._kernel.predict(x), before)


def test_a_rate_that_diverges_counts_as_wrong_everywhere():
    model = adaptable("torch", "float32")
    protocol = resolve("brief", {"shots": [4], "steps": [20], "queries": 9, "episodes": 2})
    protocol = dataclasses.replace(protocol, rates=(0.1, 1e6))  # as far as a user may go
    attacker = course(protocol).attacker("linf")
    episode = draw_episode(protocol, dataset(), attacker, number=0, seed=0)
    curves = run_episode(model, episode, protocol, rate=1e6)
    assert curves.correct[-1, -1] == curves.clean[-1, -1] == 0
    assert tune(model, protocol, dataset(), attacker, seed=0).rate == 0.1


class Broken(untrained.Recorder):
    """Right about everything of class 0; its attacks give no number for the first query."""

    def predict(self, x):
        return np.zeros(len(x), int)

    def attack(self, x, *_, **__):
        return np.where(np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) == 0, np.nan, x)


def test_queries_that_the_attack_gave_nothing_for_are_told():
    data = dataset()
    data.y_test[:] = 0
    whole = course(data=data)
    tuning = choose(PROTOCOL, np.zeros((2, 3, 3)), Cost())
    record, arrays = whole.family("linf-large", Broken(), tuning)
    assert (arrays["correct"] == 1).all()
    assert (arrays["given_up"] == 1 / PROTOCOL.queries).all()
    assert record["given_up"] == pytest.approx(1 / PROTOCOL.queries)


class Turning(untrained.Recorder):
    """Wrong about test images as they are, right about what an attack moved."""

    def predict(self, x):
        return np.all(x == np.float32(PARTS["test"]), axis=(1, 2, 3)).astype(int)

    def attack(self, x, y, start, *, eps, **_):
        return x - np.float32(eps / 2)


def test_what_was_wrong_before_an_attack_does_not_count_as_right_after_it():
    data = dataset(random=False)
    data.y_test[:] = 0
    tuning = choose(PROTOCOL, np.zeros((2, 3, 3)), Cost())
    _, arrays = course(data=data).family("linf-large", Turning(), tuning)
    assert (arrays["correct"] == 0).all()


def test_tabular_data_leave_images_families_out():
    data = dataset((12,))
    setting = course(data=data)
    record, arrays = setting.family(
        "patch", Recorder(), choose(PROTOCOL, np.zeros((2, 3, 3)), Cost())
    )
    assert (record["status"], arrays) == ("not-applicable", {})
    record, _ = setting.family("linf", Recorder(), choose(PROTOCOL, np.zeros((2, 3, 3)), Cost()))
    assert record["status"] == "ok"


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("inner_loss", ["clean", "adversarial"])
def test_a_defense_adapts_to_its_support_as_it_was_trained_to(framework, inner_loss):
    parameters = {"inner_loss": inner_loss, "inner_steps": 2, "inner_rate": 0.5}
    defense = defenses.create("meta-adv", defenses.Threat("linf", 0.3), parameters)
    fitted = defense.resume(untrained.model(framework, (8, 8, 1)))
    generator = np.random.default_rng(0)
    x, y = generator.random((6, 8, 8, 1), dtype=np.float32), np.arange(6) % 3
    by_hand = fitted.kernel.copy()
    by_hand.descend(x, y, steps=2, rate=0.5)

    adapted = fitted.adapt(x, y)

    alike = np.allclose(adapted.predict(x), by_hand.predict(x), atol=1e-6)
    assert alike is (inner_loss == "clean")
    cost = adapted.outcome.cost
    gradients = 6 * (2 + (inner_loss != "clean") * defense.support_attack_steps)
    assert (cost.forwards, cost.backwards) == (gradients, gradients)


def test_a_cell_that_attacked_labels_which_it_should_not_is_not_checked():
    stages = {"adaptation": {"cost": {"gradient_evaluations": 7.0}}}
    defense = SimpleNamespace(adaptation=Adaptation("linf", attacked=False))
    loaded = SimpleNamespace(
        stage=stages.get, defense=defense, cell=SimpleNamespace(clean_support=False)
    )
    found = Comparison()
    assert _check_support(loaded, found) == 7.0
    assert found.verdict()[0] == "not checked"


def test_an_episode_and_all_its_attacks_are_drawn_from_the_seed():
    attackers = [course().attacker(name) for name in ("linf", "universal")]
    one, same, other = (
        draw_episode(PROTOCOL, dataset(), attackers[0], attackers[1:], number=0, seed=seed)
        for seed in (0, 0, 1)
    )
    for part in (
        lambda episode: episode.support[0],
        lambda episode: episode.query[0],
        lambda episode: episode.support_draw["start"],
        lambda episode: episode.own.draw["start"],
        lambda episode: episode.seen[0].draw["start"],
    ):
        assert np.array_equal(part(one), part(same))
        assert not np.array_equal(part(one), part(other))


def test_settings_are_chosen_on_episodes_of_their_own():
    """Also their supports and their attacks differ from those that are measured."""
    attacker = course().attacker("l1")
    one, other = (
        draw_episode(PROTOCOL, dataset(), attacker, number=0, seed=0, tuning=tuning)
        for tuning in (False, True)
    )
    assert not np.array_equal(one.support[0], other.support[0])
    assert not np.array_equal(one.support_draw["start"], other.support_draw["start"])
    assert not np.array_equal(one.own.draw["start"], other.own.draw["start"])


def test_forgetting_is_of_what_withstands_an_attack():
    class Fooled(Recorder):
        """Says 0, but 1 of what was attacked."""

        def attack(self, x, y, start, *, eps, ascent, scale):
            return np.clip(x + eps / 2, 0, 1)

        def predict(self, x):
            return (x.mean(axis=(1, 2, 3)) > PARTS["test"] + 1e-3).astype(int)

    data = dataset(random=False)
    data.y_test[:] = 0
    tuning = choose(PROTOCOL, np.zeros((2, 3, 3)), Cost())
    record, _ = course(data=data).family("linf-large", Fooled(), tuning)
    assert record["clean_accuracy"][0] == [1, 1, 1]
    assert record["seen_accuracy"] == [0, 0, 0]


def test_the_area_over_shots_is_that_at_the_steps_that_were_chosen():
    correct = np.zeros((2, 3, 3))
    correct[:, :, 1] = [0, 0.5, 1]
    tuning = Tuning(rate=0.1, steps=1, accuracy=np.zeros((2, 3, 3)), cost=Cost())
    arrays = course().derived(correct, correct, correct[:, 2], tuning)
    assert arrays["area_over_shots"] == pytest.approx([0.5, 0.5])


def test_what_is_adapted_to_is_none_of_those_that_may_be_forgotten():
    model = Recorder()
    protocol = dataclasses.replace(PROTOCOL, families=("linf", "l2"))
    tuning = choose(protocol, np.zeros((2, 3, 3)), Cost())
    course(protocol=protocol).family("linf", model, tuning, numbers=[0])
    norms = [norm for _, norm in model.of("attack")]
    # Under linf the support, and the queries at first and after 2 steps of 2 supports; under l2
    # the queries at first and after 2 steps of the largest
    assert (norms.count("linf"), norms.count("l2")) == (1 + 1 + 4, 1 + 2)
