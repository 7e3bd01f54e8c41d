"""What trainings start from and what they are fed, beside the data set: part of a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from benchmark.choices import UserPath, one_of
from benchmark.errors import ConfigError
from defenses.training import PRECISIONS

SHARE = 0.5  # of extra data in a batch, unless given


class Trainings(BaseModel):
    """What the trainings of a run have in common.

    init: weights that they start from. new_head: whether the layer that gives the logits starts
    anew all the same. extra_data: "npz:FILE" with more training data. extra_share: of each batch,
    that is drawn from them. precision: of their updates; None stands for float32.
    """

    init: UserPath | None = None
    new_head: Annotated[bool, Field(strict=True)] = False
    extra_data: str | None = None
    extra_share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    precision: Annotated[str, one_of("precision", PRECISIONS)] | None = None

    @model_validator(mode="after")
    def _share_of_something(self) -> Trainings:
        if self.extra_share is not None and self.extra_data is None:
            raise ConfigError(
                f"extra_share {self.extra_share:g} is of no data; give --extra-data npz:FILE too"
            )
        return self

    @model_validator(mode="after")
    def _head_of_something(self) -> Trainings:
        if self.new_head and self.init is None:
            raise ConfigError("new_head is of no weights; give --init FILE too")
        return self
