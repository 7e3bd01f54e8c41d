"""ART's evasion attacks that no suite may name, with the reason."""

from __future__ import annotations

_DETECTORS = "for object detectors, not classifiers"
_SPEECH = "for speech recognition, not images or tables"
_VIDEO = "for video classifiers"
_GUIDE = "needs a guide image for every example, chosen by a person"
_SAME = "ART's pgd and this project's pgd choose it or its like themselves"
_PATCH = "the attack patch does the same in both frameworks"

LEFT_OUT: dict[str, str] = {
    "AdversarialPatch": _PATCH,
    "AdversarialPatchPyTorch": _PATCH,
    "AdversarialPatchTensorFlowV2": _PATCH,
    "AdversarialTexturePyTorch": "for object trackers in video",
    "AutoAttack": "not the published composition (no FAB, untargeted DLR, a fixed step), and needs "
    "the package multiprocess, which ART doesn't install",
    "AutoProjectedGradientDescent": "returns its last iterate, not its best; this project's apgd "
    "follows the paper",
    "BrendelBethgeAttack": "needs the package numba, which ART doesn't install",
    "CarliniWagnerASR": _SPEECH,
    "CompositeAdversarialAttackPyTorch": "PyTorch only, and written for images of 3x32x32 only",
    "DPatch": _DETECTORS,
    "DecisionTreeAttack": "for scikit-learn's decision trees",
    "FeatureAdversariesNumpy": _GUIDE,
    "FeatureAdversariesPyTorch": _GUIDE,
    "FeatureAdversariesTensorFlowV2": _GUIDE,
    "FrameSaliencyAttack": _VIDEO,
    "GRAPHITEBlackbox": "needs a target image and a mask for every example, chosen by a person, "
    "and OpenCV",
    "GRAPHITEWhiteboxPyTorch": "PyTorch only; needs a mask for every example, and OpenCV",
    "HighConfidenceLowUncertainty": "for GPy's Gaussian processes",
    "HopSkipJump": "takes one example after another and draws from a generator that no seed "
    "reaches; this project's hop-skip-jump takes many at once",
    "ImperceptibleASR": _SPEECH,
    "ImperceptibleASRPyTorch": _SPEECH,
    "LaserAttack": "takes Python objects that draw the beam, which a suite file can't hold",
    "LowProFool": "for tables whose features a person has weighed; its budget is no norm",
    "MalwareGDTensorFlow": "for malware in files",
    "OverTheAirFlickeringPyTorch": _VIDEO,
    "OverloadPyTorch": _DETECTORS,
    "ProjectedGradientDescentNumpy": _SAME,
    "ProjectedGradientDescentPyTorch": _SAME,
    "ProjectedGradientDescentTensorFlowV2": _SAME,
    "RobustDPatch": _DETECTORS,
    "SNAL": _DETECTORS,
    "SquareAttack": "knows no l1, fails on large squares and asks about what is decided; this "
    "project's square follows the paper",
}
