"""ART's evasion attacks through our estimators and through ART's own: a table, and how to compare.

Used by `tests/test_estimator_equality.py`, and whole by `tests/performance/estimator_equality.py`.
ART's own PyTorch estimator is given float32 whatever an attack passes: several pass float64, at
which it raises, and its draws from torch's generator are undone. Nothing else of it is touched.
"""

from __future__ import annotations

import functools
import importlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

import defenses
from benchmark import datasets, frameworks, models

frameworks.import_torch_first()

import art.attacks.evasion as evasion  # noqa: E402
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from art.estimators.classification import PyTorchClassifier, TensorFlowV2Classifier  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.estimators.tensorflow as on_tensorflow  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402

FRAMEWORKS = ("torch", "tensorflow")
CLASSES, SHAPE = 10, (8, 8, 1)


@dataclass(frozen=True)
class Case:
    """One attack.

    Args:
        attack: ART's class, or "module:class" of this project's cure of one.
        arguments: of its constructor.
        impossible: framework to why ART's own estimator can't run it.
        softmax: whether it needs probabilities.
        labels: whether it is given the true labels.
        targets: whether it is given other classes to reach.
        count: examples.
        guide: whether it is given guide images instead of labels.
        channels_first: whether it needs (n, C, H, W).
        tolerance: of pixels.
        slow: whether it is left to the slow evidence.
    """

    attack: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    impossible: Mapping[str, str] = field(default_factory=dict)
    softmax: bool = False
    labels: bool = True
    targets: bool = False
    count: int = 4
    guide: bool = False
    channels_first: bool = False
    tolerance: float = 1e-5
    slow: bool = False


_EPS = {"eps": 0.2}
_QUIET = {"verbose": False}
_ONLY_TORCH = {"tensorflow": "ART has it for PyTorch only"}
_ONLY_TENSORFLOW = {"torch": "ART has it for TensorFlow only"}
_MENDED = "benchmark.attacks.workarounds."
_GEODA = "calls NumPy functions that NumPy 2 has no more"
_PATCH_NUMPY = "refuses clip values that are NumPy's numbers, and ART makes them so"
_FEW = {"max_iter": 3, "batch_size": 4, "verbose": False}
_CW = {
    "binary_search_steps": 2,
    "max_iter": 8,
    "learning_rate": 0.1,
    "initial_const": 10.0,
    "batch_size": 4,
    "verbose": False,
}
_PATCH = {"max_iter": 3, "batch_size": 4, "verbose": False}

