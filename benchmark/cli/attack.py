"""`bench attack`. It is part of `benchmark.cli`: it prints, and imports late."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli import options
from benchmark.cli.output import say, told_if_slow
from benchmark.execution import endings_as_interrupts, execute, fail_for, stopped
from benchmark.paths import expanded

if TYPE_CHECKING:
    from benchmark.external.given import Given

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Its weights: .safetensors, .pt, .pth, .pth.tar, .ckpt (state dicts), .keras or .h5; "
        "no code in them is run.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Architecture as in `bench list models`, or the code that builds the model: "
        "package.module:builder or file.py:builder, called without arguments; none for a .keras "
        "file that holds its own.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Its name in reports; the weights' or builder's otherwise."),
]
Channels = Annotated[
    str | None,
    typer.Option(
        metavar="first|last", help="As it takes images; first for torch, last for Keras otherwise."
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="Subtracted from the pixels before the model: one number, or one a channel.",
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="What they are divided by after --mean, such as 1/255."),
]
InputRange = Annotated[
    str | None,
    typer.Option(
        metavar="LOW..HIGH",
        help="The pixels that it takes, such as 0..255 or -1..1; 0..1 unless given. --mean and "
        "--std are of these; --eps stays in [0, 1].",
    ),
]
Outputs = Annotated[
    str,
    typer.Option(metavar="NAME", help="What it gives: logits, probabilities, sigmoids or auto."),
]
Seed = Annotated[int, typer.Option(metavar="INTEGER", help="Seed of the attacks.")]


def attack(
    weights: Weights = None,
    model: Model = None,
    name: Name = None,
    channels: Channels = None,
    input_range: InputRange = None,
    mean: Mean = None,
    std: Std = None,
    outputs: Outputs = "auto",
    dataset: options.Dataset = None,
    suite: options.Suite = None,
    eps: options.Eps = None,
    norm: options.Norm = None,
    seed: Seed = 0,
    examples: options.Examples = None,
    out: options.Out = None,
    data_dir: options.DataDir = None,
    download: options.Download = None,
    image_size: options.ImageSize = None,
    split_seed: options.SplitSeed = None,
    device: options.Device = None,
    threads: options.Threads = None,
    attack_timeout: options.AttackTimeout = None,
    assignment: options.Assignment = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Attack a model that someone else trained, and put it on the leaderboard.

    It takes images in [0, 1] or in --input-range; a normalisation of its own is inside it, or
    given by --mean and --std. The model is tried on a few examples before anything is written.
    """
    settings = {
        "dataset": dataset,
        "suite": suite,
        "eps": eps,
        "norm": norm,
        "seed": seed,
        "examples": examples,
        "out": out,
        "data_dir": data_dir,
        "download": download,
        "image_size": image_size,
        "split_seed": split_seed,
        "device": device,
        "threads": threads,
        "attack_timeout": attack_timeout,
    }
    detail = options.detail(quiet=quiet, verbose=verbose)
    given = _given(weights, model, name, channels, input_range, mean, std, outputs)
    flags = {key: value for key, value in settings.items() if value is not None}
    try:
        with endings_as_interrupts():
            from benchmark.config import read
            from benchmark.plans.external import make_plan

            config = read({**flags, "defense": given.name}, assignments=assignment or [])
            loading = f"loading {PurePath(config.dataset).name} and trying the model"
            with told_if_slow(loading, quiet=quiet):
                plan = make_plan(config, given)
            for notice in () if quiet else plan.notices:
                say(notice)
            outcomes = execute(plan, detail)
    except KeyboardInterrupt as interrupt:
        raise stopped(interrupt) from None
    fail_for(outcomes, plan.config.out / "logs")


def _given(
    weights: str | None,
    model: str | None,
    name: str | None,
    channels: str | None,
    input_range: str | None,
    mean: str | None,
    std: str | None,
    outputs: str,
) -> Given:
    """The options as a given model, checked, with paths that hold anywhere."""
    from benchmark.external.given import Given, check, interval, named, numbers

    if weights is not None:
        weights = str(expanded(weights).absolute())
    if model is not None and (place := model.rpartition(":"))[0].endswith(".py"):
        model = f"{expanded(place[0]).absolute()}:{place[2]}"
    given = Given(
        name=name if name is not None else named(model, weights),
        model=model,
        weights=weights,
        channels=channels,
        mean=numbers(mean, "mean"),
        std=numbers(std, "std"),
        outputs=outputs,
        input_range=interval(input_range),
    )
    check(given)
    return given
