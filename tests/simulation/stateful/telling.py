"""Tells the model what was read and written: from the source, and when from the proof."""

from collections.abc import Sequence

from tests.simulation.stateful.changes import NOVELTIES
from tests.simulation.stateful.model import Model, Run, canonical
from tests.simulation.stateful.process import PSEUDONYMS, Turn
from tests.simulation.stateful.source import CONTRADICTS, PERSONS, TROUBLES, Source
from tests.simulation.stateful.views import digest_name
from worker.core.identity import NationalId
from worker.core.model import AreaFailure, AreaRead, CompleteArea, FailureKind, PersonRead

KEYS = {person: PSEUDONYMS.pseudonym(NationalId(person)) for person in PERSONS}

KEY_PATHS = {
    "id": "id",
    "composite": "confidentialObjectId.type+confidentialObjectId.value",
    "digest": "digest",
}


Task = tuple[str, tuple[str, ...]]
"""An identifier and the areas to read."""


def _label(model: Model, run: Run, turn: Turn, person: str) -> str | None:
    """A backfill's list without a label says nothing of it; a roster's takes it away."""
    listed = turn.roster[person]
    return model.refs.get(KEYS[person]) if run.kind == "backfill" and listed is None else listed


def tell_held(model: Model, turn: Turn, tasks: Sequence[Task]) -> None:
    """Nothing was written of these persons: a second read must agree first."""
    run = model.runs[turn.handle.run_id]
    model.take_back([KEYS[person] for person, _ in tasks], but=run)
    for person, _ in tasks:
        run.refs[KEYS[person]] = _label(model, run, turn, person)


def tell(
    model: Model,
    source: Source,
    turn: Turn,
    tasks: Sequence[Task],
    reads: Sequence[PersonRead],
) -> None:
    """A batch was written."""
    run = model.runs[turn.handle.run_id]
    model.take_back([KEYS[person] for person, _ in tasks], but=run)
    for (person, due), read in zip(tasks, reads, strict=True):
        run.refs[KEYS[person]] = _label(model, run, turn, person)
        assert due == tuple(one.area for one in read.areas)
        for one in read.areas:
            _tell_area(model, source, turn, person, one)


def _tell_area(model: Model, source: Source, turn: Turn, person: str, read: AreaRead) -> None:
    run, attempt = model.runs[turn.handle.run_id], turn.handle.attempt_id
    slot = (KEYS[person], read.area)
    trouble = source.troubles.get((person, read.area), "")
    payloads = _payloads(source, person, read.area)
    published = {row[2] for row in model.held if row[:2] == (read.area, KEYS[person])}
    first = {} if trouble == CONTRADICTS else payloads
    others = {row[2] for row in model.held if row[0] == read.area and row[1] != KEYS[person]}
    taken = others & (first.keys() - published)
    is_contradicted = published - first.keys() != published - payloads.keys()
    if isinstance(read, AreaFailure):
        assert TROUBLES.get(trouble) == read.kind
        assert is_contradicted == (read.kind == FailureKind.UNSTABLE)
        model.could_not_read(run, attempt, slot, read.kind.value, read.failed_at)
        return
    assert not trouble or (trouble == CONTRADICTS and not is_contradicted)
    is_confirmed = read.proof.first_read is not None
    assert is_confirmed == bool(published - first.keys() or taken), "a removal needs two reads"
    if not is_confirmed:
        payloads = first
    pages = source.pages_of(person, read.area) if payloads else 1
    model.read_whole(run, attempt, slot, payloads, at=read.proof.read_at, pages=pages)
    if payloads:
        _tell_drift(model, source, run, read)


def _payloads(source: Source, person: str, area: str) -> dict[str, str]:
    """What is stored of the documents, by the restriction's key."""
    payloads = {}
    for name, doc in source.documents(person, area).items():
        payload = canonical({**doc, "offId": KEYS[person]} if "offId" in doc else doc)
        match source.shape[area]:
            case "id":
                payloads[name] = payload
            case "composite":
                payloads[f"doc|{name}"] = payload
            case _:
                payloads[digest_name(KEYS[person], payload)] = payload
    return payloads


def _tell_drift(model: Model, source: Source, run: Run, read: CompleteArea) -> None:
    shape = source.shape[read.area]
    model.key_paths.setdefault(read.area, (KEY_PATHS[shape], run.run_id))
    found = [told for doc, told in NOVELTIES if doc == source.novelties.get(read.area)]
    if shape == "digest":
        found.append(("[]", "digest_key"))
    for field, kind in found:
        model.drift.setdefault((read.area, field, kind), run.run_id)
