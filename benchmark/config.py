"""What a run was asked for: a YAML file, flags and `--set`, as one validated, frozen RunConfig.

Precedence: file < flags < `--set`. Names that live in tables (defenses, data sets, models, suites)
are checked where the run is planned; everything that can be judged alone is judged here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from benchmark import documents, limits, values
from benchmark.choices import UserPath, check_of_run, one_of
from benchmark.errors import ConfigError, UnknownName
from benchmark.frameworks import FRAMEWORKS
from benchmark.paths import data_folder, expanded
from benchmark.placement import Placement
from benchmark.trainings import Trainings

NORMS = ("linf", "l2", "l1")
DEVICES = ("auto", "cpu", "cuda")
ON_OVERFIT = ("warn", "restore")
PROTOCOLS = ("brief", "adapt", "few-shot", "sequence", "domain", "none")
# Options of `bench run` that are settings of the protocol.
OF_PROTOCOL: dict[str, tuple[str, ...]] = {
    "ways": ("few-shot",),
    "shots": ("brief", "adapt", "few-shot", "domain"),
    "queries": ("brief", "adapt", "few-shot", "sequence", "domain"),
    "episodes": ("brief", "adapt", "few-shot", "sequence", "domain"),
    "adapt_to": ("domain",),
}

Names = Annotated[tuple[str, ...], BeforeValidator(values.listed), AfterValidator(values.unique)]
Frameworks = Annotated[
    tuple[Annotated[str, one_of("framework", FRAMEWORKS)], ...],
    BeforeValidator(values.listed),
    AfterValidator(values.unique),
]
Seed = Annotated[int, BeforeValidator(values.whole), Field(strict=True, ge=0, le=limits.MAX_SEED)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(values.listed), AfterValidator(values.unique)]
Seconds = Annotated[
    float, BeforeValidator(values.real), Field(gt=0, le=limits.MAX_SECONDS, allow_inf_nan=False)
]
Budget = Annotated[float, BeforeValidator(values.budget)]
Settings = dict[str, dict[str, Any]]


class RunConfig(Placement, Trainings):
    """One `bench run`. None means the data set's (eps, epochs, model) or the machine's default.

    defense, framework, seed: cells are made for every combination. eps: budget in pixel scale [0,
    1] under `norm`. budget_ge: gradient evaluations to train for, instead of `epochs`. examples:
    test examples that are attacked. label: of a table, the column with the classes. group: of a
    table, the column whose rows of one value no split parts. threads: CPU threads of a cell.
    attack_timeout: seconds after which an attack has failed. on_overfit: what defenses, but not the
    undefended twin, do at catastrophic overfitting; their own `parameters` go first. features: of a
    table, which an attacker can change and by how much, a YAML file or what stands in one.
    protocol: how much of adaptation is measured, with `adaptation` on top, {setting: value}; see
    `benchmark.metatest`. split: of classes, for few-shot. parameters: {defense: {parameter:
    value}}. attacks: {attack of the suite: {argument: value}}. Where cells are worked on: see
    `Placement`; what they are trained with, `Trainings`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    defense: Names
    framework: Frameworks = FRAMEWORKS
    dataset: str = "digits"
    model: str | None = None
    suite: str = "quick"
    norm: Annotated[str, one_of("norm", NORMS), BeforeValidator(check_of_run)] = "linf"
    eps: Budget | None = None
    seed: Seeds = (0,)
    epochs: Annotated[values.Count, Field(le=limits.MAX_EPOCHS)] | None = None
    budget_ge: Annotated[values.Count, Field(le=limits.MAX_BUDGET_GE)] | None = None
    examples: Annotated[values.Count, Field(le=limits.MAX_EXAMPLES)] = 1000
    out: UserPath = Path("bench-results")
    data_dir: UserPath | None = None
    download: Annotated[bool, Field(strict=True)] = False
    image_size: Annotated[values.Count, Field(le=limits.MAX_IMAGE_SIZE)] | None = None
    split_seed: Seed = 0
    split: Annotated[int | str | dict[str, Any] | None, BeforeValidator(values.split)] = None
    label: str | None = None
    group: str | None = None
    features: Annotated[str | dict[str, Any] | None, BeforeValidator(values.features)] = None
    device: Annotated[str, one_of("device", DEVICES)] = "auto"
    jobs: Annotated[values.Count, Field(le=limits.MAX_JOBS)] | None = None
    threads: Annotated[values.Count, Field(le=limits.MAX_THREADS)] | None = None
    attack_timeout: Seconds | None = None
    baseline: Annotated[bool, Field(strict=True)] = True
    on_overfit: Annotated[str, one_of("on_overfit", ON_OVERFIT)] | None = None
    protocol: Annotated[str, one_of("protocol", PROTOCOLS)] = "none"
    adaptation: Annotated[
        dict[str, Any], BeforeValidator(functools.partial(values.mapping, "adaptation"))
    ] = Field(default_factory=dict)
    parameters: Annotated[Settings, values.settings("parameters")] = Field(default_factory=dict)
    attacks: Annotated[Settings, values.settings("attacks")] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        for key in ("defense", "framework", "seed"):
            if not getattr(self, key):
                raise ConfigError(f"{key} is empty; give at least one --{key}")
        if self.epochs is not None and self.budget_ge is not None:
            raise ConfigError(
                f"epochs {self.epochs} and budget_ge {self.budget_ge} are both given; give one"
            )
        if self.split is not None and self.protocol != "few-shot":
            raise ConfigError("split is given, but only --protocol few-shot holds classes out")
        if self.features is not None and self.protocol != "none":
            raise ConfigError(
                f"--protocol {self.protocol} adapts without budgets of single features; leave "
                "--features or --protocol out"
            )
        if self.eps is not None and (wrong := limits.eps_fault(self.norm, self.eps)):
            raise ConfigError(wrong)
        return self


