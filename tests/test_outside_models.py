"""Models as people bring them: called as their authors call them, or refused with the way out."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import benchmark.estimators.tensorflow as on_tensorflow  # noqa: E402
import benchmark.models.pytorch as in_torch  # noqa: E402
from benchmark import models  # noqa: E402
from benchmark.errors import ModelError  # noqa: E402
from benchmark.external import loading, trial  # noqa: E402
from benchmark.external.model import ExternalModel  # noqa: E402

SHAPE, CLASSES = (6, 6, 3), 4
SIZE = int(np.prod(SHAPE))
WEIGHT = np.random.default_rng(1).normal(0, 0.2, (CLASSES, SIZE)).astype(np.float32)


class Net(nn.Module):
    """A linear model: `before` makes rows of its images, `after` something of its logits."""

    def __init__(self, before=lambda x: x.flatten(1), after=lambda z: z, classes=CLASSES):
        super().__init__()
        self.linear = nn.Linear(SIZE, classes)
        self.before, self.after = before, after
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(WEIGHT[:classes]))
            self.linear.bias.zero_()

    def forward(self, x):
        return self.after(self.linear(self.before(x)))


class Convolution(nn.Module):
    """What autocast computes in bfloat16, and hands out in float32."""

    def __init__(self, autocast):
        super().__init__()
        self.autocast, self.linear = autocast, Net()
        self.convolution = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.convolution.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            return self.linear(self.convolution(x)).float()


def data(count=12, shape=SHAPE):
    generator = np.random.default_rng(0)
    x = generator.random((count, *shape), dtype=np.float32)
    return x, generator.integers(0, CLASSES, count)


def estimator(model, framework="torch", **given):
    """The model as attacks see it."""
    conventions = ExternalModel("theirs", **{"channels": "first", "outputs": "logits", **given})
    if framework == "tensorflow":
        conventions = dataclasses.replace(conventions, channels="last")
    around = loading.kernel(framework).adapted(model, conventions, input_shape=SHAPE, device="cpu")
    wrap = on_torch.wrap if framework == "torch" else on_tensorflow.wrap
    return wrap(around, input_shape=SHAPE, classes=CLASSES, device="cpu")


def findings(model, count=32, classes=CLASSES, monkeypatch=None, **given):
    """What the check before a run finds; `model` stands where a builder would have made it."""
    framework = "torch" if isinstance(model, nn.Module) else "tensorflow"
    monkeypatch.setattr(loading, "load_external", lambda *_: loading.Loaded(model, framework))
    x, y = data(count)
    settings = ExternalModel("theirs", model="nets:net", **given)
    return trial.result_of(trial.Trial(settings, x, y % classes, classes))


@pytest.fixture
def found(monkeypatch):
    """`findings`, told where a builder is called."""
    return lambda model, **settings: findings(model, monkeypatch=monkeypatch, **settings)


FLATTENED = {
    "view": lambda x: x.view(x.size(0), -1),
    "view by pixels": lambda x: x.view(-1, SIZE),
    "strides": lambda x: x.as_strided((len(x), SIZE), (SIZE, 1)),
}


@pytest.mark.parametrize("flatten", FLATTENED.values(), ids=FLATTENED)
def test_images_come_contiguous_as_in_the_author_s_own_loop(flatten):
    x, y = data()
    ours, plain = estimator(Net(flatten)), estimator(Net())
    assert np.array_equal(ours.predict(x), plain.predict(x))
    assert np.array_equal(ours.loss_gradient(x, y), plain.loss_gradient(x, y))
    assert np.array_equal(ours.class_gradient(x), plain.class_gradient(x))


def test_a_model_of_channels_last_gets_them_contiguous_too():
    x, _ = data()
    ours = estimator(Net(lambda x: x.view(x.size(0), -1)), channels="last")
    assert np.allclose(ours.predict(x), x.reshape(len(x), -1) @ WEIGHT.T, atol=1e-5)


@pytest.mark.parametrize("shape", [SHAPE, (6, 6, 1), (SIZE,)])
def test_a_model_that_works_in_place_leaves_the_caller_s_array_alone(shape):
    x = data(shape=shape)[0]
    before = x.copy()
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Threshold(2, 0, inplace=True))
    on_torch.wrap(model, input_shape=shape, classes=CLASSES, device="cpu").predict(x)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_model_that_normalises_its_images_in_place_can_be_attacked(layout):
    """Also in the layout of `channels_last`, which the caller's array has already."""

    class Normalising(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 2, 3), nn.Linear(32, CLASSES)

        def forward(self, x):
            return self.last(self.first(x.sub_(0.5).div_(0.2)).flatten(1))

    x, y = data()
    before, model = x.copy(), Normalising().to(memory_format=layout)
    ours = on_torch.wrap(model, input_shape=SHAPE, classes=CLASSES, device="cpu")
    first, again = ours.predict(x), ours.predict(x)
    assert np.array_equal(x, before)
    assert np.array_equal(first, again)
    assert np.isfinite(ours.loss_gradient(x, y)).all()


