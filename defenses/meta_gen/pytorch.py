"""Training on a meta-learned attacker's examples in PyTorch; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from defenses.conventions.pytorch import twice_differentiable
from defenses.generator import pytorch as generators
from defenses.kernel import Arrays
from defenses.kernels.pytorch import Batch, Kernel
from defenses.kernels.pytorch_states import in_numpy
from defenses.meta_gen.spec import MAML, PATCH, MetaGenerator
from defenses.perturbation.pytorch import direction, project

Tensors = Sequence[Tensor]


class MetaGeneratorKernel(Kernel):
    """Cross-entropy on clean examples and on those of an attacker, which a subclass has learn."""

    defense: MetaGenerator

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Any:
        """One update of attacker and classifier; returns the classifier's loss before it."""
        x, y = self.images(draws["x"]), self.labels(draws["y"])
        # Layers don't all take a batch without examples
        x_gen = self.generated(draws, x, y, eps) if self.defense.generates else x[:0]
        batch = {"x": x, "y": y, "start": self.images(draws["start"]), "x_gen": x_gen}
        return self.train_on(batch, learning_rate, eps)

    def generated(self, draws: Arrays, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Let the attacker learn; gives its examples for what step 7 leaves of the batch."""
        raise NotImplementedError

    def train_on(self, batch: Batch, learning_rate: float, eps: float) -> Tensor:
        """The classifier's update; gives the loss before it."""
        x, y, w = batch["x"], batch["y"], self.defense.clean_weight
        # Step 7
        first = [batch[name][: self.defense.attacked] for name in ("x", "y", "start")]
        x_adv = first[0]
        if self.defense.attacked:
            x_adv = self.perturbed(*first, eps=eps, ascent=self.defense.ascent)

        def loss() -> Tensor:
            logits = self.training_logits(torch.cat([x, x_adv, batch["x_gen"]]))
            clean, adversarial = logits.chunk(2)
            return w * cross_entropy(clean, y) + (1 - w) * cross_entropy(adversarial, y)

        # Step 8
        return self.minimise(loss, learning_rate)


class BankKernel(MetaGeneratorKernel):
    """With a bank of patterns."""

    def __init__(self, model: nn.Module, defense: MetaGenerator) -> None:
        super().__init__(model, defense)
        self.bank = self.beside["learned"] = defense.new_bank()

    def generated(self, draws: Arrays, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Examples with adapted patterns of the bank, which learns from them."""
        self.bank.fit_to(draws["x"].shape[1:])
        bank, entries = self.bank, draws["entries"]
        x, y = x[self.defense.attacked :], y[self.defense.attacked :]
        places = [self.values(draws[n]) for n in ("rows", "columns") if n in draws]
        with self.attacked():
            # Step 1
            losses = []
            with torch.no_grad():
                for column in entries.T:
                    patterns = self.images(bank.values[column])
                    logits = self.logits(self.with_pattern(x, patterns, places, eps))
                    losses.append(cross_entropy(logits, y, reduction="none"))
            chosen = torch.stack(losses).argmax(dim=0).cpu().numpy()
            entries = entries[np.arange(len(entries)), chosen]
            # Step 2
            sizes = self.values(bank.step_sizes[entries])
            pattern = self.images(bank.values[entries])
            for _ in range(self.defense.bank_steps):
                pattern.requires_grad_()
                points = self.with_pattern(x, pattern, places, eps)
                loss = cross_entropy(self.logits(points), y, reduction="sum")
                # By the clipped points: where a pixel is at its bound, a pattern can still leave it
                by = pattern if self.defense.pattern == PATCH else points
                (gradient,) = torch.autograd.grad(loss, by)
                pattern = self.moved(pattern.detach(), gradient, sizes, eps)
            x_gen = self.with_pattern(x, pattern, places, eps)
        # Step 3
        bank.move(entries, self.arrays(pattern).astype(np.float64))
        return x_gen

    def with_pattern(self, x: Tensor, pattern: Tensor, places: Tensors, eps: float) -> Tensor:
        """`x` with a pattern each, added or pasted."""
        if self.defense.pattern != PATCH:
            return (x + eps * pattern).clamp(0, 1)
        rows, columns = places
        pasted = torch.einsum("nhi,ncij,nwj->nchw", rows, pattern, columns)
        mask = (rows.sum(dim=2)[:, :, None] * columns.sum(dim=2)[:, None, :])[:, None]
        return x * (1 - mask) + pasted

    def moved(self, pattern: Tensor, gradient: Tensor, sizes: Tensor, eps: float) -> Tensor:
        """Patterns one step of their own size further up the loss."""
        sizes = sizes.reshape(-1, *[1] * (pattern.ndim - 1))
        if self.defense.pattern == PATCH:
            return (pattern + sizes * gradient.sign()).clamp_(0, 1)
        threat, middle = self.defense.threat, torch.full_like(pattern, 0.5)
        norm, weights = threat.norm, threat.weights
        # No pixel of the middle is blocked
        step = sizes * direction(gradient, middle, eps, norm, weights)
        return project(pattern + step, torch.zeros_like(pattern), 1.0, norm, weights)


class NetworkKernel(MetaGeneratorKernel):
    """With a network, which learns on snapshots of the classifier."""

    def __init__(self, model: nn.Module, defense: MetaGenerator) -> None:
        super().__init__(model, defense)
        like = torch.empty(0, dtype=self.dtype, device=self.device)
        self.network = generators.Generator(
            width=defense.width, rate=defense.generator_rate, like=like
        )
        self.snapshots = self.beside["learned"] = defense.new_snapshots(self.network)

    def generated(self, draws: Arrays, x: Tensor, y: Tensor, eps: float) -> Tensor:
        """Examples of the network for the present classifier, after it has learned."""
        self.network.fit_to(draws["x"].shape[1:])
        self.snapshots.keep(lambda: [in_numpy(p) for p in self.parameters])
        self.model.eval()
        tasks = []
        for part, number in zip(self.defense.parts, draws["snapshots"], strict=True):
            chosen = self.snapshots.chosen(number)
            snapshot = [self.sent(weight).to(self.logits.takes) for weight in chosen]
            tasks.append((x[part], y[part], snapshot))
        with twice_differentiable(self.model, "give algorithm reptile"):
            self.learn([self.task(*task, eps) for task in tasks])
        # Step 6
        x, y = x[self.defense.attacked :], y[self.defense.attacked :]
        seen = self.scaled_gradient(x, y, [p.detach() for p in self.parameters])
        with torch.no_grad():
            return self.example(self.network.weights, x, seen, eps)

    def learn(self, results: Sequence[Tensors]) -> None:
        """One update of the network, from what `task` gave for each."""
        means = [torch.stack(values).mean(dim=0) for values in zip(*results, strict=True)]
        # Step 5
        if self.defense.algorithm == MAML:
            self.network.update([-mean for mean in means])
            return
        with torch.no_grad():
            for weight, mean in zip(self.network.weights, means, strict=True):
                weight += self.defense.reptile_rate * (mean - weight)

    def task(self, x: Tensor, y: Tensor, snapshot: Tensors, eps: float) -> list[Tensor]:
        """The adapted weights, for `reptile`, or the gradient of the query's loss, for `maml`."""
        maml = self.defense.algorithm == MAML
        shots = len(x) // 2 if maml else len(x)
        seen = self.scaled_gradient(x, y, snapshot)
        weights = self.network.weights
        if not maml:
            weights = [weight.detach().clone().requires_grad_() for weight in weights]
        start = weights
        for _ in range(self.defense.inner_steps):
            # Step 4
            loss = self.loss_of(weights, x[:shots], y[:shots], seen[:shots], snapshot, eps)
            moves = torch.autograd.grad(loss, weights, create_graph=maml)
            weights = [w + self.defense.inner_rate * g for w, g in zip(weights, moves, strict=True)]
        if not maml:
            return [weight.detach() for weight in weights]
        loss = self.loss_of(weights, x[shots:], y[shots:], seen[shots:], snapshot, eps)
        return list(torch.autograd.grad(loss, start))

    def loss_of(
        self, weights: Tensors, x: Tensor, y: Tensor, seen: Tensor, snapshot: Tensors, eps: float
    ) -> Tensor:
        """The mean loss of a snapshot on the network's examples."""
        points = self.example(weights, x, seen, eps)
        return cross_entropy(self.logits.with_weights(snapshot, points), y)

    def example(self, weights: Tensors, x: Tensor, seen: Tensor, eps: float) -> Tensor:
        """The network's adversarial examples, differentiable by its weights."""
        change = eps * torch.tanh(generators.generate(weights, x, seen))
        threat = self.defense.threat
        return project(x + change, x, eps, threat.norm, threat.weights).clamp(0, 1)

    def scaled_gradient(self, x: Tensor, y: Tensor, snapshot: Tensors) -> Tensor:
        """What the network sees of a classifier: its gradient, each example's largest entry 1."""
        inputs = x.detach().clone().requires_grad_()
        loss = cross_entropy(self.logits.with_weights(snapshot, inputs), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, inputs)
        largest = gradient.flatten(1).abs().amax(dim=1).clamp_min(1e-12)
        return gradient / largest.reshape(-1, *[1] * (x.ndim - 1))
