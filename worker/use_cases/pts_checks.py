"""The checks of ``doctor`` on PTS: whether it answers, and what it answers for one person."""

import dataclasses
from typing import Final

import httpx

from worker.app import App
from worker.core.hosts import place_of
from worker.core.identity import NationalId
from worker.errors import AreaError, WorkerError
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
    """What PTS answers for one person, area by area."""
    return [_probe_line(found) for found in await probe(app, off_id)]


def _probe_line(found: Probe) -> CheckResult:
    name = f"PTS {found.area}"
    facts = {
        "status": found.status,
        "layout": found.layout,
        "records": found.records,
        "pages": found.pages,
        "key_path": found.key_path,
        "paging": found.paging,
        "unknown": list(found.unknown),
        "fields": {path: list(kinds) for path, kinds in found.fields.items()},
    }
    details = tuple(f"{path}: {' or '.join(kinds)}" for path, kinds in found.fields.items())
    if found.error is not None:
        line = fail(name, as_run_error(found.error))
        return dataclasses.replace(
            line, facts=facts, details=(found.layout, f"paging: {found.paging}", *details)
        )
    text = f"HTTP {found.status}, {found.layout}, {found.records} records, {found.paging}"
    if not found.records:
        hint = "probe a synthetic person who has restrictions: `doctor --probe --person -`"
        line = warn(name, f"{text}; without a record its shape is unknown", hint)
    elif found.unknown:
        text += f"; key {found.key_path}; unknown: {', '.join(found.unknown)}"
        hint = "they are stored; report them to the developers, or declare them in [areas.NAME]"
        line = warn(name, text, hint)
    else:
        line = ok(name, f"{text}; key {found.key_path}; every field is known")
    return dataclasses.replace(line, facts=facts, details=details)
