"""Checks of ``doctor`` and ``config check``: configuration, files, contract, database, roster.

A check returns its line or raises an error.
"""

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from worker.app import App
from worker.cli.rosters import RosterCount, count_roster
from worker.config import database_url, needs
from worker.core.contract import fingerprint
from worker.core.durations import format_duration
from worker.core.hosts import ENVIRONMENTS, service_of
from worker.core.identity import PLAIN
from worker.core.plurals import counted
from worker.errors import ConfigurationError, ExitCode, WorkerError
from worker.helseid.key_files import FINISH, KeyFiles
from worker.offid import masked
from worker.roster.query import QueryRoster
from worker.store.database import Database
from worker.store.identity import is_proven, see_identity
from worker.store.schema.upgrade import HEAD, check_schema
from worker.store.sqlite import (
    file_of,
    require_file,
    require_writable,
    want_of_room,
)
from worker.store.status import engine_facts, lease_state
from worker.tls import OPEN_HINT

CLOCK_WARNING_S: Final = 2.0
PATIENCE_S: Final = 5.0
LEDGER_S: Final = 1.0
"""How long a database that is away is waited for beside its own check."""
_PROBE_HINT: Final = (
    "`pts-worker doctor --probe --person -` compares the answers for a synthetic person who has "
    "restrictions; docs/first-day.md"
)


