"""Where meta-learning should win: new classes. Defenses at equal compute, adapted with few labels.

    python tests/performance/few_shot.py --data-dir DIR --out RESULTS

Omniglot's two small sets, split by alphabet (`few_shot_omniglot.yaml` beside this file; Latin,
which is in both sets, is left out), with characters to train on turned by 90, 180 and 270 degrees
as other characters, as Vinyals et al. 2016 have it; or GTSRB (`--dataset npz:FILE --split 0
--changes few_shot_signs.yaml`). All rows train on the same classes. Each row and budget is a
`bench run` into a folder of its own below `--out`; started again, it goes on where it stopped.
A small run takes minutes:

    python tests/performance/few_shot.py --data-dir DIR --out RESULTS --budget-ge 20000 \\
        --seed 0 --episodes 50 --only pgd-at aq-ridge --readouts centroid ridge

`--report` runs nothing: the tables are made from what is there. Intervals are 95 %, over training
seeds and episodes, which are the same for every model. A row is judged by the read-out that is
best on validation classes. Queries that were attacked once, before adaptation, are answered beside
those that are attacked anew: the last table says which differences an attacker who knows of the
adaptation makes vanish.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import studies
import yaml
from PIL import Image
from studies import (
    FEW,
    NOTHING,
    apart,
    difference,
    head,
    line,
    measured,
    parser_of,
    percent,
    seed_of,
    unique,
)

from reports.fewshots import chosen
from reports.statistics import of_differences

SPLIT = Path(__file__).with_name("few_shot_omniglot.yaml")
SETS = ("images_background_small1", "images_background_small2")
# Chosen on validation classes alone; few_shot_tried.md tells by which seeds and budgets.
CROP = {"crop": 3}
DESCENT = {
    "optimizer": "sgd",
    "nesterov": True,
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "schedule": "one-cycle",
    **CROP,
}
TUNED = {**DESCENT, "attack_steps": 5, "batch_size": 64}
QUERYING = {**studies.QUERYING, **DESCENT}
RIDGE = {
    **QUERYING,
    "head": "ridge",
    "ways": 10,
    "support": 30,
    "query": 50,
    "tasks": 1,
    "query_attack_steps": 3,
    "clean_weight": 0.0,
    "learning_rate": 0.5,
}
OURS = {**studies.OURS, **DESCENT}
# A character has 20 images: five labels and five queries of each of five ways.
PUBLISHED = {**FEW, **CROP, "support": 25, "query": 25}
# Row: defense and its parameters.
ROWS = {
    "none": ("none", {}),
    "pgd-at": ("pgd-at", {}),
    "pgd-at, tuned": ("pgd-at", {**TUNED, "learning_rate": 0.5, "attack_steps": 3}),
    "trades, tuned": ("trades", {**TUNED, "learning_rate": 0.5, "attack_steps": 3}),
    "maml, no adversary": ("meta-adv", {**OURS, "clean_weight": 1.0}),
    "adml": ("meta-adv", {"preset": "adml", **PUBLISHED}),
    "r-maml": ("meta-adv", {"preset": "r-maml", **PUBLISHED}),
    "aq": ("meta-adv", {"preset": "aq", **PUBLISHED}),
    "aq-maml": ("meta-adv", QUERYING),
    "aq-anil": ("meta-adv", {**QUERYING, "algorithm": "anil"}),
    "aq-centroid": ("meta-adv", {**QUERYING, "head": "centroid"}),
    "aq-ridge": ("meta-adv", RIDGE),
    "aq-ridge, trades": ("meta-adv", {**RIDGE, "outer_loss": "trades", "beta": 6.0}),
    # The share of the first phase is chosen by the column of validation classes.
    "two phases, 25 %": ("meta-adv", {**QUERYING, "head": "centroid", "pretrain": 0.25}),
    "two phases, 50 %": ("meta-adv", {**QUERYING, "head": "centroid", "pretrain": 0.5}),
    "two phases, 75 %": ("meta-adv", {**QUERYING, "head": "centroid", "pretrain": 0.75}),
    "cosine head alone": ("meta-adv", {**QUERYING, "head": "centroid", "pretrain": 1.0}),
}
BASELINES = ("pgd-at", "pgd-at, tuned", "trades, tuned", "cosine head alone")
# What rows that learn episodes are compared with: the last tells what the loss of TRADES brings.
COMPARED = (*BASELINES, "aq-ridge")


def changed(path):
    """The rows with parameters from a file: a row's name to what it has instead."""
    changes = yaml.safe_load(Path(path).read_text()) if path else {}
    if unknown := sorted(set(changes) - set(ROWS)):
        raise SystemExit(f"{path}: no row is called {unknown[0]!r}; there are {', '.join(ROWS)}")
    return {
        name: (defense, {**parameters, **changes.get(name, {})})
        for name, (defense, parameters) in ROWS.items()
    }


