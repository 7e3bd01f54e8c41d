"""The options of the commands that measure.

Each is named as the field of `RunConfig`, or of `ExternalModel`, that takes it as it was typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.errors import ConfigError

if TYPE_CHECKING:
    from benchmark.cli.display import Detail

DEFAULT_OUT = Path("bench-results")


def named(given: str | Path) -> Path:
    """A path from the command line; raises `ConfigError` for "", which would mean this folder."""
    if not str(given).strip():
        raise ConfigError("an empty path was given; give one, such as '.' for the current folder")
    return Path(given)


def option(metavar: str | None, help: str, kind: Any = str, **more: Any) -> Any:
    """What Typer makes an option of; None is what it holds unless it was given."""
    parser = named if kind is Path else None
    return Annotated[kind | None, typer.Option(metavar=metavar, parser=parser, help=help, **more)]


def listed(what: str) -> Callable[[str], list[str]]:
    """Completes a word, in a shell that asks for that, to what `bench list WHAT` lists."""

    def complete(incomplete: str) -> list[str]:
        from benchmark.cli.listing import descriptions

        return [name for name in descriptions(what) if name.startswith(incomplete)]

    return complete


Folder = Annotated[Path, typer.Option(parser=named, metavar="DIR", help="Folder with the results.")]
ResultsArgument = Annotated[
    Path, typer.Argument(parser=named, metavar="DIR", help="Folder with the results.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        parser=named, metavar="DIR", help="Folder that holds the data; else $BENCH_DATA_DIR."
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(parser=named, metavar="FILE.yaml", help="Options from a file; flags go first."),
]


def assignments(example: str) -> Any:
    """The option `--set`, with an example that the command takes."""
    told = f"Set one key on top, such as {example}; repeatable."
    return Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help=told)]


Assignment = assignments("parameters.meta-adv.inner_steps=2")
AttackAssignment = assignments("attacks.pgd.max_iter=20")
Threat = option("NAME", "Linf, L2 or L1: the norm, as RobustBench names it.")
Claims = option(
    "FILE.npz",
    "Adversarial examples that somebody made elsewhere: x_adv, index (of test examples), "
    "author, and maybe y and text. Judged like an attack's, they count in the worst case.",
    Path,
)
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors and the last line only.")]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Print a line when a stage begins and ends, and how far it is after a minute without.",
    ),
]

RUN: Mapping[str, Any] = {
    "defense": option(
        "NAME",
        "Defense to measure, such as pgd-at+jpeg, or all; repeatable, or with commas.",
        list[str],
        autocompletion=listed("defenses"),
    ),
    "framework": option("NAME", "torch, tensorflow; both unless given.", list[str]),
    "dataset": option(
        "NAME",
        "digits (default), cifar10, npz:FILE, ...; see bench list datasets.",
        autocompletion=listed("datasets"),
    ),
    "model": option(
        "NAME",
        "Architecture (bench list models); torchvision:NAME, timm:NAME, hf:NAME or keras:NAME; or "
        "the code that builds it: package.module:builder or file.py:builder. cnn unless given, mlp "
        "for tabular data.",
        autocompletion=listed("models"),
    ),
    "init": option("FILE", "Weights that trainings start from, instead of the seed's own.", Path),
    "new_head": option(
        None,
        "With --init: does the layer that gives the logits start anew, of whatever shape?",
        bool,
    ),
    "extra_data": option(
        "npz:FILE",
        "More training data, x and y, that a share of each batch is drawn from; never attacked.",
    ),
    "extra_share": option("NUMBER", "That share; 0.5 unless given.", float),
    "precision": option(
        "float32|bf16",
        "Of trainings' passes; float32 unless given. Attacks are measured in float32.",
    ),
    "suite": option("NAME", "Attack suite; quick unless given.", autocompletion=listed("suites")),
    "eps": option(
        "NUMBER",
        "Budget in pixel scale [0, 1], such as 0.15 or 8/255; by data set unless given.",
    ),
    "norm": option("NAME", "linf (default), l2 or l1."),
    "seed": option("INTEGER", "Training seed; repeatable; 0 unless given.", list[str]),
    "epochs": option("INTEGER", "Training epochs; by data set unless given."),
    "budget_ge": option(
        "INTEGER", "Gradient evaluations to train for, such as 1e6, instead of --epochs."
    ),
    "examples": option("INTEGER", "Test examples to attack; 1000 unless given."),
    "out": option("DIR", f"Folder for the results; {DEFAULT_OUT} unless given.", Path),
    "data_dir": DataDir,
    "download": option(None, "May missing data be fetched?", bool),
    "image_size": option("INTEGER", "Resize and crop images in files to this many pixels."),
    "split_seed": option("INTEGER", "Seed of the data's splits; 0 unless given."),
    "label": option("COLUMN", "The column of csv:FILE with the classes."),
    "group": option(
        "COLUMN",
        "The column of csv:FILE whose rows of one value (a patient, a sender) no split parts.",
    ),
    "features": option(
        "FILE.yaml",
        "Of a table: immutable, a list of columns that no attack may change, and budget, column to "
        "its multiple of --eps.",
    ),
    "device": option("NAME", "auto (default), cpu or cuda."),
    "devices": option(
        "NUMBERS",
        "GPUs of this machine, such as 0,1: each cell at a time has one of them to itself, unless "
        "--jobs asks for more cells.",
    ),
    "executor": option(
        "local|ray", "Who does the work: processes here (default), or a Ray cluster; [ray] extra."
    ),
    "ray_address": option(
        "HOST:PORT",
        "Head of a running cluster, auto for the one of this machine, or local; $RAY_ADDRESS, or "
        "one that is started here, unless given.",
    ),
    "cpus_per_cell": option(
        "INTEGER",
        "CPUs, and threads, of a cell on a cluster; a node's are shared otherwise.",
    ),
    "gpus_per_cell": option(
        "NUMBER", "GPUs of a cell there, or a share of one; 1 where nodes have some.", float
    ),
    "shard": option("K/N", "Do the K-th of N parts of the plan alone; join them by bench merge."),
    "jobs": option(
        "INTEGER", "Cells at a time; one a framework, or a GPU of --devices, unless given."
    ),
    "threads": option(
        "INTEGER",
        "CPU threads of a cell; they round differently, so fix them where numbers must be equal "
        "to the last digit. The CPUs are shared among --jobs unless given.",
    ),
    "attack_timeout": option(
        "SECONDS",
        "An attack that asks the model anything later than this has failed; others go on.",
        float,
    ),
    "batch_size": option(
        "NUMBER|auto",
        "Examples that an attack, or a read-out of new classes, asks the model about at a time; "
        "250 unless given. auto: as many as the GPU's free memory holds, 250 on a CPU.",
    ),
    "baseline": option(None, "Also measure each cell's undefended twin (default).", bool),
    "on_overfit": option(
        "restore|warn",
        "At catastrophic overfitting, go back to the last good weights, or only tell (default; "
        "fgsm-rs goes back).",
    ),
    "protocol": option(
        "none|brief|adapt|few-shot|sequence|domain",
        "What to measure of each model's adaptation: nothing (default), to other attacks (a first "
        "look, or in full), to new classes, to attacks that arrive one after the other, or to the "
        "data set of --adapt-to.",
    ),
    "split": option(
        "SEED|FILE.yaml",
        "few-shot: which classes are trained on, chosen on and tested on; drawn by a seed (0 "
        "unless given), or the lists train, validation and test of names or patterns.",
    ),
    "ways": option("INTEGERS", "few-shot: classes of an episode; 5 unless given."),
    "shots": option(
        "INTEGERS",
        "Labelled examples a class (few-shot, 1,5 unless given; domain, 1,5,20), or in all (brief, "
        "adapt).",
    ),
    "queries": option(
        "INTEGER[,stored]",
        "Examples that are attacked after adaptation, of an episode, or a class (few-shot, 5 "
        "unless given). stored: few-shot, besides, the same ones attacked once, before it.",
    ),
    "adapt_to": option(
        "DATASET",
        "Also adapt each model to this data set with few labels a class (--shots), beside training "
        "from scratch on them.",
    ),
    "episodes": option(
        "INTEGER",
        "Of the protocol; brief 3, adapt 100, few-shot 600, sequence 20, domain 10 unless given.",
    ),
}

# Of a model that someone else trained: those that have nothing to do with a training.
_OF_TRAINING = {
    *("defense", "framework", "model", "init", "epochs", "budget_ge"),
    *("new_head", "extra_data", "extra_share", "precision"),
    *("jobs", "baseline", "on_overfit", "protocol", "executor", "shard"),
    *("ray_address", "cpus_per_cell", "gpus_per_cell"),
    *("split", "ways", "shots", "queries", "episodes", "adapt_to"),
}
ATTACK: Mapping[str, Any] = {
    **{name: one for name, one in RUN.items() if name not in _OF_TRAINING},
    "seed": option("INTEGER", "Seed of the attacks; 0 unless given."),
}
GIVEN: Mapping[str, Any] = {
    "weights": option(
        "FILE",
        "Its weights: .safetensors, .pt, .pth, .pth.tar, .ckpt (state dicts), .keras or .h5; no "
        "code in them is run.",
    ),
    "model": option(
        "NAME",
        "Architecture as in `bench list models`, or the code that builds the model: "
        "package.module:builder or file.py:builder, called without arguments; robustbench:NAME of "
        "RobustBench's zoo ([robustbench] extra); none for a .keras file that holds its own.",
    ),
    "name": option("NAME", "Its name in reports; the weights' or builder's otherwise."),
    "channels": option(
        "first|last", "As it takes images; first for torch, last for Keras otherwise."
    ),
    "input_range": option(
        "LOW..HIGH",
        "The pixels that it takes, such as 0..255 or -1..1; 0..1 unless given. --mean and --std "
        "are of these; --eps stays in [0, 1].",
    ),
    "mean": option(
        "NUMBERS", "Subtracted from the pixels before the model: one number, or one a channel."
    ),
    "std": option("NUMBERS", "What they are divided by after --mean, such as 1/255."),
    "published": option(
        "NUMBER",
        "Its published robust accuracy under this threat, such as 43.21% or 0.4321, or a JSON file "
        "of RobustBench's model_info: shown beside ours.",
    ),
    "outputs": option("NAME", "What it gives: logits, probabilities, sigmoids or auto (default)."),
}


def detail(*, quiet: bool, verbose: bool) -> Detail:
    """How much to print; raises `ConfigError` for both."""
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose ask for different things; give one of them")
    return "quiet" if quiet else "verbose" if verbose else "usual"
