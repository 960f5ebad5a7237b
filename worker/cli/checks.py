"""``doctor``: one table of questions, and a short function for each.

A function returns what it found, or raises the error that its line shows.
"""

import math
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import msgspec

from worker.app import App
from worker.cli.options import Cli
from worker.cli.output import fitted
from worker.config.needs import required, unmet
from worker.core.contract import fingerprint
from worker.core.display import counted, visible_lines
from worker.core.hosts import ENVIRONMENTS, service_of
from worker.core.identity import NationalId, is_h_number
from worker.core.model import Person, RosterLineError
from worker.core.retry import RetryPolicy
from worker.core.times import format_duration
from worker.core.verdict import verdict_of
from worker.errors import AreaError, ConfigurationError, ExitCode, UnavailableError, WorkerError
from worker.helseid.client import Discovery, HelseIdClient
from worker.helseid.refusals import CLOCK_HINT, clock_problem
from worker.logs import configure
from worker.masking import masked
from worker.ports import Roster
from worker.roster.query import QueryRoster
from worker.store import sqlite
from worker.store.identity import is_proven, note_probe, require_service, see_identity
from worker.store.schema.upgrade import HEAD, check_schema
from worker.store.status import engine_of

_PATIENCE_S: Final = 5.0
_OPEN_KEY: Final = "accepted for the sandbox alone; `chmod 0400` a key of a real client"
_SECRETS: Final = ("helseid.private_jwk_file", "privacy.pseudonym_key_file")
_LEARN_HINT: Final = "`pts-worker contract learn` proposes what to declare"
_DECLARED_HINT: Final = f"look at `pts-worker contract show`; {_LEARN_HINT}"
_PROBE_HINT: Final = (
    "`pts-worker doctor --probe --person -` compares the answers for a synthetic person who has "
    "restrictions of every area; docs/first-day.md"
)


class Line(NamedTuple):
    """One line of the result: OK, WARN or FAIL."""

    name: str
    state: str
    text: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.OK


Doubts: TypeAlias = dict[str, str]
"""What works but should be seen to, with what to do about it; a question adds to it."""
Check: TypeAlias = Callable[[App, Doubts], Awaitable[str]]
Question: TypeAlias = tuple[str, Check]
"""A name, and what answers."""


def report_checkup(cli: Cli, probe: NationalId | None) -> ExitCode:
    """Ask every question, print a line for each, and give the exit code of the first failure.

    Changes nothing, but that the store remembers a probe that succeeded.

    Args:
        probe: the person to read from PTS, if any.
    """
    app = cli.load(None)
    if app.loaded.origins["log.level"] == "default":
        configure("ERROR", app.settings.log.format)  # logs below would only repeat the lines
    lines = cli.run(lambda: _ask_all(app, _questions(probe), is_shown=not cli.as_json))
    code = next((line.exit_code for line in lines if line.exit_code), ExitCode.OK)
    cli.emit({"exit_code": code, "lines": [line._asdict() for line in lines]}, lambda: None)
    return code


async def _ask_all(app: App, questions: Iterable[Question], *, is_shown: bool) -> list[Line]:
    lines, said = list[Line](), dict[str, str]()
    for name, check in questions:
        lines.append(await _asked(name, check, app, said))
        if is_shown:
            _print(lines[-1])
    return lines


async def _asked(name: str, check: Check, app: App, said: dict[str, str]) -> Line:
    """Ask one question. ``said`` are the faults so far and their lines: no other repeats one."""
    doubts = Doubts()
    try:
        text = "; ".join((await check(app, doubts), *doubts))
    except WorkerError as error:
        lines = {said.setdefault(fault, name) for fault in error.problems or (error.advice,)}
        if name not in lines:
            return Line(name, "FAIL", f"see {', '.join(lines)}", "", error.exit_code)
        return Line(name, "FAIL", error.message, error.hint, error.exit_code)
    hint = "; ".join(dict.fromkeys(doubts.values()))
    return Line(name, "WARN" if doubts else "OK", masked(text), masked(hint))


def _print(line: Line) -> None:
    said = f"{line.state:<4}  {line.name:<19} {line.text}" + (line.hint and f"\n → {line.hint}")
    lines = visible_lines(said.replace("\n", f"\n{'':<26}")).split("\n")
    shown = [fitted(lines[0], sys.stdout, hanging=26)]
    shown += [fitted(text, sys.stdout, hanging=3) for text in lines[1:]]
    print("\n".join(shown), flush=True)


