"""The table of architectures.

`cnn` is the network of the measured speed table; `cnn-small` is that of Wong et al. 2020
("Fast is better than free") for MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmark.models.specification import Conv, Dense, Flatten, Layer, MaxPool, Relu


@dataclass(frozen=True)
class Architecture:
    """An architecture before it knows its input: hidden layers and what they can take."""

    description: str
    layers: tuple[Layer, ...]
    images_only: bool


ARCHITECTURES: dict[str, Architecture] = {
    "cnn": Architecture(
        description="conv 32, pool, conv 64, pool, dense 128 (3x3 kernels)",
        layers=(
            Conv("conv1", filters=32, kernel=3),
            MaxPool("pool1"),
            Relu("relu1"),
            Conv("conv2", filters=64, kernel=3),
            MaxPool("pool2"),
            Relu("relu2"),
            Flatten("flatten"),
            Dense("dense1", units=128),
            Relu("relu3"),
        ),
        images_only=True,
    ),
    "cnn-small": Architecture(
        description="conv 16 and conv 32 (4x4 kernels, stride 2), dense 100 (Wong et al. 2020)",
        layers=(
            Conv("conv1", filters=16, kernel=4, stride=2),
            Relu("relu1"),
            Conv("conv2", filters=32, kernel=4, stride=2),
            Relu("relu2"),
            Flatten("flatten"),
            Dense("dense1", units=100),
            Relu("relu3"),
        ),
        images_only=True,
    ),
    "mlp": Architecture(
        description="dense 256, dense 128; images or tabular data",
        layers=(
            Flatten("flatten"),
            Dense("dense1", units=256),
            Relu("relu1"),
            Dense("dense2", units=128),
            Relu("relu2"),
        ),
        images_only=False,
    ),
}
