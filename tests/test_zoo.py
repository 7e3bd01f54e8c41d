"""Models of RobustBench's zoo, with a package of that name in its place, and published numbers."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from serving import serve  # noqa: E402
from torch import nn  # noqa: E402

import reports  # noqa: E402
from benchmark.errors import ConfigError, ModelError, UnknownName  # noqa: E402
from benchmark.external import checking, loading, published, zoo  # noqa: E402
from benchmark.external.model import ExternalModel, named, source  # noqa: E402
from benchmark.external.published import Published  # noqa: E402

UTILS = """
    from enum import Enum
    from pathlib import Path

    import torch
    from torch import nn

    Data = Enum("Data", {"cifar_10": "cifar10"})
    Threat = Enum("Threat", {"Linf": "Linf"})
    names = {"Small2020Net": "abc", "Last2020Net": "abc", "Many2020Net": ["a", "b"], "Hub2020": ""}
    entries = {name: {"gdrive_id": one} for name, one in names.items()}
    all_models = {Data.cifar_10: {Threat.Linf: entries}}

    def load_model(model_name, model_dir, dataset, threat_model, custom_checkpoint):
        where = all_models[Data(dataset)][Threat(threat_model)][model_name]["gdrive_id"]
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        if not where or isinstance(where, list):
            Path("downloaded").touch()
            return model.eval()
        path = f"{model_dir}/{dataset}/{threat_model}/{model_name}.pt"
        state = torch.load(path, weights_only=False)
        model.load_state_dict(state["last"] if model_name == "Last2020Net" else state)
        return model.eval()
"""
TABLE = """Metadata-Version: 2.1
Name: robustbench
Version: 9.9

## Model Zoo
### CIFAR-10
#### Linf, eps=8/255
| <sub>#</sub> | <sub>Model ID</sub> | <sub>Clean accuracy</sub> | <sub>Robust accuracy</sub> |
| <sub>1</sub> | <sub><sup>**Small2020Net**</sup></sub> | <sub>83.34%</sub> | <sub>43.21%</sub> |
#### L2, eps=0.5
| <sub>1</sub> | <sub><sup>**Small2020Net**</sup></sub> | <sub>90.00%</sub> | <sub>60.00%</sub> |
"""
WHOLE = "robustbench:cifar10/Linf/Small2020Net"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package robustbench in a folder of its own."""
    root = tmp_path / "site"
    (root / "robustbench").mkdir(parents=True)
    (root / "robustbench/__init__.py").write_text("")
    (root / "robustbench/utils.py").write_text(textwrap.dedent(UTILS))
    (root / "robustbench-9.9.dist-info").mkdir()
    (root / "robustbench-9.9.dist-info/METADATA").write_text(TABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(root))
    yield
    for name in [one for one in sys.modules if one.startswith("robustbench")]:
        del sys.modules[name]


def weights(path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    torch.save(model.state_dict(), path)
    return model


class Code:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("ran"),)