CASES: dict[str, Case] = {
    "fgm": Case("FastGradientMethod", _EPS),
    "fgm, l2": Case("FastGradientMethod", _EPS | {"norm": 2}),
    "fgm, l1": Case("FastGradientMethod", _EPS | {"norm": 1}),
    "fgm, minimal": Case("FastGradientMethod", _EPS | {"minimal": True, "eps_step": 0.05}),
    "fgm, targeted": Case("FastGradientMethod", _EPS | {"targeted": True}, targets=True),
    "bim": Case("BasicIterativeMethod", _EPS | {"eps_step": 0.05} | _FEW),
    "pgd": Case("ProjectedGradientDescent", _EPS | {"num_random_init": 2} | _FEW),
    "pgd, l2": Case("ProjectedGradientDescent", {"eps": 0.8, "norm": 2, "eps_step": 0.2} | _FEW),
    "pgd, l1": Case("ProjectedGradientDescent", {"eps": 3.0, "norm": 1, "eps_step": 1.0} | _FEW),
    "pgd, numpy": Case("ProjectedGradientDescentNumpy", _EPS | {"num_random_init": 1} | _FEW),
    "pgd, torch": Case("ProjectedGradientDescentPyTorch", _EPS | _FEW, _ONLY_TORCH),
    "pgd, tensorflow": Case("ProjectedGradientDescentTensorFlowV2", _EPS | _FEW, _ONLY_TENSORFLOW),
    "momentum": Case(
        "MomentumIterativeMethod",
        _EPS | {"eps_step": 0.05} | _FEW,
        {"tensorflow": "raises NotImplementedError"},
    ),
    "apgd": Case(
        "AutoProjectedGradientDescent", _EPS | {"eps_step": 0.4, "nb_random_init": 1} | _FEW
    ),
    "apgd, cross-entropy": Case(
        "AutoProjectedGradientDescent",
        _EPS | {"eps_step": 0.4, "nb_random_init": 1, "loss_type": "cross_entropy"} | _FEW,
    ),
    "apgd, dlr": Case(
        "AutoProjectedGradientDescent",
        _EPS
        | {"eps_step": 0.4, "nb_random_init": 1, "loss_type": "difference_logits_ratio"}
        | _FEW,
    ),
    "acg": Case("AutoConjugateGradient", _EPS | {"eps_step": 0.4, "nb_random_init": 1} | _FEW),
    "racg": Case(
        "RescalingAutoConjugateGradient", _EPS | {"eps_step": 0.4, "nb_random_init": 1} | _FEW
    ),
    "deepfool": Case("DeepFool", {"max_iter": 5, "batch_size": 4, "verbose": False}),
    "deepfool, 3 classes": Case(
        "DeepFool", {"max_iter": 5, "nb_grads": 3, "verbose": False}, slow=True
    ),
    "newtonfool": Case("NewtonFool", _FEW, softmax=True),
    "cw l2": Case("CarliniL2Method", _CW),
    "cw linf": Case(
        "CarliniLInfMethod",
        {"max_iter": 20, "learning_rate": 0.2, "initial_const": 5.0, "largest_const": 6.0} | _QUIET,
        count=2,
        slow=True,
    ),
    "cw l0": Case("CarliniL0Method", _CW | {"binary_search_steps": 1}, count=2, slow=True),
    "elastic net": Case("ElasticNet", _CW),
    "square": Case("SquareAttack", _EPS | {"max_iter": 20, "p_init": 0.3} | _QUIET),
    "simba": Case(
        "SimBA", {"max_iter": 20, "epsilon": 0.3, "order": "random"} | _QUIET, softmax=True, count=2
    ),
    "simba, dct": Case(
        "SimBA",
        {"max_iter": 10, "attack": "dct", "freq_dim": 4, "stride": 2} | _QUIET,
        softmax=True,
        count=2,
    ),
    "zoo": Case(
        "ZooAttack",
        {
            "max_iter": 12,
            "binary_search_steps": 1,
            "learning_rate": 0.5,
            "initial_const": 10.0,
            "nb_parallel": 32,
            "variable_h": 0.1,
            "use_resize": False,
            "use_importance": False,
            "batch_size": 1,
            "verbose": False,
        },
        count=2,
    ),
    "virtual adversarial": Case("VirtualAdversarialMethod", _EPS | _FEW, softmax=True),
    "threshold": Case("ThresholdAttack", {"th": 150, "es": 1, "max_iter": 4} | _QUIET, count=2),
    "pixel": Case("PixelAttack", {"th": 2, "es": 1, "max_iter": 2} | _QUIET, count=2),
    "hop skip jump": Case(
        "HopSkipJump", {"max_iter": 2, "max_eval": 20, "init_eval": 10} | _QUIET, count=2
    ),
    "hop skip jump, linf": Case(
        "HopSkipJump",
        {"max_iter": 2, "max_eval": 20, "init_eval": 10, "norm": np.inf} | _QUIET,
        count=2,
    ),
    "boundary": Case("BoundaryAttack", {"max_iter": 10, "targeted": False} | _QUIET, count=2),
    "sign-opt": Case(
        "SignOPTAttack",
        {"targeted": False, "max_iter": 3, "num_trial": 5, "query_limit": 200} | _QUIET,
        count=2,
    ),
    "geoda": Case(
        "GeoDA", {"max_iter": 60, "sub_dim": 4} | _QUIET, dict.fromkeys(FRAMEWORKS, _GEODA), count=2
    ),
    "geoda, mended": Case(
        _MENDED + "geoda:GeoDA", {"max_iter": 500, "sub_dim": 4} | _QUIET, count=1
    ),
    "momentum, mended": Case(
        _MENDED + "projected_gradient:MomentumIterativeMethod", _EPS | {"eps_step": 0.05} | _FEW
    ),
    "patch, mended": Case(_MENDED + "patch:AdversarialPatch", {"max_iter": 3} | _QUIET),
    "auto-attack": Case(
        "AutoAttack", _EPS, dict.fromkeys(FRAMEWORKS, "needs the package multiprocess")
    ),
    "patch, numpy": Case(
        "AdversarialPatchNumpy", _PATCH, dict.fromkeys(FRAMEWORKS, _PATCH_NUMPY), targets=True
    ),
    "jsma": Case(
        "SaliencyMapMethod", {"theta": 0.5, "gamma": 0.1, "batch_size": 4} | _QUIET, labels=False
    ),
    "jsma, targeted": Case(
        "SaliencyMapMethod", {"theta": 0.5, "gamma": 0.1} | _QUIET, targets=True, count=2
    ),
    "spatial": Case(
        "SpatialTransformation",
        {"max_translation": 20, "num_translations": 2, "max_rotation": 20, "num_rotations": 2}
        | _QUIET,
    ),
    "shadow": Case("ShadowAttack", {"nb_steps": 3, "batch_size": 1} | _QUIET, count=1),
    "wasserstein": Case(
        "Wasserstein",
        {
            "max_iter": 2,
            "conjugate_sinkhorn_max_iter": 5,
            "projected_sinkhorn_max_iter": 5,
            "kernel_size": 3,
            "batch_size": 4,
            "verbose": False,
        },
    ),
    "universal": Case(
        "UniversalPerturbation",
        {
            "attacker": "deepfool",
            "max_iter": 1,
            "eps": 0.3,
            "norm": 2,
            "attacker_params": {"max_iter": 2, "verbose": False},
            "verbose": False,
        },
    ),
    "targeted universal": Case(
        "TargetedUniversalPerturbation",
        {
            "attacker": "fgsm",
            "max_iter": 3,
            "eps": 0.8,
            "norm": np.inf,
            "attacker_params": {"eps": 0.5, "targeted": True},
        },
        targets=True,
    ),
    "feature adversaries": Case(
        "FeatureAdversariesNumpy", {"delta": 0.1, "layer": 0}, labels=False, guide=True, slow=True
    ),
    "patch, torch": Case(
        "AdversarialPatchPyTorch",
        _PATCH | {"patch_shape": (1, 8, 8)},
        _ONLY_TORCH,
        targets=True,
        channels_first=True,
    ),
    "patch, tensorflow": Case(
        "AdversarialPatchTensorFlowV2",
        _PATCH | {"patch_shape": SHAPE},
        _ONLY_TENSORFLOW,
        targets=True,
    ),
}

