"""Seconds of six attacks with ART alone, with this project, and with torchattacks and Foolbox.

    pip install --target peers --no-deps torchattacks foolbox eagerpy requests GitPython gitdb smmap
    PYTHONPATH=peers python tests/performance/attack_speed.py --data-dir DIR --weights FILE

MNIST and the model `cnn`, whose weights are a `weights.safetensors` that `bench run` left; without
any it is trained here for an epoch. ART's side is its attack on its estimator as its users set it
up (the plain module and NCHW images on PyTorch), ours the attack of the same name in a suite on our
estimator, both with the same arguments and batches. A row says seconds, their ratio, and the share
of examples that hold within the budget. `--examples` for the quick attacks, `--few` for DeepFool,
C&W and HopSkipJump. Exits with 1 where the median ratio is below 2.5 (PyTorch) or 4 (TensorFlow),
any is below 1, or a peer is faster and no weaker.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import statistics
import time
from pathlib import Path

import numpy as np

from benchmark import datasets, frameworks, models

frameworks.import_torch_first()

import art.attacks.evasion as evasion  # noqa: E402
import torch  # noqa: E402
from art.estimators.classification import PyTorchClassifier, TensorFlowV2Classifier  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
import defenses  # noqa: E402
from benchmark.attacks.creating import create  # noqa: E402
from benchmark.attacks.suites import AttackSpec  # noqa: E402
from benchmark.estimators.passes import CHUNK  # noqa: E402

TARGETS = {"torch": 2.5, "tensorflow": 4.0}
ORDERS = {"linf": np.inf, "l2": 2}
EPS = {"linf": 0.3, "l2": 2.0}
_BATCHES = {"batch_size": CHUNK, "verbose": False}

# Name: norm, attack of a suite, ART's class, arguments of both, arguments of ART's alone, and
# whether it is run on few examples.
ROWS = {
    "PGD-40": (
        "linf", "pgd", "ProjectedGradientDescent",
        {"max_iter": 40, "eps_step": 0.03, "num_random_init": 1}, {"eps": 0.3} | _BATCHES, False,
    ),
    "APGD-100": (
        "linf", "apgd", "AutoProjectedGradientDescent",
        {"max_iter": 100, "eps_step": 0.6, "nb_random_init": 1}, {"eps": 0.3} | _BATCHES, False,
    ),
    "Square-500": (
        "linf", "square", "SquareAttack",
        {"max_iter": 500, "p_init": 0.3, "nb_restarts": 1}, {"eps": 0.3} | _BATCHES, False,
    ),
    "DeepFool": ("l2", "deepfool", "DeepFool", {"max_iter": 50}, _BATCHES, True),
    "C&W": (
        "l2", "cw-l2", "CarliniL2Method",
        {"max_iter": 20, "binary_search_steps": 3, "initial_const": 1.0, "learning_rate": 0.1},
        _BATCHES, True,
    ),
    "HopSkipJump": (
        "l2", "hop-skip-jump", "HopSkipJump",
        {"max_iter": 5, "max_eval": 500, "init_eval": 50}, {"norm": 2, "verbose": False}, True,
    ),
}  # fmt: skip


class CastPyTorchClassifier(PyTorchClassifier):
    """ART's own; it takes float32 only, and HopSkipJump passes float64."""

    def predict(self, x, *args, **kwargs):
        return super().predict(np.asarray(x, dtype=np.float32), *args, **kwargs)


def estimators(framework, specification, module, threads):
    """(ART's own, ours) around the same weights."""
    common = {"nb_classes": 10, "clip_values": (0.0, 1.0)}
    shape = {"input_shape": (28, 28, 1), "classes": 10, "device": "cpu"}
    if framework == "torch":
        theirs = CastPyTorchClassifier(
            copy.deepcopy(module), torch.nn.CrossEntropyLoss(), input_shape=(1, 28, 28),
            channels_first=True, device_type="cpu", **common,
        )  # fmt: skip
        return theirs, on_torch.wrap(module, **shape)
    import keras
    import tensorflow as tf

    import benchmark.estimators.tensorflow as on_tensorflow
    import benchmark.models.tensorflow as in_tensorflow

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = in_tensorflow.build(specification, in_torch.get_weights(module))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs = TensorFlowV2Classifier(
        model=model, loss_object=loss, input_shape=(28, 28, 1), **common
    )
    return theirs, on_tensorflow.wrap(model, **shape)


def run_art(row, estimator, x, y, seed):
    _, _, kind, arguments, own, _ = ROWS[row]
    attack = getattr(evasion, kind)(estimator, **arguments, **own)
    frameworks.seed_everything(seed)
    labels = {} if kind == "HopSkipJump" else {"y": np.eye(10, dtype=np.float32)[y]}
    if not estimator.channels_first:
        with np.errstate(all="ignore"):
            return attack.generate(x=x.copy(), **labels)
    images = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    with np.errstate(all="ignore"):
        return attack.generate(x=images, **labels).transpose(0, 2, 3, 1)


def run_ours(row, estimator, x, y, seed):
    norm, name, _, arguments, _, _ = ROWS[row]
    found = x.copy()
    frameworks.seed_everything(seed)
    spec = AttackSpec(name, name, arguments)
    attack = create(spec, estimator, norm, EPS[norm])
    with np.errstate(all="ignore"):
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            found[part] = attack.generate(x=x[part].copy(), y=y[part])
    return found


