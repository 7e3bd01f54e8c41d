"""Attack families that arrive one after the other: who learns the new one and keeps the old?

    python tests/performance/sequences.py --dataset mnist --data-dir DIR --out RESULTS

Each family brings labels of its own. `meta-adv`, also as it is trained to learn one family without
losing another, beside `pgd-at` and `random-norm`; each with every learner: gradient descent alone,
with a penalty on the distance of logits (continual robust training, Dai et al. 2025), rehearsal of
earlier families, and none. Each row and budget is a `bench run` into a folder of its own below
`--out`; started again, it goes on where it stopped, and `--report` runs nothing. Intervals are
95 %, over training seeds and episodes, which are the same for every model. A run of minutes:

    python tests/performance/sequences.py --out RESULTS --budget-ge 50000 --seed 0 --episodes 5 \\
        --labels 50 --families linf l2 patch --only pgd-at "meta-adv, low forgetting"
"""

from __future__ import annotations

import numpy as np
from studies import difference, head, line, measured, parser_of, percent, points, seed_of, unique

# Trained to learn one family without losing another, with rates of its own for each layer
KEEPING = {"distribution": ["attacks"], "support_family": "other", "learn_rates": True}
# Row: defense and its parameters.
ROWS = {
    "pgd-at": ("pgd-at", {}),
    "random-norm": ("random-norm", {}),
    "meta-adv": ("meta-adv", {}),
    "meta-adv, low forgetting": ("meta-adv", KEEPING),
}
BASELINES = ("pgd-at", "random-norm")
RIVALS = ("logit-distance", "rehearsal")
COLUMNS = ("Clean", "Mean", "Worst", "Forgetting", "GE", "Labels")


class Learned:
    """One learner of a row at a budget; numbers are (episodes,) by seed, after the last arrival."""

    def __init__(self, cells, learner):
        found = [((learner, seed_of(cell)), one) for cell in cells for one in cell.sequences]
        mine = unique((key, o) for key, o in found if o.record.learner == learner)
        ones = {seed: one for (_, seed), one in mine.items() if one.correct is not None}
        self.seeds, self.record = len(ones), next(iter(ones.values())).record if ones else None
        self.worst = {seed: one.worst for seed, one in ones.items()}
        self.mean = {seed: one.correct[:, -1].mean(axis=1) for seed, one in ones.items()}
        self.kept = {seed: _kept(one.correct) for seed, one in ones.items()}
        self.clean = [one.record.clean[-1].mean for one in ones.values()]


def _kept(correct):
    """(episodes,), of (episodes, arrivals, families): what is left of each since it was learned."""
    learned = np.diagonal(correct, axis1=1, axis2=2)[:, :-1]
    return (correct[:, -1, :-1] - learned).mean(axis=1)


def learners(cells):
    """What is there of a row, by learner."""
    names = dict.fromkeys(one.record.learner for cell in cells for one in cell.sequences)
    return {name: one for name in names if (one := Learned(cells, name)).seeds}


def table(rows):
    """What is right after the last family, under each by itself, and under all together."""
    head(["Row", "Budget", "Learner", "Seeds", *COLUMNS])
    for (row, budget), found in rows.items():
        for name, one in found.items():
            queries, kept = one.record.queries, points(np.stack(list(one.kept.values())))
            told = [percent(one.mean, queries), percent(one.worst, queries), kept]
            cost = f"{one.record.cost.gradient_evaluations:,.0f}"
            clean = f"{100 * np.mean(one.clean):.1f}"
            line(row, f"{budget:,}", name, one.seeds, clean, *told, cost, one.record.labels_used)


def differences(rows, what, about):
    """Of `meta-adv` with each learner to the baselines with the published ones."""
    pairs = [(row, name) for row in BASELINES for name in RIVALS]
    head([about, "Budget", "Learner", *(f"less {row}, {name}" for row, name in pairs)])
    for (row, budget), found in rows.items():
        rivals = [rows.get((other, budget), {}).get(name) for other, name in pairs]
        for name, one in found.items() if row not in BASELINES else ():
            values = [
                difference(getattr(one, what), getattr(them, what) if them else {})
                for them in rivals
            ]
            line(row, f"{budget:,}", name, *values)


def settings(options):
    names = ("families", "labels", "episodes", "queries", "rounds", "attack_steps")
    return {
        "eps": options.eps,
        "protocol": "sequence",
        "adaptation": {name: getattr(options, name) for name in names},
    }


def arguments():
    parser = parser_of(__doc__, ROWS, dataset="digits", model="cnn", budgets=[250_000])
    parser.add_argument("--eps", type=float, help="the data set's own unless given")
    parser.add_argument("--families", nargs="+", default=["linf", "l2", "universal", "patch"])
    parser.add_argument("--labels", type=int, default=200, help="that each family brings")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--attack-steps", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--queries", type=int, default=50)
    return parser.parse_args()


def main():
    options = arguments()
    cells = measured(options, ROWS, lambda row: settings(options), begins="sequence-")
    rows = {pair: learners(found) for pair, found in cells.items()}
    table(rows)
    differences(rows, "worst", "Worst, points")
    differences(rows, "kept", "Forgetting, points")


if __name__ == "__main__":
    main()