class State(enum.StrEnum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIP = "SKIP"
    """Not checked, because another check that it needs failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One line of ``doctor``. Its texts are masked, as an error's are.

    Attributes:
        hint: what to do; may be empty.
        details: further lines, e.g. each error in the configuration.
        facts: for the JSON document.
    """

    name: str
    state: State
    text: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.OK
    details: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("text", "hint"):
            object.__setattr__(self, name, masked(getattr(self, name)))


def found(name: str, text: str, remedy: str = "", **facts: Any) -> CheckResult:
    """A line for what works: OK, or WARN if there is a remedy for something about it."""
    state = State.WARN if remedy else State.OK
    return CheckResult(name=name, state=state, text=text, hint=remedy, facts=facts)


def skip(name: str, because: str) -> CheckResult:
    """A line for a check that could not run."""
    return CheckResult(name=name, state=State.SKIP, text=f"not checked: {because}")


def fail(name: str, error: WorkerError) -> CheckResult:
    """A line for a check that ended with this error."""
    return CheckResult(
        name=name,
        state=State.FAIL,
        text=error.message.partition("\n")[0],
        hint=error.hint,
        exit_code=error.exit_code,
        details=error.problems if isinstance(error, ConfigurationError) else (),
    )


async def check_configuration(app: App) -> CheckResult:
    """Everything that a sync needs is set, and every configured file can be read."""
    needs(app.loaded, "sync")
    app.areas()
    file = app.loaded.config_file
    read = f"{file} read" if file else "no file read"
    if beside := _beside_environment(app):
        return found(
            "configuration",
            f"{read}; api.environment is {app.settings.api.environment}, but {beside}",
            "remove api.environment, or what stands beside it: it says whether there are real "
            "persons",
        )
    return found("configuration", f"{read}; everything that a sync needs is set")


def _beside_environment(app: App) -> str:
    """The addresses that are not those of the chosen environment; empty if all are."""
    settings = app.settings
    chosen = {"api.base_url": settings.api.base_url, "helseid.issuer": settings.helseid.issuer}
    expected = ENVIRONMENTS[settings.api.environment] if settings.api.environment else {}
    return " and ".join(
        f"{key} is {chosen[key]}"
        for key, address in expected.items()
        if service_of(chosen[key] or "") != service_of(address)
    )


async def check_key(app: App) -> CheckResult:
    """The client's key can be read, and HelseID accepts its type."""
    key = app.client_key()
    file = Path(app.settings.helseid.private_jwk_file or "")
    text, remedy, pending = f"{file.name}: {key.describe()}", "", KeyFiles(file).pending
    if pending.exists():
        text += f"; a rotation is not finished: {pending.name} holds a new key"
        remedy = f"when its public half is registered in self-service: `{FINISH}`"
    return found("key", text, remedy, alg=key.alg, kid=key.kid)


async def check_pseudonym_key(app: App) -> CheckResult:
    """The key of the pseudonyms can be read and is long enough."""
    identity = app.identity()
    name = app.settings.privacy.pseudonym_key_file
    if identity is PLAIN or name is None:
        return skip("pseudonym key", "privacy.identity is plain")
    return found("pseudonym key", f"{name} can be read")


async def check_certificates(app: App) -> CheckResult:
    """The private CA and the proxy's credentials, where they are configured, can be used."""
    app.tls()
    app.proxy()
    name = app.settings.tls.ca_file
    return found("certificates", "this machine's" + (f", and {name}" if name else ""))


async def check_contract(app: App) -> CheckResult:
    """The contract can be read, and live answers have once been as it declares them."""
    declared = await check_contract_file(app)
    async with app.database(patience_s_max=LEDGER_S) as store:
        is_sure = await store.read(is_proven, app.contract_read())
    proof = "a probe has proven it" if is_sure else "no probe has proven it yet"
    remedy = "" if is_sure else _PROBE_HINT
    return found("contract", f"{declared.text}; {proof}", remedy, **declared.facts)


async def check_contract_file(app: App) -> CheckResult:
    """The contract can be read."""
    contract, origin = app.contract(), app.settings.api.contract_file
    marks = {name: fingerprint(contract[name]) for name in app.settings.sync.areas}
    named = ", ".join(f"{name} {mark}" for name, mark in marks.items())
    text = f"{origin or 'the one that comes with the program'}: {named}"
    return found("contract", text, origin=origin, fingerprints=marks)


async def check_database(app: App) -> CheckResult:
    """The store can be reached, has this program's schema, and uses the same pseudonym key."""
    async with app.database(checked=False, patience_s_max=PATIENCE_S) as database:
        require_file(database.engine.url)
        file = file_of(database.engine.url)
        if file is not None:
            require_writable(file)
        engine = await engine_facts(database)
        await check_schema(database)
        if app.settings.privacy.identity == "plain" or app.settings.privacy.pseudonym_key_file:
            await see_identity(database, app.identity())
        lease = await lease_state(database)
        ahead_s = await _ahead_of(database)
    is_held = lease is not None and not lease.is_dead
    held = f"active run ({lease.holder})" if lease is not None and is_held else "no active run"
    where = f" ({engine['connection']})" if "connection" in engine else ""
    notices = [*_doubts(engine, ahead_s, file)]
    if database.tls is not None and database.tls.is_open:
        notices.append(("", OPEN_HINT))
    doubts = "".join(f"; {doubt}" for doubt, _ in notices if doubt)
    return found(
        "database",
        f"{engine['engine']}{where}, schema {HEAD}, {held}{doubts}",
        "; ".join(remedy for _, remedy in notices),
        **engine,
        schema=HEAD,
        lease_held=is_held,
        clock_ahead_s=ahead_s,
    )


def _doubts(
    engine: Mapping[str, Any], ahead_s: float | None, file: Path | None
) -> Iterator[tuple[str, str]]:
    """What is doubtful about a database that can be used, and what to do about it."""
    if engine.get("journal", "wal") != "wal":
        remedy = "move the file to a local disk: WAL does not work on network file systems"
        yield f"but the journal is {engine['journal']}", remedy
    if ahead_s is not None and abs(ahead_s) > CLOCK_WARNING_S:
        way = "ahead of" if ahead_s > 0 else "behind"
        remedy = "publications use the server's time: synchronise both clocks (NTP)"
        yield f"this machine's clock is {abs(ahead_s):,.0f} s {way} the server's", remedy
    if file is not None and (want := want_of_room(file)):
        yield want, "make room on that disk: a run that finds it full ends with 69"


async def _ahead_of(database: Database) -> float | None:
    """Seconds that this machine's clock is ahead of the server's, within one round trip."""
    if not database.has_clock:
        return None
    before = database.runtime.now()
    server = await database.read(database.now)
    after = database.runtime.now()
    return (before + (after - before) / 2 - server).total_seconds()


async def check_database_file(app: App) -> CheckResult:
    """A SQLite file is checked as by ``doctor``; of a server only the password is read."""
    url = database_url(app.settings.database)
    if not url.startswith("sqlite:"):
        return skip("database", "it is on a server; `pts-worker doctor` asks it")
    return await check_database(app)


async def check_roster(app: App) -> CheckResult:
    """The roster can be read; its entries are counted, and none is shown.

    So are the requests of a night, one for each area of a person; pages and retries come on top.
    """
    if app.settings.roster.path == "-":
        return skip("roster", "it is read from standard input")
    roster, sync = app.roster(), app.settings.sync
    count = await count_roster(roster)
    sent = count.entries - (0 if app.sends_h_numbers else count.h_numbers)
    requests = sent * len(sync.areas)
    duration = timedelta(minutes=math.ceil(requests / sync.requests_per_second / 60))
    text = (
        f"{counted(count.entries, 'person')}, {counted(requests, 'request')}, about "
        f"{format_duration(duration)} at {sync.requests_per_second:g} requests a second"
    )
    facts: dict[str, Any] = {
        "entries": count.entries,
        "requests": requests,
        "duration_s": requests / sync.requests_per_second,
        "faults": count.faults,
        "h_numbers": count.h_numbers,
    }
    notices = [*_notices(app, count)]
    if isinstance(roster, QueryRoster) and roster.connection:
        facts["connection"] = roster.connection
        is_open = roster.tls is not None and roster.tls.is_open
        notices.append((f" ({roster.connection})", OPEN_HINT if is_open else ""))
    text += "".join(notice for notice, _ in notices)
    return found("roster", text, next((one for _, one in notices if one), ""), **facts)


def _notices(app: App, count: RosterCount) -> Iterator[tuple[str, str]]:
    """What else there is on the roster, and what to do about it."""
    if count.faults:
        remedy = f"each counts as a failure; the first: {count.first_fault}"
        yield f", {counted(count.faults, 'line')} that cannot be read", remedy
    if count.h_numbers and app.settings.roster.send_h_numbers:
        remedy = "in production they may be another organisation's patients: set it back to false"
        yield f", {counted(count.h_numbers, 'H-number')} sent (roster.send_h_numbers)", remedy
    elif count.h_numbers:
        how = "" if app.sends_h_numbers else " not sent to PTS (roster.send_h_numbers)"
        yield f", {counted(count.h_numbers, 'H-number')}{how}", ""


async def check_roster_file(app: App) -> CheckResult:
    """A roster file is checked as by ``doctor``; of a query only the password is read."""
    roster = app.settings.roster
    if roster.url is not None:
        database_url(roster)
        return skip("roster", "it is a query; `pts-worker doctor` runs it")
    return await check_roster(app)
