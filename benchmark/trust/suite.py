"""Checks of what the attacks of the suite did, from their stored results."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.attacks.measure import measure
from benchmark.trust.finding import (
    CHANCE,
    FLAGGED,
    Finding,
    flagged,
    not_applicable,
    passed,
    percent,
    too_few,
)
from benchmark.trust.search import ascend
from benchmark.trust.subject import GRADIENT_FREE, Attacked, Subject, evenly

# An attack that is weaker by design may break this share of the examples alone, by chance, and at
# least `CHANCE` of them: two attacks of equal strength differ by that much.
ALONE_SHARE = 0.02
# Attacks without gradients may break more: on MNIST under linf Square breaks 3.5 % more of honest
# models than PGD (TRADES: 96.1 against 92.6 %), on digits 7 % (a small network, five epochs of PGD
# training). So what they break alone is tried again, by ascent on a margin of logits, and only what
# gradients can't find then speaks for masking.
GRADIENT_FREE_SHARE = 0.05
TRIED_AGAIN, STEPS = 64, 20

# Above this share that the suite leaves right of an undefended model, it tells nothing.
UNDEFENDED_SHARE = 0.5


def iterative_beats_single_step(subject: Subject) -> Finding:
    """One step breaks nothing that many steps leave whole."""
    single = [a for a in subject.comparable if a.single_step]
    several = [a for a in subject.comparable if a.white_box and not a.single_step]
    if not single or not several:
        lacking = "iterative" if single else "single-step"
        return not_applicable(f"The suite has no {lacking} gradient attack.")
    return _compared(
        subject, single, several, ALONE_SHARE, "one gradient step", "the iterative attacks"
    )


def white_box_beats_black_box(subject: Subject) -> Finding:
    """Attacks without gradients or from another model break little that gradient attacks don't."""
    black = [a for a in subject.comparable if set(GRADIENT_FREE) & set(a.kinds) or a.transfers]
    white = [a for a in subject.comparable if a.white_box]
    if not black or not white:
        lacking = "without gradients" if white else "with gradients"
        return not_applicable(f"The suite has no attack {lacking} under this threat.")
    names = "attacks without this model's gradients", "the gradient attacks"
    findings = []
    # Each alone, too: one that was run on few examples is lost among those that all others saw.
    for some in [black, *([one] for one in black)]:
        found = _compared(subject, some, white, GRADIENT_FREE_SHARE, *names)
        if found.status == FLAGGED:
            found = _tried_again(subject, some, white, found)
        findings.append(found)
    return next((one for one in findings if one.status == FLAGGED), findings[0])


def gradient_free_attack(subject: Subject) -> Finding:
    """The suite asks for scores without looking at gradients."""
    return _has_kind(subject, "score", "without gradients")


def hard_label_attack(subject: Subject) -> Finding:
    """The suite asks for labels alone."""
    return _has_kind(subject, "decision", "by labels alone")


def silent_success(subject: Subject) -> Finding:
    """What an attack met on its way but didn't return counts all the same."""
    told = [a for a in subject.attacks if "silent" in a.record]
    if not told:
        return not_applicable("The attacks were not watched on their way.")
    found = {a.name: int(a.record["silent"]) for a in told if a.record["silent"]}
    total = sum(found.values())
    evidence = {"found_on_the_way": total} | {f"by_{name}": n for name, n in found.items()}
    return passed(
        f"{total} adversarial examples that attacks met but didn't return were kept and counted.",
        **evidence,
    )


def budget_and_box(subject: Subject) -> Finding:
    """Attacks that know the budget keep it, measured again outside of them; all give numbers."""
    counts = {"budget": 0, "box": 0, "non_finite": 0}
    wrong = []
    for attack in subject.attacks:
        if attack.bounded and attack.record["status"] == "ok":
            violations = attack.record.get("violations", {})
            found = {name: int(violations.get(name, 0)) for name in counts}
            counts = {name: counts[name] + found[name] for name in counts}
            wrong += [attack.name] if any(found.values()) else []
    stored, false = _stored_samples(subject)
    evidence = {f"outside_{name}": counts[name] for name in ("budget", "box")}
    evidence |= {"not_finite": counts["non_finite"]}
    evidence |= {"stored_examples": stored, "stored_outside": false}
    if any(counts.values()) or false:
        return flagged(
            f"{', '.join(wrong) or 'Stored examples'}: {counts['budget']} points lie outside the "
            f"budget, {counts['box']} outside [0, 1], {counts['non_finite']} are not finite; they "
            "count for nothing, so the attack is weaker than it seems.",
            **evidence,
        )
    return passed(
        f"Every attack kept its budget and [0, 1]; {stored} stored examples were measured again.",
        **evidence,
    )


