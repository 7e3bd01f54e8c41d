"""Known answers: robust accuracies that others published or proved, and ours of the same weights.

    python tests/performance/reproduced.py measure FOLDER --out results
    python tests/performance/reproduced.py page results/results > tests/performance/reproduced.md

`measure` attacks the small networks of alpha-beta-CROWN with the suite `autoattack` in both
frameworks: FOLDER holds their weights (NAME.pth of `reproduced.yaml`, the `models/sdp` of
github.com/Verified-Intelligence/alpha-beta-CROWN) and the 200 test images that they were verified
on (mnist_test_200_x.npy and _y.npy, and cifar_..., of the same repository's `datasets/sdp`). Keras
gets the same weights. `page` writes a table from any results folders: of these networks, and of
each model that was attacked with `--published` or from RobustBench's zoo. It exits with 1 where an
accuracy lies below what is proven, or above the published attack.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

HERE = Path(__file__).parent
KNOWN = yaml.safe_load((HERE / "reproduced.yaml").read_text())
SOURCE = KNOWN.pop("source")
SUITE = "autoattack"
COLUMNS = (
    *("Model", "Threat", "Framework", "Examples", "Verified", "Published attack"),
    *("Here (95 % interval)", "Difference", "Verdict"),
)
HEAD = f"""# Known answers, reproduced

Robust accuracy in per cent that others published, and that of the suite `{SUITE}` here for the
same weights, examples and budget. What was *verified* is a floor that no attack may pass; what a
published attack left is a ceiling for ours.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
"""
WORDS = """The difference is to the published attack, in points. Of the small networks, floor and
ceiling are those of {source}. Weights and examples are its authors', whose configuration attacks
with PGD from 50 starts where AutoAttack has one. So where ours leaves an example more, the miss is
told as one; an accuracy below the floor would be an error of this tool."""
TAIL = """
{words}

    python tests/performance/reproduced.py measure FOLDER --out results
    python tests/performance/reproduced.py page results/results > tests/performance/reproduced.md

With RobustBench's package the page grows by `bench attack --model robustbench:NAME --threat Linf`,
and by any model that is attacked with `--published`.
"""


def carried(name: str, weights: Path, folder: Path) -> Path:
    """The network as a Keras model with the same weights, saved."""
    import keras
    import torch

    found = torch.load(weights, map_location="cpu", weights_only=True)
    of = {key: value.numpy() for key, value in found.items()}
    channels = of["0.weight"].shape[1]
    side = int((of["5.weight"].shape[1] / 32) ** 0.5)
    model = keras.Sequential(
        [
            keras.Input((4 * side, 4 * side, channels)),
            keras.layers.Conv2D(16, 4, 2, "same", activation="relu"),
            keras.layers.Conv2D(32, 4, 2, "same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    dense = of["5.weight"].reshape(100, 32, side, side)  # torch flattens channels first
    model.set_weights(
        [
            *(of["0.weight"].transpose(2, 3, 1, 0), of["0.bias"]),
            *(of["2.weight"].transpose(2, 3, 1, 0), of["2.bias"]),
            *(dense.transpose(2, 3, 1, 0).reshape(-1, 100), of["5.bias"]),
            *(of["7.weight"].T, of["7.bias"]),
        ]
    )
    path = folder / f"{name}.keras"
    model.save(path)
    return path


def examples(network: str, data: Path, folder: Path) -> Path:
    """The 200 test examples as a data set; its training part, which no attack sees, is the same."""
    x, y = (np.load(data / f"{network}_test_200_{part}.npy") for part in "xy")
    path = folder / f"{network}.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return path


def measure(data: Path, out: Path, names: list[str]) -> None:
    """Each network in both frameworks; what is stored is not measured again."""
    from benchmark import frameworks

    frameworks.import_torch_first()
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        known, weights = KNOWN[name], data / f"{name}.pth"
        if hashlib.sha256(weights.read_bytes()).hexdigest() != known["sha256"]:
            raise SystemExit(f"{weights} is not the published file")
        dataset = examples(known["network"], data, out)
        common = ["--name", name, "--dataset", f"npz:{dataset}", "--eps", known["eps"]]
        common += ["--suite", SUITE, "--out", str(out / "results"), "--device", "cpu"]
        for part in ("mean", "std"):
            common += [f"--{part}", known[part]] if part in known else []
        torch = ["--model", f"{HERE / 'small_nets.py'}:{known['network']}", "--weights", weights]
        keras = ["--weights", carried(name, weights, out)]
        for given in (torch, keras):
            command = [sys.executable, "-m", "benchmark", "attack", *map(str, given), *common]
            subprocess.run(command, check=True)


def rows(folders: list[Path]) -> Iterator[tuple[str, bool]]:
    """Lines of the table, and whether each holds."""
    import pandas as pd

    import reports
    from reports.text import budget, norm, points

    frames = [reports.leaderboard(folder) for folder in folders]
    board = pd.concat(frames, ignore_index=True)
    board = board[(board["suite"] == SUITE) & (board["status"] == "ok")]
    for row in board.sort_values(["defense", "framework"]).itertuples():
        known = KNOWN.get(row.defense)
        published = row.published_accuracy
        if known is None and pd.isna(published):
            continue
        ceiling = known["attack"] / 100 if known else published
        floor = known["verified"] / 100 if known else None
        verdict, holds = judged(row.worst_case, row.attacked, floor, ceiling)
        about = known["about"] if known else row.defense
        yield (
            f"| {about} | {norm(row.norm)} {budget(row.eps)} | "
            f"{row.framework} | {row.attacked} | {'–' if floor is None else f'{floor:.1%}'[:-1]} | "
            f"{100 * ceiling:.1f} | {100 * row.worst_case:.1f} ({100 * row.worst_case_low:.1f} to "
            f"{100 * row.worst_case_high:.1f}) | {points(row.worst_case - ceiling)} | "
            f"{verdict} |",
            holds,
        )


def judged(ours: float, count: int, floor: float | None, ceiling: float) -> tuple[str, bool]:
    """What is to be said of an accuracy of `count` examples, and whether it lies as it should."""
    above = round((ours - ceiling) * count)
    if floor is not None and ours < floor - 1e-9:
        return "**below what is proven: an error**", False
    if above <= 0:
        return "holds" if floor is not None else "no weaker", True
    return f"{above} of {count} examples above the published attack", False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("measure")
    first.add_argument("folder", type=Path)
    first.add_argument("--out", type=Path, required=True)
    first.add_argument("--only", help="names with commas", default=",".join(KNOWN))
    commands.add_parser("page").add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "measure":
        measure(options.folder, options.out, options.only.split(","))
        return
    found = list(rows(options.folders))
    print(
        HEAD
        + "\n".join(line for line, _ in found)
        + "\n"
        + TAIL.format(words=textwrap.fill(WORDS.format(source=SOURCE), 100)),
        end="",
    )
    raise SystemExit(not all(holds for _, holds in found))


if __name__ == "__main__":
    main()