async def check_configuration(app: App, doubts: Doubts) -> str:
    """Everything that a sync needs is set, and every configured file can be used."""
    environment = app.settings.api.environment
    app.loaded.require_none([*unmet(app.settings, "sync")], ConfigurationError)
    for used in (app.identity, app.tls, app.proxy):
        used()
    for key, address in ENVIRONMENTS[environment].items() if environment else ():
        if service_of(app.settings.value(key) or "") != service_of(address):
            remedy = "remove one of the two: the environment says whether there are real persons"
            doubts[f"api.environment is {environment}, but {key} is another's"] = remedy
    for key in _SECRETS:
        if (path := app.settings.value(key)) and path.stat().st_mode & stat.S_IRWXO:
            doubts[f"{key}: others can reach {path}"] = _OPEN_KEY
    if (file := app.settings.telemetry.textfile) and not file.parent.is_dir():
        doubts[f"telemetry.textfile: there is no folder {file.parent}"] = "metrics need it"
    return f"{app.loaded.config_file or 'no file'} read"


async def check_key(app: App, _doubts: Doubts) -> str:
    """The client's key can be read, and HelseID accepts its type."""
    app.loaded.require_none([*unmet(app.settings, "helseid")], ConfigurationError)
    return app.client_key().describe()


@asynccontextmanager
async def _discovery(app: App) -> AsyncIterator[tuple[Discovery, HelseIdClient]]:
    issuer = required(app.settings, "helseid.issuer")
    async with app.helseid_http() as http:
        client = HelseIdClient(http, app.runtime, RetryPolicy(attempts_max=2))
        yield Discovery(issuer, client, app.runtime), client


async def check_discovery(app: App, _doubts: Doubts) -> str:
    """HelseID's metadata can be read, and names the configured issuer."""
    async with _discovery(app) as (discovery, _):
        metadata = await discovery.metadata()
    return f"{metadata.issuer} answers, and names itself as the issuer"


async def check_clock(app: App, doubts: Doubts) -> str:
    """This machine's clock agrees with HelseID's ``Date`` header, within a few seconds."""
    async with _discovery(app) as (discovery, client):
        date = await client.call(discovery.request, lambda answer: answer.headers.get("date"))
    if problem := clock_problem(date, app.runtime.now(), whose="HelseID's"):
        raise ConfigurationError(problem, hint=CLOCK_HINT)
    if not date:
        doubts["HelseID sent no time"] = "check the clock by hand"
    return "as HelseID's" if date else "not compared"


async def check_token(app: App, _doubts: Doubts) -> str:
    """HelseID gives this client a token with the requested scopes."""
    app.loaded.require_none([*unmet(app.settings, "helseid")], ConfigurationError)
    async with app.helseid() as helseid:
        token = await helseid.tokens.token()
    chosen = app.settings.helseid
    return f"{chosen.sender_constraint}, valid for {token.expires_in_s:.0f} s, {chosen.scope}"


async def check_reach(app: App, _doubts: Doubts) -> str:
    """PTS answers a request without authorization, with any status."""
    url = app.base_url()
    try:
        async with app.transport() as transport:
            status = (await transport.post(url, headers={}, body=b"")).status
    except AreaError as error:
        hint = error.hint or "check DNS, the firewall and api.base_url"
        raise UnavailableError(f"{url}: {error.message}", hint=hint) from None
    return f"{url} answers (HTTP {status} without a token)"


async def check_probe(app: App, doubts: Doubts, off_id: NationalId) -> str:
    """What PTS answers for one person, beside the contract in force.

    The store remembers it if that proves the contract: a record of every area was read.
    """
    app.loaded.require_none([*unmet(app.settings, "read-pts")], ConfigurationError)
    counts = dict[str, int]()
    if is_h_number(off_id.reveal()) and not app.sends_h_numbers:
        raise ConfigurationError("an H-number is not sent to PTS (roster.send_h_numbers)")
    person = Person(off_id=off_id, person_key="probe")
    async with app.reader(app.pace(), attempts_max=2) as reader:
        for area in app.areas():
            try:
                read = await reader.read(person, area.name)
            except AreaError as error:
                fault = verdict_of(error)
                fault.message = f"{area.name} at {app.base_url()}: {error.message}"
                if fault.exit_code == ExitCode.DATA_CONTRACT:
                    fault.hint = error.hint or _DECLARED_HINT
                raise fault from None
            counts[area.name] = len(read.records)
            rows = zip(area.columns, *(record.columns for record in read.records), strict=True)
            own = app.contract()[area.name].columns
            empty = [one.name for one, *seen in rows if one.name in own and {*seen} == {None}]
            for what, names in (("undeclared", [*read.drift]), ("empty columns", empty)):
                if names:
                    doubts[f"{area.name}: {what}: {', '.join(names)}"] = _LEARN_HINT
    if all(counts.values()):
        with suppress(WorkerError):  # the line of the database reports it
            async with app.database(patience_s_max=_PATIENCE_S) as store:
                await note_probe(store, app.contract_read())
    for name in [name for name, count in counts.items() if not count]:
        doubts[f"{name}: no record was read, so its shape is unknown"] = _PROBE_HINT
    return ", ".join(f"{name} {counted(count, 'record')}" for name, count in counts.items())


