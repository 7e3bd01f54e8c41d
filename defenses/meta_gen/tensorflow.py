"""Training on a meta-learned attacker's examples in TensorFlow; the steps are those of `spec`."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from defenses.generator import tensorflow as generators
from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy
from defenses.meta_gen.learned import Learned
from defenses.meta_gen.spec import BANK, MAML, NETWORK, PATCH, MetaGenerator
from defenses.perturbation.tensorflow import direction, perturb, project

Tensors = Sequence[tf.Tensor]


class MetaGeneratorKernel(Kernel):
    """Cross-entropy on clean examples and on those of a bank or a network."""

    defense: MetaGenerator

    def __init__(self, model: keras.Model, defense: MetaGenerator) -> None:
        if defense.generator == NETWORK and defense.algorithm == MAML:
            generators.refuse_wrong_derivatives(model, "meta-gen with maml")
        super().__init__(model, defense)
        self.attacker = Learned(defense)
        self.compiled_losses = tf.function(self.losses)
        self.compiled_adaptation = tf.function(self.adapted_pattern)
        self.compiled_task = tf.function(self.task)
        self.compiled_outer = tf.function(self.outer)
        self.compiled_example = tf.function(self.present_example)

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> float:
        """One update; returns the loss before it."""
        defense, attacked = self.defense, self.defense.attacked
        x, y, budget = self.images(draws["x"]), self.labels(draws["y"]), self.scalar(eps)
        if defense.generator == BANK:
            x_gen = self.by_bank(draws, x[attacked:], y[attacked:], budget)
        else:
            x_gen = self.by_network(draws, x, y, budget)
        start = self.images(draws["start"])[:attacked]
        loss = self.compiled_step(x, y, start, x_gen, self.scalar(learning_rate), budget)
        return float(loss)

    def graph_step(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        start: tf.Tensor,
        x_gen: tf.Tensor,
        learning_rate: tf.Tensor,
        eps: tf.Tensor,
    ) -> tf.Tensor:
        """The classifier's update as a graph; gives the loss before it."""
        defense, attacked = self.defense, self.defense.attacked
        # Step 7
        x_adv = perturb(
            self.logits, x[:attacked], y[:attacked], start, eps=eps, ascent=defense.ascent
        )
        # Step 8
        with tf.GradientTape() as tape:
            logits = self.training_logits(tf.concat([x, x_adv, x_gen], axis=0))
            clean, adversarial = tf.split(logits, 2)
            loss = defense.clean_weight * cross_entropy(clean, y)
            loss += (1 - defense.clean_weight) * cross_entropy(adversarial, y)
            loss = self.call.penalised(loss)
        self.update(self.gradients(tape, loss), learning_rate)
        return loss

    def by_bank(self, draws: Arrays, x: tf.Tensor, y: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Examples with adapted patterns of the bank, which learns from them."""
        bank, entries = self.attacker.bank(draws["x"].shape[1:]), draws["entries"]
        places = [self.images(draws[n]) for n in ("rows", "columns") if n in draws]
        # Step 1
        losses = [
            self.compiled_losses(x, y, self.images(bank.values[column]), places, eps).numpy()
            for column in entries.T
        ]
        entries = entries[np.arange(len(entries)), np.argmax(losses, axis=0)]
        # Step 2
        sizes, pattern = self.images(bank.step_sizes[entries]), self.images(bank.values[entries])
        pattern, x_gen = self.compiled_adaptation(x, y, pattern, sizes, places, eps)
        # Step 3
        bank.move(entries, pattern.numpy().astype(np.float64))
        return x_gen

    def losses(
        self, x: tf.Tensor, y: tf.Tensor, patterns: tf.Tensor, places: Tensors, eps: tf.Tensor
    ) -> tf.Tensor:
        """Each example's loss with a pattern, (n,)."""
        logits = self.logits(self.with_pattern(x, patterns, places, eps))
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)

    def adapted_pattern(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        pattern: tf.Tensor,
        sizes: tf.Tensor,
        places: Tensors,
        eps: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Patterns after their steps, and the examples with them."""
        for _ in tf.range(self.defense.bank_steps):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(pattern)
                points = self.with_pattern(x, pattern, places, eps)
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, self.logits(points))
            # By the clipped points: where a pixel is at its bound, a pattern can still leave it
            by = pattern if self.defense.pattern == PATCH else points
            pattern = self.moved(pattern, tape.gradient(loss, by), sizes, eps)
        return pattern, self.with_pattern(x, pattern, places, eps)

    def with_pattern(
        self, x: tf.Tensor, pattern: tf.Tensor, places: Tensors, eps: tf.Tensor
    ) -> tf.Tensor:
        """`x` with a pattern each, added or pasted."""
        if self.defense.pattern != PATCH:
            return tf.clip_by_value(x + eps * pattern, 0, 1)
        rows, columns = places
        pasted = tf.einsum("nhi,nijc,nwj->nhwc", rows, pattern, columns)
        mask = tf.reduce_sum(rows, 2)[:, :, None] * tf.reduce_sum(columns, 2)[:, None, :]
        return x * (1 - mask[..., None]) + pasted

    def moved(
        self, pattern: tf.Tensor, gradient: tf.Tensor, sizes: tf.Tensor, eps: tf.Tensor
    ) -> tf.Tensor:
        """Patterns one step of their own size further up the loss."""
        sizes = tf.reshape(sizes, (-1, *[1] * (len(pattern.shape) - 1)))
        if self.defense.pattern == PATCH:
            return tf.clip_by_value(pattern + sizes * tf.sign(gradient), 0, 1)
        norm, middle = self.defense.threat.norm, tf.fill(tf.shape(pattern), self.scalar(0.5))
        step = sizes * direction(gradient, middle, eps, norm)  # no pixel of the middle is blocked
        return project(pattern + step, tf.zeros_like(pattern), self.scalar(1.0), norm)

    def by_network(self, draws: Arrays, x: tf.Tensor, y: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Examples of the network for the present classifier, after it has learned."""
        self.attacker.network(draws["x"].shape[1:], self.new_generator)
        self.attacker.keep([parameter.numpy() for parameter in self.parameters])
        size = self.defense.part
        parts = [slice(size * n, size * (n + 1)) for n in range(self.defense.tasks)]
        results = []
        for part, number in zip(parts, draws["snapshots"], strict=True):
            snapshot = [tf.constant(array) for array in self.attacker.snapshot(number)]
            results.append(self.compiled_task(x[part], y[part], snapshot, eps))
        means = [tf.reduce_mean(tf.stack(values), axis=0) for values in zip(*results, strict=True)]
        self.compiled_outer(means)
        attacked = self.defense.attacked
        return self.compiled_example(x[attacked:], y[attacked:], eps)

    def outer(self, means: Tensors) -> None:
        """One update of the network."""
        generator = self.attacker.made
        # Step 5
        if self.defense.algorithm == MAML:
            generator.update([-mean for mean in means])
            return
        for weight, mean in zip(generator.weights, means, strict=True):
            weight.assign_add(self.defense.reptile_rate * (mean - weight))

    def task(
        self, x: tf.Tensor, y: tf.Tensor, snapshot: Tensors, eps: tf.Tensor
    ) -> list[tf.Tensor]:
        """The adapted weights, for `reptile`, or the gradient of the query's loss, for `maml`."""
        maml = self.defense.algorithm == MAML
        shots = len(x) // 2 if maml else len(x)
        seen = self.scaled_gradient(x, y, snapshot)
        start = self.attacker.made.weights
        if not maml:
            return self.adapted(start, x, y, seen, snapshot, eps)
        with tf.GradientTape() as outer:
            support = x[:shots], y[:shots], seen[:shots]
            weights = self.adapted(start, *support, snapshot, eps)
            loss = self.loss_of(weights, x[shots:], y[shots:], seen[shots:], snapshot, eps)
        return outer.gradient(loss, start)

    def adapted(
        self,
        weights: Tensors,
        x: tf.Tensor,
        y: tf.Tensor,
        seen: tf.Tensor,
        snapshot: Tensors,
        eps: tf.Tensor,
    ) -> list[tf.Tensor]:
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
        self,
        weights: Tensors,
        x: tf.Tensor,
        y: tf.Tensor,
        seen: tf.Tensor,
        snapshot: Tensors,
        eps: tf.Tensor,
    ) -> tf.Tensor:
        """The mean loss of a snapshot on the network's examples."""
        return cross_entropy(self.logits_of(snapshot, self.example(weights, x, seen, eps)), y)

    def present_example(self, x: tf.Tensor, y: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """Examples of the network for the present classifier."""
        # Step 6
        seen = self.scaled_gradient(x, y, self.parameters)
        return self.example(self.attacker.made.weights, x, seen, eps)

    def example(self, weights: Tensors, x: tf.Tensor, seen: tf.Tensor, eps: tf.Tensor) -> tf.Tensor:
        """The network's adversarial examples, differentiable by its weights."""
        change = eps * tf.tanh(generators.generate(weights, x, seen))
        return tf.clip_by_value(project(x + change, x, eps, self.defense.threat.norm), 0, 1)

    def scaled_gradient(self, x: tf.Tensor, y: tf.Tensor, snapshot: Tensors) -> tf.Tensor:
        """What the network sees of a classifier: its gradient, each example's largest entry 1."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            logits = self.logits_of(snapshot, x)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        gradient = tape.gradient(loss, x)
        axes = list(range(1, len(x.shape)))
        return gradient / tf.maximum(tf.reduce_max(tf.abs(gradient), axes, keepdims=True), 1e-12)

    def logits_of(self, snapshot: Tensors, x: tf.Tensor) -> tf.Tensor:
        """A snapshot's logits in evaluation mode."""
        return self.call.with_weights(snapshot, x, training=False)[0]

    def new_generator(self, shape: tuple[int, ...]) -> generators.Generator:
        """The network for inputs of this shape."""
        defense = self.defense
        return generators.Generator(
            shape, width=defense.width, rate=defense.generator_rate, dtype=self.dtype
        )

    def state(self) -> dict[str, np.ndarray]:
        """Weights, optimiser state and what was learned beside them, by name."""
        return super().state() | self.attacker.state()

    def load_state(self, state: Arrays) -> None:
        """Take up what `state` returned."""
        super().load_state(self.attacker.load_state(state))