_DETECTORS = "for object detectors"
_SPEECH = "for speech recognition"
_VIDEO = "for video"
_GUIDE = "as FeatureAdversariesNumpy, with an optimiser of the framework"
_MASK = "needs masks or targets that a person chooses, and OpenCV"

# Attacks of ART's list that are not for these classifiers, or need what is not installed.
LEFT_OUT = {
    "AdversarialPatch": "chooses among the patches of the table",
    "AdversarialTexturePyTorch": _VIDEO,
    "CarliniWagnerASR": _SPEECH,
    "CompositeAdversarialAttackPyTorch": "written for images of 3x32x32",
    "DPatch": _DETECTORS,
    "DecisionTreeAttack": "for scikit-learn's decision trees",
    "FeatureAdversariesPyTorch": _GUIDE,
    "FeatureAdversariesTensorFlowV2": _GUIDE,
    "FrameSaliencyAttack": _VIDEO,
    "GRAPHITEBlackbox": _MASK,
    "GRAPHITEWhiteboxPyTorch": _MASK,
    "HighConfidenceLowUncertainty": "for GPy's Gaussian processes",
    "ImperceptibleASR": _SPEECH,
    "ImperceptibleASRPyTorch": _SPEECH,
    "LaserAttack": "for images of three channels",
    "LowProFool": "for tables",
    "MalwareGDTensorFlow": "for malware in files",
    "OverTheAirFlickeringPyTorch": _VIDEO,
    "OverloadPyTorch": _DETECTORS,
    "RobustDPatch": _DETECTORS,
    "SNAL": _DETECTORS,
}


