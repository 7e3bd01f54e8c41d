"""Residual networks: one specification, equal numbers in both frameworks, those of the papers."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks, models
from benchmark.errors import ConfigError, ModelError

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

import benchmark.models.pytorch as in_torch  # noqa: E402
import benchmark.models.tensorflow as in_tensorflow  # noqa: E402
from benchmark.models.stored import neutral_weights  # noqa: E402

NETWORKS = {
    "preact": ("preact-resnet18(width=4)", (16, 16, 3)),
    "preact, odd": ("preact-resnet18(width=4)", (13, 9, 3)),
    "preact, grey": ("preact-resnet34(width=2)", (8, 8, 1)),
    "wide": ("wrn-10-1", (16, 16, 3)),
    "wide, group norm and SiLU": ("wrn-10-1(norm=group,activation=silu)", (12, 12, 3)),
    "without residual": ("conv4(width=4)", (13, 9, 3)),
    "layer norm and own pixels": ("wrn-10-1(norm=layer,mean=[0.4,0.5,0.6],std=0.2)", (9, 9, 3)),
}


def moved_weights(specification, dtype="float32"):
    """Initial weights with scales, shifts and running statistics away from their start."""
    generator = np.random.default_rng(7)
    weights = specification.initial_weights(0)
    for name, value in weights.items():
        if value.ndim == 1:
            weights[name] = value + generator.uniform(0, 0.3, value.shape)
    return {name: value.astype(dtype) for name, value in weights.items()}


def pair_of(name, shape, dtype="float32"):
    specification = models.specification(name, shape, 5)
    weights = moved_weights(specification, dtype)
    return in_torch.build(specification, weights), in_tensorflow.build(specification, weights)


def torch_pass(model, x, y, *, training):
    """Logits and the gradient of the summed loss by NHWC inputs."""
    inputs = torch.tensor(x, requires_grad=True)
    logits = model.train(training)(inputs.permute(0, 3, 1, 2))
    loss = cross_entropy(logits, torch.tensor(y), reduction="sum")
    return logits.detach().numpy(), torch.autograd.grad(loss, inputs)[0].numpy()


def keras_pass(model, x, y, *, training):
    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        logits = model(inputs, training=training)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    return logits.numpy(), tape.gradient(loss, inputs).numpy()


def batch(shape, count, dtype="float32"):
    generator = np.random.default_rng(3)
    x = generator.random((count, *shape), np.float32).astype(dtype)
    return x, generator.integers(0, 5, count)


@pytest.mark.parametrize(
    ("dtype", "training", "tolerance"),
    [("float32", False, 1e-5), ("float64", False, 1e-12), ("float64", True, 1e-10)],
    ids=["evaluation in float32", "evaluation in float64", "training in float64"],
)
@pytest.mark.parametrize(("name", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_logits_and_input_gradients_agree(name, shape, dtype, training, tolerance):
    torch_model, keras_model = pair_of(name, shape, dtype)
    x, y = batch(shape, 6, dtype)

    ours = torch_pass(torch_model, x, y, training=training)
    theirs = keras_pass(keras_model, x, y, training=training)

    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one - other).max() <= tolerance * max(1, np.abs(other).max())


@pytest.mark.parametrize(("name", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_weights_and_running_statistics_carry_over_in_both_directions(name, shape):
    specification = models.specification(name, shape, 5)
    others = moved_weights(specification)
    torch_model = in_torch.build(specification, specification.initial_weights(1))
    keras_model = in_tensorflow.build(specification, specification.initial_weights(1))

    in_torch.set_weights(torch_model, others)
    in_tensorflow.set_weights(keras_model, in_torch.get_weights(torch_model))
    there = in_tensorflow.get_weights(keras_model)
    in_torch.set_weights(torch_model, there)
    back = in_torch.get_weights(torch_model)

    assert list(there) == list(back) == list(specification.arrays())
    assert all(np.array_equal(there[key], others[key]) for key in others)
    assert all(np.array_equal(back[key], others[key]) for key in others)


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_saved_weights_are_read_without_their_framework_and_loaded_again(tmp_path, framework):
    specification = models.specification("preact-resnet18(width=2)", (8, 8, 3), 5)
    weights = moved_weights(specification)
    builder = frameworks.part(frameworks.BUILDERS, framework)
    path = tmp_path / f"weights{frameworks.WEIGHTS_SUFFIXES[framework]}"
    builder.save_weights(builder.build(specification, weights), path)
    loaded = builder.build(specification, specification.initial_weights(1))
    builder.load_weights(loaded, path)

    for found in (neutral_weights(path, specification), builder.get_weights(loaded)):
        assert found.keys() == weights.keys()
        assert all(np.array_equal(found[name], weights[name]) for name in weights)


@pytest.mark.parametrize("name", ["mlp", "preact-resnet18(width=2)"])
def test_files_of_weights_do_not_tell_which_model_of_a_process_it_was(tmp_path, name):
    specification = models.specification(name, (8, 8, 1), 3)
    for number in (1, 2):
        model = in_tensorflow.build(specification, specification.initial_weights(0))
        model.save_weights(tmp_path / f"{number}.weights.h5")
    one, two = ((tmp_path / f"{number}.weights.h5").read_bytes() for number in (1, 2))
    assert one == two


def test_the_frameworks_order_parameters_alike():
    """So that learned rates and optimisers' states mean the same layers."""
    torch_model, keras_model = pair_of("preact-resnet18(width=2)", (8, 8, 3))
    names = [name for name, _ in torch_model.named_parameters()]
    of_keras = [in_tensorflow._neutral_name(value) for value in keras_model.trainable_variables]
    assert of_keras == names


