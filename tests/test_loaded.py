"""A stored cell is checked with nothing but what its records name, whole."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import pytest

from benchmark import frameworks
from benchmark.attacks.specification import TRANSFER
from benchmark.errors import BenchError, SchemaError, StoreError
from benchmark.results import Store
from benchmark.verification import loaded
from benchmark.verification.loaded import Loaded, Machine

MACHINE = Machine("cpu", 2)


def bare(**attributes):
    """A cell of which nothing is loaded, with these attributes."""
    one = Loaded.__new__(Loaded)
    vars(one).update(attributes)
    return one


def test_a_cell_without_a_record_is_told_and_whatever_is_read_is_hashed_anew(tmp_path, monkeypatch):
    store, opened = Store.create(tmp_path / "out"), []
    store.make_cell_folder("one")
    monkeypatch.setattr(
        loaded.Store, "open", lambda path, *, anew=False: opened.append(anew) or store
    )
    with pytest.raises(StoreError, match=r"cell.json is missing or damaged"):
        Loaded(str(store.path), "one", None, MACHINE)
    assert opened == [True]


OTHER_MACHINES = {
    "another device": {"device": "cuda:0"},
    "other threads": {"threads": 1},
    "another processor": {"processor": "another"},
    "another version": {"versions": {"torch": "0"}},
    "no processor": {"processor": None},
}


@pytest.mark.parametrize("other", [{}, *OTHER_MACHINES.values()], ids=["none", *OTHER_MACHINES])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_equal_bits_are_asked_for_on_the_same_cpu_alone(other, device):
    versions = frameworks.versions("torch")
    here = {"threads": 2, "processor": frameworks.processor(), "versions": versions}
    one = bare(
        machine=Machine(device, 2),
        cell=SimpleNamespace(framework="torch"),
        record={"device": device, **here, **other},
    )
    assert one.same_machine is (not other and device == "cpu")


def test_what_a_stage_was_made_of_is_none_of_its_results():
    record = {"seconds": 1.0, "files": {}, "made_of": {"weights.safetensors": "0" * 64}}
    stored = {"status": "ok", "suite": "quick", **record}
    one = bare(store=SimpleNamespace(read_whole=lambda *_: stored), cell_id="one")
    found = one.found("runs/quick")
    assert found["files"] == {}
    assert "made_of" not in found


FILES = {"the one": (["own.yaml"], True), "none": ([], False), "two": (["own.yaml", "b"], False)}


@pytest.mark.parametrize(("files", "is_read"), FILES.values(), ids=FILES)
def test_the_text_of_a_suite_is_that_of_its_only_file(tmp_path, files, is_read):
    folder = tmp_path / "runs"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("attacks: {}")
    one = bare(
        record={"suites": {"own": []}},
        cell_id="one",
        store=SimpleNamespace(cell_folder=lambda cell_id: tmp_path),
        run_stage=lambda suite: f"runs/{suite}",
        found=lambda stage: {"runs/own": {"files": dict.fromkeys(files, "")}}[stage],
    )
    assert one.suite_text("own") == ("attacks: {}" if is_read else None)
    assert one.suite_text("another") is None


def with_suite(text, wrapped_in=()):
    cell = SimpleNamespace(dataset="digits", norm="linf", eps=0.1, wrapped_in=wrapped_in)
    return bare(cell=cell, suite_text=lambda name: text)


SUITE = "attacks: {one: {attack: pgd, arguments: {max_iter: 2, eps_step: 1 eps}}}"


@pytest.mark.parametrize("wrapped_in", [(), ("jpeg",)], ids=["bare", "wrapped"])
@pytest.mark.parametrize(
    ("name", "text", "names"),
    [("own", SUITE, ["one"]), ("quick", None, ["fgsm", "pgd", "apgd", "square"])],
    ids=["of a file", "of the project"],
)
def test_attacks_are_those_of_the_suite_and_the_transfer_behind_wrappers(
    name, text, names, wrapped_in
):
    found = with_suite(text, wrapped_in).attacks_of(name)
    assert [one.name for one in found] == [*names, *([TRANSFER.name] if wrapped_in else [])]


def test_a_suite_whose_file_is_not_stored_has_no_attacks():
    assert with_suite(None, ("jpeg",)).attacks_of("own") is None


def test_arguments_that_were_set_go_on_top():
    """Of the project's suites and of those of a file."""
    for name, text, attack in (("own", SUITE, "one"), ("quick", None, "pgd")):
        found = with_suite(text).attacks_of(name, {attack: {"max_iter": 7}})
        arguments = {one.name: one.arguments for one in found}
        assert arguments[attack]["max_iter"] == 7


