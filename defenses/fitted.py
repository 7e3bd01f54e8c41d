"""What `fit` returns: a trained model, which predicts and adapts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from defenses import saved
from defenses.cost import Cost
from defenses.data import checked_data, checked_inputs
from defenses.errors import DefenseError
from defenses.kernel import Kernel
from defenses.parameters import checked_seed, of_python
from defenses.recipe import Recipe
from defenses.subject import Subject
from defenses.training import Outcome
from defenses.trial import told_afterwards

# Keeps the draws of an adaptation apart from those of the training under the same seed.
ADAPTATION_STREAM = 0xADA7


@dataclass(frozen=True)
class Fitted:
    """A trained model with its history and cost.

    Args:
        defense: the defense that trained it.
        kernel: its differentiable part, which holds the model.
        subject: what `fit` was given.
        outcome: history, cost and steps.
    """

    defense: Recipe
    kernel: Kernel
    subject: Subject
    outcome: Outcome

    @property
    def model(self) -> Any:
        """The trained `torch.nn.Module` or `keras.Model`."""
        return self.kernel.model

    @property
    def history(self) -> list[dict[str, float]]:
        """One entry an epoch: epoch, loss, and validation_accuracy where one was asked for.

        Where the defense is watched, robust_validation_accuracy and fgsm_validation_accuracy too.
        """
        return self.outcome.history

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know about the training, one line each."""
        return self.outcome.notices

    @property
    def cost(self) -> Cost:
        """The passes that the training, or the adaptation, took."""
        return self.outcome.cost

    @property
    def learned(self) -> dict[str, list[float]]:
        """What the training learned beside the weights, such as the rates of adaptation."""
        return self.kernel.learned()

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits, (n, classes), in evaluation mode; DefenseError for what the model can't take."""
        x = checked_inputs(self.subject.channels_last(np.asarray(x)))
        if not len(x):
            raise DefenseError("there are no examples; give at least one")
        return told_afterwards(self.kernel, x, None, lambda: self.kernel.predict(x))

    def save(self, path: Path | str) -> None:
        """Write weights, parameters, history and cost to the folder `path`, without any pickle.

        The weights are safetensors of a PyTorch module and `.weights.h5` of a Keras model;
        `defenses.load` puts them into a model that was built anew.
        """
        folder = Path(path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise DefenseError(f"{folder} is a file; give a folder to save to") from error
        self.kernel.save_weights(folder)
        record = {
            "defense": saved.target_of(type(self.defense)),
            "threat": self.defense.threat.record(),
            "parameters": self.defense.parameters(),
            "framework": self.subject.framework,
            "learned": self.learned,
            "outcome": saved.outcome_as_json(self.outcome),
        }
        saved.write(folder, record)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what it is made from, as far as the model itself can be pickled."""
        subject = dataclasses.replace(self.subject, model=self.model)
        return _remade, (self.defense, subject, self.learned, self.outcome)

    def adapt(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        steps: int | None = None,
        rate: float | None = None,
        seed: int = 0,
    ) -> Fitted:
        """A copy of the model, adapted to a support set under the defense's threat.

        Args:
            x: support inputs, laid out as in `fit`.
            y: their labels; the defender spends them.
            steps: gradient steps, by default those of the defense.
            rate: their rate, by default that of the defense.
            seed: of the attack's start on the support.

        Raises:
            DefenseError: the support, steps, rate or seed can't be used.
        """
        x, y = checked_data(self.subject.channels_last(x), y)
        adaptation = self.defense.adaptation
        adaptation = dataclasses.replace(
            adaptation,
            steps=adaptation.steps if steps is None else of_python(steps),
            rate=adaptation.rate if rate is None else of_python(rate),
        )
        generator = np.random.default_rng([checked_seed(seed), ADAPTATION_STREAM])
        start = self.defense.threat.random_starts(generator, x.shape)
        kernel = self.kernel.copy()
        adapt = partial(kernel.adapt, x, y, start, eps=self.defense.threat.eps)
        told_afterwards(self.kernel, x, y, lambda: adapt(adaptation=adaptation))
        outcome = Outcome([], adaptation.cost(len(x)), adaptation.steps)
        return Fitted(self.defense, kernel, self.subject, outcome)


def _remade(
    defense: Recipe, subject: Subject, learned: Mapping[str, list[float]], outcome: Outcome
) -> Fitted:
    kernel = defense.kernel(subject)
    kernel.load_learned(learned)
    return Fitted(defense, kernel, subject, outcome)