def test_a_copy_in_keras_keeps_every_weight():
    _, model = pair_of("preact-resnet18(width=2)", (8, 8, 3))
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    x, _ = batch((8, 8, 3), 4)
    assert np.array_equal(copy(x), model(x))


def test_the_paddings_and_blocks_are_those_of_the_authors_code():
    """A block of Rice et al.'s PreActResNet, written out, with the weights of ours."""
    model, _ = pair_of("preact-resnet18(width=4)", (10, 10, 3))
    state = model.eval().state_dict()
    x = torch.rand(2, 4, 10, 10, generator=torch.Generator().manual_seed(0))
    prefix = "layer2.0."

    def norm(x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        arrays = [state[f"{prefix}{name}.{key}"] for key in keys]
        return torch.nn.functional.batch_norm(x, *arrays, eps=1e-5).relu()

    conv = torch.nn.functional.conv2d
    before = norm(x, "bn1")
    out = conv(before, state[f"{prefix}conv1.weight"], stride=2, padding=1)
    out = conv(norm(out, "bn2"), state[f"{prefix}conv2.weight"], padding=1)
    expected = out + conv(before, state[f"{prefix}shortcut.0.weight"], stride=2)

    assert torch.allclose(model.layer2[0](x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "count"), [("preact-resnet18", 11_172_170), ("wrn-28-10", 36_479_194)]
)
def test_the_sizes_are_the_published_ones(name, count):
    assert models.specification(name, (32, 32, 3), 10).weights == count


@pytest.mark.parametrize("norm", ["batch", "group", "layer"])
@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_second_derivatives_are_those_of_finite_differences(framework, norm):
    """Of a loss's gradient in training mode, along a direction, as a step of MAML has it."""
    specification = models.specification(f"wrn-10-1(norm={norm},activation=silu)", (6, 6, 2), 5)
    model = frameworks.part(frameworks.BUILDERS, framework).build(
        specification, moved_weights(specification, "float64")
    )
    x, y = batch((6, 6, 2), 5, "float64")
    gradient_along = {"torch": in_torch_along, "tensorflow": in_keras_along}[framework]

    first, second = gradient_along(model, x, y)

    generator = np.random.default_rng(4)
    direction, step = generator.normal(size=x.shape), 1e-5
    ends = [gradient_along(model, x + sign * step * direction, y)[0] for sign in (1, -1)]
    expected = (ends[0] - ends[1]) / (2 * step)
    assert (second * direction).sum() == pytest.approx(expected, rel=1e-6)
    assert abs(expected) > 1e-3
    assert np.isfinite(first)


def in_torch_along(model, x, y):
    """The squared length of the loss's gradient by the weights, and its gradient by the inputs."""
    inputs = torch.tensor(x, requires_grad=True)
    loss = cross_entropy(model.train()(inputs.permute(0, 3, 1, 2)), torch.tensor(y))
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    length = sum((value**2).sum() for value in gradients)
    return float(length.detach()), torch.autograd.grad(length, inputs)[0].numpy()


def in_keras_along(model, x, y):
    inputs = tf.constant(x)
    weights = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            logits = model(inputs, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        length = tf.add_n([tf.reduce_sum(value**2) for value in inner.gradient(loss, weights)])
    return float(length), outer.gradient(length, inputs).numpy()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("preact-resnet18(width=64)", "preact-resnet18"),
        ("preact-resnet18(std=0.00001)", "preact-resnet18(std=1.0e-05)"),
        (" preact-resnet18( width = 8, norm=group )", "preact-resnet18(norm=group,width=8)"),
        ("wrn-16-2(mean=[0.5])", "wrn-16-2"),
        ("wrn-16-2(mean=[0.25,0.5,0.75])", "wrn-16-2(mean=[0.25,0.5,0.75])"),
    ],
)
def test_equal_models_have_one_name(given, name):
    assert models.canonical(given) == name
    assert models.canonical(name) == name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("preact-resnet81", "did you mean 'preact-resnet18'"),
        ("wrn-27-10", "6 n + 4"),
        ("wrn-28-0", "a width from 1"),
        ("preact-resnet18(widht=8)", "did you mean 'width'"),
        ("preact-resnet18(width=0)", "from 1 to 1,024, got 0"),
        ("preact-resnet18(norm=instance)", "one of batch, group, layer"),
        ("preact-resnet18(std=0)", "above 0"),
        ("preact-resnet18(mean=red)", "a list of one a channel"),
        ("preact-resnet18(width)", "write its parameters as name=value"),
        ("preact-resnet18(width: 8)", "unknown model"),
        ("cnn(width=8)", "has no parameters"),
    ],
)
def test_a_wrong_name_is_refused_with_what_is_allowed(given, said):
    with pytest.raises(ConfigError, match=said.replace("(", r"\(").replace("+", r"\+")):
        models.canonical(given)


def test_pixels_of_another_number_of_channels_are_refused():
    with pytest.raises(ModelError, match="mean has 2 numbers; give one, or one for each of the"):
        models.specification("wrn-10-1(mean=[0.5,0.4])", (8, 8, 3), 10)
