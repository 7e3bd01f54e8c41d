"""What is asked of the adaptation protocol, and which families it tunes on and holds out."""

from __future__ import annotations

import pytest
from untrained import dataset

import defenses
from benchmark.errors import ConfigError
from benchmark.metatest import families
from benchmark.metatest.protocol import PRESETS, resolve, sized_for

BAD_SETTINGS = {
    "unknown-setting": ({"shot": [1]}, "did you mean 'shots'"),
    "unknown-family": ({"families": ["linf", "pach"]}, "did you mean 'patch'"),
    "no-families": ({"families": []}, "families is empty"),
    "zero-shots": ({"shots": [0]}, "nothing above 0"),
    "negative-steps": ({"steps": [-1]}, "whole number from 0"),
    "one-episode": ({"episodes": 1}, "whole number from 2"),
    "zero-queries": ({"queries": 0}, "whole number from 1"),
    "zero-rate": ({"rates": [0]}, "above 0"),
    "rate-no-number": ({"rates": ["fast"]}, "above 0"),
    "too-many-shots": ({"shots": [100]}, "the training part of made-up has 20"),
    "too-many-queries": ({"queries": 21}, "has 20; lower it"),
}


@pytest.mark.parametrize(("settings", "told"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_settings_that_cannot_be_are_refused_in_one_line(settings, told):
    with pytest.raises(ConfigError, match=told) as raised:
        sized_for(resolve("brief", settings), dataset(), given=settings)
    assert "\n" not in str(raised.value)


def test_settings_are_taken_from_the_text_of_options():
    found = resolve("brief", {"shots": "3, 1, 1e1", "episodes": "4", "families": "linf,patch"})
    assert (found.shots, found.episodes, found.families) == ((0, 1, 3, 10), 4, ("linf", "patch"))


def test_presets_fit_small_data_by_themselves():
    fitted = sized_for(PRESETS["adapt"], dataset(), given=())
    assert (fitted.shots, fitted.queries) == ((0, 5, 10, 20), 20)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_no_family_is_tuned_on_and_held_out(norm):
    roles = {name: families.role(name, norm) for name in families.FAMILIES}
    assert [name for name, role in roles.items() if role == "validation"] == [
        families.validation_family(norm)
    ]
    assert roles[norm] == "seen"
    assert {"universal", "patch", "linf-large"} <= {n for n, r in roles.items() if r == "held-out"}


@pytest.mark.parametrize(
    ("settings", "seen"),
    [({}, "universal"), ({"pattern": "patch"}, "patch"), ({"generator": "network"}, None)],
    ids=["bank", "patches", "network"],
)
def test_what_a_model_was_trained_on_is_not_held_out_for_it(settings, seen):
    defense = defenses.create("meta-gen", defenses.Threat("linf", 0.1), settings)
    found = [
        name
        for name in ("universal", "patch", "spatial")
        if families.role(name, "linf", defense.families_seen) == "seen"
    ]
    assert found == ([seen] if seen else [])
