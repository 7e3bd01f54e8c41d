"""One episode of one method: few labels of another data set, and what is left of its queries.

    theta_0 = the trained weights, or those before any training; the latter for the last layer, too,
              where the other data set has more or fewer classes, and else where validation says so
    for each round: x_S_adv = A(f_theta, S), or x_S where the method attacks nothing;
                    some steps of gradient descent on mean l(f(x_S_adv), y)
    or a read-out: theta stays, a head is fitted to the features of S
    x_Q_adv = A(s f_theta, Q), white-box, through the head where there is one, for each scale s of
              the logits, and what stays right under all; in some episodes under AutoAttack, too

A last layer that was never trained, or a head with a large penalty, gives logits whose loss hides
the gradient; no method is taken for robust because of that.
Supports of few labels are the beginning of those of more. All is drawn from the seed of the data's
split and the episode's number: every model and every method meets the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmark.datasets import Dataset
from benchmark.metatest.attacks import Kept, kept
from benchmark.metatest.domain.settings import FINETUNE, Domain
from benchmark.metatest.domain.target import drawn
from benchmark.metatest.model import Adaptable
from benchmark.metatest.readouts.model import Adapted, Reading
from benchmark.metatest.readouts.table import Setting, Support, readout
from benchmark.metatest.scales import SCALES
from benchmark.metatest.strongest import autoattack
from defenses.cost import Cost
from defenses.heads.spec import spreading
from defenses.labels import labels_of
from defenses.perturbation.spec import pgd
from defenses.threat import Threat

# Keeps these draws apart from others of the same seed.
_STREAM = 0xD03A


@dataclass(frozen=True)
class Episode:
    """Shares of an episode's queries, and what it costs.

    Args:
        clean: right before an attack.
        robust: right under PGD, too.
        given_up: of the robust ones those for which PGD gave nothing that is finite and in budget.
        autoattack: what AutoAttack leaves; None where it didn't run.
        cost: of adapting.
        whole: of all passes of the episode, adapting among them, but for AutoAttack's.
        strongest: of AutoAttack's.
    """

    clean: float
    robust: float
    given_up: float
    autoattack: float | None
    cost: Cost
    whole: Cost
    strongest: Cost


@dataclass(frozen=True)
class EpisodeRunner:
    """Draws episodes, and measures methods in them.

    Args:
        protocol: how much.
        target: the other data set.
        shape: of the inputs that the model takes.
        threat: of labelled examples and queries.
        seed: of the data's split.
    """

    protocol: Domain
    target: Dataset
    shape: tuple[int, ...]
    threat: Threat
    seed: int

    def run_episode(
        self,
        method: str,
        model: Adaptable | Adapted,
        shots: int,
        setting: Setting,
        number: int,
        *,
        tuning: bool = False,
    ) -> Episode:
        """What an episode leaves of its queries."""
        x, y, x_query, y_query = self.draw(number, shots, tuning=tuning)
        generator = self._generator(number, 1, tuning=tuning)
        start = self.threat.random_starts(generator, x_query.shape)
        answering: Adaptable | Reading
        model.spent()
        whole = Cost()
        if isinstance(model, Adapted):
            model.restore()
            answering, cost = self._read(method, model, x, y, setting)
        else:
            answering, cost = model, self._moved(method, model, x, y, setting, generator)
            whole = cost
        logits = answering.logits(x_query)
        right = labels_of(logits) == y_query
        withstood, given_up = self._withstood(answering, x_query, y_query, start, logits)
        whole += model.spent()
        stays, least, strongest = right & withstood, None, Cost()
        if not tuning and number < self.protocol.autoattack_episodes:
            seed = [self.seed, number]
            estimator = answering.estimator
            kept = autoattack(estimator, x_query, y_query, stays, self.threat, seed=seed)
            least = float(kept.mean())
            strongest = Cost(**estimator.passes.counts())
        unmet = float((stays & given_up).mean())
        return Episode(
            float(right.mean()), float(stays.mean()), unmet, least, cost, whole, strongest
        )

    def _withstood(
        self,
        answering: Adaptable | Reading,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        logits: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of queries with these `logits` before: which are right under the attack at every scale.

        And for which it gave nothing valid at one of them.
        """
        withstood, given_up = np.ones(len(y), bool), np.zeros(len(y), bool)
        steps = self.protocol.attack_steps
        for apart in SCALES:
            scale = float(spreading(apart, logits[None])[0])
            x_adv, lacking = self._attacked(answering, x, y, start, steps, scale=scale)
            withstood &= answering.predict(x_adv) == y
            given_up |= lacking
        return withstood, given_up

    def _moved(
        self,
        method: str,
        model: Adaptable,
        x: np.ndarray,
        y: np.ndarray,
        setting: Setting,
        generator: np.random.Generator,
    ) -> Cost:
        """What moving the weights in rounds costs."""
        model.restore(new_head=bool(setting["new_head"]))
        for _ in range(int(setting["rounds"])):
            x_adv = x
            if method != FINETUNE:
                drawn = self.threat.random_starts(generator, x.shape)
                steps = self.protocol.support_attack_steps
                x_adv = self._attacked(model, x, y, drawn, steps).x_adv
            model.descend(x_adv, y, steps=self.protocol.steps, rate=setting["rate"])
        return model.spent()

    def _read(
        self,
        method: str,
        model: Adapted,
        x: np.ndarray,
        y: np.ndarray,
        setting: Setting,
    ) -> tuple[Reading, Cost]:
        """The model under a head that is fitted to the labelled examples, and what that costs."""
        chosen, threat = readout(method, model), self.threat
        ascent = pgd(threat.norm, self.protocol.support_attack_steps)
        features = model.features(x)[None]
        support = Support(x, y, self.target.classes, None, threat.eps, ascent, features)
        heads = chosen.fit(model, support, setting)
        return Reading(model, heads), chosen.cost(len(x), setting, ascent)

    def draw(
        self, number: int, shots: int, *, tuning: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Labelled examples and queries of an episode, as `drawn` gives them."""
        generator = self._generator(number, 0, tuning=tuning)
        queries = self.protocol.queries
        return drawn(self.target, self.shape, generator, shots, queries, tuning=tuning)

    def _generator(self, number: int, of: int, *, tuning: bool) -> np.random.Generator:
        """Of an episode: of its examples (0) or of where attacks start (1)."""
        return np.random.default_rng([self.seed, _STREAM, int(tuning), number, of])

    def _attacked(
        self,
        model: Adaptable | Reading,
        x: np.ndarray,
        y: np.ndarray,
        start: np.ndarray,
        steps: int,
        *,
        scale: float = 1.0,
    ) -> Kept:
        with np.errstate(all="ignore"):  # weights may have diverged: judged by what comes out
            ascent = pgd(self.threat.norm, steps)
            x_adv = model.attack(x, y, start, eps=self.threat.eps, ascent=ascent, scale=scale)
        return kept(x, x_adv, self.threat.norm, float(self.threat.eps))
