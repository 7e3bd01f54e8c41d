"""Data that lie on the device train what the same data train from the host."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_defenses import SMALL, THREAT, build, data

import defenses
from benchmark.datasets.examples import Examples
from defenses.augmentation import Augmentation
from defenses.kernels import pytorch, tensorflow
from defenses.recipe import Recipe
from defenses.resident.spec import Held, Rows, chunks

FRAMEWORKS = {"torch": pytorch, "tensorflow": tensorflow}
FEW_WAY = {"distribution": "few-way", "ways": 2, "support": 4, "query": 4}
AUGMENTED = {"crop": 2, "flip": True, "cutout": 3}
BYTES = np.random.default_rng(0).integers(0, 256, (48, 6, 6, 1), dtype=np.uint8)
_, Y = data()


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says how many bytes the device has for data."""

    def of(size: int) -> None:
        for kernels in FRAMEWORKS.values():
            monkeypatch.setattr(kernels.Kernel, "room", lambda self: size)

    return of


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[type, str]]:
    """What the examples of each update are, and in which thread they were drawn."""
    found: list[tuple[type, str]] = []
    original = Recipe.draw_augmented

    def draw(self: Recipe, *given: Any) -> Any:
        draws = original(self, *given)
        found.append((type(draws.get("x")), threading.current_thread().name))
        return draws

    monkeypatch.setattr(Recipe, "draw_augmented", draw)
    return found


def weights(framework: str, name: str, x: Any, parameters: Any, **given: Any) -> Any:
    defense = defenses.create(name, THREAT, {**SMALL[name], **parameters})
    return defense.fit(build(framework), x, Y, **{"epochs": 1, **given}).kernel.weights()


def assert_same(found: Any, expected: Any) -> None:
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in SMALL},
    "augmented": ("pgd-at", AUGMENTED),
    "tasks, augmented": ("meta-adv", AUGMENTED),
    "tasks from all": ("meta-adv", FEW_WAY),
    "tasks from all, augmented": ("meta-adv", {**FEW_WAY, **AUGMENTED}),
    "tasks from all, turned": ("meta-adv", {**FEW_WAY, "rotations": True}),
    "a head": ("meta-adv", {**FEW_WAY, "head": "ridge", "inner_loss": "clean", **AUGMENTED}),
    "RandAugment": ("none", {"rand_augment": 1, "cutout": 2}),
}


# The kernels read alike, so that few of them tell of TensorFlow's.
PAIRS = [("torch", case) for case in CASES]
PAIRS += [("tensorflow", case) for case in ("free-at", "augmented", "tasks from all, augmented")]


@pytest.mark.parametrize(("framework", "case"), PAIRS)
def test_weights_are_the_same(framework: str, case: str, room: Any, drawn: list[Any]) -> None:
    name, parameters = CASES[case]
    expected = weights(framework, name, Examples(BYTES), parameters)
    assert {thread for _, thread in drawn} == {"MainThread"}
    drawn.clear()
    room(10**9)
    assert_same(weights(framework, name, Examples(BYTES), parameters), expected)
    assert {thread for _, thread in drawn} == {"ahead_0"}
    on_host = name == "gaussian" or "rotations" in parameters or "rand_augment" in parameters
    assert {kind for kind, _ in drawn} == {np.ndarray if on_host else Rows}


EXTRA = {
    "bytes and bytes": (Examples(BYTES), Examples(BYTES[::-1].copy())),
    "bytes and numbers": (Examples(BYTES), Examples(BYTES)[::-1].copy()),
    "numbers alone": (Examples(BYTES)[:], Examples(BYTES)[::-1].copy()),
}


@pytest.mark.parametrize(("x", "more"), EXTRA.values(), ids=EXTRA)
@pytest.mark.parametrize("name", ["none", "meta-adv"])
def test_extra_data_lie_there_too(name: str, x: Any, more: Any, room: Any, drawn: Any) -> None:
    extra = defenses.Extra(more, Y)
    parameters = FEW_WAY if name == "meta-adv" else {}
    expected = weights("torch", name, x, parameters, extra=extra, epochs=2)
    drawn.clear()
    room(10**9)
    assert_same(weights("torch", name, x, parameters, extra=extra, epochs=2), expected)
    assert {kind for kind, _ in drawn} == {Rows}


