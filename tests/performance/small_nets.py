"""The small networks of alpha-beta-CROWN, whose robust accuracy was bounded from both sides.

They are those of the SDP-FO benchmarks (Dathathri et al. 2020): "CNN-A", two convolutions and two
dense layers, adversarially trained without a certified defense.
"""

from __future__ import annotations

from torch import nn


def mnist() -> nn.Module:
    """MNIST's CNN-A, for (1, 28, 28)."""
    return _cnn_a(1, 7)


def cifar() -> nn.Module:
    """CIFAR-10's CNN-A, for (3, 32, 32)."""
    return _cnn_a(3, 8)


def _cnn_a(channels: int, side: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * side * side, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )
