"""What `bench show` has to tell of a cell. Stored records are read through their schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmark.errors import SchemaError
from benchmark.results import STAGES, Record, Store, fits
from benchmark.results.records import (
    AttackRecord,
    CellRecord,
    CertificationRecord,
    ClaimsRecord,
    CorruptionsRecord,
    CostRecord,
    DomainRecord,
    ExternalRecord,
    FamilyRecord,
    FewShotRecord,
    ModelRecord,
    SequenceRecord,
    StageRecord,
    TrainingRecord,
    TrustRecord,
    TuningRecord,
    schema_of,
)
from benchmark.text import duration


def cell_records(store: Store, cell_id: str) -> Record:
    """The records of a cell and of its stages as they are stored; None for one that is damaged."""
    folders = store.stage_folders(cell_id)
    keyed = [f"{folder}/{key}" for folder in folders for key in store.stage_keys(cell_id, folder)]
    there = [one for one in STAGES if (store.cell_folder(cell_id) / f"{one}.json").exists()]
    return {
        "cell_id": cell_id,
        "folder": str(store.cell_folder(cell_id)),
        "cell": store.read_cell(cell_id),
        "stages": {stage: store.read_stage(cell_id, stage) for stage in [*there, *keyed]},
    }


def cell_details(store: Store, cell_id: str) -> Iterator[str]:
    """Everything worth reading about a cell, line by line; what can't be read is told so."""
    yield cell_id
    yield f"folder: {store.cell_folder(cell_id)}"
    stored = store.read_cell(cell_id)
    record: CellRecord | None = None
    if stored is None:
        damaged = (store.cell_folder(cell_id) / "cell.json").exists()
        yield "status: " + ("unknown: cell.json is damaged or changed" if damaged else "unfinished")
    else:
        try:
            record = CellRecord.read(stored)
            yield from _about(cell_id, stored, record)
        except SchemaError as error:
            yield f"status: unknown: cell.json {error}"
    for stage in ("given", "training", "adaptation"):
        yield from (f"{stage}: {told}" for told in _read(store, cell_id, stage))
    for key in store.stage_keys(cell_id, "attacks"):
        yield from (f"attack {key}: {told}" for told in _read(store, cell_id, f"attacks/{key}"))
    for key in store.stage_keys(cell_id, "claims"):
        yield from (f"{key}: {told}" for told in _read(store, cell_id, f"claims/{key}"))
    yield from _trusts(store, cell_id, record.suites if record else {})
    for key in store.stage_keys(cell_id, "corruptions"):
        yield from (f"corruptions: {told}" for told in _read(store, cell_id, f"corruptions/{key}"))
    for key in store.stage_keys(cell_id, "certification"):
        stage = f"certification/{key}"
        yield from (f"certification {key}: {told}" for told in _read(store, cell_id, stage))
    for key in store.stage_keys(cell_id, "adaptations"):
        stage = f"adaptations/{key}"
        yield from (f"adaptation {key}: {told}" for told in _read(store, cell_id, stage))
    others = {"few-shot": "few-shot", "sequences": "sequence", "domains": "domain"}
    for folder, what in others.items():
        for key in store.stage_keys(cell_id, folder):
            yield from (
                f"{what} {key}: {told}" for told in _read(store, cell_id, f"{folder}/{key}")
            )


def _about(cell_id: str, stored: Record, record: CellRecord) -> Iterator[str]:
    """What cell.json says."""
    yield f"status: {record.status}" + (f": {record.reason}" if record.reason else "")
    if not fits(cell_id, stored["config"]):
        yield "changed: its configuration is that of another cell"
    yield from _flat(stored["config"])
    yield from _flat({f"data.{k}": v for k, v in record.data.items() if k != "columns"})
    for key in ("started", "seconds", "gradient_evaluations", "device", "threads"):
        yield f"{key}: {stored.get(key)}"
    yield from _flat({"versions": stored.get("versions"), "git": stored.get("git")})


def _read(store: Store, cell_id: str, stage: str) -> Iterator[str]:
    """What is told of a stage, or that it can't be read; nothing where there is none."""
    record = _checked(store, cell_id, stage)
    if isinstance(record, StageRecord):
        yield from _told(record)
    elif record is not None:
        yield record


