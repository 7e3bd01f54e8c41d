"""An update asks the device for nothing, so that the host goes on while the device computes.

PyTorch's part runs on the meta device, which has no numbers: whoever asks it for one fails, as he
would wait on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from small_defenses import SMALL, THREAT, build, data  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import defenses  # noqa: E402

FEW_WAY = {"distribution": "few-way", "ways": 2, "support": 4, "query": 4}
RIDGE = {**FEW_WAY, "head": "ridge", "inner_loss": "clean"}
ATTACKS = {"distribution": "attacks", "eps_l2": 0.5, "eps_l1": 1.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in SMALL},
    "sgd, clipped and averaged": (
        "pgd-at",
        {"optimizer": "sgd", "gradient_clipping": 1.0, "weight_averaging": 0.9},
    ),
    "meta-gen, a network": ("meta-gen", {"generator": "network", "tasks": 2, "snapshots": 1}),
    "meta-adv, fomaml": ("meta-adv", {"algorithm": "fomaml", "learn_rates": True}),
    "meta-adv, reptile": ("meta-adv", {"algorithm": "reptile"}),
    "meta-adv, attacks": ("meta-adv", ATTACKS),
    "meta-adv, ridge": ("meta-adv", RIDGE),
}
# Those that do ask: where the norm of an update follows from the accuracy before it, and where a
# bank of patterns is kept on the host.
ASK = ("random-norm", "meta-gen")
# Of TensorFlow's kernels those that run more than one compiled function, and one that doesn't.
STEPS = ("pgd-at", "free-at", "mng-ac", "meta-gen, a network", "meta-adv", "meta-adv, ridge", *ASK)


COPIES = torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default


class Waits(Exception):
    """A copy between host and device that the host waits for."""


class NoWaiting(TorchDispatchMode):
    """Refuses such copies."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        places = [one.device for one in args if isinstance(one, torch.Tensor)]
        places += [kwargs["device"]] if kwargs.get("device") else []
        if (
            func in COPIES
            and len({place.type for place in places}) > 1
            and not (kwargs.get("non_blocking") or args[2:3])
        ):
            raise Waits(f"{func} between {places}")
        return func(*args, **kwargs)


def prepared(name: str, parameters: dict[str, Any], model: Any) -> tuple[Any, Any]:
    """A kernel, and what draws for its updates."""
    x, y = data()
    defense = defenses.create(name, THREAT, {**SMALL[name], **parameters}).sized_for(len(x))
    generator, size = np.random.default_rng(0), defense.examples_per_step

    def draws() -> Any:
        rows = slice(None) if defense.draws_from_all else generator.permutation(len(x))[:size]
        return defense.at(defense.draw_augmented(generator, x[rows], y[rows]), 0.5)

    return defense.resume(model).kernel, draws


@pytest.mark.parametrize("case", CASES)
def test_no_update_waits_in_pytorch(case: str) -> None:
    name, parameters = CASES[case]
    kernel, draws = prepared(name, parameters, build("torch").to("meta"))

    def update() -> None:
        loss = kernel.step(draws(), learning_rate=0.01, eps=0.1)
        assert loss.device.type == "meta"

    if case in ASK:
        with pytest.raises((RuntimeError, NotImplementedError), match="meta tensor"):
            update()
        return
    if case == "meta-gen, a network":  # it keeps a snapshot at its first update
        kernel.snapshots.keep(lambda: [np.zeros(p.shape, np.float32) for p in kernel.parameters])
    update()  # which makes the weights of generators
    with NoWaiting():
        update()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By which methods TensorFlow's tensors were asked for their numbers."""
    found: list[str] = []
    kind: Any = next(kind for kind in type(tf.constant(0)).__mro__ if "numpy" in vars(kind))

    def noting(name: str, method: Any) -> Any:
        def noted(*args: Any) -> Any:
            found.append(name)
            return method(*args)

        return noted

    for name in ("numpy", "__float__", "__int__", "__bool__", "__array__"):
        monkeypatch.setattr(kind, name, noting(name, getattr(kind, name)))
    return found


@pytest.mark.parametrize("case", STEPS)
def test_no_update_waits_in_tensorflow(case: str, asked: list[str]) -> None:
    name, parameters = CASES[case]
    kernel, draws = prepared(name, parameters, build("tensorflow"))
    for _ in range(3):  # traced first, then for another number of tasks
        asked.clear()
        kernel.step(draws(), learning_rate=0.01, eps=0.1)
    assert bool(asked) == (case in ASK)
