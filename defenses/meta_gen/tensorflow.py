"""Training on a meta-learned attacker's examples in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses.generator import tensorflow as generators
from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Batch, Kernel, cross_entropy
from defenses.meta_gen.spec import MAML, PATCH, MetaGenerator
from defenses.perturbation.tensorflow import direction, own_graph, project

Tensors = Sequence[Tensor]


class MetaGeneratorKernel(Kernel):
    """Cross-entropy on clean examples and on those of an attacker, which a subclass has learn."""

    defense: MetaGenerator

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Any:
        """One update of attacker and classifier; returns the classifier's loss before it."""
        x, y, budget = self.images(draws["x"]), self.labels(draws["y"]), self.scalar(eps)
        # Layers don't all take a batch without examples
        x_gen = self.generated(draws, x, y, budget) if self.defense.generates else x[:0]
        batch = {"x": x, "y": y, "start": self.images(draws["start"]), "x_gen": x_gen}
        return self.compiled_step(batch, self.scalar(learning_rate), budget)

    def generated(self, draws: Arrays, x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
        """Let the attacker learn; gives its examples for what step 7 leaves of the batch."""
        raise NotImplementedError

    def train_on(self, batch: Batch, learning_rate: Tensor, eps: Tensor) -> Tensor:
        """The classifier's update; gives the loss before it."""
        x, y, w = batch["x"], batch["y"], self.defense.clean_weight
        # Step 7
        first = [batch[name][: self.defense.attacked] for name in ("x", "y", "start")]
        x_adv = first[0]
        if self.defense.attacked:
            x_adv = self.perturbed(*first, eps=eps, ascent=self.defense.ascent)

        def loss() -> Tensor:
            logits = self.training_logits(tf.concat([x, x_adv, batch["x_gen"]], axis=0))
            clean, adversarial = tf.split(logits, 2)
            return w * cross_entropy(clean, y) + (1 - w) * cross_entropy(adversarial, y)

        # Step 8
        return self.minimise(loss, learning_rate)


class BankKernel(MetaGeneratorKernel):
    """With a bank of patterns."""

    def __init__(self, model: keras.Model, defense: MetaGenerator) -> None:
        super().__init__(model, defense)
        self.bank = self.beside["learned"] = defense.new_bank()
        self.compiled_losses = tf.function(self.losses_with)
        self.compiled_adaptation = tf.function(self.adapted_pattern)

    def generated(self, draws: Arrays, x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
        """Examples with adapted patterns of the bank, which learns from them."""
        self.bank.fit_to(draws["x"].shape[1:])
        bank, entries = self.bank, draws["entries"]
        x, y = x[self.defense.attacked :], y[self.defense.attacked :]
        places = [self.images(draws[n]) for n in ("rows", "columns") if n in draws]
        # Step 1
        losses = [
            self.compiled_losses(x, y, self.images(bank.values[column]), places, eps)
            for column in entries.T
        ]
        chosen = np.argmax(tf.stack(losses).numpy(), axis=0)
        entries = entries[np.arange(len(entries)), chosen]
        # Step 2
        sizes, pattern = self.images(bank.step_sizes[entries]), self.images(bank.values[entries])
        pattern, x_gen = self.compiled_adaptation(x, y, pattern, sizes, places, eps)
        # Step 3
        bank.move(entries, pattern.numpy().astype(np.float64))
        return x_gen

    def losses_with(
        self, x: Tensor, y: Tensor, patterns: Tensor, places: Tensors, eps: Tensor
    ) -> Tensor:
        """Each example's loss with a pattern, (n,)."""
        return self.losses(self.with_pattern(x, patterns, places, eps), y)

    def adapted_pattern(
        self, x: Tensor, y: Tensor, pattern: Tensor, sizes: Tensor, places: Tensors, eps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Patterns after their steps, and the examples with them."""
        moved = own_graph(functools.partial(self.moved_once, x, y, sizes, places, eps))
        for _ in tf.range(self.defense.bank_steps):
            pattern = moved(pattern)
        return pattern, self.with_pattern(x, pattern, places, eps)

    def moved_once(
        self, x: Tensor, y: Tensor, sizes: Tensor, places: Tensors, eps: Tensor, pattern: Tensor
    ) -> Tensor:
        """Patterns after one step up the loss."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pattern)
            points = self.with_pattern(x, pattern, places, eps)
            loss = self.losses(points, y)
        # By the clipped points: where a pixel is at its bound, a pattern can still leave it
        by = pattern if self.defense.pattern == PATCH else points
        return self.moved(pattern, tape.gradient(loss, by), sizes, eps)

    def with_pattern(self, x: Tensor, pattern: Tensor, places: Tensors, eps: Tensor) -> Tensor:
        """`x` with a pattern each, added or pasted."""
        if self.defense.pattern != PATCH:
            return tf.clip_by_value(x + eps * pattern, 0, 1)
        rows, columns = places
        pasted = tf.einsum("nhi,nijc,nwj->nhwc", rows, pattern, columns)
        mask = tf.reduce_sum(rows, 2)[:, :, None] * tf.reduce_sum(columns, 2)[:, None, :]
        return x * (1 - mask[..., None]) + pasted

    def moved(self, pattern: Tensor, gradient: Tensor, sizes: Tensor, eps: Tensor) -> Tensor:
        """Patterns one step of their own size further up the loss."""
        sizes = tf.reshape(sizes, (-1, *[1] * (len(pattern.shape) - 1)))
        if self.defense.pattern == PATCH:
            return tf.clip_by_value(pattern + sizes * tf.sign(gradient), 0, 1)
        threat, middle = self.defense.threat, tf.fill(tf.shape(pattern), self.scalar(0.5))
        norm, weights = threat.norm, threat.weights
        # No pixel of the middle is blocked
        step = sizes * direction(gradient, middle, eps, norm, weights)
        return project(pattern + step, tf.zeros_like(pattern), self.scalar(1.0), norm, weights)


class NetworkKernel(MetaGeneratorKernel):
    """With a network, which learns on snapshots of the classifier."""

    def __init__(self, model: keras.Model, defense: MetaGenerator) -> None:
        if defense.algorithm == MAML:
            generators.refuse_wrong_derivatives(model, "meta-gen with maml")
        super().__init__(model, defense)
        self.network = generators.Generator(
            width=defense.width, rate=defense.generator_rate, dtype=self.dtype
        )
        self.snapshots = self.beside["learned"] = defense.new_snapshots(self.network)
        self.compiled_task = tf.function(self.task)
        self.compiled_learning = tf.function(self.learn)
        self.compiled_example = tf.function(self.present_example)

    def generated(self, draws: Arrays, x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
        """Examples of the network for the present classifier, after it has learned."""
        self.network.fit_to(draws["x"].shape[1:])
        self.snapshots.keep(lambda: [parameter.numpy() for parameter in self.parameters])
        results = []
        for part, number in zip(self.defense.parts, draws["snapshots"], strict=True):
            snapshot = [tf.constant(array) for array in self.snapshots.chosen(number)]
            results.append(self.compiled_task(x[part], y[part], snapshot, eps))
        self.compiled_learning(results)
        x, y = x[self.defense.attacked :], y[self.defense.attacked :]
        return self.compiled_example(x, y, eps)

    def learn(self, results: Sequence[Tensors]) -> None:
        """One update of the network, from what `task` gave for each."""
        means = [tf.reduce_mean(tf.stack(values), axis=0) for values in zip(*results, strict=True)]
        # Step 5
        if self.defense.algorithm == MAML:
            self.network.update([-mean for mean in means])
            return
        for weight, mean in zip(self.network.weights, means, strict=True):
            weight.assign_add(self.defense.reptile_rate * (mean - weight))

    def task(self, x: Tensor, y: Tensor, snapshot: Tensors, eps: Tensor) -> list[Tensor]:
        """The adapted weights, for `reptile`, or the gradient of the query's loss, for `maml`."""
        maml = self.defense.algorithm == MAML
        shots = len(x) // 2 if maml else len(x)
        seen = self.scaled_gradient(x, y, snapshot)
        start = self.network.weights
        if not maml:
            return self.adapted(start, x, y, seen, snapshot, eps)
        with tf.GradientTape() as outer:
            support = x[:shots], y[:shots], seen[:shots]
            weights = self.adapted(start, *support, snapshot, eps)
            loss = self.loss_of(weights, x[shots:], y[shots:], seen[shots:], snapshot, eps)
        return outer.gradient(loss, start)

    def adapted(
        self, weights: Tensors, x: Tensor, y: Tensor, seen: Tensor, snapshot: Tensors, eps: Tensor
    ) -> list[Tensor]:
        """Weights of the network after steps up the loss on a support."""
        weights = [tf.convert_to_tensor(weight) for weight in weights]
        for _ in range(self.defense.inner_steps):
            # Step 4
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(weights)
                loss = self.loss_of(weights, x, y, seen, snapshot, eps)
            moves = inner.gradient(loss, weights)
            weights = [w + self.defense.inner_rate * g for w, g in zip(weights, moves, strict=True)]
        return weights

    def loss_of(
        self, weights: Tensors, x: Tensor, y: Tensor, seen: Tensor, snapshot: Tensors, eps: Tensor
    ) -> Tensor:
        """The mean loss of a snapshot on the network's examples."""
        return cross_entropy(self.logits_of(snapshot, self.example(weights, x, seen, eps)), y)

    def present_example(self, x: Tensor, y: Tensor, eps: Tensor) -> Tensor:
        """Examples of the network for the present classifier."""
        # Step 6
        seen = self.scaled_gradient(x, y, self.parameters)
        return self.example(self.network.weights, x, seen, eps)

    def example(self, weights: Tensors, x: Tensor, seen: Tensor, eps: Tensor) -> Tensor:
        """The network's adversarial examples, differentiable by its weights."""
        change = eps * tf.tanh(generators.generate(weights, x, seen))
        threat = self.defense.threat
        moved = project(x + change, x, eps, threat.norm, threat.weights)
        return tf.clip_by_value(moved, 0, 1)

    def scaled_gradient(self, x: Tensor, y: Tensor, snapshot: Tensors) -> Tensor:
        """What the network sees of a classifier: its gradient, each example's largest entry 1."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = self.logits_of(snapshot, x)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        gradient = tape.gradient(loss, x)
        axes = list(range(1, len(x.shape)))
        return gradient / tf.maximum(tf.reduce_max(tf.abs(gradient), axes, keepdims=True), 1e-12)

    def logits_of(self, snapshot: Tensors, x: Tensor) -> Tensor:
        """A snapshot's logits in evaluation mode."""
        return self.call.with_weights(snapshot, x, training=False)[0]