class Cells:
    """What the cells of a row at a budget hold, seed by seed, of so many episodes of each size."""

    def __init__(self, cells, episodes):
        self.every = {}
        for cell in cells:
            mine = [o for o in cell.few_shot if o.record.episodes == episodes[_size(o)]]
            found = unique(((o.record.readout, *_size(o), seed_of(cell)), o) for o in mine)
            self.every[seed_of(cell)] = list(found.values())
        sizes = {_size(one) for found in self.every.values() for one in found}
        self.judged = {size: self._judged(size) for size in sorted(sizes)}

    def _judged(self, size):
        """Each seed's read-out that is best on validation classes."""
        found = {
            seed: chosen([one for one in mine if _size(one) == size])
            for seed, mine in self.every.items()
        }
        return {seed: one for seed, one in found.items() if one is not None}

    def shares(self, size, name, readout=None):
        """Seed to the episodes' shares, of the read-out named, else of those judged by."""
        ones = self.judged.get(size, {})
        if readout is not None:
            ones = {
                seed: one
                for seed, mine in self.every.items()
                for one in mine
                if (_size(one), one.record.readout) == (size, readout)
            }
        return {seed: one.shares[name] for seed, one in ones.items() if name in one.shares}

    def told(self, size, name, readout=None):
        """The same as a mean with its interval."""
        every = [one.record for mine in self.every.values() for one in mine if _size(one) == size]
        least = self.least(size, name, readout)
        found = {s: values[:least] for s, values in self.shares(size, name, readout).items()}
        return percent(found, size[0] * every[0].queries) if found else NOTHING

    def least(self, size, name, readout=None):
        """The episodes that every seed has: AutoAttack may have seen more of one than another."""
        return min(map(len, self.shares(size, name, readout).values()), default=0)


def _size(one):
    return one.record.ways, one.record.shots


def _episodes(cells):
    """The most episodes of each size: fewer are of tries."""
    most = {}
    for one in (one for found in cells.values() for cell in found for one in cell.few_shot):
        most[_size(one)] = max(one.record.episodes, most.get(_size(one), 0))
    return most


def table(rows, size):
    """Each row by its read-out; the last episodes are those that AutoAttack saw of each seed."""
    print(f"\n### {size[0]}-way {size[1]}-shot")
    names = "Row, Budget, Seeds, Read-out, Validation, Clean, Robust, Stored, AutoAttack, Episodes"
    head([*names.split(", "), "GE", "Labels"])
    for (row, budget), one in rows.items():
        if not (judged := list(one.judged.get(size, {}).values())):
            continue
        names = "/".join(dict.fromkeys(o.record.readout for o in judged))
        values = [one.told(size, n) for n in ("clean", "robust", "stored_queries", "autoattack")]
        cost = f"{judged[0].record.cost.gradient_evaluations:.0f}"
        seen = f"{100 * np.mean([o.validation for o in judged]):.1f}"
        labels = judged[0].record.labels_used
        attacked = one.least(size, "autoattack")
        line(row, f"{budget:,}", len(judged), names, seen, *values, attacked, cost, labels)


def readouts(rows, size):
    """What each read-out leaves of white-box queries."""
    every = [one for cells in rows.values() for mine in cells.every.values() for one in mine]
    names = sorted({one.record.readout for one in every})
    head([f"Robust, {size[0]}-way {size[1]}-shot", "Budget", *names])
    for (row, budget), one in rows.items():
        line(row, f"{budget:,}", *(one.told(size, "robust", name) for name in names))


def against(rows):
    """The rows that learn episodes, each with what it is compared with at its budget, by name."""
    for (row, budget), one in rows.items():
        if ROWS[row][0] == "meta-adv" and row not in BASELINES:
            others = [name for name in COMPARED if name != row and (name, budget) in rows]
            yield row, budget, one, {name: rows[name, budget] for name in others}


