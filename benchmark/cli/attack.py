"""`bench attack`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from benchmark.cli import options
from benchmark.cli.collecting import collected
from benchmark.cli.output import told_if_slow
from benchmark.cli.run import carry_out
from benchmark.errors import ConfigError, UnknownName
from benchmark.paths import expanded

if TYPE_CHECKING:
    from benchmark.external.model import ExternalModel
    from benchmark.plans.run import Plan


# What `--set` takes, first parts of its paths: the options, and the arguments of attacks.
SETTINGS = ("attacks", *options.ATTACK)


@collected(given=options.GIVEN, flags=options.ATTACK)
def attack(
    given: dict[str, Any],
    flags: dict[str, Any],
    threat: options.Threat = None,
    claims: options.Claims = None,
    assignment: options.AttackAssignment = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Attack a model that someone else trained, and put it on the leaderboard.

    It takes images in [0, 1] or in --input-range; a normalisation of its own is inside it, or
    given by --mean and --std. The model is tried on a few examples before anything is written.
    """

    def planned() -> Plan:
        from benchmark.config import read
        from benchmark.external.zoo import is_of_zoo, with_defaults
        from benchmark.plans.external import make_plan

        _check_settings(assignment or [])
        asked = _with_threat(flags, threat)
        if is_of_zoo(given.get("model")):
            asked = with_defaults(given["model"], asked, assignments=assignment or [])
        model = _model(given, asked)
        config = read({**asked, "defense": model.name}, assignments=assignment or [])
        loading = f"loading {PurePath(config.dataset).name} and trying the model"
        with told_if_slow(loading, quiet=quiet):
            return make_plan(config, model, None if claims is None else expanded(claims))

    carry_out(planned, options.detail(quiet=quiet, verbose=verbose))


def _check_settings(assignments: Sequence[str]) -> None:
    """Raises `BenchError` for what a model that is there already doesn't take."""
    for text in assignments:
        key = text.partition("=")[0].strip().partition(".")[0]
        if key not in SETTINGS:
            raise UnknownName("setting of a model that is attacked as it is", key, SETTINGS)


def _with_threat(flags: Mapping[str, Any], threat: str | None) -> dict[str, Any]:
    """The options with the norm that a threat names; raises `BenchError` for another one."""
    if threat is None:
        return dict(flags)
    from benchmark.choices import check_of_run

    check_of_run(threat)
    norms = {"Linf": "linf", "L2": "l2", "L1": "l1"}
    norm = next((norm for name, norm in norms.items() if name.lower() == threat.lower()), None)
    if norm is None:
        raise UnknownName("threat", threat, norms)
    if flags.get("norm", norm) != norm:
        raise ConfigError(
            f"--threat {threat} and --norm {flags['norm']} ask for different things; give one"
        )
    return {**flags, "norm": norm}


def _model(given: Mapping[str, Any], flags: Mapping[str, Any]) -> ExternalModel:
    """The options as a given model, checked, with paths that hold anywhere."""
    from benchmark.external import published, zoo
    from benchmark.external.model import ExternalModel, check, interval, named, numbers

    weights, model = given.get("weights"), given.get("model")
    told = published.read(given.get("published"))
    if model is not None and zoo.is_of_zoo(model):
        model = zoo.whole_name(model, flags)
        told = told or zoo.published(model)
        if weights is None:
            weights = zoo.cached(model)
            zoo.check_cached(model, weights)
    if weights is not None:
        weights = str(expanded(weights).absolute())
    if model is not None and (place := model.rpartition(":"))[0].endswith(".py"):
        model = f"{expanded(place[0]).absolute()}:{place[2]}"
    read = {
        "name": given.get("name", named(model, weights)),
        "mean": numbers(given.get("mean"), "mean"),
        "std": numbers(given.get("std"), "std"),
        "input_range": interval(given.get("input_range")),
        "published": told,
    }
    whole = ExternalModel(**{**given, **read, "model": model, "weights": weights})
    check(whole)
    return whole