def test_a_tensor_that_a_model_keeps_of_its_first_pass_serves_gradients():
    made = {}

    def scaled(x):
        made.setdefault("scale", torch.linspace(1, 1, SIZE))
        return x.flatten(1) * made["scale"]

    x, y = data()
    ours, plain = estimator(Net(scaled)), estimator(Net())
    assert np.array_equal(ours.predict(x), plain.predict(x))
    assert np.array_equal(ours.loss_gradient(x, y), plain.loss_gradient(x, y))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_a_model_gets_the_memory_layout_of_its_own_weights(layout):
    seen = []
    model = nn.Sequential(nn.Conv2d(3, CLASSES, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.to(memory_format=layout).register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    estimator(model).predict(data()[0])
    assert seen[-1].is_contiguous(memory_format=layout)


@pytest.mark.parametrize("name", ["cnn", "cnn-small"])
def test_built_in_models_keep_the_view_that_costs_no_copy(name):
    seen = []
    specification = models.specification(name, SHAPE, CLASSES)
    model = in_torch.build(specification, specification.initial_weights(0))
    model.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    x = torch.from_numpy(data()[0])
    on_torch.ChannelsLast(model)(x)
    assert seen[0].data_ptr() == x.data_ptr()


TYPES = {
    "autocast": lambda: Convolution(autocast=True),
    "bfloat16 logits": lambda: Net(after=lambda z: z.bfloat16()),
    "double weights": lambda: Net().double(),
    "half weights": lambda: Net().half(),
    "double inside": lambda: nn.Sequential(Cast(torch.float64), Net().double(), Cast()),
    "bfloat16 inside": lambda: nn.Sequential(Cast(torch.bfloat16), Net().bfloat16(), Cast()),
}


class Cast(nn.Module):
    def __init__(self, kind=torch.float32):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        return x.to(self.kind)


@pytest.mark.parametrize("make", TYPES.values(), ids=TYPES)
def test_torch_models_of_other_types_are_attacked_up_to_rounding(make):
    x, y = data()
    ours, plain = estimator(make()), estimator(Net())
    weigh = lambda logits, part: np.ones_like(logits)  # noqa: E731
    for one, other in (
        (ours.predict(x), plain.predict(x)),
        (ours.loss_gradient(x, y), plain.loss_gradient(x, y)),
        (ours.class_gradient(x), plain.class_gradient(x)),
        (ours.logits_and_gradient(x, weigh)[1], plain.logits_and_gradient(x, weigh)[1]),
        (ours.compute_loss(x, y), plain.compute_loss(x, y)),
    ):
        assert one.dtype == np.float32
        assert np.abs(one - other).max() < 0.03 * np.abs(other).max()


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_a_model_keeps_the_types_of_its_weights(kind):
    model = Net().to(kind)
    estimator(model).predict(data()[0])
    assert {value.dtype for value in model.parameters()} == {kind}


def linear(policy):
    model = keras.Sequential(
        [
            keras.Input(SHAPE, dtype="float64" if policy == "float64" else None),
            keras.layers.Flatten(dtype=policy),
            keras.layers.Dense(CLASSES, use_bias=False, dtype=policy),
        ]
    )
    model.layers[-1].set_weights([WEIGHT.T])
    return model


@pytest.fixture
def policy():
    """Sets Keras's policy as a builder may, and puts it back."""
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("stays", [False, True], ids=["layers", "global policy"])
def test_keras_models_of_other_types_are_attacked_up_to_rounding(policy, name, stays):
    x, y = data()
    plain = estimator(linear("float32"), "tensorflow")
    expected = plain.predict(x), plain.loss_gradient(x, y), plain.class_gradient(x)
    if stays:
        policy(name)
    ours = estimator(linear(name), "tensorflow")
    gradients = ours.loss_gradient(x, y), ours.class_gradient(x)
    for one, other in zip((ours.predict(x), *gradients), expected, strict=True):
        assert one.dtype == np.float32
        assert np.abs(one - other).max() < 0.03 * np.abs(other).max()


def tensor(x):
    return torch.zeros(len(x), CLASSES)


OUTPUTS = {
    "tuple": (lambda z: (z, z[:, :1]), "'tuple'; the first of its 2 outputs is taken"),
    "list": (lambda z: [z], "'list'; the first of its 1 outputs is taken"),
    "one entry": (lambda z: {"out": z}, "'dict'; 'out' of its outputs is taken"),
    "logits entry": (lambda z: {"loss": z.sum(), "logits": z}, "'logits' of its outputs"),
    "object": (lambda z: types.SimpleNamespace(logits=z), "'logits' of its outputs"),
}


@pytest.mark.parametrize(("after", "told"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_around_the_logits_are_taken_off_with_a_line(found, after, told):
    assert any(told in notice for notice in found(Net(after=after)).notices)
    x, y = data()
    ours, plain = estimator(Net(after=after)), estimator(Net())
    assert np.array_equal(ours.loss_gradient(x, y), plain.loss_gradient(x, y))


class Several(keras.Model):
    """A subclassed Keras model whose outputs stand in a dictionary."""

    def __init__(self):
        super().__init__()
        self.linear = linear("float32")

    def call(self, x):
        logits = self.linear(x)
        return {"features": x, "logits": logits}


def test_keras_outputs_around_the_logits_are_taken_off_with_a_line(found):
    assert any("'logits' of its outputs" in notice for notice in found(Several()).notices)
    x, y = data()
    plain = estimator(linear("float32"), "tensorflow")
    ours = estimator(Several(), "tensorflow")
    assert np.allclose(ours.loss_gradient(x, y), plain.loss_gradient(x, y))


class Eager(keras.Model):
    """Runs in NumPy, which only works outside of tf.function."""

    def call(self, x):
        return tf.constant(x.numpy().reshape(len(x), -1) @ WEIGHT.T)


def whole_numbers():
    return keras.Sequential([keras.Input(SHAPE, dtype="uint8"), keras.layers.Flatten()])


REFUSED = {
    "uint8 input": (whole_numbers, "input is of type uint8, .* floating-point type"),
    "batches of 32": (lambda: Net(lambda x: x.reshape(32, SIZE)), "32 examples at a time, but not"),
    "squeezed": (lambda: Net(after=lambda z: z.squeeze()), r"shape \(4,\) for a batch of 1"),
    "numpy": (Eager, "not compiled by tf.function.*: AttributeError: .* no attribute 'numpy'"),
    "dict": (lambda: Net(after=lambda z: {"a": z, "b": z}), "'dict' with a, b .* wrap it"),
    "none": (lambda: Net(after=lambda z: None), "'NoneType' instead of one tensor"),
    "array": (lambda: Net(after=lambda z: z.detach().numpy()), "'ndarray' instead of one tensor"),
    "arrays": (lambda: Net(after=lambda z: (z.detach().numpy(), 1)), "'tuple' instead of one"),
    "nothing": (lambda: Net(after=lambda z: {}), "'dict' instead of one tensor"),
    "complex": (lambda: Net(after=lambda z: z + 0j), "complex numbers .* absolute values"),
    "features first": (lambda: Net(after=lambda z: (z[:, :2], z)), "the first of its 2 outputs"),
}


@pytest.mark.parametrize(("make", "words"), REFUSED.values(), ids=REFUSED)
def test_what_fails_in_attacks_is_refused_before_the_run(found, make, words):
    with pytest.raises(ModelError, match=words) as caught:
        found(make())
    assert str(caught.value).isprintable()


ONE_OUTPUT = {
    "(n, 1)": (lambda z: z, "logits"),
    "(n,)": (lambda z: z[:, 0], "logits"),
    "squeezed": (lambda z: z.squeeze(), "logits"),
    "a sigmoid": (lambda z: z.sigmoid(), "sigmoids"),
    "a sigmoid, squeezed": (lambda z: z.sigmoid().squeeze(1), "sigmoids"),
}


@pytest.mark.parametrize(("after", "kind"), ONE_OUTPUT.values(), ids=ONE_OUTPUT)
def test_one_output_is_taken_for_the_second_of_two_classes(found, after, kind):
    result = found(Net(after=after, classes=1), classes=2)
    assert result.outputs == kind
    assert any("one output an example is taken for class 1" in told for told in result.notices)
    x, _ = data()
    z = Net(classes=1)(torch.from_numpy(x).permute(0, 3, 1, 2)).detach().numpy()
    seen = estimator(Net(after=after, classes=1), "torch", outputs=kind).predict(x)
    assert np.allclose(seen, np.hstack([0 * z, z]), atol=1e-4)


@pytest.mark.parametrize("kind", ["logits", "sigmoids"])
def test_one_output_of_a_keras_model_is_taken_likewise(kind):
    last = keras.layers.Dense(1, activation="sigmoid" if kind == "sigmoids" else None)
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), last])
    x, _ = data()
    z = x.reshape(len(x), -1) @ last.kernel.numpy() + last.bias.numpy()
    seen = estimator(model, "tensorflow", outputs=kind).predict(x)
    assert np.allclose(seen, np.hstack([0 * z, z]), atol=1e-4)


def last_only(x):
    assert x.shape[1:] == SHAPE
    return x.flatten(1)


def never(x):
    raise ValueError("\x1b[1mno images\x1b[0m at all")


@pytest.mark.parametrize(
    ("before", "hint"), [(last_only, True), (never, False)], ids=["other channels", "another cause"]
)
def test_the_channels_are_named_only_where_they_are_the_cause(found, before, hint):
    with pytest.raises(ModelError) as caught:
        found(Net(before))
    assert ("(--channels last works)" in str(caught.value)) == hint
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "right", "told"),
    [(2, 1.0, False), (2, 0.75, False), (2, 0.5, True), (4, 0.25, True), (4, 0.5, False)],
)
def test_a_model_is_told_to_be_near_chance_only_where_it_is(found, classes, right, told):
    labels = torch.from_numpy(data(32)[1] % classes)
    wrong = torch.arange(32) >= right * 32
    answers = nn.functional.one_hot((labels + wrong) % classes, classes).float() * 2

    def after(logits):
        return answers[: len(logits)]

    notices = found(Net(after=after), classes=classes).notices
    assert any("--input-range" in notice for notice in notices) == told


def test_one_sigmoid_is_right_where_it_is_above_a_half(found):
    """As it is attacked, so that no other inputs are proposed for a model that is right."""
    labels = torch.from_numpy(data(32)[1] % 2)
    result = found(Net(after=lambda z: 0.1 + 0.8 * labels[: len(z), None]), classes=2)
    assert (result.outputs, result.accuracy) == ("sigmoids", 1.0)
    assert not any("is right on" in told for told in result.notices)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_an_input_range_scales_pixels_before_the_model(framework):
    x, y = data()
    make = Net if framework == "torch" else (lambda: linear("float32"))
    plain = estimator(make(), framework)
    ours = estimator(make(), framework, input_range=(-1.0, 1.0))
    assert np.allclose(ours.predict(x), plain.predict(2 * x - 1), atol=1e-5)
    gradient = 2 * plain.loss_gradient(2 * x - 1, y)
    assert np.allclose(ours.loss_gradient(x, y), gradient, atol=1e-5)
    both = estimator(make(), framework, input_range=(0.0, 255.0), mean=(127.5,), std=(127.5,))
    assert np.allclose(both.predict(x), ours.predict(x), atol=1e-4)