# What is asked for: whether the defense adapts, and fits its last layer; the stages whose weights
# have to be whole.
NEEDED = {
    "the trained model": ("fitted", False, False, ["training"]),
    "that of a defense that adapts": ("fitted", True, True, ["training"]),
    "the attacked model": ("model", False, False, ["training"]),
    "an adapted one": ("model", True, False, ["training", "adaptation"]),
    "a target": ("target", True, False, ["training", "adaptation"]),
    "what a meta-test begins with": ("adaptable", True, False, ["training"]),
    "with a fitted layer": ("adaptable", True, True, ["training", "adaptation"]),
}


@pytest.mark.parametrize(("name", "adapts", "fits", "stages"), NEEDED.values(), ids=NEEDED)
def test_weights_that_are_used_have_to_be_those_of_their_record(name, adapts, fits, stages):
    files = {"training": "weights.safetensors", "adaptation": "adapted.safetensors"}
    context = SimpleNamespace(
        defense=SimpleNamespace(adapts=adapts, fits_last_layer=fits),
        weights_file=lambda called: f"{called}.safetensors",
        **dict.fromkeys(("fitted", "model", "target", "adaptable"), "made"),
    )
    for lacking in (None, *files):
        records = {s: {"files": {} if s == lacking else {f: ""}} for s, f in files.items()}
        one = bare(cell=SimpleNamespace(source=None), context=context, stage=records.__getitem__)
        if lacking in stages:
            with pytest.raises(StoreError, match=rf"{files[lacking]} is missing or damaged"):
                getattr(one, name)
        else:
            assert getattr(one, name) == "made"


def test_a_model_that_someone_else_trained_needs_no_weights_of_a_training():
    one = bare(cell=SimpleNamespace(source={}), context=SimpleNamespace(model="theirs"))
    assert one.model == "theirs"


def test_a_stage_that_is_not_there_is_told_where_it_has_to_be():
    one = bare(store=SimpleNamespace(read_whole=lambda *_: None), cell_id="one")
    assert one.found("training") is None
    with pytest.raises(StoreError, match="the stored training is missing or damaged"):
        one.stage("training")


def test_arrays_are_those_of_the_stage_by_its_key():
    one = bare(store=SimpleNamespace(read_arrays=lambda *asked: asked), cell_id="one")
    assert one.arrays("curves/pgd-1") == ("one", "curves/pgd-1", "pgd-1.npz")


def test_sources_are_told_by_the_attacks_whose_records_can_be_read():
    def found(stage):
        key = stage.removeprefix("attacks/")
        if key == "changed":
            raise SchemaError("robust_accuracy")
        made_on = {"from-twin": "twin", "from-other": "other"}.get(key)
        return None if key == "damaged" else {"source": f"of {made_on}", "made_on": made_on}

    suites = {"a": ["pgd", "from-twin", "changed"], "b": ["damaged", "from-other"]}
    one = bare(record={"suites": suites}, found=found)
    assert one._sources() == {"of twin": "twin", "of other": "other"}


