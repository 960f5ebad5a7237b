"""Checks of ``doctor`` that ask HelseID and PTS, and what PTS answers for one person."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from worker.app import App
from worker.cli.checks import (
    CLOCK_WARNING_S,
    LEDGER_S,
    PATIENCE_S,
    CheckResult,
    State,
    fail,
    found,
    skip,
)
from worker.config import needs
from worker.core.area import ResourceArea
from worker.core.hosts import place_of
from worker.core.identity import NationalId
from worker.core.model import Person
from worker.core.plurals import counted
from worker.core.retry import RetryPolicy
from worker.errors import (
    AreaError,
    ConfigurationError,
    ContractError,
    DataContractError,
    DeniedError,
    PagingError,
    RefusedError,
    TransientError,
    UnavailableError,
    WorkerError,
)
from worker.helseid.client import HelseIdClient
from worker.helseid.discovery import Discovery
from worker.helseid.refusals import CLOCK_TOLERANCE_S, clock_ahead_s
from worker.offid import is_h_number
from worker.pts.reader import PtsReader
from worker.store.identity import note_probe

SYNTHETIC_PERSON: Final = "16858399649"
"""A synthetic number (month +80) that NHN has published; it cannot belong to a real person."""


def as_run_error(error: AreaError) -> WorkerError:
    """The error of PTS that an area's error indicates."""
    match error:
        case TransientError():
            return UnavailableError(
                f"PTS: {error.message}",
                hint=error.hint or "check DNS, the firewall and api.base_url",
            )
        case DeniedError():
            return RefusedError(
                f"PTS denies this client: {error.message}",
                hint="check the client's scope and organisation number at HelseID",
            )
        case ContractError() | PagingError():
            return DataContractError(
                f"PTS: {error.message}",
                hint="`pts-worker contract learn` proposes what to declare",
            )
        case _:
            return DataContractError(f"PTS: {error.message}", hint=error.hint)


@asynccontextmanager
async def _discovery(app: App) -> AsyncIterator[tuple[Discovery, HelseIdClient]]:
    issuer = app.settings.helseid.issuer
    if issuer is None:
        raise ConfigurationError("helseid.issuer is not set", hint="or set api.environment")
    async with app.helseid_http(attempt_s_max=PATIENCE_S * 2) as http:
        client = HelseIdClient(http, RetryPolicy(attempts_max=2), app.runtime)
        yield Discovery(issuer, client, app.runtime), client


async def check_clock(app: App) -> CheckResult:
    """This machine's clock agrees with HelseID's ``Date`` header, within a second or two."""
    try:
        async with _discovery(app) as (discovery, client):
            date = await client.call(discovery.request, lambda answer: answer.headers.get("date"))
            ahead_s = clock_ahead_s(date, app.runtime.now())
    except UnavailableError:
        return skip("clock", "HelseID does not answer")
    if ahead_s is None:
        return found("clock", "HelseID's answer has no Date header", "compare the clock by hand")
    way = "ahead of" if ahead_s > 0 else "behind"
    text = f"{abs(ahead_s):.0f} s {way} HelseID's"
    if abs(ahead_s) > CLOCK_TOLERANCE_S:
        raise ConfigurationError(
            f"this machine's clock is {text}",
            hint="synchronise it (NTP; on Helsenett: ntp.nhn.no), or DPoP proofs are refused",
        )
    if abs(ahead_s) > CLOCK_WARNING_S:
        remedy = f"check NTP: HelseID refuses a clock that is over {CLOCK_TOLERANCE_S:.0f} s off"
        return found("clock", text, remedy, ahead_s=ahead_s)
    return found("clock", f"within {CLOCK_WARNING_S:.0f} s of HelseID's", ahead_s=ahead_s)


async def check_discovery(app: App) -> CheckResult:
    """HelseID's metadata can be read, and names the configured issuer."""
    async with _discovery(app) as (discovery, _):
        metadata = await discovery.metadata()
    return found(
        "discovery",
        f"{metadata.issuer} answers, and names itself as the issuer",
        issuer=metadata.issuer,
        token_endpoint=metadata.token_endpoint.partition("?")[0],
    )


async def check_token(app: App) -> CheckResult:
    """HelseID gives this client a token with the requested scopes."""
    needs(app.loaded, "helseid")
    async with app.helseid() as helseid:
        token = await helseid.tokens.token()
    chosen = app.settings.helseid
    return found(
        "token",
        f"{chosen.sender_constraint}, valid for {token.expires_in_s:.0f} s, scopes {chosen.scope}",
        expires_in_s=token.expires_in_s,
        scopes=chosen.scope.split(),
        sender_constraint=chosen.sender_constraint,
    )


async def check_reach(app: App) -> CheckResult:
    """PTS answers a request without authorization, with any status."""
    if app.settings.api.base_url is None:
        return skip("PTS", "api.base_url is not set")
    url = app.base_url()
    try:
        async with app.transport() as transport:
            status = (await transport.post(url, headers={}, body=b"")).status
    except AreaError as error:
        fault = as_run_error(error)
        fault.message += f"; asked was {place_of(url)}"
        raise fault from None
    line = found("PTS", f"{url} answers (HTTP {status} without a token)", status=status)
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
    if is_h_number(off_id.reveal()) and not app.sends_h_numbers:
        return [skip("PTS probe", "an H-number is not sent (roster.send_h_numbers)")]
    areas, person = app.areas(), Person(off_id=off_id, person_key="probe")
    async with app.reader(app.throttle(), attempts_max=2) as reader:
        lines = [await _probe_line(reader, area, person) for area in areas]
    is_read = all(line.state is not State.FAIL for line in lines)
    if is_read and any(line.facts["records"] for line in lines):
        # If not, the check of the database reports it, and that of the contract keeps warning.
        with contextlib.suppress(WorkerError):
            async with app.database(patience_s_max=LEDGER_S) as store:
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
    empty = [column.name for column, seen in columns if all(value is None for value in seen)]
    text = f"{counted(len(read.records), 'record')} as the contract declares them"
    if not read.records:
        text += "; without a record its shape is unknown"
        remedy = "probe a synthetic person who has restrictions: `doctor --probe --person -`"
    elif read.drift or empty:
        text += f"; undeclared: {', '.join(read.drift) or 'none'}"
        text += f"; empty columns: {', '.join(empty) or 'none'}"
        remedy = (
            "undeclared fields are not stored; `pts-worker contract learn` proposes what to add"
        )
    else:
        text, remedy = f"{text}; every field is declared", ""
    facts = {"records": len(read.records), "pages": read.proof.pages, "empty": empty}
    return found(name, text, remedy, **facts, drift=dict(read.drift))
