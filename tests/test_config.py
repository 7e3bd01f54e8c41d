"""The configuration: what wins over what, and what bad input is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.config import RunConfig, read
from benchmark.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_data_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA_DIR", raising=False)


def read_one(**flags: Any) -> RunConfig:
    return read({"defense": ["meta-adv"], **flags})


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_defaults() -> None:
    config = read_one()

    assert config.framework == ("torch", "tensorflow")
    assert (config.dataset, config.model, config.suite) == ("digits", None, "quick")
    assert (config.norm, config.eps, config.seed) == ("linf", None, (0,))
    assert (config.epochs, config.budget_ge, config.examples) == (None, None, 1000)
    assert (config.out, config.baseline) == (Path("bench-results"), True)


@pytest.mark.parametrize("written", ["1e6", "1.0E+6", "1000000", "1_000_000", 1_000_000])
def test_a_budget_is_taken_as_people_write_it(written: Any) -> None:
    assert read_one(budget_ge=written).budget_ge == 1_000_000


@pytest.mark.parametrize(
    "key",
    ["epochs", "examples", "jobs", "threads", "image_size", "split_seed", "batch_size"],
)
def test_a_count_is_taken_as_people_write_it(key: str) -> None:
    assert getattr(read_one(**{key: "1e2"}), key) == 100


def test_more_digits_than_python_reads_are_refused_in_our_words() -> None:
    with pytest.raises(ConfigError, match="epochs must be a valid integer, got '999"):
        read_one(epochs="9" * 5000)


def test_cpus_of_a_cell_are_taken_as_people_write_them() -> None:
    assert read_one(executor="ray", cpus_per_cell="1e1").cpus_per_cell == 10


def test_a_whole_number_with_an_exponent_is_whole() -> None:
    settings = {"batch_size": "1e3", "learning_rate": "1e-2"}
    config = read_one(
        parameters={"pgd-at": settings},
        attacks={"pgd": {"max_iter": "1E+2"}},
        protocol="sequence",
        episodes="1e3",
    )

    assert config.parameters["pgd-at"] == {"batch_size": 1000, "learning_rate": 0.01}
    whole = (
        config.parameters["pgd-at"]["batch_size"],
        config.attacks["pgd"]["max_iter"],
        config.adaptation["episodes"],
    )
    assert [(type(one), one) for one in whole] == [(int, 1000), (int, 100), (int, 1000)]


def test_flags_win_over_the_file_and_assignments_over_both(tmp_path: Path) -> None:
    file = written(
        tmp_path, "{defense: pgd-at, seed: [1, 2], epochs: 3, examples: 7, dataset: mnist}"
    )
    config = read({"epochs": 4, "examples": 8}, file=file, assignments=["examples=9"])

    assert (config.defense, config.seed) == (("pgd-at",), (1, 2))
    assert (config.epochs, config.examples, config.dataset) == (4, 9, "mnist")


def test_assignment_reaches_into_nested_mappings_and_keeps_their_other_keys(tmp_path: Path) -> None:
    file = written(tmp_path, "defense: pgd-at\nparameters: {pgd-at: {steps: 10, batch_size: 64}}")
    config = read(
        {}, file=file, assignments=["parameters.pgd-at.steps=7", "attacks.pgd.max_iter=3"]
    )

    assert config.parameters == {"pgd-at": {"steps": 7, "batch_size": 64}}
    assert config.attacks == {"pgd": {"max_iter": 3}}


def test_null_asks_for_the_default(tmp_path: Path) -> None:
    file = written(tmp_path, "defense: pgd-at\nepochs: 3\nexamples: null\nparameters: {pgd-at: }")
    config = read({}, file=file, assignments=["epochs="])

    assert (config.epochs, config.examples, config.parameters) == (None, 1000, {"pgd-at": {}})


@pytest.mark.parametrize(
    ("file", "flags", "assignments", "expected"),
    [
        ("ways: 5", {"ways": 4}, ["adaptation.ways=3"], {"ways": 3}),
        ("adaptation: {ways: 5, steps: 2}", {"ways": 4}, [], {"ways": 4, "steps": 2}),
        ("ways: 5", {}, ["adaptation.ways=3", "ways=2"], {"ways": 2}),
        ("ways: 5", {}, ["ways=2", "adaptation.ways=3"], {"ways": 3}),
        ("{ways: null, shots: 1}", {}, [], {"shots": 1}),
        ("adaptation: {ways: 5, shots: 1}", {}, ["ways="], {"shots": 1}),
        ("ways: 5", {}, ["adaptation="], {}),
        ("adaptation: {ways: null, shots: 1}", {}, [], {"shots": 1}),
        ("adaptation: {ways: 5, shots: 1}", {}, ["adaptation.ways="], {"shots": 1}),
    ],
)
def test_a_setting_of_the_protocol_is_that_of_the_last_source(
    tmp_path: Path, file: str, flags: dict[str, Any], assignments: list[str], expected: Any
) -> None:
    flags = {"defense": "none", "protocol": "few-shot", **flags}
    config = read(flags, file=written(tmp_path, file), assignments=assignments)

    assert config.adaptation == expected


def test_an_option_that_was_unset_is_no_fault_of_another_protocol(tmp_path: Path) -> None:
    file = written(tmp_path, "{defense: none, protocol: few-shot, ways: 5}")

    assert read({"protocol": "adapt"}, file=file, assignments=["ways="]).protocol == "adapt"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a,b", "c"], ("a", "b", "c")),
        (["a", "b,a"], ("a", "b")),
        ("a, b", ("a", "b")),
        ([" a ,"], ("a",)),
    ],
)
def test_names_are_repeated_or_separated_by_commas(given: Any, expected: tuple[str, ...]) -> None:
    assert read_one(defense=given).defense == expected


@pytest.mark.parametrize(
    ("given", "expected"), [(["0,1", "5"], (0, 1, 5)), (3, (3,)), ([2, 2], (2,)), ("7", (7,))]
)
def test_seeds(given: Any, expected: tuple[int, ...]) -> None:
    assert read_one(seed=given).seed == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [("8/255", 8 / 255), ("0.15", 0.15), ("1e-2", 0.01), (1, 1.0), (0.3, 0.3)],
)
def test_eps_is_a_number_or_a_fraction(given: Any, expected: float) -> None:
    assert read_one(eps=given).eps == expected


def test_eps_may_be_above_1_under_l2() -> None:
    assert read_one(eps="2", norm="L2").eps == 2.0


def test_numbers_that_yaml_takes_for_text_are_numbers() -> None:
    config = read_one(parameters={"pgd-at": {"learning_rate": "1e-2", "step_size": "2/255"}})

    assert config.parameters["pgd-at"] == {"learning_rate": 0.01, "step_size": 2 / 255}


@pytest.mark.parametrize(
    ("flag", "key", "expected"),
    [("flag", "key", "flag"), (None, "key", "key"), (None, None, "env")],
    ids=["flag", "file", "environment"],
)
def test_data_dir_comes_from_the_environment_last(
    monkeypatch: pytest.MonkeyPatch, flag: str | None, key: str | None, expected: str
) -> None:
    monkeypatch.setenv("BENCH_DATA_DIR", "env")
    flags = {"defense": ["none"]} | ({"data_dir": flag} if flag else {})
    assignments = [f"data_dir={key}"] if key and not flag else []

    assert read(flags, assignments=assignments).data_dir == Path(expected)


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_one().epochs = 3


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"framework": ["pytorch"]}, "unknown framework 'pytorch'; did you mean 'torch'?"),
        ({"norm": "linff"}, "unknown norm 'linff'; did you mean 'linf'?"),
        ({"on_overfit": "wran"}, "unknown on_overfit 'wran'; did you mean 'warn'?"),
        ({"device": "gpu"}, "unknown device 'gpu'; did you mean 'cuda'?"),
        ({"eps": "-0.1"}, "eps '-0.1' is not allowed; give a finite number above 0"),
        ({"eps": "0"}, "eps '0' is not allowed; give a finite number above 0"),
        ({"eps": "nan"}, "eps 'nan' is not allowed; give a finite number above 0"),
        ({"eps": "inf"}, "eps 'inf' is not allowed; give a finite number above 0"),
        ({"eps": "8/0"}, "eps '8/0' is not a number; give one such as 0.15 or 8/255"),
        ({"eps": "small"}, "eps 'small' is not a number; give one such as 0.15 or 8/255"),
        ({"eps": True}, "eps True is not a number; give one such as 0.15 or 8/255"),
        ({"eps": "8"}, "eps 8 is above 1 under linf"),
        ({"seed": ["-1"]}, "seed must be greater than or equal to 0, got '-1'"),
        ({"seed": ["one"]}, "seed must be a valid integer, got 'one'"),
        ({"seed": [2**32]}, "seed must be less than or equal to 4294967295"),
        ({"seed": [","]}, "seed is empty; give at least one --seed"),
        ({"defense": []}, "defense is empty; give at least one --defense"),
        ({"defense": None}, "no defense given; give at least one"),
        ({"epochs": 0}, "epochs must be greater than 0, got 0"),
        ({"epochs": 1.5}, "epochs must be a valid integer, got 1.5"),
        ({"budget_ge": "420k"}, "budget_ge must be a valid integer, got '420k'"),
        ({"budget_ge": "1_"}, "budget_ge must be a valid integer, got '1_'"),
        ({"budget_ge": "1e-6"}, "budget_ge must be a valid integer, got '1e-6'"),
        ({"budget_ge": "1e999"}, "budget_ge must be a valid integer, got '1e999'"),
        ({"epochs": 3, "budget_ge": 100}, "epochs 3 and budget_ge 100 are both given; give one"),
        ({"out": 5}, "out 5 is no path; put it in quotes if it is a name"),
        ({"examples": -5}, "examples must be greater than 0, got -5"),
        ({"jobs": 0}, "jobs must be greater than 0, got 0"),
        ({"attack_timeout": 0}, "attack_timeout must be greater than 0, got 0"),
        ({"attack_timeout": True}, "attack_timeout must be a number, got True"),
        (
            {"executor": "ray", "gpus_per_cell": True},
            "gpus_per_cell must be a number, got True",
        ),
        (
            {"features": ["age"]},
            "features ['age'] is not allowed; give a YAML file, or immutable and budget",
        ),
        ({"baseline": "no"}, "baseline must be a valid boolean, got 'no'"),
        ({"epoch": 3}, "unknown configuration key 'epoch'; did you mean 'epochs'?"),
        ({"parameters": [1]}, "parameters must map names to their settings, got [1]"),
        ({"parameters": {"pgd-at": 3}}, "parameters.pgd-at must map settings to values, got 3"),
        (
            {"attacks": {"pgd": {"eps": float("nan")}}},
            "attacks.pgd.eps: nan is not a finite number",
        ),
        ({"attacks": {"pgd": {1: 2}}}, "attacks.pgd: key 1 is not a name"),
        ({"attacks": {"pgd": {"x": {1}}}}, "attacks.pgd.x: {1} is not allowed"),
        ({"protocol": "Adapt", "ways": 5}, "ways belongs to --protocol few-shot; this run has ad"),
    ],
)
def test_bad_value_is_answered_in_one_line(flags: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_one(**flags)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epochs", "--set 'epochs' is not an assignment; write --set path.to.key=value"),
        ("=3", "--set '=3' is not an assignment"),
        ("a..b=3", "--set 'a..b=3' is not an assignment"),
        ("epochs=[1", "--set 'epochs=[1': its value is not YAML"),
        ("defense.x=1", "--set 'defense.x=1': 'defense' is a list, it holds no keys"),
        ("epoch=3", "unknown configuration key 'epoch'; did you mean 'epochs'?"),
        ("x=!!python/object/apply:os.getcwd []", "--set 'x=!!python"),
    ],
)
def test_bad_assignment_is_answered_in_one_line(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read({"defense": ["none"]}, assignments=[text])
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("defense: [pgd-at", "is not YAML: "),
        ("- defense\n- pgd-at", "holds a list, not a mapping"),
        ("just text", "holds text, not a mapping"),
        ("a: 2020-13-45", "is not YAML: "),
        (b"\xff\xfe\x00\x01\xd8", "is not YAML: "),
        ("a: !!python/object/apply:os.getcwd []", "is not YAML: "),
        ("[" * 600, "is not YAML: "),
        ("eps: 0.1\nepoch: 3", "unknown configuration key 'epoch'; did you mean 'epochs'?"),
    ],
    ids=["broken", "list", "text", "date", "binary", "object", "deep", "key"],
)
def test_bad_file_is_answered_in_one_line(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read({}, file=written(tmp_path, content))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file at .*nowhere\.yaml"):
        read({}, file=tmp_path / "nowhere.yaml")


def test_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the configuration"):
        read({}, file=tmp_path)
