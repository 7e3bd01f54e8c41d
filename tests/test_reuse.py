"""Nothing is trained twice for the same weights, in a folder of results and in a run."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks
from benchmark.config import read
from benchmark.results import Store
from benchmark.resume import training_left

frameworks.import_torch_first()

import serving  # noqa: E402

from benchmark.plans.run import make_plan  # noqa: E402
from benchmark.stages.training import training_key  # noqa: E402

QUICK = ["attacks.pgd.max_iter=2", "attacks.apgd.max_iter=2", "attacks.square.max_iter=2"]
FLAGS = {
    "model": "cnn-small",
    "framework": ["torch"],
    "epochs": 1,
    "examples": 20,
    "baseline": False,
    "protocol": "none",
}


def jobs(out, *assignments, **flags):
    config = read({**FLAGS, "out": out, **flags}, assignments=[*QUICK, *assignments])
    planned = make_plan(config).jobs
    Store.create(out)
    return planned


def serve(*todo):
    """The stages that were worked on, by the label that progress is told under."""
    messages = serving.serve(*todo)
    ends = [message[2:] for message in messages if message[0] == "finished"]
    assert ends == [("ok", "")] * len(todo)
    return [message[2] for message in messages if message[0] == "progress"]


CASES = {
    "more examples": ({"defense": ["pgd-at"]}, {"defense": ["pgd-at"], "examples": 30}),
    "eps of an undefended model": ({"defense": ["none"]}, {"defense": ["none"], "eps": 0.05}),
    "norm of noise": ({"defense": ["gaussian"]}, {"defense": ["gaussian"], "norm": "l2"}),
    "something around it": ({"defense": ["pgd-at"]}, {"defense": ["pgd-at+jpeg"]}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_training_is_not_done_again(tmp_path, case):
    (first,), (second,) = (jobs(tmp_path, **flags) for flags in CASES[case])

    before, after = serve(first), serve(second)

    assert "training" in before
    assert "training" not in after
    store = Store.open(tmp_path)
    ids = [job.cell.cell_id for job in (first, second)]
    one, other = (store.read_stage(cell_id, "training") for cell_id in ids)
    assert other.pop("taken_from") == ids[0]
    assert one == other
    assert store.read_cell(ids[1])["gradient_evaluations"] > 0


OTHERS = {
    "eps of a defense": ({"defense": ["pgd-at"]}, {"defense": ["pgd-at"], "eps": 0.05}),
    "seed": ({"defense": ["none"]}, {"defense": ["none"], "seed": [1]}),
    "length": ({"defense": ["none"]}, {"defense": ["none"], "epochs": 2}),
    "encoded inputs": ({"defense": ["none"]}, {"defense": ["none+thermometer"]}),
    "framework": ({"defense": ["none"]}, {"defense": ["none"], "framework": ["tensorflow"]}),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_weights_have_another_key(tmp_path, case):
    (first,), (second,) = (jobs(tmp_path, **flags) for flags in OTHERS[case])

    assert training_key(first.cell) != training_key(second.cell)


@pytest.mark.parametrize("case", CASES)
def test_a_training_that_is_taken_over_counts_as_free(tmp_path, case):
    (first,), (second,) = (jobs(tmp_path, **flags) for flags in CASES[case])
    assert training_left(first, None) > 0
    assert training_left(second, Store.open(tmp_path)) > 0

    serve(first)

    assert training_left(first, Store.open(tmp_path)) == 0
    assert training_left(second, Store.open(tmp_path)) == 0


def test_a_training_is_counted_once_in_a_run(tmp_path):
    planned = jobs(tmp_path, defense=["pgd-at", "pgd-at+jpeg", "fgsm-at"], epochs=2)

    assert [job.training > 0 for job in planned] == [True, False, True]


def test_a_damaged_training_is_not_taken(tmp_path):
    (first,), (second,) = (
        jobs(tmp_path, defense=["none"]),
        jobs(tmp_path, defense=["none"], eps=0.1),
    )
    serve(first)
    weights = Store.open(tmp_path).cell_folder(first.cell.cell_id) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")

    assert "training" in serve(second)


def test_a_cell_of_other_parameters_than_ours_stands_in_nobodys_way(tmp_path):
    """As of another version, or of a stranger."""
    (first,), (second,) = (jobs(tmp_path, defense=["none"], eps=eps) for eps in (0.15, 0.1))
    serve(first)
    store, cell_id = Store.open(tmp_path), first.cell.cell_id
    record = store.read_cell(cell_id)
    record["config"]["defense"]["parameters"]["unheard_of"] = 1
    store.write_cell(cell_id, record)

    assert "training" in serve(second)


def test_a_failed_stage_that_is_not_required_is_tried_again(tmp_path):
    (job,) = jobs(tmp_path, defense=["none"])
    serve(job)
    store, (transfer,) = Store.open(tmp_path), [s for s in job.stages if not s.required]
    assert job.pending(store) == []

    store.write_stage(job.cell.cell_id, transfer.path, transfer.failed("lost").stored())

    assert job.pending(store) == [transfer]


def test_taken_weights_are_those_of_a_training(tmp_path):
    """A folder that had nothing to take gives the same results."""
    (first,), (second,) = (jobs(tmp_path / "one", defense=[name]) for name in ("none", "none+jpeg"))
    (alone,) = jobs(tmp_path / "other", defense=["none+jpeg"])

    serve(first, second)
    serve(alone)

    for name, key in alone.attack_keys().items():
        taken, trained = (
            Store.open(tmp_path / folder).read_arrays(
                alone.cell.cell_id, f"attacks/{key}", f"{key}.npz"
            )
            for folder in ("one", "other")
        )
        assert all(np.array_equal(taken[n], trained[n]) for n in trained), name


def test_a_cell_waits_for_its_twin_and_for_the_training_that_it_takes(tmp_path):
    planned = jobs(tmp_path, defense=["pgd-at", "pgd-at+jpeg"], baseline=True)

    none, pgd, _ = (job.cell.cell_id for job in planned)
    assert [job.after for job in planned] == [
        frozenset(),
        frozenset({none}),
        frozenset({none, pgd}),
    ]
