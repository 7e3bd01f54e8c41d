"""The few-shot protocol: what is asked for, which episodes are drawn, and what comes of them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import untrained

from benchmark import frameworks
from benchmark.attacks.geometry import is_within
from benchmark.datasets import ClassSplit
from benchmark.datasets.class_split import apply
from benchmark.datasets.dataset import Pool, Source
from benchmark.datasets.examples import Examples
from benchmark.datasets.splits import split
from benchmark.errors import ConfigError
from benchmark.metatest import strongest
from benchmark.metatest.effort import of_autoattack
from benchmark.metatest.fewshot import course as course_file
from benchmark.metatest.fewshot import episodes as drawing
from benchmark.metatest.fewshot.course import Candidate, Course
from benchmark.metatest.fewshot.settings import FewShot, check, resolve
from benchmark.metatest.readouts.names import READOUTS
from benchmark.metatest.readouts.table import readout
from defenses.perturbation.spec import pgd
from defenses.threat import Threat

THREAT = Threat("linf", 0.05)
NAMES = tuple("abcdefghij")
SPLIT = ClassSplit(NAMES[:4], NAMES[4:7], NAMES[7:])
SMALL = FewShot(
    ways=(2,),
    shots=(2,),
    queries="3,stored",
    episodes=4,
    attack_steps=3,
    support_attack_steps=2,
    tuning_episodes=2,
    autoattack_episodes=0,
)


def pool(*, shared=True, examples=8):
    y = np.repeat(np.arange(3), examples)
    x = Examples(np.random.default_rng(0).random((len(y), 2), dtype=np.float32))
    query = (x, y) if shared else (x[: 2 * len(y) // 3], y[: 2 * len(y) // 3])
    return Pool(("a", "b", "c"), x, y, *query, shared=shared)


def draw(numbers=range(5), shots=2, queries=3, **changes):
    return drawing.draw(
        changes.pop("pool", pool()),
        ways=2, shots=shots, queries=queries, numbers=numbers, seed=changes.pop("seed", 0),
    )  # fmt: skip


def test_supports_and_queries_are_of_the_classes_and_of_different_examples():
    found, labels = draw(), pool().y_support
    assert (found.support.shape, found.query.shape) == ((5, 4), (5, 6))
    for support, query, classes in zip(found.support, found.query, found.classes, strict=True):
        assert not set(support) & set(query)
        assert np.array_equal(classes[found.y_support], labels[support])
        assert np.array_equal(classes[found.y_query], labels[query])


def test_episodes_depend_on_seed_and_number_alone():
    whole, part = draw(range(5)), draw(range(3, 5))
    assert np.array_equal(whole.support[3:], part.support)
    assert not np.array_equal(whole.support, draw(seed=1).support)
    starts = [drawing.starts(one, THREAT, (2,), seed=0) for one in (whole, part)]
    assert np.array_equal(starts[0][-len(starts[1]) :], starts[1])
    assert len(np.unique(starts[0].reshape(5, -1), axis=0)) == 5


def test_more_shots_begin_with_the_fewer_and_have_the_same_queries():
    few, many = draw(shots=1), draw(shots=4)
    assert np.array_equal(few.support, many.support.reshape(5, 2, 4)[:, :, 0])
    assert np.array_equal(few.query, many.query)


def test_batches_are_the_same_episodes():
    parts = list(draw().batches(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert np.array_equal(np.concatenate([part.query for part in parts]), draw().query)


@pytest.mark.parametrize(
    ("given", "queries", "stored"),
    [("15", 15, False), ("stored", 5, True), ("15,stored", 15, True), (["stored", 3], 3, True)],
)
def test_queries_are_a_number_and_whether_they_are_stored(given, queries, stored):
    found = resolve({"queries": given})
    assert (found.query_shots, found.stored) == (queries, stored)


def test_several_ways_and_shots_are_measured_apart():
    keys = resolve({"ways": "5,20", "shots": "1,5", "readouts": "ridge"}).keys()
    assert list(keys) == [("ridge", w, s) for w in (5, 20) for s in (1, 5)]
    assert len(set(keys.values())) == 4
    # what one pair is measured with doesn't depend on the others
    assert resolve({"ways": 5, "shots": 1}).keys()["ridge", 5, 1] == keys["ridge", 5, 1]


REFUSED = {
    "one way": ({"ways": 1}, "ways must be a whole number from 2"),
    "no shots": ({"shots": "0"}, "shots must be a whole number from 1"),
    "words": ({"shots": "many"}, "shots must be a whole number from 1"),
    "two numbers of queries": ({"queries": "3,5"}, "queries must be one number, stored or both"),
    "one episode": ({"episodes": 1}, "episodes must be a whole number from 2"),
    "read-out": ({"readouts": "centroids"}, "unknown read-out 'centroids'; did you mean"),
    "setting": ({"readout": "ridge"}, "unknown adaptation setting 'readout'; did you mean"),
}


@pytest.mark.parametrize(("settings", "told"), REFUSED.values(), ids=REFUSED)
def test_settings_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        resolve(settings)


def data(shape=(6,), *, examples=12):
    """Classes that a coordinate tells apart, with noise; six are trained on or chosen on."""
    generator = np.random.default_rng(3)
    y = np.repeat(np.arange(len(NAMES)), examples)
    centres = generator.random((len(NAMES), *shape))
    noise = 0.25 * generator.random((len(y), *shape))
    x = np.clip(0.75 * centres[y] + noise, 0, 1).astype(np.float32)
    source, novel = apply(SPLIT, Source(x, y, NAMES))
    return split(source, "made-up", seed=0, novel=novel)


TOO_MUCH = {
    "ways": ({"ways": 4}, "ways 4 is more than the 3 test classes; lower --ways"),
    "shots": ({"ways": 2, "shots": 8}, "13 shots and queries a class are asked for, .* has 12"),
}


@pytest.mark.parametrize(("settings", "told"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_more_than_the_classes_have_is_refused(settings, told):
    with pytest.raises(ConfigError, match=told):
        check(resolve(settings), data())


COMMANDS = {
    "ways": (["--ways", "9"], "ways 9 is more than"),
    "shots": (["--ways", "2", "--shots", "500"], "505 shots and queries a class"),
    "split": (["--split", "nowhere.yaml"], "'nowhere.yaml' can't be read"),
    "no split": (["--split", ""], "split '' can't be read"),
    "empty split": (["--set", "split={}"], "split must hold the lists train, validation, test"),
    "split that is true": (["--set", "split=true"], "split True is not allowed; give a seed, a"),
    "split in a list": (["--set", "split=[1]"], "split [1] is not allowed; give a seed, a YAML"),
    "split without protocol": (["--protocol", "none", "--split", "1"], "--protocol few-shot"),
    "ways without protocol": (
        ["--protocol", "brief", "--ways", "5"],
        "ways belongs to --protocol few-shot; this run has brief",
    ),
}


@pytest.mark.parametrize(("more", "told"), COMMANDS.values(), ids=COMMANDS)
def test_wrong_input_ends_with_one_line_and_code_2(bench, tmp_path, more, told):
    out = tmp_path / "out"
    few = [] if "--protocol" in more else ["--protocol", "few-shot"]
    done = bench("run", "--defense", "pgd-at", "--quiet", "--out", out, *few, *more)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert told in done.err
    assert not out.exists()


def adapted(framework, dataset):
    """A model that was not trained, as both frameworks have it."""
    return untrained.adapted(framework, dataset.input_shape, dataset.classes, "float32")


@pytest.mark.parametrize("name", READOUTS)
def test_both_frameworks_find_the_same(name):
    dataset = data()
    found = [
        Course(SMALL, dataset, THREAT, 0, adapted(framework, dataset)).run(name, 2, 2)
        for framework in frameworks.FRAMEWORKS
    ]
    (ours, arrays), (theirs, others) = found
    for key in ("status", "setting", "tuning", "cost", "measuring_cost", "labels_used", "robust"):
        assert ours[key] == theirs[key], key
    assert set(arrays) == {"clean", "robust", "given_up", "stored_queries"}
    assert ours["given_up"] == 0
    for key, values in arrays.items():
        assert np.array_equal(values, others[key]), key
        assert values.shape == (4,)
    assert (arrays["robust"] <= arrays["clean"]).all()


@pytest.mark.parametrize("name", ["centroid", "ridge", "linear", "finetune"])
def test_classes_that_are_far_apart_are_told_apart(name):
    dataset = data()
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    assert course.run(name, 2, 2)[0]["clean"]["mean"] > 0.6


@pytest.mark.parametrize("count", [0, 1], ids=["pgd", "autoattack"])
def test_progress_counts_what_settings_are_chosen_on(monkeypatch, count):
    monkeypatch.setattr(course_file, "autoattack", lambda *given, **_: given[3])
    dataset, told = data(), []
    protocol = dataclasses.replace(SMALL, autoattack_episodes=count)
    course = Course(protocol, dataset, THREAT, 0, adapted("torch", dataset))
    tried = len(course.run("finetune", 2, 2, told.append)[0]["tuning"]["tried"])

    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    # of 4 evaluations each, on queries of before adaptation, too
    tuning, attacked = 2 * tried, 2 * 4 + count * of_autoattack(2) / 4
    assert told[2 * tried - 1] == pytest.approx(tuning / (tuning + attacked))


def test_weights_that_move_are_put_back():
    dataset = data()
    model = adapted("torch", dataset)
    course = Course(SMALL, dataset, THREAT, 0, model)
    before = course.run("centroid", 2, 2)[1]
    course.run("finetune", 2, 2)
    assert np.array_equal(course.run("centroid", 2, 2)[1]["robust"], before["robust"])


def test_as_many_rows_as_are_asked_for_go_through_the_model_at_once(monkeypatch):
    dataset, found, sizes = data(), [], []
    for rows in (250, 13):
        model = adapted("torch", dataset)
        model.rows, asked = rows, []
        attack, features = model.body.attack, model.body.features

        def counted(x, *rest, attack=attack, asked=asked, **more):
            asked.append(len(x))
            return attack(x, *rest, **more)

        def looked(x, features=features, asked=asked):
            asked.append(len(x))
            return features(x)

        monkeypatch.setattr(model.body, "attack", counted)
        monkeypatch.setattr(model.body, "features", looked)
        found.append(Course(SMALL, dataset, THREAT, 0, model).run("ridge", 2, 2)[1]["robust"])
        sizes.append(max(asked))
    assert np.array_equal(*found)
    assert sizes[0] > 13
    assert sizes[1] == 13


def test_small_logits_hide_no_gradient_from_the_attack():
    """A large penalty makes a head's logits small, and changes little else."""
    dataset, found = data(), []
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    chosen = readout("ridge", course.model)
    problem = course._problem("test", 3, 2, chosen)
    for factor in (1.0, 1e-4):

        def fit(*arguments, factor=factor):
            return chosen.fit(*arguments).scaled(factor)

        candidate = Candidate(dataclasses.replace(chosen, fit=fit), {"penalty": 0.1}, 10.0)
        found.append(course._measured(problem, range(4), candidate)["robust"])
    assert np.array_equal(*found)
    assert 0 < found[0].mean() < 1