SIZE = BYTES.nbytes
FITS = {
    "bytes": (Examples(BYTES), SIZE, {}, Rows),
    "bytes, too many": (Examples(BYTES), SIZE - 1, {}, np.ndarray),
    "numbers": (Examples(BYTES)[:], 4 * SIZE, {}, Rows),
    "numbers, too many": (Examples(BYTES)[:], 4 * SIZE - 1, {}, np.ndarray),
    "less than once": (Examples(BYTES), SIZE, {"epochs": None, "budget_ge": 32}, np.ndarray),
}


@pytest.mark.parametrize(("x", "size", "length", "expected"), FITS.values(), ids=FITS)
def test_they_lie_there_where_they_fit_and_are_all_needed(
    x: Any, size: int, length: Any, expected: type, room: Any, drawn: list[Any]
) -> None:
    room(size)
    weights("torch", "none", x, {}, **length)
    assert {kind for kind, _ in drawn} == {expected}


def test_a_gpu_has_room(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = defenses.create("none", THREAT).resume(build(framework)).kernel
    assert kernel.room() == 0
    if framework == "torch":
        kernel.device = SimpleNamespace(type="cuda")
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (1000, 4000))
        assert kernel.room() == 250
    else:
        monkeypatch.setattr("tensorflow.config.list_logical_devices", lambda kind: [kind])
        assert kernel.room() == 2**30


def test_bytes_are_the_numbers_of_the_host(framework: str) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    kernel = defenses.create("none", THREAT).resume(build(framework)).kernel
    rows = Rows(Held(Examples(every), kernel.upload(chunks(Examples(every)))), np.arange(256))
    assert np.array_equal(np.asarray(kernel.images(rows)).ravel(), Examples(every)[:].ravel())


AUGMENTATIONS = {
    "crop": {"crop": 2},
    "flip": {"flip": True},
    "cutout": {"cutout": 3},
    "an even cutout": {"cutout": 2},
    "all": AUGMENTED,
}


@pytest.mark.parametrize("settings", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_augmented_rows_are_augmented_images(framework: str, settings: Any) -> None:
    x = np.random.default_rng(1).integers(0, 256, (40, 5, 7, 3), dtype=np.uint8)
    kernel = defenses.create("none", THREAT).resume(build(framework)).kernel
    rows = Rows(Held(Examples(x), kernel.upload(chunks(Examples(x)))), np.arange(40))
    change = Augmentation(**settings)
    expected = change(np.random.default_rng(2), Examples(x)[:])
    found = change(np.random.default_rng(2), rows)
    on_device = np.asarray(kernel.images(found[3:20]))
    on_device = on_device.transpose(0, 2, 3, 1) if framework == "torch" else on_device
    assert np.array_equal(np.asarray(found), expected)
    assert np.array_equal(on_device, expected[3:20])


def rows() -> Rows:
    x = Examples(BYTES)[:]
    return Rows(Held(x, None), np.arange(6).reshape(2, 3))


USES = {
    "one row": lambda x: x[1],
    "rows of both": lambda x: x[:, 1:],
    "by numbers": lambda x: x[np.array([1, 0, 1])],
    "end to end": lambda x: x.reshape(-1, *x.shape[2:]),
    "flat": lambda x: x.reshape(6, -1),
    "a channel": lambda x: x[..., 0],
    "a pixel": lambda x: x[:, :, 2, 3],
    "a new axis": lambda x: x[None],
    "arithmetic": lambda x: 1 - 2 * x,
    "with an array": lambda x: np.ones((2, 3, 6, 6, 1)) + x,
    "a method": lambda x: x.mean(axis=0),
    "a function": lambda x: np.clip(x, 0.2, 0.8),
    "a length": len,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_rows_are_as_an_array(use: Any) -> None:
    expected = use(np.asarray(rows()))
    found = use(rows())
    assert np.shape(found) == np.shape(expected)
    assert np.array_equal(np.asarray(found), expected)