def _checked(store: Store, cell_id: str, stage: str) -> StageRecord | str | None:
    """A stage's record, or what it has wrong; None where there is none."""
    stored = store.read_stage(cell_id, stage)
    if stored is None:
        there = (store.cell_folder(cell_id) / f"{stage}.json").exists()
        return "it, or a file that it names, is damaged or changed" if there else None
    try:
        return schema_of(stage).read(stored)
    except SchemaError as error:
        return str(error)


def _told(record: StageRecord) -> Iterator[str]:
    if record.status != "ok":
        yield f"{record.status}: {record.reason}"
        return
    if record.outdated:
        yield f"{record.outdated}: reports leave it out; run again"
    match record:
        case ExternalRecord():
            yield from _published(record)
        case ModelRecord():
            yield f"{duration(record.seconds)}, {_cost(record.cost)}"
            yield from record.notices if isinstance(record, TrainingRecord) else []
        case ClaimsRecord():
            text = f": {record.text}" if record.text else ""
            robust = f"robust {_share(record.robust_accuracy)} of {record.examples} examples"
            yield f"{record.name}: {record.judgement}, {robust}{text}"
        case AttackRecord():
            yield _attack(record)
        case CorruptionsRecord():
            yield from _corruptions(record)
        case CertificationRecord():
            yield _certification(record)
        case FamilyRecord():
            yield _family(record)
        case FewShotRecord():
            yield _few_shot(record)
        case DomainRecord():
            yield _domain(record)
        case SequenceRecord():
            yield _sequence(record)
        case TuningRecord():
            yield f"rate {record.rate:g}, {record.tuned_steps} steps"


def _published(record: ExternalRecord) -> Iterator[str]:
    if (told := record.published) is not None:
        source = f" ({told.source})" if told.source else ""
        yield f"published: robust {_share(told.robust_accuracy)}{source}"


def _attack(done: AttackRecord) -> str:
    eps = "" if done.eps is None else f" eps {done.eps:g}"
    return (
        f"clean {_share(done.clean_accuracy)}, robust {_share(done.robust_accuracy)} "
        f"of {done.examples} examples, {done.norm}{eps}, {_seconds(done.seconds)}"
        + (f", made on {done.made_on}" if done.made_on else "")
        + _single_draw(done)
    )


def _few_shot(done: FewShotRecord) -> str:
    """White-box first; what stored queries leave is told as what it is."""
    assert done.clean is not None
    assert done.robust is not None
    stored = done.stored_queries
    return (
        f"clean {_share(done.clean.mean)}, robust {_share(done.robust.mean)} "
        f"({_share(done.robust.low)} to {_share(done.robust.high)}) over {done.episodes} episodes, "
        f"{done.labels_used} labels, {_cost(done.cost)}"
        + (f"; queries attacked before adaptation {_share(stored.mean)}" if stored else "")
    )


def _domain(done: DomainRecord) -> str:
    """Clean and robust over labels."""
    points = zip(done.labels_used, done.clean, done.robust, strict=True)
    told = [f"{n} labels {_share(c.mean)}, attacked {_share(r.mean)}" for n, c, r in points]
    return f"to {done.adapt_to}, over {done.episodes} episodes: {'; '.join(told)}"


def _sequence(done: SequenceRecord) -> str:
    """What is left in the end."""
    assert done.forgetting is not None
    mean, worst = done.mean[-1], done.worst[-1]
    return (
        f"after {', '.join(done.families)}: mean {_share(mean.mean)}, worst {_share(worst.mean)} "
        f"({_share(worst.low)} to {_share(worst.high)}) over {done.episodes} episodes, forgetting "
        f"{100 * done.forgetting.mean:+.1f} points, {done.labels_used} labels, {_cost(done.cost)}"
    )


def _single_draw(done: AttackRecord) -> str:
    """What one draw of a random model is expected to get right; the rest is of its mean answer."""
    if done.expected_accuracy is None:
        return ""
    before, after = _share(done.clean_expected_accuracy), _share(done.expected_accuracy)
    return f", mean of {done.draws} draws; a single one is expected at {before}, attacked {after}"