def test_what_was_wrong_before_an_attack_does_not_count_as_right_after_it(monkeypatch):
    dataset, right = data(), itertools.cycle([False, True, True])  # before, attacked, stored
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    chosen = readout("centroid", course.model)
    monkeypatch.setattr(
        Course,
        "_right",
        lambda self, heads, features, batch: np.full(batch.query.shape, next(right)),
    )
    problem, candidate = course._problem("test", 2, 2, chosen), Candidate(chosen, {}, 10.0)
    found = course._measured(problem, range(4), candidate, final=True)
    assert not found["robust"].any()
    assert not found["stored_queries"].any()


def test_settings_are_chosen_on_validation_classes_alone():
    dataset = data()
    scrambled = dataclasses.replace(
        dataset, novel={**dataset.novel, "test": dataset.novel["validation"]}
    )
    one, other = (
        Course(SMALL, d, THREAT, 0, adapted("torch", d)).run("ridge", 2, 2)[0]
        for d in (dataset, scrambled)
    )
    assert one["tuning"] == other["tuning"]
    assert one["clean"] != other["clean"]


@pytest.mark.parametrize("name", ["centroid", "linear-adv", "finetune"])
def test_more_ways_than_validation_classes_are_tuned_on_fewer(name):
    """In both frameworks: what is compiled for two ways serves three."""
    dataset = data()
    novel = dict(dataset.novel)
    novel["test"], novel["validation"] = pool_of(dataset, 3), pool_of(dataset, 2)
    dataset = dataclasses.replace(dataset, novel=novel)
    found = []
    for framework in frameworks.FRAMEWORKS:
        course = Course(SMALL, dataset, THREAT, 0, adapted(framework, dataset))
        record, arrays = course.run(name, 3, 2)
        assert (record["ways"], record["tuning"]["ways"]) == (3, 2)
        found.append(arrays["robust"])
    assert np.array_equal(*found)


