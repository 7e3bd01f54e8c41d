"""Episodes of new classes whose examples belong together: no query is a near copy of a support."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from test_few_shot import SMALL, THREAT, adapted, data, draw, pool

from benchmark.config import read
from benchmark.datasets import digits
from benchmark.datasets.dataset import Pool
from benchmark.errors import ConfigError
from benchmark.metatest.fewshot.course import Course
from benchmark.metatest.fewshot.settings import FewShot, check, resolve
from benchmark.plans.run import make_plan
from benchmark.verification import fewshot
from benchmark.verification.comparison import Comparison

EPISODES = range(40)
# Of the examples of each class in `pool`, numbered anew in each
FILMS = {
    "films of four": np.arange(24) // 4,
    "a film that both classes are in": np.arange(24) % 6,
    "each by itself": np.arange(24),
    "a large film and single frames": np.minimum(np.arange(24) % 8, 4),
}


def grouped(groups, **changes):
    return dataclasses.replace(pool(**changes), groups=groups)


@pytest.mark.parametrize("groups", FILMS.values(), ids=FILMS)
@pytest.mark.parametrize(("shots", "queries"), [(1, 3), (4, 1), (2, 2)])
def test_no_query_is_of_the_group_of_a_support_of_its_class(groups, shots, queries):
    found = draw(EPISODES, shots, queries, pool=grouped(groups))
    labels = pool().y_support
    for support, query, classes in zip(found.support, found.query, found.classes, strict=True):
        assert (len(set(support)), len(set(query))) == (2 * shots, 2 * queries)
        assert np.array_equal(classes[found.y_support], labels[support])
        assert np.array_equal(classes[found.y_query], labels[query])
        for label in (0, 1):
            supports = groups[support[found.y_support == label]]
            assert not set(supports) & set(groups[query[found.y_query == label]])


def test_more_shots_of_groups_begin_with_the_fewer_and_have_the_same_queries():
    few, many = (draw(EPISODES, n, 3, pool=grouped(np.arange(24) // 2)) for n in (1, 4))
    assert np.array_equal(few.support, many.support.reshape(-1, 2, 4)[:, :, 0])
    assert np.array_equal(few.query, many.query)


def test_queries_are_of_several_groups_where_there_are_enough():
    groups = np.arange(24) // 2
    found = draw(EPISODES, 2, 2, pool=grouped(groups))
    mean = np.mean([len(set(groups[one[:2]])) for one in found.query])
    assert mean > 1.4
    assert set(groups[found.query.ravel()]) == set(groups), "none is always left to supports"


def test_episodes_of_data_without_groups_are_those_of_ever():
    """Whoever changes these numbers changes every stored measurement; so with the keys."""
    found = draw(range(2))
    assert found.support.tolist() == [[7, 0, 11, 14], [21, 20, 11, 12]]
    assert found.query.tolist() == [[5, 6, 2, 15, 12, 13], [22, 17, 19, 8, 10, 9]]
    assert FewShot(readouts="ridge").keys()["ridge", 5, 1] == "ridge-5way-1shot-2b21613d"


def test_supports_and_queries_of_parts_that_came_with_the_data_are_those_of_ever():
    x, y = pool().support, pool().y_support
    found = draw(range(2), pool=Pool(("a", "b", "c"), x, y, x, y, shared=False))
    assert found.support.tolist() == [[7, 0, 9, 10], [21, 20, 9, 15]]
    assert found.query.tolist() == [[3, 6, 0, 14, 9, 12], [19, 20, 21, 8, 11, 13]]


SIZES = {
    "equal": [3, 3, 3, 3],
    "a large one": [9, 1, 1, 1],
    "two": [6, 6],
    "two unequal": [8, 4],
    "one": [12],
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("queries", [1, 3, 5, 8])
@pytest.mark.parametrize("shots", [1, 3, 6])
def test_what_is_not_refused_can_be_drawn_whatever_the_seed(sizes, shots, queries):
    groups = np.tile(np.repeat(np.arange(len(sizes)), sizes), 3)
    asked = FewShot(ways=2, shots=shots, queries=queries)
    several = grouped(groups, examples=12)
    try:
        check(asked, SimpleNamespace(novel={"test": several}))
    except ConfigError:
        return
    found = draw(EPISODES, shots, queries, pool=several)
    assert found.query.shape == (len(EPISODES), 2 * queries)
    for support, query in zip(found.support, found.query, strict=True):
        assert not set(groups[support[:shots]]) & set(groups[query[:queries]])


@pytest.mark.parametrize(
    ("sizes", "shots", "queries", "fits"),
    [
        ([6, 6], 6, 5, True),
        ([6, 6], 7, 5, False),
        ([1] * 12, 7, 5, True),
        ([1] * 12, 8, 5, False),
        ([12], 1, 1, False),
        ([9, 1, 1, 1], 1, 5, False),
    ],
)
def test_groups_that_are_too_few_or_too_unequal_are_refused(sizes, shots, queries, fits):
    several = grouped(np.tile(np.repeat(np.arange(len(sizes)), sizes), 3), examples=12)
    dataset = SimpleNamespace(novel={"test": several})
    asked = FewShot(ways=2, shots=shots, queries=queries)
    if fits:
        assert check(asked, dataset).groups_apart
    else:
        with pytest.raises(ConfigError, match=f"of different groups|{shots + queries} shots and"):
            check(asked, dataset)


@pytest.fixture
def films(monkeypatch):
    """Gives the digits films, of so many of a class that follow each other; or a test part, too."""
    load = digits.load

    def give(each, *, tests=False):
        source = load(None)
        groups = 1000 * source.y
        for label in range(10):
            those = source.y == label
            groups[those] += np.arange(those.sum()) // each
        more = {"x_test": source.x[::2], "y_test": source.y[::2]} if tests else {}
        found = dataclasses.replace(source, groups=groups, **more)
        monkeypatch.setattr(digits, "load", lambda request: found)

    return give


FEW = {"protocol": "few-shot", "split": 0, "adaptation": {"ways": 2, "shots": [1, 5]}}


def keys(path):
    given = {"defense": "none", "model": "mlp", "framework": "torch", "out": str(path / "out")}
    plan = make_plan(read({**given, **FEW}))
    return {stage.path for stage in plan.jobs[0].stages if stage.path.startswith("few-shot/")}


def test_measurements_of_groups_have_keys_of_their_own(films, tmp_path):
    usual = {f"few-shot/{key}" for key in resolve(FEW["adaptation"]).keys().values()}
    assert keys(tmp_path) == usual
    films(4, tests=True)
    assert keys(tmp_path) == usual
    films(4)
    apart = dataclasses.replace(resolve(FEW["adaptation"]), groups_apart=True).keys().values()
    assert keys(tmp_path) == {f"few-shot/{key}" for key in apart}
    assert not set(apart) & set(resolve(FEW["adaptation"]).keys().values())


def test_too_few_groups_end_with_one_line_and_code_2(films, bench, tmp_path):
    films(50)
    done = bench(
        *("run", "--defense", "none", "--quiet", "--out", tmp_path / "out"),
        *("--protocol", "few-shot", "--ways", "2", "--queries", "160"),
    )
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "5 shots and 160 queries a class are asked for, of different groups; " in done.err
    assert "examples in 4, too few or too unequal for that; lower them, or" in done.err


def test_whether_groups_are_apart_is_no_setting():
    with pytest.raises(ConfigError, match="unknown adaptation setting 'groups_apart'"):
        resolve({"groups_apart": True})


def test_a_record_from_before_is_not_one_of_groups():
    dataset = data()
    novel = {
        part: dataclasses.replace(one, groups=np.arange(len(one.y_support)) // 2)
        for part, one in dataset.novel.items()
    }
    dataset = dataclasses.replace(dataset, novel=novel)
    course = Course(SMALL, dataset, THREAT, 0, adapted("torch", dataset))
    told = course.about("ridge", 2, 2)
    assert told["groups_apart"]
    found = Comparison()
    found.expect_all({**told, "groups_apart": False}, told)
    assert found.differs == ["groups_apart is told as False, and is True"]
    assert fewshot._protocol({**told, "asks_stored": True}).groups_apart
