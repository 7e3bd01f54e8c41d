"""Our AutoAttack against the reference implementation, on the same weights, in both frameworks.

    pip install git+https://github.com/fra31/auto-attack
    python tests/performance/against_autoattack.py --dataset digits --defense pgd-at,none
    python tests/performance/against_autoattack.py --dataset mnist --data-dir DIR --examples 1000

Each model is trained here, in PyTorch, or read with `--weights FILE.safetensors`; TensorFlow gets
the same weights. Both sides run the version `standard`. A row says the robust accuracy that each
leaves, its seconds of processor time, and ours as a share of the reference's. Exits with 1 where
ours leaves more than 0.3 points of the examples that the reference broke.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmark import datasets, frameworks, models

frameworks.import_torch_first()

import torch  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
import defenses  # noqa: E402
from benchmark.attacks.autoattack.cascade import StandardAutoAttack  # noqa: E402
from benchmark.attacks.geometry import limit  # noqa: E402

TOLERANCE = 0.003
NORMS = {"linf": ("Linf", np.inf), "l2": ("L2", 2), "l1": ("L1", 1)}
# Budgets of l1 beside the data sets' own of linf and l2.
EPS_L1 = {"digits": 2.0, "mnist": 10.0}


def reference():
    try:
        from autoattack import AutoAttack
    except ImportError:
        raise SystemExit(
            "the reference is missing: pip install git+https://github.com/fra31/auto-attack"
        ) from None
    return AutoAttack


def network(options, data, defense):
    """A torch module, trained or read."""
    specification = models.specification(options.model, data.input_shape, data.classes)
    module = in_torch.build(specification, specification.initial_weights(options.seed))
    if options.weights:
        in_torch.load_weights(module, options.weights)
        return specification, module.eval()
    threat = defenses.Threat("linf", datasets.defaults(options.dataset).eps["linf"])
    defenses.create(defense, threat, {}).fit(
        module, data.x_train, data.y_train, epochs=options.epochs, seed=options.seed
    )
    return specification, module.eval()


def estimator(framework, specification, module, data):
    shape = {"input_shape": data.input_shape, "classes": data.classes, "device": "cpu"}
    if framework == "torch":
        return on_torch.wrap(module, **shape)
    import benchmark.estimators.tensorflow as on_tensorflow
    import benchmark.models.tensorflow as in_tensorflow

    model = in_tensorflow.build(specification, in_torch.get_weights(module))
    return on_tensorflow.wrap(model, **shape)


def run_reference(module, norm, eps, x, y, options):
    attack = reference()(
        module, norm=NORMS[norm][0], eps=eps, version="standard", device="cpu",
        verbose=False, seed=options.seed,
    )  # fmt: skip
    attack.square.n_queries = options.queries
    images, labels = torch.tensor(x.transpose(0, 3, 1, 2)).contiguous(), torch.tensor(y)
    found = attack.run_standard_evaluation(images, labels, bs=250)
    return np.ascontiguousarray(found.numpy().transpose(0, 2, 3, 1))


def run_ours(classifier, norm, eps, x, y, options):
    attack = StandardAutoAttack(
        classifier, norm=NORMS[norm][1], eps=eps, seed=options.seed, queries=options.queries
    )
    return attack.generate(x, y)


def robust(classifier, norm, eps, x, y, found):
    """Which examples hold, by this project's own measure of the budget and one judge for all."""
    difference = np.abs(found.astype(np.float64) - x).reshape(len(x), -1)
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    inside = np.linalg.norm(difference, order, axis=1) <= limit(norm, eps, difference.shape[1])
    inside &= (found.min(axis=(1, 2, 3)) >= 0) & (found.max(axis=(1, 2, 3)) <= 1)
    wrong = classifier.predict(found).argmax(axis=1) != y
    return ~(inside & wrong) & (classifier.predict(x).argmax(axis=1) == y)


def timed(run, *arguments):
    started = time.process_time()
    return run(*arguments), time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits", choices=["digits", "mnist"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--defense", default="pgd-at", help="trained here; several with commas")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--weights", type=Path, help="read instead of trained")
    parser.add_argument("--norms", default="linf,l2,l1")
    parser.add_argument("--eps", type=float, help="for all norms, instead of the data set's")
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--queries", type=int, default=5000, help="of Square")
    parser.add_argument("--frameworks", default="torch,tensorflow")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    reference()
    data = datasets.load(options.dataset, data_dir=options.data_dir)
    options.epochs = options.epochs or datasets.defaults(options.dataset).epochs
    x, y = data.x_test[: options.examples], data.y_test[: options.examples]
    missed = False
    for defense in options.defense.split(","):
        specification, module = network(options, data, defense)
        judge = estimator("torch", specification, module, data)
        for norm in options.norms.split(","):
            eps = options.eps or budget(options.dataset, norm)
            found, seconds = timed(run_reference, module, norm, eps, x, y, options)
            held = robust(judge, norm, eps, x, y, found).mean()
            print(
                f"{options.dataset} {options.model} {options.weights or defense}, {norm} {eps:g}, "
                f"{len(x)} examples"
            )
            print(f"  reference   {held:6.1%} in {seconds:.1f} s", flush=True)
            for framework in options.frameworks.split(","):
                classifier = estimator(framework, specification, module, data)
                found, own = timed(run_ours, classifier, norm, eps, x, y, options)
                ours = robust(judge, norm, eps, x, y, found).mean()
                missed |= bool(ours > held + TOLERANCE)
                print(
                    f"  {framework:11} {ours:6.1%} in {own:.1f} s, {own / seconds:.2f} of that",
                    flush=True,
                )
    raise SystemExit(missed)


def budget(dataset, norm):
    return EPS_L1[dataset] if norm == "l1" else datasets.defaults(dataset).eps[norm]


if __name__ == "__main__":
    main()