@pytest.mark.usefixtures("package")
def test_weights_that_hold_code_never_reach_the_package():
    torch.save({"state_dict": Code()}, "w.pt")
    with pytest.raises(ModelError, match="could run code and is not loaded"):
        zoo.load(WHOLE, Path("w.pt"))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("model", "flags", "expected"),
    [
        ("robustbench:Small2020Net", {}, WHOLE),
        ("robustbench:N", {"norm": "l2", "dataset": "cifar100"}, "robustbench:cifar100/L2/N"),
        ("robustbench:imagenet/Linf/N", {"norm": "l2"}, "robustbench:imagenet/Linf/N"),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_name_is_completed_by_data_set_and_norm(model, flags, expected):
    assert zoo.whole_name(model, flags) == expected


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        ("N", (), ("cifar10", "linf")),
        ("N", ("--threat", "L2"), ("cifar10", "l2")),
        ("cifar100/L2/N", (), ("cifar100", "l2")),
        ("cifar100/L2/N", ("--norm", "linf", "--dataset", "svhn"), ("svhn", "linf")),
        ("imagenet/Linf/N", ("--dataset", "folder:x"), ("folder:x", "linf")),
        ("imagenet/Linf/N", ("--set", "dataset=folder:x"), ("folder:x", "linf")),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_model_is_attacked_on_the_data_and_in_the_norm_of_its_name(
    bench, tmp_path, monkeypatch, model, given, expected
):
    from benchmark.cli import attack
    from benchmark.plans import external

    asked = []
    monkeypatch.setattr(external, "make_plan", lambda config, *more: asked.append(config))
    monkeypatch.setattr(attack, "carry_out", lambda planned, detail: planned())
    weights(tmp_path / "w.pt")
    assert bench("attack", "--model", f"robustbench:{model}", "--weights", "w.pt", *given).code == 0
    assert (asked[0].dataset, asked[0].norm) == expected
    assert (asked[0].suite, asked[0].examples) == ("autoattack", 10_000)


@pytest.mark.usefixtures("package")
def test_a_model_for_imagenet_asks_for_its_folder(bench, tmp_path):
    weights(tmp_path / "w.pt")
    done = bench("attack", "--model", "robustbench:imagenet/Linf/N", "--weights", "w.pt")
    assert done.code == 2
    assert "is one for ImageNet, which is a folder here; give --dataset folder:DIR" in done.err


@pytest.mark.parametrize(
    ("model", "flags", "said"),
    [
        ("robustbench:N", {"norm": "l1"}, "no models for l1; allowed threats: Linf, L2"),
        ("robustbench:a/b", {}, "is no name of the zoo; write robustbench:NAME"),
        ("robustbench:cifar10/Linf/../x", {}, "is no name of the zoo"),
        ("robustbench:cifar10/corruptions/N", {}, "is no name of the zoo"),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_is_no_name_of_the_zoo_is_told(model, flags, said):
    with pytest.raises(ConfigError, match=said):
        zoo.whole_name(model, flags)


def test_without_the_package_its_pip_line_is_told(monkeypatch):
    monkeypatch.setattr(zoo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'meta-adv-bench\[robustbench\]'"):
        zoo.whole_name("robustbench:N", {})


def test_weights_are_looked_for_where_the_package_keeps_them(tmp_path):
    path = zoo.cached(WHOLE)
    assert path == Path("models/cifar10/Linf/Small2020Net.pt")
    with pytest.raises(ModelError, match=r"give --weights FILE, or have .* load_model\('Small"):
        zoo.check_cached(WHOLE, tmp_path / path)


@pytest.mark.usefixtures("package")
def test_a_model_is_loaded_from_a_file_anywhere(tmp_path):
    expected = weights(tmp_path / "mine.pt")
    given = ExternalModel("small", model=WHOLE, weights=str(tmp_path / "mine.pt"))
    found = loading.load_external(given, (8, 8, 1), 10)
    assert found.framework == "torch"
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value)
    assert given.architecture == "Small2020Net"
    told = source(given, framework="torch", outputs="logits", builder_sha256=None)
    assert told["builder"] == WHOLE
    assert named(WHOLE, "models/cifar10/Linf/Small2020Net.pt") == "Small2020Net"


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        ("cifar10/Linf/Small2020Nett", UnknownName, "did you mean 'Small2020Net'"),
        ("cifar10/L2/Small2020Net", UnknownName, "table of RobustBench 'cifar10/L2'"),
        ("cifar1/Linf/Small2020Net", UnknownName, "did you mean 'cifar10/Linf'"),
        ("cifar10/Linf/Small2020Net", ModelError, "can't be loaded: "),
        ("cifar10/Linf/Last2020Net", ModelError, "can't be loaded: KeyError: 'last'"),
        ("cifar10/Linf/Many2020Net", ModelError, "would download in place of --weights; build it"),
        ("cifar10/Linf/Hub2020", ModelError, "would download in place of --weights; build it"),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_model_that_is_not_that_of_the_weights_is_told(tmp_path, model, error, said):
    torch.save({}, tmp_path / "none.pt")
    with pytest.raises(error) as caught:
        zoo.load(f"robustbench:{model}", tmp_path / "none.pt")
    assert said in str(caught.value)
    assert not Path("downloaded").exists()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (WHOLE, Published(0.4321, 0.8334, "RobustBench 9.9, Linf, eps=8/255")),
        (
            "robustbench:cifar10/L2/Small2020Net",
            Published(0.6, 0.9, "RobustBench 9.9, L2, eps=0.5"),
        ),
        ("robustbench:cifar10/Linf/Another", None),
        ("robustbench:cifar100/Linf/Small2020Net", None),
    ],
)
@pytest.mark.usefixtures("package")
def test_the_published_number_is_that_of_the_packages_table(model, expected):
    assert zoo.published(model) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("43.21%", 0.4321), ("0.4321", 0.4321), ("100%", 1.0)],
)
def test_a_published_number_is_a_share_or_per_cent(given, expected):
    found = published.read(given)
    assert (found and found.robust_accuracy) == (expected and pytest.approx(expected))


