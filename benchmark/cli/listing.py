"""`bench list`."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Callable
from typing import Annotated

import typer

from benchmark.cli.output import tell
from benchmark.errors import BenchError, UnknownName

_COST_EXAMPLES = 50_000  # enough for whole batches to hardly matter


def _completed(incomplete: str) -> list[str]:
    return [name for name in [*_TABLES, *_details()] if name.startswith(incomplete)]


What = Annotated[
    str,
    typer.Argument(
        autocompletion=_completed,
        metavar="defenses|attacks|suites|datasets|models|protocols|families|presets|NAME",
        help="What to list, or the name of one part, for its details.",
    ),
]


def list_names(
    what: What,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """List what can be named on the command line, or what is behind one of the names."""
    found = descriptions(what)
    if as_json:
        rows = [{"name": name, "description": text} for name, text in found.items()]
        print(json.dumps(rows, indent=2))
        return
    width = max(map(len, found), default=0)
    for name, description in found.items():
        tell(f"{name:<{width}}  {description}")


def descriptions(what: str) -> dict[str, str]:
    """Name to one line, of everything of one kind: "defenses", "attacks" and so on.

    Of a defense or a model by its own name, the parameters; of an attack, what it needs and takes;
    of a suite, its attacks; of a preset, its values for each defense that has it.
    """
    from benchmark import models

    if what in _TABLES:
        return _TABLES[what]()
    details = _details()
    if what in details:
        return details[what](what) or {what: "has no parameters"}
    if (named := f"{(place := what.partition(':')[0])}:NAME") in (libraries := _libraries()):
        return {named: libraries[named]}
    if place in _datasets():  # of files, or of one of several sets
        return {place: _datasets()[place]}
    if what.startswith("wrn-"):  # any depth and width, of which one is listed
        return models.parameters(what)
    every = [*_TABLES, *details]
    raise UnknownName("name", what, every if difflib.get_close_matches(what, every) else _TABLES)


def _details() -> dict[str, Callable[[str], dict[str, str]]]:
    """Name to what tells about it; where one name means several things, the last of these."""
    import defenses
    from benchmark import models
    from benchmark.attacks.suites import suite_names

    def line(name: str) -> dict[str, str]:
        """What a table says of a part that takes no parameters."""
        tables = (_datasets(), _PROTOCOLS, _families(), _contributed_models(), _attached())
        return next({name: table[name]} for table in tables if name in table)

    def preset(name: str) -> dict[str, str]:
        return {key: told for key, told in _presets().items() if key.split()[1] == name}

    return {
        **dict.fromkeys((key.split()[1] for key in _presets()), preset),
        **dict.fromkeys(_PROTOCOLS, line),
        **dict.fromkeys([*_datasets(), *_families(), *_contributed_models(), *_attached()], line),
        **dict.fromkeys(suite_names(), _suite),
        **dict.fromkeys(_attacks(), _attack),
        **dict.fromkeys(models.names(), models.parameters),
        **dict.fromkeys(defenses.names(), defenses.parameter_help),
    }


def _defenses() -> dict[str, str]:
    import defenses

    trained = {
        name: _told(_defense, name, defenses.distribution(name)) for name in defenses.names()
    }
    return trained | _attached()


def _attached() -> dict[str, str]:
    from defenses import wrappers

    return {f"+{name}": wrappers.describe(name) for name in wrappers.WRAPPERS}


def _defense(name: str) -> str:
    import defenses

    return f"{defenses.describe(name)} {_cost(name)}"


def _told(tell: Callable[[str], str], name: str, distribution: str | None) -> str:
    """The line about a part, with the distribution that contributes it, or what is wrong with it.

    One part that can't be loaded must not hide the others.
    """
    from defenses import DefenseError

    if distribution is None:
        return tell(name)
    try:
        return f"{tell(name)} [{distribution}]"
    except (BenchError, DefenseError) as error:
        return f"can't be used: {error} [{distribution}]"


def _cost(name: str) -> str:
    """What a training costs, whatever the data and the model are."""
    import defenses
    from benchmark import datasets

    eps = datasets.defaults("mnist").eps
    known = defenses.parameter_names(name)
    others = {f"eps_{norm}": size for norm, size in eps.items() if f"eps_{norm}" in known}
    defense = defenses.create(name, defenses.Threat("linf", eps["linf"]), others)
    cost = defense.length(_COST_EXAMPLES, epochs=1).gradient_evaluations / _COST_EXAMPLES
    return f"({cost:.3g} GE an example and epoch)"


def _attacks() -> dict[str, str]:
    from benchmark.attacks import lookup
    from benchmark.attacks.left_out import LEFT_OUT

    def tell(name: str) -> str:
        entry = lookup.entry(name)
        return (
            f"{entry.description} ({', '.join(entry.norms)}; {', '.join(entry.kinds)}; "
            f"{' and '.join(entry.frameworks)})"
        )

    held = {name: _told(tell, name, lookup.distribution(name)) for name in lookup.names()}
    return held | {name: f"left out: {reason}" for name, reason in LEFT_OUT.items()}


def _attack(name: str) -> dict[str, str]:
    """What an attack is and needs, and the arguments that a suite or --set may give it."""
    from benchmark.attacks import lookup
    from benchmark.attacks.suites import suite_names

    if name not in lookup.names():
        return {name: _attacks()[name]}
    entry = lookup.entry(name)
    needs = [
        "images" if entry.images_only else "",
        "as many rows as columns" if entry.square_only else "",
        f"{' or '.join(map(str, entry.channels))} channels" if entry.channels else "",
        f"the package {entry.package}" if entry.package else "",
        "a model without input or output defenses" if entry.bare_only else "",
    ]
    found = {
        "what": entry.description,
        "class": entry.target.rpartition(":")[2],
        "norms": ", ".join(entry.norms),
        "kinds": ", ".join(entry.kinds),
        "frameworks": ", ".join(entry.frameworks),
        "needs": ", ".join(filter(None, needs)),
    }
    for argument in dict.fromkeys((*entry.arguments, *entry.options)):
        default = entry.defaults.get(argument, "that of the class")
        allowed = entry.options.get(argument, ())
        one_of = f"; one of {', '.join(allowed)}" if allowed else ""
        found[f"argument {argument}"] = f"({default}){one_of}"
    if name in suite_names():
        found["as a suite"] = "; ".join(_suite(name))
    return {key: text for key, text in found.items() if text}


def _presets() -> dict[str, str]:
    import defenses

    found = {}
    for name in defenses.names():
        with contextlib.suppress(defenses.DefenseError):  # told where defenses are listed
            for preset, parameters in defenses.presets(name).items():
                told = (f"{key}={value}" for key, value in parameters.items())
                found[f"{name} {preset}"] = ", ".join(told)
    return found


def _suite(name: str) -> dict[str, str]:
    """The attacks of a suite, with the arguments that it gives them."""
    from benchmark.attacks.suites import load_suite

    found = {}
    for spec in load_suite(name).attacks:
        arguments = ", ".join(f"{key}={value}" for key, value in spec.arguments.items())
        some = f"on {spec.examples} examples" if spec.examples else ""
        found[spec.name] = "; ".join(filter(None, [spec.attack, arguments, some]))
    return found


def _suites() -> dict[str, str]:
    from benchmark.attacks.suites import distribution, load_suite, suite_names

    def tell(name: str) -> str:
        return load_suite(name).description

    return {name: _told(tell, name, distribution(name)) for name in suite_names()}


def _datasets() -> dict[str, str]:
    from benchmark.datasets import table

    def tell(name: str) -> str:
        return table.entry(name).description

    return {name: _told(tell, name, table.distribution(name)) for name in table.names()}


def _models() -> dict[str, str]:
    from benchmark import models

    specified = {name: models.describe(name) for name in models.names()}
    return specified | _libraries() | _contributed_models()


def _libraries() -> dict[str, str]:
    """Models that come from elsewhere by their names there."""
    from benchmark.external.zoo import PREFIX
    from benchmark.models.provided.origin import LIBRARIES

    found = {f"{name}:NAME": one.description for name, one in LIBRARIES.items()}
    return found | {f"{PREFIX}NAME": "trained ones of RobustBench's zoo, for bench attack alone"}


def _contributed_models() -> dict[str, str]:
    from benchmark.models.entry import contributions, entry

    def tell(name: str) -> str:
        found = entry(name)
        assert found is not None
        return f"{found.description} ({' and '.join(found.builders)})"

    return {name: _told(tell, name, one.distribution) for name, one in contributions().items()}


def _families() -> dict[str, str]:
    from benchmark.metatest.families import FAMILIES, role

    return {name: f"{one.description} ({role(name, 'linf')})" for name, one in FAMILIES.items()}


def _protocols() -> dict[str, str]:
    return dict(_PROTOCOLS)


# As `--protocol` takes them; "none" is the defense of that name.
_PROTOCOLS = {
    "brief": "adaptation to other attacks with few labels, a first look",
    "adapt": "the same in full: curves, the area under them, forgetting",
    "few-shot": "adaptation to new classes, which --split holds out of training",
    "sequence": "adaptation to attacks that arrive one after the other",
    "domain": "adaptation to another data set, that of --adapt-to",
}

_TABLES: dict[str, Callable[[], dict[str, str]]] = {
    "defenses": _defenses,
    "attacks": _attacks,
    "suites": _suites,
    "datasets": _datasets,
    "models": _models,
    "protocols": _protocols,
    "families": _families,
    "presets": _presets,
}
