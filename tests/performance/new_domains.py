"""Another data set with few labels a class: what is a robust start worth, and a meta-learned one?

    python tests/performance/new_domains.py mnist-digits --data-dir DIR --out RESULTS
    python tests/performance/new_domains.py cifar10-gtsrb --data-dir DIR --out RESULTS

From MNIST to scikit-learn's digits at 28x28 or to KMNIST, and from CIFAR-10 to traffic signs;
`halves` goes from the digits 0 to 4 to those from 5 on, files that this script makes of
scikit-learn's. `--dataset` and `--adapt-to` name files in place of those in `DIR`. Models that were
trained at equal compute are adapted by every method; from scratch is trained once a seed, beside
`none`. Each row and budget is a `bench run` into a folder of its own below `--out`; started again,
it goes on where it stopped, and `--report` runs nothing. Intervals are 95 %, over training seeds
and episodes, which are the same for every model. A run of minutes:

    python tests/performance/new_domains.py halves --out RESULTS --budget-ge 20000 --seed 0 \\
        --shots 1 5 --episodes 5 --only none pgd-at aq-ridge
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from studies import QUERYING, difference, head, line, measured, parser_of, percent, seed_of

from benchmark.metatest.domain.settings import METHODS, SCRATCH

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
    "meta-adv": ("meta-adv", {}),
    "aq-maml": ("meta-adv", QUERYING),
    "aq-ridge": ("meta-adv", {**QUERYING, "head": "ridge"}),
}
RIVAL = "pgd-at"


class Adapted:
    """One method of a row at a budget; `clean` and `robust` are (episodes, shots) by seed."""

    def __init__(self, cells, method):
        found = [(seed_of(cell), one) for cell in cells for one in cell.domains]
        ones = {s: o for s, o in found if o.record.method == method and o.robust is not None}
        self.seeds, self.record = len(ones), next(iter(ones.values())).record if ones else None
        self.clean = {seed: one.clean for seed, one in ones.items()}
        self.robust = {seed: one.robust for seed, one in ones.items()}


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


def differences(rows, shots):
    """Of each row and method to `pgd-at` by the same method, and to training from scratch."""
    head(["Robust, points", "Budget", "Method", "less", *_columns(shots)])
    for (row, budget), found in rows.items():
        rivals, begun = rows.get((RIVAL, budget), {}), rows.get(("none", budget), {})
        for name, one in found.items():
            against = {RIVAL: rivals.get(name) if row != RIVAL else None}
            against["from scratch"] = begun.get(SCRATCH) if name != SCRATCH else None
            for other, them in against.items():
                if them is not None:
                    places = range(len(shots))
                    values = [difference(_at(one.robust, n), _at(them.robust, n)) for n in places]
                    line(row, f"{budget:,}", name, other, *values)


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
    names = ("adapt_to", "resize", "shots", "episodes", "queries", "rounds")
    adaptation = {name: getattr(options, name) for name in names}
    adaptation["methods"] = [name for name in METHODS if row == "none" or name != SCRATCH]
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
    for what in ("clean", "robust"):
        table(rows, shots, what)
    differences(rows, shots)


if __name__ == "__main__":
    main()
