"""Adaptation to another data set: what is refused, what is drawn, and what comes of it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from dataset_files import draw_classes
from untrained import SHAPE, THREAT, adaptable, adapted, defenses, model

from benchmark import frameworks
from benchmark.datasets import Dataset
from benchmark.errors import ConfigError
from benchmark.metatest.domain import episodes
from benchmark.metatest.domain.course import Course
from benchmark.metatest.domain.settings import METHODS, READING, Domain, check, resolve
from benchmark.metatest.domain.target import as_shape, loaded
from benchmark.metatest.model import Adaptable
from benchmark.metatest.readouts.model import Reading
from benchmark.metatest.scales import SCALES
from benchmark.stages import domain as stage
from defenses.heads import spec
from defenses.perturbation.spec import pgd
from defenses.threat import Threat

SMALL = Domain(
    adapt_to="other",
    shots=(1, 3),
    episodes=2,
    queries=6,
    attack_steps=2,
    support_attack_steps=2,
    rates=(0.1, 0.5),
    rounds=(2,),
    steps=3,
    autoattack_episodes=0,
)


def dataset(shape=SHAPE, *, examples=30, name="other"):
    """Random images of three classes that differ in their mean; test images are above 0.5."""
    generator = np.random.default_rng(7)
    arrays = {}
    for part in ("train", "validation", "test"):
        y = np.arange(examples) % 3
        x = generator.random((examples, *shape), dtype=np.float32) / 10
        x += y.reshape(-1, *[1] * len(shape)).astype(np.float32) / 10
        arrays[f"x_{part}"] = x + 0.5 if part == "test" else x
        arrays[f"y_{part}"] = y
    return Dataset(name=name, class_names=("a", "b", "c"), **arrays)


def course(protocol=SMALL, target=None):
    return Course(protocol, target or dataset(), SHAPE, Threat("linf", 0.02), 0)


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


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((6, 6, 1), (6, 6, 1)), ((3, 3, 1), (6, 6, 3)), ((8, 8, 3), (4, 4, 1))],
    ids=["as they are", "larger and coloured", "smaller and grey"],
)
def test_images_keep_their_mean_when_they_are_resized(shape, wanted):
    x = np.full((2, *shape), 0.25, np.float32)
    found = as_shape(x, wanted)
    assert found.shape == (2, *wanted)
    assert found == pytest.approx(np.full((2, *wanted), 0.25), abs=1e-6)


def test_a_resized_image_is_bilinear():
    x = np.array([[0, 1], [0, 1]], np.float32).reshape(1, 2, 2, 1)
    assert as_shape(x, (2, 4, 1))[0, :, :, 0] == pytest.approx(np.array([[0, 0.25, 0.75, 1]] * 2))


REFUSED = {
    "no data set": ({"adapt_to": None}, "domain needs --adapt-to DATASET"),
    "unknown setting": ({"shot": 1}, "did you mean 'shots'"),
    "a fingerprint": ({"fingerprint": "1a2b"}, "unknown adaptation setting 'fingerprint'"),
    "no shots": ({"shots": "0"}, "whole number from 1"),
    "unknown method": ({"methods": "finetun"}, "unknown method 'finetun'; did you mean"),
    "one episode": ({"episodes": "1"}, "episodes must be a whole number from 2"),
    "too many shots": ({"shots": "11"}, "class 'a' of other has 10 to train on; lower --shots"),
    "too many queries": ({"queries": 31}, "part of other has 30; lower --queries"),
    "size": ({}, "inputs of 8x8x1, small of 6x6x1; give --set adaptation.resize=true"),
    "tables": ({"resize": True}, "inputs of 5, small of 6x6x1; only images can be resized"),
    "two channels": ({"resize": True}, "inputs of 6x6x2, small of 6x6x1; only grey is repeated"),
}
SHAPES = {"size": (8, 8, 1), "tables": (5,), "two channels": (6, 6, 2)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(name):
    settings, told = REFUSED[name]
    target = dataset(SHAPES.get(name, SHAPE))
    whole = {"adapt_to": "other", "shots": "1", "queries": 5, **settings}
    with pytest.raises(ConfigError, match=told) as raised:
        check(resolve(whole), dataset(name="small"), target)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_no_rule_makes_into_others_are_refused_before_anything_runs(channels):
    protocol = resolve({"adapt_to": "other", "shots": 1, "queries": 5})
    with pytest.raises(ConfigError, match=f"6x6x{channels}, small of 6x6x3; only grey"):
        check(protocol, dataset((6, 6, 3), name="small"), dataset((6, 6, channels)))


def test_images_of_another_size_are_taken_where_that_was_asked_for():
    protocol = resolve({"adapt_to": "other", "shots": 1, "queries": 5, "resize": True})
    target = dataset((8, 8, 3))
    assert check(protocol, dataset(name="small"), target).fingerprint == target.fingerprint
    x, *_ = course(protocol, target).draw(0, 1)
    assert x.shape == (3, *SHAPE)


def test_images_of_several_sizes_are_made_as_high_as_the_model_takes_them(tmp_path):
    """They have no size of their own, and --image-size is the other data set's."""
    name = draw_classes(tmp_path, "a", size=(4, 4))
    draw_classes(tmp_path, "b", size=(6, 8))
    target = loaded(name, SHAPE, resize=True, label=None)
    assert target.input_shape == SHAPE
    with pytest.raises(ConfigError, match=r"4x4 but .* is 6x8; give --set adaptation.resize=true"):
        loaded(name, SHAPE, resize=False, label=None)
    with pytest.raises(ConfigError, match="has images, the model takes rows"):
        loaded(name, (5,), resize=True, label=None)


def test_a_table_to_adapt_to_has_its_classes_in_the_column_of_the_one_trained_on(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,kind\n" + "".join(f"{n},{n % 3},{'uv'[n % 2]}\n" for n in range(40)))
    target = loaded(f"csv:{path}", (2,), resize=False, label="kind")
    assert (target.class_names, target.input_shape) == (("u", "v"), (2,))


COMMANDS = {
    "another protocol": (
        ["--protocol", "brief"],
        "adapt_to belongs to --protocol domain; this run has brief",
    ),
    "unknown data set": (["--adapt-to", "digit"], "unknown dataset 'digit'; did you mean"),
    "too many shots": (["--shots", "5000"], "lower --shots"),
}


@pytest.mark.parametrize(("more", "told"), COMMANDS.values(), ids=COMMANDS)
def test_wrong_input_ends_with_one_line_and_code_2(bench, tmp_path, more, told):
    out = tmp_path / "out"
    given = ["--defense", "pgd-at", "--adapt-to", "digits", "--quiet", "--out", out, *more]
    done = bench("run", *given)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert told in done.err
    assert not out.exists()
