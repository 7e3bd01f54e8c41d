"""Meta-adversarial training in TensorFlow, inner steps through `stateless_call` in compiled tapes.

The steps are those of `spec`; step 2 is in `inner`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from tensorflow import Tensor

from defenses.kernel import Arrays
from defenses.kernels.tensorflow import Kernel, cross_entropy, sum_of
from defenses.meta.chunk.sizes import attacked_at_once, groups
from defenses.meta.inner.tensorflow import Adapted, InnerLoop, Weights, refuse_wrong_derivatives
from defenses.meta.spec import MetaAdversarial
from defenses.meta.steps import LOG_RATES
from defenses.perturbation.tensorflow import perturb
from defenses.tasks.distributions import Budgeted
from defenses.trades.tensorflow import most_divergent, trades_loss

Logits = Callable[[Tensor], Tensor]


class MetaKernel(Kernel):
    """The meta-gradient, task by task in a compiled loop."""

    defense: MetaAdversarial

    def __init__(self, model: keras.Model, defense: MetaAdversarial) -> None:
        refuse_wrong_derivatives(model, defense)
        super().__init__(model, defense)
        self.inner = InnerLoop(self.call, defense)
        self.learned_variables: list[tf.Variable] = []
        if defense.learn_rates:
            self.inner.log_rates = tf.Variable(tf.zeros(self.inner.layers, self.dtype))
            self.learned_variables = [self.inner.log_rates]
            self.add_optimizer("rates", self.learned_variables)
        if defense.adversarial_rate is not None:
            self.add_optimizer("adversarial", self.parameters)
        self.parts = 1 if defense.adversarial_rate is None else 2
        self.compiled_update = tf.function(self.update_by)
        # By the attack's number.
        self.compiled_tasks: dict[int, Callable[..., list[Tensor]]] = {}

    def step(self, draws: Arrays, *, learning_rate: float, eps: float) -> Tensor:
        """One update; returns the outer loss before it."""
        total = self._zeros()
        for tasks in groups(draws["attack"], attacked_at_once(self.defense.inner_examples)):
            noise = draws["noise"][tasks] if "noise" in draws else draws["share"][tasks]
            tensors = [
                self.images(draws["x"][tasks]),
                self.labels(draws["y"][tasks]),
                self.images(draws["start"][tasks]),
                self.images(noise),
                self.images(eps * draws["share"][tasks]),
            ]
            compiled = self._compiled(int(draws["attack"][tasks[0]]), tensors)
            total = sum_of(total, compiled(*tensors, self.images(draws["step_weights"])))
        loss, *rest = total
        count = len(draws["x"])
        self.compiled_update(rest, tf.constant(count), self.scalar(learning_rate))
        return tf.cast(loss, tf.float64) / count

    def update_by(self, sums: Sequence[Tensor], tasks: Tensor, learning_rate: Tensor) -> None:
        """Steps 6 and 7 from the sums over the tasks."""
        size = len(self.parameters)
        count = tf.cast(tasks, self.dtype)
        means = [value / count for value in sums[: self.parts * size + len(self.learned_variables)]]
        # Step 6
        self.update(means[:size], learning_rate)
        if self.defense.adversarial_rate is not None:
            share = learning_rate / self.defense.learning_rate
            rate = self.defense.adversarial_rate * share
            self.update(means[size : 2 * size], rate, "adversarial")
        if self.learned_variables:
            self.update(means[self.parts * size :], learning_rate, "rates")
        # Step 7
        for variable, value in zip(self.buffers, sums[len(means) :], strict=True):
            # Whole numbers count passes, and every task has counted the same.
            whole = variable.dtype.is_integer
            mean = value // tf.cast(tasks, value.dtype) if whole else value / count
            variable.assign(tf.cast(mean, variable.dtype))

    def _compiled(self, which: int, tensors: Sequence[Tensor]) -> Callable[..., list[Tensor]]:
        """`sum_over_tasks` under an attack, traced once for any number of tasks."""
        if which not in self.compiled_tasks:
            attack = self.defense.task_distribution.attacks[which]
            signature = [tf.TensorSpec((None, *t.shape[1:]), t.dtype) for t in tensors]
            signature.append(tf.TensorSpec((self.defense.inner_steps,), self.dtype))
            self.compiled_tasks[which] = tf.function(
                functools.partial(self.sum_over_tasks, attack), input_signature=signature
            )
        return self.compiled_tasks[which]

    @property
    def buffers(self) -> list[tf.Variable]:
        """The variables that no gradient moves, such as running statistics."""
        return [variable.value for variable in self.model.non_trainable_variables]

    def _zeros(self) -> list[Tensor]:
        """The sums before any task: the loss, the parts' gradients, the rates', the buffers."""
        gradients = [*self.parameters * self.parts, *self.learned_variables]
        buffers = [tf.zeros(value.shape, _summed(value.dtype)) for value in self.buffers]
        return [self.scalar(0.0), *(tf.zeros_like(value) for value in gradients), *buffers]

    def sum_over_tasks(
        self,
        attack: Budgeted,
        x: Tensor,
        y: Tensor,
        start: Tensor,
        noise: Tensor,
        eps: Tensor,
        step_weights: Tensor,
    ) -> list[Tensor]:
        """Steps 1 to 5 of tasks (tasks, support + query, ...) under the same attack, as a graph."""
        shots = self.defense.inner_examples
        support_adv = x[:, :shots]
        if self.defense.inner_loss != "clean":
            support_adv = self.attack_supports(attack, x, y, start, eps)
        total = self._zeros()
        for task in tf.range(tf.shape(x)[0]):
            # One after the other: in parallel they would take as many times the memory
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            tensors = [value[task] for value in (x, y, support_adv, start, noise, eps)]
            total = sum_of(total, self.meta_gradient(attack, step_weights, *tensors))
        return total

    def attack_supports(
        self, attack: Budgeted, x: Tensor, y: Tensor, start: Tensor, eps: Tensor
    ) -> Tensor:
        """The supports of all tasks in one batch, attacked."""
        shots, shape = self.defense.inner_examples, x.shape[2:]
        budgets = tf.repeat(attack.support_ratio * eps, shots)
        # Step 1
        found = perturb(
            self.logits,
            tf.reshape(x[:, :shots], (-1, *shape)),
            tf.reshape(y[:, :shots], (-1,)),
            tf.reshape(start[:, :shots], (-1, *shape)),
            eps=tf.reshape(budgets, (-1, *[1] * len(shape))),
            ascent=attack.support,
        )
        return tf.reshape(found, (-1, shots, *shape))

    def meta_gradient(
        self,
        attack: Budgeted,
        step_weights: Tensor,
        x: Tensor,
        y: Tensor,
        support_adv: Tensor,
        start: Tensor,
        noise: Tensor,
        eps: Tensor,
    ) -> list[Tensor]:
        """Steps 2 to 5 of one task, in the order of `_zeros`."""
        defense, shots = self.defense, self.defense.inner_examples
        inputs = {
            "adversarial": [support_adv],
            "clean": [x[:shots]],
            "crossed": [x[:shots], support_adv],
        }[defense.inner_loss]
        with tf.GradientTape(persistent=self.parts > 1) as outer:
            loops = [self.inner.adapt(inner, y[:shots], outer) for inner in inputs]
            if defense.algorithm != "reptile":
                with outer.stop_recording():
                    adapted = loops[0].steps[-1]
                    query = (x[shots:], y[shots:], start[shots:], noise)
                    x_adv = self.attack_query(attack, *query, eps, adapted)
                loss, parts = self.outer_loss(x[shots:], x_adv, y[shots:], loops, step_weights)
        buffers = [tf.cast(value, _summed(value.dtype)) for value in loops[0].buffers]
        # Step 5
        if defense.algorithm == "reptile":
            way = [a - b for a, b in zip(self.parameters, loops[0].steps[-1], strict=True)]
            return [loops[0].loss, *way, *buffers]
        targets = [*self.parameters, *self.learned_variables]
        found = [outer.gradient(part, targets, unconnected_gradients="zero") for part in parts]
        size = len(self.parameters)
        gradients = [value for part in found for value in part[:size]]
        rates = [sum(of_rates) for of_rates in zip(*(part[size:] for part in found), strict=True)]
        return [loss, *gradients, *rates, *buffers]

    def outer_loss(
        self, x: Tensor, x_adv: Tensor, y: Tensor, loops: Sequence[Adapted], step_weights: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The outer loss, and the parts of it that have an optimiser each."""
        defense = self.defense
        w, clean, adversarial, whole = defense.clean_weight, [], [], []
        for k in range(defense.inner_steps) if defense.multi_step else [defense.inner_steps - 1]:
            weight = step_weights[k]
            # Step 4: where the inner loops are crossed, the last one is the adversarial one
            last, first = loops[-1].steps[k], loops[0].steps[k]
            at_clean, at_adv = self.logits_with(last), self.logits_with(first)
            if defense.outer_loss == "trades":
                loss = trades_loss(at_clean, x, x_adv, y, beta=defense.beta)
                whole.append(weight * self.call.penalised(loss, last))
                continue
            if defense.outer_is_clean:
                loss = cross_entropy(at_clean(x), y)
                clean.append(weight * self.call.penalised(loss, last))
            if defense.outer_is_attacked:
                loss = cross_entropy(at_adv(x_adv), y)
                adversarial.append(weight * self.call.penalised(loss, first))
        mixed = [w * part for part in clean] + [(1 - w) * part for part in adversarial]
        loss = tf.add_n(whole + mixed)
        if defense.adversarial_rate is None:
            return loss, [loss]
        return loss, [tf.add_n(clean), tf.add_n(adversarial)]

    def attack_query(
        self,
        attack: Budgeted,
        x: Tensor,
        y: Tensor,
        start: Tensor,
        noise: Tensor,
        eps: Tensor,
        adapted: Weights,
    ) -> Tensor:
        """The query, attacked; the clean one where none is wanted."""
        if not self.defense.outer_is_attacked:
            return x
        # Step 3
        logits: Logits = self.logits
        if self.defense.query_attack == "adapted":
            logits = self.logits_with(adapted, training=False)
        ascent = attack.query
        if self.defense.outer_loss == "trades":
            return most_divergent(logits, x, noise, eps=eps, ascent=ascent)
        return perturb(logits, x, y, start, eps=eps, ascent=ascent)

    def logits_with(self, weights: Weights, *, training: bool = True) -> Logits:
        """The model with these weights."""

        def logits(x: Tensor) -> Tensor:
            return self.call.with_weights(weights, x, training=training)[0]

        return logits

    def rate_factors(self) -> list[float]:
        """exp(s) of each parameter's layer; 0 where the inner loop does not move it."""
        learned = self.inner.log_rates
        factors = [1.0] * self.inner.layers if learned is None else np.exp(learned.numpy()).tolist()
        return [0.0 if layer is None else factors[layer] for layer in self.inner.of_weight]

    def learned(self) -> dict[str, list[float]]:
        """s, where the rates are learned."""
        rates = self.inner.log_rates
        return {} if rates is None else {LOG_RATES: rates.numpy().tolist()}

    def load_learned(self, learned: Mapping[str, list[float]]) -> None:
        """Take up what `learned` returned."""
        if self.inner.log_rates is not None and LOG_RATES in learned:
            self.inner.log_rates.assign(learned[LOG_RATES])


def _summed(dtype: tf.DType) -> tf.DType:
    """The type in which values of another are added up."""
    return tf.int64 if dtype.is_integer else dtype