def read(
    flags: Mapping[str, Any], *, file: Path | None = None, assignments: Sequence[str] = ()
) -> RunConfig:
    """The configuration of one run.

    `flags` holds only what was given. `file` is a YAML mapping with RunConfig's keys.
    `assignments` are texts "path.to.key=value", the value parsed as YAML. The environment's
    BENCH_DATA_DIR counts where nothing else names a data_dir.

    Raises:
        ConfigError: anything unknown or not allowed, in one line.
    """
    merged: dict[str, Any] = {} if file is None else _read_file(file)
    named = _moved_to_protocol(merged)
    merged.update(flags)
    named |= _moved_to_protocol(merged)
    for text in assignments:
        _assign(merged, text)
        named |= _moved_to_protocol(merged)
    _check_protocol(merged, [name for name, value in named.items() if value is not None])
    for key in merged:
        if key not in RunConfig.model_fields:
            raise UnknownName("configuration key", str(key), RunConfig.model_fields)
    if merged.get("data_dir") is None:
        merged["data_dir"] = data_folder(None)
    # A null in YAML asks for the default, as leaving the key out does.
    given = {key: value for key, value in merged.items() if value is not None}
    if "defense" not in given:
        raise ConfigError("no defense given; give at least one, such as --defense meta-adv")
    try:
        return RunConfig.model_validate(given)
    except ValidationError as error:
        path, wrong = documents.fault(error)
        raise ConfigError(f"{path} {wrong}") from error


def _moved_to_protocol(merged: dict[str, Any]) -> dict[str, Any]:
    """Moves what is said of the protocol among the options to its settings, where it is kept.

    Called after each source of options, so that a later one wins, whichever way it says it. A null
    asks for the default. Gives back what was moved.
    """
    given = {name: merged.pop(name) for name in OF_PROTOCOL if name in merged}
    settings = merged.get("adaptation") or {}
    if isinstance(settings, dict):
        whole = settings | given
        merged["adaptation"] = {name: value for name, value in whole.items() if value is not None}
    return given


def _check_protocol(merged: dict[str, Any], named: Sequence[str]) -> None:
    """Raises `ConfigError` for options that the run's protocol doesn't have.

    Where none is given, `adapt_to` asks for its own.
    """
    if "adapt_to" in named and merged.get("protocol") is None:
        merged["protocol"] = "domain"
    protocol = str(merged.get("protocol") or "none").strip().lower()
    for name in named:
        if protocol in PROTOCOLS and protocol not in OF_PROTOCOL[name]:
            raise ConfigError(
                f"{name} belongs to --protocol {' or '.join(OF_PROTOCOL[name])}; "
                f"this run has {protocol}"
            )


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = documents.read(expanded(path))
    except FileNotFoundError:
        raise ConfigError(f"no configuration file at {path}; check the path") from None
    except OSError as error:
        raise ConfigError(f"can't read the configuration {path}: {error.strerror}") from error
    except documents.NotYaml as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds {_kind(content)}, not a mapping; write lines such as 'defense: meta-adv'"
        )
    return content


def _assign(merged: dict[str, Any], text: str) -> None:
    """Put "path.to.key=value" into the nested mapping `merged`."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {text!r} is not an assignment; write --set path.to.key=value")
    try:
        parsed = documents.parse(value)
    except documents.NotYaml as error:
        raise ConfigError(f"--set {text!r}: its value is not YAML: {error}") from error
    for key in keys[:-1]:
        if merged.get(key) is None:
            merged[key] = {}
        if not isinstance(merged[key], dict):
            raise ConfigError(f"--set {text!r}: {key!r} is {_kind(merged[key])}, it holds no keys")
        merged = merged[key]
    merged[keys[-1]] = parsed


def _kind(value: Any) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "true or false"}
    return kinds.get(type(value), "a single value")