OWNERS = {
    "a builder": {"builder": "nets:net", "architecture": None},
    "a builder beside a name": {"builder": "nets:net", "architecture": "mlp"},
    "code for a name": {"builder": None, "architecture": "nets:net"},
    "an unknown name": {"builder": None, "architecture": "no-such"},
}


@pytest.mark.parametrize("source", OWNERS.values(), ids=OWNERS)
def test_no_code_of_a_models_owner_is_run(source):
    one = bare(cell=SimpleNamespace(source=source))
    with pytest.raises(StoreError, match="code of its owner, which is not run here"):
        one._external(None)


@pytest.mark.parametrize("architecture", ["mlp", None], ids=["built in", "of the file"])
@pytest.mark.parametrize("files", [[], ["a.keras", "b.keras"]], ids=["none", "two"])
def test_weights_that_were_given_are_one_file(architecture, files):
    source = {"builder": None, "architecture": architecture}
    record = {"files": dict.fromkeys(files, "")}
    one = bare(cell=SimpleNamespace(source=source), stage={"given": record}.__getitem__)
    with pytest.raises(StoreError, match="stored weights are missing or damaged"):
        one._external(None)


@pytest.mark.parametrize(
    ("source", "builder", "made"),
    [
        (None, None, {"origin": SimpleNamespace(builder=None), "model": None}),
        (None, "nets:net", None),
        ({"builder": None}, "nets:net", {"origin": None, "model": "theirs"}),
    ],
    ids=["built in", "built by its owner", "external"],
)
def test_a_model_is_made_of_what_the_cell_says(monkeypatch, source, builder, made):
    def context(*cell, origin, **more):
        return SimpleNamespace(dataset="data", origin=origin, model=None)

    monkeypatch.setattr(loaded, "check_installed", print)
    monkeypatch.setattr(loaded, "Context", context)
    monkeypatch.setattr(loaded, "origin_of", lambda model, init: SimpleNamespace(builder=builder))
    one = bare(
        cell=SimpleNamespace(source=source, model="mlp"),
        **{"store": None, "machine": MACHINE, "cell_id": "one", "_data_dir": None},
        _sources=dict,
        _external=lambda data: {"data": "theirs"}[data],
    )
    if made is None:
        with pytest.raises(StoreError, match="code of its owner, which is not run here"):
            _ = one.context
    else:
        found = one.context
        assert {"origin": found.origin, "model": found.model} == made


def test_a_cell_whose_parts_are_not_installed_is_not_made_again(monkeypatch):
    def refuse(cell):
        raise BenchError("not installed")

    monkeypatch.setattr(loaded, "check_installed", refuse)
    with pytest.raises(BenchError, match="not installed"):
        _ = bare(cell=SimpleNamespace(source=None, model="mlp")).context


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreError("gone\nmore"), "gone"),
        (ValueError("so\nmore"), "ValueError: so"),
        (StoreError(""), "StoreError"),
    ],
    ids=["ours", "another", "without words"],
)
def test_an_error_is_told_in_one_line(error, told):
    assert loaded.why_not(error) == told


WHOLE = textwrap.dedent("""
    attacks: {one: {attack: pgd, arguments: {max_iter: 2, eps_step: 1 eps}}}
    security_curve: {attack: one, budgets: [0.5, 1, 2], examples: 20}
    corruptions: true
    certification: {sigma: 0.2, n0: 10, n: 50, examples: 10}
""")


@pytest.mark.parametrize("text", [WHOLE, SUITE, None], ids=["all", "attacks alone", "not stored"])
def test_the_work_of_a_suite_is_all_that_its_file_asks_for(text):
    one = with_suite(text)
    vars(one).update(
        store=SimpleNamespace(path="out"), context=SimpleNamespace(sources={}), _data_dir="data"
    )
    job = one.job("own", ())
    asked = (job.curve is not None, job.corruptions, job.certification is not None)
    assert asked == (text is WHOLE,) * 3
    assert (job.suite, job.out, job.data_dir) == ("own", "out", "data")
