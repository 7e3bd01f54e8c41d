"""Trust checks: planted defenses are flagged, honest models are not."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmark import datasets, frameworks, models

frameworks.import_torch_first()

import tensorflow as tf  # noqa: E402
import torch  # noqa: E402
from fakes import target_of  # noqa: E402
from traps.keras_traps import KerasAround  # noqa: E402
from traps.torch_traps import Around  # noqa: E402

import defenses  # noqa: E402
from benchmark.attacks.running import run_attack  # noqa: E402
from benchmark.attacks.suites import AttackSpec  # noqa: E402
from benchmark.models import pytorch as torch_models  # noqa: E402
from benchmark.models import tensorflow as keras_models  # noqa: E402
from benchmark.trust import checks, gradients, outputs, roads, scale, search, suite  # noqa: E402
from benchmark.trust.subject import Attacked, Subject  # noqa: E402

SHAPE, CLASSES, EPS = (8, 8, 1), 10, 0.15
EXAMPLES = 100

# The suite `quick`, shorter.
SUITE = (
    AttackSpec("fgsm", "fast-gradient", {}),
    AttackSpec("pgd", "pgd", {"max_iter": 30, "eps_step": "0.1 eps", "num_random_init": 1}),
    AttackSpec("apgd", "apgd", {"max_iter": 30, "eps_step": "2 eps", "nb_random_init": 1}),
    AttackSpec("square", "square", {"max_iter": 150, "p_init": 0.3}),
)

HONEST = {
    "undefended mlp": ("torch", "none", "mlp", 20),
    "undefended cnn": ("torch", "none", "cnn-small", 20),
    "pgd-at": ("torch", "pgd-at", "mlp", 15),
    "gaussian": ("torch", "gaussian", "mlp", 20),
    "tensorflow": ("tensorflow", "none", "mlp", 20),
}


@pytest.fixture(scope="module")
def data():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def trained(data):
    """Models by name, each trained once."""
    made = {}

    def model(name):
        if name not in made:
            framework, defense, architecture, epochs = HONEST[name]
            builder = torch_models if framework == "torch" else keras_models
            specification = models.specification(architecture, SHAPE, CLASSES)
            bare = builder.build(specification, specification.initial_weights(0))
            trainer = defenses.create(defense, defenses.Threat("linf", EPS))
            fitted = trainer.fit(bare, data.x_train, data.y_train, epochs=epochs, seed=0)
            made[name] = fitted.model
        return made[name]

    return model


def subject_of(model, data, *, attacks=SUITE, norm="linf", eps=EPS, **settings):
    """A model, attacked, as trust checks see it."""
    target = target_of(model, data.x_test[:EXAMPLES], data.y_test[:EXAMPLES])
    done = [
        Attacked(*run_attack(spec, target, key=spec.name, norm=norm, eps=eps, seed=0))
        for spec in attacks
    ]
    return Subject(
        target.estimator,
        target.once,
        target.x,
        target.y,
        target.clean_prediction,
        norm,
        eps,
        0,
        done,
        judge=target.judge,
        clean=target.clean,
        **settings,
    )


def flags(subject):
    return {one["name"] for one in checks.run(subject)["checks"] if one["status"] == "flagged"}


@pytest.mark.parametrize("name", HONEST)
def test_honest_models_are_not_flagged(name, trained, data):
    found = checks.run(subject_of(trained(name), data))
    assert [one for one in found["checks"] if one["status"] == "flagged"] == []
    assert [one["name"] for one in found["checks"]] == list(checks.CHECKS)
    assert found["forwards"] > 0


def jpeg(x):
    """Through a JPEG file and back; no gradient comes back."""
    pictures = []
    for image in x.detach().numpy():
        stream = io.BytesIO()
        Image.fromarray((255 * image[0]).round().astype("uint8")).save(stream, "JPEG", quality=75)
        pictures.append(np.asarray(Image.open(stream), dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(pictures))[:, None]


def abstains(z):
    sure = torch.softmax(z, dim=1).amax(dim=1, keepdim=True) > 0.9
    return torch.where(sure, z, torch.full_like(z, torch.nan))


PLANTED = {
    "quantised input": (
        {"before": lambda x: torch.round(7 * x) / 7},
        {"moves with its input", "usable gradients", "white-box beats black-box"},
    ),
    "grey levels": (
        {"before": lambda x: torch.round(255 * x) / 255},
        {"moves with its input", "usable gradients"},
    ),
    "saturated sigmoid": (
        {"before": lambda x: torch.sigmoid(1000 * (x - 0.47))},
        {"usable gradients", "success rises with eps"},
    ),
    "random noise": (
        {"before": lambda x: x + 0.1 * torch.randn_like(x)},
        {"stable outputs"},
    ),
    "JPEG without a gradient": (
        {"before": jpeg},
        {"moves with its input", "usable gradients"},
    ),
    "temperature": (
        {"after": lambda z: 100 * z},
        {"loss in float32's range", "twice the iterations"},
    ),
    "answers by batch": (
        {"before": lambda x: x - 0.3 * (x.mean(dim=0, keepdim=True) if len(x) > 1 else 0.5)},
        {"independent of the batch"},
    ),
    "softmax": (
        {"after": lambda z: torch.softmax(z, dim=1)},
        {"logits, not probabilities"},
    ),
    "abstains by NaN": (
        {"after": abstains},
        {"finite outputs"},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_defenses_are_flagged(name, trained, data):
    around, expected = PLANTED[name]
    subject = subject_of(Around(trained("undefended mlp"), **around), data)
    assert expected <= flags(subject)


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ({"before": lambda x: tf.round(7 * x) / 7}, {"moves with its input", "usable gradients"}),
        ({"before": lambda x: x + tf.random.normal(tf.shape(x), 0, 0.1)}, {"stable outputs"}),
        ({"after": lambda z: 100 * z}, {"loss in float32's range", "twice the iterations"}),
    ],
    ids=["quantised input", "random noise", "temperature"],
)
def test_planted_keras_defenses_are_flagged(around, expected, trained, data):
    subject = subject_of(KerasAround(trained("tensorflow"), **around), data)
    assert expected <= flags(subject)


def test_an_attack_that_cheats_on_its_budget_is_flagged(trained, data, monkeypatch):
    from art.attacks.evasion import FastGradientMethod

    honest = FastGradientMethod.generate

    def cheat(self, x, y=None, **kwargs):
        return x + 1.5 * (honest(self, x, y, **kwargs) - x)

    monkeypatch.setattr(FastGradientMethod, "generate", cheat)
    subject = subject_of(trained("undefended mlp"), data, attacks=SUITE[:2])
    assert flags(subject) == {"budget and box"}


def test_a_stored_example_outside_its_budget_is_flagged(trained, data):
    subject = subject_of(trained("undefended mlp"), data, attacks=SUITE[:1])
    arrays = dict(subject.attacks[0].arrays)
    arrays["sample_adversarial"] = np.clip(arrays["sample_clean"] + 2 * EPS, 0, 1)
    (attack,) = subject.attacks
    moved = [Attacked(attack.record, arrays)]
    finding = suite.budget_and_box(SimpleNamespace(attacks=moved, weights=None))
    assert finding.status == "flagged"
    assert finding.evidence["stored_outside"] == len(arrays["sample_clean"])


@pytest.mark.parametrize(
    ("around", "status"),
    [({}, "passed"), ({"before": lambda x: torch.round(7 * x) / 7}, "flagged")],
    ids=["honest", "quantised"],
)
def test_what_only_square_broke_is_tried_again_by_gradients(around, status, trained, data):
    subject = subject_of(Around(trained("undefended mlp"), **around), data, attacks=SUITE[:1])
    (fgsm,) = subject.attacks
    found = subject.correct if around else fgsm.arrays["success"]
    # A gradient attack that missed half of that.
    fgsm = Attacked(
        fgsm.record, {"success": fgsm.arrays["success"] & (np.arange(EXAMPLES) % 2 == 0)}
    )
    square = Attacked(
        {**fgsm.record, "name": "square", "attack": "SquareAttack", "families": ["score"]},
        {"success": found},
    )
    subject = Subject(**{**vars_of(subject), "attacks": [fgsm, square]})
    finding = suite.white_box_beats_black_box(subject)
    assert finding.status == status
    assert finding.evidence["tried_again"] > 0


def test_an_attack_on_few_examples_tells_of_masked_gradients_too(trained, data, monkeypatch):
    """Of many that gradients leave whole it breaks all 9 that it was run on, and ascent none."""
    subject = subject_of(trained("undefended mlp"), data, attacks=())
    pgd, decision = records(pgd="gradient", hsj="decision")
    some = subject.correct & (subject.correct.cumsum() <= 9)
    few = Attacked(decision.record, {"success": some, "attacked": some})
    subject = Subject(**{**vars_of(subject), "attacks": [pgd, few]})
    monkeypatch.setattr(suite, "ascend", lambda subject, rows, **_: np.zeros(len(rows), bool))
    finding = suite.white_box_beats_black_box(subject)
    assert subject.correct.sum() > 60
    assert finding.status == "flagged"
    assert "9 of 9 examples broke only under attacks without" in finding.sentence


@pytest.mark.parametrize(
    ("record", "steps"),
    [
        ({"attack": "FastGradientMethod", "arguments": {"max_iter": 7}}, 1),
        ({"attack": "Any", "arguments": {"max_iter": 7}}, 7),
        ({"attack": "StandardAutoAttack", "arguments": {}}, 100),
        ({"attack": "Any", "arguments": {"max_iter": 0}}, 100),
    ],
    ids=["one step", "told", "not told", "without a limit"],
)
def test_the_iterations_of_an_attack_that_are_doubled(record, steps):
    assert gradients._iterations(Attacked(record, {})) == steps


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], "flagged"),
        ([[0.2, 0.8], [np.nan, 0.5]], "flagged"),
        ([[0.2, 0.7], [0.3, np.inf]], "flagged"),
        ([[0.2, 1.8], [np.nan, 0.5]], "passed"),
        ([[np.nan, 0.8], [np.nan, 0.5]], "not-applicable"),
    ],
    ids=["all finite", "not all", "sigmoids", "logits", "none finite"],
)
def test_outputs_that_are_not_finite_hide_no_probabilities(rows, status):
    estimator = SimpleNamespace(predict=lambda probe: np.array(rows, np.float32))
    found = outputs.gives_logits(SimpleNamespace(estimator=estimator, probe=None))
    assert found.status == status
    assert all(np.isfinite(value) for value in found.evidence.values())


def test_an_attack_that_gives_no_numbers_is_flagged(trained, data):
    subject = subject_of(trained("undefended mlp"), data, attacks=SUITE[:1])
    (attack,) = subject.attacks
    counts = {"budget": 0, "box": 0, "non_finite": 3}
    lacking = Attacked({**attack.record, "violations": counts}, attack.arrays)
    finding = suite.budget_and_box(SimpleNamespace(attacks=[lacking], weights=None))
    assert finding.status == "flagged"
    assert "3 are not finite" in finding.sentence


@pytest.mark.parametrize(
    ("share", "status"), [(None, "not-applicable"), (0.1, "passed"), (0.9, "flagged")]
)
def test_the_undefended_twin_has_to_fall(share, status):
    finding = suite.undefended_twin(SimpleNamespace(twin=share, is_twin=False, norm="l2"))
    assert finding.status == status
    assert share is None or "within l2" in finding.sentence


def test_an_attack_made_on_another_model_is_no_white_box():
    record = {"name": "from-twin", "attack": "Any", "families": ["gradient"]}
    assert Attacked({**record, "source": None}, {}).white_box
    found = Attacked({**record, "source": "none"}, {})
    assert found.transfers
    assert not found.white_box


def records(**families):
    """Attacks by name, each of one family, that broke no example."""
    none = {"success": np.zeros(EXAMPLES, dtype=bool)}
    common = {"status": "ok", "norm": "linf", "eps": EPS, "arguments": {}}
    return [
        Attacked({**common, "name": name, "attack": "Any", "families": [family]}, none)
        for name, family in families.items()
    ]


def test_a_suite_says_which_kinds_of_attacks_it_lacks():
    whole = SimpleNamespace(attacks=records(pgd="gradient", square="score", hsj="decision"))
    half = SimpleNamespace(attacks=records(pgd="gradient"))
    for check in (suite.gradient_free_attack, suite.hard_label_attack):
        assert check(whole).status == "passed"
        assert check(half).status == "not-applicable"
        assert "lacks" in check(half).sentence


@pytest.mark.parametrize("name", ["undefended mlp", "pgd-at"])
def test_a_suite_without_gradients_is_no_sign_of_masked_ones(name, trained, data):
    subject = subject_of(trained(name), data, attacks=())
    subject = Subject(**{**vars_of(subject), "attacks": records(universal="universal")})
    found = roads.other_roads(subject)
    assert found.status == "passed"
    assert "the suite and gradient ascent left whole" in found.sentence
    masked = Subject(**{**vars_of(subject), "attacks": records(pgd="gradient")})
    assert roads.other_roads(masked).status == "flagged"


def test_a_check_that_raises_is_flagged(trained, data, monkeypatch, capsys):
    def broken(subject):
        raise ValueError("two\nlines")

    monkeypatch.setattr(checks, "CHECKS", {"broken": broken})
    found = checks.run(subject_of(trained("undefended mlp"), data, attacks=()))["checks"]
    assert found[0]["status"] == "flagged"
    assert "ValueError: two)" in found[0]["sentence"]
    assert "Traceback" in capsys.readouterr().err


def test_the_same_seed_finds_the_same(trained, data):
    one, two = (subject_of(trained("undefended mlp"), data, attacks=SUITE[:2]) for _ in range(2))
    assert checks.run(one)["checks"] == checks.run(two)["checks"]


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.15), ("l2", 0.8), ("l1", 3.0)])
def test_the_checks_own_attack_keeps_its_budget_and_breaks_models(norm, eps, trained, data):
    subject = subject_of(trained("undefended mlp"), data, attacks=(), norm=norm, eps=eps)
    judged = []
    whole = subject.pipeline

    def watching(points):
        judged.append(points)
        return whole(points)

    watched = Subject(**{**vars_of(subject), "pipeline": watching})
    generator = np.random.default_rng(0)
    broken = search.ascend(watched, subject.rows, eps=eps, steps=15, generator=generator)
    assert broken.mean() > 0.4
    power = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    for points in judged:
        assert points.min() >= 0
        assert points.max() <= 1
        away = (points[:, None] - subject.probe[None]).reshape(len(points), len(subject.rows), -1)
        nearest = np.linalg.norm(away, ord=power, axis=2).min(axis=1)
        assert nearest.max() <= eps * (1 + 1e-5)


@pytest.mark.parametrize("broken", [True, False], ids=["all broken", "none correct"])
def test_checks_need_no_example_that_is_left(broken, trained, data):
    subject = subject_of(trained("undefended mlp"), data, attacks=SUITE[:2], norm="l1", eps=3.0)
    label = subject.y if broken else (subject.clean_prediction + 1) % CLASSES
    everything = [
        Attacked(one.record, {**one.arrays, "success": subject.correct}) for one in subject.attacks
    ]
    changed = {"y": label, "attacks": everything}
    found = checks.run(Subject(**{**vars_of(subject), **changed}))["checks"]
    assert not [one for one in found if "could not be made" in one["sentence"]]


def vars_of(subject):
    return {name: getattr(subject, name) for name in subject.__dataclass_fields__}


@pytest.mark.parametrize("trained_here", [False, True])
def test_no_other_scale_is_told_of_what_was_trained_here(trained_here):
    """The model is right on half the examples, and on all of them in 0..255."""
    x = np.linspace(0, 1, 40, dtype=np.float32).reshape(40, 1, 1, 1)
    y = np.arange(40) % 2

    def predict(points):
        flat = points.reshape(len(points))
        right = flat.max() > 1 if len(flat) else False
        labels = np.round(flat / flat.max() * 39).astype(int) % 2 if right else np.zeros(len(flat))
        return np.eye(2)[labels.astype(int)]

    subject = Subject(
        **{"estimator": None, "pipeline": predict, "x": x, "y": y, "norm": "linf", "eps": 0.1},
        **{"seed": 0, "attacks": (), "clean_prediction": np.zeros(40, int)},
        trained_here=trained_here,
    )
    finding = scale.clean_accuracy(subject)
    assert finding.status == "flagged"
    assert ("that is what it takes" in finding.sentence) is not trained_here
    assert ("train it longer" in finding.sentence) is trained_here
