"""Another data set with few labels a class: what is a robust start worth, and a meta-learned one?

    python tests/performance/new_domains.py mnist-digits --data-dir DIR --out RESULTS
    python tests/performance/new_domains.py cifar10-gtsrb --data-dir DIR --out RESULTS

From MNIST to scikit-learn's digits at 28x28 or to KMNIST, and from CIFAR-10 to traffic signs;
`halves` goes from the digits 0 to 4 to those from 5 on, files that this script makes of
scikit-learn's. `--dataset` and `--adapt-to` name files in place of those in `DIR`. Models that were
trained at equal compute are adapted by every method; from scratch is trained once a seed, beside
`none`. Each row and budget is a `bench run` into a folder of its own below `--out`; started again,
it goes on where it stopped, and `--report` runs nothing. Intervals are 95 %, over training seeds
and episodes, which are the same for every model. Rows are judged by the method that is best on
validation examples, once among those whose labelled examples are as they are, and once among all
that begin with what was trained. A run of minutes:

    python tests/performance/new_domains.py halves --out RESULTS --budget-ge 20000 --seed 0 \\
        --shots 1 5 --episodes 5 --only none pgd-at aq-ridge
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from studies import (
    QUERYING,
    TUNED,
    difference,
    head,
    line,
    measured,
    parser_of,
    percent,
    seed_of,
    unique,
)

from benchmark.metatest.domain.settings import ADVERSARIAL, FINETUNE, METHODS, READING, SCRATCH

# From, to, and what suits them; counts keep three seeds of all rows within hours on two cores.
PAIRS = {
    "halves": {"eps": 0.15, "queries": 50},
    "mnist-digits": {"dataset": "mnist", "adapt_to": "digits", "resize": True, "eps": 0.1},
    "mnist-kmnist": {"dataset": "mnist", "adapt_to": "kmnist", "eps": 0.1},
    "cifar10-gtsrb": {
        "dataset": "cifar10",
        "adapt_to": "gtsrb",
        "eps": 4 / 255,
        "shots": [1, 5, 10],
        "episodes": 5,
        "rounds": [5],
    },
}
# Row: defense and its parameters.
ROWS = {
    "none": ("none", {}),
    "pgd-at": ("pgd-at", {}),
    "pgd-at, tuned": ("pgd-at", TUNED),
    "trades, tuned": ("trades", TUNED),
    "meta-adv": ("meta-adv", {}),
    "aq-maml": ("meta-adv", QUERYING),
    "aq-ridge": ("meta-adv", {**QUERYING, "head": "ridge"}),
    "aq-ridge, trades": ("meta-adv", {**QUERYING, "head": "ridge", "outer_loss": "trades"}),
    "ridge, no adversary": ("meta-adv", {**QUERYING, "head": "ridge", "clean_weight": 1.0}),
}
BASELINES = ("pgd-at", "pgd-at, tuned", "trades, tuned")
# Ways of adapting, and their methods.
CLEAN = "clean examples"
KINDS = {CLEAN: (FINETUNE, *READING), "any": (FINETUNE, *READING, ADVERSARIAL)}


class Adapted:
    """One method of a row at a budget; `clean` and `robust` are (episodes, shots) by seed.

    `autoattack` likewise, of some episodes; `validation` is (shots,), what the settings left there.
    """

    def __init__(self, cells, method):
        found = [((method, seed_of(cell)), one) for cell in cells for one in cell.domains]
        mine = unique((key, o) for key, o in found if o.record.method == method)
        ones = {seed: one for (_, seed), one in mine.items() if one.robust is not None}
        self.seeds, self.record = len(ones), next(iter(ones.values())).record if ones else None
        self.clean = {seed: one.clean for seed, one in ones.items()}
        self.robust = {seed: one.robust for seed, one in ones.items()}
        self.autoattack = {s: o.autoattack for s, o in ones.items() if o.autoattack is not None}
        self.validation = {seed: _validation(one.record) for seed, one in ones.items()}


def _validation(record):
    tried = [[o["robust"] for o in record.tried if o["shots"] == shots] for shots in record.shots]
    return [max(values) for values in tried]


class Judged:
    """A row by the method of a kind that is best on validation examples, for each seed."""

    def __init__(self, found, kind, place):
        there = [name for name in KINDS[kind] if name in found]
        seeds = set.intersection(*(set(found[name].robust) for name in there)) if there else set()
        self.chosen = {
            seed: max(there, key=lambda name: found[name].validation[seed][place])
            for seed in sorted(seeds)
        }
        self.clean, self.robust = (
            {seed: getattr(found[name], what)[seed][:, place] for seed, name in self.chosen.items()}
            for what in ("clean", "robust")
        )


def _at(found, place):
    """(episodes,) by seed, with so many labels."""
    return {seed: values[..., place] for seed, values in found.items()}


def methods(cells):
    """What is there of a row, by method."""
    names = dict.fromkeys(one.record.method for cell in cells for one in cell.domains)
    return {name: one for name in names if (one := Adapted(cells, name)).seeds}


def table(rows, shots, what):
    """Accuracy over labels a class."""
    head([what.capitalize(), "Budget", "Method", "Seeds", *_columns(shots), "GE"])
    for (row, budget), found in rows.items():
        for name, one in found.items():
            values = getattr(one, what)
            told = [percent(_at(values, n), one.record.queries) for n in range(len(shots))]
            cost = f"{one.record.cost[-1].gradient_evaluations:,.0f}"
            line(row, f"{budget:,}", name, one.seeds, *told, cost)


def strongest(rows, shots):
    """What PGD and then AutoAttack leave of the same queries, mean over seeds."""
    head(["PGD / AutoAttack", "Budget", "Method", "Seeds", "Episodes", *_columns(shots)])
    for (row, budget), found in rows.items():
        for name, one in found.items():
            if one.autoattack:
                episodes = min(map(len, one.autoattack.values()))
                pgd = np.stack([one.robust[seed][:episodes] for seed in one.autoattack])
                left = np.stack([values[:episodes] for values in one.autoattack.values()])
                means = zip(pgd.mean(axis=(0, 1)), left.mean(axis=(0, 1)), strict=True)
                told = [f"{100 * first:.1f} / {100 * second:.1f}" for first, second in means]
                line(row, f"{budget:,}", name, len(left), episodes, *told)


def judged(rows, shots, kind):
    """Each row by its best method of a kind."""
    names = ["Method", "Seeds", "Clean", "Robust"]
    for place, count in enumerate(shots):
        head([f"{kind}, {count} a class".capitalize(), "Budget", *names])
        for (row, budget), found in rows.items():
            one = Judged(found, kind, place)
            if one.chosen:
                queries = next(iter(found.values())).record.queries
                told = [percent(values, queries) for values in (one.clean, one.robust)]
                chosen = "/".join(dict.fromkeys(one.chosen.values()))
                line(row, f"{budget:,}", chosen, len(one.chosen), *told)


def leads(rows, shots, kind):
    """Of the rows that learn episodes to each baseline, by the best method of a kind."""
    head([f"Robust, points, {kind}", "Budget", "less", *_columns(shots)])
    places = range(len(shots))
    for row, budget, other in _against(rows):
        ours = [Judged(rows[row, budget], kind, place).robust for place in places]
        theirs = [Judged(rows[other, budget], kind, place).robust for place in places]
        values = [difference(*pair) for pair in zip(ours, theirs, strict=True)]
        line(row, f"{budget:,}", other, *values)


def differences(rows, shots):
    """Of the rows that learn episodes to each baseline, method by method."""
    head(["Robust, points", "Budget", "Method", "less", *_columns(shots)])
    for row, budget, other in _against(rows):
        for name, one in rows[row, budget].items():
            if (them := rows[other, budget].get(name)) is not None:
                places = range(len(shots))
                values = [difference(_at(one.robust, n), _at(them.robust, n)) for n in places]
                line(row, f"{budget:,}", name, other, *values)


def from_scratch(rows, shots):
    """Of every row and method to training from scratch on the same labels, under attack."""
    head([f"Robust, points, less {SCRATCH}", "Budget", "Method", *_columns(shots)])
    for (row, budget), found in rows.items():
        begun = rows.get(("none", budget), {}).get(SCRATCH)
        for name, one in found.items():
            if begun is not None and name != SCRATCH:
                places = range(len(shots))
                values = [difference(_at(one.robust, n), _at(begun.robust, n)) for n in places]
                line(row, f"{budget:,}", name, *values)


def _against(rows):
    """Each row that learns episodes and a baseline at its budget, by name."""
    for row, budget in rows:
        if ROWS[row][0] == "meta-adv":
            for other in BASELINES:
                if (other, budget) in rows:
                    yield row, budget, other


def _columns(shots):
    return [f"{count} a class" for count in shots]


def halves(out):
    """The digits 0 to 4, and those from 5 on, as files; gives their names as data sets."""
    digits = load_digits()
    x = (digits.images[..., None] / 16).astype(np.float32)
    out.mkdir(parents=True, exist_ok=True)
    for name, some in (("early", digits.target < 5), ("late", digits.target >= 5)):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(some))
        test, train = np.split(rows, [len(rows) // 5])
        parts = {"train": train, "test": test}
        arrays = {f"x_{part}": x[index] for part, index in parts.items()}
        arrays |= {f"y_{part}": digits.target[index] % 5 for part, index in parts.items()}
        np.savez(out / f"{name}.npz", **arrays)
    return [f"npz:{out.resolve() / name}.npz" for name in ("early", "late")]


def settings(options, row):
    names = ("adapt_to", "resize", "shots", "episodes", "queries", "rounds", "tuning_episodes")
    names += ("autoattack_episodes",)
    adaptation = {name: getattr(options, name) for name in names}
    adaptation["methods"] = [n for n in options.methods if row == "none" or n != SCRATCH]
    return {"eps": options.eps, "protocol": "domain", "adaptation": adaptation}


def arguments():
    parser = parser_of(__doc__, ROWS, dataset=None, model="cnn", budgets=[250_000])
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--adapt-to")
    parser.add_argument("--resize", action="store_true")
    parser.add_argument("--eps", type=float)
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 5, 20])
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--rounds", nargs="+", type=int, default=[4, 20], help="that are tried")
    parser.add_argument("--tuning-episodes", type=int, default=2)
    parser.add_argument("--autoattack-episodes", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    known, _ = parser.parse_known_args()
    parser.set_defaults(**PAIRS[known.pair])
    return parser.parse_args()


def main():
    options = arguments()
    if options.pair == "halves":
        options.dataset, options.adapt_to = halves(options.out)
    begins = f"{options.pair}-"
    cells = measured(options, ROWS, lambda row: settings(options, row), begins=begins)
    rows = {pair: methods(found) for pair, found in cells.items()}
    shots = sorted(options.shots)
    for kind in KINDS:
        judged(rows, shots, kind)
        leads(rows, shots, kind)
    for what in ("clean", "robust"):
        table(rows, shots, what)
    strongest(rows, shots)
    differences(rows, shots)
    from_scratch(rows, shots)


if __name__ == "__main__":
    main()
