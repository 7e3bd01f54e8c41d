"""Another data set: how well the trained model adapts to it with few labels."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import defenses
from benchmark import frameworks
from benchmark.cells import BASELINE
from benchmark.datasets import Dataset
from benchmark.errors import DataError
from benchmark.metatest.domain.course import Course
from benchmark.metatest.domain.settings import READING, SCRATCH, Domain
from benchmark.metatest.domain.target import loaded
from benchmark.metatest.model import Adaptable
from benchmark.metatest.readouts.model import Adapted
from benchmark.portable import dataset_name
from benchmark.results import npz_writer
from benchmark.results.identity import PROTOCOL_VERSION
from benchmark.results.records import DomainRecord
from benchmark.stages.context import Context
from benchmark.stages.stage import Result, Versioned
from defenses import Fitted, Threat
from defenses.errors import DefenseError
from defenses.heads.spec import Heads

FOLDER = "domains"


class Adapting(Versioned):
    """Stage "domains/<method>-<hash>": every episode of one method.

    Its record, and an npz of shares of the queries, (episodes, shots): `clean` and `robust`.

    Args:
        protocol: how much is measured.
        method: by name.
        key: of the stage.
        needs: the stages that make the model which is attacked.
    """

    comparable = False

    def __init__(self, protocol: Domain, method: str, key: str, needs: Sequence[str]) -> None:
        self.protocol, self.method, self.key = protocol, method, key
        self.path, self.label = f"{FOLDER}/{key}", f"{method} to {protocol.adapt_to}"
        pace = "reading" if method in READING else "descending"
        self.kinds = (f"{FOLDER} {method}", f"{FOLDER} {pace}")
        self.needs = tuple(needs)
        self.effort = protocol.gradient_evaluations(method)

    def run(self, context: Context) -> Result:
        """Chosen on validation data, measured on test data, both of the other data set."""
        progress = context.reporter.stage(self.label)
        course = course_of(context, self.protocol)
        record, arrays = course.run(self.method, beginning(context, course, self.method), progress)
        files = {f"{self.key}.npz": npz_writer(arrays)} if arrays else {}
        name = dataset_name(self.protocol.adapt_to)
        return DomainRecord(**record, adapt_to=name, protocol_version=PROTOCOL_VERSION), files


def course_of(context: Context, protocol: Domain) -> Course:
    """What the cell's model is measured with; raises DataError where the data have changed."""
    cell, shape = context.cell, context.dataset.input_shape
    columns = cell.label_column, cell.group_column
    name, folder = protocol.adapt_to, context.data_dir
    target = _target(name, shape, protocol.resize, *columns, folder, cell.split_seed)
    if target.fingerprint != protocol.fingerprint:
        raise DataError(f"data set {protocol.adapt_to} is another than that of this run")
    threat = Threat(cell.norm, cell.eps)
    return Course(protocol, target, shape, threat, cell.split_seed)


def beginning(context: Context, course: Course, method: str) -> Adaptable | Adapted:
    """A model for the other data set's classes, with the weights that a method begins with.

    Of a read-out the trained model, which it fits heads to.
    """
    if method in READING:
        return context.readable
    made = context.build(classes=course.target.classes)
    renew = None
    if method == SCRATCH:
        # Nothing that a training has learned, as rates, and no layer that it leaves as it is
        fitted = defenses.create(BASELINE, context.defense.threat).resume(made)
    else:
        fitted = context.defense.resume(made, context.record("training").get("learned"))
        trained, weights = context.fitted.kernel.weights(), fitted.kernel.weights()
        taken = {
            name: trained[name] if trained[name].shape == value.shape else value
            for name, value in weights.items()
        }
        if all(taken[name] is not value for name, value in weights.items()):
            renew = _renewing(fitted)
        fitted.kernel.load_weights(taken)
    wrap = functools.partial(context.wrap, classes=course.target.classes)
    return Adaptable(fitted.kernel, wrap, renew)


def _renewing(fitted: Fitted) -> Callable[[], None] | None:
    """What gives the model the last layer that it has now; None where its last isn't dense."""
    try:
        body = frameworks.part(frameworks.HEADS, fitted.subject.framework).Body(fitted.kernel)
    except DefenseError:
        return None
    head = body.own(body.classes)
    copied = Heads(head.weights.copy(), head.biases.copy(), head.unit)
    return functools.partial(body.put, copied)


@functools.lru_cache(maxsize=1)
def _target(
    name: str,
    shape: tuple[int, ...],
    resize: bool,
    label: str | None,
    group: str | None,
    data_dir: str | None,
    seed: int,
) -> Dataset:
    folder = Path(data_dir) if data_dir else None
    return loaded(
        name, shape, resize=resize, label=label, group=group, data_dir=folder, split_seed=seed
    )
