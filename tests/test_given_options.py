"""What `bench attack` is told of a model: numbers, ranges and what is kept of them; reasons."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from benchmark import cli  # noqa: E402
from benchmark.errors import ConfigError  # noqa: E402
from benchmark.external.model import ExternalModel, from_source, interval, numbers, source  # noqa: E402
from benchmark.text import one_line, reason_of  # noqa: E402


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/255", (1 / 255,)),
        ("125/255,0.5", (125 / 255, 0.5)),
        ("-1", (-1.0,)),
        (None, ()),
    ],
)
def test_numbers_may_be_fractions(text, expected):
    assert numbers(text, "std") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["1/0", "a", "1/2/3", "", "nan", "1,,2", "inf", "1/"])
def test_what_is_no_number_is_told(text):
    with pytest.raises(ConfigError, match=r"give numbers such as 0\.5, 1/255"):
        numbers(text, "std")


@pytest.mark.parametrize(
    ("text", "ends"),
    [("0..255", (0.0, 255.0)), ("-1..1", (-1.0, 1.0)), ("-0.5..1/2", (-0.5, 0.5)), (None, ())],
)
def test_an_input_range_has_two_ends(text, ends):
    assert interval(text) == ends


NO_RANGES = ["255", "1..0", "0..0", "0..1..2", "0...255", "a..b", "0..inf", "0,255", ""]


@pytest.mark.parametrize("text", NO_RANGES)
def test_what_is_no_input_range_is_told(text):
    with pytest.raises(ConfigError, match=r"--input-range .* as 0\.\.255 or -1\.\.1"):
        interval(text)


@pytest.mark.parametrize("ends", [(), (0.0, 255.0)], ids=["without", "with"])
def test_an_input_range_is_recorded_only_where_it_was_given(ends):
    given = ExternalModel(
        "theirs", model="nets:net", channels="first", outputs="logits", input_range=ends
    )
    kept = source(given, framework="torch", outputs="logits", builder_sha256="0" * 64)
    assert ("input_range" in kept) == bool(ends)
    assert from_source("theirs", kept, None) == given


def test_the_command_takes_an_input_range_that_begins_with_a_minus(monkeypatch, capsys):
    command = ["bench", "attack", "--model", "mlp", "--input-range", "-1..-2"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "--input-range '-1..-2': give the least" in capsys.readouterr().err


def raised(function, *arguments):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the framework makes of it
        function(*arguments)
    return caught.value


def fails(x):
    raise ValueError("the first line\nand the second")


class Failing(keras.layers.Layer):
    def call(self, x):
        return x.numpy()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ValueError("two\nlines"), "ValueError: two lines"),
        (lambda: ValueError("\x1b[1mred\x1b[0m \x07"), r"ValueError: red \x07"),
        (lambda: KeyError("x"), "KeyError: 'x'"),
        (
            lambda: raised(tf.function(fails), np.zeros(2)),
            "ValueError: the first line and the second",
        ),
        (
            lambda: raised(tf.function(Failing()), tf.zeros((2, 2))),
            "AttributeError: 'SymbolicTensor' object has no attribute 'numpy'",
        ),
        (lambda: raised(Failing().call, "x"), "AttributeError: 'str' object has no attribute"),
    ],
    ids=["lines", "escapes", "key", "tf.function", "Keras in tf.function", "plain"],
)
def test_a_reason_is_one_line_that_names_the_cause(make, told):
    assert reason_of(make()).startswith(told)


def test_a_reason_is_cut():
    assert one_line("x" * 300, 20) == "x" * 19 + "…"
