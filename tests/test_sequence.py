"""The sequence protocol: what arrives, what each learner does with it, and what comes of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from untrained import Recorder, adaptable

from benchmark import frameworks
from benchmark.datasets import Dataset
from benchmark.errors import ConfigError
from benchmark.metatest.attacks import Attacker, Kept
from benchmark.metatest.sequence.course import Course
from benchmark.metatest.sequence.episodes import draw_episode, run_episode
from benchmark.metatest.sequence.settings import LEARNERS, Arrivals, resolve, sized_for
from defenses.cost import Cost

SMALL = Arrivals(
    families=("linf", "l2", "universal"),
    labels=4,
    rounds=3,
    steps=2,
    episodes=3,
    queries=6,
    attack_steps=2,
    rates=(0.1, 0.5),
    distance_weights=(0.1,),
    tuning_episodes=1,
)
BUDGETS = {"linf": 0.1, "l2": 0.5, "l1": 1.0}


def dataset(shape=(6, 6, 1), *, examples=20):
    """Random images; those of the test part are above 0.5, those of the others below."""
    generator = np.random.default_rng(7)
    arrays = {}
    for part in ("train", "validation", "test"):
        x = generator.random((examples, *shape), dtype=np.float32) / 2
        arrays[f"x_{part}"] = x + 0.5 if part == "test" else x
        arrays[f"y_{part}"] = generator.integers(0, 3, examples)
    return Dataset(name="made-up", class_names=("a", "b", "c"), **arrays)


def course(protocol=SMALL):
    return Course(protocol, dataset(), "linf", BUDGETS, 0)


def draw(number=0, protocol=SMALL, **settings):
    attackers = [course().attacker(name) for name in protocol.families]
    return draw_episode(protocol, dataset(), attackers, number=number, seed=0, **settings)


def test_each_family_brings_labels_of_its_own_and_all_episodes_differ():
    one, other = draw(), draw(1)
    supports = [arrival.x for arrival in (*one.arrivals, *other.arrivals)]
    assert len({x.tobytes() for x in supports}) == 6
    assert all(x.shape == (4, 6, 6, 1) and x.max() < 0.5 for x in supports)
    assert one.x.min() >= 0.5
    assert not np.array_equal(one.x, other.x)
    tuned = draw(tuning=True)
    assert not {arrival.x.tobytes() for arrival in tuned.arrivals} & {x.tobytes() for x in supports}


def test_an_episode_is_drawn_alike_each_time():
    one, other = draw(), draw()
    assert np.array_equal(one.x, other.x)
    for ours, theirs in zip(one.arrivals, other.arrivals, strict=True):
        assert np.array_equal(ours.x, theirs.x)
        assert np.array_equal(ours.draws[2]["start"], theirs.draws[2]["start"])


def test_settings_are_chosen_without_test_examples():
    model = Recorder()
    course()._tuned("rehearsal", model)
    assert max(x.max() for _, x, *_ in model.asked if x is not None) < 0.7  # 0.5 and a budget
    assert {rate for _, _, rate, *_ in model.of("descend")} == set(SMALL.rates)


def learned(learner, **setting):
    model = Recorder()
    run_episode(model, draw(), SMALL, learner, setting)
    return model.of("descend")


def test_nothing_is_learned_by_none():
    assert learned("none") == []


def test_every_family_is_learned_in_rounds():
    calls = learned("finetune", rate=0.1)
    assert [(len(x), steps, rate) for x, steps, rate, *_ in calls] == [(4, 2, 0.1)] * 9


def test_the_penalty_is_on_the_distance_to_the_clean_examples():
    calls = learned("logit-distance", rate=0.1, distance_weight=0.3)
    assert np.array_equal(calls[0][3], draw().arrivals[0].x)
    assert {weight for *_, weight in calls} == {0.3}


def test_rehearsal_goes_back_to_each_earlier_family_in_turn():
    calls = learned("rehearsal", rate=0.1)
    assert [len(x) for x, *_ in calls] == [4] * 3 + [8] * 6
    first, second, _ = draw().arrivals
    third_family = [x[4:] for x, *_ in calls[6:]]
    for x, expected in zip(third_family, (first, second, first), strict=True):
        assert np.array_equal(x, expected.x)  # the recorder's attacks change nothing


class Forgetful(Recorder):
    """Right at first; after each round of a later family one more of its answers is wrong."""

    done = 0

    def restore(self):
        self.done = 0

    def descend(self, x, y, **settings):
        self.done += 1

    def predict(self, x):
        return (np.arange(len(x)) < self.done // 3 - 1).astype(int)


def test_mean_worst_and_forgetting_follow_from_what_stays():
    whole = course()
    whole.dataset.y_test[:] = 0
    whole.dataset.y_validation[:] = 0
    record, arrays = whole.run("finetune", Forgetful())
    # After 1, 2, 3 arrivals 0, 1, 2 of 6 are wrong
    shares = np.array([1, 5 / 6, 4 / 6])
    assert arrays["correct"] == pytest.approx(np.tile(shares[:, None], (3, 1, 3)))
    assert [one["mean"] for one in record["worst"]] == pytest.approx(shares)
    assert [one["mean"] for one in record["mean"]] == pytest.approx(shares)
    assert record["forgetting"]["mean"] == pytest.approx((-2 / 6 - 1 / 6) / 2)


class Slow(Forgetful):
    """Of one rate right at first and then half of the time, of the other right in the end only."""

    right = (6, 6)  # of the queries, after the first arrival and after the second

    def descend(self, x, y, *, rate, **settings):
        self.done, self.right = self.done + 1, {0.1: (6, 3), 0.5: (0, 4)}[rate]

    def predict(self, x):
        return (np.arange(len(x)) >= self.right[self.done > 3]).astype(int)


def test_a_setting_is_chosen_by_what_stays_in_the_end():
    whole = course()
    whole.dataset.y_validation[:] = 0
    setting, tuning = whole._tuned("finetune", Slow())
    assert [one["mean"] for one in tuning["tried"]] == pytest.approx([3 / 6, 4 / 6])
    assert setting["rate"] == 0.5


def test_each_round_attacks_from_starts_of_its_own():
    class Starting(Recorder):
        def attack(self, x, y, start, **_):
            self.asked.append(("start", start.tobytes()) if len(x) == SMALL.labels else ("query",))
            return x

    model = Starting()
    run_episode(model, draw(), SMALL, "finetune", {"rate": 0.1})
    starts = model.of("start")
    assert len(starts) == len(set(starts)) == 2 * SMALL.rounds  # of the third there are none


def test_the_worst_is_over_families_that_have_arrived_together():
    found = run_episode(adaptable("torch"), draw(), SMALL, "none", {})
    assert found.worst[0] == found.correct[0, 0]
    assert (np.diff(found.worst) <= 0).all()
    assert (found.worst <= found.correct.min(axis=1)[0]).any()


def test_queries_that_the_attack_gave_nothing_for_are_told():
    class Broken(Recorder):
        def predict(self, x):
            return np.zeros(len(x), int)

        def attack(self, x, y, start, *, eps, ascent, scale):
            return x + np.nan if ascent.norm == "l2" else x

    whole = course()
    whole.dataset.y_test[:] = 0
    record, arrays = whole.run("none", Broken())
    assert (arrays["given_up"] == [0, 1, 0]).all()
    assert record["given_up"] == pytest.approx(1 / 3)


def test_what_was_wrong_before_an_attack_does_not_count_as_right_after_it():
    class Turning(Recorder):
        def predict(self, x):
            return np.all(x == 0.75, axis=(1, 2, 3)).astype(int)

        def attack(self, x, y, start, *, eps, **_):
            return x - np.float32(eps / 8)

    flat = {"x_test": np.full((20, 6, 6, 1), 0.75, np.float32), "y_test": np.zeros(20, int)}
    data = dataclasses.replace(dataset(), **flat)
    _, arrays = Course(SMALL, data, "linf", BUDGETS, 0).run("none", Turning())
    assert (arrays["correct"] == 0).all()
    assert (arrays["given_up"] == 0).all()


@pytest.mark.parametrize("rates", [(0.1,), (0.1, 0.5)])
@pytest.mark.parametrize("learner", LEARNERS)
def test_the_effort_is_what_is_counted(learner, rates):
    protocol = dataclasses.replace(SMALL, rates=rates)
    record, _ = course(protocol).run(learner, adaptable("torch", "float32"))
    of_tuning, *others = (
        cost["gradient_evaluations"]
        for cost in (record["tuning"]["cost"], record["cost"], record["measuring_cost"])
    )
    spent = of_tuning + protocol.episodes * sum(others)
    assert protocol.gradient_evaluations(learner) == pytest.approx(spent)
    assert protocol.share_of_tuning(learner) == pytest.approx(of_tuning / spent)


def test_progress_counts_what_settings_are_chosen_on():
    told = []
    course().run("finetune", adaptable("torch"), told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert len(told) == SMALL.tuning_episodes + SMALL.episodes


@pytest.mark.parametrize("learner", LEARNERS)
def test_both_frameworks_find_the_same(learner):
    setting = {"none": {}, "logit-distance": {"rate": 0.5, "distance_weight": 0.1}}
    found = [
        run_episode(adaptable(name), draw(), SMALL, learner, setting.get(learner, {"rate": 0.5}))
        for name in frameworks.FRAMEWORKS
    ]
    ours, theirs = map(dataclasses.asdict, found)
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), name


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_the_penalty_moves_weights_as_its_gradient_by_differences(framework):
    model = adaptable(framework)
    kernel, x = model._kernel, dataset().x_train[:4].astype(np.float64)
    y, x_adv = np.array([0, 1, 2, 0]), np.clip(x + 0.3, 0, 1)

    def loss():
        logits, near = kernel.predict(x_adv), kernel.predict(x)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        penalty = ((logits - near) ** 2).sum(axis=1).mean()
        return 0.7 * penalty - log_p[np.arange(4), y].mean()

    before = kernel.weights()
    name = max(before, key=lambda key: before[key].ndim)
    place = np.unravel_index(np.abs(before[name]).argmax(), before[name].shape)
    values = []
    for change in (1e-5, -1e-5):
        moved = {key: value.copy() for key, value in before.items()}
        moved[name][place] += change
        kernel.load_weights(moved)
        values.append(loss())
    kernel.load_weights(before)
    kernel.descend(x_adv, y, steps=1, rate=0.01, clean=x, distance_weight=0.7)
    step = (before[name][place] - kernel.weights()[name][place]) / 0.01
    assert step == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


@pytest.mark.parametrize(("learner", "passes"), [("finetune", 2), ("logit-distance", 4)], ids=str)
def test_descent_costs_what_it_passes(learner, passes):
    setting = {"rate": 0.1, "distance_weight": 0.1}
    found = run_episode(adaptable("torch"), draw(), SMALL, learner, setting)
    none = run_episode(adaptable("torch"), draw(), SMALL, "none", {})
    attacks = 3 * 3 * 4 * 2  # rounds, families, labels, steps
    descents = 3 * 3 * 2 * 4 * (passes // 2)  # rounds, families, steps, labels
    assert found.adapting.backwards == attacks + descents
    assert none.adapting == Cost()


REFUSED = {
    "one family": ({"families": ["linf"]}, "must name two or more"),
    "unknown family": ({"families": ["linf", "pach"]}, "did you mean 'patch'"),
    "unknown learner": ({"learners": "finetun"}, "unknown learner 'finetun'; did you mean"),
    "unknown setting": ({"label": 3}, "did you mean 'labels'"),
    "one episode": ({"episodes": "1"}, "episodes must be a whole number from 2"),
    "no labels": ({"labels": 0}, "labels must be a whole number from 1"),
    "words": ({"queries": "many"}, "queries must be a whole number from 1"),
    "too many labels": ({"labels": 21}, "the training part of made-up has 20; lower it"),
    "too many queries": ({"queries": 21}, "validation part of made-up has 20; lower it"),
}


@pytest.mark.parametrize(("settings", "told"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_be_are_refused_in_one_line(settings, told):
    with pytest.raises(ConfigError, match=told) as raised:
        sized_for(resolve(settings), dataset(), "linf", given=settings)
    assert "\n" not in str(raised.value)


def test_what_was_not_asked_for_fits_the_data():
    fitted = sized_for(resolve({}), dataset(shape=(6,)), "l1", given=())
    assert (fitted.labels, fitted.queries) == (20, 20)
    # No patch on tables, and l2 is what settings are chosen on under l1
    assert fitted.families == ("linf", "universal", "linf-large")


def test_a_patch_on_a_table_is_refused():
    settings = {"families": ["linf", "patch"]}
    with pytest.raises(ConfigError, match=r"patch works on images only.*leave it out"):
        sized_for(resolve(settings), dataset(shape=(6,)), "linf", given=settings)


def test_keys_depend_on_the_order_of_arrival_and_not_on_other_learners():
    one = resolve({"families": ["linf", "l2"], "learners": "finetune"}).keys()
    other = resolve({"families": ["linf", "l2"]}).keys()
    turned = resolve({"families": ["l2", "linf"]}).keys()
    assert one["finetune"] == other["finetune"] != turned["finetune"]


GREYS = {"linf": 0.1, "l2": 0.2, "universal": 0.3, "l1": 0.4}


@pytest.fixture
def grey(monkeypatch):
    """Attacks turn every example into the grey of their family."""

    def perturb(self, model, x, y, draw):
        return Kept(np.full_like(x, GREYS[self.name]), np.zeros(len(x), bool))

    monkeypatch.setattr(Attacker, "perturb", perturb)


class Broken(Recorder):
    """Says 1 in place of 0 in some rows under some families, perhaps by the rate."""

    rate = None

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def descend(self, x, y, *, rate, **settings):
        self.rate = rate

    def predict(self, x):
        said = np.zeros(len(x), int)
        for (rate, family), rows in self.rows.items():
            if rate in (None, self.rate) and x.flat[0] == np.float32(GREYS[family]):
                said[rows] = 1
        return said


@pytest.mark.usefixtures("grey")
def test_the_worst_is_over_those_that_have_arrived_by_then():
    model = Broken({(None, "l2"): slice(0, 3), (None, "universal"): slice(3, 6)})
    episode = dataclasses.replace(draw(), y=np.zeros(6, int))
    found = run_episode(model, episode, SMALL, "finetune", {"rate": 0.1})
    assert found.worst == pytest.approx([1, 0.5, 0])
    assert found.correct == pytest.approx(np.tile([1, 0.5, 0.5], (3, 1)))


@pytest.mark.usefixtures("grey")
def test_a_setting_is_chosen_by_what_stays_under_both_families():
    """Of one rate most stays under the first and half under the second, of the other all of it."""
    whole = course()
    whole.dataset.y_validation[:] = 0
    rows = {(0.1, "l1"): slice(0, 3), (0.5, "linf"): slice(0, 6)}
    setting, tuning = whole._tuned("finetune", Broken(rows))
    assert [one["mean"] for one in tuning["tried"]] == pytest.approx([0.75, 0.5])
    assert setting["rate"] == 0.1


def test_tuning_costs_all_that_it_passes():
    """So do adapting and measuring; what was spent before is not theirs."""

    class Counting(Recorder):
        def spent(self):
            passed, self.asked = len(self.asked), []
            self.whole.append(passed)
            return Cost(forwards=passed)

    model = Counting()
    model.whole = []
    _, tuning = course()._tuned("finetune", model)
    assert tuning["cost"]["forwards"] == sum(model.whole) > 0
