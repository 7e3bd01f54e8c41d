"""A provided model: a builder a framework, called with the input shape and the class count."""

from benchmark.models.entry import ModelEntry

TINY = ModelEntry(
    description="one hidden layer of 32",
    builders={
        "torch": "bench_template.model:torch_model",
        "tensorflow": "bench_template.model:keras_model",
    },
)


def torch_model(input_shape, classes):
    """A torch.nn.Module that takes NCHW and gives logits."""
    import math

    from torch import nn

    hidden = nn.Linear(math.prod(input_shape), 32)
    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(32, classes))


def keras_model(input_shape, classes):
    """A keras.Model that takes NHWC and gives logits."""
    import keras

    hidden = keras.layers.Dense(32, activation="relu")
    layers = [keras.Input(input_shape), keras.layers.Flatten(), hidden]
    return keras.Sequential([*layers, keras.layers.Dense(classes)])
