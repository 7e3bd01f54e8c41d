"""The field's scale on a GPU: CIFAR-10, `preact-resnet18`, training in bf16, AutoAttack.

    python tests/performance/gpu.py --data-dir DIR             # within ten minutes
    python tests/performance/gpu.py --data-dir DIR --small     # the same, tiny, on a CPU

DIR holds `train.tar.gz` and `test.tar.gz` with `<split>/<class>/NNNN.jpg`. Parts, each within
`--seconds`:

- `train`: `fgsm-rs` and `pgd-at` (PGD-10), Linf 8/255, with crops and flips, in bf16. Images a
  second of a training's updates against a hand-written loop of the same passes without crops and
  flips, both on data that lie on the device (target: at least 0.9), then as many epochs as fit the
  time, and their accuracies.
- `attack`: which share of a query APGD, FAB and Square take beside the model, by where their points
  are kept; then our AutoAttack on `--examples` against the reference implementation, where its
  package is installed: seconds (target: at most 0.8 of its) and accuracy (target: within 0.3
  points).

Exits with 1 where a target is missed on a GPU; on a CPU figures are printed alone.
"""

from __future__ import annotations

import argparse
import io
import signal
import statistics
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark import frameworks, models

frameworks.import_torch_first()

import torch  # noqa: E402
from host_share import host_shares  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
import defenses  # noqa: E402
from benchmark.attacks.autoattack.cascade import StandardAutoAttack  # noqa: E402
from benchmark.attacks.creating import create  # noqa: E402
from benchmark.attacks.suites import AttackSpec  # noqa: E402
from benchmark.datasets.examples import Examples  # noqa: E402

EPS, BATCH, CLASSES = 8 / 255, 128, 10
# The rate of Wong et al. 2020, "Fast is better than free", which suits few epochs.
SGD = {
    **{"optimizer": "sgd", "learning_rate": 0.2, "schedule": "triangular", "weight_decay": 5e-4},
    **{"crop": 4, "flip": True, "batch_size": BATCH, "eps_warmup": 0.0},
}
# Name: parameters, and the steps of its attack by hand with their length.
DEFENSES = {
    "fgsm-rs": ({"relative_step": 1.25}, 1, 1.25 * EPS),
    "pgd-at": ({"attack_steps": 10, "relative_step": 0.25}, 10, EPS / 4),
}
FASTER, SPEED, POINTS = 0.8, 0.9, 0.003
# Updates that don't count.
FIRST = 3


def images_of(path: Path, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 32, 32, 3) uint8 and labels of an archive, in one random order."""
    with tarfile.open(path) as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".jpg"))
        order = np.random.default_rng(0).permutation(len(names))[:most]
        chosen = {names[place] for place in order}
        contents = {
            member.name: archive.extractfile(member).read()
            for member in archive
            if member.name in chosen
        }
    classes = sorted({name.split("/")[-2] for name in names})
    names = [names[place] for place in order]
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda name: np.asarray(Image.open(io.BytesIO(contents[name]))), names)
        x = np.stack(list(read))
    return x, np.array([classes.index(name.split("/")[-2]) for name in names], dtype=np.int64)


class TooLongError(Exception):
    """A part ran past its limit."""


@contextmanager
def limited(part: str, seconds: float) -> Iterator[None]:
    """Stops a part that outlasts its time, and says so."""

    def stop(*_: object) -> None:
        raise TooLongError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TooLongError:
        print(f"{part}: stopped after {seconds:.0f} s", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def utilisation(device: str) -> Iterator[list[float]]:
    """Takes the card's utilisation in percent twice a second; empty where nothing tells it."""
    found: list[float] = []
    if device != "cuda":
        yield found
        return
    asked = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    with subprocess.Popen([*asked, "-lms", "500"], stdout=subprocess.PIPE, text=True) as watcher:
        reader = threading.Thread(target=lambda: found.extend(map(float, watcher.stdout)))
        reader.start()
        try:
            yield found
        finally:
            watcher.terminate()
            reader.join()


