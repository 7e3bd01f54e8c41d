"""Torch models as people bring them: each trains, or one line says what does."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import frameworks

frameworks.import_torch_first()

import torch  # noqa: E402
from ordinary_models import META_GEN, SETTINGS, THREAT, data, dense, fit, sequential  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

import benchmark.estimators.pytorch as on_torch  # noqa: E402
import defenses  # noqa: E402
from defenses.conventions.pytorch import Caller, copied  # noqa: E402
from defenses.meta.inner.pytorch import StackError, stacked_logits  # noqa: E402
from defenses.subject import recognise  # noqa: E402


class Net(nn.Module):
    """What `work(self, x)` says, with these layers."""

    def __init__(self, work, **layers):
        super().__init__()
        self.work = work
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.work(self, x)


def attention():
    def work(self, x):
        queries, keys, values = self.mix(x[:, 0]).chunk(3, -1)
        return self.last(scaled_dot_product_attention(queries, keys, values).flatten(1))

    return Net(work, mix=nn.Linear(6, 18), last=dense())


def recurrent(kind):
    def work(self, x):
        return self.last(self.first(x[:, 0])[0][:, -1])

    return Net(work, first=kind(6, 5, batch_first=True), last=dense(5))


class Autocast(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), dense(32)
        self.inside = nn.Sequential(*layers)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inside(x)


def in_place(self, x):
    return self.last(x.sub_(0.5).flatten(1))


def kept(self, x):
    """Makes a tensor at its first pass and uses it in all, as position codes often are."""
    if not hasattr(self, "scale"):
        self.scale = torch.linspace(0.5, 1.5, 36)
    return self.last(x.flatten(1) * self.scale)


class Output(dict):
    """As libraries of pretrained models have it."""

    logits = property(lambda self: self["logits"])


def one_layer_twice():
    layer = dense(36, 36)
    return nn.Sequential(nn.Flatten(), layer, nn.Tanh(), layer, dense())


def one_weight_twice():
    first, second = dense(36, 36), dense(36, 36)
    second.weight = first.weight
    return nn.Sequential(nn.Flatten(), first, nn.Tanh(), second, dense())


TORCH = {
    "view": lambda: Net(lambda self, x: self.last(x.view(x.size(0), -1)), last=dense()),
    "unused layer": lambda: Net(
        lambda self, x: self.last(x.flatten(1)), other=dense(), last=dense()
    ),
    "in place": lambda: Net(in_place, last=dense()),
    "keeps a tensor": lambda: Net(kept, last=dense()),
    "autocast": Autocast,
    "bfloat16": lambda: nn.Sequential(nn.Flatten(), dense()).bfloat16(),
    "float64": lambda: nn.Sequential(nn.Flatten(), dense()).double(),
    "under logits": lambda: Net(
        lambda self, x: Output(logits=self.last(x.flatten(1))), last=dense()
    ),
    "data parallel": lambda: nn.DataParallel(nn.Sequential(nn.Flatten(), dense())),
    "unused softmax": lambda: Net(
        lambda self, x: self.last(x.flatten(1)), last=dense(), softmax=nn.Softmax(1)
    ),
    "lazy": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)),
    "a layer twice": one_layer_twice,
    "a weight twice": one_weight_twice,
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("case", TORCH)
def test_a_torch_model_trains(case, name):
    channels = 3 if case == "view" else 1
    x, y = data(channels)
    model = TORCH[case]()
    if case == "view":
        model.last = dense(108)
    before, parameters = x.copy(), list(model.parameters())
    fitted = fit(name, model, x, y, **(META_GEN if name == "meta-gen" else {}))
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    outputs = fitted.predict(x)
    assert outputs.shape == (len(x), 3)
    assert outputs.dtype == (np.float64 if case == "float64" else np.float32)
    assert np.isfinite(outputs).all()
    assert np.array_equal(x, before), "the caller's array was changed"


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("build", [one_layer_twice, one_weight_twice])
def test_tied_weights_follow_those_that_stand_in(build, tasks):
    model, x = build(), torch.rand(tasks, 4, 1, 6, 6)
    call, own = Caller(model), list(model.parameters())
    stack = {name: torch.randn(tasks, *value.shape) for name, value in model.named_parameters()}
    found = stacked_logits(call, stack, x)
    assert all(one is other for one, other in zip(model.parameters(), own, strict=True))
    for task in range(tasks):
        other = build()
        other.load_state_dict({n: v[task] for n, v in stack.items()}, strict=False)
        assert torch.allclose(found[task], other(x[task]), atol=1e-5)


TWICE = {
    "attention": attention,
    "lstm": lambda: recurrent(nn.LSTM),
    "gru": lambda: recurrent(nn.GRU),
    "rnn": lambda: recurrent(nn.RNN),
    "spectral norm": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.spectral_norm(dense())
    ),
    "batch norm without momentum": lambda: nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(36, momentum=None), dense()
    ),
    "a number read back": lambda: Net(
        lambda self, x: self.last(x.flatten(1)) * (1 + 0 * x.detach().sum().item()), last=dense()
    ),
}


@pytest.mark.parametrize("case", TWICE)
def test_second_order_goes_through(case):
    """And takes the step that tasks computed one by one take."""
    x, y = data()
    torch.manual_seed(0)
    model = TWICE[case]()
    alone = fit("meta-adv", copied(model), x, y, chunk=1)
    together = fit("meta-adv", model, x, y)
    assert np.allclose(together.predict(x), alone.predict(x), atol=1e-5)


@pytest.mark.parametrize("name", ["mng-ac", "meta-gen"])
@pytest.mark.parametrize("case", ["attention", "lstm"])
def test_other_second_derivatives_go_through(case, name):
    x, y = data()
    fitted = fit(name, TWICE[case](), x, y, **(META_GEN if name == "meta-gen" else {}))
    assert np.isfinite(fitted.predict(x)).all()


def test_a_chunk_that_was_asked_for_and_can_not_be_is_refused():
    x, y = data()
    with pytest.raises(StackError, match=r"several tasks at once .*; give chunk=1"):
        fit("meta-adv", TWICE["spectral norm"](), x, y, chunk=3)


def test_a_model_without_second_derivative_is_told_what_works():
    def model():
        """Each output is the largest of itself alone, which torch can differentiate once."""

        def work(self, x):
            z = self.last(x.flatten(1))
            lengths = torch.ones(z.numel(), dtype=torch.int64)
            return torch.segment_reduce(z.flatten(), "max", lengths=lengths).reshape(z.shape) ** 2

        return Net(work, last=dense())

    x, y = data()
    with pytest.raises(defenses.DefenseError, match="give algorithm fomaml or reptile"):
        fit("meta-adv", model(), x, y, chunk=1)
    assert fit("meta-adv", model(), x, y, chunk=1, algorithm="fomaml").predict(x).shape == (42, 3)


def test_images_are_contiguous_unless_the_weights_are_channels_last():
    seen = []

    def work(self, x):
        seen.append((x.is_contiguous(), x.is_contiguous(memory_format=torch.channels_last)))
        return self.last(self.first(x).flatten(1))

    x = torch.rand(2, 6, 6, 3).permute(0, 3, 1, 2)
    model = Net(work, first=nn.Conv2d(3, 4, 3), last=dense(64))
    Caller(model)(x)
    Caller(model.to(memory_format=torch.channels_last))(x)
    assert seen == [(True, False), (False, True)]


def test_an_old_weight_norm_can_be_adapted():
    x, y = data()
    with pytest.warns(FutureWarning, match="weight_norm"):
        model = nn.Sequential(nn.Flatten(), nn.utils.weight_norm(dense()))
    fitted = fit("pgd-at", model, x, y)
    assert fitted.adapt(x[:9], y[:9]).predict(x).shape == (42, 3)


def features_kept(self, x):
    """Keeps what it computes on the way, for whoever asks later."""
    self.features = {"all": [torch.tanh(self.first(x.flatten(1)))]}
    return self.last(self.features["all"][0])


@pytest.mark.parametrize("name", ["pgd-at", "meta-adv"])
def test_a_model_that_keeps_its_features_can_be_copied(name):
    """After a pass that left them in a graph, or of several tasks at once."""
    x, y = data()
    model = Net(features_kept, first=dense(36, 5), last=dense(5))
    fitted = fit(name, model, x, y)
    outputs = fitted.predict(x)
    assert fitted.adapt(x[:9], y[:9]).predict(x).shape == (42, 3)
    model(torch.from_numpy(x))
    assert np.array_equal(fitted.adapt(x[:9], y[:9], steps=0).predict(x), outputs)
    on_torch.wrap(model, input_shape=(6, 6, 1), classes=3, device="cpu").copies()


def test_what_a_model_shares_with_itself_its_copy_shares_too():
    model = Net(lambda self, x: self.last(x.flatten(1)), last=dense())
    model.by_name = {"last": model.last.weight}
    copy = copied(model)
    assert copy.by_name["last"] is copy.last.weight
    assert copy.last.weight is not model.last.weight


def test_a_view_of_a_buffer_is_one_in_the_copy():
    model = Net(lambda self, x: self.last(x.flatten(1)), last=dense())
    model.register_buffer("table", torch.arange(6.0))
    model.half = model.table[:3]
    copy = copied(model)
    copy.table.add_(1)
    assert copy.half.tolist() == [1, 2, 3]
    assert model.half.tolist() == [0, 1, 2]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("change", [read_only, lambda x: x[:, ::-1]], ids=["read-only", "flipped"])
def test_arrays_of_any_kind_are_predicted(change):
    x, y = data()
    fitted = fit("none", nn.Sequential(nn.Flatten(), dense()), x, y)
    assert np.array_equal(fitted.predict(change(x)), fitted.predict(change(x).copy()))


def frozen():
    return nn.Sequential(nn.Flatten(), dense()).requires_grad_(False)


def gives(work):
    return Net(lambda self, x: work(self.last(x.flatten(1))), last=dense())


REFUSED = {
    "frozen": (frozen, "no weight of the model wants a gradient, .*requires_grad_"),
    "tuple": (lambda: gives(lambda z: (z, z)), "gives a tuple .*such as model\\(x\\)\\[0\\]"),
    "other mapping": (lambda: gives(lambda z: {"out": z}), "gives a dict instead of one tensor"),
    "one output": (lambda: gives(lambda z: z[:, :1].sigmoid()), "1 output; one logit a class"),
    "softmax in forward": (lambda: gives(lambda z: z.softmax(1)), "gives probabilities"),
    "a map": (lambda: gives(lambda z: z[:, :, None]), "outputs of shape \\(2, 3, 1\\)"),
    "too few": (lambda: nn.Sequential(nn.Flatten(), dense(36, 2)), "labels run from 0 to 2, exp"),
    "other shape": (lambda: nn.Sequential(nn.Conv2d(5, 2, 3)), "can't take 2 NHWC images of shape"),
    "float16": (lambda: nn.Sequential(nn.Flatten(), dense()).half(), "weights are float16"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_a_torch_model_is_refused_in_one_line(build, message):
    with pytest.raises(defenses.DefenseError, match=message) as caught:
        fit("pgd-at", build(), *data())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_labels_from_one_are_named(framework):
    x, y = data()
    model = nn.Sequential(nn.Flatten(), dense()) if framework == "torch" else sequential()
    with pytest.raises(defenses.DefenseError, match="run from 1 to 3, expected 0 to 2; subtract 1"):
        fit("pgd-at", model, x, y % 3 + 1)


ASKED = {
    "labels that the model has not": (
        lambda fitted, x, y: fitted.adapt(x, y + 1),
        "labels run from 1 to 3, expected 0 to 2; subtract 1",
    ),
    "a support of another shape": (
        lambda fitted, x, y: fitted.adapt(x[:, :5], y),
        "can't take 2 NHWC images of shape \\(5, 6, 1\\)",
    ),
    "inputs of another shape": (
        lambda fitted, x, y: fitted.predict(x[:, :5]),
        "can't take 2 NHWC images of shape \\(5, 6, 1\\)",
    ),
    "no inputs": (lambda fitted, x, y: fitted.predict(x[:0]), "there are no examples"),
}


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize(("ask", "told"), ASKED.values(), ids=ASKED)
def test_what_a_trained_model_can_not_take_is_told_in_one_line(framework, ask, told):
    model = nn.Sequential(nn.Flatten(), dense()) if framework == "torch" else sequential()
    x, y = data()
    fitted = fit("pgd-at", model, x, y)

    with pytest.raises(defenses.DefenseError, match=told) as caught:
        ask(fitted, x[:9], y[:9] % 3)
    assert "\n" not in str(caught.value)
    assert "File" not in str(caught.value)  # the cause, and not a traceback that hides it


@pytest.mark.parametrize(
    "given", [np.zeros((9, 6, 6, 1)), (1, 2, 3), 0.1], ids=["array", "three", "number"]
)
def test_validation_that_is_no_pair_is_told(given):
    model, defense = nn.Sequential(nn.Flatten(), dense()), defenses.create("none", THREAT)
    with pytest.raises(defenses.DefenseError, match=r"inputs and labels, \(x, y\), got "):
        defense.fit(model, *data(), epochs=1, validation=given)


def test_a_threat_that_is_none_is_told():
    with pytest.raises(defenses.DefenseError, match=r"threat must be a Threat, .* got 'linf'"):
        defenses.AdversarialTraining(threat="linf")


def test_a_parallel_model_is_trained_itself():
    x, y = data()
    inside = nn.Sequential(nn.Flatten(), dense())
    around = nn.DataParallel(inside)
    fitted = fit("none", around, x, y)
    assert fitted.model is inside
    assert recognise(around).model is inside


def test_inputs_with_nan_are_told_as_such():
    x, y = data()
    x[3, 0, 0, 0] = np.nan
    with pytest.raises(defenses.DefenseError, match="inputs hold NaN; every value must be"):
        fit("pgd-at", nn.Sequential(nn.Flatten(), dense()), x, y)
