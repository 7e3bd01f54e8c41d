"""Models of RobustBench's zoo by their names, with weights from a file of this machine.

A model is named "robustbench:NAME", or in full "robustbench:DATASET/THREAT/NAME" as the zoo keeps
it. Nothing is downloaded: the file is that of `--weights`, or where the package itself puts what it
downloads. Croce et al., "RobustBench: a standardized adversarial robustness benchmark", 2021.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import ConfigError, ModelError, UnknownName
from benchmark.external.published import Published
from benchmark.text import reason_of

if TYPE_CHECKING:
    from benchmark.models.model import Model

PACKAGE = "robustbench"
PREFIX = f"{PACKAGE}:"
THREATS = {"Linf": "linf", "L2": "l2"}
# What stands over the tables of published numbers, to the zoo's name of the data.
_HEADINGS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet": "imagenet"}
_TAGS = re.compile(r"<[^>]+>|\*\*")
# As the protocol of RobustBench has it.
_DEFAULTS = {"dataset": "cifar10", "suite": "autoattack", "examples": 10_000}


def is_of_zoo(model: str | None) -> bool:
    """Whether a model is named as one of the zoo."""
    return model is not None and model.startswith(PREFIX)


def with_defaults(
    model: str, asked: Mapping[str, Any], *, assignments: Sequence[str] = ()
) -> dict[str, Any]:
    """The options that are asked for, over those such a model has: a name in full tells more.

    Raises:
        ConfigError: the name says ImageNet, and neither options nor assignments say where it is.
    """
    found = dict(_DEFAULTS)
    parts = model.removeprefix(PREFIX).split("/")
    if len(parts) == 3 and parts[1] in THREATS:
        named = {*asked, *(text.partition("=")[0].strip() for text in assignments)}
        if parts[0] == "imagenet" and "dataset" not in named:
            raise ConfigError(
                f"model {model!r} is one for ImageNet, which is a folder here; give --dataset "
                "folder:DIR"
            )
        found |= {"norm": THREATS[parts[1]], "dataset": parts[0]}
    return {**found, **asked}


def whole_name(model: str, flags: Mapping[str, Any]) -> str:
    """The name in full; data set and norm, where it lacks them, are those of the options.

    Raises:
        ConfigError: the package is not installed, or the name is none.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise ConfigError(
            f"model {model!r} needs the package {PACKAGE}, which is not installed; "
            "pip install 'meta-adv-bench[robustbench]'"
        )
    parts = model.removeprefix(PREFIX).split("/")
    if len(parts) == 1:
        norm = str(flags.get("norm", "linf"))
        threat = next((one for one, known in THREATS.items() if known == norm), None)
        if threat is None:
            raise ConfigError(f"model {model!r}: the zoo has no models for {norm}; {_allowed()}")
        parts = [str(flags.get("dataset", _DEFAULTS["dataset"])), threat, parts[0]]
    if len(parts) != 3 or parts[1] not in THREATS or not all(map(_SAFE.fullmatch, parts)):
        raise ConfigError(
            f"model {model!r} is no name of the zoo; write {PREFIX}NAME or "
            f"{PREFIX}cifar10/Linf/NAME; {_allowed()}"
        )
    return PREFIX + "/".join(parts)


_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def cached(model: str) -> Path:
    """Where the package keeps the weights of a model, named in full, that it downloaded."""
    dataset, threat, name = _parts(model)
    return Path("models") / dataset / threat / f"{name}.pt"


def check_cached(model: str, path: Path) -> None:
    """Raises `ModelError` with the way to get them where the weights are not there."""
    if not path.is_file():
        dataset, threat, name = _parts(model)
        call = f"load_model({name!r}, dataset={dataset!r}, threat_model={threat!r})"
        raise ModelError(
            f"no weights of {model} at {path}; give --weights FILE, or have the package download "
            f'them: python -c "from robustbench.utils import load_model; {call}"'
        )


def load(model: str, weights: Path) -> Model:
    """The zoo's model, named in full, with these weights.

    The package unpickles the file, so that is read as tensors alone beforehand.

    Raises:
        UnknownName: the package knows no such model.
        ModelError: it would take other weights, or these hold code, or don't fit.
    """
    dataset, threat, name = _parts(model)
    importlib.import_module("benchmark.external.pytorch_checkpoints").unpickled(weights)
    utils = importlib.import_module(f"{PACKAGE}.utils")
    _check_weights_are_taken(model, utils.all_models)
    with tempfile.TemporaryDirectory(prefix="bench-zoo-") as folder:
        place = Path(folder) / cached(model).relative_to("models")
        place.parent.mkdir(parents=True)
        place.symlink_to(weights.absolute())
        try:
            found: Model = utils.load_model(
                model_name=name,
                model_dir=folder,
                dataset=dataset,
                threat_model=threat,
                custom_checkpoint=str(weights),  # of models that timm has registered
            )
        except Exception as error:  # whatever its own code raises for these weights
            raise ModelError(f"{model} can't be loaded: {reason_of(error)}") from error
    return found


def _check_weights_are_taken(model: str, tables: Mapping[Any, Any]) -> None:
    """Raises for a model that the package doesn't know, or would load from other files.

    tables: the package's, whose keys are enumerations with names as values.
    """
    dataset, threat, name = _parts(model)
    known = {
        f"{data.value}/{of.value}": models
        for data, threats in tables.items()
        for of, models in threats.items()
    }
    if f"{dataset}/{threat}" not in known:
        raise UnknownName("table of RobustBench", f"{dataset}/{threat}", known)
    models = known[f"{dataset}/{threat}"]
    if name not in models:
        raise UnknownName("model of RobustBench", name, list(models))
    # None: timm has registered it, and takes the file.
    if isinstance(where := models[name]["gdrive_id"], list) or where == "":
        raise ModelError(
            f"{model} is made of several files, or of another package's, which RobustBench would "
            "download in place of --weights; build it yourself with --model file.py:builder"
        )


def published(model: str) -> Published | None:
    """What the table of the installed package says of a model, named in full.

    None where it isn't in there.
    """
    dataset, threat, name = _parts(model)
    try:
        text = metadata.distribution(PACKAGE).read_text("METADATA") or ""
    except metadata.PackageNotFoundError:
        return None
    here, threat_told = ("", ""), ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
            if line.startswith("### "):
                here = (_HEADINGS.get(heading, ""), "")
            elif line.startswith("#### "):
                here, threat_told = (here[0], heading.partition(",")[0].strip()), heading
            continue
        cells = [_TAGS.sub("", cell).strip() for cell in line.split("|")]
        if here == (dataset, threat) and name in cells:
            shares = [
                round(float(cell[:-1]) / 100, 6) for cell in cells if re.fullmatch(r"[\d.]+%", cell)
            ]
            if len(shares) == 2:
                version = metadata.version(PACKAGE)
                return Published(shares[1], shares[0], f"RobustBench {version}, {threat_told}")
    return None


def _parts(model: str) -> tuple[str, str, str]:
    dataset, threat, name = model.removeprefix(PREFIX).split("/")
    return dataset, threat, name


def _allowed() -> str:
    return f"allowed threats: {', '.join(THREATS)}"
