"""The checks of ``doctor`` on PTS: whether it answers, and what it answers for one person."""

import contextlib
import dataclasses
from typing import Final

import httpx

from worker.app import App
from worker.cli.checks import CheckResult, State, as_run_error, fail, ok, warn
from worker.core.area import ResourceArea
from worker.core.hosts import place_of
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.plurals import counted
from worker.errors import AreaError, WorkerError
from worker.pts.reader import PtsReader
from worker.store.identity import note_probe

SYNTHETIC_PERSON: Final = "16858399649"
"""A synthetic number (month +80) that NHN has published; it cannot belong to a real person."""

_LEDGER_S: Final = 1.0
"""How long a database that is away is waited for here."""


async def check_reach(app: App) -> CheckResult:
    """PTS answers a request without authorization, with any status."""
    url = app.base_url()
    try:
        async with app.transport() as transport:
            status = (await transport.post(url, headers={}, body=b"")).status
    except AreaError as error:
        found = as_run_error(error)
        found.message += f"; asked was {place_of(url)}"
        raise found from None
    line = ok("PTS", f"{url} answers (HTTP {status} without a token)", status=status)
    if status != httpx.codes.FORBIDDEN:
        return line
    hint = "a gateway may answer so; `pts-worker doctor --probe` shows whether this client gets in"
    return dataclasses.replace(line, hint=hint)


async def check_probe(app: App, off_id: NationalId) -> list[CheckResult]:
    """What PTS answers for one person, area by area, beside the contract in force.

    The store remembers it if that proves the contract: every area was read, and one of them has a
    record at least.

    Raises:
        WorkerError: HelseID refuses or is unavailable, or the configuration cannot be used.
    """
    areas, person = app.areas(), Person(off_id=off_id, person_key="probe")
    async with app.reader(areas, throttle=app.throttle(), attempts_max=2) as reader:
        lines = [await _probe_line(reader, area, person) for area in areas]
    is_read = all(line.state is not State.FAIL for line in lines)
    if is_read and any(line.facts["records"] for line in lines):
        # If not, the check of the database reports it, and that of the contract keeps warning.
        with contextlib.suppress(WorkerError):
            async with app.database(patience_s_max=_LEDGER_S) as store:
                await note_probe(store, app.contract_read())
    return lines


async def _probe_line(reader: PtsReader, area: ResourceArea, person: Person) -> CheckResult:
    name = f"PTS {area.name}"
    try:
        read = await reader.read(person, area.name)
    except WorkerError as error:
        return fail(name, as_run_error(error) if isinstance(error, AreaError) else error)
    values = zip(*(record.columns for record in read.records), strict=True)
    columns = zip(area.columns, values, strict=False)
    empty = [column.name for column, found in columns if all(value is None for value in found)]
    facts = {
        "records": len(read.records),
        "pages": read.proof.pages,
        "empty": empty,
        "drift": dict(read.drift),
    }
    text = f"{counted(len(read.records), 'record')} as the contract declares them"
    if not read.records:
        hint = "probe a synthetic person who has restrictions: `doctor --probe --person -`"
        return warn(name, f"{text}; without a record its shape is unknown", hint, **facts)
    if read.drift or empty:
        text += f"; undeclared: {', '.join(read.drift) or 'none'}"
        text += f"; empty columns: {', '.join(empty) or 'none'}"
        hint = "undeclared fields are not stored; `pts-worker contract learn` proposes what to add"
        return warn(name, text, hint, **facts)
    return ok(name, f"{text}; every field is declared", **facts)