def _corruptions(done: CorruptionsRecord) -> Iterator[str]:
    """The mean over corruptions and severities, then each corruption."""
    yield (
        f"mean {_share(done.mean)} ({_share(done.low)} to {_share(done.high)}), clean "
        f"{_share(done.clean_accuracy)}, of {done.examples} examples, severities of "
        f"{done.constants}, {_seconds(done.seconds)}"
    )
    for name, row in zip(done.corruptions, done.accuracy, strict=True):
        yield f"{name}: {', '.join(map(_share, row))}"


def _certification(done: CertificationRecord) -> str:
    """What the model behind noise is certified for: at all, and under the cell's threat."""
    return (
        f"{_share(done.certified_accuracy[0])} right with a certificate, {_share(done.certified)} "
        f"with one of L2 radius {done.radius_needed:g}, which covers the threat, of "
        f"{done.examples} examples, noise of sigma {done.sigma:g}, n {done.n}, alpha "
        f"{done.alpha:g}, {_seconds(done.seconds)}"
    )


def _trusts(store: Store, cell_id: str, suites: Mapping[str, list[str]]) -> Iterator[str]:
    """The trust checks of each suite; a suite without any is named."""
    missing = set(suites)
    for key in store.stage_keys(cell_id, "trust"):
        record = _checked(store, cell_id, f"trust/{key}")
        if not isinstance(record, TrustRecord):
            yield f"trust {key}: {record}"
            continue
        missing.discard(record.suite)
        if record.status != "ok":
            yield f"trust checks under {record.suite}: {record.status}: {record.reason}"
            continue
        if record.outdated:
            yield f"trust {key}: {record.outdated}: reports leave it out; run again"
        keys = suites.get(record.suite, [])
        yield from _trust(record, list(_without_result(store, cell_id, keys)))
    for suite in sorted(missing):
        yield f"trust checks under {suite}: none are stored, so nothing speaks for its numbers"


def _without_result(store: Store, cell_id: str, keys: list[str]) -> Iterator[str]:
    """The attacks that failed or are missing, with the reason."""
    for key in keys:
        done = store.read_stage(cell_id, f"attacks/{key}")
        if done is None:
            yield f"{key} is missing or damaged"
        elif done.get("status") == "failed":
            yield f"{done.get('name', key)} failed: {done.get('reason')}"


def _trust(done: TrustRecord, without: list[str]) -> Iterator[str]:
    """How many checks passed, and the flagged ones with their sentences.

    Attacks `without` a result are one more that didn't: the stored checks look at those that ran.
    """
    passed = sum(check.status == "passed" for check in done.checks)
    applied = sum(check.status != "not-applicable" for check in done.checks) + bool(without)
    yield (
        f"trust checks under {done.suite}: {passed} of {applied} that are stored passed; "
        "reports add what several records tell together"
    )
    yield from (f"flagged: {check.name}: {check.sentence}" for check in done.flags)
    if without:
        yield f"flagged: every attack of the suite ran: {'; '.join(without)}"


def _family(done: FamilyRecord) -> str:
    """An attack family with its largest support."""
    after = done.accuracy[-1][done.steps.index(done.tuned_steps)]
    area = None if done.area is None else done.area.mean
    return (
        f"{done.role}, {done.accuracy[-1][0]:.1%} before, {after:.1%} after with "
        f"{done.labels_used} labels, area {_share(area)}, {done.episodes} episodes, "
        f"{_cost(done.cost)}"
    )


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def _seconds(seconds: float | None) -> str:
    return "unknown time" if seconds is None else duration(seconds)


def _cost(cost: CostRecord) -> str:
    spent = cost.gradient_evaluations
    return "unknown cost" if spent is None else f"{spent:,.0f} gradient evaluations"


def _flat(record: Record) -> Iterator[str]:
    """A line a value, named by the way to it; however deep, for the depth is a stranger's."""
    waiting = [(key, value) for key, value in record.items()]
    while waiting:
        name, value = waiting.pop(0)
        if isinstance(value, dict) and value:
            waiting[:0] = [(f"{name}.{key}", inner) for key, inner in value.items()]
        else:
            yield f"{name}: {value}"
