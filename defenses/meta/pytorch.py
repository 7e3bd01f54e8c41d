"""Meta-adversarial training in PyTorch, inner steps through `higher`.

The steps are those of `spec`; step 2 is in `inner`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.conventions.pytorch import twice_differentiable
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Kernel
from defenses.meta.chunk.pytorch import Chunk, MetaGradient, by_example
from defenses.meta.chunk.sizes import attacked_at_once, chunk_size, groups
from defenses.meta.inner.pytorch import Adapted, InnerLoop, Stack, StackError, stacked_logits
from defenses.meta.spec import MetaAdversarial
from defenses.meta.steps import LOG_RATES
from defenses.perturbation.pytorch import perturb
from defenses.trades.pytorch import most_divergent, trades_loss

Logits = Callable[[Tensor], Tensor]


class MetaKernel(Kernel):
    """The meta-gradient, a chunk of tasks at a time."""

    defense: MetaAdversarial

    def __init__(self, model: nn.Module, defense: MetaAdversarial) -> None:
        super().__init__(model, defense)
        self.inner = InnerLoop(self.logits, defense)
        self.beside["activations"] = self.inner
        if defense.learn_rates:
            self.inner.log_rates = torch.zeros(
                self.inner.layers, dtype=self.dtype, device=self.device, requires_grad=True
            )
            self.add_optimizer("rates", [self.inner.log_rates])
        if defense.adversarial_rate is not None:
            self.add_optimizer("adversarial", self.parameters)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Tensor:
        """One update; returns the outer loss before it."""
        total: MetaGradient | None = None
        for chunk in self.chunks(draws, eps):
            for gradient in self.meta_gradients(chunk, draws["step_weights"]):
                if total is None:
                    total = gradient
                else:
                    total.add(gradient)
        assert total is not None
        total.divide(len(draws["x"]))
        # Step 6
        self.update(total.parts[0], learning_rate)
        if self.defense.adversarial_rate is not None:
            share = learning_rate / self.defense.learning_rate
            self.update(total.parts[1], self.defense.adversarial_rate * share, "adversarial")
        if total.rates is not None:
            self.update([total.rates], learning_rate, "rates")
        # Step 7
        for name, buffer in self.model.named_buffers():
            buffer.copy_(total.buffers[name])
        return total.loss

    def chunks(self, draws: Arrays, eps: float) -> Iterator[Chunk]:
        """The meta-batch in chunks, supports attacked; step 1 is one batch for many tasks."""
        shots = self.defense.inner_examples
        for tasks in groups(draws["attack"], max(self.chunk, attacked_at_once(shots))):
            x, start = (self._stacked(draws[key][tasks]) for key in ("x", "start"))
            y = self.labels(draws["y"][tasks])
            budgets = self.images(eps * draws["share"][tasks])
            noise = self._stacked(draws["noise"][tasks]) if "noise" in draws else None
            which = int(draws["attack"][tasks[0]])
            # Step 1
            support_adv = x[:, :shots]
            if self.defense.inner_loss != "clean":
                attack = self.defense.task_distribution.attacks[which]
                with self.attacked():
                    support_adv = perturb(
                        self.logits,
                        support_adv.flatten(0, 1),
                        y[:, :shots].flatten(),
                        start[:, :shots].flatten(0, 1),
                        eps=by_example(attack.support_ratio * budgets, support_adv),
                        ascent=attack.support,
                    ).unflatten(0, support_adv.shape[:2])
            group = Chunk(x, y, support_adv, start, noise, budgets, which)
            first = 0
            while first < len(tasks):
                last = first + self.chunk
                yield group.part(slice(first, last))
                first = last

    def meta_gradients(self, chunk: Chunk, step_weights: np.ndarray) -> list[MetaGradient]:
        """Of a chunk at once, or of its tasks one by one where the model can't be stacked."""
        smooth: AbstractContextManager[None] = nullcontext()
        if self.defense.second_order:
            smooth = twice_differentiable(self.model, "give algorithm fomaml or reptile")
        with smooth:
            try:
                return [self.meta_gradient(chunk, step_weights)]
            except StackError:
                if self.defense.chunk:
                    raise
                self.inner.stacks = False
            tasks = [chunk.part(slice(n, n + 1)) for n in range(len(chunk.x))]
            return [self.meta_gradient(task, step_weights) for task in tasks]

    def meta_gradient(self, chunk: Chunk, step_weights: np.ndarray) -> MetaGradient:
        """Steps 2 to 5 of a chunk."""
        shots = self.defense.inner_examples
        clean, labels = chunk.x[:, :shots], chunk.y[:, :shots]
        inputs = {
            "adversarial": [chunk.support_adv],
            "clean": [clean],
            "crossed": [clean, chunk.support_adv],
        }[self.defense.inner_loss]
        loops = [self.inner.adapt(x, labels) for x in inputs]
        buffers = {name: value.sum(0) for name, value in loops[0].buffers.items()}
        if self.defense.algorithm == "reptile":
            last = loops[0].steps[-1]
            # Step 5
            way = [(value - last[name]).sum(0) for name, value in self.inner.initial.items()]
            before = loops[0].loss.double()
            return MetaGradient(before, [[v.detach() for v in way]], None, buffers)
        loss, parts = self.outer_loss(chunk, loops, step_weights)
        differentiate = self._through if self.defense.second_order else self._past
        gradients, rates = differentiate(parts, loops)
        return MetaGradient(loss.detach().double(), gradients, rates, buffers)

    def outer_loss(
        self, chunk: Chunk, loops: Sequence[Adapted], step_weights: np.ndarray
    ) -> tuple[Tensor, list[Tensor]]:
        """The outer loss summed over the tasks, and the parts of it that have an optimiser each."""
        defense, shots = self.defense, self.defense.support
        tasks, x, y = len(chunk.x), chunk.x[:, shots:].flatten(0, 1), chunk.y[:, shots:].flatten()
        x_adv = self.attack_query(chunk, x, y, loops[0].steps[-1])
        w, clean, adversarial, whole = defense.clean_weight, [], [], []
        for k in range(defense.inner_steps) if defense.multi_step else [defense.inner_steps - 1]:
            weight = tasks * float(step_weights[k])
            # Step 4: where the inner loops are crossed, the last one is the adversarial one
            at_clean, at_adv = (self.logits_with(loop.steps[k]) for loop in (loops[-1], loops[0]))
            if defense.outer_loss == "trades":
                whole.append(weight * trades_loss(at_clean, x, x_adv, y, beta=defense.beta))
                continue
            if defense.outer_is_clean:
                clean.append(weight * cross_entropy(at_clean(x), y))
            if defense.outer_is_attacked:
                adversarial.append(weight * cross_entropy(at_adv(x_adv), y))
        mixed = [w * part for part in clean] + [(1 - w) * part for part in adversarial]
        loss = torch.stack(whole + mixed).sum()
        if defense.adversarial_rate is None:
            return loss, [loss]
        return loss, [torch.stack(clean).sum(), torch.stack(adversarial).sum()]

    def attack_query(self, chunk: Chunk, x: Tensor, y: Tensor, adapted: Stack) -> Tensor:
        """The queries of all tasks in one batch, attacked; the clean ones where none are wanted."""
        defense, shots = self.defense, self.defense.support
        if not defense.outer_is_attacked:
            return x
        # Step 3: on detached weights, so that the attack pays for the input alone
        stack = {name: value.detach() for name, value in adapted.items()}
        ascent = defense.task_distribution.attacks[chunk.attack].query
        eps = by_example(chunk.eps, chunk.x[:, shots:])
        with self.attacked():
            logits = self.logits if defense.query_attack == "initial" else self.logits_with(stack)
            if chunk.noise is not None:
                return most_divergent(logits, x, chunk.noise.flatten(0, 1), eps=eps, ascent=ascent)
            start = chunk.start[:, shots:].flatten(0, 1)
            return perturb(logits, x, y, start, eps=eps, ascent=ascent)

    def logits_with(self, stack: Stack) -> Logits:
        """The tasks' models on a batch that holds their inputs one task after the other."""
        tasks = len(next(iter(stack.values())))

        def logits(x: Tensor) -> Tensor:
            buffers = self.inner.fresh_buffers(tasks) if self.model.training else {}
            stacked = x.unflatten(0, (tasks, -1))
            return stacked_logits(self.logits, {**stack, **buffers}, stacked).flatten(0, 1)

        return logits

    def _through(
        self, parts: Sequence[Tensor], loops: Sequence[Adapted]
    ) -> tuple[list[list[Tensor]], Tensor | None]:
        """Step 5 in second order: by the parameters, and by the rates."""
        learned = [] if self.inner.log_rates is None else [self.inner.log_rates]
        found = []
        for part in parts:
            retain = part is not parts[-1]
            found.append(self.gradients(part, [*self.parameters, *learned], retain_graph=retain))
        rates = [gradients.pop() for gradients in found] if learned else []
        return found, sum(rates) if rates else None

    def _past(
        self, parts: Sequence[Tensor], loops: Sequence[Adapted]
    ) -> tuple[list[list[Tensor]], Tensor | None]:
        """Step 5 in first order: by the adapted weights; theta_k - theta is linear in exp(s)."""
        names = list(self.inner.initial)
        leaves = [step[name] for loop in loops for step in loop.steps for name in names]
        learned, found = self.inner.log_rates, []
        rates = None if learned is None else torch.zeros_like(learned)
        for part in parts:
            gradients = torch.autograd.grad(part, leaves, retain_graph=True, allow_unused=True)
            sums = {name: torch.zeros_like(value) for name, value in self.inner.initial.items()}
            for index, (leaf, gradient) in enumerate(zip(leaves, gradients, strict=True)):
                if gradient is None:
                    continue
                name = names[index % len(names)]
                sums[name] += gradient.sum(0)
                if rates is not None:
                    way = (leaf - self.inner.initial[name]).detach()
                    rates[self.inner.layer_of[name]] += (way * gradient).sum()
            found.append(list(sums.values()))
        return found, rates

    def _stacked(self, x: np.ndarray) -> Tensor:
        """Inputs of several tasks, (tasks, n, C, H, W) or (tasks, n, d)."""
        return self.images(x.reshape(-1, *x.shape[2:])).unflatten(0, x.shape[:2])

    @property
    def chunk(self) -> int:
        """Tasks of a chunk: one until the first task has shown how large the model is."""
        defense = self.defense
        if not defense.chunk and (self.inner.activations is None or not self.inner.stacks):
            return 1
        return chunk_size(
            defense.chunk,
            tasks=defense.tasks,
            weights=sum(value.numel() for value in self.parameters),
            activations=self.inner.activations or 0,
            examples=defense.support + defense.query,
        )

    def rate_factors(self) -> list[float]:
        """exp(s) of each parameter's layer; 0 where the inner loop does not move it."""
        learned = self.inner.log_rates
        factors = None if learned is None else learned.detach().exp().tolist()
        return [
            0.0
            if (layer := self.inner.layer_of.get(name)) is None
            else 1.0
            if factors is None
            else factors[layer]
            for name in self.logits.names
        ]

    def learned(self) -> dict[str, list[float]]:
        """s, where the rates are learned."""
        rates = self.inner.log_rates
        return {} if rates is None else {LOG_RATES: rates.tolist()}

    def load_learned(self, learned: Mapping[str, list[float]]) -> None:
        """Take up what `learned` returned."""
        if self.inner.log_rates is not None and LOG_RATES in learned:
            with torch.no_grad():
                self.inner.log_rates.copy_(torch.tensor(learned[LOG_RATES], dtype=self.dtype))
