"""Tasks: their attacks, what is held out, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

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