def network(options: argparse.Namespace) -> nn.Module:
    name = "preact-resnet18(width=8)" if options.small else "preact-resnet18"
    specification = models.specification(name, (32, 32, 3), CLASSES)
    return in_torch.build(specification, specification.initial_weights(0)).to(options.device)


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class Clock:
    """Images a second of some updates, after the first ones."""

    def __init__(self, device: str, rounds: int) -> None:
        self.device, self.rounds = device, rounds
        self.updates, self.times = 0, []

    def tick(self, _: object = None) -> None:
        """Called after each update; the device is waited for before the first that counts alone."""
        self.updates += 1
        if self.updates in (FIRST, FIRST + self.rounds):
            synchronise(self.device)
            self.times.append(time.perf_counter())

    def speed(self) -> float:
        started, ended = self.times
        return BATCH * self.rounds / (ended - started)


def speed_by_hand(options: argparse.Namespace, data, attack, rounds: int) -> float:
    """Of the loop that anyone would write."""
    clock, update = Clock(options.device, rounds), by_hand(options, *data, *attack)
    for _ in range(FIRST + rounds):
        update()
        clock.tick()
    return clock.speed()


def speed_of(options: argparse.Namespace, defense, data, rounds: int) -> float:
    """Of a training, with all that it does between its updates."""
    clock, (x, y) = Clock(options.device, rounds), data
    rows = np.arange((FIRST + rounds) * BATCH) % len(y)
    given = {"epochs": 1, "precision": "bf16", "progress": clock.tick}
    defense.fit(network(options), Examples(x, rows), y[rows], **given)
    return clock.speed()


