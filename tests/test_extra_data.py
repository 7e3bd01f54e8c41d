"""Extra training data: mixed into each batch alike in both frameworks, never what is held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_defenses import SMALL, THREAT, build, data

import defenses
from benchmark.cells import cell_of
from benchmark.config import read
from benchmark.errors import BenchError, DataError
from benchmark.plans.run import Plan, make_plan
from benchmark.results import Store
from benchmark.stages.training import training_key
from defenses.extra import Extra, Mixture
from defenses.recipe import Recipe

SHARES = {
    "half": (0.5, 16, 8),
    "little": (0.001, 16, 1),
    "most": (0.999, 16, 15),
    "70 %": (0.7, 10, 7),
}


@pytest.mark.parametrize(("share", "size", "extra"), SHARES.values(), ids=SHARES)
def test_each_batch_has_its_share(share: float, size: int, extra: int) -> None:
    (x, y), (more_x, more_y) = data(count=40), data(count=24, seed=1)
    mixture, generator = Mixture(x, y, Extra(more_x, more_y, share)), np.random.default_rng(0)
    places = list(mixture.batches(generator, generator.permutation(40), size, 2))
    assert [np.count_nonzero(batch >= 40) for batch in places] == [extra, extra]
    assert all(len(set(batch)) == size for batch in places)
    for batch in places:
        joined = np.concatenate([x, more_x])
        np.testing.assert_array_equal(mixture.x[batch], joined[batch])


def test_extra_data_come_once_before_any_comes_twice() -> None:
    mixture, generator = Mixture(*data(count=40), Extra(*data(count=6))), np.random.default_rng(0)
    places = np.concatenate(list(mixture.batches(generator, np.arange(40), 8, 5)))
    counts = np.bincount(places[places >= 40] - 40, minlength=6)
    assert counts.sum() == 20
    assert np.ptp(counts) == 1


def test_what_draws_freely_draws_from_all_in_proportion() -> None:
    mixture = Mixture(*data(count=40), Extra(*data(count=500), 0.75))
    pool = mixture.pool(np.random.default_rng(0))
    assert (len(pool), np.count_nonzero(pool >= 40)) == (160, 120)


FREE = {"distribution": ["few-way"], "ways": 2, "support": 4, "query": 4, "tasks": 2}
DEFENSES = {"pgd-at": SMALL["pgd-at"], "meta-adv": FREE}


@pytest.mark.parametrize(("name", "parameters"), DEFENSES.items(), ids=DEFENSES)
def test_both_frameworks_train_on_equal_batches(
    monkeypatch: pytest.MonkeyPatch, name: str, parameters: dict[str, Any]
) -> None:
    seen: list[Any] = []
    original = Recipe.draw_augmented

    def draw(self: Recipe, *given: Any) -> Any:
        draws = original(self, *given)
        seen.append(draws["x"])
        return draws

    monkeypatch.setattr(Recipe, "draw_augmented", draw)
    x, y = data()
    extra = Extra(np.ones_like(x), y)
    batches = {}
    for framework in ("torch", "tensorflow"):
        defense = defenses.create(name, THREAT, parameters)
        fitted = defense.fit(build(framework), x, y, epochs=1, extra=extra)
        plain = defense.length(len(x), epochs=1)
        assert fitted.outcome.steps == plain.steps
        batches[framework], seen[:] = np.stack(seen), []
    np.testing.assert_array_equal(batches["torch"], batches["tensorflow"])
    ours = batches["torch"].reshape(-1, *x.shape[1:])
    taken = (ours == 1).all(axis=(1, 2, 3)).mean()
    assert taken == 0.5 if name == "pgd-at" else 0.2 < taken < 0.8


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another shape": ({"x": np.zeros((4, 5, 5, 1), np.float32)}, "both must have the same shape"),
    "no share": ({"share": 1.0}, "give one above 0 and below 1"),
    "no class": ({"y": np.array([0, 1, 2, 7])}, "gives 3 logits"),
}


@pytest.mark.parametrize(("changes", "says"), REFUSED.values(), ids=REFUSED)
def test_a_defense_refuses(changes: dict[str, Any], says: str) -> None:
    x, y = data()
    given = {"x": x[:4], "y": y[:4], **changes}
    with pytest.raises(defenses.DefenseError, match=says):
        defenses.create("none", THREAT).fit(build("torch"), x, y, epochs=1, extra=Extra(**given))


def plan(**given: Any) -> Plan:
    small = {"defense": "none", "framework": "torch", "model": "mlp", "epochs": 1, "examples": 10}
    return make_plan(read({**small, "out": "out", "suite": "quick", **given}))


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes extra data beside digits; without changes, 30 images that are no digits."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(3)

    def write(**changes: Any) -> str:
        arrays = {"x": generator.random((30, 8, 8, 1), np.float32), "y": np.arange(30) % 10}
        np.savez("more.npz", **{k: v for k, v in {**arrays, **changes}.items() if v is not None})
        return "npz:more.npz"

    return write


def test_the_record_and_the_keys_tell_them(digits: Any) -> None:
    without, name = plan(), digits()
    (cell,) = [job.cell for job in plan(extra_data=name).jobs]
    (other,) = [job.cell for job in plan(extra_data=name, extra_share=0.25).jobs]
    told = cell.config()["extra_data"]
    assert told == {
        "name": "npz:more.npz",
        "fingerprint": told["fingerprint"],
        "examples": 30,
        "left_out": 0,
        "share": 0.5,
    }
    assert cell_of(cell.config()) == cell
    assert "extra_data" not in without.jobs[0].cell.config()
    keys = [training_key(one) for one in (cell, other, without.jobs[0].cell)]
    assert len(set(keys)) == 3
    digits(y=np.arange(30)[::-1] % 10)
    (relabelled,) = [job.cell for job in plan(extra_data=name).jobs]
    assert relabelled.cell_id != cell.cell_id


def test_what_is_held_out_is_left_out_and_told(digits: Any) -> None:
    from benchmark import datasets

    held_out = datasets.load("digits")
    x = np.concatenate([held_out.x_test[:3], held_out.x_validation[:2], held_out.x_train[:4]])
    name = digits(x=x, y=np.zeros(9, np.int64))
    made = plan(extra_data=name)
    assert "5 of 9 examples of npz:more.npz are also held out for validation or test, left out" in (
        made.notices
    )
    told = made.jobs[0].cell.extra_data
    assert told is not None
    assert (told["examples"], told["left_out"]) == (4, 5)


def test_texts_name_classes(digits: Any) -> None:
    numbers, texts = (
        plan(extra_data=digits(x=np.ones((3, 8, 8), np.float32), y=y)).jobs[0].cell.extra_data
        for y in (np.array([3, 0, 9]), np.array(["3", "0", "9"]))
    )
    assert numbers == texts


def test_what_is_held_out_is_known_whichever_way_bytes_became_floats(digits: Any) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    y = np.arange(40) % 2
    np.savez("bytes.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    multiplied = np.concatenate([x[30:], 255 - x[30:]]).astype(np.float32) * np.float32(1 / 255)
    made = plan(dataset="npz:bytes.npz", extra_data=digits(x=multiplied, y=np.zeros(20, int)))
    told = made.jobs[0].cell.extra_data
    assert told is not None
    assert (told["examples"], told["left_out"]) == (10, 10)


FEW_SHOT: dict[str, Any] = {"protocol": "few-shot", "split": 0, "ways": 2}


def test_examples_of_classes_that_are_held_out_are_left_out(digits: Any) -> None:
    from benchmark import datasets

    whole = datasets.load("digits")
    split = datasets.load("digits", classes=0).class_split
    assert split is not None
    held_out = np.isin(whole.y_train, [int(name) for name in (*split.test, *split.validation)])
    x = np.concatenate([whole.x_train[held_out][:7], np.ones((3, 8, 8, 1), np.float32)])
    made = plan(extra_data=digits(x=x, y=np.array([split.train[0]] * 10)), **FEW_SHOT)
    told = made.jobs[0].cell.extra_data
    assert told is not None
    assert (told["examples"], told["left_out"]) == (3, 7)


def test_numbers_name_no_classes_where_some_are_held_out(digits: Any) -> None:
    name = digits(x=np.ones((3, 8, 8, 1), np.float32), y=np.array([0, 1, 2]))
    with pytest.raises(DataError, match="have new places; give each class's name, of 1, 4, 5"):
        plan(extra_data=name, **FEW_SHOT)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "another shape": ({"x": np.zeros((30, 7, 8, 1), np.uint8)}, r"\(7, 8, 1\), and one of digits"),
    "a label too large": ({"y": np.arange(30)}, "from 0 to 29, and those of digits from 0 to 9"),
    "a label below 0": ({"y": np.arange(30) % 10 - 1}, "from -1 to 8"),
    "an unknown name": ({"y": np.array(["cat"] * 30)}, "label 'cat' is no class of digits"),
    "NaN": ({"x": np.full((30, 8, 8, 1), np.nan, np.float32)}, "holds NaN"),
    "a range": ({"x": np.full((30, 8, 8, 1), 9, np.float32)}, "divide by 255"),
    "fewer labels": ({"y": np.arange(3)}, r"must be \(30,\)"),
    "no labels": ({"y": None}, "holds x; save inputs as x and labels as y"),
}


@pytest.mark.parametrize(("changes", "says"), BAD.values(), ids=BAD)
def test_bad_extra_data_are_one_line(digits: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        plan(extra_data=digits(**changes))
    assert "\n" not in str(caught.value)
    assert not Path("out").exists()


GIVEN: dict[str, tuple[dict[str, Any], str]] = {
    "no file": ({"extra_data": "npz:none.npz"}, "there is no file"),
    "no npz": ({"extra_data": "cifar10"}, "give npz:FILE"),
    "a share alone": ({"extra_share": 0.5}, "give --extra-data npz:FILE too"),
    "a share of all": ({"extra_data": "npz:more.npz", "extra_share": 1}, "extra_share"),
    "batches of one": (
        {"extra_data": "npz:more.npz", "parameters": {"none": {"batch_size": 1}}},
        "an update of 1 example",
    ),
}


@pytest.mark.parametrize(("given", "says"), GIVEN.values(), ids=GIVEN)
def test_wrong_options_are_refused(digits: Any, given: dict[str, Any], says: str) -> None:
    digits()
    with pytest.raises(BenchError, match=says):
        plan(**given)


def test_a_file_that_changed_ends_the_cell(digits: Any) -> None:
    from serving import serve

    made = plan(extra_data=digits(), baseline=False)
    Store.create(Path("out"))
    digits(y=np.zeros(30, np.int64))
    messages = serve(*made.jobs)
    assert any("changed while the run was going on" in str(message) for message in messages)


def test_a_run_trains_with_them(digits: Any) -> None:
    from serving import serve

    made = plan(extra_data=digits(), baseline=False)
    store = Store.create(Path("out"))
    serve(*made.jobs)
    (job,) = made.jobs
    record = store.read_cell(job.cell.cell_id)
    assert record is not None
    assert record["status"] == "ok"
    assert record["config"]["extra_data"]["examples"] == 30
    plain = plan(baseline=False, out="plain")
    plain_store = Store.create(Path("plain"))
    serve(*plain.jobs)
    losses = [
        one.read_stage(jobs[0].cell.cell_id, "training")["history"][0]["loss"]  # type: ignore[index]
        for one, jobs in ((store, made.jobs), (plain_store, plain.jobs))
    ]
    assert losses[0] != losses[1]


def test_it_is_an_option_of_trainings_alone(bench: Any, digits: Any) -> None:
    assert bench("attack", "--extra-data", digits()).code == 2
    bad = digits(y=np.arange(30))
    ended = bench("run", "--defense", "none", "--extra-data", bad, "--dry-run")
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1
