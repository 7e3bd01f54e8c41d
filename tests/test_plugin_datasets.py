"""Data sets of other distributions that are wrong: told in a line before anything runs."""

from __future__ import annotations

import pytest
from plugins import distribution, dry

from benchmark import datasets
from benchmark.errors import ConfigError, DataError

LOADER = """
import numpy as np
from benchmark.datasets import DatasetDefaults, DatasetEntry, Source

EPS = {{"linf": 0.1, "l2": 0.5, "l1": 2.0}}
ENTRY = DatasetEntry("one:load", "made up", DatasetDefaults(EPS, 1))

def load(request):
    x = np.random.default_rng(0).random((100, 8, 8, 1), dtype=np.float32)
    y = np.arange(100) % 2
    {changes}
    return Source(x, y, ("a", "b"))
"""
DATA = {
    "raises": ("raise KeyError('colour')", "its loader one:load raises KeyError: 'colour'"),
    "gives nothing": ("return None", "its loader gives NoneType, not a Source"),
    "labels of text": ("y = np.array(['a', 'b'] * 50)", "y is <U1 of shape (100,)"),
    "labels one-hot": ("y = np.eye(2)[y]", "y is float64 of shape (100, 2)"),
    "a label lacks": ("y = y[:-1]", "x has 100 examples and y 99 labels"),
    "other labels": ("y = y + 1", "y reaches from 1 to 2; there are 2 class_names"),
    "no channel": ("x = x[..., 0]", "x is (100, 8, 8); inputs must be (n, H, W, C) or (n, d)"),
    "channels first": ("x = x.repeat(3, 3).transpose(0, 3, 1, 2)", "looks like channels first"),
    "a list": ("x = x.tolist()", "x is list; give an array"),
    "groups are too few": (
        "return Source(x, y, ('a', 'b'), groups=y[:9])",
        "groups must be an array, (n,), of what",
    ),
    "groups that are no array": (
        "return Source(x, y, ('a', 'b'), groups=memoryview(y))",
        "groups must be an array, (n,), of what",
    ),
    "groups of mixed types": (
        "return Source(x, y, ('a', 'b'), groups=np.array([None, 'p'] * 50))",
        "groups can't be told apart (TypeError: '<' not supported",
    ),
    "leaves": ("raise SystemExit('bye')", "its loader one:load raises SystemExit: bye"),
    "no names": ("return Source(x, y, None)", "class_names are None; give a tuple of texts"),
    "names that are numbers": ("return Source(x, y, (0, 1))", "class_names are (0, 1); give a"),
    "one name twice": ("return Source(x, y, ('a', 'a'))", "each class needs another name"),
    "no inputs": ("return Source(None, None, ('a', 'b'))", "x and y are missing"),
    "no pixels": ("x = x[:, :0]", "x is (100, 0, 8, 1); inputs must be (n, H, W, C) or (n, d)"),
    "complex numbers": ("x = x + 0.5j", "x is complex64; inputs must be floats in [0, 1]"),
    "an empty part": (
        "return Source(x, y, ('a', 'b'), x_test=x[:0], y_test=y[:0])",
        "x_test has no examples; leave it and y_test out",
    ),
    "a share above 1": (
        "return Source(x, y, ('a', 'b'), validation=10)",
        "validation is 10; give a share between 0 and 1",
    ),
    "what no record keeps": (
        "return Source(x, y, ('a', 'b'), about={'mean': x.mean()})",
        "about can't be kept as JSON (TypeError: Object of type float32",
    ),
    "a file that is not there": (
        "return Source(x, y, ('a', 'b'), files=['gone.npz'])",
        "of its files there is no 'gone.npz'",
    ),
    "no number in what a record keeps": (
        "return Source(x, y, ('a', 'b'), about={'mean': float('nan')})",
        "about can't be kept as JSON (ValueError: Out of range float",
    ),
    "names of two types in it": (
        "return Source(x, y, ('a', 'b'), about={'mean': 1, 2: 3})",
        "about can't be kept as JSON (TypeError: '<' not supported",
    ),
    "no files": ("return Source(x, y, ('a', 'b'), files=None)", "files are None; give a tuple"),
    "one file": (
        "return Source(x, y, ('a', 'b'), files='a.npz')",
        "files are 'a.npz'; give a tuple",
    ),
    "files of which one is none": (
        "return Source(x, y, ('a', 'b'), files=[None])",
        "files are [None]; give a tuple of paths",
    ),
    "what is read by something else than places": (
        "x = memoryview(x)",
        "x is memoryview, of which no row can be read (TypeError",
    ),
    "what gives something else than a row": (
        "x = type('Odd', (), {'shape': x.shape, '__getitem__': lambda self, rows: y[rows]})()",
        "x is Odd, whose first row is (1,); give an array",
    ),
    "a scale that is none": (
        "return Source(x, y, ('a', 'b'), scale=2)",
        "scale is 2; give a function",
    ),
    "a scale that gives rows": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: x / 2)",
        "its scale gives array(",
    ),
    "a scale that raises": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: {}['low'])",
        "its scale raises KeyError: 'low'",
    ),
    "a scale of which no record can be kept": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (abs, {'low': x.min()}))",
        "what its scale tells can't be kept as JSON (TypeError: Object of type float32",
    ),
    "scaling that raises": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (lambda x: x['low'], {}))",
        "what its scale gives raises IndexError",
    ),
    "scaling to something else": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (len, {}))",
        "rows of shape (100, 8, 8, 1) are int when they are scaled",
    ),
    "scaling that loses an axis": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (lambda x: x[..., 0], {}))",
        "rows of shape (100, 8, 8, 1) are (100, 8, 8) when they are scaled",
    ),
    "scaling to complex numbers": (
        "return Source(x, y, ('a', 'b'), scale=lambda x: (lambda x: x + 0.5j, {}))",
        "rows are complex64 when they are scaled; give floats",
    ),
    "0 to 255": ("x = 255 * x", "inputs must be in [0, 1], or bytes"),
    "no numbers": ("x[3] = np.nan", "holds values that are not finite"),
}


