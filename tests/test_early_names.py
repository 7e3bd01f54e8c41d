"""A name that is wrong is told before any data are read, which may be large or far away."""

from __future__ import annotations

import pytest

NO_DATA = ["--dataset", "npz:no-data.npz"]
MODULE = "nosuch_package.nets:build"

WRONG = {
    "model": (["--model", "cnnn"], "unknown model 'cnnn'; did you mean 'cnn'?"),
    "no model": (["--model", ""], "unknown model ''; allowed: cnn, cnn-small"),
    "file": (["--model", "nosuch.py:build"], "nosuch.py; check the path in --model"),
    "module": (["--model", MODULE], "no module 'nosuch_package.nets' here; check --model"),
    "weights": (["--init", "nosuch.pt"], "no weights file at nosuch.pt; check the path"),
    "suite": (["--suite", "quik"], "unknown suite 'quik'; did you mean 'quick'?"),
    "attack": (["--set", "attacks.pdg.max_iter=1"], "no attack 'pdg'; did you mean 'pgd'?"),
    "parameter": (["--set", "parameters.pgd-at.attack_step=1"], "did you mean 'attack_steps'?"),
    "preset": (["--set", "parameters.meta-adv.preset=admll"], "'admll'; did you mean 'adml'?"),
    "argument": (["--set", "parameters.jpeg.qualty=1"], "'qualty'; did you mean 'quality'?"),
    "protocol": (["--protocol", "adpt"], "unknown protocol 'adpt'; did you mean 'adapt'?"),
    "framework": (["--framework", "tf"], "unknown framework 'tf'; did you mean 'tensorflow'?"),
    "read-out": (
        ["--protocol", "few-shot", "--set", "adaptation.readouts=rigde"],
        "unknown read-out 'rigde'; did you mean 'ridge'?",
    ),
    "other data": (
        ["--protocol", "domain", "--adapt-to", "mnsit"],
        "unknown dataset 'mnsit'; did you mean 'mnist'?",
    ),
}


@pytest.mark.parametrize(("given", "told"), WRONG.values(), ids=WRONG)
def test_a_run_tells_a_wrong_name_first(bench, tmp_path, monkeypatch, given, told):
    monkeypatch.chdir(tmp_path)
    done = bench("run", "--defense", "pgd-at", "--quiet", *NO_DATA, *given)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert told in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model", "file", "module", "suite"])
def test_an_attack_on_a_model_tells_a_wrong_name_first(bench, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    given, told = WRONG[name]
    model = [] if "--model" in given else ["--model", "cnn", "--weights", "w.safetensors"]
    (tmp_path / "w.safetensors").touch()
    done = bench("attack", "--quiet", *NO_DATA, *given, *model)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert told in done.err


def test_a_builder_in_the_working_folder_is_there(bench, write_builders):
    """What is told is that there are no data."""
    write_builders("raise SystemExit  # not run\n")
    for model in ("nets.py:build", "nets:build"):
        done = bench("run", "--defense", "pgd-at", "--quiet", *NO_DATA, "--model", model)
        assert (done.code, "no-data.npz" in done.err) == (2, True)
