"""Tasks: their attacks, what is held out, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

import defenses
from defenses import DefenseError
from defenses.tasks import families


@pytest.mark.parametrize(
    ("held_out", "seen"),
    [
        ((), tuple(families.ATTACKS)),
        (("pgd-l1",), ("fgsm", "fgsm-rs", "pgd-linf", "pgd-l2", "momentum")),
        (("momentum", "l1"), ("pgd-l2",)),
    ],
)
def test_a_held_out_attack_holds_its_family_out(held_out, seen):
    assert families.seen_attacks(held_out) == seen


@pytest.mark.parametrize(
    ("trained_on", "held_out", "message"),
    [
        (["pgd-l1"], ["pgd-l1"], "training on 'pgd-l1' would see the held-out 'pgd-l1'"),
        (["pgd-l2", "fgsm"], ["momentum"], "gradient attacks within linf are one family"),
        (["l2"], ["pgd-l2"], "training on 'l2' would see the held-out 'pgd-l2'"),
        (["pgd-l2"], ["pdg-l1"], "unknown attack or family 'pdg-l1'; did you mean 'pgd-l1'?"),
    ],
)
def test_training_on_what_is_held_out_is_an_error(trained_on, held_out, message):
    with pytest.raises(DefenseError) as caught:
        families.check_seen(trained_on, held_out)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", families.ATTACKS)
def test_starts_are_random_where_the_attack_is(name):
    attack = families.ATTACKS[name]
    starts = attack.starts(np.random.default_rng(0), (5, 3, 3, 1))
    assert starts.dtype == np.float32
    assert (np.abs(starts).max() > 0) == attack.random_start


def drawn(distribution, *, count=120, seed=0, **parameters):
    """A meta-batch whose inputs are their own numbers, with the labels that belong to them."""
    settings = {"tasks": 6, "support": 4, "query": 8, "ways": 4, "distribution": distribution}
    threat = defenses.Threat("linf", 0.1)
    defense = defenses.create("meta-adv", threat, {**settings, **parameters})
    x = np.arange(count, dtype=np.float32)[:, None]
    y = np.arange(count) % 7
    size = count if defense.draws_from_all else defense.examples_per_step
    return defense, defense.draw(np.random.default_rng(seed), x[:size], y[:size])


def test_subsets_are_disjoint_and_under_the_threat_s_own_attack():
    _, draws = drawn("subsets")
    assert sorted(draws["x"].ravel()) == list(range(6 * 12))
    assert np.array_equal(draws["y"], draws["x"][..., 0] % 7)
    assert draws["attack"].tolist() == [0] * 6
    assert draws["share"].tolist() == [1.0] * 6


def test_tasks_draw_attacks_and_budgets():
    found = {}
    for seed in range(20):
        defense, draws = drawn("attacks", seed=seed, eps_l2=0.5, held_out="pgd-l1")
        names = defense.task_attacks
        for attack, share, start in zip(
            *(draws[k] for k in ("attack", "share", "start")), strict=True
        ):
            name = names[attack - 1]
            found.setdefault(name, []).append(share)
            assert (np.abs(start).max() > 0) == families.ATTACKS[name].random_start
    assert set(found) == {"fgsm", "fgsm-rs", "pgd-linf", "pgd-l2", "momentum"}
    for name, shares in found.items():
        full = 5 if name == "pgd-l2" else 1
        assert full / 2 <= min(shares) < 0.7 * full
        assert 0.8 * full < max(shares) <= full


def test_few_way_tasks_hold_as_many_of_each_class_and_renumber_them():
    _, draws = drawn("few-way")
    meanings = set()
    for x, y in zip(draws["x"][..., 0], draws["y"], strict=True):
        assert len(set(x)) == 12
        assert np.bincount(y[:4]).tolist() == [1] * 4
        assert np.bincount(y[4:]).tolist() == [2] * 4
        of_label = [set((x[y == label] % 7).tolist()) for label in range(4)]
        assert all(len(classes) == 1 for classes in of_label), "a label of two classes"
        assert len(set.union(*of_label)) == 4
        meanings.add(tuple(min(classes) for classes in of_label))
    assert len(meanings) == 6, "the labels mean the same in several tasks"


def test_classes_with_too_few_examples_are_in_no_few_way_task():
    defense, _ = drawn("few-way")
    y = np.repeat(np.arange(6), [20, 20, 20, 20, 20, 2])
    x = np.arange(len(y), dtype=np.float32)[:, None]
    draws = defense.draw(np.random.default_rng(0), x, y)
    assert set(y[draws["x"].astype(int)].ravel()) == set(range(5))


def test_a_class_may_be_all_in_one_task():
    defense, _ = drawn("few-way", ways=2, support=2, query=2, tasks=1)
    x, y = np.arange(6, dtype=np.float32)[:, None], np.array([0, 1, 0, 1, 2, 2])
    defense.task_distribution.check_labels(y)
    draws = defense.draw(np.random.default_rng(0), x, y)
    for images, labels in zip(draws["x"], draws["y"], strict=True):
        assert len(set(images[:, 0])) == 4
        assert labels.tolist() == [0, 1, 0, 1]


def test_any_class_of_a_task_may_be_its_first():
    """Or a model could know what the number of a class says of it."""
    _, draws = drawn("few-way", tasks=40, count=480)
    first = draws["x"][:, 0, 0].astype(int) % 7
    assert set(first) == set(range(7))


def test_a_mixture_draws_each_task_from_one_of_its_distributions():
    kinds = {"few-way": 0, "attacks": 0, "subsets": 0}
    for seed in range(30):
        _, draws = drawn("subsets,attacks,few-way", seed=seed)
        for x, y, attack in zip(draws["x"][..., 0], draws["y"], draws["attack"], strict=True):
            few = not np.array_equal(y, x % 7)
            kinds["few-way" if few else "attacks" if attack else "subsets"] += 1
    assert all(45 <= count <= 75 for count in kinds.values()), kinds


def test_the_expected_cost_is_the_mean_of_what_meta_batches_cost():
    defense, _ = drawn("attacks")
    spent = [
        defense.cost_of(drawn("attacks", seed=seed)[1]).gradient_evaluations for seed in range(300)
    ]
    assert np.mean(spent) == pytest.approx(defense.step_cost().gradient_evaluations, rel=0.03)
    assert np.std(spent) > 0


@pytest.mark.parametrize("name", families.ATTACKS)
def test_only_projected_gradient_ascent_takes_other_steps(name):
    attack = families.ATTACKS[name]
    assert (families.with_steps(attack, 5) != attack) == name.startswith("pgd-")
    assert families.with_steps(attack, 10) == attack
    assert families.with_steps(attack, 5).norm == attack.norm


def test_a_support_under_another_family_has_that_family_s_budget():
    budgets = {"linf": 0.1, "l2": 0.5, "l1": 2.0}
    parameters = {"eps_l2": 0.5, "eps_l1": 2.0, "support_family": "other"}
    defense, draws = drawn("attacks", **parameters)
    pairs = defense.task_distribution.attacks
    for pair in pairs[1:]:
        assert pair.support.norm != pair.query.norm
        assert pair.share * 0.1 == pytest.approx(budgets[pair.query.norm])
        assert pair.support_ratio * pair.share * 0.1 == pytest.approx(budgets[pair.support.norm])
    assert {(p.support.norm, p.query.norm) for p in pairs[1:]} == {
        (support, query) for support in budgets for query in budgets if support != query
    }
    assert (draws["attack"] > 0).all()


def test_support_and_query_start_each_where_its_own_attack_does():
    parameters = {"attacks": "fgsm,pgd-l2", "eps_l2": 0.5, "support_family": "other"}
    found = set()
    for seed in range(5):
        defense, draws = drawn("attacks", seed=seed, **parameters)
        for which, start in zip(draws["attack"], draws["start"], strict=True):
            pair = defense.task_distribution.attacks[which]
            moved = bool(start[:4].any()), bool(start[4:].any())
            assert moved == (pair.support.random_start, pair.query.random_start)
            found.add(moved)
    assert found == {(False, True), (True, False)}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"distribution": "subsets"}, 'give distribution "attacks"'),
        ({"algorithm": "reptile"}, "reptile has no query"),
        ({"inner_loss": "clean"}, "inner_loss clean does not attack the support"),
        ({"attacks": "fgsm,momentum"}, "give attacks of two families"),
    ],
)
def test_a_support_under_another_family_needs_one(parameters, message):
    settings = {"distribution": "attacks", "eps_l2": 0.5, "support_family": "other", **parameters}
    with pytest.raises(DefenseError, match=message):
        defenses.create("meta-adv", defenses.Threat("linf", 0.1), settings)


ON = {"rotations": True}


def test_rotations_turn_all_images_of_a_class_alike():
    y = np.repeat(np.arange(6), 12)
    x = np.zeros((72, 4, 4, 1), np.float32)
    x[:, 0, 0] = 1  # one pixel tells the turn
    settings = {"distribution": "few-way", "ways": 4, "tasks": 4, "support": 8, "query": 8}
    whole = defenses.create("meta-adv", defenses.Threat("linf", 0.1), settings | ON)
    turned = whole.draw(np.random.default_rng(0), x, y)
    places = {}
    for task, labels in enumerate(turned["y"]):
        for image, label in zip(turned["x"][task], labels, strict=True):
            places.setdefault((task, label), set()).add(int(image.argmax()))
    assert all(len(found) == 1 for found in places.values())
    assert set.union(*places.values()) == {0, 3, 12, 15}


def test_rotations_turn_few_way_tasks_of_a_mixture_alone():
    x, y = np.zeros((96, 4, 4, 1), np.float32), np.arange(96) % 6
    x[:, 0, 0] = 1  # one pixel tells the turn
    settings = {"distribution": "few-way,subsets", "ways": 4, "support": 8, "query": 8, "tasks": 6}
    mixed = defenses.create("meta-adv", defenses.Threat("linf", 0.1), settings | ON)
    few_way, corners = np.tile(np.repeat(np.arange(4), 2), 2), {True: set(), False: set()}
    for seed in range(5):
        draws = mixed.draw(np.random.default_rng(seed), x, y)
        for images, labels in zip(draws["x"], draws["y"], strict=True):
            found = images.reshape(16, -1).argmax(axis=1).tolist()
            corners[np.array_equal(labels, few_way)].update(found)
    assert corners == {True: {0, 3, 12, 15}, False: {0}}


def test_rotations_need_square_images():
    settings = {"distribution": "few-way", **ON}
    rotating = defenses.create("meta-adv", defenses.Threat("linf", 0.1), settings)
    rotating.check_inputs((4, 4, 1))
    for shape in ((4, 5, 1), (16,)):
        with pytest.raises(defenses.DefenseError, match="rotations turns square images"):
            rotating.check_inputs(shape)
