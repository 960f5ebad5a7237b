"""The checks of ``doctor`` on PTS: whether it answers, and what it answers for one person."""

import contextlib
import dataclasses
from typing import Final

import httpx

from worker.app import App
from worker.core.hosts import place_of
from worker.core.identity import NationalId
from worker.core.plurals import counted
from worker.errors import AreaError, WorkerError
from worker.store.proven import note_probe
from worker.store.runs.quiet import quiet_until
from worker.use_cases.checks import CheckResult, as_run_error, fail, ok, warn
from worker.use_cases.probe import Probe, probe, reach

_LEDGER_S: Final = 1.0
"""How long a database that is away is waited for here."""


async def check_reach(app: App) -> CheckResult:
    """PTS answers a request without authorization, with any status."""
    url = app.base_url()
    try:
        status = await reach(app)
    except AreaError as error:
        found = as_run_error(error)
        found.message += f"; asked was {place_of(url)}"
        raise found from None
    line = ok("PTS", f"{url} answers (HTTP {status} without a token)", status=status)
    if status != httpx.codes.FORBIDDEN:
        return line
    hint = "a gateway may answer so; `pts-worker doctor --probe` shows whether this client gets in"
    return dataclasses.replace(line, hint=hint)


async def check_quiet(app: App) -> CheckResult | None:
    """A warning while a quiet lasts that HelseID or PTS asked an earlier run for."""
    try:
        async with app.database(patience_s_max=_LEDGER_S) as store:
            until = await quiet_until(store)
    except WorkerError:  # the check of the database reports it
        return None
    if until is None:
        return None
    return warn(
        "quiet",
        f"HelseID or PTS asked for quiet until {until:%Y-%m-%d %H:%M:%S} UTC (Retry-After)",
        "a run that starts before waits, or ends with 69 and sends nothing",
    )


async def check_probe(app: App, off_id: NationalId) -> list[CheckResult]:
    """What PTS answers for one person, area by area. The store remembers it if that proves it all.

    So it does if every area was read, and one of them has a record at least.
    """
    found = await probe(app, off_id)
    if all(area.error is None for area in found) and any(area.records for area in found):
        # If not, the check of the database reports it, and that of the contract keeps warning.
        with contextlib.suppress(WorkerError):
            async with app.database(patience_s_max=_LEDGER_S) as store:
                await note_probe(store, app.contract_read())
    return [_probe_line(area) for area in found]


def _probe_line(found: Probe) -> CheckResult:
    name = f"PTS {found.area}"
    if found.error is not None:
        return fail(name, as_run_error(found.error))
    facts = {
        "records": found.records,
        "pages": found.pages,
        "empty": list(found.empty),
        "drift": dict(found.drift),
    }
    text = f"{counted(found.records, 'record')} as the contract declares them"
    if not found.records:
        hint = "probe a synthetic person who has restrictions: `doctor --probe --person -`"
        line = warn(name, f"{text}; without a record its shape is unknown", hint)
    elif found.drift or found.empty:
        undeclared = ", ".join(found.drift) or "none"
        empty = ", ".join(found.empty) or "none"
        hint = "undeclared fields are not stored; `pts-worker contract learn` proposes what to add"
        line = warn(name, f"{text}; undeclared: {undeclared}; empty columns: {empty}", hint)
    else:
        line = ok(name, f"{text}; every field is declared")
    return dataclasses.replace(line, facts=facts)