def undefended_twin(subject: Subject) -> Finding:
    """The same attacks break a model without the defense."""
    share = subject.twin
    if share is None:
        return not_applicable(
            "There is no undefended twin with the same attacks in this folder; nothing shows that "
            "they are strong enough."
        )
    whose = "this undefended model" if subject.is_twin else "the undefended twin"
    evidence = {"share_left_right": share}
    left = f"The attacks within {subject.norm} leave {percent(share)} of {whose}'s correct examples"
    if share > UNDEFENDED_SHARE:
        return flagged(
            f"{left} right: they are too weak, or eps is too small, to tell defenses apart.",
            **evidence,
        )
    return passed(f"{left}.", **evidence)


def _compared(
    subject: Subject,
    weak: Sequence[Attacked],
    strong: Sequence[Attacked],
    share: float,
    weak_name: str,
    strong_name: str,
) -> Finding:
    """Flagged where the weaker attacks break, example by example, what the stronger ones don't."""
    correct = _met(subject, weak, strong)
    ours, theirs = subject.broken(weak), subject.broken(strong)
    only = int((ours & ~theirs & correct).sum())
    right, whole = int(correct.sum()), int((correct & ~theirs).sum())
    if few := too_few(right, whole, share):
        return few
    evidence: dict[str, float | str] = {
        "correct_examples": right,
        "broken_by_the_weaker_alone": only,
        "weaker_success": float(ours[correct].mean()),
        "stronger_success": float(theirs[correct].mean()),
        "weaker": ", ".join(a.name for a in weak),
        "stronger": ", ".join(a.name for a in strong),
    }
    told = f"{only} of {right} examples broke under {weak_name} and not under {strong_name}"
    if only > max(CHANCE, share * right):
        return flagged(f"{told}: gradients are masked, or the stronger attacks fail.", **evidence)
    return passed(f"{told}.", **evidence)


def _tried_again(
    subject: Subject, weak: Sequence[Attacked], strong: Sequence[Attacked], found: Finding
) -> Finding:
    """The same once gradient ascent had its chance on what only the weaker attacks broke."""
    met = _met(subject, weak, strong)
    alone = np.flatnonzero(subject.broken(weak) & ~subject.broken(strong) & met)
    rows = evenly(alone, TRIED_AGAIN)
    if subject.lacks_gradients:
        return found
    generator = subject.generator("tried again")
    broken = ascend(subject, rows, eps=subject.eps, steps=STEPS, generator=generator)
    evidence = {**found.evidence, "tried_again": len(rows), "broken_by_ascent": int(broken.sum())}
    right = int(met.sum())
    hidden = len(alone) * float(1 - broken.mean())
    told = (
        f"{len(alone)} of {right} examples broke only under attacks without this model's "
        f"gradients; ascent on a margin of logits breaks {int(broken.sum())} of {len(rows)} of them"
    )
    if hidden > max(CHANCE, GRADIENT_FREE_SHARE * right):
        return flagged(f"{told}: gradients are masked.", **evidence)
    return passed(f"{told}: gradients lead there, with another loss.", **evidence)


def _met(subject: Subject, weak: Sequence[Attacked], strong: Sequence[Attacked]) -> np.ndarray:
    """The correct examples that attacks of both kinds were run on: slow ones are on some, (n,)."""
    met: np.ndarray = subject.correct & subject.attacked(weak) & subject.attacked(strong)
    return met


def _has_kind(subject: Subject, kind: str, words: str) -> Finding:
    found = [a.name for a in subject.attacks if kind in a.kinds and a.record["status"] == "ok"]
    if found:
        return passed(f"The suite has an attack {words}: {', '.join(found)}.")
    return not_applicable(f"The suite lacks an attack {words}; a larger suite has one.")


def _stored_samples(subject: Subject) -> tuple[int, int]:
    """How many stored adversarial examples there are, and how many leave their budget or box."""
    stored = false = 0
    for attack in subject.attacks:
        samples, clean = (attack.arrays.get(f"sample_{n}") for n in ("adversarial", "clean"))
        eps, norm = attack.record.get("eps"), attack.record.get("norm")
        if samples is None or clean is None or not len(samples) or eps is None:
            continue
        none = np.zeros(len(samples), dtype=np.int64)
        found = measure(
            clean,
            samples,
            np.zeros((len(samples), 1)),
            clean_prediction=none,
            label=none,
            norm=str(norm),
            eps=float(eps),
            weights=subject.weights,
        ).violations
        stored += len(samples)
        false += found["budget"] + found["box"] + found["non_finite"]
    return stored, false