@pytest.mark.parametrize(("changes", "told"), DATA.values(), ids=DATA)
def test_a_data_set_that_can_not_be_is_one_line(place, tmp_path, changes, told):
    distribution(
        place, "one", module=LOADER.format(changes=changes), datasets={"made-up": "one:ENTRY"}
    )

    with pytest.raises(DataError) as raised:
        dry(tmp_path, dataset="made-up", defense="pgd-at")

    assert told in str(raised.value)
    assert "made-up" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_data_set_that_is_right_is_taken_as_it_is(place):
    module = LOADER.format(changes="x = (255 * x).astype(np.uint8)")
    distribution(place, "one", module=module, datasets={"made-up": "one:ENTRY"})
    found = datasets.load("made-up")
    assert found.input_shape == (8, 8, 1)
    assert len(found.y_train) + len(found.y_validation) + len(found.y_test) == 100


def test_a_share_that_nothing_takes_is_not_looked_at(place):
    changes = "return Source(x, y, ('a', 'b'), x_validation=x, y_validation=y, validation=0.0)"
    distribution(
        place, "one", module=LOADER.format(changes=changes), datasets={"made-up": "one:ENTRY"}
    )
    assert len(datasets.load("made-up").y_validation) == 100


def test_a_default_budget_that_no_run_takes_is_refused_by_a_run(place, tmp_path):
    module = LOADER.format(changes="").replace('"linf": 0.1', '"linf": 8')
    distribution(place, "one", module=module, datasets={"made-up": "one:ENTRY"})

    with pytest.raises(ConfigError, match="default of made-up under linf: eps 8 is above 1"):
        dry(tmp_path, dataset="made-up", defense="pgd-at")
    assert dry(tmp_path, dataset="made-up", defense="pgd-at", eps=8 / 255).jobs