def pool_of(dataset, classes):
    """The first test classes alone."""
    whole = dataset.novel["test"]
    rows = np.flatnonzero(whole.y_support < classes)
    x = Examples(np.asarray(whole.support)[rows])
    y = whole.y_support[rows]
    return Pool(whole.class_names[:classes], x, y, x, y, shared=True)


def test_an_own_head_with_too_few_outputs_is_not_applicable():
    dataset = data()
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    record, arrays = course.run("own", 5, 2)
    assert (record["status"], arrays) == ("not-applicable", {})
    assert "4 classes apart, not 5" in record["reason"]


def test_an_own_head_in_closed_form_tells_any_number_of_classes_apart():
    dataset = data()
    model = adapted("torch", dataset)
    model.defense = untrained.defenses.create("meta-adv", untrained.THREAT, {"preset": "aq-ridge"})
    assert not readout("own", model).moves
    novel = {part: wide(pool) for part, pool in dataset.novel.items()}
    course = Course(SMALL, dataclasses.replace(dataset, novel=novel), THREAT, 0, model)
    record, _ = course.run("own", 5, 2)
    assert (record["status"], record["clean"] is None) == ("ok", False)


def wide(pool):
    """The same examples as of more classes than the model has outputs."""
    y = np.arange(len(pool.y_support)) % 5
    return dataclasses.replace(
        pool, class_names=tuple("abcde"), y_support=y, y_query=y, shared=True, query=pool.support
    )