class CastPyTorchClassifier(PyTorchClassifier):
    """ART's own, given float32, and drawing nothing: its `predict` moves torch's generator."""

    def predict(self, x, *args, **kwargs):
        with torch.random.fork_rng(devices=[]):
            return super().predict(np.asarray(x, dtype=np.float32), *args, **kwargs)

    def loss_gradient(self, x, *args, **kwargs):
        x = x if isinstance(x, torch.Tensor) else np.asarray(x, dtype=np.float32)
        return super().loss_gradient(x, *args, **kwargs)

    def class_gradient(self, x, *args, **kwargs):
        return super().class_gradient(np.asarray(x, dtype=np.float32), *args, **kwargs)


@functools.cache
def trained():
    """The data, a model's specification and its NumPy weights."""
    data = datasets.load("digits")
    specification = models.specification("cnn-small", SHAPE, CLASSES)
    model = in_torch.build(specification, specification.initial_weights(0))
    defense = defenses.create("none", defenses.Threat("linf", 0.1), {})
    defense.fit(model, data.x_train, data.y_train, epochs=2, seed=0)
    return data, specification, in_torch.get_weights(model)


@functools.cache
def pair(framework, softmax, channels_first=False):
    """(ours, ART's own) around one model."""
    _, specification, weights = trained()
    common = {"nb_classes": CLASSES, "input_shape": SHAPE, "clip_values": (0.0, 1.0)}
    if framework == "torch":
        model = in_torch.build(specification, weights)
        model = torch.nn.Sequential(model, torch.nn.Softmax(dim=1)) if softmax else model
        model = model if channels_first else on_torch.ChannelsLast(model)
        common |= {"input_shape": (1, 8, 8)} if channels_first else {}
        common |= {"model": model, "loss": torch.nn.CrossEntropyLoss(), "device_type": "cpu"}
        common |= {"channels_first": channels_first}
        return on_torch.FastPyTorchClassifier(**common), CastPyTorchClassifier(**common)
    model = in_tensorflow.build(specification, weights)
    model = keras.Sequential([model, keras.layers.Softmax()]) if softmax else model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    common |= {"model": model, "loss_object": loss}
    return on_tensorflow.FastTensorFlowV2Classifier(**common), TensorFlowV2Classifier(**common)


def examples(count):
    """Correctly classified ones with their one-hot labels."""
    data, *_ = trained()
    right = pair("torch", False)[0].predict(data.x_test[:]).argmax(axis=1) == data.y_test
    return data.x_test[right][:count], np.eye(CLASSES, dtype=np.float32)[data.y_test[right][:count]]


def attacked(case, estimator):
    """What the attack returns, from seeded draws; its own unseeded generators are seeded too."""
    x, y = examples(case.count)
    x = np.moveaxis(x, -1, 1) if case.channels_first else x
    if case.targets:
        y = np.roll(y, 1, axis=1)
    frameworks.seed_everything(0)
    random.seed(0)
    torch.manual_seed(0)
    tf.random.set_seed(0)
    seeded = np.random.RandomState
    with (
        mock.patch.object(np.random, "RandomState", lambda seed=0: seeded(seed or 0)),
        np.errstate(all="ignore"),
    ):
        module, _, name = case.attack.rpartition(":")
        source = importlib.import_module(module) if module else evasion
        attack = getattr(source, name)(estimator, **case.arguments)
        known = {"y": x[::-1].copy() if case.guide else y} if case.labels or case.guide else {}
        found = attack.generate(x=x.copy(), **known)
    return found[0] if isinstance(found, tuple) else found


def difference(name, framework):
    """(largest difference of a pixel, largest change of a pixel by the attack)."""
    case = CASES[name]
    ours, theirs = (
        attacked(case, one) for one in pair(framework, case.softmax, case.channels_first)
    )
    clean = examples(case.count)[0]
    moved = np.abs(ours - clean).max() if ours.shape == clean.shape else np.abs(ours).max()
    return float(np.abs(ours - theirs).max()), float(moved)