def differences(rows, size):
    """Of the rows that learn episodes to each they are compared with at the same budget."""
    there = [name for name in COMPARED if any(row == name for row, _ in rows)]
    for what in ("robust", "clean"):
        about = f"{what.capitalize()}, points, {size[0]}-way {size[1]}-shot"
        head([about, "Budget", *(f"less {name}" for name in there)])
        for row, budget, one, others in against(rows):
            ours = one.shares(size, what)
            theirs = [others[n].shares(size, what) if n in others else None for n in there]
            values = [NOTHING if them is None else difference(ours, them) for them in theirs]
            line(row, f"{budget:,}", *values)


def stored(rows, size):
    """The same by queries that were attacked before adaptation, beside those attacked anew."""
    about = f"Points, {size[0]}-way {size[1]}-shot"
    head([about, "Budget", "less", "Stored queries", "Renewed queries", "A win on stored queries"])
    for row, budget, one, baselines in against(rows):
        for name, other in baselines.items():
            pairs = [
                (one.shares(size, which), other.shares(size, which))
                for which in ("stored_queries", "robust")
            ]
            if all(part for pair in pairs for part in pair):
                values = [difference(*pair) for pair in pairs]
                line(row, f"{budget:,}", name, *values, _verdict(*pairs))


def _verdict(stored_pair, renewed_pair):
    """What becomes of a win."""
    won, stays = (of_differences(apart(*pair))[0] > 0 for pair in (stored_pair, renewed_pair))
    return ("stays" if stays else "vanishes") if won else NOTHING


def turned(source, target):
    """A folder with Omniglot's small sets as they are, and alphabets to train on turned beside.

    Made under another name and renamed, so that studies started at once don't trip over each other
    and one that was stopped leaves no part of it.
    """
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="making-", dir=target.parent) as made:
            _turn(source, Path(made) / target.name)
            try:
                (Path(made) / target.name).rename(target)
            except OSError:
                if not target.exists():  # else another study was faster
                    raise
    return str(target)


def _turn(source, target):
    for name in SETS:
        (target / name).mkdir(parents=True)
        for alphabet in sorted((source / name).iterdir()):
            (target / name / alphabet.name).symlink_to(alphabet.resolve())
    patterns = yaml.safe_load(SPLIT.read_text())["train"]
    for name in [pattern.partition("*")[0] for pattern in patterns]:
        (alphabet,) = (found for part in SETS if (found := target / part / name).exists())
        for path in sorted(alphabet.glob("*/*.png")):
            for angle in (90, 180, 270):
                other = alphabet.with_name(f"{name}, turned by {angle}") / path.parent.name
                other.mkdir(parents=True, exist_ok=True)
                turn = Image.Transpose[f"ROTATE_{angle}"]
                Image.open(path).transpose(turn).save(other / path.name)


def settings(options):
    return {
        "split": options.split,
        "protocol": "few-shot",
        "adaptation": {
            "ways": options.ways,
            "shots": options.shots,
            "queries": [options.queries, "stored"],
            "episodes": options.episodes,
            "readouts": options.readouts,
            "autoattack_episodes": options.autoattack_episodes,
            "tuning_episodes": options.tuning_episodes,
        },
    }


def arguments():
    parser = parser_of(__doc__, ROWS, dataset="omniglot", model="conv4(width=32)")
    parser.add_argument("--split", default=str(SPLIT))
    parser.add_argument("--changes", help="a file with other parameters of rows")
    parser.add_argument("--ways", nargs="+", type=int, default=[5, 20])
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 5])
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--tuning-episodes", type=int, default=20)
    parser.add_argument("--autoattack-episodes", type=int, default=5)
    parser.add_argument(
        "--readouts", nargs="+", default=["centroid", "ridge", "linear", "finetune", "own"]
    )
    return parser.parse_args()


def main():
    options = arguments()
    if options.dataset == "omniglot" and not options.report:
        options.data_dir = turned(Path(options.data_dir), options.out / "data")
    cells = measured(options, changed(options.changes), lambda row: settings(options))
    episodes = _episodes(cells)
    rows = {pair: Cells(found, episodes) for pair, found in cells.items()}
    for size in sorted({size for one in rows.values() for size in one.judged}):
        for show in (table, readouts, differences, stored):
            show(rows, size)


if __name__ == "__main__":
    main()
