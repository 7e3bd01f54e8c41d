"""Our trainings against ART's own, on torch: robust accuracy and seconds an epoch, in one run.

    BENCH_DATA_DIR=... python tests/performance/against_art_trainers.py

Both sides train `cnn` from the same initial weights, on the same MNIST digits, for the same
epochs, batch size and inner attack under linf, and are attacked by the same PGD-40 on the same test
examples. What a user leaves alone stays as each side has it: ours take their default optimiser,
rate and schedule; ART's are given Adam at 1e-3, and their FBF, which sets rates of up to 0.21
itself, the SGD that these rates are for. Each pair is trained one after the other.

Exits with 1 when ours is less robust than ART's by more than the 95 % interval of the difference
(examples paired, over all seeds), or takes more than half of its time.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from benchmark import datasets, frameworks, models
from reports.statistics import across_seeds

STEPS, STEP_SIZE, BATCH, RATE = 5, 1 / 2, 128, 1e-3  # the step as a share of eps
PAIRS = {"fgsm-rs": "FBF", "pgd-at": "MadryPGD", "trades": "TRADES", "awp": "AWP"}
MOST_TIME = 0.5


def make_classifier(seed, name):
    """ART's own classifier around the model that ours trains too; takes NCHW."""
    import torch
    from art.estimators.classification import PyTorchClassifier

    from benchmark.models import pytorch

    specification = models.specification("cnn", (28, 28, 1), 10)
    model = torch.nn.Module()
    # No Sequential: of one, ART's FBF takes the first layer's output for the prediction.
    model.inner = pytorch.build(specification, specification.initial_weights(seed))
    model.forward = model.inner.forward
    weights = list(model.parameters())
    return PyTorchClassifier(
        model,
        torch.nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        optimizer=torch.optim.SGD(weights, lr=RATE, momentum=0.9)
        if name == "fgsm-rs"
        else torch.optim.Adam(weights, lr=RATE),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def train_with_art(name, classifier, seed, x, y, options):
    """Train as ART does; the model is trained in place."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.defences import trainer

    settings = {"eps": options.eps, "eps_step": STEP_SIZE * options.eps, "max_iter": STEPS}
    attack = ProjectedGradientDescent(
        classifier, **settings, num_random_init=1, batch_size=BATCH, verbose=False
    )
    if name == "fgsm-rs":
        art = trainer.AdversarialTrainerFBFPyTorch(classifier, eps=options.eps)
    elif name == "pgd-at":
        art = trainer.AdversarialTrainerMadryPGD(classifier, **settings, num_random_init=1)
    elif name == "trades":
        art = trainer.AdversarialTrainerTRADESPyTorch(classifier, attack, beta=6.0)
    else:
        proxy = make_classifier(seed, name)
        art = trainer.AdversarialTrainerAWPPyTorch(
            classifier, proxy, attack, mode="PGD", gamma=0.01, beta=6.0, warmup=0
        )
    art.fit(
        x.transpose(0, 3, 1, 2).copy(), np.eye(10)[y], batch_size=BATCH, nb_epochs=options.epochs
    )


def train_ours(name, classifier, seed, x, y, options):
    """Train as a user of this project would."""
    import defenses

    parameters = {"batch_size": BATCH}
    if name != "fgsm-rs":
        parameters |= {"attack_steps": STEPS, "relative_step": STEP_SIZE}
    defense = defenses.create(name, defenses.Threat("linf", options.eps), parameters)
    defense.fit(classifier.model, x, y, epochs=options.epochs, seed=seed)


def robust(model, x, y, eps):
    """Which examples the model keeps under PGD-40."""
    from benchmark.attacks.running import Target, run_attack
    from benchmark.attacks.suites import load_suite
    from benchmark.estimators import pytorch

    estimator = pytorch.wrap(model, input_shape=(28, 28, 1), classes=10, device="cpu")
    prediction = estimator.predict(x).argmax(axis=1)
    target = Target(estimator, x, y, prediction, np.arange(len(x)))
    spec = next(spec for spec in load_suite("quick").attacks if spec.name == "pgd")
    record, arrays = run_attack(spec, target, key="pgd", norm="linf", eps=eps, seed=0)
    assert record["status"] == "ok", record["reason"]
    return arrays["clean_correct"] & ~arrays["success"]


def compare(name, seed, data, options):
    """For ours and then ART's: which examples stay right, and seconds an epoch."""
    train, test = slice(options.examples), slice(options.test_examples)
    results = []
    for side in (train_ours, train_with_art):
        frameworks.seed_everything(seed)
        classifier = make_classifier(seed, name)
        started = time.perf_counter()
        side(name, classifier, seed, data.x_train[train], data.y_train[train], options)
        seconds = (time.perf_counter() - started) / options.epochs
        kept = robust(classifier.model, data.x_test[test], data.y_test[test], options.eps)
        results.append((kept, seconds))
    return results


def judge(name, runs):
    """Print a line of the table; whether it misses the target."""
    ours, theirs = (np.array([run[side][0] for run in runs]) for side in (0, 1))
    difference = (ours.astype(float) - theirs).mean(axis=0)  # an example's, over the seeds
    margin = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    seconds, their_seconds = (np.median([run[side][1] for run in runs]) for side in (0, 1))
    ratio = float(np.median([run[0][1] / run[1][1] for run in runs]))
    cells = []
    for kept in (ours, theirs):
        found = across_seeds(kept)
        cells.append(f"{found.mean:.1%} ({found.low:.1%} to {found.high:.1%})")
    print(
        f"| `{name}` against {PAIRS[name]} | {cells[0]} | {cells[1]} | {difference.mean():+.1%} "
        f"± {margin:.1%} | {seconds:.1f} | {their_seconds:.1f} | {ratio:.2f} |",
        flush=True,
    )
    return difference.mean() < -margin or ratio > MOST_TIME


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--examples", type=int, default=6000, help="of the training part")
    parser.add_argument("--test-examples", type=int, default=1000)
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS))
    options = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"  # ART's own progress bars
    frameworks.prepare("torch", device="cpu", threads=options.threads)
    data = datasets.load("mnist", data_dir=Path(os.environ["BENCH_DATA_DIR"]))
    # What frameworks load at the first update is nobody's epoch.
    small = {"epochs": 1, "examples": 2 * BATCH, "test_examples": 2}
    compare(options.only[0], 0, data, argparse.Namespace(**(vars(options) | small)))
    print("| Pair | Robust, ours | Robust, ART's | Difference | s an epoch | ART's | Ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    missed = [
        judge(name, [compare(name, seed, data, options) for seed in options.seed])
        for name in options.only
    ]
    raise SystemExit(any(missed))


if __name__ == "__main__":
    main()
