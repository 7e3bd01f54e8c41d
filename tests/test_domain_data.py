"""Data sets that models are adapted to: sizes, channels and tables, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from dataset_files import draw_classes
from small_domain import course, dataset
from untrained import SHAPE

from benchmark.errors import ConfigError
from benchmark.metatest.domain.settings import resolve, sized_for
from benchmark.metatest.domain.target import as_shape, loaded


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
GIVEN = ("shots", "queries")
SHAPES = {"size": (8, 8, 1), "tables": (5,), "two channels": (6, 6, 2)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_in_one_line(name):
    settings, told = REFUSED[name]
    target = dataset(SHAPES.get(name, SHAPE))
    whole = {"adapt_to": "other", "shots": "1", "queries": 5, **settings}
    with pytest.raises(ConfigError, match=told) as raised:
        sized_for(resolve(whole), dataset(name="small"), target, given=GIVEN)
    assert "\n" not in str(raised.value)


def test_as_many_as_there_are_can_be_asked_for():
    settings = {"adapt_to": "other", "shots": 10, "queries": 30}
    assert sized_for(resolve(settings), dataset(name="small"), dataset(), given=GIVEN).classes == 3


@pytest.mark.parametrize(
    ("settings", "given", "expected"),
    [
        ({}, (), ((1, 5, 10), 30)),
        ({"shots": "5,20,40", "queries": 31}, (), ((5, 10), 30)),
        ({"shots": "2"}, ("shots",), ((2,), 30)),
        ({"queries": 7}, ("queries",), ((1, 5, 10), 7)),
    ],
)
def test_no_more_are_taken_than_there_are_where_nobody_asked_for_more(settings, given, expected):
    protocol = resolve({"adapt_to": "other", **settings})
    made = sized_for(protocol, dataset(name="small"), dataset(), given=given)
    assert (made.shots, made.queries) == expected


LACKING = {
    "class": ({"y_train": lambda y: y % 2}, "class 'c' has no example to train on"),
    "part": (
        {"x_validation": lambda x: x[:0], "y_validation": lambda y: y[:0]},
        "its test or its validation part has no example",
    ),
}


@pytest.mark.parametrize("given", [{}, {"shots": 1, "queries": 5}], ids=["by default", "asked"])
@pytest.mark.parametrize(("changes", "told"), LACKING.values(), ids=LACKING)
def test_data_without_examples_are_refused(changes, told, given):
    target = dataset(name="other")
    changed = {name: change(getattr(target, name)) for name, change in changes.items()}
    with pytest.raises(ConfigError, match=f"adapt-to: other can't be adapted to: {told}"):
        sized_for(
            resolve({"adapt_to": "other", **given}),
            dataset(name="small"),
            dataclasses.replace(target, **changed),
            given=given,
        )


def test_labelled_examples_are_any_of_their_class():
    """The first of a class in one episode are not those in the next."""
    runner = course()
    drawn = [runner.draw(number, 3) for number in range(20)]
    for x, y, _, _ in drawn:
        assert y.tolist() == np.repeat(np.arange(3), 3).tolist()
        assert len(np.unique(x, axis=0)) == 9
    everything = np.unique(np.concatenate([x for x, *_ in drawn]), axis=0)
    assert len(everything) == 30


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_no_rule_makes_into_others_are_refused_before_anything_runs(channels):
    protocol = resolve({"adapt_to": "other", "shots": 1, "queries": 5})
    with pytest.raises(ConfigError, match=f"6x6x{channels}, small of 6x6x3; only grey"):
        sized_for(
            protocol, dataset((6, 6, 3), name="small"), dataset((6, 6, channels)), given=GIVEN
        )


def test_images_of_another_size_are_taken_where_that_was_asked_for():
    protocol = resolve({"adapt_to": "other", "shots": 1, "queries": 5, "resize": True})
    target = dataset((8, 8, 3))
    assert (
        sized_for(protocol, dataset(name="small"), target, given=GIVEN).fingerprint
        == target.fingerprint
    )
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
