"""Our trainings against ART's own, on torch: robust accuracy and seconds an epoch, in one run.

    BENCH_DATA_DIR=... python tests/performance/against_art_trainers.py [--epochs N] [--seed S ...]

MNIST under linf 0.3, model `cnn-small`, the same initial weights, epochs, batch size and attack
budget on both sides; ART's trainers get Adam at our base rate. Both sides are attacked by the same
PGD-40 on the same 1,000 test examples. Each pair is trained one after the other. Exits with 1 when
ours is less robust than ART's by more than the 95 % interval of the difference, or takes more than
half of its time.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

from benchmark import datasets, frameworks, models

EPS, STEPS, STEP_SIZE, BATCH, RATE = 0.3, 7, 0.1, 128, 1e-3
PAIRS = ("fgsm-rs", "pgd-at", "trades", "awp")
MOST_TIME = 0.5


def make_classifier(seed):
    """ART's own classifier around the model that ours trains too; takes NCHW."""
    import torch
    from art.estimators.classification import PyTorchClassifier

    from benchmark.models import pytorch

    specification = models.specification("cnn-small", (28, 28, 1), 10)
    model = pytorch.build(specification, specification.initial_weights(seed))
    return PyTorchClassifier(
        model,
        torch.nn.CrossEntropyLoss(),
        input_shape=(1, 28, 28),
        nb_classes=10,
        optimizer=torch.optim.Adam(model.parameters(), lr=RATE),
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def train_with_art(name, classifier, seed, x, y, epochs):
    """Train as ART does; the model is trained in place."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.defences import trainer

    attack = ProjectedGradientDescent(
        classifier,
        eps=EPS,
        eps_step=STEP_SIZE,
        max_iter=STEPS,
        num_random_init=1,
        batch_size=BATCH,
        verbose=False,
    )
    if name == "fgsm-rs":
        art = trainer.AdversarialTrainerFBFPyTorch(classifier, eps=EPS)
    elif name == "pgd-at":
        art = trainer.AdversarialTrainerMadryPGD(
            classifier, eps=EPS, eps_step=STEP_SIZE, max_iter=STEPS, num_random_init=1
        )
    elif name == "trades":
        art = trainer.AdversarialTrainerTRADESPyTorch(classifier, attack, beta=6.0)
    else:
        proxy = make_classifier(seed)
        art = trainer.AdversarialTrainerAWPPyTorch(
            classifier, proxy, attack, mode="PGD", gamma=0.005, beta=6.0, warmup=0
        )
    art.fit(x.transpose(0, 3, 1, 2).copy(), np.eye(10)[y], batch_size=BATCH, nb_epochs=epochs)


def train_ours(name, model, seed, x, y, epochs):
    """Train as a user of this project would."""
    import defenses

    parameters = {"learning_rate": RATE, "batch_size": BATCH}
    if name != "fgsm-rs":
        parameters["attack_steps"] = STEPS
    defense = defenses.create(name, defenses.Threat("linf", EPS), parameters)
    defense.fit(model, x, y, epochs=epochs, seed=seed)


def robust(model, x, y):
    """Which examples the model keeps under PGD-40 (one restart)."""
    from benchmark.attacks.running import Target, run_attack
    from benchmark.attacks.suites import load_suite
    from benchmark.estimators import pytorch

    estimator = pytorch.wrap(model, input_shape=(28, 28, 1), classes=10, device="cpu")
    prediction = estimator.predict(x).argmax(axis=1)
    target = Target(estimator, x, y, prediction, np.arange(len(x)))
    spec = next(spec for spec in load_suite("quick").attacks if spec.name == "pgd")
    _, arrays = run_attack(spec, target, key="pgd", norm="linf", eps=EPS, seed=0)
    return arrays["clean_correct"] & ~arrays["success"]


def compare(name, seed, data, epochs):
    """(robust of ours, robust of ART's, seconds an epoch of ours, of ART's)."""
    x_test, y_test = data.x_test[:1000], data.y_test[:1000]
    results = []
    for train in (train_ours, train_with_art):
        frameworks.seed_everything(seed)
        classifier = make_classifier(seed)
        subject = classifier.model if train is train_ours else classifier
        started = time.perf_counter()
        train(name, subject, seed, data.x_train, data.y_train, epochs)
        seconds = (time.perf_counter() - started) / epochs
        results.append((robust(classifier.model, x_test, y_test), seconds))
    (ours, our_seconds), (theirs, their_seconds) = results
    return ours, theirs, our_seconds, their_seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=PAIRS)
    options = parser.parse_args()
    frameworks.prepare("torch", device="cpu", threads=options.threads)
    data = datasets.load("mnist", data_dir=Path(os.environ["BENCH_DATA_DIR"]))
    missed = False
    for name in options.only:
        runs = [compare(name, seed, data, options.epochs) for seed in options.seed]
        ours, theirs = (np.concatenate([run[side] for run in runs]) for side in (0, 1))
        difference = ours.astype(float) - theirs
        margin = 1.96 * difference.std() / np.sqrt(len(difference))
        ratio = float(np.median([run[2] / run[3] for run in runs]))
        missed |= difference.mean() < -margin or ratio > MOST_TIME
        print(
            f"{name}: robust {ours.mean():.1%} against {theirs.mean():.1%} "
            f"(difference {difference.mean():+.1%} ± {margin:.1%}), "
            f"{runs[0][2]:.1f} s an epoch against {runs[0][3]:.1f} s (ratio {ratio:.2f})",
            flush=True,
        )
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