@pytest.mark.parametrize("given", ["43.21", "-1%", "about half", "nan", ""])
def test_what_is_no_share_is_told(given):
    with pytest.raises(ConfigError, match=r"give a robust accuracy such as 43.21% or 0.4321"):
        published.read(given)


def test_a_file_of_model_info_is_read(tmp_path):
    path = tmp_path / "Wong2020Fast.json"
    path.write_text(json.dumps({"clean_acc": "83.34", "autoattack_acc": "43.21"}))
    told = "RobustBench's model_info, Wong2020Fast.json"
    assert published.read(str(path)) == Published(0.4321, 0.8334, told)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="has no autoattack_acc"):
        published.read(str(path))


@pytest.mark.usefixtures("package")
def test_the_command_sets_the_published_number_beside_ours(tmp_path, monkeypatch, bench):
    from benchmark.cli import attack
    from benchmark.plans import external

    plans = []
    monkeypatch.setattr(external, "check", checking.result_of)
    monkeypatch.setattr(attack, "carry_out", lambda planned, detail: plans.append(planned()))
    (tmp_path / "models/cifar10/Linf").mkdir(parents=True)
    weights(tmp_path / "models/cifar10/Linf/Small2020Net.pt")
    small = ("--dataset", "digits", "--examples", "10", "--suite", "quick")
    model = ("--model", "robustbench:cifar10/Linf/Small2020Net")

    assert bench("attack", *model, "--threat", "Linf", *small, "--device", "cpu").code == 0
    (job,) = plans[0].jobs
    store = reports_store(job)
    serve(job)

    frame = reports.leaderboard(store.path)
    assert frame["published_accuracy"].tolist() == [0.4321]
    table = reports.terminal_table(store.path)
    assert any(
        "published 43.2 % (RobustBench 9.9, Linf, eps=8/255), here " in note for note in table.notes
    )
    reports.publish(store.path, tmp_path / "pages")
    page = (tmp_path / f"pages/models/{job.cell.cell_id}/index.html").read_text()
    assert "Published robust accuracy: 43.2 % (RobustBench 9.9, Linf, eps=8/255)" in page


def reports_store(job):
    from benchmark.results import Store

    return Store.create(Path(job.out))


def test_other_numbers_make_the_given_stage_anew(tmp_path):
    from benchmark.stages.external import External

    told = Published(0.5, None, "somewhere")
    record = {"published": told.record()}
    assert External(ExternalModel("a", published=told)).fits(record, None, "")
    assert not External(ExternalModel("a", published=told)).fits({}, None, "")
    assert External(ExternalModel("a")).fits(record, None, "")


@pytest.mark.parametrize(
    "setting",
    ["framework=tensorflow", "defense=pgd-at", "epochs=3", "parameters.meta-adv.inner_steps=2"],
)
def test_what_is_of_a_training_is_refused_of_a_model_that_is_there(bench, setting):
    result = bench("attack", "--model", "cnn", "--weights", "w.pt", "--set", setting)
    name = setting.partition("=")[0].partition(".")[0]
    told = f"unknown setting of a model that is attacked as it is '{name}'"
    assert (result.code, told in result.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--threat", "Linff"), "unknown threat 'Linff'; did you mean 'Linf'"),
        (("--threat", "L0"), "L0 is a norm of single attacks; give it to those in a suite, as `th"),
        (("--threat", "L2", "--norm", "linf"), "ask for different things; give one"),
    ],
)
def test_a_threat_is_a_norm(bench, options, said):
    result = bench("attack", "--model", "cnn", "--weights", "w.pt", *options)
    assert result.code == 2
    assert said in result.err