def by_hand(options: argparse.Namespace, x: np.ndarray, y: np.ndarray, steps: int, length: float):
    """An update as anyone would write it, of data that lie on the device."""
    device = options.device
    model = network(options).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    images = torch.from_numpy(x).to(device).permute(0, 3, 1, 2)
    labels = torch.from_numpy(y).to(device)

    def loss_of(point: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return cross_entropy(model(point), target)

    def update() -> None:
        rows = torch.randint(len(labels), (BATCH,), device=device)
        clean, target = images[rows].float() / 255, labels[rows]
        delta = torch.empty_like(clean).uniform_(-EPS, EPS)
        for _ in range(steps):
            point = (clean + delta).clamp(0, 1).requires_grad_()
            slope = torch.autograd.grad(loss_of(point, target), point)[0]
            delta = (delta + length * slope.sign()).clamp(-EPS, EPS)
        optimizer.zero_grad(set_to_none=True)
        loss_of((clean + delta).clamp(0, 1), target).backward()
        optimizer.step()

    return update


def train(name: str, options: argparse.Namespace, data) -> tuple[nn.Module, bool]:
    """Prints a defense's speed and trains; the network, and whether it was fast enough."""
    (x, y), (x_test, y_test) = data
    parameters, *by_steps = DEFENSES[name]
    defense = defenses.create(name, defenses.Threat("linf", EPS), SGD | parameters)
    rounds = 3 if options.small else 30
    bare = speed_by_hand(options, (x, y), by_steps, rounds)
    own = speed_of(options, defense, (x, y), rounds)
    print(f"{name}: {own:.0f} images/s, by hand {bare:.0f}, ratio {own / bare:.2f}", flush=True)
    epochs = int(min(options.epochs, max(1, 0.8 * options.seconds * own / len(y))))
    model = network(options)
    started = time.perf_counter()
    with utilisation(options.device) as used:
        defense.fit(model, Examples(x), y, epochs=epochs, seed=0, precision="bf16")
    seconds = time.perf_counter() - started
    print(
        f"{name}: {epochs} epochs in {seconds:.0f} s, {epochs * len(y) / seconds:.0f} images/s, "
        f"utilisation {f'{statistics.mean(used):.0f} %' if used else 'not measured'}"
    )
    estimator = wrapped(model, options)
    spec = AttackSpec("pgd", "pgd", {"max_iter": 20, "eps_step": "0.25 eps", "num_random_init": 1})
    some = slice(0, options.examples)
    found = create(spec, estimator, "linf", EPS).generate(x_test[some], y_test[some])
    clean, robust = (
        (estimator.predict(points).argmax(axis=1) == y_test[some]).mean()
        for points in (x_test[some], found)
    )
    print(f"{name}: clean {clean:.1%}, PGD-20 {robust:.1%} of {len(found)}", flush=True)
    return model, own >= SPEED * bare


def wrapped(model: nn.Module, options: argparse.Namespace):
    shape = {"input_shape": (32, 32, 3), "classes": CLASSES, "device": options.device}
    return on_torch.wrap(model.eval(), **shape)


def attack(model: nn.Module, options: argparse.Namespace, x: np.ndarray, y: np.ndarray) -> bool:
    """Prints our AutoAttack beside the reference's; whether the targets are met."""
    x, y = x[: options.examples], y[: options.examples]
    estimator, queries = wrapped(model, options), 50 if options.small else 5000
    iterations = 5 if options.small else 100
    host_shares(estimator, x[:250], lambda: synchronise(options.device), steps=iterations // 5)

    def run_ours() -> np.ndarray:
        given = {"norm": np.inf, "eps": EPS, "max_iter": iterations, "queries": queries, "seed": 0}
        return StandardAutoAttack(estimator, **given).generate(x, y)

    def run_reference() -> np.ndarray:
        from autoattack import AutoAttack

        reference = AutoAttack(model, norm="Linf", eps=EPS, device=options.device, verbose=False)
        reference.square.n_queries = queries
        for part in (reference.apgd, reference.apgd_targeted, reference.fab):
            part.n_iter = iterations
        images = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(options.device)
        labels = torch.from_numpy(y).to(options.device)
        found = reference.run_standard_evaluation(images, labels, bs=250)
        return found.cpu().numpy().transpose(0, 2, 3, 1)

    left, seconds = {}, {}
    for name, run in {"ours": run_ours, "reference": run_reference}.items():
        started = time.perf_counter()
        try:
            found = run()
        except ModuleNotFoundError:
            print("no reference: pip install git+https://github.com/fra31/auto-attack")
            return True
        synchronise(options.device)
        seconds[name] = time.perf_counter() - started
        left[name] = (estimator.predict(np.ascontiguousarray(found)).argmax(axis=1) == y).mean()
        print(f"AutoAttack, {name}: {left[name]:.1%} left in {seconds[name]:.0f} s", flush=True)
    ratio = seconds["ours"] / seconds["reference"]
    print(f"AutoAttack: {ratio:.2f} of the reference's time (target at most {FASTER})")
    return bool(ratio <= FASTER and abs(left["ours"] - left["reference"]) <= POINTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="a narrow network and few images")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--epochs", type=int, default=15, help="at most")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=180, help="of each part, at most")
    parser.add_argument("--threads", type=int, default=frameworks.cpus())
    options = parser.parse_args()
    if options.small:
        options.examples, options.epochs = min(options.examples, 40), 1
    options.device = frameworks.prepare("torch", device=options.device, threads=options.threads)
    print(f"device: {frameworks.named(options.device)}, {frameworks.versions('torch')}")
    x, y = images_of(options.data_dir / "train.tar.gz", 512 if options.small else None)
    pixels, y_test = images_of(options.data_dir / "test.tar.gz", options.examples)
    x_test = pixels.astype(np.float32) / 255
    met, model = True, None
    for name in DEFENSES:
        with limited(name, options.seconds):
            model, fast = train(name, options, ((x, y), (x_test, y_test)))
            met &= fast
    if model is not None:
        with limited("attack", options.seconds):
            met &= attack(model, options, x_test, y_test)
    raise SystemExit(options.device == "cuda" and not met)


if __name__ == "__main__":
    main()