async def check_contract(app: App, doubts: Doubts) -> str:
    """The contract can be read, and live answers have once been as it declares them."""
    contract = app.contract()
    marks = [f"{name} {fingerprint(contract[name])}" for name in app.settings.sync.areas]
    origin = app.settings.api.contract_file or "the one that comes with the program"
    for name in app.settings.sync.areas:
        if not contract[name].person:
            remedy = "declare `person`: without it, an answer about another person is not noticed"
            doubts[f"{name}: records name no person (person = [])"] = remedy
    async with app.database(patience_s_max=_PATIENCE_S) as store:
        if not await store.read(is_proven, app.contract_read()):
            doubts["not yet proven by a probe"] = _PROBE_HINT
    return f"{origin}: {', '.join(marks)}"


async def check_database(app: App, doubts: Doubts) -> str:
    """The store can be reached, and has this program's schema, pseudonym key and PTS."""
    async with app.database(checked=False, patience_s_max=_PATIENCE_S) as database:
        if file := sqlite.file_of(database.engine.url):
            sqlite.require_file(database.engine.url, note=app.loaded.missing)
            sqlite.require_writable(file)
            if want := sqlite.want_of_room(file):
                doubts[want] = "make room on that disk"
        engine = await engine_of(database)
        await check_schema(database)
        await see_identity(database, app.identity())
        if app.settings.api.base_url:
            await database.read(require_service, service_of(app.base_url()))
    return f"{engine}, schema {HEAD}"


async def check_roster(app: App, doubts: Doubts) -> str:
    """The roster can be read; its entries are counted, and none is shown.

    So are the requests of a night, one for each area of a person; pages and retries come on top.
    """
    sync = app.settings.sync
    if app.settings.roster.path == "-":
        return "standard input"
    roster = app.roster()
    counts = await _counted(roster)
    entries, faults = counts.entries, counts.faults
    sent = entries - (0 if app.sends_h_numbers else counts.h_numbers)
    requests = sent * len(sync.areas)
    duration = timedelta(minutes=math.ceil(requests / sync.requests_per_second / 60))
    text = (
        f"{counted(entries, 'person')}, {counted(requests, 'request')}, about "
        f"{format_duration(duration)} at {sync.requests_per_second:g} requests a second"
    )
    if sent < entries:
        text += f", {counted(counts.h_numbers, 'H-number')} not sent (roster.send_h_numbers)"
    if faults:
        remedy = f"each counts as a failure; the first: {counts.first_fault}"
        doubts[f"{counted(faults, 'line')} that cannot be read"] = remedy
    if counts.contradictions:
        repeated = counted(counts.contradictions, "line")
        remedy = (
            "a person is read once, with the local_ref and cohort of the first line; the first "
            f"line with others: {counts.first_contradiction}"
        )
        doubts[f"{repeated} with a person named before and another local_ref or cohort"] = remedy
    if isinstance(roster, QueryRoster) and roster.connection:
        text += f" ({roster.connection})"
    return text


class _Counts(msgspec.Struct):
    """The lines of a roster: persons, H-numbers among them, faulty lines, contradictory labels."""

    entries: int = 0
    h_numbers: int = 0
    faults: int = 0
    first_fault: str = ""
    contradictions: int = 0
    first_contradiction: str = ""


async def _counted(roster: Roster) -> _Counts:
    counts, labels = _Counts(), dict[int, int]()
    async with aclosing(roster.entries()) as lines:
        async for entry in lines:
            if isinstance(entry, RosterLineError):
                counts.faults += 1
                counts.first_fault = counts.first_fault or f"{entry.where}: {entry.problem}"
                continue
            own = hash((entry.local_ref, entry.cohort))
            is_new = (person := hash(entry.off_id.reveal())) not in labels
            counts.entries += is_new
            counts.h_numbers += is_new and entry.is_h_number
            if labels.setdefault(person, own) != own:
                counts.contradictions += 1
                counts.first_contradiction = counts.first_contradiction or entry.where
    return counts


def _questions(probe: NationalId | None) -> Iterator[Question]:
    """Ordered by dependency. Fix the first failure first."""
    yield "configuration", check_configuration
    yield "key", check_key
    yield "discovery", check_discovery
    yield "clock", check_clock
    yield "token", check_token
    yield "database", check_database
    yield "PTS", check_reach
    if probe is not None:
        yield "PTS probe", partial(check_probe, off_id=probe)
    yield "contract", check_contract
    yield "roster", check_roster
