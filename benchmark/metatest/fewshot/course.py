"""One read-out of one cell: settings chosen on validation classes, then measured on test classes.

    for each episode: fit the read-out to the support, attack the queries through what was fitted,
    white-box, and count what stays right

Where "stored" queries are asked for, the same ones attacked once, before any adaptation, away from
what the trained model says of them, are answered by the adapted model, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.datasets import Dataset
from benchmark.datasets.dataset import Pool
from benchmark.metatest.attacks import Kept, kept
from benchmark.metatest.effort import part
from benchmark.metatest.fewshot import episodes as drawing
from benchmark.metatest.fewshot.episodes import Episodes
from benchmark.metatest.fewshot.settings import FewShot, keeps_apart
from benchmark.metatest.readouts.model import Adapted, Reading
from benchmark.metatest.readouts.names import READOUTS
from benchmark.metatest.readouts.table import ReadOut, Setting, Support, choose, readout, tries
from benchmark.metatest.strongest import autoattack
from benchmark.metatest.summary import GIVEN_UP, share, unmet
from benchmark.results import Record
from benchmark.results.records import FewShotRecord
from defenses.cost import Cost
from defenses.heads.spec import Heads
from defenses.perturbation.spec import Ascent, pgd
from defenses.threat import Threat

# Keeps the episodes that settings are chosen on apart from others of the same seed.
_TUNING = 1 << 20

Arrays = dict[str, np.ndarray]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Problem:
    """What is measured: a pool of classes with their features, and how.

    Args:
        pool: its classes.
        ways: classes of an episode.
        shots: labelled examples a class.
        features: of all its supports and of all its queries, of the weights as trained; None for a
            read-out that moves them.
    """

    pool: Pool
    ways: int
    shots: int
    features: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class Candidate:
    """A read-out with its setting, and how far apart its logits are where it is attacked."""

    readout: ReadOut
    setting: Setting
    scale: float


@dataclass(frozen=True)
class Course:
    """What one cell measures with.

    Args:
        protocol: how much.
        dataset: with classes held out.
        threat: of queries, and of supports where they are attacked.
        seed: of the data's split.
        model: the trained one.
    """

    protocol: FewShot
    dataset: Dataset
    threat: Threat
    seed: int
    model: Adapted

    def run(
        self,
        name: str,
        ways: int,
        shots: int,
        progress: Progress = lambda done: None,
        numbers: Sequence[int] | None = None,
    ) -> tuple[Record, Arrays]:
        """The record and the arrays, (episodes,), of a read-out, or of some of its episodes."""
        record = self.about(name, ways, shots)
        chosen = readout(name, self.model)
        # Unless it fits a head in closed form, which moves nothing
        if name == "own" and chosen.moves and ways > self.model.body.classes:
            told = f"the model's own head tells {self.model.body.classes} classes apart, not {ways}"
            return {**record, "status": "not-applicable", "reason": told}, {}
        started = time.perf_counter()
        self.model.restore()
        self.model.spent()
        self.model.autoattack = Cost()
        tuned = self.protocol.share_of_tuning(tries(chosen), ways)
        candidate, tuning = self._tuned(chosen, ways, shots, part(progress, 0.0, tuned))
        tuning["cost"] = self.model.spent().as_record()
        problem = self._problem("test", ways, shots, chosen)
        numbers = range(self.protocol.episodes) if numbers is None else numbers
        rest = part(progress, tuned, 1.0)
        arrays = self._measured(problem, numbers, candidate, rest, final=True)
        cost = chosen.cost(ways * shots, candidate.setting, self._support_ascent)
        return {
            **record,
            **self.summary(arrays, ways),
            "setting": {**candidate.setting, "scale": candidate.scale},
            "tuning": tuning,
            "cost": cost.as_record(),
            "measuring_cost": self.model.spent().as_record(),
            "autoattack_cost": self.model.autoattack.as_record(),
            "seconds": time.perf_counter() - started,
        }, arrays

    def about(self, name: str, ways: int, shots: int) -> Record:
        """What a record says before anything is measured."""
        protocol = self.protocol
        return {
            "version": FewShotRecord.VERSION,
            "readout": name,
            "description": READOUTS[name],
            "ways": ways,
            "shots": shots,
            "queries": protocol.query_shots,
            "episodes": protocol.episodes,
            "attack_steps": protocol.attack_steps,
            "support_attack_steps": protocol.support_attack_steps,
            "tuning_episodes": protocol.tuning_episodes,
            "autoattack_episodes": protocol.autoattack_episodes,
            "asks_stored": protocol.stored,
            "groups_apart": keeps_apart(self.dataset),
            "norm": self.threat.norm,
            "eps": self.threat.eps,
            "labels_used": ways * shots,
            "status": "ok",
            "reason": "",
        }

    def summary(self, arrays: Arrays, ways: int) -> Record:
        """The means and intervals that follow from a stage's arrays."""
        queries = ways * self.protocol.query_shots
        shares = {name: values for name, values in arrays.items() if name != GIVEN_UP}
        found: Record = {name: vars(share(values, queries)) for name, values in shares.items()}
        found[GIVEN_UP] = unmet(arrays)
        if (strongest := arrays.get("autoattack")) is not None:
            found["robust_of_attacked"] = float(arrays["robust"][: len(strongest)].mean())
        return found

    @property
    def _support_ascent(self) -> Ascent:
        return pgd(self.threat.norm, self.protocol.support_attack_steps)

    def _problem(self, part: str, ways: int, shots: int, chosen: ReadOut) -> Problem:
        pool = self.dataset.novel[part]
        if chosen.moves:
            return Problem(pool, ways, shots, None)
        support = self.model.features(pool.support[:])
        query = support if pool.shared else self.model.features(pool.query[:])
        return Problem(pool, ways, shots, (support, query))

    def _tuned(
        self, chosen: ReadOut, ways: int, shots: int, progress: Progress
    ) -> tuple[Candidate, Record]:
        """The defender's setting, the attacker's scale, and what they were chosen by."""
        ways = min(ways, len(self.dataset.novel["validation"].class_names))
        problem = self._problem("validation", ways, shots, chosen)
        numbers = range(_TUNING, _TUNING + self.protocol.tuning_episodes)
        tried: list[Record] = []

        def robust(setting: Setting, scale: float) -> float:
            count = tries(chosen)
            this = part(progress, len(tried) / count, (len(tried) + 1) / count)
            arrays = self._measured(problem, numbers, Candidate(chosen, setting, scale), this)
            tried.append({**setting, "scale": scale, "robust": float(arrays["robust"].mean())})
            return float(tried[-1]["robust"])

        setting, scale = choose(chosen, robust)
        told = {"ways": ways, "episodes": len(numbers), "tried": tried}
        return Candidate(chosen, setting, scale), told

    def _measured(
        self,
        problem: Problem,
        numbers: Sequence[int],
        candidate: Candidate,
        progress: Progress = lambda done: None,
        *,
        final: bool = False,
    ) -> Arrays:
        """Shares of each episode's queries that stay right."""
        whole = drawing.draw(
            problem.pool,
            ways=problem.ways,
            shots=problem.shots,
            queries=self.protocol.query_shots,
            numbers=numbers,
            seed=self.seed,
        )
        size = 1 if candidate.readout.moves else max(1, self.model.rows // whole.query.shape[1])
        found: dict[str, list[np.ndarray]] = {}
        done, measuring = 0, self.protocol.measuring
        for batch in whole.batches(size):
            for name, values in self._batch(problem, batch, candidate, final=final).items():
                found.setdefault(name, []).append(values)
            done += len(batch)
            so_far = done / len(numbers)
            if final:  # the first are attacked by more than PGD
                so_far = measuring(problem.ways, done) / measuring(problem.ways, len(numbers))
            progress(so_far)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _batch(
        self, problem: Problem, batch: Episodes, candidate: Candidate, *, final: bool
    ) -> Arrays:
        model, protocol = self.model, self.protocol
        x, y = problem.pool.query[batch.query.ravel()], np.tile(batch.y_query, len(batch))
        start = drawing.starts(batch, self.threat, x.shape[1:], seed=self.seed)
        budget: dict[str, Any] = {
            "eps": self.threat.eps,
            "ascent": pgd(self.threat.norm, protocol.attack_steps),
        }
        if candidate.readout.moves:
            model.restore()
        before = None
        if final and protocol.stored:
            before = self._kept(x, model.attack_as_trained(x, start, **budget)).x_adv
        support = self._support(problem, batch, candidate.readout)
        heads = candidate.readout.fit(model, support, candidate.setting)
        clean = model.features(x) if problem.features is None else problem.features[1][batch.query]
        heads = heads.spread(candidate.scale, clean.reshape(*batch.query.shape, -1))
        right = self._right(heads, clean, batch)
        x_adv, given_up = self._kept(x, model.attack(x, y, start, heads, **budget))
        robust = right & self._right(heads, model.features(x_adv), batch)
        given_up = robust & given_up.reshape(robust.shape)
        answers = {"clean": right, "robust": robust, GIVEN_UP: given_up}
        if before is not None:
            answers["stored_queries"] = right & self._right(heads, model.features(before), batch)
        found = {name: values.mean(axis=1) for name, values in answers.items()}
        attacked = batch.numbers < protocol.autoattack_episodes
        if final and attacked.any():
            found |= self._strongest(batch, x, heads, robust, attacked)
        return found

    def _kept(self, x: np.ndarray, x_adv: np.ndarray) -> Kept:
        return kept(x, x_adv, self.threat.norm, float(self.threat.eps))

    def _support(self, problem: Problem, batch: Episodes, chosen: ReadOut) -> Support:
        x = problem.pool.support[batch.support.ravel()]
        start = None
        if chosen.attacks:
            start = drawing.starts(batch, self.threat, x.shape[1:], seed=self.seed, support=True)
        return Support(
            x,
            batch.y_support,
            problem.ways,
            start,
            self.threat.eps,
            self._support_ascent,
            None if problem.features is None else problem.features[0][batch.support],
        )

    def _right(self, heads: Heads, features: np.ndarray, batch: Episodes) -> np.ndarray:
        """(E, queries); a query whose logits are not finite is wrong."""
        logits = heads.logits(features.reshape(len(batch), len(batch.y_query), -1))
        finite = np.isfinite(logits).all(axis=-1)
        right: np.ndarray = finite & (logits.argmax(axis=-1) == batch.y_query)
        return right

    def _strongest(
        self, batch: Episodes, x: np.ndarray, heads: Heads, robust: np.ndarray, some: np.ndarray
    ) -> Arrays:
        """What the suite autoattack leaves of the queries that PGD has left, in some episodes."""
        left = []
        images = x.reshape(*batch.query.shape, *x.shape[1:])
        for place in np.flatnonzero(some):
            head = Heads(heads.weights[place][None], heads.biases[place][None], heads.unit)
            estimator = Reading(self.model, head).estimator
            kept = autoattack(
                estimator, images[place], batch.y_query, robust[place], self.threat,
                seed=[self.seed, int(batch.numbers[place])],
            )  # fmt: skip
            left.append(kept.mean())
            self.model.autoattack += Cost(**estimator.passes.counts())
        return {"autoattack": np.array(left)}