def peers(module, x, y):
    """Name to (row that it is held against, a function that attacks)."""
    found = {}
    images = torch.tensor(x.transpose(0, 3, 1, 2)).contiguous()
    labels = torch.tensor(y)

    def back(points):
        return np.ascontiguousarray(points.detach().numpy().transpose(0, 2, 3, 1))

    def in_batches(attack):
        parts = [slice(first, first + CHUNK) for first in range(0, len(x), CHUNK)]
        return back(torch.cat([attack(images[part], labels[part]) for part in parts]))

    if importlib.util.find_spec("torchattacks"):
        import torchattacks

        ours = {
            "PGD-40": torchattacks.PGD(module, eps=0.3, alpha=0.03, steps=40),
            "APGD-100": torchattacks.APGD(module, eps=0.3, steps=100, n_restarts=1),
            "Square-500": torchattacks.Square(module, eps=0.3, n_queries=500, p_init=0.3),
        }
        for row, attack in ours.items():
            found[f"torchattacks {row}"] = (row, lambda attack=attack: in_batches(attack))
    if importlib.util.find_spec("foolbox"):
        import foolbox

        model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
        pgd = foolbox.attacks.LinfPGD(abs_stepsize=0.03, steps=40, random_start=True)
        found["Foolbox PGD-40"] = (
            "PGD-40",
            lambda: in_batches(lambda some, of: pgd(model, some, of, epsilons=0.3)[1]),
        )
    return found


def held(estimator, norm, x, y, found):
    """The share of examples with no adversarial example within the budget."""
    difference = np.abs(found.astype(np.float64) - x).reshape(len(x), -1)
    inside = np.linalg.norm(difference, ORDERS[norm], axis=1) <= EPS[norm] * (1 + 1e-5)
    wrong = estimator.predict(found).argmax(axis=1) != y
    return float((~(inside & wrong)).mean())


def timed(clock, run, *arguments):
    started = clock()
    found = run(*arguments)
    return found, clock() - started


def trained(options, data):
    specification = models.specification("cnn", data.input_shape, data.classes)
    module = in_torch.build(specification, specification.initial_weights(0))
    if options.weights:
        in_torch.load_weights(module, options.weights)
    else:
        defense = defenses.create("fgsm-at", defenses.Threat("linf", 0.3), {})
        defense.fit(module, data.x_train, data.y_train, epochs=1, seed=0)
    return specification, module.eval()


def parsed():
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--few", type=int, default=200)
    parser.add_argument("--attacks", default=",".join(ROWS))
    parser.add_argument("--frameworks", default="torch,tensorflow")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument(
        "--processor-time", action="store_true", help="instead of time; for a busy machine"
    )
    return parser.parse_args()


def main():
    options = parsed()
    clock = time.process_time if options.processor_time else time.perf_counter
    torch.set_num_threads(options.threads)
    data = datasets.load("mnist", data_dir=options.data_dir)
    specification, module = trained(options, data)
    judge = on_torch.wrap(module, input_shape=data.input_shape, classes=10, device="cpu")
    right = judge.predict(data.x_test[:5000]).argmax(axis=1) == data.y_test[:5000]
    x, y = data.x_test[:5000][right], data.y_test[:5000][right]
    missed, own = False, {}
    for framework in options.frameworks.split(","):
        theirs, ours = estimators(framework, specification, module, options.threads)
        ratios = []
        for row in options.attacks.split(","):
            norm, few = ROWS[row][0], ROWS[row][5]
            some = slice(0, options.few if few else options.examples)
            run_ours(row, ours, x[:2], y[:2], 0)  # compiles
            found, fast = timed(clock, run_ours, row, ours, x[some], y[some], 0)
            left, seconds = timed(clock, run_art, row, theirs, x[some], y[some], 0)
            ratios.append(seconds / fast)
            strength = [held(judge, norm, x[some], y[some], points) for points in (left, found)]
            own[framework, row] = (fast, strength[1])
            print(
                f"{framework:11}{row:12} ART {seconds:7.1f} s, {strength[0]:6.1%} hold; ours "
                f"{fast:7.1f} s, {strength[1]:6.1%}; ratio {ratios[-1]:.1f}",
                flush=True,
            )
        middle = statistics.median(ratios)
        missed |= middle < TARGETS[framework] or min(ratios) < 1
        print(f"{framework:11}median ratio {middle:.1f} (target {TARGETS[framework]})")
    for row in options.attacks.split(","):
        if ("torch", row) in own and ("tensorflow", row) in own:
            ratio = own["tensorflow", row][0] / own["torch", row][0]
            print(f"{row:12} TensorFlow takes {ratio:.2f} times as long as PyTorch (target 1.5)")
    if "torch" in options.frameworks and not options.no_peers:
        some = slice(0, options.examples)
        for name, (row, attack) in peers(module, x[some], y[some]).items():
            if ("torch", row) not in own:
                continue
            found, seconds = timed(clock, attack)
            strength = held(judge, "linf", x[some], y[some], found)
            fast, left = own["torch", row]
            missed |= seconds < fast and strength <= left
            print(
                f"{name:24} {seconds:7.1f} s, {strength:6.1%} hold; ours {fast:7.1f} s, "
                f"{left:6.1%}; ratio {seconds / fast:.1f}",
                flush=True,
            )
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
