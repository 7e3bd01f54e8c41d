"""The table of trust checks, and running them."""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Callable, Mapping

from benchmark import frameworks
from benchmark.results import Record
from benchmark.trust import elsewhere, gradients, outputs, promises, roads, scale, steps, suite
from benchmark.trust.finding import Finding, flagged
from benchmark.trust.subject import Subject

CHECKS: Mapping[str, Callable[[Subject], Finding]] = {
    "clean accuracy": scale.clean_accuracy,
    "stable outputs": outputs.stable_outputs,
    "independent of earlier queries": outputs.independent_of_history,
    "independent of the batch": outputs.batch_independent,
    "finite outputs": outputs.finite_outputs,
    "logits, not probabilities": outputs.gives_logits,
    "moves with its input": steps.moves_with_its_input,
    "usable gradients": gradients.usable_gradients,
    "loss in float32's range": gradients.loss_in_range,
    "gradients keep their promise": promises.keeps_its_promise,
    "same answers with gradients": promises.same_with_gradients,
    "success rises with eps": gradients.rises_with_eps,
    "twice the iterations": gradients.converged,
    "other roads lead no further": roads.other_roads,
    "as robust elsewhere": elsewhere.as_robust_elsewhere,
    "white-box beats noise": gradients.beats_noise,
    "white-box beats black-box": suite.white_box_beats_black_box,
    "iterative beats single-step": suite.iterative_beats_single_step,
    "gradient-free attack": suite.gradient_free_attack,
    "hard-label attack": suite.hard_label_attack,
    "silent success": suite.silent_success,
    "budget and box": suite.budget_and_box,
    "undefended twin": suite.undefended_twin,
}


def run(subject: Subject, *, progress: Callable[[float], None] = lambda done: None) -> Record:
    """All checks in their order, as the record of their stage.

    A check that can't be made is flagged: what can't be looked at can't be trusted.
    """
    started = time.perf_counter()
    passes = subject.estimator.passes
    before = dataclasses.replace(passes)
    found = []
    for number, (name, check) in enumerate(CHECKS.items()):
        frameworks.seed_everything(subject.seed)
        found.append({"name": name, **_made(check, subject)})
        progress((number + 1) / len(CHECKS))
    return {
        "checks": found,
        "seconds": time.perf_counter() - started,
        **passes.counts(since=before),
    }


def _made(check: Callable[[Subject], Finding], subject: Subject) -> Record:
    try:
        finding = check(subject)
    except Exception as error:  # other people's model may raise anything
        traceback.print_exc()
        told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        finding = flagged(f"This check could not be made ({told}).")
    return {
        "status": finding.status,
        "sentence": finding.sentence,
        "evidence": dict(finding.evidence),
    }
