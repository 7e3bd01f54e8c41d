"""A user's builder: found by its name and called. It is the user's own code, and runs as such.

Its folder, or the working directory for a module, is looked in for modules from then on, after all
other places: what stands there can't take the place of anything installed.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from benchmark import frameworks
from benchmark.errors import ModelError
from benchmark.external.model import digest
from benchmark.models.model import Model
from defenses.errors import did_you_mean

_NO_MODULE = "no module {!r} here; check --model, install it, or write file.py:builder"
# Framework, and where the class of its models is found once it is imported.
_KINDS = (("torch", "torch.nn", "Module"), ("tensorflow", "keras", "Model"))


def call(builder: str, *, seed: int | None = None) -> tuple[Model, str | None]:
    """What "package.module:name" or "file.py:name" gives, and the SHA-256 of its file.

    A class or a function is called without arguments; a model is taken as it is. With a seed, it
    has to be made anew, and draws its weights with that.

    Raises:
        ModelError: there is no such file, module or name, or its code raises.
    """
    place, _, name = builder.rpartition(":")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    if not hasattr(module, name):
        found = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise ModelError(f"{place} has no {name!r}{did_you_mean(name, found)}")
    made = getattr(module, name)
    if seed is not None and framework_of(made) is not None:
        raise ModelError(
            f"{builder} is a model already, which each training would change for the next one; "
            "give a function that builds it"
        )
    if framework_of(made) is None and callable(made):
        if seed is not None:
            frameworks.seed_everything(seed)  # not earlier: imports draw too
        try:
            made = made()
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            raise ModelError(
                f"{builder} raised {_told(error)}; it is called without arguments"
            ) from error
    if framework_of(made) is None:
        raise ModelError(
            f"{builder} gives {type(made).__name__!r}, no torch.nn.Module and no keras.Model"
        )
    path = getattr(module, "__file__", None)
    return made, digest(Path(path)) if path else None


def check_there(builder: str) -> None:
    """Raises `ModelError` where there is no such file, or nothing that its module could be in.

    Runs none of its code.
    """
    place = builder.rpartition(":")[0]
    if place.endswith(".py"):
        _check_file(Path(place))
        return
    top = place.partition(".")[0]
    here = importlib.machinery.PathFinder.find_spec(top, [str(Path.cwd())])
    if top not in sys.modules and here is None and importlib.util.find_spec(top) is None:
        raise ModelError(_NO_MODULE.format(place))


def framework_of(model: object) -> str | None:
    """The framework whose model this is; None for what is no model. Imports none of them."""
    for framework, module, kind in _KINDS:
        found = sys.modules.get(module)
        if found is not None and isinstance(model, getattr(found, kind)):
            return framework
    return None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"no file at {path}; check the path in --model")


def _file(path: Path) -> ModuleType:
    _check_file(path)
    name = f"given_{path.stem}"  # must not stand in the way of another module
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # as an import would: classes in it look their module up
    _look_in(path.resolve().parent)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raise ModelError(f"{path} can't be imported: {_told(error)}") from error
    return module


def _module(name: str) -> ModuleType:
    _look_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModelError(_NO_MODULE.format(name)) from error
        raise ModelError(f"module {name!r} can't be imported: {_told(error)}") from error
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        raise ModelError(f"module {name!r} can't be imported: {_told(error)}") from error


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
