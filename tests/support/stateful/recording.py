"""Records in the model what was read and written: from the source, and when from the proof."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.support.model.reads import confirmation
from tests.support.model.state import Model
from tests.support.model.values import Row, Run
from tests.support.model.views import COLUMNS
from tests.support.stateful.attempts import PSEUDONYMS, ProcessAtWork
from tests.support.stateful.source import CONTRADICTS, PERSONS, TROUBLES, Source
from worker.core.identity import NationalId
from worker.core.model import AreaFailure, AreaRead, FailureKind, PersonRead

END_YEAR = 9999
"""PTS's "never"."""

KEYS = {person: PSEUDONYMS.pseudonym(NationalId(person)) for person in PERSONS}

Task = tuple[str, tuple[str, ...]]
"""An identifier and the areas to read."""


def _canonical(area: str, said: Mapping[str, Any]) -> str:
    """One text for what some columns of a restriction say."""
    values = {name: said[name] for name in COLUMNS[area] if said[name] is not None}
    return json.dumps(values, sort_keys=True, ensure_ascii=False, default=_utc)


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def row_of(shown: Mapping[str, Any]) -> tuple[Row, str]:
    """The model's name of a row of a view, and what it says."""
    row = (shown["area"], shown["person_key"], shown["restriction_id"])
    return row, _canonical(shown["area"], shown)


def _label(model: Model, run: Run, attempt: ProcessAtWork, person: str) -> str | None:
    """A backfill's list without a label says nothing of it; a roster's takes it away."""
    listed = attempt.roster[person]
    return model.refs.get(KEYS[person]) if run.kind == "backfill" and listed is None else listed


def record_unconfirmed(model: Model, attempt: ProcessAtWork, tasks: Sequence[Task]) -> None:
    """Nothing was written of these persons: a second read must agree first."""
    run = model.runs[attempt.handle.run_id]
    model.take_back([KEYS[person] for person, _ in tasks], but=run)
    for person, _ in tasks:
        run.refs[KEYS[person]] = _label(model, run, attempt, person)


def record_batch(
    model: Model,
    source: Source,
    attempt: ProcessAtWork,
    tasks: Sequence[Task],
    reads: Sequence[PersonRead],
) -> None:
    """A batch was written."""
    run = model.runs[attempt.handle.run_id]
    model.take_back([KEYS[person] for person, _ in tasks], but=run)
    for (person, due), read in zip(tasks, reads, strict=True):
        run.refs[KEYS[person]] = _label(model, run, attempt, person)
        assert due == tuple(one.area for one in read.areas)
        for one in read.areas:
            _record_area(model, source, attempt, person, one)


def _record_area(
    model: Model, source: Source, attempt: ProcessAtWork, person: str, read: AreaRead
) -> None:
    run, attempt_id = model.runs[attempt.handle.run_id], attempt.handle.attempt_id
    key = (KEYS[person], read.area)
    trouble = source.troubles.get((person, read.area), "")
    said = _said(source, person, read.area)
    first = {} if trouble == CONTRADICTS else said
    second_read = confirmation(model.rows())
    is_confirmed = second_read.is_needed(key, first)
    agree = not is_confirmed or second_read.agree(first, said)
    if isinstance(read, AreaFailure):
        assert TROUBLES.get(trouble) == read.kind
        assert agree == (read.kind != FailureKind.UNSTABLE)
        model.could_not_read(run, attempt_id, key, read.kind.value, read.failed_at)
        return
    assert trouble in {"", CONTRADICTS}
    assert agree, "two reads that contradict each other"
    assert (read.proof.first_read is not None) == is_confirmed, "a removal needs two reads"
    if not is_confirmed:
        said = first
    model.read_complete(run, attempt_id, key, said, at=read.proof.read_at, pages=1)


def _said(source: Source, person: str, area: str) -> dict[str, str]:
    """What is stored of the documents, by the restriction's key."""
    documents = source.documents(person, area)
    return {name: _canonical(area, _columns_of(doc)) for name, doc in documents.items()}


def _columns_of(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What the columns must say of a document that PTS sent."""
    until = doc.get("delayDeliveryUntil")
    until = None if until is None else datetime.fromisoformat(until)
    return {
        "confidentiality_code": doc.get("confidentialityCode"),
        "delay_days": doc.get("delayDays"),
        "delay_delivery_until": until,
        "delay_is_indefinite": None if until is None else until.year == END_YEAR,
        "privacy_type": doc.get("privacyType"),
        "privacy_level": doc.get("privacyLevel"),
        "restriction_domain": doc.get("restrictionDomain"),
    }
