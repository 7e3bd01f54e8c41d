"""What gradient attacks leave of trained models when they follow logits of other scales.

    python tests/performance/logit_scales.py [--dataset mnist --data-dir DIR] [--seed 0 1]

The scale of the logits changes no answer. Attack families follow logits whose standard deviation
over the classes is that of `metatest.attacks.SPREADS`: here others and the model's own are beside
it, on validation examples. With `--check` the script fails where it leaves over two points more
than the best of them, in the mean of gradient ascent on each example or of shared perturbations.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from unittest import mock

import numpy as np
from studies import head, line

from benchmark import datasets, frameworks, models
from benchmark.metatest import attacks
from benchmark.metatest.model import Adaptable
from benchmark.metatest.scales import OF_ALL, OF_EACH
from defenses.heads.spec import spreading
from defenses.threat import Threat

frameworks.import_torch_first()
import defenses  # noqa: E402
from benchmark.estimators.pytorch import wrap  # noqa: E402
from benchmark.models import pytorch as builder  # noqa: E402

ASCENTS = ("linf", "l2", "l1", "linf-large")
SHARED = ("universal", "patch")
FAMILIES = (*ASCENTS, *SHARED)
SPREADS = (1.0, OF_ALL, OF_EACH, 10.0, 30.0)
RIDGE = {"preset": "aq-ridge"}
# Row: defense, its parameters, and how often its logits are taken.
ROWS = {
    "none": ("none", {}, 1.0),
    "pgd-at": ("pgd-at", {}, 1.0),
    "random-norm": ("random-norm", {}, 1.0),
    "meta-adv": ("meta-adv", {}, 1.0),
    "meta-adv, ridge head": ("meta-adv", RIDGE, 1.0),
    "pgd-at, a hundredth of its logits": ("pgd-at", {}, 0.01),
}
TOGETHER = 20  # examples under one shared perturbation


def trained(options, data, row, seed):
    """A model as the protocol adapts it, and its budgets."""
    defense, parameters, factor = ROWS[row]
    budgets = datasets.defaults(options.dataset).eps
    if defense == "random-norm":
        parameters = {f"eps_{norm}": budgets[norm] for norm in ("l2", "l1")}
    specification = models.specification(options.model, data.input_shape, data.classes)
    model = builder.build(specification, specification.initial_weights(seed))
    recipe = defenses.create(defense, Threat("linf", budgets["linf"]), parameters)
    fitted = recipe.fit(
        model, data.x_train[:], data.y_train, budget_ge=options.budget_ge, seed=seed
    )
    if recipe.fits_last_layer:
        rows = np.random.default_rng(seed).permutation(len(data.y_train))[:100]
        fitted = fitted.adapt(data.x_train[rows], data.y_train[rows], seed=seed)
    weights = fitted.kernel.weights()
    last = dict(list(weights.items())[-2:])
    fitted.kernel.load_weights(weights | {name: factor * value for name, value in last.items()})
    wrapping = functools.partial(
        wrap, input_shape=data.input_shape, classes=data.classes, device="cpu"
    )
    return Adaptable(fitted.kernel, wrapping), budgets


def left(model, budgets, x, y, spread):
    """Family to the share of examples that stays right, by logits so far apart; None: as are."""
    found = {}
    own = spreading(1.0, model.logits(x)[None])[0]
    alike = dict.fromkeys(attacks.SPREADS, 1 / own if spread is None else spread)
    with mock.patch.object(attacks, "SPREADS", alike):
        for name in FAMILIES:
            attacker = attacks.Attacker.within(budgets, name, x.shape[1:], steps=20)
            kept = []
            for first in range(0, len(x), TOGETHER):
                part = slice(first, first + TOGETHER)
                draw = attacker.draw(np.random.default_rng([1, first]), x[part].shape)
                x_adv = attacker.perturb(model, x[part], y[part], draw)
                kept.append((model.predict(x_adv) == y[part]) & (model.predict(x[part]) == y[part]))
            found[name] = float(np.concatenate(kept).mean())
    return 1 / own, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model", default="cnn-small")
    parser.add_argument("--budget-ge", type=float, default=100_000)
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    data = datasets.load(options.dataset, data_dir=options.data_dir, split_seed=0)
    count = min(200, len(data.y_validation) // TOGETHER * TOGETHER)
    x, y = data.x_validation[:count], data.y_validation[:count]
    head(["Robust", "Spread", *FAMILIES])
    worse = []
    for row in options.only:
        models_of_row = [trained(options, data, row, seed) for seed in options.seed]
        means = {}
        for spread in (None, *SPREADS):
            found = [left(model, budgets, x, y, spread) for model, budgets in models_of_row]
            told = f"{spread:g}" if spread else f"own, {np.mean([own for own, _ in found]):.2g}"
            values = {name: 100 * np.mean([one[name] for _, one in found]) for name in FAMILIES}
            line(row, told, *(f"{value:.1f}" for value in values.values()))
            means[spread] = [np.mean([values[n] for n in names]) for names in (ASCENTS, SHARED)]
        least = np.min(list(means.values()), axis=0) + 2
        if means[OF_EACH][0] > least[0] or means[OF_ALL][1] > least[1]:
            worse.append(row)
    if options.check and worse:
        raise SystemExit(f"others leave less of {', '.join(worse)}")


if __name__ == "__main__":
    main()