@pytest.mark.parametrize("eps", [0.25 / 255, 0.5 / 255, 8 / 255])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_what_float32_rounds_is_no_leaving_of_a_small_budget(norm, eps):
    """Near 1 float32 is as coarse as a hundred thousandth of half a grey level."""
    x = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1)).astype(np.float32) / 255
    kernel = untrained.defenses.create("none", THREAT).kernel(
        untrained.recognise(untrained.model("torch", (8, 8, 1), dtype="float32"))
    )
    start = Threat(norm, eps).random_starts(np.random.default_rng(1), x.shape)
    x_adv = kernel.attack(x, np.zeros(50, int), start, eps=eps, ascent=pgd(norm, 3))
    assert is_within(x_adv, x, norm, eps).all()
    assert not is_within(x + np.float32(1.01 * eps), x, norm, eps).any()


@pytest.mark.parametrize("moved", [2 * THREAT.eps, np.nan])
def test_what_leaves_the_budget_or_is_no_number_breaks_nothing(monkeypatch, moved):
    dataset = data()
    model = adapted("torch", dataset)
    for name in ("attack", "attack_as_trained"):
        monkeypatch.setattr(model, name, lambda x, *_, **__: x + moved)
    record, arrays = Course(SMALL, dataset, THREAT, 0, model).run("ridge", 2, 2)
    for name in ("robust", "stored_queries", "given_up"):
        assert np.array_equal(arrays[name], arrays["clean"]), name
    assert record["given_up"] == arrays["clean"].mean() > 0


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_autoattack_is_run_on_a_part_and_leaves_no_more_than_pgd(framework):
    dataset = data()
    protocol = dataclasses.replace(SMALL, autoattack_episodes=2)
    course = Course(protocol, dataset, THREAT, 0, adapted(framework, dataset))
    record, arrays = course.run("ridge", 2, 2)
    assert arrays["autoattack"].shape == (2,)
    assert (arrays["autoattack"] <= arrays["robust"][:2]).all()
    assert record["robust_of_attacked"] == arrays["robust"][:2].mean()
    assert record["autoattack_cost"]["forwards"] > 0


def test_an_answer_to_the_strongest_attack_that_is_not_finite_is_wrong(monkeypatch):
    class Estimator:
        def predict(self, x):
            return np.full((len(x), 2), np.nan)  # whose largest is the first, the label

    class Same:
        def generate(self, x, y):
            return x

    monkeypatch.setattr(strongest, "create", lambda *_: Same())
    x, y, right = np.full((3, 2, 2, 1), 0.5, np.float32), np.zeros(3, int), np.ones(3, bool)
    kept = strongest.autoattack(Estimator(), x, y, right, Threat("linf", 0.1), seed=[0])
    assert not kept.any()
